//! Routes that lead what is for containers elsewhere, the one that should lead to them, and a routing rule of ours. Pure.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::difference::{ours, theirs};
use crate::firewall::audit::network::{Network, Route, RouteKind, RoutingAction, RoutingRule};
use crate::model::audit::{Difference, Subject};
use crate::model::{NetworkOptions, STRANGERS_REQUEST};

const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// On an operator's bridge with `icc=false`: the rule without which the host answers ARP for all of its subnet.
fn no_rule(options: &NetworkOptions, network: &Network) -> Option<Difference> {
    let is_ours = |rule: &RoutingRule| {
        rule.incoming.as_ref() == Some(&options.bridge)
            && rule.mark == Some((STRANGERS_REQUEST, u32::MAX))
            && rule.action == RoutingAction::Refuse(RouteKind::Unreachable)
    };
    let needed = !options.own_bridge && !options.icc;
    (needed && !network.rules.iter().any(is_ours)).then(|| {
        let what = format!(
            "the routing rule of {} for strangers' ARP requests is missing: the host answers them for every address there",
            options.bridge
        );
        ours(Subject::Bridge, "bridge-rule-missing", what)
    })
}

/// Everything that differs.
pub(super) fn differences(options: &NetworkOptions, network: &Network) -> Vec<Difference> {
    let Some(bridge) = network.named(&options.bridge) else { return Vec::new() };
    let subnet = IpNetwork::V4(options.bip);
    let same = |to: IpNetwork| to.prefix() == subnet.prefix() && to.network() == subnet.network();
    let connected = |route: &Route| {
        let here = !route.ways.is_empty()
            && route.ways.iter().all(|way| way.interface == bridge.index && way.gateway.is_none());
        same(route.destination) && route.table == MAIN && route.kind == RouteKind::Unicast && here
    };
    let mut found = Vec::new();
    let reachable = bridge.up && bridge.addresses.contains(&subnet);
    if reachable && !network.routes.iter().any(connected) {
        let what = format!("there is no route to {}/{} by {}", subnet.network(), subnet.prefix(), bridge.name);
        let remedy = format!(
            "`ip route add {}/{} dev {} src {}`",
            subnet.network(),
            subnet.prefix(),
            bridge.name,
            options.gateway()
        );
        let taken = network.routes.iter().any(|route| same(route.destination) && route.table == MAIN);
        found.push(match options.own_bridge && !taken {
            true => ours(Subject::Bridge, "route-missing", what),
            false => theirs(Subject::Foreign, "route-missing", what, remedy),
        });
    }
    let within = |route: &Route| {
        route.destination.is_ipv4()
            && route.destination.prefix() >= subnet.prefix()
            && subnet.contains(route.destination.network())
    };
    found.extend(taken(options, network, bridge.index));
    found.extend(no_rule(options, network));
    for route in network.routes.iter().filter(|route| within(route) && !connected(route) && !kernels(network, route)) {
        let to = route.destination;
        let via = route.ways.first().and_then(|way| way.gateway).map(|via| format!(" by {via}")).unwrap_or_default();
        let name = |index: u32| network.interface(index).map_or_else(|| index.to_string(), |it| it.name.clone());
        let dev = route.ways.first().map(|way| format!(" dev {}", name(way.interface))).unwrap_or_default();
        let table = if route.table == MAIN { String::new() } else { format!(" table {}", route.table) };
        let kind = match route.kind {
            RouteKind::Unicast => String::new(),
            kind => format!("{kind:?} ").to_lowercase(),
        };
        let what = format!("a route leads {to}, which is containers', elsewhere: {kind}{to}{via}{dev}{table}");
        let remedy = format!("it is not pontoon's: `ip route del {kind}{to}{dev}{table}`");
        found.push(theirs(Subject::Foreign, "route-foreign", what, remedy));
    }
    found
}

/// The containers' addresses that the host has itself, elsewhere than on the bridge: what is for them stays on the host.
fn taken(options: &NetworkOptions, network: &Network, bridge: u32) -> Vec<Difference> {
    let mut found = Vec::new();
    for interface in network.interfaces.iter().filter(|it| it.index != bridge) {
        let ours = interface.addresses.iter().filter(|it| match it.ip() {
            IpAddr::V4(ip) => options.bip.contains(ip) && ip != options.gateway(),
            IpAddr::V6(_) => false,
        });
        for address in ours {
            let name = &interface.name;
            let what =
                format!("{name} has the address {address}, which is containers': what is for it stays on the host");
            let remedy = format!("it is not pontoon's: `ip address del {address} dev {name}`");
            found.push(theirs(Subject::Foreign, "address-taken", what, remedy));
        }
    }
    found
}

/// Whether there is a default route of IPv4, in whichever table.
pub(super) fn has_default(network: &Network) -> bool {
    let leads = |route: &&Route| route.destination.is_ipv4() && route.kind == RouteKind::Unicast;
    network.routes.iter().filter(leads).any(|route| route.destination.prefix() == 0)
}

/// There was a default route when the daemon began, and is none any more.
pub(super) fn no_default(network: &Network, began: bool) -> Option<Difference> {
    let what = "there is no default route any more: containers do not reach the outside".to_owned();
    let remedy = "`ip route add default via GATEWAY`, as the host's network has it";
    (began && !has_default(network)).then(|| theirs(Subject::Foreign, "route-default-missing", what, remedy))
}

/// What the kernel makes itself for an address: the address, and broadcasts.
fn kernels(network: &Network, route: &Route) -> bool {
    let IpAddr::V4(to) = route.destination.network() else { return false };
    let own = || network.interfaces.iter().flat_map(|it| it.addresses.iter().map(move |address| (it.index, address)));
    let here = |index: u32| route.ways.iter().all(|way| way.interface == index);
    match route.kind {
        RouteKind::Local if route.table == LOCAL => {
            own().any(|(index, address)| address.ip() == IpAddr::V4(to) && here(index))
        }
        RouteKind::Broadcast if route.table == LOCAL => true,
        _ => false,
    }
}
