//! rtnetlink's links, addresses and neighbours → [`super::network::Network`]'s. Attribute numbers are those of
//! linux/if_link.h, if_addr.h and neighbour.h.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::attributes::Attributes;
use super::network::{Bridge, ForwardingEntry, Interface, InterfaceSysctls, Neighbour, Port, Queue};
use super::packet::{Mac, address};

/// `struct ifinfomsg`, then attributes.
pub(super) fn interface(body: &[u8]) -> Option<Interface> {
    const UP: u32 = 1;
    const LOOPBACK: u32 = 8;
    const NOARP: u32 = 0x80;
    let hardware = u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?);
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let from = Attributes(body.get(16..)?);
    let info = from.nest(18);
    let kind = info.text(1).unwrap_or_default();
    let is_port = info.text(4).as_deref() == Some("bridge");
    let settings = match (is_port, kind == "bridge") {
        (true, _) => numbers(info.nest(5)),
        (_, true) => numbers(info.nest(2)),
        _ => BTreeMap::new(),
    };
    Some(Interface {
        index,
        name: from.text(3)?,
        mac: from.get(1).and_then(|mac| mac.try_into().ok()),
        up: flags & UP != 0,
        loopback: flags & LOOPBACK != 0,
        hardware,
        group: from.ne32(27).unwrap_or(0),
        master: from.ne32(10),
        port: is_port.then(|| port(info.nest(5))),
        bridge: (kind == "bridge").then(|| bridge(info.nest(2))),
        settings,
        noarp: flags & NOARP != 0,
        mtu: from.ne32(4).unwrap_or(0),
        peer: from.ne32(5),
        xdp: has_xdp(body),
        sysctls: sysctls(from.nest(26)),
        kind,
        ..Interface::default()
    })
}

/// `IFLA_AF_SPEC`: the interface's own parameters, as `/proc/sys/net/…/conf` has them in a file each. A family that the
/// interface has not has none.
fn sysctls(from: Attributes<'_>) -> InterfaceSysctls {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let number = |values: &[u8], place: usize| {
        let bytes = values.get(place * 4..place * 4 + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    // `IPV4_DEVCONF_…` begin at 1, `DEVCONF_…` of IPv6 at 0.
    let v4 = |key: usize| number(from.nest(AF_INET).get(1).unwrap_or_default(), key - 1);
    let v6 = |key: usize| number(from.nest(AF_INET6).get(2).unwrap_or_default(), key);
    InterfaceSysctls {
        forwarding_v4: v4(1) != 0,
        proxy_arp: v4(3) != 0,
        rp_filter: u8::try_from(v4(8)).unwrap_or(u8::MAX),
        accept_local: v4(23) != 0,
        src_valid_mark: v4(24) != 0,
        proxy_arp_pvlan: v4(25) != 0,
        route_localnet: v4(26) != 0,
        arp_ignore: u8::try_from(v4(19)).unwrap_or(u8::MAX),
        drop_unicast_in_l2_multicast: v4(30) != 0,
        disable_ipv6: v6(26) != 0,
    }
}

/// Attributes that are numbers. Eight bytes are timers and ids, which change by themselves.
fn numbers(from: Attributes<'_>) -> BTreeMap<u16, u32> {
    let number = |value: &[u8]| match *value {
        [one] => Some(one.into()),
        [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
        [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d])),
        _ => None,
    };
    from.filter_map(|attribute| Some((attribute.kind, number(attribute.value)?))).collect()
}

/// `IFLA_BRPORT_…`. A port of a bridge without spanning tree forwards (3) while its link is up.
fn port(from: Attributes<'_>) -> Port {
    const FORWARDING: u8 = 3;
    let flag = |kind| from.byte(kind).is_some_and(|value| value != 0);
    Port {
        forwarding: from.byte(1) == Some(FORWARDING),
        hairpin: flag(4),
        learning: flag(8),
        flood: flag(9),
        proxy_arp: flag(10),
        multicast_flood: flag(27),
        broadcast_flood: flag(30),
        isolated: flag(33),
        locked: flag(39),
    }
}

/// `IFLA_BR_…`.
fn bridge(from: Attributes<'_>) -> Bridge {
    let flag = |kind| from.byte(kind).is_some_and(|value| value != 0);
    Bridge { vlan_filtering: flag(7), call_iptables: flag(36), call_ip6tables: flag(37), call_arptables: flag(38) }
}

/// Whether the link runs an XDP program, which sees packets before anything here.
fn has_xdp(body: &[u8]) -> bool {
    let from = Attributes(body.get(16..).unwrap_or_default());
    from.nest(43).byte(2).is_some_and(|attached| attached != 0)
}

/// `struct ifaddrmsg`: the interface's index and its own address with the link's prefix.
pub(super) fn interface_address(body: &[u8]) -> Option<(u32, IpNetwork)> {
    let prefix = *body.get(1)?;
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let from = Attributes(body.get(8..)?);
    // IFA_LOCAL is its own address; IFA_ADDRESS the peer's on links between two, and its own elsewhere.
    let own = address(from.get(2).or_else(|| from.get(1))?)?;
    Some((index, IpNetwork::new(own, prefix).ok()?))
}

/// `struct tcmsg` (20 bytes), then attributes: a queueing discipline's interface and kind.
pub(super) fn queue(body: &[u8]) -> Option<Queue> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let from = Attributes(body.get(20..)?);
    Some(Queue { interface, kind: from.text(1)? })
}

/// What `struct ndmsg` tells: of a bridge's table (`AF_BRIDGE`), or of addresses.
pub(super) enum Known {
    Forwarding(ForwardingEntry),
    Neighbour(Neighbour),
}

pub(super) fn neighbour(body: &[u8]) -> Option<Known> {
    const AF_BRIDGE: u8 = 7;
    const PERMANENT: u16 = 0x80;
    const FAILED: u16 = 0x20;
    const INCOMPLETE: u16 = 0x01;
    let family = *body.first()?;
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = u16::from_ne_bytes(body.get(8..10)?.try_into().ok()?);
    let from = Attributes(body.get(12..)?);
    let mac: Mac = from.get(2)?.try_into().ok()?;
    if family == AF_BRIDGE {
        const STATIC: u16 = 0x40;
        const SELF: u8 = 0x02;
        const STICKY: u8 = 0x40;
        let flags = *body.get(10)?;
        return Some(Known::Forwarding(ForwardingEntry {
            mac,
            port: index,
            local: state & PERMANENT != 0,
            fixed: state & STATIC != 0,
            sticky: flags & STICKY != 0,
            own: flags & SELF != 0,
        }));
    }
    if state & (FAILED | INCOMPLETE) != 0 {
        return None;
    }
    let address: IpAddr = address(from.get(1)?)?;
    Some(Known::Neighbour(Neighbour { address, mac, interface: index, permanent: state & PERMANENT != 0 }))
}
