//! A container's own names and those of its links: who hears them, and who does not.

use super::{Answer, Upstream, dig, host_resolv_conf, host_with, names_port};
use crate::harness::{Cli, Host, until};

#[test]
fn a_container_knows_its_own_name_and_nobody_else_does() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    for cli in Cli::BOTH {
        let flags = ["--domainname", "example.org", "--add-host", "gate:host-gateway", "--add-host", "six:2001:db8::6"];
        let web =
            host.run("busybox").by(cli).name("web").hostname("front").flags(&flags).cmd(&["sleep", "1000"]).start();
        let other = host.run("busybox").by(cli).name("other").cmd(&["sleep", "1000"]).start();
        let address = web.address();
        for (asked, name) in [("front", "front."), ("FRONT.Example.Org", "FRONT.Example.Org.")] {
            let answer = dig(&host, &web, asked);
            answer.is("NOERROR", &[&format!("{name} A {address}")]);
            assert_eq!(answer.ttls, [0]);
            assert_eq!(answer.flags, ["qr", "aa", "rd", "ra"]);
        }
        dig(&host, &web, "gate").is("NOERROR", &["gate. A 172.17.0.1"]);
        dig(&host, &web, "six AAAA").is("NOERROR", &["six. AAAA 2001:db8::6"]);
        // NODATA: the name is there, addresses of that kind are not.
        let nothing = dig(&host, &web, "front AAAA");
        assert!(nothing.is("NOERROR", &[]).whole.contains("SOA"), "{nothing:?}");
        dig(&host, &web, "front MX").is("NOERROR", &[]);
        // Backwards.
        let back = |address: &str| address.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa.";
        let (own, gateway) = (back(&address), back("172.17.0.1"));
        dig(&host, &web, &format!("-x {address}")).is("NOERROR", &[&format!("{own} PTR front.example.org.")]);
        dig(&host, &web, "-x 172.17.0.1").is("NOERROR", &[&format!("{gateway} PTR gate.")]);
        dig(&host, &web, &format!("-x {}", other.address())).is("NXDOMAIN", &[]);

        // To the other they are names of nobody, or of whoever the upstream server says.
        for name in ["front", "front.example.org", "web", "gate"] {
            let before = upstream.asked(name);
            let answer = dig(&host, &other, name);
            assert!(answer.records.is_empty() && answer.status != "NOERROR", "{answer:?}");
            assert!(upstream.asked(name) > before, "{name} was handed on");
        }
        dig(&host, &other, &format!("-x {address}")).is("NXDOMAIN", &[]);
        assert_eq!(upstream.asked("2.0.17.172.in-addr.arpa"), 0, "what is ours is nobody else's business");

        // Inside, by the container's own library and files.
        for name in ["front", "gate"] {
            web.exec(&["nslookup", name]).ok();
        }
        web.exec(&["nslookup", "plain.test"]).ok();
        host.docker(&["rm", "--force", "web", "other"]).ok();
    }
}

#[test]
fn a_link_s_names_follow_its_target_and_are_its_source_s_only() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &["--host-record=db,192.0.2.99"]);
    let db = host.run("busybox").name("postgres").hostname("store").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").name("web").flags(&["--link", "postgres:db"]).cmd(&["sleep", "1000"]).start();
    let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let first = db.address();
    for name in ["db", "DB", "store", "postgres"] {
        dig(&host, &web, name).is("NOERROR", &[&format!("{name}. A {first}")]);
    }
    let back = first.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa.";
    dig(&host, &web, &format!("-x {first}")).is("NOERROR", &[&format!("{back} PTR db.")]);
    assert_eq!(upstream.asked("db"), 0);
    // The other hears what everybody hears.
    dig(&host, &other, "db").is("NOERROR", &["db. A 192.0.2.99"]);
    dig(&host, &other, "store").is("NXDOMAIN", &[]);
    dig(&host, &db, "web").is("NXDOMAIN", &[]);

    // Its address goes to somebody else; until it is back its alias is nobody, and nobody else's.
    db.verb(&["stop", "--time", "0"]).ok();
    dig(&host, &web, "db").is("NXDOMAIN", &[]);
    let thief = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let _more: Vec<_> = (0..3).map(|_| host.run("busybox").cmd(&["sleep", "1000"]).start()).collect();
    dig(&host, &web, "db").is("NXDOMAIN", &[]);
    db.verb(&["start"]).ok();
    let second = db.address();
    assert!(second != first && second != thief.address(), "{second} {first}");
    dig(&host, &web, "db").is("NOERROR", &[&format!("db. A {second}")]);

    host.docker(&["rename", "postgres", "mysql"]).ok();
    dig(&host, &web, "mysql").is("NOERROR", &[&format!("mysql. A {second}")]);
    host.docker(&["rm", "--link", "/web/db"]).ok();
    dig(&host, &web, "db").is("NOERROR", &["db. A 192.0.2.99"]);
    dig(&host, &web, "store").is("NXDOMAIN", &[]);
}

