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

/// Why two options do not make a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPool {
    /// The gateway needs an address that a host may carry.
    #[error("--bip {0}: the address is the subnet's own; give the gateway's address, such as {1}")]
    NotAHost(Ipv4Network, Ipv4Network),
    /// Addresses would come from outside the bridge's subnet.
    #[error("--fixed-cidr {fixed_cidr} is not inside the bridge's subnet {subnet}")]
    Outside {
        /// The range.
        fixed_cidr: Ipv4Network,
        /// The subnet of `--bip`.
        subnet: Ipv4Network,
    },
}

/// Checks that a gateway can live at `bip` and that `fixed_cidr` lies inside its subnet.
pub fn validate(bip: Ipv4Network, fixed_cidr: Option<Ipv4Network>) -> Result<(), InvalidPool> {
    // RFC 3021: a /31 has two hosts and neither network nor broadcast address; a /32 is one host.
    if bip.prefix() < 31 && (bip.ip() == bip.network() || bip.ip() == bip.broadcast()) {
        let first = Ipv4Addr::from_bits(bip.network().to_bits() + 1);
        return Err(InvalidPool::NotAHost(bip, network(first, bip.prefix())));
    }
    // From network address to network address: with a host's address in it, `is_subnet_of` compares that one.
    let subnet = network(bip.network(), bip.prefix());
    match fixed_cidr {
        Some(fixed_cidr) if !network(fixed_cidr.network(), fixed_cidr.prefix()).is_subnet_of(subnet) => {
            Err(InvalidPool::Outside { fixed_cidr, subnet })
        }
        _ => Ok(()),
    }
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
        let (first, end) = (self.range.network(), self.range.broadcast());
        let start = match self.last {
            Some(last) if (first..end).contains(&last) => Ipv4Addr::from_bits(last.to_bits() + 1),
            _ => first,
        };
        // Skips used addresses only, so that a nearly empty /8 costs no more than a nearly empty /24.
        let mut ring =
            (start.to_bits()..=end.to_bits()).chain(first.to_bits()..start.to_bits()).map(Ipv4Addr::from_bits);
        match ring.find(|address| !self.reserved(*address) && !used.contains(address)) {
            Some(address) => {
                self.last = Some(address);
                Ok(address)
            }
            None => Err(Exhausted { pool: network(first, self.range.prefix()), size: self.size() }),
        }
    }

    /// Continues after `last`: the address that the store says was leased last.
    pub fn resume(&mut self, last: Option<Ipv4Addr>) {
        self.last = last;
    }

    /// Addresses that no container may have: the gateway's, the subnet's own and its broadcast address.
    fn reserved(&self, address: Ipv4Addr) -> bool {
        address == self.subnet.ip() || self.unusable().contains(&address)
    }

    fn unusable(&self) -> BTreeSet<Ipv4Addr> {
        if self.subnet.prefix() < 31 { [self.subnet.network(), self.subnet.broadcast()].into() } else { [].into() }
    }

    /// How many addresses of the range are for containers.
    fn size(&self) -> u64 {
        let mut reserved = self.unusable();
        reserved.insert(self.subnet.ip());
        let span = u64::from(self.range.broadcast().to_bits() - self.range.network().to_bits()) + 1;
        span - reserved.iter().filter(|address| self.range.contains(**address)).count() as u64
    }
}

/// The MAC that belongs to an address, as Docker derives it: `02:42:` and the address's four bytes.
pub fn mac_for(address: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = address.octets();
    MacAddr([0x02, 0x42, a, b, c, d])
}

/// Chooses the default subnet: the first of Docker's candidates that overlaps no route of the host. `None`: all taken.
/// A default route (`0.0.0.0/0`) covers everything and says nothing; it does not count.
pub fn default_bip(routes: &[Ipv4Network]) -> Option<Ipv4Network> {
    let sixteens = (17..=31u8).map(|n| network(Ipv4Addr::new(172, n, 0, 1), 16));
    let twenties = (0..=15u8).map(|n| network(Ipv4Addr::new(192, 168, n * 16, 1), 20));
    sixteens
        .chain(twenties)
        .find(|candidate| !routes.iter().any(|route| route.prefix() > 0 && route.overlaps(*candidate)))
}

fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Network {
    Ipv4Network::new(address, prefix).expect("prefix of an IPv4 network is at most 32")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Network {
        text.parse().expect("network")
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("address")
    }

    #[test]
    fn docker_s_first_addresses() {
        let mut pool = Pool::new(net("172.17.0.1/16"), None);
        assert_eq!(pool.lease(&BTreeSet::new()), Ok(ip("172.17.0.2")));
        assert_eq!(pool.lease(&[ip("172.17.0.2")].into()), Ok(ip("172.17.0.3")));
    }

    #[test]
    fn a_fixed_cidr_bounds_the_pool_but_not_the_subnet() {
        let mut pool = Pool::new(net("192.168.0.128/25"), Some(net("192.168.0.192/26")));
        assert_eq!(pool.lease(&BTreeSet::new()), Ok(ip("192.168.0.192")));
        pool.resume(Some(ip("192.168.0.254")));
        assert_eq!(pool.lease(&BTreeSet::new()), Ok(ip("192.168.0.192")), "255 is the subnet's broadcast address");
    }

    #[test]
    fn default_subnets_avoid_the_host_s_routes() {
        assert_eq!(default_bip(&[net("0.0.0.0/0"), net("10.0.0.0/8")]), Some(net("172.17.0.1/16")));
        assert_eq!(default_bip(&[net("172.17.5.0/24"), net("172.18.0.1/32")]), Some(net("172.19.0.1/16")));
        assert_eq!(default_bip(&[net("172.16.0.0/12")]), Some(net("192.168.0.1/20")));
        assert_eq!(default_bip(&[net("172.16.0.0/12"), net("192.168.1.0/24")]), Some(net("192.168.16.1/20")));
        assert_eq!(default_bip(&[net("172.16.0.0/12"), net("192.168.0.0/16")]), None);
    }

    #[test]
    fn options_that_make_no_pool() {
        assert_eq!(validate(net("192.168.0.129/25"), Some(net("192.168.0.192/26"))), Ok(()));
        assert!(validate(net("10.0.0.0/8"), None).is_err());
        assert!(validate(net("10.255.255.255/8"), None).is_err());
        assert!(validate(net("10.0.0.1/24"), Some(net("10.0.1.0/25"))).is_err());
        assert!(validate(net("10.0.0.1/24"), Some(net("10.0.0.0/16"))).is_err());
    }

    /// A subnet small enough to exhaust, its gateway anywhere in it, and perhaps a part of it as range.
    fn pools() -> impl Strategy<Value = (Ipv4Network, Option<Ipv4Network>)> {
        (24..=30u8, any::<u32>(), 1..8u32, proptest::option::of((0..4u8, any::<u32>()))).prop_map(
            |(prefix, base, host, part)| {
                let subnet = network(network(Ipv4Addr::from_bits(base), prefix).network(), prefix);
                let host = 1 + host % (subnet.size() - 2);
                let bip = network(Ipv4Addr::from_bits(subnet.ip().to_bits() + host), prefix);
                let range = part.map(|(longer, pick)| {
                    let length = (prefix + longer).min(32);
                    let offset = pick % subnet.size();
                    let inside = network(Ipv4Addr::from_bits(subnet.ip().to_bits() + offset), length);
                    network(inside.network(), length)
                });
                (bip, range)
            },
        )
    }

    proptest! {
        #[test]
        fn leases_are_valid_distinct_and_exhaust_the_range_exactly((bip, range) in pools()) {
            prop_assert_eq!(validate(bip, range), Ok(()));
            let mut pool = Pool::new(bip, range);
            let mut used = BTreeSet::new();
            let size = loop {
                match pool.lease(&used) {
                    Ok(address) => {
                        prop_assert!(used.insert(address));
                        prop_assert!(range.unwrap_or(bip).contains(address));
                        prop_assert!(![bip.ip(), bip.network(), bip.broadcast()].contains(&address));
                    }
                    Err(Exhausted { size, .. }) => break size,
                }
            };
            prop_assert_eq!(size, used.len() as u64);
        }

        #[test]
        fn a_released_address_waits_until_no_other_is_free((bip, range) in pools(), keep in 0..6usize) {
            let mut pool = Pool::new(bip, range);
            let mut used = BTreeSet::new();
            while let Some(address) = (used.len() <= keep).then(|| pool.lease(&used).ok()).flatten() {
                used.insert(address);
            }
            if let Some(released) = used.pop_last() {
                let mut others = BTreeSet::new();
                while let Ok(address) = pool.lease(&used) {
                    used.insert(address);
                    others.insert(address);
                    if address == released {
                        break;
                    }
                }
                // It came back only as the last of all that were free.
                let mut all = used.clone();
                prop_assert!(pool.lease(&all).is_err());
                all.remove(&released);
                prop_assert_eq!(pool.lease(&all), Ok(released));
            }
        }
    }
}
