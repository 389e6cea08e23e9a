//! The routing decision: rules, tables, longest prefixes; source validation; what kind of address one is.

use std::net::{IpAddr, Ipv4Addr};

use super::network::{Network, Route, RouteKind, RoutingAction, RoutingRule, Way};

/// What is routed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) source: Option<IpAddr>,
    pub(super) destination: IpAddr,
    /// Where it came in; `None` for what this machine sends.
    pub(super) incoming: Option<u32>,
    /// The only way out that counts.
    pub(super) outgoing: Option<u32>,
    pub(super) mark: u32,
    pub(super) protocol: Option<u8>,
    pub(super) ports: (Option<u16>, Option<u16>),
}

/// Where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Route {
        kind: RouteKind,
        way: Option<Way>,
        /// The source that a packet of this machine gets which has none.
        source: Option<IpAddr>,
    },
    /// No rule leads to a route.
    None,
    /// What is not modelled.
    Unknown(String),
}

const LOCAL_TABLE: u32 = 255;

impl Question {
    pub(super) fn to(destination: IpAddr) -> Self {
        Self { source: None, destination, incoming: None, outgoing: None, mark: 0, protocol: None, ports: (None, None) }
    }
}

/// Walks the rules by priority until one decides.
pub(super) fn route(network: &Network, question: &Question) -> Answer {
    for rule in network.rules.iter().filter(|rule| rule.v4 == question.destination.is_ipv4()) {
        match matches(network, rule, question) {
            Some(false) => continue,
            Some(true) => {}
            None => return Answer::Unknown(format!("routing rule {}: a port that nobody said", rule.priority)),
        }
        let table = match &rule.action {
            RoutingAction::Table(table) => *table,
            RoutingAction::Refuse(kind) => return Answer::Route { kind: *kind, way: None, source: None },
            RoutingAction::Unknown(what) => return Answer::Unknown(format!("routing rule {}: {what}", rule.priority)),
        };
        let found = in_table(network, table, question);
        let suppressed = |route: &Route| {
            rule.suppressed_prefix.is_some_and(|longest| u32::from(route.destination.prefix()) <= longest)
        };
        match found {
            Ok(Some(route)) if route.kind == RouteKind::Throw || suppressed(route) => {}
            Ok(Some(route)) => return answer(route),
            Ok(None) => {}
            Err(what) => return Answer::Unknown(what),
        }
    }
    Answer::None
}

/// The way on which this machine sends to an address of somebody else; `None` where there is none, or more than one.
pub fn way_to(network: &Network, address: IpAddr) -> Option<Way> {
    match route(network, &Question::to(address)) {
        Answer::Route { kind: RouteKind::Unicast, way, .. } => way,
        _ => None,
    }
}

fn answer(route: &Route) -> Answer {
    let way = match route.ways.as_slice() {
        _ if route.opaque => {
            return Answer::Unknown(format!("the next hop of the route to {}", route.destination));
        }
        [] => None,
        [way] => Some(*way),
        [first, rest @ ..] if rest.iter().all(|way| way.interface == first.interface) => Some(*first),
        _ => return Answer::Unknown(format!("which of several ways the route to {} takes", route.destination)),
    };
    Answer::Route { kind: route.kind, way, source: route.preferred_source }
}

/// `None`: it depends on what nobody said.
fn matches(network: &Network, rule: &RoutingRule, question: &Question) -> Option<bool> {
    let in_ports = |asked: Option<(u16, u16)>, port: Option<u16>| match (asked, port) {
        (None, _) => Some(true),
        (Some((low, high)), Some(port)) => Some((low..=high).contains(&port)),
        (Some(_), None) => None,
    };
    let name = |index: Option<u32>| index.and_then(|index| network.interface(index)).map(|i| i.name.as_str());
    // What this machine sends comes from `lo` as routing rules see it.
    let incoming = name(question.incoming).unwrap_or("lo");
    let certain = rule.source.is_none_or(|net| question.source.is_some_and(|source| net.contains(source)))
        && rule.destination.is_none_or(|net| net.contains(question.destination))
        && rule.incoming.as_ref().is_none_or(|wanted| wanted == incoming)
        && rule.outgoing.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == name(question.outgoing))
        && rule.mark.is_none_or(|(mark, mask)| question.mark & mask == mark)
        && rule.protocol.is_none_or(|wanted| Some(wanted) == question.protocol);
    let all = certain
        && in_ports(rule.source_ports, question.ports.0)?
        && in_ports(rule.destination_ports, question.ports.1)?;
    Some(all != rule.inverted)
}

/// The best route of a table: the longest prefix, then the lowest metric.
fn in_table<'a>(network: &'a Network, table: u32, question: &Question) -> Result<Option<&'a Route>, String> {
    let mut best: Option<&Route> = None;
    for route in &network.routes {
        if route.table != table || !route.destination.contains(question.destination) || !usable(route, question) {
            continue;
        }
        if route.tos != 0 {
            return Err(format!("the service class that the route to {} asks for", route.destination));
        }
        let better = best.is_none_or(|best| {
            let (this, other) = (route.destination.prefix(), best.destination.prefix());
            this > other || this == other && route.metric < best.metric
        });
        if better {
            best = Some(route);
        }
    }
    Ok(best)
}

