//! Host ports: who gets which, who is kept out, and what is said to whom.

use crate::harness::{Cli, Host, until};

#[test]
fn a_taken_port_is_found_before_anything_changes() {
    let host = Host::new();
    let _first = host.run("busybox").name("first").publish("8000:80").serving().start();
    let _server = host.itself().background(&["busybox", "httpd", "-f", "-p", "8001", "-h", "/run"]);
    host.itself().sh("until (</dev/tcp/127.0.0.1/8001) 2>/dev/null; do :; done").ok();
    let before = host.traces();
    for cli in Cli::BOTH {
        let second = host.run("busybox").by(cli).name("second").publish("8000:80").serving().attempt();
        second.complains("driver failed programming external connectivity on endpoint second (").ends_with(125);
        second.complains("Bind for 0.0.0.0:8000 failed: port is already allocated");
        host.assert_as(&before);
        host.docker(&["ps", "-a", "--filter", "name=second", "--format", "{{.Status}}"]).says("Created");
        host.docker(&["rm", "second"]).ok();

        let third = host.run("busybox").by(cli).name("third").publish("8001:80").serving().attempt();
        third.complains("failed to bind host port 0.0.0.0:8001/tcp: address already in use").ends_with(125);
        host.assert_as(&before);
        host.docker(&["rm", "third"]).ok();
    }
    assert_eq!(host.lan().get("http://192.0.2.1:8000/"), "hello");
}

#[test]
fn the_same_port_on_two_addresses_and_protocols() {
    let host = Host::new();
    host.sh("ip address add 192.0.2.3/24 dev lan0").ok();
    let _a = host.run("busybox").hostname("a").publish("192.0.2.1:8080:80").serving().start();
    let _b = host
        .run("busybox")
        .hostname("b")
        .publish("192.0.2.3:8080:80")
        .publish("192.0.2.1:8080:80/udp")
        .serving()
        .start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/cgi-bin/whoami"), "a asked by 192.0.2.2");
    assert_eq!(host.lan().get("http://192.0.2.3:8080/cgi-bin/whoami"), "b asked by 192.0.2.2");
    let wildcard = host.run("busybox").publish("8080:80").serving().attempt();
    wildcard.complains("port is already allocated").ends_with(125);
}

#[test]
fn ports_that_the_daemon_chooses() {
    let host = Host::new();
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u32> = range.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let web = host.run("busybox").publish("80").serving().start();
        let port: u32 = host.docker(&["port", &web.id, "80"]).lines()[0].rsplit(':').next().unwrap().parse().unwrap();
        assert!((range[0]..=range[1]).contains(&port), "{port}");
        assert!(seen.insert(port), "{port} twice");
        assert_eq!(host.lan().get(&format!("http://192.0.2.1:{port}/")), "hello");
    }
    let all = host.run("busybox").flags(&["--expose", "80", "--expose", "81/udp", "-P"]).serving().start();
    let lines = host.docker(&["port", &all.id]);
    assert_eq!(lines.lines().iter().filter(|line| line.contains("0.0.0.0:")).count(), 2, "{lines}");
}

#[test]
fn stopping_closes_and_starting_opens_again() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    web.verb(&["stop", "--time", "0"]).ok();
    host.lan().cannot_get("http://192.0.2.1:8080/");
    // Somebody else may have the port meanwhile.
    let other = host.run("busybox").hostname("other").publish("8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/cgi-bin/whoami"), "other asked by 192.0.2.2");
    web.verb(&["start"]).complains("port is already allocated").ends_with(1);
    other.verb(&["rm", "--force"]).ok();
    web.verb(&["start"]).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

