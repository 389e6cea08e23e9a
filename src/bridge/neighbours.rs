//! Who has which address, as the host believes: for endpoints written by us, and permanent. What the host asks by ARP it
//! believes of whoever answers, and the rules that keep liars from answering may be away for a moment: whoever is believed
//! then is so for seconds, and is sent what is published for another.
//!
//! On an operator's bridge this holds for our endpoints; others' entries are the operator's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::repair::Look;
use super::{Bridge, BridgeError, failed, is, port};
use crate::model::{Endpoint, MacAddr};
use crate::netns::NetNs;

/// An entry of the host's table, of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) address: Ipv4Addr,
    /// `None`: the host looks for it, or has not found it.
    mac: Option<MacAddr>,
    /// No ARP changes it.
    is_permanent: bool,
}

impl Neighbour {
    /// `None`: another interface's, or no entry of who has an address.
    pub(super) fn of(message: &NeighbourMessage, bridge: u32) -> Option<Self> {
        let header = &message.header;
        let proxy = header.flags.contains(NeighbourFlags::Proxy);
        if header.family != AddressFamily::Inet || header.ifindex != bridge || proxy {
            return None;
        }
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
            _ => None,
        })?;
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(mac) => Some(MacAddr(mac.as_slice().try_into().ok()?)),
            _ => None,
        });
        Some(Self { address, mac, is_permanent: header.state == NeighbourState::Permanent })
    }

    /// The host was told it, by whomever, and did not ask.
    pub(super) fn as_told(&self) -> Option<(Ipv4Addr, MacAddr)> {
        self.mac.filter(|_| self.is_permanent).map(|mac| (self.address, mac))
    }

    /// As we write it.
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        self.address == endpoint.address && self.mac == Some(endpoint.mac) && self.is_permanent
    }
}

impl Bridge {
    /// The host knows who has the address, whatever it is told.
    pub(super) async fn enter_neighbour(&self, address: Ipv4Addr, mac: MacAddr) -> Result<(), BridgeError> {
        let request = self.netlink.neighbours().add(self.index(), address.into());
        let request = request.state(NeighbourState::Permanent).link_layer_address(&mac.0).replace();
        request.execute().await.map_err(failed("tell the host who has", &address.to_string()))
    }

    /// Has who is in a namespace ask anew who has the addresses of the bridge's subnet: with the other `icc`, the answer is
    /// another. What somebody entered there by hand stays, and so does the gateway's entry.
    pub async fn ask_anew(&self, netns: &NetNs) -> Result<(), BridgeError> {
        let inside = port::connect_inside(netns).await?;
        let entries = inside.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        let entries: Vec<NeighbourMessage> = entries
            .try_collect()
            .await
            .map_err(failed("read the neighbours of a container on", &self.options.bridge))?;
        for entry in entries {
            let Some(known) = Neighbour::of(&entry, entry.header.ifindex) else { continue };
            let ours = self.options.bip.contains(known.address) && known.address != self.options.gateway();
            if known.is_permanent || !ours {
                continue;
            }
            match inside.neighbours().del(entry).execute().await {
                Err(e) if !is(&e, libc::ENOENT) => {
                    return Err(failed("let a container forget who had", &known.address.to_string())(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Nobody has the address any more, and the host shall not remember who had. `false`: it does not know.
    pub(super) async fn delete_neighbour(&self, address: Ipv4Addr) -> Result<bool, BridgeError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = self.index();
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        match self.netlink.neighbours().del(message).execute().await {
            Ok(()) => Ok(true),
            Err(e) if is(&e, libc::ENOENT) || is(&e, libc::ENODEV) => Ok(false),
            Err(e) => Err(failed("let the host forget who had", &address.to_string())(e)),
        }
    }

    /// The host's entries of the bridge.
    pub(super) async fn neighbours(&self) -> Result<Vec<Neighbour>, BridgeError> {
        let dump = self.netlink.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        let found: Vec<NeighbourMessage> =
            dump.try_collect().await.map_err(failed("read the host's neighbours on", &self.options.bridge))?;
        Ok(found.iter().filter_map(|message| Neighbour::of(message, self.index())).collect())
    }

    /// Whether an entry that ARP does not change is on our own bridge without a reason, as far as that is known already.
    pub(super) async fn is_strange(&self, neighbour: &Neighbour) -> bool {
        let address = neighbour.address;
        if !self.own || !neighbour.is_permanent || address.is_multicast() || self.members.have_address(address) {
            return false;
        }
        !self.open.lock().await.values().any(|port| port.endpoint.address == address)
    }

    /// Entries of open ports that are not as we wrote them, by port, and addresses that have entries without a reason.
    pub(super) async fn false_neighbours(&self) -> Result<(BTreeSet<String>, BTreeSet<Ipv4Addr>), BridgeError> {
        let found = self.neighbours().await?;
        let mut strange = BTreeSet::new();
        for neighbour in &found {
            if self.is_strange(neighbour).await {
                strange.insert(neighbour.address);
            }
        }
        let open = self.open.lock().await;
        let endpoints = open.values().filter(|port| port.ready).map(|port| &port.endpoint);
        let wrong = endpoints.filter(|endpoint| !found.iter().any(|it| it.is_of(endpoint)));
        Ok((wrong.map(|endpoint| endpoint.port.clone()).collect(), strange))
    }

    /// What is wrong with the entry of an open port's endpoint, put right.
    pub(super) async fn repair_neighbour(&self, port: &str) -> Result<Look, BridgeError> {
        // Held to the end, as in `repair_port`: the entry of a port that is being closed goes after, and stays away.
        let open = self.open.lock().await;
        let Some(port) = open.get(port) else { return Ok(Look::Fine) };
        if !port.ready {
            return Ok(Look::Busy);
        }
        let endpoint = &port.endpoint;
        let found = self.neighbours().await?;
        let entry = found.iter().find(|it| it.address == endpoint.address);
        if entry.is_some_and(|entry| entry.is_of(endpoint)) {
            return Ok(Look::Fine);
        }
        self.enter_neighbour(endpoint.address, endpoint.mac).await?;
        let did = if entry.is_some() { "changed" } else { "deleted" };
        Ok(Look::Repaired(vec![format!(
            "{did} the host's entry of who has {} on bridge {}",
            endpoint.address, self.options.bridge
        )]))
    }

    /// Deletes an entry that ARP does not change and that is no endpoint's.
    pub(super) async fn forget_neighbour(&self, address: Ipv4Addr) -> Result<Look, BridgeError> {
        let found = self.neighbours().await?;
        let Some(entry) = found.iter().find(|it| it.address == address) else { return Ok(Look::Fine) };
        if !self.is_strange(entry).await || !self.delete_neighbour(address).await? {
            return Ok(Look::Fine);
        }
        let what =
            format!("told the host who has {address} on bridge {}, which is no container's", self.options.bridge);
        Ok(Look::Repaired(vec![what]))
    }
}
