//! `pontoon audit explain`: what it says is what packets do.

use crate::harness::{Container, Host};

/// The audit's verdict about a packet, by its exit code, and its words.
#[track_caller]
fn explain(host: &Host, packet: &str) -> (i32, String) {
    let outcome = host.pontoon(&[&["audit", "explain"][..], &packet.split(' ').collect::<Vec<_>>()].concat());
    (outcome.code, format!("{}{}", outcome.stdout, outcome.stderr))
}

fn tcp(from: &str, to: &str, port: u16) -> String {
    format!("src={from} dst={to} proto=tcp dport={port}")
}

/// Whether a TCP connection really comes about.
fn reaches(from: &Container<'_>, to: &str, port: u16) -> bool {
    from.sh(&format!("nc -w 1 {to} {port} </dev/null")).code == 0
}

#[test]
fn neighbours_with_and_without_icc() {
    for icc in [true, false] {
        let host = Host::with(&[&format!("--icc={icc}")]);
        let server = host.run("busybox").name("server").serving().start();
        let client = host.run("busybox").name("client").cmd(&["sleep", "1000"]).start();
        let (code, words) = explain(&host, &tcp(&client.address(), &server.address(), 80));
        let really = reaches(&client, &server.address(), 80);
        assert_eq!(really, icc, "the kernel");
        assert_eq!(code, if icc { 0 } else { 1 }, "icc {icc}: {words}");
        // What a container sends with another's address is nobody's, with and without.
        let port = explain(&host, &format!("{} smac=02:00:00:00:00:01", tcp(&client.address(), &server.address(), 80)));
        assert_eq!(port.0, 1, "icc {icc}: {}", port.1);
    }
}

#[test]
fn a_published_port_and_somebody_elses_table() {
    let host = Host::new();
    let server = host.run("busybox").name("server").publish("8080:80").serving().start();
    let from_lan = format!("{} iif=lan0", tcp("192.0.2.2", "192.0.2.1", 8080));
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    let (code, words) = explain(&host, &from_lan);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains(&format!("the destination becomes {} port 80", server.address())), "{words}");

    host.sh("nft 'table ip other { chain f { type filter hook forward priority 10; policy accept; \
         tcp dport 80 counter drop comment \"not here\"; }; }'")
        .ok();
    host.lan().cannot_get("http://192.0.2.1:8080/");
    let (code, words) = explain(&host, &from_lan);
    assert_eq!(code, 1, "{words}");
    assert!(words.starts_with("DROP"), "{words}");
    assert!(words.contains("ip other f handle") && words.contains("\"not here\": drop"), "{words}");
    let json = host
        .pontoon(&[&["audit", "explain", "--format", "json"][..], &from_lan.split(' ').collect::<Vec<_>>()].concat());
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["version"], &json["explanation"]["judgement"]), (&1.into(), &"drop".into()));
    assert_eq!(json["explanation"]["ways"][0]["decided_by"]["table"], "other");
    host.sh("nft delete table ip other").ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

#[test]
fn what_cannot_be_said_is_unknown() {
    let host = Host::new();
    host.sh("nft 'table ip other { \
         set slow { type inet_service; limit rate 1/hour; elements = { 17 }; }; \
         set counted { type inet_service; counter; elements = { 18 }; }; \
         chain f { type filter hook input priority 0; policy drop; \
         tcp dport 7 limit rate 1/hour accept; tcp dport @slow accept; tcp dport @counted accept; }; }'")
        .ok();
    // An element's own limit may keep it from matching; its counter does not.
    for (port, expected) in [(17, 2), (18, 0)] {
        let (code, words) = explain(&host, &format!("{} iif=lan0", tcp("192.0.2.2", "192.0.2.1", port)));
        assert_eq!(code, expected, "{port}: {words}");
        assert!(words.contains("limit") == (expected == 2), "{port}: {words}");
    }
    let (code, words) = explain(&host, &format!("{} iif=lan0", tcp("192.0.2.2", "192.0.2.1", 7)));
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("limit"), "{words}");
    let (code, words) = explain(&host, &format!("{} iif=lan0", tcp("192.0.2.2", "192.0.2.1", 8)));
    assert_eq!(code, 1, "{words}");
    let (code, words) = explain(&host, "src=192.0.2.2 dst=192.0.2.1 prot=tcp");
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("no key \"prot\""), "{words}");
    host.sh("nft delete table ip other").ok();
}