#[test]
fn a_restart_keeps_what_was_asked_for_and_chooses_the_rest_anew() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").publish("80").publish("9000-9010:81").serving().start();
    let ports = || {
        host.ports(Cli::Docker, &web.id)
            .iter()
            .map(|line| line.rsplit(':').next().unwrap().parse::<u16>().unwrap())
            .collect::<Vec<_>>()
    };
    let first = ports();
    assert!(first.contains(&8080) && first.contains(&9000) && first.len() == 3, "{first:?}");
    web.verb(&["restart", "--time", "0"]).ok();
    let second = ports();
    assert!(second.contains(&8080) && second.contains(&9000) && second.len() == 3, "{second:?}");
    assert_ne!(first, second, "the port that was chosen is chosen anew");
    for port in [8080, *second.iter().find(|port| **port > 9010).unwrap()] {
        assert_eq!(host.lan().get(&format!("http://192.0.2.1:{port}/")), "hello");
    }
    // Stopped, it has none.
    web.verb(&["stop", "--time", "0"]).ok();
    assert_eq!(host.docker(&["port", &web.id]).ok(), "");
    assert!(host.itself().can_listen("0.0.0.0:8080"));
}

#[test]
fn the_kernels_ephemeral_ports_less_the_reserved_ones() {
    let host = Host::new();
    host.sh("sysctl -qw net.ipv4.ip_local_reserved_ports=40001,40003-40004 net.ipv4.ip_local_port_range='40000 40005'")
        .ok();
    let port = |id: &str| host.docker(&["port", id, "80"]).ok();
    let web = |cli| host.run("busybox").by(cli).publish("80").cmd(&["sleep", "1000"]).start();
    let (a, b) = (web(Cli::Docker), web(Cli::Pontoon));
    assert_eq!((port(&a.id).as_str(), port(&b.id).as_str()), ("0.0.0.0:40000", "0.0.0.0:40002"));
    a.verb(&["rm", "--force"]).ok();
    let c = web(Cli::Docker);
    assert_eq!(port(&c.id), "0.0.0.0:40005", "behind the last one, though an earlier one is free");
    let d = web(Cli::Docker);
    assert_eq!(port(&d.id), "0.0.0.0:40000", "and round");
    let late = host.run("busybox").publish("80").attempt();
    late.complains("all ports are allocated").ends_with(125);
}

#[test]
fn the_words_of_port() {
    let host = Host::new();
    let flags =
        ["--expose", "82", "--publish", "8080:80", "--publish", "127.0.0.1:8081:80", "--publish", "5353:53/udp"];
    let web = host.run("busybox").name("web").flags(&flags).cmd(&["sleep", "1000"]).start();
    host.run("busybox").name("idle").publish("9000:90").create();
    for cli in Cli::BOTH {
        let port = |words: &[&str]| host.cli(cli, &[&["port"], words].concat());
        let all = "53/udp -> 0.0.0.0:5353\n80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8081";
        assert_eq!(host.ports(cli, "web").join("\n"), all);
        assert_eq!(port(&["web", "80"]).ok(), "0.0.0.0:8080\n127.0.0.1:8081");
        assert_eq!(port(&["web", "53/udp"]).ok(), "0.0.0.0:5353");
        let none = |port: &str, of: &str| format!("No public port '{port}' published for {of}");
        for (words, complaint, older) in [
            (["web", "53"], none("53", "web"), none("53/tcp", "web")),
            (["web", "82/tcp"], none("82/tcp", "web"), none("82/tcp", "web")),
            (["idle", "90"], none("90", "idle"), none("90/tcp", "idle")),
            (["nobody", "80"], "No such container: nobody".into(), "No such container: nobody".into()),
            (["web", "eighty"], "invalid port".into(), "parsing \"eighty\"".into()),
        ] {
            port(&words).ends_with(1).complains_as(cli, &complaint, &older).says("");
        }
        assert_eq!(port(&["idle"]).ok(), "");
        let shown = host.cli(cli, &["ps", "--format", "{{.Ports}}"]).ok();
        assert_eq!(shown, "82/tcp, 0.0.0.0:5353->53/udp, 0.0.0.0:8080->80/tcp, 127.0.0.1:8081->80/tcp");
    }
    drop(web);
}

