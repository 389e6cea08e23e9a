//! From the LAN: what is published, and nothing else.

use std::net::Ipv4Addr;

use crate::harness::Host;
use crate::harness::packets::frame::{ACK, IPV4, Ipv4, SYN, Token, ethernet};
use crate::harness::packets::{Attack, Station, attack, volley};

/// A host that lets its neighbours choose the way of their packets, and believes where they come from.
const CREDULOUS: &str = "for key in accept_source_route=1 rp_filter=0 accept_local=1 route_localnet=1; do
    for where in all lan0 pontoon0; do sysctl -qw net.ipv4.conf.$where.$key; done; done";

/// A neighbour that has a route to the containers, and lies about where it is.
#[test]
fn there_is_no_way_to_what_is_not_published() {
    for icc in ["--icc=true", "--icc=false"] {
        let host = Host::with(&[icc]);
        host.sh(CREDULOUS).ok();
        let victim = host.run("busybox").publish("8080:80").flags(&["--expose", "81"]).serving().start();
        let friend = host.run("busybox").cmd(&["sleep", "1000"]).start();
        let (victim, friend) = (host.station(&victim), host.station(&friend));
        let (lan, door) = (host.lan_station(), host.station_at("lan0"));
        let attacks = || straight(&lan, &door, &victim, friend.ip);
        volley(&lan, &[&victim], &attacks()).nothing();
        host.without_defences(|| volley(&lan, &[&victim], &attacks()).everything());
        volley(&lan, &[&victim], &attacks()).nothing();
    }
}

fn straight(lan: &Station<'_>, door: &Station<'_>, victim: &Station<'_>, friend: Ipv4Addr) -> Vec<Attack> {
    let gateway = Ipv4Addr::new(172, 17, 0, 1);
    let frame = |packet: &[u8]| ethernet(lan.mac, door.mac, IPV4, packet);
    let mut all = Vec::new();
    for (who, source) in [
        ("itself", lan.ip),
        ("a stranger", [203, 0, 113, 9].into()),
        ("a container", friend),
        ("another one", [172, 17, 9, 9].into()),
    ] {
        let ip = Ipv4::new(source, victim.ip);
        for port in [80, 81, 82, 53] {
            all.push(attack(&format!("{who}: TCP {port}"), |t| frame(&ip.tcp(40_000, port, SYN, &t.0))));
            all.push(attack(&format!("{who}: UDP {port}"), |t| frame(&ip.udp(40_000, port, &t.0))));
        }
        all.push(attack(&format!("{who}: an answer to nothing"), |t| frame(&ip.tcp(80, 40_001, SYN | ACK, &t.0))));
        all.push(attack(&format!("{who}: a segment from nowhere"), |t| frame(&ip.tcp(80, 40_002, ACK, &t.0))));
        all.push(attack(&format!("{who}: from port 53"), |t| frame(&ip.udp(53, 40_003, &t.0))));
        all.push(attack(&format!("{who}: echo"), |t| frame(&ip.icmp(8, 0, [0, 1, 0, 1], &t.0))));
        all.push(attack(&format!("{who}: protocol 47"), |t| frame(&ip.carrying(47, &t.0))));
        all.push(attack(&format!("{who}: a fragment"), |t| {
            frame(&ip.clone().fragment(3, 0, false).udp(40_000, 80, &t.0))
        }));
        let by_way_of = |hop: Ipv4Addr, through: Ipv4Addr, t: Token| {
            let hops = [&[131, 7, 4][..], &hop.octets()].concat();
            frame(&Ipv4::new(source, through).options(&hops).udp(40_000, 80, &t.0))
        };
        all.push(attack(&format!("{who}: source route"), |t| by_way_of(victim.ip, door.ip, t)));
        all.push(attack(&format!("{who}: source route by the gateway"), |t| by_way_of(victim.ip, gateway, t)));
    }
    all
}

