//! Frames under the sender's own addresses: what a container sends that only wants to talk to its neighbour.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::harness::packets::frame::{
    ARP, Arp, BROADCAST, EXPERIMENTAL, ICMPV6, IGMP, IPV4, IPV6, Ipv4, Mac, SERVICE_VLAN, SYN, TCP, Token, VLAN, arp,
    ethernet, icmpv6, ipv6, link_local, message, multicast_mac, snap, tagged,
};
use crate::harness::packets::{Attack, Station, attack, attacks};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// IPv4 of each protocol, fragments and options, in frames to `to`: the neighbour's MAC, or the gateway's.
pub(super) fn ipv4(from: &Station<'_>, victim: &Station<'_>, to: Mac) -> Vec<Attack> {
    let ip = Ipv4::new(from.ip, victim.ip);
    let frame = |packet: &[u8]| ethernet(from.mac, to, IPV4, packet);
    let mut all: Vec<Attack> = [2, 4, 33, 41, 47, 50, 51, 89, 103, 112, 115, 132, 136, 253, 255]
        .map(|number| attack(&format!("IP protocol {number}"), |t| frame(&ip.carrying(number, &padded(t)))))
        .into();
    all.extend([
        attack("TCP SYN", |t| frame(&ip.tcp(40_000, 80, SYN, &t.0))),
        attack("TCP SYN to another port", |t| frame(&ip.tcp(40_000, 8443, SYN, &t.0))),
        attack("TCP SYN from the exposed port", |t| frame(&ip.tcp(80, 4444, SYN, &t.0))),
        attack("TCP SYN from port 53", |t| frame(&ip.tcp(53, 4444, SYN, &t.0))),
        attack("UDP", |t| frame(&ip.udp(40_000, 80, &t.0))),
        attack("UDP from port 53", |t| frame(&ip.udp(53, 40_000, &t.0))),
        attack("UDP to port 53", |t| frame(&ip.udp(40_000, 53, &t.0))),
        attack("UDP from the exposed port", |t| frame(&ip.udp(80, 4444, &t.0))),
        attack("UDP of port 0", |t| frame(&ip.udp(0, 0, &t.0))),
        attack("ICMP echo", |t| frame(&ip.icmp(8, 0, [0, 1, 0, 1], &t.0))),
        attack("ICMP timestamp", |t| frame(&ip.icmp(13, 0, [0, 1, 0, 1], &t.0))),
        attack("ICMP router advertisement", |t| frame(&ip.icmp(9, 0, [1, 2, 0, 60], &t.0))),
        attack("router alert", |t| frame(&ip.clone().options(&[0x94, 4, 0, 0]).udp(40_000, 80, &t.0))),
        attack("record route", |t| frame(&ip.clone().options(&[7, 7, 4, 0, 0, 0, 0]).udp(40_000, 80, &t.0))),
        attacks("fragments", |t| fragments(&ip, t).map(|packet| frame(&packet)).into()),
        attacks("fragments out of order", |t| {
            let [first, second] = fragments(&ip, t);
            vec![frame(&second), frame(&first)]
        }),
        attacks("overlapping fragments", |t| overlapping(&ip, t).iter().map(|packet| frame(packet)).collect()),
        attacks("a tiny first fragment", |t| tiny(&ip, t).iter().map(|packet| frame(packet)).collect()),
    ]);
    all
}

/// A UDP datagram in two fragments, the token in both.
fn fragments(ip: &Ipv4, token: Token) -> [Vec<u8>; 2] {
    let whole = ip.datagram(40_000, 80, &padded(token).repeat(2));
    let (first, second) = whole.split_at(40);
    [ip.clone().fragment(7, 0, true).carrying(17, first), ip.clone().fragment(7, 40, false).carrying(17, second)]
}

/// The second fragment writes another port over the first one's.
fn overlapping(ip: &Ipv4, token: Token) -> [Vec<u8>; 3] {
    let allowed = ip.datagram(40_000, 53, &padded(token));
    let meant = ip.datagram(40_000, 80, &padded(token));
    let rest = padded(token);
    [
        ip.clone().fragment(8, 0, true).carrying(17, &allowed),
        ip.clone().fragment(8, 0, true).carrying(17, &meant),
        ip.clone().fragment(8, 40, false).carrying(17, &rest),
    ]
}

