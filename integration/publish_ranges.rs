//! Ranges of published ports: each port leads to its own, however many they are.

use crate::harness::{Cli, Host};

/// `inspect`'s host port of each container port.
const BINDINGS: &str =
    "{{range $p, $b := .NetworkSettings.Ports}}{{if $b}}{{$p}}={{(index $b 0).HostPort}} {{end}}{{end}}";

#[test]
fn a_thousand_that_keep_their_numbers() {
    let host = Host::new();
    for (cli, first) in [(Cli::Docker, 8000), (Cli::Pontoon, 20_000)] {
        let range = first..first + 1000;
        let spec = format!("{first}-{}:{first}-{}", first + 999, first + 999);
        let web = host.run("busybox").by(cli).publish(&spec).cmd(&["sleep", "1000"]).start();
        let _answers = host.answers_tcp(&web, range.clone());
        for port in range.clone().step_by(111) {
            assert_eq!(host.lan().asks_tcp(&format!("192.0.2.1:{port}")), format!("{port} 192.0.2.2"));
        }
        for address in ["192.0.2.1", "127.0.0.1", "172.17.0.1"] {
            let said = host.itself().asks_tcp(&format!("{address}:{}", first + 999));
            assert!(said.starts_with(&format!("{} ", first + 999)), "{address}: {said}");
        }
        // The neighbours of the range are not in it.
        assert!(host.lan().asked_tcp(&format!("192.0.2.1:{}", first - 1)).is_err());
        assert!(host.lan().asked_tcp(&format!("192.0.2.1:{}", first + 1000)).is_err());

        let column = format!("0.0.0.0:{first}-{}->{first}-{}/tcp", first + 999, first + 999);
        let lines: Vec<String> = range.clone().map(|port| format!("{port}/tcp -> 0.0.0.0:{port}")).collect();
        for cli in Cli::BOTH {
            let shown =
                host.cli(cli, &["ps", "--no-trunc", "--filter", &format!("id={}", web.id), "--format", "{{.Ports}}"]);
            assert_eq!(shown.ok(), column, "{cli:?}");
            assert_eq!(host.ports(cli, &web.id), lines, "{cli:?}");
        }
        let asked =
            web.inspect("{{len .HostConfig.PortBindings}} {{len .Config.ExposedPorts}} {{len .NetworkSettings.Ports}}");
        assert_eq!(asked, "1000 1000 1000");
        // Each is kept from other programs.
        assert!(range.clone().step_by(111).all(|port| !host.itself().can_listen(&format!("0.0.0.0:{port}"))));
        web.verb(&["rm", "--force"]).ok();
        assert!(range.clone().step_by(111).all(|port| host.itself().can_listen(&format!("0.0.0.0:{port}"))));
    }
}

#[test]
fn ten_thousand() {
    let host = Host::new();
    let before = host.traces();
    let many = host.run("busybox").publish("20000-29999:20000-29999").cmd(&["sleep", "1000"]).start();
    let answers = host.answers_tcp(&many, [20_000, 24_999, 29_999]);
    for port in [20_000, 24_999, 29_999] {
        assert_eq!(host.lan().asks_tcp(&format!("192.0.2.1:{port}")), format!("{port} 192.0.2.2"));
    }
    let shown = many.inspect(BINDINGS);
    assert_eq!(shown.split_whitespace().count(), 10_000);
    assert!(shown.contains("29999/tcp=29999 "));
    // Another container's port meets all of them, and is met by none of them once they are gone.
    let late = host.run("busybox").name("late").publish("29999:80").attempt();
    late.complains("Bind for 0.0.0.0:29999 failed: port is already allocated").ends_with(125);
    host.docker(&["rm", "late"]).ok();
    // A namespace lives as long as there is a socket of it.
    drop(answers);
    many.verb(&["rm", "--force"]).ok();
    host.assert_as(&before);
    let _late = host.run("busybox").publish("29999:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:29999/"), "hello");
}

