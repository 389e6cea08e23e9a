//! Published ports: who reaches them, and who does not.

use crate::harness::{Cli, Host, until};

#[test]
fn reached_from_every_side() {
    let host = Host::new();
    for (cli, port) in [(Cli::Docker, 8080), (Cli::Pontoon, 8081)] {
        let web = host.run("busybox").by(cli).hostname("web").publish(&format!("{port}:80")).serving().start();

        // A neighbour on the LAN, seen under its own address.
        assert_eq!(host.lan().get(&format!("http://192.0.2.1:{port}/cgi-bin/whoami")), "web asked by 192.0.2.2");
        // The host, by each of its addresses.
        for address in ["192.0.2.1", "127.0.0.1", "172.17.0.1", "127.0.0.77"] {
            assert_eq!(host.itself().get(&format!("http://{address}:{port}/")), "hello", "{address}");
        }
        // Another container, and the container itself, by the host's address (hairpin).
        for address in ["192.0.2.1", "172.17.0.1"] {
            let url = format!("http://{address}:{port}/");
            host.run("busybox").cmd(&["wget", "-qO-", &url]).once().says("hello");
            web.exec(&["wget", "-qO-", &url]).says("hello");
        }
        assert_eq!(host.docker(&["port", &web.id]).lines()[0], format!("80/tcp -> 0.0.0.0:{port}"));
    }
}

#[test]
fn one_address_only() {
    let host = Host::new();
    let _web = host.run("busybox").publish("192.0.2.1:8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert_eq!(host.itself().get("http://192.0.2.1:8080/"), "hello");
    host.itself().cannot_get("http://127.0.0.1:8080/");
    host.itself().cannot_get("http://172.17.0.1:8080/");
}

#[test]
fn udp() {
    let host = Host::new();
    // busybox has no UDP server; the host's perl has.
    let echo = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die;
        while ($s->recv(my $m, 1500)) { $s->send($m) }"#;
    let _echo = host
        .run("busybox")
        .flags(&["--volume", "/:/host:ro"])
        .publish("5353:53/udp")
        .cmd(&["chroot", "/host", "perl", "-e", echo])
        .start();
    for (name, client, address) in [
        ("the neighbour", host.lan(), "192.0.2.1"),
        ("the host", host.itself(), "192.0.2.1"),
        ("the host's loopback", host.itself(), "127.0.0.1"),
    ] {
        let ask = format!("exec 3<>/dev/udp/{address}/5353; echo ping >&3; timeout 1 head -1 <&3");
        until(&format!("the echo answers {name}"), || client.sh(&ask).stdout == "ping\n");
    }
}

#[test]
fn ports_that_are_not_published_cannot_be_reached_by_routing() {
    let host = Host::new();
    let web = host
        .run("busybox")
        .publish("8080:80")
        .cmd(&["sh", "-c", "httpd -p 81 -h /www; httpd -f -p 80 -h /www"])
        .start();
    let address = web.address();
    // The controls: it serves both ports, the neighbour has a route and reaches what is published.
    assert_eq!(host.itself().get(&format!("http://{address}/")), "hello");
    assert_eq!(host.itself().get(&format!("http://{address}:81/")), "hello");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert!(host.lan().pings("172.17.0.1"), "the neighbour's route leads to the bridge");

    host.lan().cannot_get(&format!("http://{address}:81/"));
    host.lan().cannot_get("http://192.0.2.1:81/");
    host.lan().cannot_get("http://192.0.2.1:80/");
}

#[test]
fn published_on_loopback_stays_on_the_host() {
    let host = Host::new();
    let _web = host.run("busybox").publish("127.0.0.1:8080:80").serving().start();
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello");
    host.lan().cannot_get("http://192.0.2.1:8080/");

    // A neighbour that routes 127/8 here. The capture is the control: its packets do arrive.
    host.lan()
        .sh("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1 &&
             ip route del local 127.0.0.0/8 dev lo table local && ip route del local 127.0.0.1 dev lo table local &&
             ip route add 127.0.0.0/8 via 192.0.2.1 dev eth0 src 192.0.2.2")
        .ok();
    let filter = ["tcpdump", "-i", "lan0", "-w", "/run/capture", "-U", "tcp", "and", "dst", "127.0.0.1"];
    let capture = host.itself().background(&filter);
    until("the neighbour's packets arrive", || {
        host.lan().cannot_get("http://127.0.0.1:8080/");
        host.path("/run/capture").metadata().is_ok_and(|file| file.len() > 24)
    });
    drop(capture);
    host.lan().cannot_get("http://127.0.0.1:8080/");
}

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
fn a_range_of_ports() {
    let host = Host::new();
    let web = host
        .run("busybox")
        .publish("8000-8002:80-82")
        .sh("httpd -p 81 -h /www; httpd -p 82 -h /www/cgi-bin; httpd -f -h /www")
        .start();
    assert_eq!(host.lan().get("http://192.0.2.1:8000/"), "hello");
    assert_eq!(host.lan().get("http://192.0.2.1:8001/"), "hello");
    let bindings = web.inspect("{{range $p, $b := .NetworkSettings.Ports}}{{$p}}={{(index $b 0).HostPort}} {{end}}");
    assert_eq!(bindings.trim(), "80/tcp=8000 81/tcp=8001 82/tcp=8002");
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
fn the_daemons_default_address() {
    let host = Host::with(&["--ip", "127.0.0.1"]);
    let web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello");
    host.lan().cannot_get("http://192.0.2.1:8080/");
    assert_eq!(host.docker(&["port", &web.id]).ok(), "80/tcp -> 127.0.0.1:8080");
}
