//! What the firewall drops it counts by its cause, and logs; a daemon that is away refuses nobody.

use std::collections::BTreeMap;

use crate::harness::packets::Station;
use crate::harness::packets::frame::{ARP, Arp, BROADCAST, IPV4, IPV6, Ipv4, Token, VLAN, arp, ethernet, tagged};
use crate::harness::{Host, until};

const WAITS: [&str; 2] = ["sleep", "1000"];

/// Packets by family and cause.
fn counted(host: &Host) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for family in ["inet", "bridge"] {
        let listed = host.sh(&format!("nft -j list counters table {family} pontoon-pontoon0")).ok();
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("nft speaks JSON");
        for object in listed["nftables"].as_array().expect("a list") {
            if let Some(name) = object["counter"]["name"].as_str() {
                counted.insert(format!("{family} {name}"), object["counter"]["packets"].as_u64().expect("a number"));
            }
        }
    }
    counted
}

/// Sends until the cause has counted more than before, which no other cause of this table may.
#[track_caller]
fn is_counted(host: &Host, cause: &str, mut send: impl FnMut()) {
    let before = counted(host);
    until(&format!("{cause} is counted"), || {
        send();
        counted(host)[cause] > before[cause]
    });
    // Containers speak IPv6 by themselves.
    let others = |all: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
        let others = all.iter().filter(|(name, _)| *name != cause && *name != "bridge ipv6");
        others.map(|(name, count)| (name.clone(), *count)).collect()
    };
    assert_eq!(others(&counted(host)), others(&before), "{cause} alone");
}

#[test]
fn the_guard_counts_what_it_drops_by_cause() {
    for flags in [&["--icc=true"][..], &["--icc=false"]] {
        let host = Host::with(flags);
        let (mallory, victim) = (host.run("busybox").cmd(&WAITS).start(), host.run("busybox").cmd(&WAITS).start());
        let (mallory, victim) = (host.station(&mallory), host.station(&victim));
        let gateway = host.station_at("pontoon0");
        // The control: in its own name it speaks and is heard.
        mallory.sh("ping -c 1 -W 5 172.17.0.1").ok();

        for (cause, frame) in made_up(&mallory, &victim, &gateway) {
            is_counted(&host, &format!("bridge {cause}"), || mallory.sends(&frame));
        }
        mallory.sh("ping -c 1 -W 5 172.17.0.1").ok();
    }
}

/// Frames that no container may send, with the cause for which they are dropped.
fn made_up(mallory: &Station<'_>, victim: &Station<'_>, gateway: &Station<'_>) -> Vec<(&'static str, Vec<u8>)> {
    let t = Token::new();
    let own = Ipv4::new(mallory.ip, gateway.ip);
    let from = |ip: std::net::Ipv4Addr| Ipv4::new(ip, gateway.ip).udp(40_000, 9, &t.0);
    let to_gateway = |packet: &[u8]| ethernet(mallory.mac, gateway.mac, IPV4, packet);
    let reply =
        |frame_mac, sender| ethernet(frame_mac, BROADCAST, ARP, &arp(Arp::Reply, sender, (BROADCAST, victim.ip), t));
    let honest = to_gateway(&own.udp(40_000, 9, &t.0));
    vec![
        ("spoofed-ip", to_gateway(&from(victim.ip))),
        ("spoofed-ip", to_gateway(&from(gateway.ip))),
        ("spoofed-ip", to_gateway(&from("127.0.0.1".parse().unwrap()))),
        ("spoofed-mac", ethernet(victim.mac, gateway.mac, IPV4, &own.udp(40_000, 9, &t.0))),
        ("spoofed-mac", ethernet(gateway.mac, BROADCAST, IPV4, &from(gateway.ip))),
        ("spoofed-mac", reply(victim.mac, (victim.mac, victim.ip))),
        ("spoofed-arp", reply(mallory.mac, (mallory.mac, victim.ip))),
        ("spoofed-arp", reply(mallory.mac, (mallory.mac, gateway.ip))),
        ("spoofed-arp", reply(mallory.mac, (victim.mac, mallory.ip))),
        ("spoofed-arp", reply(mallory.mac, (mallory.mac, "0.0.0.0".parse().unwrap()))),
        ("dhcp", to_gateway(&own.udp(67, 68, &t.0))),
        ("dhcp", ethernet(mallory.mac, BROADCAST, IPV4, &Ipv4::new([0; 4].into(), [255; 4].into()).udp(68, 67, &t.0))),
        ("ipv6", ethernet(mallory.mac, BROADCAST, IPV6, &t.0)),
        // The receiving kernel takes the tag out of the frame before any rule sees it.
        ("ethertype", tagged(&honest, VLAN, 5)),
        ("ethertype", tagged(&honest, 0x88a8, 5)),
        ("ethertype", tagged(&honest, VLAN, 0)),
        ("ethertype", tagged(&tagged(&honest, VLAN, 5), 0x88a8, 6)),
        ("ethertype", ethernet(mallory.mac, gateway.mac, 0x88b5, &t.0)),
        ("ethertype", ethernet(mallory.mac, BROADCAST, 38, &[0xaa; 38])),
        ("control", ethernet(mallory.mac, [1, 0x80, 0xc2, 0, 0, 0x03], 0x888e, &t.0)),
        ("control", ethernet(victim.mac, [1, 0x80, 0xc2, 0, 0, 0x03], IPV4, &from(victim.ip))),
    ]
}