#[test]
fn each_port_of_a_shifted_range_leads_to_its_own() {
    let host = Host::new();
    let tcp = host.run("busybox").publish("8000-8010:9000-9010").publish("127.0.0.1:7000-7001:6000-6001");
    let tcp = tcp.cmd(&["sleep", "1000"]).start();
    let _tcp = host.answers_tcp(&tcp, (9000..=9010).chain(6000..=6001));
    for step in 0..=10 {
        let said = host.lan().asks_tcp(&format!("192.0.2.1:{}", 8000 + step));
        assert_eq!(said, format!("{} 192.0.2.2", 9000 + step));
    }
    assert!(host.itself().asks_tcp("127.0.0.1:7001").starts_with("6001 "));
    assert_eq!(host.docker(&["port", &tcp.id, "9010/tcp"]).ok(), "0.0.0.0:8010");

    // UDP has ports of its own: the same numbers, beside it.
    let udp = host.run("busybox").publish("8000-8010:8000-8010/udp").cmd(&["sleep", "1000"]).start();
    let _udp = host.answers_udp(&udp, 8000..=8010);
    for port in [8000, 8005, 8010] {
        assert_eq!(host.lan().asks_udp(&format!("192.0.2.1:{port}")), format!("{port} 192.0.2.2 ping"));
    }
    assert_eq!(host.lan().asks_tcp("192.0.2.1:8005"), "9005 192.0.2.2");
}

#[test]
fn the_first_free_port_of_a_range() {
    let host = Host::new();
    let _program = host.itself().listens("0.0.0.0:8001");
    let ports = |id: &str| host.ports(Cli::Docker, id).join("\n");
    let mut held = Vec::new();
    for (cli, expected) in [(Cli::Docker, 8000), (Cli::Pontoon, 8002), (Cli::Docker, 8003)] {
        let web = host.run("busybox").by(cli).publish("8000-8003:80").serving().start();
        assert_eq!(ports(&web.id), format!("80/tcp -> 0.0.0.0:{expected}"));
        assert_eq!(host.lan().get(&format!("http://192.0.2.1:{expected}/")), "hello");
        held.push(web);
    }
    let before = host.traces();
    for cli in Cli::BOTH {
        let late = host.run("busybox").by(cli).name("late").publish("8000-8003:80").attempt();
        late.complains("all ports are allocated").ends_with(125);
        host.assert_as(&before);
        host.docker(&["rm", "late"]).ok();
    }
    // Who can have one port only has it, whoever comes first on the command line.
    held[0].verb(&["rm", "--force"]).ok();
    held[1].verb(&["rm", "--force"]).ok();
    let both = host.run("busybox").publish("8000-8003:80").publish("8000:81").cmd(&["sleep", "1000"]).start();
    assert_eq!(ports(&both.id), "80/tcp -> 0.0.0.0:8002\n81/tcp -> 0.0.0.0:8000");
}

#[test]
fn ranges_that_do_not_fit() {
    let host = Host::new();
    let before = host.traces();
    for cli in Cli::BOTH {
        for (spec, words) in [
            ("8000-8010:80-85", "invalid ranges specified for container and host Ports: 80-85 and 8000-8010"),
            ("8010-8000:80", "invalid hostPort: 8010-8000"),
            ("8000:80-79", "invalid containerPort: 80-79"),
            ("65530-65540:80", "invalid hostPort: 65530-65540"),
        ] {
            let refused = host.run("busybox").by(cli).publish(spec).attempt();
            refused.complains_as(cli, words, &words.replacen('i', "I", 1)).ends_with(125);
        }
    }
    // By clients that leave it to the daemon.
    let body = r#"{"Image": "busybox", "HostConfig": {"PortBindings": {"80-85/tcp": [{"HostPort": "8000-8010"}]}}}"#;
    let (status, answer) = host.api("POST", "/containers/create", body);
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().starts_with("invalid ranges specified for container and host Ports: "));
    assert!(host.docker(&["ps", "--all", "--quiet"]).ok().is_empty());
    host.assert_as(&before);
}

