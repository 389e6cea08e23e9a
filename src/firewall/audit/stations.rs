//! Who is where, by hardware address: made ready for looking up, for a bridge may have thousands of stations.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::network::{ForwardingEntry, Network};
use super::packet::Mac;

/// A network's neighbours and its bridges' forwarding tables. Of several entries the first counts.
#[derive(Debug, Default)]
pub(super) struct Stations {
    macs: HashMap<(IpAddr, u32), Mac, FixedState>,
    behind: HashMap<Mac, Vec<ForwardingEntry>, FixedState>,
}

impl Stations {
    pub(super) fn of(network: &Network) -> Self {
        let mut stations = Self::default();
        for neighbour in &network.neighbours {
            stations.macs.entry((neighbour.address, neighbour.interface)).or_insert(neighbour.mac);
        }
        for entry in &network.forwarding {
            stations.behind.entry(entry.mac).or_default().push(*entry);
        }
        stations
    }

    /// Who has an address on a link.
    pub(super) fn mac(&self, address: IpAddr, link: u32) -> Option<Mac> {
        self.macs.get(&(address, link)).copied()
    }

    /// Behind which ports of bridges a hardware address is, or is the ports' own.
    pub(super) fn entries(&self, mac: Mac) -> &[ForwardingEntry] {
        self.behind.get(&mac).map_or(&[], Vec::as_slice)
    }

    /// Behind which port it is.
    pub(super) fn behind(&self, mac: Mac) -> Option<&ForwardingEntry> {
        self.entries(mac).iter().find(|entry| !entry.local)
    }
}
