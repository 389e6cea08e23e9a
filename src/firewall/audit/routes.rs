//! rtnetlink's routes and rules → [`Network`](super::network::Network)'s. Numbers are linux/rtnetlink.h's and
//! fib_rules.h's.

use ipnetwork::IpNetwork;

use super::attributes::Attributes;
use super::network::{Route, RouteKind, RoutingAction, RoutingRule, Way};
use super::packet::address;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A prefix; without an address, the one that holds all.
fn network(bytes: Option<&[u8]>, family: u8, prefix: u8) -> Option<IpNetwork> {
    let all: &[u8] = if family == AF_INET { &[0; 4] } else { &[0; 16] };
    IpNetwork::new(address(bytes.unwrap_or(all))?, prefix).ok()
}

/// `struct rtmsg`. Cached routes are no routes.
pub(super) fn route(body: &[u8]) -> Option<Route> {
    const CLONED: u32 = 0x200;
    let [family, prefix, source_prefix, tos, table, _, _, kind] = *body.first_chunk()?;
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    if flags & CLONED != 0 || !matches!(family, AF_INET | AF_INET6) {
        return None;
    }
    let from = Attributes(body.get(12..)?);
    let source = (source_prefix != 0).then(|| network(from.get(2), family, source_prefix)).flatten();
    Some(Route {
        table: from.ne32(15).unwrap_or(table.into()),
        destination: network(from.get(1), family, prefix)?,
        source,
        metric: from.ne32(6).unwrap_or(0),
        tos,
        kind: route_kind(kind),
        ways: ways(from),
        preferred_source: from.get(7).and_then(address),
        // RTA_NH_ID and RTA_ENCAP.
        opaque: from.get(30).is_some() || from.get(22).is_some(),
    })
}

fn route_kind(number: u8) -> RouteKind {
    match number {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        4 => RouteKind::Anycast,
        5 => RouteKind::Multicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        9 => RouteKind::Throw,
        other => RouteKind::Other(other),
    }
}

fn gateway(from: Attributes<'_>) -> Option<std::net::IpAddr> {
    // RTA_VIA has the family before the address.
    from.get(5).or_else(|| from.get(18).and_then(|via| via.get(2..))).and_then(address)
}

/// One next hop, or those of RTA_MULTIPATH (`struct rtnexthop`: length, flags, hops, index, attributes).
fn ways(from: Attributes<'_>) -> Vec<Way> {
    let Some(mut hops) = from.get(9) else {
        let one = from.ne32(4).map(|interface| Way { interface, gateway: gateway(from) });
        return one.into_iter().collect();
    };
    let mut ways = Vec::new();
    while let (Some(length), Some(index)) = (hops.first_chunk::<2>(), hops.get(4..8)) {
        let length = usize::from(u16::from_ne_bytes(*length));
        let Some(attributes) = hops.get(8..length) else { break };
        let interface = index.try_into().map_or(0, u32::from_ne_bytes);
        ways.push(Way { interface, gateway: gateway(Attributes(attributes)) });
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    ways
}

/// `struct fib_rule_hdr`.
pub(super) fn rule(body: &[u8]) -> Option<RoutingRule> {
    const INVERTED: u32 = 2;
    let [family, destination_prefix, source_prefix, tos, table, _, _, action] = *body.first_chunk()?;
    if !matches!(family, AF_INET | AF_INET6) {
        return None;
    }
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let from = Attributes(body.get(12..)?);
    let part = |kind, prefix| if prefix == 0 { None } else { network(from.get(kind), family, prefix) };
    let ports = |kind| {
        let bytes = from.get(kind)?;
        let port = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        Some((port(0)?, port(2)?))
    };
    let table = from.ne32(15).unwrap_or(table.into());
    Some(RoutingRule {
        priority: from.ne32(6).unwrap_or(0),
        v4: family == AF_INET,
        inverted: flags & INVERTED != 0,
        source: part(2, source_prefix),
        destination: part(1, destination_prefix),
        incoming: from.text(3),
        outgoing: from.text(17),
        // Without a mask, all bits of a mark count.
        mark: from.ne32(10).map(|mark| (mark, from.ne32(16).unwrap_or(u32::MAX))).filter(|(_, mask)| *mask != 0),
        protocol: from.byte(22),
        source_ports: ports(23),
        destination_ports: ports(24),
        // All bits set mean none.
        suppressed_prefix: from.ne32(14).filter(|longest| *longest != u32::MAX),
        action: rule_action(action, table, tos, from),
    })
}

fn rule_action(action: u8, table: u32, tos: u8, from: Attributes<'_>) -> RoutingAction {
    let unknown = [(19, "l3mdev"), (20, "uidrange"), (12, "tun_id"), (25, "dscp")];
    if let Some((_, name)) = unknown.iter().find(|(kind, _)| from.get(*kind).is_some_and(|v| v.iter().any(|b| *b != 0)))
    {
        return RoutingAction::Unknown((*name).to_owned());
    }
    match action {
        _ if tos != 0 => RoutingAction::Unknown("tos".to_owned()),
        1 => RoutingAction::Table(table),
        6 => RoutingAction::Refuse(RouteKind::Blackhole),
        7 => RoutingAction::Refuse(RouteKind::Unreachable),
        8 => RoutingAction::Refuse(RouteKind::Prohibit),
        other => RoutingAction::Unknown(format!("action {other}")),
    }
}