/// A daemon that comes back changes what differs, and nothing else: what was counted stays counted.
#[test]
fn a_restart_writes_the_difference_only() {
    let host = Host::with(&["--icc=false"]);
    let range = "9000-9099:9000-9099/udp";
    let web = host.run("busybox").name("web").flags(&["--expose", "1-1000"]).publish(range).cmd(&WAITS).start();
    let _linked = host.run("busybox").flags(&["--link", "web"]).publish("8080:80").cmd(&WAITS).start();
    is_counted(&host, "inet lan", || drop(host.lan().sh(&format!("ping -c 1 -W 1 {}", web.address()))));
    let listed = || -> String {
        let text = host.sh("for f in inet arp bridge; do nft --handle list table $f pontoon-pontoon0; done").ok();
        // Elements come in any order.
        let mut words: Vec<&str> = text.split([',', '\n', '{', '}']).map(str::trim).collect();
        words.retain(|word| !word.is_empty() && !word.starts_with("packets"));
        words.sort_unstable();
        words.join("\n")
    };
    let (before, counters) = (listed(), counted(&host));
    let restart = || {
        host.kill_daemon();
        host.restart_daemon();
    };
    restart();
    assert_eq!(listed(), before, "with handles: nothing was made anew");
    assert!(counted(&host)["inet lan"] >= counters["inet lan"]);

    // Elements that came and went while nobody looked.
    host.kill_daemon();
    let table = "inet pontoon-pontoon0";
    host.sh(&format!(
        "nft add element {table} endpoints '{{ 172.17.0.99 }}' && nft flush set {table} linked_runs &&
        nft delete element {table} published_any_port '{{ tcp . 8080 : 80 }}' &&
        nft add element bridge pontoon-pontoon0 ports '{{ stranger0 }}'"
    ))
    .ok();
    assert_ne!(listed(), before);
    host.restart_daemon();
    assert_eq!(listed(), before);
    assert!(counted(&host)["inet lan"] >= counters["inet lan"]);

    // A rule that is none of ours: all is written anew, without it.
    host.kill_daemon();
    host.sh(&format!("nft insert rule {table} to_containers accept")).ok();
    host.restart_daemon();
    let without_handles = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("# handle").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    assert_eq!(without_handles(&listed()), without_handles(&before));
}

#[test]
fn what_is_dropped_is_logged_to_the_daemons_group() {
    let host = Host::with(&["--icc=false"]);
    let mallory = host.run("busybox").cmd(&WAITS).start();
    let station = host.station(&mallory);
    let spoof = ethernet(station.mac, BROADCAST, IPV4, &Ipv4::new([172, 17, 0, 99].into(), station.ip).udp(9, 9, b""));
    let group = pontoon::firewall::log_group("pontoon0");
    let group = format!("nflog:{group}");
    let address = mallory.address();
    // The daemon is the one listener of its group.
    host.kill_daemon();
    let _logger = host.itself().background(&["tcpdump", "-U", "-i", &group, "-w", "/run/log"]);
    until("the bridge's table and the routed one have logged", || {
        station.sends(&spoof);
        let _unanswered = host.lan().sh(&format!("ping -c 1 -W 1 {address}"));
        let log = std::fs::read(host.path("/run/log")).unwrap_or_default();
        let has = |text: &str| log.windows(text.len()).any(|window| window == text.as_bytes());
        has("pontoon:pontoon0:spoofed-ip ") && has("pontoon:pontoon0:lan ")
    });
    host.restart_daemon();
}

/// A client that is refused gives up; one that hears nothing asks again.
#[test]
fn nobody_is_refused_names_while_the_daemon_is_away() {
    for flags in [&["--host-access=true"][..], &["--host-access=false", "--icc=false"]] {
        let host = Host::with(flags);
        let asking = host.run("busybox").cmd(&WAITS).start();
        let asking = host.station(&asking);
        let refused = |protocol: &str, port: u16| {
            let ask = format!("exec 3<>/dev/{protocol}/172.17.0.1/{port}; echo >&3; timeout 1 cat <&3");
            asking.sh(&format!("timeout 2 bash -c '{ask}'")).stderr.contains("refused")
        };
        host.kill_daemon();
        for protocol in ["udp", "tcp"] {
            // The control: where the host may be asked at all, other ports refuse.
            assert_eq!(refused(protocol, 54), flags.len() == 1, "{protocol} {flags:?}");
            assert!(!refused(protocol, 53), "{protocol} {flags:?}");
        }
        host.restart_daemon();
    }
}

/// A host firewall that drops by default: nothing of ours helps, so that it is said, with what to do.
#[test]
fn a_host_firewall_in_the_way_is_told_of() {
    let mut host = Host::bare();
    host.sh(
        "nft 'add table inet theirs; add chain inet theirs way { type filter hook forward priority 10; policy drop; }'",
    )
    .ok();
    host.start_daemon(&[]);
    let web = host.run("busybox").publish("8080:80").serving().start();
    host.lan().cannot_get("http://192.0.2.1:8080/");
    let log = host.daemon().log();
    assert_eq!(log.matches("inet theirs way of another program drops what is routed").count(), 1, "{log}");
    let said = host.docker(&["info"]);
    assert!(said.stdout.contains("inet theirs way") || said.stderr.contains("inet theirs way"), "{said}");
    let check = host.sh(&format!("{} check", crate::harness::pontoon_binary().display()));
    assert!(check.ok().contains("inet theirs way drops what is routed"), "{check}");
    // What is said to do, helps.
    let line = log.lines().find(|line| line.contains("inet theirs way")).expect("it was said");
    let advice = line.rsplit("told otherwise: ").next().expect("a command");
    host.sh(advice).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "{advice}");
    drop(web);
    host.kill_daemon();
    let before = host.daemon().log().len();
    host.restart_daemon();
    assert!(!host.daemon().log()[before..].contains("inet theirs way"), "{}", host.daemon().log());
    host.sh("nft flush chain inet theirs way").ok();
}
