//! `--icc=false`: containers do not hear of each other.

use std::net::Ipv4Addr;

use super::honest;
use crate::harness::packets::frame::{ARP, Arp, BROADCAST, IPV4, Ipv4, Token, VLAN, arp, ethernet, tagged};
use crate::harness::packets::{Attack, Station, attack, volley};
use crate::harness::{Host, until};

const WAITS: [&str; 2] = ["sleep", "1000"];

/// Frames straight to the neighbour: every protocol, ethertype, tag.
#[test]
fn nothing_is_bridged() {
    let host = Host::with(&["--icc=false"]);
    let (mallory, victim) = (host.run("busybox").cmd(&WAITS).start(), host.run("busybox").serving().start());
    let (mallory, victim) = (host.station(&mallory), host.station(&victim));
    let attacks = || [honest::ipv4(&mallory, &victim, victim.mac), honest::link_layer(&mallory, &victim)].concat();

    volley(&mallory, &[&victim], &attacks()).nothing();
    host.without_defences(|| volley(&mallory, &[&victim], &attacks()).everything());
    volley(&mallory, &[&victim], &attacks()).nothing();
}

/// The same by the gateway, that routes for its containers.
#[test]
fn nothing_is_routed() {
    let host = Host::with(&["--icc=false"]);
    let (mallory, victim) = (host.run("busybox").cmd(&WAITS).start(), host.run("busybox").serving().start());
    let (mallory, victim) = (host.station(&mallory), host.station(&victim));
    // A host that lets senders choose the way, and does not ask where packets come from, is no way in either.
    host.sh("for key in accept_source_route=1 rp_filter=0 accept_local=1; do
        for where in all pontoon0; do sysctl -qw net.ipv4.conf.$where.$key; done; done")
        .ok();
    let gateway = host.station_at("pontoon0");
    let attacks = || {
        let mut all = honest::ipv4(&mallory, &victim, gateway.mac);
        all.extend(detours(&mallory, &victim, &gateway));
        all
    };

    volley(&mallory, &[&victim], &attacks()).nothing();
    host.without_defences(|| volley(&mallory, &[&victim], &attacks()).everything());
}

/// Ways around that are the sender's choice: to the gateway's MAC, but not simply to the neighbour's address.
fn detours(from: &Station<'_>, victim: &Station<'_>, gateway: &Station<'_>) -> Vec<Attack> {
    let ip = Ipv4::new(from.ip, victim.ip);
    let frame = |packet: &[u8]| ethernet(from.mac, gateway.mac, IPV4, packet);
    // RFC 791: the option's kind, its length, the next hop's place in it, and the hops.
    let source_route = |kind: u8, hop: Ipv4Addr| [&[kind, 7, 4][..], &hop.octets()].concat();
    let by_way_of = |kind, t: Token| {
        let hops = source_route(kind, victim.ip);
        frame(&Ipv4::new(from.ip, gateway.ip).options(&hops).udp(40_000, 80, &t.0))
    };
    vec![
        attack("loose source route", |t| by_way_of(131, t)),
        attack("strict source route", |t| by_way_of(137, t)),
        attack("two hops to live", |t| frame(&ip.clone().ttl(2).udp(40_000, 80, &t.0))),
        attack("255 hops to live", |t| frame(&ip.clone().ttl(255).udp(40_000, 80, &t.0))),
        attack("VLAN 0", |t| tagged(&frame(&ip.udp(40_000, 80, &t.0)), VLAN, 0)),
    ]
}

/// The bridge answers for everybody, and nobody else does.
#[test]
fn neighbours_are_asked_for_in_vain() {
    let host = Host::with(&["--icc=false"]);
    let (mallory, victim) = (host.run("busybox").cmd(&WAITS).start(), host.run("busybox").cmd(&WAITS).start());
    let (mallory, victim) = (host.station(&mallory), host.station(&victim));
    let gateway = host.station_at("pontoon0");
    let ask = || {
        let mut answers = mallory.listens();
        let question = [attack("question", |t| {
            ethernet(mallory.mac, BROADCAST, ARP, &arp(Arp::Request, (mallory.mac, mallory.ip), ([0; 6], victim.ip), t))
        })];
        volley(&mallory, &[&mallory], &question);
        // An answer is of the form of the question: whose MAC has the address?
        until("somebody answers", || {
            answers
                .heard()
                .iter()
                .any(|frame| frame[12..14] == ARP.to_be_bytes() && frame[28..32] == victim.ip.octets())
        });
        let answers = answers.heard().iter().filter(|frame| frame[12..14] == ARP.to_be_bytes());
        answers
            .filter(|frame| frame[28..32] == victim.ip.octets())
            .map(|frame| frame[22..28].to_vec())
            .collect::<Vec<_>>()
    };
    assert!(ask().iter().all(|mac| *mac == gateway.mac), "only the bridge answers");
    host.without_defences(|| assert!(ask().contains(&victim.mac.to_vec()), "the control: the neighbour answers"));
}
