//! `pontoon audit probe`: what it finds is so, what it says it sent was sent, and nobody's program notices.

use serde_json::Value;

use crate::harness::{Container, Host, Noticed};

const WAITS: [&str; 2] = ["sleep", "1000"];

/// What came of a probe: its exit code, and all that was sent.
struct Probed {
    code: i32,
    sent: Vec<Value>,
    whole: Value,
}

#[track_caller]
fn probe(host: &Host, flags: &[&str]) -> Probed {
    let outcome = host.pontoon(&[&["audit", "probe", "--json"][..], flags].concat());
    let whole: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    Probed { code: outcome.code, sent: whole["sent"].as_array().unwrap().clone(), whole }
}

impl Probed {
    /// What came of those from here to there whose words begin so: found, seen.
    fn found(&self, from: &str, to: &str, what: &str) -> Vec<(&str, &str)> {
        let is_it = |it: &&Value| {
            it["from"] == from && it["to"] == to && it["what"].as_str().is_some_and(|words| words.starts_with(what))
        };
        let found = self.sent.iter().filter(is_it);
        found.map(|it| (it["found"].as_str().unwrap(), it["seen"].as_str().unwrap())).collect()
    }

    /// That these came to `verdict`, all of them, and that there was one.
    #[track_caller]
    fn is(&self, from: &str, to: &str, what: &str, verdict: &str) -> &str {
        let found = self.found(from, to, what);
        assert!(!found.is_empty(), "{from} to {to}: {what} was not sent:\n{self}");
        assert!(found.iter().all(|it| it.0 == verdict), "{from} to {to}: {what} should be {verdict}: {found:?}");
        found[0].1
    }

    #[track_caller]
    fn agrees(&self) {
        assert_eq!((self.code, &self.whole["findings"]), (0, &serde_json::json!([])), "{self}");
    }

    /// Words of what it found, for each finding.
    fn findings(&self) -> Vec<&str> {
        self.whole["findings"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect()
    }
}

impl std::fmt::Display for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for it in &self.sent {
            writeln!(
                f,
                "{} {} {}: {} {} {}",
                it["from"], it["to"], it["what"], it["expected"], it["found"], it["seen"]
            )?;
        }
        writeln!(f, "untried: {:#}", self.whole["untried"])
    }
}

/// Where a container's port on the bridge is.
fn port_of(host: &Host, container: &Container<'_>) -> String {
    let index =
        format!("nsenter --net=/proc/{}/ns/net ip -json link show dev eth0 | jq .[0].link_index", container.pid());
    let index = host.sh(&index).ok();
    let name = host.sh(&format!("ip -json link show | jq -r '.[] | select(.ifindex == {index}) | .ifname'"));
    name.ok()
}

/// Containers of all archetypes: nothing disagrees, and what is allowed and what is not is what it should be.
#[test]
fn clean_hosts_agree() {
    for icc in [true, false] {
        let host = Host::with(&[&format!("--icc={icc}")]);
        let db = host.run("busybox").name("db").flags(&["--expose", "5432", "--expose", "53/udp"]).cmd(&WAITS).start();
        let web = host.run("busybox").name("web").publish("8080:80").publish("127.0.0.1:8081:81/udp");
        let web = web.flags(&["--link", "db"]).serving().start();
        let _lonely = host.run("busybox").name("lonely").flags(&["--expose", "1000-1010"]).cmd(&WAITS).start();
        let _joined = host.run("busybox").name("joined").net("container:web").cmd(&WAITS).start();
        let _open = host.run("busybox").name("open").net("host").cmd(&WAITS).start();
        let _closed = host.run("busybox").name("closed").net("none").cmd(&WAITS).start();
        let probed = probe(&host, &[]);
        probed.agrees();
        let neighbours = if icc { "allow" } else { "deny" };
        let (db, web) = (db.address(), web.address());
        probed.is("web", "db", &format!("TCP SYN to {db}:5432"), "allow");
        probed.is("web", "db", &format!("UDP to {db}:53,"), "allow");
        probed.is("lonely", "db", "TCP SYN", neighbours);
        probed.is("lonely", "db", "UDP", neighbours);
        probed.is("db", "web", &format!("TCP SYN to {web}:80"), neighbours);
        probed.is("db", "web", "ICMP echo", neighbours);
        assert_eq!(probed.is("db", "web", "TCP SYN to 172.17.0.1:8080", "allow"), "web's SYN-ACK came back");
        probed.is("host", "web", "TCP SYN to 127.0.0.1:8080", "allow");
        probed.is("host", "web", "UDP to 127.0.0.1:8081", "allow");
        probed.is("host", "db", "TCP SYN", "allow");
        assert!(probed.is("closed", "db", "TCP SYN", "deny").contains("no way there"));
        for what in ["a frame of ethertype", "a frame on VLAN", "an IPv6", "ARP reply in the name of the gateway"] {
            for from in ["db", "web", "lonely"] {
                probed.is(from, "everybody on the bridge", what, "deny");
            }
        }
        probed.is("web", "host", "UDP to the host's 127.0.0.1", "deny");
        let words = host.pontoon(&["audit", "probe", "--from", "web", "--to", "db"]);
        assert_eq!(words.code, 0, "{words}");
        assert!(words.stdout.contains("all as intended") && !words.stdout.contains("lonely"), "{words}");
    }
}