/// Ports published on 127.0.0.1, for a neighbour that sends its packets for 127/8 here, and a host that takes them.
#[test]
fn what_is_published_on_loopback_is_the_hosts() {
    let host = Host::new();
    host.sh(CREDULOUS).ok();
    let victim = host.run("busybox").publish("127.0.0.1:8080:80").publish("127.0.0.1:8080:80/udp").serving().start();
    let victim = host.station(&victim);
    let (lan, door) = (host.lan_station(), host.station_at("lan0"));
    let attacks = || {
        let mut all = Vec::new();
        for source in [lan.ip, [127, 0, 0, 1].into(), [172, 17, 0, 1].into(), victim.ip, [192, 0, 2, 1].into()] {
            let ip = Ipv4::new(source, Ipv4Addr::LOCALHOST);
            let frame = |packet: &[u8]| ethernet(lan.mac, door.mac, IPV4, packet);
            all.push(attack(&format!("TCP from {source}"), |t| frame(&ip.tcp(40_000, 8080, SYN, &t.0))));
            all.push(attack(&format!("UDP from {source}"), |t| frame(&ip.udp(40_000, 8080, &t.0))));
        }
        all
    };
    volley(&lan, &[&victim], &attacks()).nothing();
    // The control: were it not for our rule, this host would have let the first two in.
    host.without_defences(|| {
        let rule = format!("ip daddr 127.0.0.1 meta l4proto {{ tcp, udp }} dnat to {}:80", victim.ip);
        let chain = "add chain ip control prerouting { type nat hook prerouting priority -100; }";
        host.sh(&format!("nft 'add table ip control; {chain}; add rule ip control prerouting {rule}'")).ok();
        let seen = volley(&lan, &[&victim], &attacks());
        host.sh("nft delete table ip control").ok();
        seen.everything_of(&["TCP from 192.0.2.2", "UDP from 192.0.2.2"]);
    });
}

/// A container's flow to the neighbour lets in the answers to it, and nothing beside.
#[test]
fn a_flow_opens_nothing_beside_itself() {
    let host = Host::new();
    host.sh(CREDULOUS).ok();
    let client = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (client, other) = (host.station(&client), host.station(&other));
    let (lan, door, gateway) = (host.lan_station(), host.station_at("lan0"), host.station_at("pontoon0"));
    let begin = |t: &[u8]| ethernet(client.mac, gateway.mac, IPV4, &Ipv4::new(client.ip, lan.ip).udp(42_000, 7000, t));
    volley(&client, &[&lan], &[attack("a question", |t| begin(&t.0))]).everything();

    let frame = |packet: &[u8]| ethernet(lan.mac, door.mac, IPV4, packet);
    let from = |source: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16), t: Token| {
        frame(&Ipv4::new(source, to).udp(ports.0, ports.1, &t.0))
    };
    let beside = || {
        [
            attack("to the container's own address", |t| from(lan.ip, client.ip, (7000, 42_000), t)),
            attack("from another port", |t| from(lan.ip, door.ip, (7001, 42_000), t)),
            attack("to another port", |t| from(lan.ip, door.ip, (7000, 42_001), t)),
            attack("from another address", |t| from([192, 0, 2, 9].into(), door.ip, (7000, 42_000), t)),
            attack("by TCP", |t| frame(&Ipv4::new(lan.ip, door.ip).tcp(7000, 42_000, SYN | ACK, &t.0))),
            attack("to another container", |t| from(lan.ip, other.ip, (7000, 42_000), t)),
        ]
    };
    volley(&lan, &[&client, &other], &beside()).nothing();
    let elsewhere = attack("an answer that wants to go on to another", |t| {
        let ip = Ipv4::new(lan.ip, door.ip).options(&[&[131, 7, 4][..], &other.ip.octets()].concat());
        frame(&ip.udp(7000, 42_000, &t.0))
    });
    volley(&lan, &[&other], &[elsewhere]).nothing();
    let answer = attack("the answer", |t| from(lan.ip, door.ip, (7000, 42_000), t));
    volley(&lan, &[&client], &[answer]).everything();
    volley(&lan, &[&client, &other], &beside()).nothing();
}
