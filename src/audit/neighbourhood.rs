//! Who is around this machine: a neighbour on each link that is not the bridge, and whoever is behind the gateway.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::firewall::audit::Mac;
use crate::firewall::audit::network::{Interface, Network, Route, RouteKind};

/// One who stands for all that are where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    /// The link that its packets come in by, and what leaves for it goes out by.
    pub(super) interface: u32,
    /// The link's name.
    pub(super) link: String,
    /// This machine's address there.
    pub(super) own: Ipv4Addr,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its hardware address, where this machine knows it.
    pub(super) mac: Option<Mac>,
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
    Some(Stranger { interface: interface.index, link: interface.name.clone(), own: subnet.ip(), address, mac })
}

/// Addresses of documentation and of nobody (RFC 5737, RFC 2544), one of which stands for the outside.
const NOBODY: [[u8; 4]; 4] = [[198, 51, 100, 1], [203, 0, 113, 1], [192, 0, 2, 1], [198, 18, 0, 1]];

/// Who is behind the default route; `None` where there is none.
pub(super) fn outside(network: &Network) -> Option<Stranger> {
    let v4 = || network.routes.iter().filter(|route| route.destination.is_ipv4());
    let default =
        |route: &&Route| route.destination.prefix() == 0 && route.kind == RouteKind::Unicast && !route.ways.is_empty();
    let route = v4().filter(default).min_by_key(|route| route.metric)?;
    let interface = network.interface(route.ways.first()?.interface)?;
    let elsewhere = |address: Ipv4Addr| {
        v4().any(|route| route.destination.prefix() != 0 && route.destination.contains(IpAddr::V4(address)))
    };
    let address = NOBODY.into_iter().map(Ipv4Addr::from).find(|address| !elsewhere(*address))?;
    let own = interface.addresses.iter().find_map(|address| match address {
        IpNetwork::V4(v4) => Some(v4.ip()),
        IpNetwork::V6(_) => None,
    });
    Some(Stranger { interface: interface.index, link: interface.name.clone(), own: own?, address, mac: None })
}

/// The link that an address is on or behind, by the longest prefix.
pub(super) fn towards(network: &Network, address: Ipv4Addr) -> Option<u32> {
    let routes = network.routes.iter().filter(|route| {
        route.kind == RouteKind::Unicast && route.destination.contains(IpAddr::V4(address)) && !route.ways.is_empty()
    });
    let best = routes.min_by_key(|route| (u8::MAX - route.destination.prefix(), route.metric))?;
    Some(best.ways.first()?.interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::network::{Neighbour, Way};

    fn interface(index: u32, name: &str, address: &str) -> Interface {
        let addresses = vec![address.parse().expect("address")];
        Interface { index, name: name.to_owned(), up: true, addresses, ..Interface::default() }
    }

    fn network() -> Network {
        let bridge = interface(3, "pontoon0", "172.17.0.1/16");
        let interfaces = vec![interface(2, "eth0", "192.0.2.1/24"), bridge, interface(4, "wg0", "10.9.0.0/31")];
        Network { interfaces, ..Network::default() }
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
        assert_eq!(outside(&network), None);
        let route = |destination: &str| Route {
            table: 254,
            destination: destination.parse().expect("network"),
            source: None,
            metric: 0,
            tos: 0,
            kind: RouteKind::Unicast,
            ways: vec![Way { interface: 2, gateway: None }],
            preferred_source: None,
            opaque: false,
        };
        network.routes = vec![route("0.0.0.0/0"), route("198.51.100.0/24")];
        let outside = outside(&network).expect("there is a default route");
        assert_eq!(
            (outside.address, outside.own, outside.interface),
            ([203, 0, 113, 1].into(), [192, 0, 2, 1].into(), 2)
        );
    }
}
