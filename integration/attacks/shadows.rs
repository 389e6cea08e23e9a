//! Shadows of ports: who speaks from a service's port, in the host's name, would be sent what comes to the service from
//! whomever it spoke to (CVE-2021-3773). And doors of others: rules that lead to what nobody published.

use std::net::Ipv4Addr;

use crate::harness::Host;
use crate::harness::packets::frame::{IPV4, Ipv4, SYN, ethernet};
use crate::harness::packets::{Attack, Station, attack, volley};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

/// An engine that publishes and masquerades, and keeps source ports.
fn naive(host: &Host, web: &Station<'_>) {
    let rules = format!(
        "add table ip control
         add chain ip control prerouting {{ type nat hook prerouting priority -100; }}
         add chain ip control postrouting {{ type nat hook postrouting priority 100; }}
         add rule ip control prerouting ip daddr 192.0.2.1 udp dport 8080 dnat to {}:80
         add rule ip control postrouting ct status dnat masquerade
         add rule ip control postrouting ip saddr 172.17.0.0/16 oifname lan0 masquerade",
        web.ip
    );
    host.sh(&format!("nft '{rules}'")).ok();
}

fn datagram(name: &str, from: &Station<'_>, to: (&Station<'_>, Ipv4Addr), ports: (u16, u16)) -> Attack {
    let frame =
        |payload: &[u8]| ethernet(from.mac, to.0.mac, IPV4, &Ipv4::new(from.ip, to.1).udp(ports.0, ports.1, payload));
    attack(name, |token| frame(&token.0))
}

#[test]
fn nobody_stands_in_the_shadow_of_a_published_port() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80/udp").cmd(&["sleep", "1000"]).start();
    let thief = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (web, thief) = (host.station(&web), host.station(&thief));
    let (lan, door, gateway) = (host.lan_station(), host.station_at("lan0"), host.station_at("pontoon0"));
    // The thief says something to the client from the number of the published port; then the client comes to that port.
    let client = |port: u16| {
        let opens = [datagram("a word to the client", &thief, (&gateway, lan.ip), (8080, port))];
        volley(&thief, &[&lan], &opens).everything();
        [datagram("the client's question", &lan, (&door, door.ip), (port, 8080))]
    };
    let question = client(7001);
    volley(&lan, &[&thief], &question).nothing();
    volley(&lan, &[&web], &question).everything();
    host.without_defences(|| {
        naive(&host, &web);
        let question = client(7002);
        let seen = volley(&lan, &[&thief], &question);
        host.sh("nft delete table ip control").ok();
        seen.everything();
    });
}

#[test]
fn nobody_stands_in_the_shadow_of_the_gateways_names() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80/udp").cmd(&["sleep", "1000"]).start();
    let thief = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (web, thief) = (host.station(&web), host.station(&thief));
    let (door, gateway) = (host.station_at("lan0"), host.station_at("pontoon0"));
    // The thief comes to the published port from port 53; then its container asks, from that port, for a name.
    let ask = |port: u16| {
        let opens = [datagram("to the published port", &thief, (&gateway, door.ip), (port, 8080))];
        volley(&thief, &[&web], &opens).everything();
        [datagram("a question for a name", &web, (&gateway, GATEWAY), (80, port))]
    };
    let question = ask(53);
    volley(&web, &[&thief], &question).nothing();
    host.without_defences(|| {
        naive(&host, &web);
        // Another port: the flow to that of names is remembered.
        let question = ask(54);
        let seen = volley(&web, &[&thief], &question);
        host.sh("nft delete table ip control").ok();
        seen.everything();
    });
}

/// Rules of others lead from the host's ports to a container that does not publish them, or publishes them elsewhere.
#[test]
fn rules_of_others_open_nothing_that_is_not_published() {
    let host = Host::with(&["--icc=false"]);
    let db = host.run("busybox").publish("127.0.0.1:8090:90/udp").flags(&["--expose", "5432"]).cmd(&["sleep", "1000"]);
    let db = db.start();
    let scratch = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (db, scratch) = (host.station(&db), host.station(&scratch));
    let (lan, door, gateway) = (host.lan_station(), host.station_at("lan0"), host.station_at("pontoon0"));
    let rules = format!(
        "add table ip others
         add chain ip others prerouting {{ type nat hook prerouting priority -101; }}
         add rule ip others prerouting tcp dport 8081 dnat to {0}:5432
         add rule ip others prerouting udp dport 8081 dnat to {0}:5432
         add rule ip others prerouting udp dport 8082 dnat to {0}:90",
        db.ip
    );
    host.sh(&format!("nft '{rules}'")).ok();
    let connection = |from: &Station<'_>, to: (&Station<'_>, Ipv4Addr)| {
        let frame = |payload: &[u8]| {
            ethernet(from.mac, to.0.mac, IPV4, &Ipv4::new(from.ip, to.1).tcp(40_000, 8081, SYN, payload))
        };
        attack("TCP", |token| frame(&token.0))
    };
    for (from, to) in [(&lan, (&door, door.ip)), (&scratch, (&gateway, GATEWAY))] {
        let attacks = || {
            [
                connection(from, to),
                datagram("UDP", from, to, (40_001, 8081)),
                datagram("to what is published on loopback", from, to, (40_002, 8082)),
            ]
        };
        volley(from, &[&db], &attacks()).nothing();
        host.without_defences(|| volley(from, &[&db], &attacks()).everything());
        volley(from, &[&db], &attacks()).nothing();
    }
    host.sh("nft delete table ip others").ok();
}
