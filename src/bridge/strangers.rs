//! Who is on the daemon's own bridge without belonging there: ports, and entries of the forwarding table.
//!
//! The firewall takes nothing from such a port, so that this is not what closes it; but who put it there shall not keep it,
//! and the operator shall know. An operator's bridge (`-b`) has whatever ports the operator gives it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::TryStreamExt;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};

use super::repair::Look;
use super::{Bridge, BridgeError, failed, interface_name, is, port};
use crate::model::MacAddr;

/// The kernel answers at once; but an interface with a name that is no text has no answer that could be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be looked at on the whole bridge.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Interfaces that are ports without being ours.
    pub(super) strangers: BTreeSet<u32>,
    /// Entries that we did not write: at which interface, for whom.
    pub(super) entries: BTreeSet<(u32, MacAddr)>,
    /// Open ports whose own entry is not as we wrote it.
    pub(super) misplaced: BTreeSet<String>,
    /// Open ports of whose endpoints the host does not know what we told it.
    pub(super) unknown: BTreeSet<String>,
    /// Addresses of which somebody else told the host who has them.
    pub(super) known: BTreeSet<Ipv4Addr>,
}

/// An entry of a bridge's forwarding table, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The bridge.
    pub(super) bridge: Option<u32>,
    /// The port.
    pub(super) port: u32,
    /// Whose place it tells.
    pub(super) mac: MacAddr,
    /// Written by somebody, neither learnt nor the kernel's own.
    pub(super) is_static: bool,
    /// As we write ours.
    pub(super) is_fixed: bool,
}

impl Entry {
    pub(super) fn of(message: &NeighbourMessage) -> Option<Self> {
        if message.header.family != AddressFamily::Bridge {
            return None;
        }
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(mac) => Some(MacAddr(mac.as_slice().try_into().ok()?)),
            _ => None,
        })?;
        let bridge = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Controller(index) => Some(*index),
            _ => None,
        });
        let is_static = message.header.state == NeighbourState::Noarp;
        let is_fixed = is_static && message.header.flags.contains(NeighbourFlags::Sticky);
        Some(Self { bridge, port: message.header.ifindex, mac, is_static, is_fixed })
    }
}

/// Where the other end of an interface is, if that is elsewhere: the number that the host knows that namespace by.
fn namespace_of(link: &LinkMessage) -> Option<i32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(namespace) => Some(*namespace),
        _ => None,
    })
}

impl Bridge {
    /// Whether an interface is on our own bridge without belonging there, as far as that is known already.
    pub(super) fn is_stranger(&self, index: u32) -> bool {
        self.own && index != self.index() && !self.members.has(index)
    }

    /// Whether an entry is none that we have a reason for.
    pub(super) fn is_foreign(&self, entry: &Entry) -> bool {
        self.own && entry.is_static && entry.bridge == Some(self.index()) && !self.members.have(&entry.mac.0)
    }

    /// Looks at all ports, all of the forwarding table, and what the host knows of who is on the bridge.
    pub(super) async fn census(&self) -> Result<Census, BridgeError> {
        let (name, index) = (&self.options.bridge, self.index());
        let links = self.netlink.link().get().execute();
        let links: Vec<LinkMessage> = links.try_collect().await.map_err(failed("list the ports of", name))?;
        let entries = self.netlink.neighbours().get().set_address_family(AddressFamily::Bridge).execute();
        let entries: Vec<NeighbourMessage> =
            entries.try_collect().await.map_err(failed("read the forwarding table of", name))?;
        let entries: Vec<Entry> =
            entries.iter().filter_map(Entry::of).filter(|entry| entry.bridge == Some(index)).collect();
        let (unknown, known) = self.false_neighbours().await?;
        let open = self.open.lock().await;
        let misplaced = open.values().filter(|port| {
            let own = |entry: &&Entry| entry.mac == port.endpoint.mac;
            port.ready && !entries.iter().filter(own).any(|entry| entry.port == port.index && entry.is_fixed)
        });
        let misplaced = misplaced.map(|port| port.endpoint.port.clone()).collect();
        // A port whose name cannot be read is told by the kernel's entry for its own address.
        let ports = links.iter().filter(|link| port::controller(link) == Some(index)).map(|link| link.header.index);
        let strangers = ports.chain(entries.iter().map(|entry| entry.port)).filter(|index| self.is_stranger(*index));
        Ok(Census {
            strangers: strangers.collect(),
            entries: entries.iter().filter(|entry| self.is_foreign(entry)).map(|it| (it.port, it.mac)).collect(),
            misplaced,
            unknown,
            known,
        })
    }

