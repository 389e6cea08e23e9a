//! Who is around this machine: a neighbour on each link that is not the bridge, whoever is behind the gateway, and on an
//! operator's bridge one behind each port that is no container's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::firewall::audit::network::{Interface, Neighbour, Network, Route, RouteKind, RoutingAction, Way};
use crate::firewall::audit::{Mac, way_to};
use crate::model::Intent;

/// One who stands for all that are where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    /// The interface that its packets come in by, and what leaves for it goes out by: a link, or a port of a bridge.
    pub(super) interface: u32,
    /// Its name.
    pub(super) link: String,
    /// The interface that has this machine's address there: the link, or the bridge.
    pub(super) above: u32,
    /// This machine's address there.
    pub(super) own: Ipv4Addr,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its hardware address, where this machine knows it.
    pub(super) mac: Option<Mac>,
    /// Other interfaces that lead to it.
    pub(super) others: Vec<u32>,
}

impl Stranger {
    /// Which address is behind which port, as the kernel would know it.
    pub(super) fn host(&self) -> Option<(IpAddr, Mac, &str)> {
        Some((self.address.into(), self.mac?, self.link.as_str()))
    }
}

/// A neighbour on each link with a subnet, in the links' order, but for the bridge and its ports.
pub(super) fn links(network: &Network, bridge: Option<&str>) -> Vec<Stranger> {
    let bridge = bridge.and_then(|bridge| network.named(bridge)).map(|bridge| bridge.index);
    let others = network.interfaces.iter().filter(|interface| {
        let ours = Some(interface.index) == bridge || bridge.is_some() && interface.master == bridge;
        interface.up && !interface.loopback && !ours
    });
    others.filter_map(|interface| neighbour(network, interface, subnet(interface)?)).collect()
}

/// The first subnet with room for somebody else.
fn subnet(interface: &Interface) -> Option<Ipv4Network> {
    interface.addresses.iter().find_map(|address| match address {
        IpNetwork::V4(v4) if v4.prefix() < 32 && !v4.ip().is_loopback() => Some(*v4),
        _ => None,
    })
}

/// Somebody who is known to be there, else an address that nobody is known to have.
fn neighbour(network: &Network, interface: &Interface, subnet: Ipv4Network) -> Option<Stranger> {
    let own = |address: Ipv4Addr| interface.addresses.iter().any(|own| own.ip() == IpAddr::V4(address));
    let known = network.neighbours.iter().find_map(|neighbour| match neighbour.address {
        IpAddr::V4(v4) if neighbour.interface == interface.index && subnet.contains(v4) && !own(v4) => {
            Some((v4, Some(neighbour.mac)))
        }
        _ => None,
    });
    let reserved =
        |address: Ipv4Addr| subnet.prefix() < 31 && (address == subnet.network() || address == subnet.broadcast());
    let free = || subnet.iter().find(|address| !own(*address) && !reserved(*address)).map(|address| (address, None));
    let (address, mac) = known.or_else(free)?;
    let (index, link) = (interface.index, interface.name.clone());
    Some(Stranger { interface: index, link, above: index, own: subnet.ip(), address, mac, others: Vec::new() })
}

/// On an operator's bridge: behind each port that is no container's somebody who is known to be there, else an address
/// and a hardware address that nobody is known to have.
pub(super) fn at_bridge(network: &Network, intent: &Intent) -> Vec<Stranger> {
    let Some(bridge) = network.named(&intent.options.bridge).filter(|_| !intent.options.own_bridge) else {
        return Vec::new();
    };
    let containers: BTreeSet<&str> = intent.endpoints.values().map(|endpoint| endpoint.port.as_str()).collect();
    let mut taken: BTreeSet<Ipv4Addr> = intent.endpoints.values().map(|endpoint| endpoint.address).collect();
    let own = intent.options.gateway();
    let subnet = intent.options.bip;
    taken.extend([own, subnet.network(), subnet.broadcast()]);
    taken.extend(neighbours(network, bridge.index).map(|(address, _)| address));
    let ports = network.interfaces.iter().filter(|it| it.master == Some(bridge.index) && it.up);
    let others = ports.filter(|port| !containers.contains(port.name.as_str()));
    let somebody = |port: &Interface| {
        let behind = || network.forwarding.iter().filter(|it| it.port == port.index && !it.local && !it.own);
        let is_behind = |mac: Mac| behind().any(|it| it.mac == mac);
        let mut known = neighbours(network, bridge.index).filter(|(address, _)| subnet.contains(*address));
        let (address, mac) = known.find(|(_, mac)| is_behind(*mac)).or_else(|| {
            let free = subnet.iter().find(|address| !taken.contains(address))?;
            Some((free, behind().next().map_or(nobodys(port.index), |it| it.mac)))
        })?;
        taken.insert(address);
        let (interface, link, above) = (port.index, port.name.clone(), bridge.index);
        Some(Stranger { interface, link, above, own, address, mac: Some(mac), others: Vec::new() })
    };
    others.filter_map(somebody).collect()
}

