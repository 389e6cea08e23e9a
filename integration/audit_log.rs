//! `pontoon audit log`: packets that are denied are named right, and each is accounted for.

use serde_json::Value;

use crate::harness::packets::Station;
use crate::harness::packets::frame::{
    ARP, Arp, BROADCAST, EXPERIMENTAL, IPV4, IPV6, Ipv4, Mac, SYN, Token, VLAN, arp, ethernet, icmpv6, link_local,
    tagged,
};
use crate::harness::{Host, pontoon_binary, until};

const WAITS: [&str; 2] = ["sleep", "1000"];
/// Where frames go that are for the bridge itself (802.1D).
const BRIDGES: Mac = [0x01, 0x80, 0xc2, 0, 0, 3];

/// What the command line says as JSON.
#[track_caller]
fn log(host: &Host, flags: &[&str]) -> Value {
    let words = host.pontoon(&[&["audit", "log", "--json"], flags].concat()).ok();
    serde_json::from_str(&words).expect("JSON")
}

/// Those of a cause.
fn of<'a>(log: &'a Value, cause: &str) -> Vec<&'a Value> {
    let all = log["denials"].as_array().expect("a list").iter();
    all.filter(|denial| denial["cause"] == cause).collect()
}

/// Sends until it is in the log; its entry.
#[track_caller]
fn denied(host: &Host, from: &Station<'_>, frame: &[u8], cause: &str, what: &str) -> Value {
    let mut found = Value::Null;
    until(&format!("{cause}: {what} is in the log"), || {
        from.sends(frame);
        let log = log(host, &[]);
        let denial = of(&log, cause).into_iter().find(|denial| denial["what"] == what).cloned();
        found = denial.unwrap_or_default();
        !found.is_null()
    });
    found
}

/// Every packet that the kernel counted is in one of the numbers.
#[track_caller]
fn adds_up(log: &Value) {
    let number = |key: &str| log["total"][key].as_u64().expect("a number");
    let parts = ["shown", "forgotten", "unlogged", "lost", "unheard", "earlier"].map(number);
    assert_eq!(number("denied"), parts.iter().sum::<u64>(), "{log:#}");
    let shown: u64 = log["denials"].as_array().expect("a list").iter().map(|it| it["packets"].as_u64().unwrap()).sum();
    assert_eq!(shown, number("shown"), "{log:#}");
}

/// The sum of the kernel's own counters.
fn counted(host: &Host) -> u64 {
    let list = |family: &str| -> Value {
        let listed = host.sh(&format!("nft -j list counters table {family} pontoon-pontoon0")).ok();
        serde_json::from_str(&listed).expect("JSON")
    };
    let packets = |listed: Value| -> u64 {
        let objects = listed["nftables"].as_array().expect("a list").clone();
        objects.iter().filter_map(|object| object["counter"]["packets"].as_u64()).sum()
    };
    ["inet", "bridge"].into_iter().map(list).map(packets).sum()
}