fn usable(route: &Route, question: &Question) -> bool {
    if route.source.is_some_and(|net| !question.source.is_some_and(|source| net.contains(source))) {
        return false;
    }
    // Link-local addresses are another's on each link.
    let link = match question.destination {
        IpAddr::V6(address) if address.is_unicast_link_local() => question.outgoing.or(question.incoming),
        _ => question.outgoing,
    };
    let local = matches!(route.kind, RouteKind::Local | RouteKind::Anycast);
    local || link.is_none_or(|link| route.ways.iter().any(|way| way.interface == link))
}

/// What kind of address this is to this machine (`fib … type`, `addrtype`): by the table `local` alone.
pub(super) fn kind_of(network: &Network, address: IpAddr, device: Option<u32>) -> Result<RouteKind, String> {
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0 => return Ok(RouteKind::Broadcast),
        IpAddr::V4(v4) if v4.is_multicast() => return Ok(RouteKind::Multicast),
        IpAddr::V6(v6) if v6.is_multicast() => return Ok(RouteKind::Multicast),
        _ => {}
    }
    let found = in_table(network, LOCAL_TABLE, &Question::to(address))?;
    let on_device = |route: &&Route| device.is_none_or(|index| owns(network, index, address) || has_way(route, index));
    Ok(found.filter(on_device).map_or(RouteKind::Unicast, |route| route.kind))
}

fn has_way(route: &Route, index: u32) -> bool {
    route.ways.iter().any(|way| way.interface == index)
}

fn owns(network: &Network, index: u32, address: IpAddr) -> bool {
    network.interface(index).is_some_and(|i| i.addresses.iter().any(|own| own.ip() == address))
}

/// Whether the kernel takes a packet with this source that came in here; otherwise why not. IPv4 only: IPv6 has no such
/// check. (Documentation/networking/ip-sysctl.rst: rp_filter, accept_local, route_localnet, src_valid_mark.)
pub(super) fn refuses_source(network: &Network, question: &Question, incoming: u32) -> Result<Option<String>, String> {
    let (Some(IpAddr::V4(source)), IpAddr::V4(destination)) = (question.source, question.destination) else {
        return Ok(None);
    };
    let Some(interface) = network.interface(incoming) else { return Ok(None) };
    let sysctls = interface.sysctls;
    let martian = |why: &str| Ok(Some(format!("martian source {source}: {why}")));
    if source.is_multicast() || source.is_broadcast() {
        return martian("no sender has it");
    }
    if source.octets()[0] == 0 && !(source.is_unspecified() && destination.is_broadcast()) {
        return martian("no sender has it");
    }
    if source.is_loopback() && !interface.loopback && !sysctls.route_localnet {
        return martian("a loopback address from outside (route_localnet is off)");
    }
    if source.is_unspecified() {
        return Ok(None);
    }
    let back = Question {
        source: Some(IpAddr::V4(destination)),
        destination: IpAddr::V4(source),
        incoming: Some(incoming),
        outgoing: None,
        mark: if sysctls.src_valid_mark { question.mark } else { 0 },
        protocol: question.protocol,
        ports: (question.ports.1, question.ports.0),
    };
    let (kind, way) = match route(network, &back) {
        Answer::Route { kind, way, .. } => (kind, way),
        Answer::None if sysctls.rp_filter == 0 => return Ok(None),
        Answer::None => return martian("no route leads back (rp_filter)"),
        Answer::Unknown(what) => return Err(what),
    };
    match kind {
        RouteKind::Local if interface.loopback || sysctls.accept_local => Ok(None),
        RouteKind::Local => martian("it is this machine's own (accept_local is off)"),
        RouteKind::Unicast => match sysctls.rp_filter {
            1 if way.map(|way| way.interface) != Some(incoming) => {
                martian("the route back leads elsewhere (rp_filter is strict)")
            }
            _ => Ok(None),
        },
        _ if sysctls.rp_filter == 0
            && matches!(kind, RouteKind::Unreachable | RouteKind::Blackhole | RouteKind::Prohibit) =>
        {
            Ok(None)
        }
        _ => martian("the route back leads to no host"),
    }
}

/// The address that this machine sends from: the route's, or the interface's that is nearest to the next hop.
pub(super) fn source_for(network: &Network, way: Option<Way>, preferred: Option<IpAddr>, to: IpAddr) -> Option<IpAddr> {
    if preferred.is_some() {
        return preferred;
    }
    let way = way?;
    let next = way.gateway.unwrap_or(to);
    let addresses = &network.interface(way.interface)?.addresses;
    let of_family = || addresses.iter().filter(|own| own.is_ipv4() == to.is_ipv4());
    of_family().find(|own| own.contains(next)).or_else(|| of_family().next()).map(|own| own.ip())
}

