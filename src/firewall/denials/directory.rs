//! Who is who: containers by port, address and MAC, as the intent has them, and for a while those that were. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::frame::Mac;
use crate::model::{Change, ContainerId, ContainerName, Endpoint, Intent, NetworkOptions};

/// Containers that ended and are still known: what they sent last is told after their end.
const FORMER: usize = 256;

/// A container at its place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: ContainerId,
    pub(super) name: ContainerName,
    pub(super) address: Ipv4Addr,
    pub(super) mac: Mac,
    pub(super) port: String,
}

impl Known {
    fn new(id: &ContainerId, endpoint: &Endpoint) -> Self {
        let Endpoint { name, address, mac, port, .. } = endpoint;
        Self { id: id.clone(), name: name.clone(), address: *address, mac: mac.0, port: port.clone() }
    }
}

/// All that are known.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) bridge: String,
    gateway: Ipv4Addr,
    present: BTreeMap<ContainerId, Known>,
    former: VecDeque<Known>,
}

impl Directory {
    pub(super) fn new(options: &NetworkOptions) -> Self {
        let (bridge, gateway) = (options.bridge.clone(), options.gateway());
        Self { bridge, gateway, present: BTreeMap::new(), former: VecDeque::new() }
    }

    /// All of an intent.
    pub(super) fn learn(&mut self, intent: &Intent) {
        self.present = intent.endpoints.iter().map(|(id, endpoint)| (id.clone(), Known::new(id, endpoint))).collect();
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Admit(id, endpoint) => {
                self.former.retain(|known| known.id != *id);
                self.present.insert(id.clone(), Known::new(id, endpoint));
            }
            Change::Dismiss(id) => {
                let Some(known) = self.present.remove(id) else { return };
                self.former.push_front(known);
                self.former.truncate(FORMER);
            }
        }
    }

    pub(super) fn by_port(&self, port: &str) -> Option<&Known> {
        self.find(|known| known.port == port)
    }

    pub(super) fn by_address(&self, address: IpAddr) -> Option<&Known> {
        self.find(|known| known.address == address)
    }

    pub(super) fn by_mac(&self, mac: Mac) -> Option<&Known> {
        self.find(|known| known.mac == mac)
    }

    /// Whether it is the host's address towards containers.
    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateway == address
    }

    /// Those that are there, and then those that were.
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.present.values().chain(&self.former)
    }

    fn find(&self, is: impl Fn(&Known) -> bool) -> Option<&Known> {
        self.all().find(|known| is(known))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::firewall::elements::tests::{endpoint, id};

    /// Containers by the last byte of their addresses.
    pub(in crate::firewall::denials) fn directory(numbers: &[u8]) -> Directory {
        let mut directory = Directory::new(&NetworkOptions::usual());
        for number in numbers {
            directory.apply(&Change::Admit(id(*number), Box::new(endpoint(*number, vec![]))));
        }
        directory
    }

    #[test]
    fn who_ended_is_known_until_somebody_else_has_the_place() {
        let mut directory = directory(&[2, 3]);
        let port = endpoint(2, vec![]).port;
        let address = IpAddr::from(endpoint(2, vec![]).address);
        directory.apply(&Change::Dismiss(id(2)));
        assert_eq!(directory.by_port(&port).map(|known| &known.id), Some(&id(2)));
        let mut next = endpoint(4, vec![]);
        next.address = endpoint(2, vec![]).address;
        directory.apply(&Change::Admit(id(4), Box::new(next)));
        assert_eq!(directory.by_address(address).map(|known| &known.id), Some(&id(4)));
        (10..200).chain(5..10).for_each(|number| {
            directory.apply(&Change::Admit(id(number), Box::new(endpoint(number, vec![]))));
            directory.apply(&Change::Dismiss(id(number)));
            directory.apply(&Change::Admit(id(number), Box::new(endpoint(number, vec![]))));
            directory.apply(&Change::Dismiss(id(number)));
        });
        assert!(directory.former.len() <= FORMER);
        assert_eq!(directory.present.len(), 2);
    }
}