#[test]
fn each_cause_by_name() {
    let host = Host::with(&["--icc=false", "--host-access=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    let [mallory, linked] = ["mallory", "linked"].map(|name| {
        let run = host.run("busybox").name(name).cmd(&WAITS);
        if name == "linked" { run.flags(&["--link", "db"]).start() } else { run.start() }
    });
    let (db_at, m) = (host.station(&db), host.station(&mallory));
    let (gateway, lan, door) = (host.station_at("pontoon0"), host.lan_station(), host.station_at("lan0"));
    let port = m.interface_on_the_host().to_owned();
    // Who may, leaves no trace.
    linked.exec(&["wget", "-qO-", "http://db/"]).says("hello");
    let before = log(&host, &[]);
    for cause in ["icc", "lan", "host", "loopback", "spoofed-mac", "spoofed-ip", "spoofed-arp", "ethertype", "control"]
    {
        assert!(of(&before, cause).is_empty(), "{cause} was made up: {before:#}");
    }

    let routed = |to: std::net::Ipv4Addr, port| {
        ethernet(m.mac, gateway.mac, IPV4, &Ipv4::new(m.ip, to).tcp(40_000, port, SYN, b""))
    };
    let check = |cause: &str, what: &str, frame: &[u8]| {
        let denial = denied(&host, &m, frame, cause, what);
        assert_eq!(denial["from"]["name"], "mallory", "{denial:#}");
        assert_eq!(denial["from"]["interface"], port.as_str(), "{denial:#}");
        denial
    };
    let denial = check("icc", "tcp/5432", &routed(db_at.ip, 5432));
    assert_eq!((&denial["to"]["name"], &denial["claims"]), (&"db".into(), &Value::Null));
    assert_eq!(denial["to"]["address"], db_at.ip.to_string());
    assert_eq!(check("host", "tcp/22", &routed(gateway.ip, 22))["to"]["name"], "host");
    assert_eq!(check("loopback", "tcp/23", &routed([127, 0, 0, 1].into(), 23))["to"]["name"], "host");

    let lie = ethernet(m.mac, gateway.mac, IPV4, &Ipv4::new(db_at.ip, [192, 0, 2, 2].into()).udp(9, 99, b""));
    let denial = check("spoofed-ip", "udp/99", &lie);
    assert_eq!((&denial["claims"]["name"], &denial["to"]["address"]), (&"db".into(), &"192.0.2.2".into()));
    let words = host.pontoon(&["audit", "log"]).ok();
    assert!(words.contains(&format!("mallory ({port}) claiming to be {} (db)", db_at.ip)), "{words}");
    let lie = ethernet(db_at.mac, gateway.mac, IPV4, &Ipv4::new(m.ip, gateway.ip).udp(9, 98, b""));
    assert_eq!(check("spoofed-mac", "udp/98", &lie)["claims"]["name"], "db");
    let lie = arp(Arp::Reply, (m.mac, gateway.ip), (db_at.mac, db_at.ip), Token::new());
    let denial = check("spoofed-arp", "arp reply", &ethernet(m.mac, db_at.mac, ARP, &lie));
    assert_eq!((&denial["claims"]["name"], &denial["to"]["name"]), (&"host".into(), &"db".into()));

    check("dhcp", "udp/68", &ethernet(m.mac, BROADCAST, IPV4, &Ipv4::new(m.ip, db_at.ip).udp(67, 68, b"")));
    let (me, other) = (link_local(m.mac), link_local(db_at.mac));
    let solicitation = icmpv6(me, other, 136, [0; 4], b"");
    check("ipv6", "icmpv6 neighbour-advertisement", &ethernet(m.mac, db_at.mac, IPV6, &solicitation));
    let plain = ethernet(m.mac, db_at.mac, EXPERIMENTAL, b"");
    assert_eq!(check("ethertype", "ethertype 0x88b5", &plain)["to"]["name"], "db");
    let on_a_vlan = tagged(&routed(db_at.ip, 81), VLAN, 7);
    check("ethertype", "tcp/81 on vlan 7", &on_a_vlan);
    check("ethertype", "802.2 frame", &ethernet(m.mac, db_at.mac, 38, &[0x42, 0x42, 3]));
    check("control", "ethertype 0x888e", &ethernet(m.mac, BRIDGES, 0x888e, b""));

    let knock = ethernet(lan.mac, door.mac, IPV4, &Ipv4::new(lan.ip, db_at.ip).tcp(40_000, 80, SYN, b""));
    let denial = denied(&host, &lan, &knock, "lan", "tcp/80");
    assert_eq!((&denial["from"]["address"], &denial["from"]["interface"]), (&"192.0.2.2".into(), &"lan0".into()));
    assert_eq!((&denial["to"]["name"], &denial["from"]["name"]), (&"db".into(), &Value::Null));

    let all = log(&host, &[]);
    adds_up(&all);
    assert_eq!((&all["version"], &all["total"]["lost"]), (&1.into(), &0.into()));
    // By container, and by time.
    let only = log(&host, &["--container", "linked"]);
    assert!(only["denials"].as_array().unwrap().iter().all(|it| it["cause"] == "ipv6"), "{only:#}");
    let only = log(&host, &["--container", &db.id[..12]]);
    assert!(!of(&only, "lan").is_empty() && !of(&only, "icc").is_empty() && of(&only, "host").is_empty(), "{only:#}");
    let none = log(&host, &["--since", "2200-01-01"]);
    assert_eq!((&none["denials"], &none["total"]["denied"]), (&Value::Array(vec![]), &all["total"]["denied"]));
}

