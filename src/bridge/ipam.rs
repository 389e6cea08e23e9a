//! Address pools: which address a container gets. Pure; the leases themselves are in the store.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use crate::model::MacAddr;

/// No address is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no available IPv4 addresses on this network's address pools: {pool} holds {size} and all are in use; remove a container or widen --fixed-cidr or --bip"
)]
pub struct Exhausted {
    /// The range that was searched.
    pub pool: Ipv4Network,
    /// How many addresses it has for containers.
    pub size: u64,
}

/// Chooses addresses out of a range, the released ones last.
#[derive(Clone, Debug)]
pub struct Pool {
    subnet: Ipv4Network,
    range: Ipv4Network,
    last: Option<Ipv4Addr>,
}

impl Pool {
    /// `range` lies inside `subnet`; network, broadcast and gateway address (of `subnet`) are never given out.
    pub fn new(bip: Ipv4Network, fixed_cidr: Option<Ipv4Network>) -> Self {
        Self { subnet: bip, range: fixed_cidr.unwrap_or(bip), last: None }
    }

    /// The next free address after the one given last (wrapping), so that a released address is not reused while
    /// another is free. `used` are the leases in force.
    pub fn lease(&mut self, used: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, Exhausted> {
        let _ = (used, self.subnet, self.range, self.last);
        todo!()
    }

    /// Continues after `last`: the address that the store says was leased last.
    pub fn resume(&mut self, last: Option<Ipv4Addr>) {
        self.last = last;
    }
}

/// The MAC that belongs to an address, as Docker derives it: `02:42:` and the address's four bytes.
pub fn mac_for(address: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = address.octets();
    MacAddr([0x02, 0x42, a, b, c, d])
}

/// Chooses the default subnet: the first of Docker's candidates that overlaps no route of the host. `None`: all taken.
pub fn default_bip(routes: &[Ipv4Network]) -> Option<Ipv4Network> {
    let _ = routes;
    todo!()
}