#[test]
fn who_is_no_container_is_refused() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    dig(&host, &web, "web").is("NOERROR", &[&format!("web. A {}", web.address())]);
    let port = names_port(&host);
    let before = upstream.asked("plain.test");
    for name in ["web", "plain.test"] {
        let said = host.sh(&format!("dig @172.17.0.1 -p {port} +tries=1 +timeout=5 {name}")).ok();
        Answer::read(&said).is("REFUSED", &[]);
    }
    assert_eq!(upstream.asked("plain.test"), before);
    // The gateway's address is the host's, to which a neighbour finds the way; nothing there answers him.
    host.lan().sh("ip route add 172.17.0.1 via 192.0.2.1").ok();
    let ask = |how: &str| host.lan().sh(&format!("dig @172.17.0.1 -p {port} +tries=1 +timeout=1 {how} plain.test"));
    for how in ["+notcp", "+tcp"] {
        let said = ask(how);
        assert!(
            said.code != 0 && !said.stdout.contains("REFUSED") && !said.stdout.contains("refused"),
            "{how}: {said}"
        );
    }
    let _frozen = host.freeze_daemon();
    host.sh("nft flush chain inet pontoon-pontoon0 input").ok();
    assert!(
        ask("+tcp +timeout=2").stdout.contains("timed out"),
        "the control: it connects, to a daemon that is frozen"
    );
}

/// RFC 6761: whoever asks for it means himself.
#[test]
fn localhost_is_nobody_else_s_business() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &["--host-record=localhost,192.0.2.66"]);
    let web = host.run("busybox").cmd(&["sleep", "1000"]).start();
    for name in ["localhost", "app.localhost"] {
        dig(&host, &web, name).is("NOERROR", &[&format!("{name}. A 127.0.0.1")]);
        dig(&host, &web, &format!("{name} AAAA")).is("NOERROR", &[&format!("{name}. AAAA ::1")]);
        assert_eq!(upstream.asked(name), 0);
    }
    dig(&host, &web, "-x 127.0.0.1").is("NOERROR", &["1.0.0.127.in-addr.arpa. PTR localhost."]);
    // The control.
    dig(&host, &web, "localhost.test").is("NXDOMAIN", &[]);
    assert_eq!(upstream.asked("localhost.test"), 1);
}

/// A neighbour that uses a container's address could have answers sent there, and take up the container's places.
#[test]
fn who_has_a_container_s_address_and_does_not_come_by_the_bridge_is_nobody() {
    let host = host_with(&[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let (address, port) = (web.address(), names_port(&host));
    host.lan().sh(&format!("ip address add {address}/32 dev eth0 && ip route add 172.17.0.1 via 192.0.2.1")).ok();
    let capture = |file: &str, place: &str, filter: &str| {
        let words =
            [&["nsenter", "--target", place, "--net", "tcpdump", "-n", "-i", "any", "-U", "-w", file], &[filter][..]]
                .concat();
        let capture = host.itself().background(&words);
        until("the capture has begun", || host.path(file).metadata().is_ok_and(|file| file.len() >= 24));
        capture
    };
    let heard = |file: &str| host.sh(&format!("tcpdump -n -r {file} 2>&-")).stdout.lines().count();
    let own = web.pid().to_string();
    let _asked = capture("/run/asked", "1", &format!("udp and dst port {port} and src {address}"));
    let _answered = capture("/run/answered", &own, &format!("udp and src host 172.17.0.1 and dst host {address}"));
    let ask = format!("dig -b {address}#4711 @172.17.0.1 -p {port} +tries=1 +timeout=1 web");
    until("the questions arrive", || {
        host.lan().sh(&ask);
        heard("/run/asked") > 2
    });
    // The control: the container's own question, with the same address and port, is answered, and seen to be.
    let before = heard("/run/answered");
    until("an answer is seen", || {
        dig(&host, &web, "web").is("NOERROR", &[&format!("web. A {address}")]);
        heard("/run/answered") > before
    });
    assert_eq!(before, 0, "answers to questions that the container did not ask");
}

#[test]
fn names_are_answered_where_all_else_is_closed() {
    let host = host_with(&["--icc=false", "--host-access=false"]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    for protocol in ["+notcp", "+tcp"] {
        dig(&host, &web, &format!("web {protocol}")).is("NOERROR", &[&format!("web. A {}", web.address())]);
        dig(&host, &web, &format!("plain.test {protocol}")).is("NOERROR", &["plain.test. A 192.0.2.80"]);
    }
}

#[test]
fn the_operator_s_bridge_serves_names_too() {
    let mut host = Host::bare();
    host_resolv_conf(&host, "nameserver 192.0.2.2\n");
    host.sh("ip link add br9 type bridge && ip address add 10.9.0.1/24 dev br9 && ip link set br9 up").ok();
    host.start_daemon(&["--bridge", "br9"]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    assert_eq!(web.sh("cat /etc/resolv.conf").ok(), "nameserver 10.9.0.1");
    web.exec(&["nslookup", "-type=a", "web"]).ok();
    web.exec(&["nslookup", "-type=a", "plain.test"]).ok();
}
