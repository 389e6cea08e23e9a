//! What the host has already: its routes, and a bridge that stands, with its address and its containers' ports.

use futures_util::TryStreamExt;
use ipnetwork::Ipv4Network;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr};

use super::{Addressed, BridgeError, connect, failed, find_bridge, interface_name, ipam, port};

/// The bridge's address and subnet: the one that it has, or the first default that overlaps no route of the host.
pub async fn choose_bip(bridge: &str) -> Result<Ipv4Network, BridgeError> {
    match standing_address(bridge).await {
        Ok(address) => Ok(address),
        Err(BridgeError::Missing(_) | BridgeError::NoAddress(_)) => {
            ipam::default_bip(&routes().await?).ok_or(BridgeError::NoSubnet)
        }
        Err(e) => Err(e),
    }
}

/// The first IPv4 address of a bridge that exists, with its prefix length.
pub async fn standing_address(bridge: &str) -> Result<Ipv4Network, BridgeError> {
    let netlink = connect()?;
    let link = find_bridge(&netlink, bridge).await?.ok_or_else(|| BridgeError::Missing(bridge.to_owned()))?;
    let addresses = addresses(&netlink, link.header.index).await.map_err(failed("read the addresses of", bridge))?;
    addresses.first().map(|(address, _)| *address).ok_or_else(|| BridgeError::NoAddress(bridge.to_owned()))
}

/// The destinations of the host's IPv4 routes, of all tables, the default route among them.
pub async fn routes() -> Result<Vec<Ipv4Network>, BridgeError> {
    // The connection ends with its last handle, whatever is still to come: this one lives until the answer is whole.
    let netlink = connect()?;
    let request = netlink.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
    let routes: Vec<RouteMessage> = request.execute().try_collect().await.map_err(failed("read", "routes"))?;
    Ok(routes.iter().filter_map(destination).collect())
}

/// Containers' ports on a bridge that traffic passes; none where there is no such bridge. A port that was closed and is
/// on its way out is not among them.
pub async fn open_ports_of(bridge: &str) -> Result<Vec<String>, BridgeError> {
    let netlink = connect()?;
    let Some(bridge_link) = find_bridge(&netlink, bridge).await? else { return Ok(Vec::new()) };
    let request = netlink.link().get();
    let links: Vec<LinkMessage> = request.execute().try_collect().await.map_err(failed("list the ports of", bridge))?;
    let on_it = links.iter().filter(|link| port::controller(link) == Some(bridge_link.header.index));
    let open = on_it.filter(|link| link.header.flags.contains(LinkFlags::Up) && !port::is_disabled(link));
    Ok(open.filter_map(interface_name).filter(|name| port::is_ours(name)).map(str::to_owned).collect())
}

fn destination(route: &RouteMessage) -> Option<Ipv4Network> {
    let address = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    // A route without a destination is a default route.
    Ipv4Network::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), route.header.destination_prefix_length).ok()
}

/// The IPv4 addresses of an interface, with the messages that name them to the kernel.
pub(super) async fn addresses(netlink: &Handle, index: u32) -> Result<Vec<Addressed>, rtnetlink::Error> {
    let mut stream = netlink.address().get().set_link_index_filter(index).execute();
    let mut found = Vec::new();
    while let Some(message) = stream.try_next().await? {
        let address = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let Some(network) = address.and_then(|a| Ipv4Network::new(a, message.header.prefix_len).ok()) {
            found.push((network, message));
        }
    }
    Ok(found)
}