    /// Takes a port off the bridge that does not belong there. One that leads into a container's namespace is set down first:
    /// what hangs off it should not find itself on the host instead. Any other may be the host's uplink by somebody's
    /// mistake, which stays up, with its addresses and routes.
    pub(super) async fn throw_out(&self, index: u32) -> Result<Look, BridgeError> {
        if !self.is_stranger(index) {
            return Ok(Look::Fine);
        }
        let found = tokio::time::timeout(PATIENCE, self.link_at(index)).await;
        // What has no readable name is nobody's uplink.
        let mut is_containers = true;
        if let Ok(Ok(Some(link))) = &found {
            is_containers = match namespace_of(link) {
                Some(namespace) => self.is_containers(namespace).await?,
                None => false,
            };
        }
        let name = match found {
            Ok(Ok(None)) => return Ok(Look::Fine),
            Ok(Ok(Some(link))) if port::controller(&link) != Some(self.index()) => return Ok(Look::Fine),
            Ok(Ok(Some(link))) => interface_name(&link).unwrap_or_default().to_owned(),
            Ok(Err(error)) => return Err(error),
            Err(_unreadable) => format!("interface {index}"),
        };
        if self.members.is_making(&name) {
            return Ok(Look::Busy);
        }
        // Its making may have ended while the kernel was asked.
        if !self.is_stranger(index) {
            return Ok(Look::Fine);
        }
        // It is anybody's word.
        let name = name.escape_debug().to_string();
        let down = is_containers.then(|| LinkUnspec::new_with_index(index).down());
        for message in down.into_iter().chain([LinkUnspec::new_with_index(index).nocontroller()]) {
            match self.netlink.link().set(message.build()).execute().await {
                Err(e) if !is(&e, libc::ENODEV) => return Err(failed("take off the bridge the port", &name)(e)),
                _ => {}
            }
        }
        let now = if is_containers { ", which is down now" } else { "" };
        Ok(Look::Repaired(vec![format!("put a port on bridge {}: {name}{now}", self.options.bridge)]))
    }

    /// Whether a namespace, by the number that the host knows it by, is one that a port of a container's leads to.
    async fn is_containers(&self, namespace: i32) -> Result<bool, BridgeError> {
        let links = self.netlink.link().get().execute();
        let links: Vec<LinkMessage> =
            links.try_collect().await.map_err(failed("list the ports of", &self.options.bridge))?;
        let mut ports = links.iter().filter(|link| self.members.has(link.header.index));
        Ok(ports.any(|port| namespace_of(port) == Some(namespace)))
    }

    pub(super) async fn link_at(&self, index: u32) -> Result<Option<LinkMessage>, BridgeError> {
        match self.netlink.link().get().match_index(index).execute().try_next().await {
            Ok(link) => Ok(link),
            Err(e) if is(&e, libc::ENODEV) => Ok(None),
            Err(e) => Err(failed("look for", &format!("interface {index}"))(e)),
        }
    }

    /// Deletes an entry that we did not write.
    pub(super) async fn forget_entry(&self, port: u32, mac: MacAddr) -> Result<Look, BridgeError> {
        if !self.own || self.members.have(&mac.0) {
            return Ok(Look::Fine);
        }
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = port;
        message.header.flags = NeighbourFlags::Controller;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        match self.netlink.neighbours().del(message).execute().await {
            Ok(()) => {
                let what = format!("entered {mac} into the forwarding table of bridge {}", self.options.bridge);
                Ok(Look::Repaired(vec![what]))
            }
            Err(e) if is(&e, libc::ENOENT) || is(&e, libc::ENODEV) => Ok(Look::Fine),
            Err(e) => Err(failed("delete from the bridge's forwarding table", &mac.to_string())(e)),
        }
    }
}