/// The first fragment ends before the flags of the TCP header (RFC 1858).
fn tiny(ip: &Ipv4, token: Token) -> [Vec<u8>; 2] {
    let segment = ip.tcp(40_000, 80, SYN, &padded(token)).split_off(20);
    let (first, second) = segment.split_at(8);
    [ip.clone().fragment(9, 0, true).carrying(TCP, first), ip.clone().fragment(9, 8, false).carrying(TCP, second)]
}

/// 32 bytes: with an UDP header before them a multiple of eight.
fn padded(token: Token) -> Vec<u8> {
    [token.0, token.0].concat()
}

/// What is not IPv4 between two addresses: other ethertypes, tags, IPv6, broadcast and multicast, all to the neighbour.
pub(super) fn link_layer(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    [ethertypes(from, victim), arps(from, victim), vlans(from, victim), v6(from, victim), to_many(from, victim)]
        .into_iter()
        .flatten()
        .collect()
}

fn ethertypes(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let ip = Ipv4::new(from.ip, victim.ip);
    let types: [u16; 12] =
        [EXPERIMENTAL, 0x0842, 0x6003, 0x8035, 0x809b, 0x8137, 0x8847, 0x8863, 0x8864, 0x888e, 0x88cc, 0x88f7];
    let mut all: Vec<Attack> = types
        .iter()
        .map(|&kind| attack(&format!("ethertype {kind:04x}"), |t| ethernet(from.mac, victim.mac, kind, &t.0)))
        .collect();
    all.push(attack("ethertype to all", |t| ethernet(from.mac, BROADCAST, EXPERIMENTAL, &t.0)));
    all.push(attack("802.3 with LLC", |t| {
        ethernet(from.mac, victim.mac, 19, &[&[0x42, 0x42, 0x03][..], &t.0].concat())
    }));
    all.push(attack("IPv4 in SNAP", |t| snap(from.mac, victim.mac, &ip.udp(40_000, 80, &t.0))));
    all.push(attack("IPv4 called IPv6", |t| ethernet(from.mac, victim.mac, IPV6, &ip.udp(40_000, 80, &t.0))));
    all.push(attack("ARP called IPv4", |t| {
        ethernet(from.mac, victim.mac, IPV4, &arp(Arp::Request, (from.mac, from.ip), ([0; 6], victim.ip), t))
    }));
    all
}

fn arps(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let (me, you) = ((from.mac, from.ip), ([0; 6], victim.ip));
    vec![
        attack("ARP request", |t| ethernet(from.mac, BROADCAST, ARP, &arp(Arp::Request, me, you, t))),
        attack("ARP request to one", |t| ethernet(from.mac, victim.mac, ARP, &arp(Arp::Request, me, you, t))),
        attack("ARP reply", |t| ethernet(from.mac, victim.mac, ARP, &arp(Arp::Reply, me, (victim.mac, victim.ip), t))),
        attack("gratuitous ARP", |t| ethernet(from.mac, BROADCAST, ARP, &arp(Arp::Request, me, ([0; 6], from.ip), t))),
    ]
}

fn vlans(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let ip = |t: Token| ethernet(from.mac, victim.mac, IPV4, &Ipv4::new(from.ip, victim.ip).udp(40_000, 80, &t.0));
    let ask =
        |t: Token| ethernet(from.mac, BROADCAST, ARP, &arp(Arp::Request, (from.mac, from.ip), ([0; 6], victim.ip), t));
    let six = |t: Token| {
        let packet = icmpv6(link_local(from.mac), link_local(victim.mac), 128, [0, 1, 0, 1], &t.0);
        ethernet(from.mac, victim.mac, IPV6, &packet)
    };
    vec![
        attack("IPv4 on VLAN 5", |t| tagged(&ip(t), VLAN, 5)),
        attack("IPv4 on VLAN 1", |t| tagged(&ip(t), VLAN, 1)),
        attack("IPv4 on VLAN 0 (priority)", |t| tagged(&ip(t), VLAN, 0xe000)),
        attack("IPv4 on VLAN 4095", |t| tagged(&ip(t), VLAN, 4095)),
        attack("ARP on VLAN 5", |t| tagged(&ask(t), VLAN, 5)),
        attack("ARP on VLAN 0", |t| tagged(&ask(t), VLAN, 0)),
        attack("IPv6 on VLAN 5", |t| tagged(&six(t), VLAN, 5)),
        attack("IPv4 on a service VLAN", |t| tagged(&ip(t), SERVICE_VLAN, 5)),
        attack("IPv4 in QinQ", |t| tagged(&tagged(&ip(t), VLAN, 5), SERVICE_VLAN, 6)),
        attack("IPv4 in VLAN 0 in VLAN 0", |t| tagged(&tagged(&ip(t), VLAN, 0), VLAN, 0)),
        attack("ARP in QinQ", |t| tagged(&tagged(&ask(t), VLAN, 5), SERVICE_VLAN, 6)),
        attack("IPv4 under three tags", |t| tagged(&tagged(&tagged(&ip(t), VLAN, 5), VLAN, 6), VLAN, 7)),
    ]
}