/// Listeners of TCP accept nothing, and those of UDP receive nothing, while both are probed and found reachable.
#[test]
fn no_program_notices() {
    let host = Host::new();
    let server = host.run("busybox").name("server").publish("7000:7000").publish("7000:7000/udp").cmd(&WAITS).start();
    let client = host.run("busybox").name("client").cmd(&WAITS).start();
    let witness = host.witness(&server, 7000);
    let probed = probe(&host, &["--to", "server"]);
    probed.agrees();
    let address = server.address();
    for from in ["client", "host"] {
        assert_eq!(
            probed.is(from, "server", &format!("TCP SYN to {address}:7000"), "allow"),
            "server's SYN-ACK came back"
        );
        probed.is(from, "server", &format!("UDP to {address}:7000"), "allow");
    }
    probed.is("client", "server", "UDP to 172.17.0.1:7000", "allow");
    probed.is("host", "server", "UDP to 127.0.0.1:7000", "allow");
    assert_eq!(witness.noticed(), Noticed::default());
    let half_open = host.sh(&format!("nsenter --net=/proc/{}/ns/net cat /proc/net/tcp", server.pid())).ok();
    assert!(!half_open.lines().any(|line| line.contains(" 03 ")), "nothing stays half open: {half_open}");
    // The control: the witness notices who means it.
    let there = format!("nsenter --net=/proc/{}/ns/net bash -c", client.pid());
    let says = |words: &str| host.sh(&format!("{there} 'echo {words} >/dev/udp/{address}/7000'")).ok();
    host.sh(&format!("{there} ': </dev/tcp/{address}/7000'")).ok();
    says("hello");
    let noticed = witness.noticed();
    assert_eq!((noticed.connections, noticed.datagrams), (1, vec![b"hello\n".to_vec()]));
    // What kept datagrams from the program has gone with the probe.
    assert_eq!(probe(&host, &["--to", "server"]).code, 0);
    says("again");
    assert_eq!(witness.noticed().datagrams, [b"again\n".to_vec()]);
}