/// The address that a packet is masqueraded with (`inet_select_addr`): the interface's that is nearest to the next hop, or any
/// of this machine's. Loopback addresses are of no use outside of it.
pub(super) fn address_of(network: &Network, way: Way, to: IpAddr) -> Option<IpAddr> {
    let next = way.gateway.unwrap_or(to);
    let of = |interface: &super::network::Interface| {
        let mut own = interface.addresses.iter().filter(|own| own.is_ipv4() && !own.ip().is_loopback());
        let first = own.clone().next();
        own.find(|own| own.contains(next)).or(first).map(|own| own.ip())
    };
    network.interface(way.interface).and_then(of).or_else(|| network.interfaces.iter().find_map(of))
}

/// Loopback addresses go nowhere else, unless the interface routes them.
pub(super) fn refuses_destination(network: &Network, destination: IpAddr, incoming: u32) -> Option<String> {
    let interface = network.interface(incoming)?;
    match destination {
        IpAddr::V4(v4) if v4.is_loopback() && !interface.loopback && !interface.sysctls.route_localnet => {
            Some(format!("martian destination {v4}: a loopback address from outside (route_localnet is off)"))
        }
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some("martian destination 0.0.0.0".to_owned()),
        IpAddr::V6(v6) if v6.is_loopback() && !interface.loopback => Some(format!("{v6} from outside is nobody's")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::{Interface, InterfaceSysctls};
    use super::*;

    fn rule(priority: u32, table: u32) -> RoutingRule {
        RoutingRule::usual(priority, table)
    }

    fn via(table: u32, destination: &str, kind: RouteKind, interface: u32) -> Route {
        Route {
            table,
            destination: destination.parse().expect("network"),
            source: None,
            metric: 0,
            tos: 0,
            kind,
            ways: vec![Way { interface, gateway: None }],
            preferred_source: None,
            opaque: false,
        }
    }

    fn network() -> Network {
        let interface = |index, name: &str, rp_filter| Interface {
            index,
            name: name.to_owned(),
            loopback: index == 1,
            sysctls: InterfaceSysctls { rp_filter, ..InterfaceSysctls::default() },
            ..Interface::default()
        };
        Network {
            interfaces: vec![interface(1, "lo", 0), interface(2, "eth0", 0), interface(3, "strict", 1)],
            routes: vec![
                via(255, "192.0.2.1/32", RouteKind::Local, 2),
                via(254, "192.0.2.0/24", RouteKind::Unicast, 2),
                via(254, "192.0.2.128/25", RouteKind::Unicast, 3),
                via(100, "0.0.0.0/0", RouteKind::Unicast, 3),
            ],
            rules: vec![
                rule(0, 255),
                RoutingRule { mark: Some((1, 0xff)), ..rule(10, 100) },
                RoutingRule { suppressed_prefix: Some(24), ..rule(20, 254) },
                rule(32766, 254),
            ],
            ..Network::default()
        }
    }

    fn leads_to(question: &Question) -> Option<u32> {
        match route(&network(), question) {
            Answer::Route { way, .. } => way.map(|way| way.interface),
            _ => None,
        }
    }

    #[test]
    fn the_longest_prefix_of_the_first_table_that_has_one() {
        let to = |address: [u8; 4]| Question::to(address.into());
        assert_eq!(leads_to(&to([192, 0, 2, 5])), Some(2));
        assert_eq!(leads_to(&to([192, 0, 2, 200])), Some(3));
        assert_eq!(leads_to(&to([198, 51, 100, 1])), None);
        assert_eq!(leads_to(&Question { mark: 0x101, ..to([198, 51, 100, 1]) }), Some(3));
        assert_eq!(kind_of(&network(), [192, 0, 2, 1].into(), None), Ok(RouteKind::Local));
        assert_eq!(kind_of(&network(), [192, 0, 2, 9].into(), None), Ok(RouteKind::Unicast));
        assert_eq!(kind_of(&network(), [255; 4].into(), None), Ok(RouteKind::Broadcast));
    }

    #[test]
    fn nobody_is_masqueraded_with_a_loopback_address() {
        let mut network = network();
        network.interfaces[0].addresses = vec!["127.0.0.1/8".parse().expect("address")];
        network.interfaces[1].addresses = vec!["192.0.2.1/24".parse().expect("address")];
        let by = |interface| address_of(&network, Way { interface, gateway: None }, [127, 0, 0, 1].into());
        assert_eq!((by(1), by(2)), (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 1].into())));
    }

    #[test]
    fn sources_that_cannot_be_are_refused() {
        let from = |source: [u8; 4], incoming| {
            let question = Question {
                source: Some(source.into()),
                incoming: Some(incoming),
                ..Question::to([203, 0, 113, 1].into())
            };
            refuses_source(&network(), &question, incoming).expect("modelled").is_some()
        };
        assert!(!from([192, 0, 2, 5], 2));
        assert!(from([192, 0, 2, 1], 2), "its own address from outside");
        assert!(from([127, 0, 0, 1], 2));
        assert!(from([192, 0, 2, 5], 3), "strict: the way back is another");
        assert!(!from([192, 0, 2, 200], 3));
        assert!(!from([198, 51, 100, 1], 2), "no way back, and nobody asks");
    }
}