#[test]
fn addresses_that_cannot_be_published_on() {
    let host = Host::new();
    let before = host.traces();
    for cli in Cli::BOTH {
        let foreign = host.run("busybox").by(cli).name("foreign").publish("203.0.113.1:8080:80").attempt();
        foreign.complains("driver failed programming external connectivity on endpoint foreign (").ends_with(125);
        foreign.complains("failed to bind host port 203.0.113.1:8080/tcp: cannot assign requested address");
        host.assert_as(&before);
        host.docker(&["ps", "--all", "--filter", "name=foreign", "--format", "{{.State}}"]).says("created");
        // It starts once the host has the address.
        host.sh("ip address add 203.0.113.1/32 dev lo").ok();
        host.docker(&["start", "foreign"]).ok();
        host.docker(&["rm", "--force", "foreign"]).ok();
        host.sh("ip address del 203.0.113.1/32 dev lo").ok();

        let ipv6 = host.run("busybox").by(cli).name("ipv6").publish("[::1]:8080:80").attempt();
        ipv6.complains("cannot publish on ::1: containers have IPv4 only").ends_with(125);
        assert_eq!(host.docker(&["ps", "--all", "--quiet"]).ok(), "");
        host.assert_as(&before);
    }
}

#[test]
fn one_host_port_twice_in_one_container() {
    let host = Host::new();
    let before = host.traces();
    for cli in Cli::BOTH {
        for second in ["8080:81", "8080:80", "192.0.2.1:8080:82", "8079-8081:79-81"] {
            let twice = host.run("busybox").by(cli).name("twice").publish("8080:80").publish(second).attempt();
            twice.complains(":8080 failed: port is already allocated").ends_with(125);
            host.assert_as(&before);
            host.docker(&["rm", "twice"]).ok();
        }
    }
    assert!(host.itself().can_listen("0.0.0.0:8080"), "nothing is left of them");
}

#[test]
fn other_programs_are_kept_out() {
    let host = Host::new();
    host.sh("ip address add 192.0.2.3/24 dev lan0").ok();
    let web =
        host.run("busybox").publish("8080:80").publish("192.0.2.1:8081:80").publish("5353:53/udp").serving().start();
    for _life in ["the first daemon", "the next one"] {
        for at in ["0.0.0.0:8080", "127.0.0.1:8080", "192.0.2.1:8080", "192.0.2.1:8081", "0.0.0.0:8081"] {
            assert!(!host.itself().can_listen(at), "{at}");
        }
        assert!(!host.itself().can_bind_udp("0.0.0.0:5353"));
        // What is published on one address is free on the others; TCP and UDP have their own.
        for at in ["127.0.0.1:8081", "192.0.2.3:8081", "0.0.0.0:5353"] {
            assert!(host.itself().can_listen(at), "{at}");
        }
        assert!(host.itself().can_bind_udp("0.0.0.0:8080"));
        host.kill_daemon();
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "ports stay published meanwhile");
        host.restart_daemon();
    }
    web.verb(&["stop", "--time", "0"]).ok();
    assert!(host.itself().can_listen("0.0.0.0:8080"));
}

#[test]
fn a_port_that_another_program_took_while_there_was_no_daemon() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").serving().start();
    host.kill_daemon();
    let program = host.itself().listens("0.0.0.0:8080");
    host.restart_daemon();
    // The container keeps it, and the log says that there are two.
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    let log = host.daemon().log();
    assert!(log.contains("a published port could not be reserved again; it stays published"), "{log}");
    // Nobody else gets it from us; and once it is given up, the other program has it.
    let other = host.run("busybox").name("other").publish("8080:80").attempt();
    other.complains("Bind for 0.0.0.0:8080 failed: port is already allocated");
    web.verb(&["restart", "--time", "0"])
        .complains("failed to bind host port 0.0.0.0:8080/tcp: address already in use");
    drop(program);
    web.verb(&["start"]).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

#[test]
fn the_port_of_a_server_that_has_gone() {
    let host = Host::new();
    let server = host.itself().background(&["busybox", "httpd", "-f", "-p", "8080", "-h", "/run"]);
    // The server closes first: its side of the connection lingers for a minute.
    let lingering = "ss --tcp --all --numeric state time-wait 'sport = 8080' | grep -c 8080";
    until("a connection of the server's lingers", || {
        host.lan().sh("exec 3<>/dev/tcp/192.0.2.1/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3");
        host.sh(lingering).code == 0
    });
    drop(server);
    let _web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.sh(lingering).code, 0, "it lingers still");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert!(!host.itself().can_listen("0.0.0.0:8080"));
}