/// What others' tables drop, refuse and lead astray is found, and told apart.
#[test]
fn what_others_do_is_found() {
    let host = Host::with(&["--icc=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "5432", "--expose", "5353/udp"]).cmd(&WAITS).start();
    let web = host.run("busybox").name("web").publish("8080:80").flags(&["--link", "db"]).serving().start();
    probe(&host, &[]).agrees();
    let (db_address, web_address) = (db.address(), web.address());
    let table = |rules: &str| {
        host.sh(&format!("nft delete table ip other 2>/dev/null; nft 'table ip other {{ {rules}; }}'")).ok();
    };
    let forward = |rule: &str| table(&format!("chain f {{ type filter hook forward priority 10; {rule}; }}"));

    forward("tcp dport 5432 drop");
    let probed = probe(&host, &["--to", "db"]);
    assert_eq!(probed.code, 3, "{probed}");
    assert!(probed.is("web", "db", "TCP SYN", "deny").starts_with("nothing arrived at db"));
    probed.is("web", "db", "UDP", "allow");
    assert!(probed.findings().iter().all(|it| it.starts_with("web to db: TCP SYN")), "{:?}", probed.findings());
    let finding = &probed.whole["findings"][0];
    assert_eq!((&finding["kind"], &finding["severity"]), (&"probe-disagrees".into(), &"medium".into()));

    forward("tcp dport 5432 reject with tcp reset");
    let probed = probe(&host, &["--from", "web", "--to", "db"]);
    assert!(probed.is("web", "db", "TCP SYN", "deny").contains("an RST that is not the target's"), "{probed}");

    forward("udp dport 5353 reject");
    let probed = probe(&host, &["--from", "web", "--to", "db"]);
    probed.is("web", "db", "UDP", "deny");

    forward("tcp sport 5432 drop");
    let probed = probe(&host, &["--from", "web", "--to", "db"]);
    assert!(probed.is("web", "db", "TCP SYN", "deny").contains("answer did not come back"), "{probed}");

    table(&format!("chain n {{ type nat hook output priority -150; tcp dport 8080 dnat to {db_address}:5432; }}"));
    let probed = probe(&host, &["--from", "host", "--to", "web"]);
    assert_eq!(probed.is("host", "web", "TCP SYN to 127.0.0.1:8080", "deny"), "it reached db instead", "{probed}");
    assert_eq!(probed.code, 3);
    host.sh("nft delete table ip other").ok();

    let inside = format!("nsenter --net=/proc/{}/ns/net nft", web.pid());
    host.sh(&format!(
        "{inside} 'table ip mine {{ chain i {{ type filter hook input priority 0; tcp dport 80 drop; }}; }}'"
    ))
    .ok();
    let probed = probe(&host, &["--from", "host", "--to", "web"]);
    let seen = probed.is("host", "web", &format!("TCP SYN to {web_address}:80"), "deny");
    assert_eq!(seen, "it arrived at web's interface and went no further");
    host.sh(&format!("{inside} delete table ip mine")).ok();
    probe(&host, &[]).agrees();
}

/// The control of what frames do: where one container's wire is copied to another's, they are heard there.
#[test]
fn frames_that_come_through_are_heard() {
    for icc in [true, false] {
        let host = Host::with(&[&format!("--icc={icc}")]);
        let liar = host.run("busybox").name("liar").cmd(&WAITS).start();
        let victim = host.run("busybox").name("victim").cmd(&WAITS).start();
        let third = host.run("busybox").name("third").cmd(&WAITS).start();
        probe(&host, &[]).agrees();
        let (from, to) = (port_of(&host, &liar), port_of(&host, &victim));
        host.sh(&format!(
            "nft 'table netdev tap {{ chain in {{ type filter hook ingress device {from} priority 0; dup to {to}; }}; }}'"
        ))
        .ok();
        let probed = probe(&host, &["--from", "liar"]);
        assert_eq!(probed.code, 3, "{probed}");
        let strays: Vec<_> = probed.sent.iter().filter(|it| it["cell"].is_null()).collect();
        assert!(strays.len() > 10, "{probed}");
        for stray in strays.iter().filter(|it| !it["what"].as_str().unwrap().contains("127.0.0.1")) {
            assert_eq!((&stray["found"], &stray["seen"]), (&"allow".into(), &"it arrived at victim".into()), "{stray}");
        }
        assert!(probed.whole["findings"].as_array().unwrap().iter().any(|it| it["severity"] == "high"));
        // Nobody believes anything that is not so.
        let neighbours = |of: &Container<'_>| {
            let words = host.sh(&format!("nsenter --net=/proc/{}/ns/net ip -json neigh show", of.pid())).ok();
            let all: Value = serde_json::from_str(&words).unwrap();
            let known = all.as_array().unwrap().iter().filter(|it| it["lladdr"].is_string());
            known.map(|it| (it["dst"].as_str().unwrap().to_owned(), it["lladdr"].clone())).collect::<Vec<_>>()
        };
        let gateway = host.sh("ip -json link show pontoon0 | jq -r .[0].address").ok();
        for (address, mac) in neighbours(&victim) {
            let truth = [&liar, &victim, &third].into_iter().find(|it| it.address() == address);
            let truth = truth
                .filter(|_| icc)
                .map_or_else(|| gateway.clone(), |it| it.inspect("{{.NetworkSettings.MacAddress}}"));
            assert_eq!(mac, Value::from(truth), "{address}");
        }
        host.sh("nft delete table netdev tap").ok();
        probe(&host, &[]).agrees();
    }
}

/// Where others' rules may change ports, nobody knows any more which datagrams to keep from a program: it gets none.
#[test]
fn no_program_notices_where_others_rewrite() {
    let host = Host::with(&["--icc=false"]);
    let server =
        host.run("busybox").name("server").publish("7000:7000/udp").publish("7001:7001/udp").cmd(&WAITS).start();
    let _client = host.run("busybox").name("client").cmd(&WAITS).start();
    let witness = host.witness(&server, 7000);
    host.sh("nft 'table ip other { chain p { type nat hook postrouting priority 90; oifname pontoon0 masquerade random; }; }'")
        .ok();
    let probed = probe(&host, &["--to", "server"]);
    assert_eq!(witness.noticed(), Noticed::default());
    let untried = probed.whole["untried"].to_string();
    assert!(
        untried.contains("UDP to 172.17.0.1:7000, with a receiver (server): a program has the port open"),
        "{probed}"
    );
    probed.is("client", "server", "UDP to 172.17.0.1:7001", "allow");
    host.sh("nft delete table ip other").ok();
    let probed = probe(&host, &["--to", "server"]);
    probed.is("client", "server", "UDP to 172.17.0.1:7000", "allow");
    assert_eq!(witness.noticed(), Noticed::default());
}

#[test]
fn bad_questions_are_answered() {
    let host = Host::new();
    let outcome = host.pontoon(&["audit", "probe", "--from", "nobody"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(outcome.stderr.contains("nobody"), "{outcome}");
}