/// Who is known on a link.
pub(super) fn neighbours(network: &Network, link: u32) -> impl Iterator<Item = (Ipv4Addr, Mac)> {
    let on_it = move |it: &&Neighbour| it.interface == link;
    network.neighbours.iter().filter(on_it).filter_map(|it| match it.address {
        IpAddr::V4(v4) => Some((v4, it.mac)),
        IpAddr::V6(_) => None,
    })
}

/// A hardware address that stands for whoever is behind a port: locally administered.
pub(super) fn nobodys(port: u32) -> Mac {
    let [a, b, c, d] = port.to_be_bytes();
    [0x02, 0, a, b, c, d]
}

/// Addresses of which one stands for the outside, to which nothing is sent. They are real ones, each elsewhere: those that
/// nobody has (RFC 5737, RFC 2544) are on lists that many hosts block.
pub(super) const OUTSIDE: [Ipv4Addr; 4] =
    [Ipv4Addr::new(9, 9, 9, 77), Ipv4Addr::new(8, 8, 8, 77), Ipv4Addr::new(1, 1, 1, 77), Ipv4Addr::new(193, 0, 14, 77)];

/// Ways out: of default routes in tables that any routing rule asks, those of the main table first.
fn ways_out(network: &Network) -> Vec<Way> {
    const MAIN: u32 = 254;
    let asked = |table: u32| network.rules.iter().any(|rule| rule.v4 && rule.action == RoutingAction::Table(table));
    let mut routes: Vec<&Route> = network
        .routes
        .iter()
        .filter(|route| {
            let default = route.destination.is_ipv4() && route.destination.prefix() == 0;
            default && route.kind == RouteKind::Unicast && asked(route.table)
        })
        .collect();
    routes.sort_by_key(|route| (route.table != MAIN, route.metric));
    routes.iter().flat_map(|route| route.ways.iter().copied()).collect()
}

/// The interfaces by which what is on no link may leave.
pub(super) fn interfaces_out(network: &Network) -> Vec<u32> {
    ways_out(network).into_iter().map(|way| way.interface).collect()
}

/// Who is behind the default route; `None` where there is none. Where this machine sends without a mark it is seen to be;
/// but whatever other way out a packet takes leads there, too. `guests` are those at the bridge's ports.
pub(super) fn outside(network: &Network, guests: &[Stranger]) -> Option<Stranger> {
    let v4 = || network.routes.iter().filter(|route| route.destination.is_ipv4());
    let first = *ways_out(network).first()?;
    let elsewhere = |address: Ipv4Addr| {
        v4().any(|route| route.destination.prefix() != 0 && route.destination.contains(IpAddr::V4(address)))
    };
    let address = OUTSIDE.into_iter().find(|address| !elsewhere(*address))?;
    let way = way_to(network, address.into()).unwrap_or(first);
    let interface = network.interface(way.interface)?;
    let others = interfaces_out(network);
    let own = interface.addresses.iter().find_map(|address| match address {
        IpNetwork::V4(v4) => Some(v4.ip()),
        IpNetwork::V6(_) => None,
    });
    let (own, above) = (own?, interface.index);
    Some(match gateway(network, &way, guests) {
        Some((port, mac)) => Stranger { own, above, address, mac, others, ..port.clone() },
        None => Stranger { interface: above, link: interface.name.clone(), above, own, address, mac: None, others },
    })
}

