//! A container's veth pair: a port of the bridge on the host's side, `eth0` on the container's.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rtnetlink::packet_route::link::{
    BridgeMulticastRouterType, BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, TokioSocket};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{Bridge, BridgeError, failed, find_link, is, settings};
use crate::model::{ContainerId, Endpoint, NetworkOptions};
use crate::netns::{NetNs, NetNsError};

/// The container's side, as programs and people expect it.
const INSIDE: &str = "eth0";
const PREFIX: &str = "veth";
/// Hexadecimal digits behind it, up to the fifteen bytes that Linux allows.
const DIGITS: usize = 11;

/// The port's name: `veth`, seven digits of the container's id for people, and four of the address, which a container
/// that starts again seldom has twice: the pair of its life before takes the kernel tens of milliseconds to bury, and
/// its name as long.
pub fn port_name(id: &ContainerId, address: Ipv4Addr) -> String {
    format!("{}{:04x}", port_prefix(id), address.to_bits() & 0xffff)
}

/// How the names of a container's ports begin, whatever its address.
pub fn port_prefix(id: &ContainerId) -> String {
    format!("{PREFIX}{}", &id.as_str()[..DIGITS - 4])
}

/// Whether a name is of the form of [`port_name`].
pub(super) fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Creates the pair: the port on the bridge, `eth0` in the namespace, both down.
pub(super) async fn create(bridge: &Bridge, endpoint: &Endpoint, netns: &NetNs) -> Result<(), BridgeError> {
    let target = netns.file()?;
    let add = || bridge.netlink.link().add(pair(bridge, endpoint, target.as_fd())).execute();
    let result = match add().await {
        // The port of the container's life before: its namespace is still on its way out. It is only in the way now.
        Err(e) if is(&e, libc::EEXIST) && is_stale(bridge, &endpoint.port).await? => {
            bridge.delete(&endpoint.port).await?;
            add().await
        }
        result => result,
    };
    result.map_err(failed("create port", &endpoint.port))
}

fn pair(bridge: &Bridge, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> LinkMessage {
    let mtu = bridge.options.mtu;
    let inside = LinkUnspec::new_with_name(INSIDE)
        .address(endpoint.mac.0.to_vec())
        .mtu(mtu)
        .setns_by_fd(netns.as_raw_fd())
        .build();
    LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(&endpoint.port)
        .mtu(mtu)
        .controller(bridge.index())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inside)))
        .build()
}

/// A veth of ours on this bridge, or on none any more.
async fn is_stale(bridge: &Bridge, port: &str) -> Result<bool, BridgeError> {
    let Some(link) = find_link(&bridge.netlink, port).await? else { return Ok(true) };
    let here = controller(&link).is_none_or(|index| index == bridge.index());
    Ok(is_ours(port) && here && kind(&link) == Some(&InfoKind::Veth))
}

/// What the pair needs besides its existence, on both sides.
pub(super) async fn configure(bridge: &Bridge, endpoint: &Endpoint, netns: &NetNs) -> Result<(), BridgeError> {
    // The host has nothing to say on the port itself: no link-local address, no neighbour discovery into the container.
    settings::apply(&[(format!("net/ipv6/conf/{}/disable_ipv6", endpoint.port), "1")])?;
    harden(bridge, endpoint).await?;
    let inside = connect_inside(netns).await?;
    let what = format!("{INSIDE} of {}", endpoint.name);
    let link = find_link(&inside, INSIDE).await?.ok_or_else(|| BridgeError::Missing(what.clone()))?;
    let request = inside.address().add(link.header.index, endpoint.address.into(), bridge.options.bip.prefix());
    request.execute().await.map_err(failed("set the address of", &what))?;
    let up = LinkUnspec::new_with_index(link.header.index).up().build();
    inside.link().set(up).execute().await.map_err(failed("bring up", &what))?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(bridge.options.gateway()).build();
    inside.route().add(route).execute().await.map_err(failed("set the default route of", &what))
}

/// Makes the port one that cannot be lied about: it obeys `icc`, the bridge's forwarding table knows who is behind it and
/// learns nothing from it, and the host knows who has the address. Three messages, whatever the number of ports.
pub(super) async fn harden(bridge: &Bridge, endpoint: &Endpoint) -> Result<(), BridgeError> {
    let Endpoint { port, mac, .. } = endpoint;
    set_flags(bridge, port).await?;
    let index = index(port)?;
    // Sticky, because a frame from another port that does learn (one of the operator's, on a bridge of his) would move
    // even a static entry.
    let entry = bridge.netlink.neighbours().add_bridge(index, &mac.0).state(NeighbourState::Noarp);
    let entry = entry.flags(NeighbourFlags::Controller | NeighbourFlags::Sticky).replace();
    entry.execute().await.map_err(failed("enter into the bridge's forwarding table the container behind", port))?;
    // After the forwarding table: what has waited on the host for an answer to "who has that address" is sent to the port
    // now, and is thrown away where that is down still.
    bridge.enter_neighbour(endpoint.address, endpoint.mac).await
}