/// Different packets without end by one container; one packet by another.
#[test]
fn a_flood_hides_nobody_else() {
    let host = Host::with(&["--icc=false"]);
    let db = host.run("busybox").name("db").cmd(&WAITS).start();
    let [mallory, other] = ["mallory", "other"].map(|name| host.run("busybox").name(name).cmd(&WAITS).start());
    let [db, mallory, other] = [&db, &mallory, &other].map(|it| host.station(it));
    let gateway = host.station_at("pontoon0");
    let knock = |from: &Station<'_>, port| {
        ethernet(from.mac, gateway.mac, IPV4, &Ipv4::new(from.ip, db.ip).udp(40_000, port, b""))
    };
    let flood = mallory.floods((1000..1300).map(|port| knock(&mallory, port)).collect());
    flood.goes_on(2000);
    other.sends(&knock(&other, 5432));
    let single = || {
        let log = log(&host, &[]);
        let icc = of(&log, "icc");
        icc.iter().any(|it| it["from"]["name"] == "other" && it["what"] == "udp/5432" && it["packets"] == 1)
    };
    until("the one packet of the other is in the log", single);
    flood.goes_on(2000);
    assert!(single(), "it stays there");
    drop(flood);

    let log = log(&host, &[]);
    adds_up(&log);
    assert!(log["total"]["unlogged"].as_u64() > Some(1000), "the control, that it was a flood: {:#}", log["total"]);
    let mut counted_then = 0;
    until("what was sent has been counted", || std::mem::replace(&mut counted_then, counted(&host)) == counted_then);
    let log = self::log(&host, &["--container", "mallory"]);
    assert_eq!(log["total"]["denied"], counted_then);
    let of_mallory = &log["containers"].as_array().unwrap().iter().find(|it| it["cause"] == "icc").unwrap().clone();
    let icc = log["causes"].as_array().unwrap().iter().find(|it| it["cause"] == "icc").unwrap().clone();
    assert_eq!(of_mallory["denied"].as_u64().unwrap() + 1, icc["denied"].as_u64().unwrap(), "{log:#}");
}

#[test]
fn what_happened_while_nobody_listened_is_said() {
    let host = Host::with(&["--icc=false"]);
    let mallory = host.run("busybox").name("mallory").cmd(&WAITS).start();
    let station = host.station(&mallory);
    let lie = ethernet(station.mac, BROADCAST, IPV4, &Ipv4::new([172, 17, 0, 99].into(), station.ip).udp(9, 9, b""));
    let spoofed =
        |log: &Value| log["causes"].as_array().unwrap().iter().find(|it| it["cause"] == "spoofed-ip").cloned();
    (0..3).for_each(|_| station.sends(&lie));
    until("three are known", || spoofed(&log(&host, &[])).is_some_and(|it| it["shown"] == 3));
    let noted = host.path("/run/pontoon/denials.json");
    until("it is noted for the next daemon", || {
        std::fs::read_to_string(&noted).is_ok_and(|text| text.contains("\"bridge spoofed-ip\":3"))
    });

    host.kill_daemon();
    (0..5).for_each(|_| station.sends(&lie));
    until("the kernel has counted", || {
        host.sh("nft list counter bridge pontoon-pontoon0 spoofed-ip").ok().contains("packets 8 ")
    });
    host.restart_daemon();
    denied(&host, &station, &lie, "spoofed-ip", "udp/9");
    let log = log(&host, &[]);
    let counts = spoofed(&log).unwrap();
    assert_eq!((&counts["earlier"], &counts["unheard"]), (&3.into(), &5.into()), "{log:#}");
    adds_up(&log);
    let words = host.pontoon(&["audit", "log"]).ok();
    assert!(words.contains("not logged while no daemon was listening"), "{words}");

    // Somebody else deletes the tables; the counters begin anew in the kernel, and go on here.
    host.sh("nft delete table bridge pontoon-pontoon0").ok();
    until("the table is there again", || {
        host.sh("nft list counter bridge pontoon-pontoon0 spoofed-ip").stdout.contains("packets")
    });
    let before = spoofed(&self::log(&host, &[])).unwrap()["denied"].as_u64();
    assert!(before >= Some(9), "{before:?}");
    station.sends(&lie);
    until("one more", || spoofed(&self::log(&host, &[])).unwrap()["denied"].as_u64() > before);
}