#[test]
fn every_exposed_port() {
    let host = Host::new();
    let tar = crate::harness::image::busybox().to_string_lossy();
    host.docker(&["import", "--change", "EXPOSE 80 90-91", "--change", "CMD [\"sleep\", \"1000\"]", &tar, "exposing"])
        .ok();
    for (cli, explicit) in [(Cli::Docker, "8080"), (Cli::Pontoon, "8081")] {
        let flags = ["-P", "--expose", "7000-7010/udp", "--publish", &format!("{explicit}:80")];
        let all = host.run("exposing").by(cli).flags(&flags).start();
        let shown = all.inspect(BINDINGS);
        let found: Vec<(&str, &str)> = shown.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        let mut expected = vec!["80/tcp".to_owned(), "90/tcp".to_owned(), "91/tcp".to_owned()];
        expected.extend((7000..=7010).map(|port| format!("{port}/udp")));
        expected.sort();
        let mut names: Vec<&str> = found.iter().map(|(port, _)| *port).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        // Said by -p, it is not said again by -P.
        assert_eq!(host.docker(&["port", &all.id, "80"]).ok(), format!("0.0.0.0:{explicit}"));
        let (_tcp, _udp) = (host.answers_tcp(&all, [80, 91]), host.answers_udp(&all, [7000, 7010]));
        let at = |port: &str| found.iter().find(|(name, _)| *name == port).unwrap().1;
        assert_eq!(host.lan().asks_tcp(&format!("192.0.2.1:{}", at("91/tcp"))), "91 192.0.2.2");
        assert_eq!(host.lan().asks_udp(&format!("192.0.2.1:{}", at("7010/udp"))), "7010 192.0.2.2 ping");
    }
}

#[test]
fn what_cannot_be_held_is_published_all_the_same() {
    let host = Host::new();
    let pid = host.daemon().pid(&host.namespaces);
    // A quarter is the daemon's own, and at least 256.
    host.sh(&format!("prlimit --pid {pid} --nofile=500")).ok();
    let web = host.run("busybox").publish("8000-8999:8000-8999").cmd(&["sleep", "1000"]).start();
    let _answers = host.answers_tcp(&web, [8000, 8999]);
    for port in [8000, 8999] {
        assert_eq!(host.lan().asks_tcp(&format!("192.0.2.1:{port}")), format!("{port} 192.0.2.2"));
    }
    assert!(!host.itself().can_listen("0.0.0.0:8000"), "the first ones are held");
    assert!(host.itself().can_listen("0.0.0.0:8998"), "the last ones are not");
    let log = host.daemon().log();
    assert!(log.contains("published ports that other programs could still bind"), "{log}");
    // There is enough left for the daemon itself.
    let others: Vec<_> = (0..5).map(|_| host.run("busybox").publish("80").cmd(&["sleep", "1000"]).start()).collect();
    others.iter().for_each(|other| drop(other.exec(&["true"]).ok()));
    // What is not held is looked at nevertheless.
    let _program = host.itself().listens("0.0.0.0:9500");
    let refused = host.run("busybox").publish("9000-9999:9000-9999").attempt();
    refused.complains("failed to bind host port 0.0.0.0:9500/tcp: address already in use").ends_with(125);
}

#[test]
fn containers_reach_ranges_by_the_hosts_addresses() {
    for flags in [&[][..], &["--icc=false"], &["--icc=false", "--host-access=false"]] {
        let host = Host::with(flags);
        let ranges = ["8000-8010:8000-8010", "8020-8030:9020-9030", "8000-8010:8000-8010/udp"];
        let web = ranges.iter().fold(host.run("busybox"), |run, range| run.publish(range));
        let web = web.cmd(&["sleep", "1000"]).start();
        let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
        let _tcp = host.answers_tcp(&web, [8000, 8010, 9030]);
        let _udp = host.answers_udp(&web, [8010]);
        for (who, container) in [("another container", &other), ("itself", &web)] {
            for address in ["192.0.2.1", "172.17.0.1"] {
                for (port, leads_to) in [(8000, 8000), (8010, 8010), (8030, 9030)] {
                    let said = host.asks_tcp_from(container, &format!("{address}:{port}"));
                    assert!(said.starts_with(&format!("{leads_to} ")), "{who} by {address}:{port}, {flags:?}: {said}");
                }
                let said = host.asks_udp_from(container, &format!("{address}:8010"));
                assert!(said.starts_with("8010 "), "{who} by {address}, {flags:?}: {said}");
            }
        }
    }
}