fn v6(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let (me, you) = (link_local(from.mac), link_local(victim.mac));
    let solicited = {
        let [.., a, b, c] = you.octets();
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
    };
    let one = |packet: &[u8]| ethernet(from.mac, victim.mac, IPV6, packet);
    let many = |group: Ipv6Addr, packet: &[u8]| ethernet(from.mac, multicast_mac(group), IPV6, packet);
    let asking = |t: Token| [&you.octets()[..], &t.0].concat();
    vec![
        attack("IPv6 echo", |t| one(&icmpv6(me, you, 128, [0, 1, 0, 1], &t.0))),
        attack("IPv6 echo to all", |t| many(ALL_NODES, &icmpv6(me, ALL_NODES, 128, [0, 1, 0, 1], &t.0))),
        attack("neighbour solicitation", |t| many(solicited, &icmpv6(me, solicited, 135, [0; 4], &asking(t)))),
        attack("neighbour advertisement", |t| one(&icmpv6(me, you, 136, [0x60, 0, 0, 0], &asking(t)))),
        attack("IPv6 UDP", |t| one(&ipv6(me, you, 17, &[&[0x9c, 0x40, 0, 80, 0, 24, 0, 0][..], &t.0].concat()))),
        attack("IPv6 fragment", |t| {
            one(&ipv6(me, you, 44, &[&[ICMPV6, 0, 0, 1, 0, 0, 0, 9][..], &padded(t)].concat()))
        }),
        attack("IPv6 hop-by-hop", |t| one(&ipv6(me, you, 0, &[&[59, 0, 1, 4, 0, 0, 0, 0][..], &t.0].concat()))),
        attack("multicast listener report", |t| many(ALL_NODES, &icmpv6(me, ALL_NODES, 131, [0; 4], &t.0))),
    ]
}

fn to_many(from: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let to = |mac: Mac, ip: [u8; 4], t: Token| {
        ethernet(from.mac, mac, IPV4, &Ipv4::new(from.ip, Ipv4Addr::from(ip)).ttl(1).udp(5353, 5353, &t.0))
    };
    vec![
        attack("IPv4 broadcast", |t| to(BROADCAST, [255; 4], t)),
        attack("the subnet's broadcast", |t| to(BROADCAST, [172, 17, 255, 255], t)),
        attack("a neighbour's address in a broadcast frame", |t| to(BROADCAST, victim.ip.octets(), t)),
        attack("a neighbour's address in a multicast frame", |t| to([1, 0, 0x5e, 0, 0, 1], victim.ip.octets(), t)),
        attack("multicast of this link", |t| to([1, 0, 0x5e, 0, 0, 0xfb], [224, 0, 0, 251], t)),
        attack("IGMP query", |t| {
            let ip = Ipv4::new(from.ip, Ipv4Addr::new(224, 0, 0, 1)).ttl(1).options(&[0x94, 4, 0, 0]);
            // Version 3, of no group and no source (RFC 3376).
            let query = message(0x11, 10, [0; 4], &[&[2, 125, 0, 0][..], &t.0].concat());
            ethernet(from.mac, [1, 0, 0x5e, 0, 0, 1], IPV4, &ip.carrying(IGMP, &query))
        }),
        attack("echo to all", |t| {
            let ip = Ipv4::new(from.ip, Ipv4Addr::BROADCAST).icmp(8, 0, [0, 1, 0, 1], &t.0);
            ethernet(from.mac, BROADCAST, IPV4, &ip)
        }),
        attack("spanning tree", |t| {
            ethernet(from.mac, [1, 0x80, 0xc2, 0, 0, 0], 38, &[&[0x42, 0x42, 0x03][..], &t.0].concat())
        }),
    ]
}