/// Where the way out leads by the bridge: behind which of its ports the gateway is, and its hardware address.
fn gateway<'s>(network: &Network, way: &Way, guests: &'s [Stranger]) -> Option<(&'s Stranger, Option<Mac>)> {
    let mut guests = guests.iter().filter(|guest| guest.above == way.interface);
    let known = neighbours(network, way.interface).find(|(address, _)| Some(IpAddr::V4(*address)) == way.gateway);
    let Some((_, mac)) = known else {
        return guests.next().filter(|_| guests.next().is_none()).map(|sole| (sole, None));
    };
    let behind = |port: u32| network.forwarding.iter().any(|it| it.port == port && it.mac == mac && !it.local);
    guests.find(|guest| behind(guest.interface)).map(|guest| (guest, Some(mac)))
}

/// The link that an address is on or behind: where this machine sends what is for it or, if it does not, by the longest
/// prefix.
pub(super) fn towards(network: &Network, address: Ipv4Addr) -> Option<u32> {
    if let Some(way) = way_to(network, address.into()) {
        return Some(way.interface);
    }
    let routes = network.routes.iter().filter(|route| {
        route.kind == RouteKind::Unicast && route.destination.contains(IpAddr::V4(address)) && !route.ways.is_empty()
    });
    let best = routes.min_by_key(|route| (u8::MAX - route.destination.prefix(), route.metric))?;
    Some(best.ways.first()?.interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::network::{ForwardingEntry, RoutingRule};
    use crate::model::{ContainerId, Endpoint, MacAddr, Names, NetworkOptions};

    fn interface(index: u32, name: &str, address: &str) -> Interface {
        let addresses = vec![address.parse().expect("address")];
        Interface { index, name: name.to_owned(), up: true, addresses, ..Interface::default() }
    }

    fn network() -> Network {
        let bridge = interface(3, "pontoon0", "172.17.0.1/16");
        let interfaces = vec![interface(2, "eth0", "192.0.2.1/24"), bridge, interface(4, "wg0", "10.9.0.0/31")];
        Network { interfaces, rules: vec![RoutingRule::usual(32_766, 254)], ..Network::default() }
    }

    #[test]
    fn a_neighbour_on_each_link_but_the_bridge() {
        let mut network = network();
        let addresses = |network: &Network| -> Vec<(String, Ipv4Addr)> {
            links(network, Some("pontoon0")).into_iter().map(|stranger| (stranger.link, stranger.address)).collect()
        };
        let (eth0, wg0) = ("eth0".to_owned(), "wg0".to_owned());
        let free = [(eth0.clone(), [192, 0, 2, 2].into()), (wg0.clone(), [10, 9, 0, 1].into())];
        assert_eq!(addresses(&network), free);
        network.neighbours.push(Neighbour {
            address: [192, 0, 2, 77].into(),
            mac: [2; 6],
            interface: 2,
            permanent: false,
        });
        assert_eq!(addresses(&network), [(eth0, [192, 0, 2, 77].into()), free[1].clone()]);
    }

    #[test]
    fn the_outside_is_where_only_the_default_route_leads() {
        let mut network = network();
        assert_eq!(outside(&network, &[]), None);
        let known = Route { destination: "9.9.9.0/24".parse().expect("network"), ..default_by(2, None) };
        network.routes = vec![default_by(2, None), known];
        let outside = outside(&network, &[]).expect("there is a default route");
        assert_eq!((outside.address, outside.own, outside.interface), ([8, 8, 8, 77].into(), [192, 0, 2, 1].into(), 2));
    }

    #[test]
    fn the_outside_is_where_this_machine_sends_and_wherever_else_a_way_out_leads() {
        let mut network = network();
        let other = |table| Route { table, metric: 0, ..default_by(4, None) };
        network.routes = vec![other(100), Route { metric: 100, ..default_by(2, None) }];
        let seen = |network: &Network| outside(network, &[]).map(|it| (it.interface, it.others));
        assert_eq!(seen(&network), Some((2, vec![2])), "no rule asks table 100");
        network.rules.insert(0, RoutingRule { mark: Some((5, 0xff)), ..RoutingRule::usual(100, 100) });
        assert_eq!(seen(&network), Some((2, vec![2, 4])));
        network.rules.insert(0, RoutingRule::usual(50, 100));
        assert_eq!(seen(&network), Some((4, vec![2, 4])));
        network.routes = vec![other(100)];
        network.rules = vec![RoutingRule { mark: Some((5, 0xff)), ..RoutingRule::usual(100, 100) }];
        assert_eq!(seen(&network), Some((4, vec![4])), "by a mark alone");
    }

    /// An operator's bridge with a container's port, a network card and a virtual machine.
    fn shared() -> (Network, Intent) {
        let port = |index, name| Interface {
            index,
            name: str::to_owned(name),
            up: true,
            master: Some(3),
            ..Interface::default()
        };
        let interfaces =
            vec![interface(3, "br0", "192.0.2.1/24"), port(4, "vethWEB"), port(5, "eth0"), port(6, "tap0")];
        let behind = |mac, port| ForwardingEntry { mac, port, local: false, fixed: false, sticky: false, own: false };
        let known = |last, mac| Neighbour { address: [192, 0, 2, last].into(), mac, interface: 3, permanent: false };
        let network = Network {
            interfaces,
            forwarding: vec![behind([2; 6], 4), behind([5; 6], 5), behind([6; 6], 6)],
            neighbours: vec![known(2, [2; 6]), known(254, [5; 6])],
            rules: vec![RoutingRule::usual(32_766, 254)],
            ..Network::default()
        };
        let options = NetworkOptions {
            bridge: "br0".to_owned(),
            bip: "192.0.2.1/24".parse().expect("bip"),
            own_bridge: false,
            ..NetworkOptions::usual()
        };
        let endpoint = Endpoint {
            name: "web".parse().expect("name"),
            address: [192, 0, 2, 2].into(),
            mac: MacAddr([2; 6]),
            port: "vethWEB".to_owned(),
            published: vec![],
            exposed: vec![],
            links: vec![],
            names: Names::default(),
        };
        let endpoints = [(ContainerId::from_bytes([1; 32]), endpoint)].into();
        (network, Intent { options, endpoints })
    }

    #[test]
    fn somebody_behind_each_port_of_an_operators_bridge_that_is_no_containers() {
        let (network, mut intent) = shared();
        let guests = at_bridge(&network, &intent);
        let seen: Vec<_> = guests.iter().map(|it| (it.link.as_str(), it.above, it.address, it.mac)).collect();
        let (known, free) = ([192, 0, 2, 254].into(), [192, 0, 2, 3].into());
        assert_eq!(seen, [("eth0", 3, known, Some([5; 6])), ("tap0", 3, free, Some([6; 6]))]);
        intent.options.own_bridge = true;
        assert_eq!(at_bridge(&network, &intent), [], "on the daemon's own bridge they lead nowhere");
    }

    #[test]
    fn the_outside_is_behind_the_port_where_the_gateway_is() {
        let (mut network, intent) = shared();
        let guests = at_bridge(&network, &intent);
        let gateway = Some(IpAddr::from([192, 0, 2, 254]));
        network.routes = vec![default_by(3, gateway)];
        let outside = |network: &Network| outside(network, &guests).map(|it| (it.interface, it.above, it.mac));
        assert_eq!(outside(&network), Some((5, 3, Some([5; 6]))));
        network.neighbours.clear();
        assert_eq!(outside(&network), Some((3, 3, None)), "behind one of two");
    }

    fn default_by(interface: u32, gateway: Option<IpAddr>) -> Route {
        Route {
            table: 254,
            destination: "0.0.0.0/0".parse().expect("network"),
            source: None,
            metric: 0,
            tos: 0,
            kind: RouteKind::Unicast,
            ways: vec![Way { interface, gateway }],
            preferred_source: None,
            opaque: false,
        }
    }
}