pub(super) fn index(port: &str) -> Result<u32, BridgeError> {
    nix::net::if_::if_nametoindex(port)
        .map_err(|errno| BridgeError::Index { port: port.to_owned(), source: errno.into() })
}

/// What a port of ours is told by itself, whoever is behind it.
///
/// - *isolated* without `icc`: frames pass between the port and the bridge only, whatever their ethertype;
/// - *hairpin* where the kernel's bridge filter is on: that filter takes a frame whose destination was rewritten to the
///   container that sent it straight back, past the host's IP layer;
/// - *learning off*: the forwarding table is written by us. The kernel learns even from frames that no table of the
///   firewall sees;
/// - *no unicast flood*: a container hears what is for its own address, and not what the bridge cannot place;
/// - *group_fwd_mask* for 01:80:c2:00:00:0e: otherwise the kernel hands what is sent there, IPv4 too, to the port's own IP
///   layer, past the bridge and all tables that judge what comes by it. So it is a frame like any other, and dropped.
///
/// The others are as a port has them from its making on.
pub(super) fn flags(options: &NetworkOptions) -> Vec<InfoBridgePort> {
    vec![
        InfoBridgePort::Isolated(!options.icc),
        InfoBridgePort::HairpinMode(settings::bridge_filter_is_on()),
        InfoBridgePort::Learning(false),
        InfoBridgePort::UnicastFlood(false),
        InfoBridgePort::GroupFwdMask(1 << 0xe),
        InfoBridgePort::MulticastFlood(true),
        InfoBridgePort::BroadcastFlood(true),
        InfoBridgePort::MulticastToUnicast(false),
        InfoBridgePort::NeighSupress(false),
        InfoBridgePort::ProxyARP(false),
        InfoBridgePort::ProxyARPWifi(false),
        InfoBridgePort::Guard(false),
        InfoBridgePort::Protect(false),
        InfoBridgePort::FastLeave(false),
        InfoBridgePort::VlanTunnel(false),
        InfoBridgePort::Locked(false),
        InfoBridgePort::MulticastRouter(BridgeMulticastRouterType::TempQuery),
    ]
}

pub(super) async fn set_flags(bridge: &Bridge, port: &str) -> Result<(), BridgeError> {
    let message = LinkUnspec::new_with_name(port)
        .set_port_kind(InfoPortKind::Bridge)
        .set_port_data(InfoPortData::BridgePort(flags(&bridge.options)))
        .build();
    bridge.netlink.link().set_port(message).execute().await.map_err(failed("set the flags of port", port))
}

/// Gives the port its state on the bridge (bridge(8), `state`). Disabled, it passes nothing.
pub(super) async fn set_state(bridge: &Bridge, port: u32, state: BridgePortState) -> Result<(), rtnetlink::Error> {
    let message = LinkUnspec::new_with_index(port)
        .set_port_kind(InfoPortKind::Bridge)
        .set_port_data(InfoPortData::BridgePort(vec![InfoBridgePort::State(state)]))
        .build();
    bridge.netlink.link().set_port(message).execute().await
}

/// Deletes what has the name of the container's side, and with it its other end, wherever that is now.
pub(super) async fn clear(netns: &NetNs) -> Result<(), BridgeError> {
    let inside = connect_inside(netns).await?;
    match inside.link().del_with_message(LinkUnspec::new_with_name(INSIDE).build()).execute().await {
        Err(e) if !is(&e, libc::ENODEV) => Err(failed("delete what is left of", INSIDE)(e)),
        _ => Ok(()),
    }
}

/// A netlink conversation with another namespace: a socket belongs for ever to the one it was opened in.
pub(super) async fn connect_inside(netns: &NetNs) -> Result<Handle, BridgeError> {
    let (netns, runtime) = (netns.clone(), tokio::runtime::Handle::current());
    let opening = tokio::task::spawn_blocking(move || {
        netns.enter(|| {
            let _guard = runtime.enter();
            TokioSocket::new(NETLINK_ROUTE)
        })
    });
    let opened: Result<_, NetNsError> = match opening.await {
        Ok(opened) => opened,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    };
    let (connection, handle, _) = rtnetlink::from_socket(opened?.map_err(BridgeError::Socket)?);
    tokio::spawn(connection);
    Ok(handle)
}

/// The kind that `ip link add type …` was given; `None` for hardware and `lo`.
pub(super) fn kind(link: &LinkMessage) -> Option<&InfoKind> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        }),
        _ => None,
    })
}

/// The index of the bridge that an interface is a port of.
pub(super) fn controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// Whether the bridge passes nothing through the port; see [`set_state`].
pub(super) fn is_disabled(link: &LinkMessage) -> bool {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => {
            data.contains(&InfoBridgePort::State(BridgePortState::Disabled))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names_fit_and_are_recognised() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let name = port_name(&id, Ipv4Addr::new(172, 17, 1, 2));
        assert_eq!((name.as_str(), name.len()), ("vethabababa0102", 15));
        assert!(is_ours(&name));
        for foreign in ["veth0", "vethabababababg", "eth0", "vethABABABABABA", "vethabababababab"] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }
}