/// The kernel tells a group to one listener. More than it can keep is lost, and said to be.
#[test]
fn who_cannot_hear_says_so() {
    let host = Host::with(&["--icc=false"]);
    host.stop_daemon();
    let group = pontoon::firewall::log_group("pontoon0");
    let other = host.itself().background(&["tcpdump", "-i", &format!("nflog:{group}"), "-w", "/dev/null"]);
    let listens = || host.sh("cat /proc/net/netfilter/nfnetlink_log").stdout.contains(&group.to_string());
    until("another program listens", listens);
    host.restart_daemon();
    let mallory = host.run("busybox").name("mallory").cmd(&WAITS).start();
    let station = host.station(&mallory);
    let lie = ethernet(station.mac, BROADCAST, IPV4, &Ipv4::new([172, 17, 0, 99].into(), station.ip).udp(9, 9, b""));
    station.sends(&lie);
    until("it is counted", || log(&host, &[])["total"]["unheard"].as_u64() > Some(0));
    let words = host.pontoon(&["audit", "log"]).ok();
    assert!(words.contains(&format!("another program listens to nflog group {group}")), "{words}");
    drop(other);
    denied(&host, &station, &lie, "spoofed-ip", "udp/9");
    let heard = log(&host, &[]);
    assert!(heard["trouble"].is_null() && heard["listening_since"].is_string(), "{heard:#}");
    assert_eq!(heard["total"]["lost"], 0);

    // Somebody's rules without a limit write to the same group, while the daemon does not read.
    let frozen = host.freeze_daemon();
    host.sh(&format!(
        "nft 'table ip loud {{ chain o {{ type filter hook output priority 0; log group {group}; }}; }}'"
    ))
    .ok();
    host.sh("busybox ping -q -c 1 127.0.0.1; timeout 20 ping -q -f -c 30000 127.0.0.1").ok();
    (0..5).for_each(|_| station.sends(&lie));
    drop(frozen);
    host.sh("nft delete table ip loud").ok();
    until("it says that something was lost", || {
        station.sends(&lie);
        log(&host, &[])["total"]["lost"].as_u64() > Some(0)
    });
    adds_up(&log(&host, &[]));
}

#[test]
fn it_can_be_followed() {
    let host = Host::new();
    let mallory = host.run("busybox").name("mallory").cmd(&WAITS).start();
    let station = host.station(&mallory);
    let lie = |port| {
        ethernet(station.mac, BROADCAST, IPV4, &Ipv4::new([172, 17, 0, 99].into(), station.ip).udp(9, port, b""))
    };
    denied(&host, &station, &lie(7), "spoofed-ip", "udp/7");
    let follow = |flags: &str, to: &str| {
        let program = pontoon_binary().display().to_string();
        let script = format!("DOCKER_HOST=unix:///run/pontoon/pontoon.sock exec {program} audit log -f {flags} >{to}");
        host.itself().background(&["bash", "-c", &script])
    };
    let (_words, _lines) = (follow("", "/run/words"), follow("--json --container mallory", "/run/lines"));
    let read = |path: &str| std::fs::read_to_string(host.path(path)).unwrap_or_default();
    until("what was before is told first", || ["/run/words", "/run/lines"].iter().all(|it| read(it).contains("udp/7")));
    until("what comes is told", || {
        station.sends(&lie(8));
        ["/run/words", "/run/lines"].iter().all(|path| read(path).contains("udp/8"))
    });
    assert!(read("/run/words").contains("claiming to be 172.17.0.99"), "{}", read("/run/words"));
    for line in read("/run/lines").lines() {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        assert_eq!(line["version"], 1, "{line}");
    }
    // Without a default network nothing is denied, and that is said.
    assert_eq!(host.pontoon(&["audit", "log", "--since", "soon"]).code, 1);
}
