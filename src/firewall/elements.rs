//! Endpoints → elements, and the difference that a change makes. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use nftables::expr::Expression;
use nftables::schema::{Element, NfCmd, NfListObject, NfObject};

use super::conntrack::{Closed, Row};
use super::ruleset::{FAMILY, Names};
use super::syntax::{Expr, address, concat, port, protocol};
use super::{FirewallError, publishable};
use crate::model::{Change, ContainerId, Endpoint, PortRange, Protocol};

/// A key that at most one endpoint can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// An admitted container's address.
    Member(Ipv4Addr),
    /// A host port, on one address of the host or (`None`) on all of them.
    Host(Option<Ipv4Addr>, Protocol, u16),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(address) => write!(f, "address {address}"),
            Self::Host(host, protocol, port) => {
                let host = host.unwrap_or(Ipv4Addr::UNSPECIFIED);
                write!(f, "host port {host}:{port}/{protocol}")
            }
        }
    }
}

/// Where a slot leads: a container's address and port (0 for [`Slot::Member`], which leads nowhere else).
type Target = (Ipv4Addr, u16);

fn slots(endpoint: &Endpoint) -> Result<BTreeMap<Slot, Target>, FirewallError> {
    let mut slots = BTreeMap::from([(Slot::Member(endpoint.address), (endpoint.address, 0))]);
    for published in &endpoint.published {
        publishable(published)?;
        let host = match published.host_ip {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        };
        for one in published.each() {
            let slot = Slot::Host(host, one.container.protocol, one.host_port);
            slots.insert(slot, (endpoint.address, one.container.number));
        }
    }
    Ok(slots)
}

/// Everything that the kernel's sets and maps hold, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    slots: BTreeMap<Slot, (ContainerId, Target)>,
    owners: BTreeMap<ContainerId, Endpoint>,
}

impl Elements {
    /// Those of all endpoints.
    pub(super) fn of(endpoints: &BTreeMap<ContainerId, Endpoint>) -> Result<Self, FirewallError> {
        let mut all = Self::default();
        for (id, endpoint) in endpoints {
            all.apply(&Change::Admit(id.clone(), Box::new(endpoint.clone())), &mut Delta::default())?;
        }
        Ok(all)
    }

    /// Makes a change, noting in `delta` what it takes. Admitting an endpoint again replaces what it had; dismissing one
    /// that is not there changes nothing. On error nothing has changed. Costs what the change holds, however much else
    /// there is; so does taking it back.
    pub(super) fn apply(&mut self, change: &Change, delta: &mut Delta) -> Result<Before, FirewallError> {
        let (id, wanted) = match change {
            Change::Admit(id, endpoint) => (id, Some(endpoint.as_ref())),
            Change::Dismiss(id) => (id, None),
        };
        let slots = wanted.map(slots).transpose()?.unwrap_or_default();
        let taken = slots.keys().find_map(|slot| match self.slots.get(slot) {
            Some((owner, _)) if owner != id => Some((*slot, owner.clone())),
            _ => None,
        });
        if let Some((slot, owner)) = taken {
            return Err(FirewallError::Taken { slot, owner, claimant: id.clone() });
        }
        let before = self.remove(id, delta);
        for (slot, target) in slots {
            self.slots.insert(slot, (id.clone(), target));
            delta.add(slot, target);
        }
        if let Some(endpoint) = wanted {
            self.owners.insert(id.clone(), endpoint.clone());
        }
        Ok(Before(id.clone(), before))
    }

    /// Takes the last change back.
    pub(super) fn revert(&mut self, Before(id, endpoint): Before) {
        self.remove(&id, &mut Delta::default());
        if let Some(endpoint) = endpoint {
            // It was in force before the change, so nothing can be in its way.
            let _ = self.apply(&Change::Admit(id, Box::new(endpoint)), &mut Delta::default());
        }
    }

    fn remove(&mut self, id: &ContainerId, delta: &mut Delta) -> Option<Endpoint> {
        let endpoint = self.owners.remove(id)?;
        // It was admitted, so its slots are valid.
        for slot in slots(&endpoint).unwrap_or_default().into_keys() {
            if let Some((_, target)) = self.slots.remove(&slot) {
                delta.remove(slot, target);
            }
        }
        Some(endpoint)
    }

    /// The commands that put all of them into empty sets.
    pub(super) fn commands(&self, names: &Names) -> Vec<NfObject<'static>> {
        let all = self.slots.iter().map(|(slot, (_, target))| (*slot, *target)).collect();
        element_commands(names, &all, NfCmd::Add)
    }
}

/// What a container had before a change.
#[derive(Debug)]
pub(super) struct Before(ContainerId, Option<Endpoint>);

/// What must go and what must come to get from one state to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    gone: BTreeMap<Slot, Target>,
    come: BTreeMap<Slot, Target>,
}

impl Delta {
    fn remove(&mut self, slot: Slot, target: Target) {
        // What would only come by this delta never gets there.
        if self.come.remove(&slot).is_none() {
            self.gone.insert(slot, target);
        }
    }

    fn add(&mut self, slot: Slot, target: Target) {
        if self.gone.get(&slot) == Some(&target) {
            self.gone.remove(&slot);
        } else {
            self.come.insert(slot, target);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.come.is_empty()
    }

    /// The flows that must end once this delta is in force.
    pub(super) fn closed(&self) -> Vec<Closed> {
        let row = |(slot, (to, to_first)): (&Slot, &Target)| match *slot {
            Slot::Member(_) => None,
            Slot::Host(host, protocol, port) => {
                let ports = PortRange { protocol, first: port, last: port };
                Some(Row { host, ports, to: *to, to_first: *to_first })
            }
        };
        let gone = self.gone.iter().map(|(slot, target)| match slot {
            Slot::Member(address) => Some(Closed::Endpoint(*address)),
            Slot::Host(..) => row((slot, target)).map(Closed::Unpublished),
        });
        let came = self.come.iter().filter_map(row).filter(|row| Closed::by_coming(row.ports.protocol));
        gone.flatten().chain(came.map(Closed::Published)).collect()
    }

    /// As commands: what goes first, so that a key can change its target within one transaction.
    pub(super) fn commands(&self, names: &Names) -> Vec<NfObject<'static>> {
        let mut commands = element_commands(names, &self.gone, NfCmd::Delete);
        commands.extend(element_commands(names, &self.come, NfCmd::Add));
        commands
    }
}

/// At most one command a set, with all elements in it.
fn element_commands(
    names: &Names,
    slots: &BTreeMap<Slot, Target>,
    command: fn(NfListObject<'static>) -> NfCmd<'static>,
) -> Vec<NfObject<'static>> {
    let mut sets: BTreeMap<&'static str, Vec<Expr>> = BTreeMap::new();
    for (slot, target) in slots {
        for (set, element) in elements(slot, target) {
            sets.entry(set).or_default().push(element);
        }
    }
    let in_set = |(name, elem): (&'static str, Vec<Expr>)| {
        let table = names.table.clone().into();
        let element = Element { family: FAMILY, table, name: name.into(), elem: Cow::Owned(elem) };
        NfObject::CmdObject(command(NfListObject::Element(element)))
    };
    sets.into_iter().map(in_set).collect()
}

/// A published port is an element of two maps, one for the address and one for the port: nft 1.0.6 cannot read a map to
/// both at once from JSON.
fn elements(slot: &Slot, (to, to_port): &Target) -> Vec<(&'static str, Expr)> {
    let pair = |key: &Expr, value: Expr| Expression::List(vec![key.clone(), value]);
    match slot {
        Slot::Member(member) => vec![(Names::ENDPOINTS, address(*member))],
        Slot::Host(host, proto, host_port) => {
            let mut key = vec![protocol(*proto), port(*host_port)];
            let maps = match host {
                Some(host) => {
                    key.insert(0, address(*host));
                    Names::PUBLISHED
                }
                None => Names::PUBLISHED_ANY,
            };
            let key = concat(key);
            vec![(maps.0, pair(&key, address(*to))), (maps.1, pair(&key, port(*to_port)))]
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ContainerName, MacAddr, Port, Published};

    pub(in crate::firewall) fn id(n: u8) -> ContainerId {
        ContainerId::from_bytes([n; 32])
    }

    pub(in crate::firewall) fn endpoint(n: u8, published: Vec<Published>) -> Endpoint {
        let address = Ipv4Addr::new(172, 17, 0, n);
        let name: ContainerName = format!("c{n}").parse().expect("name");
        Endpoint {
            name,
            address,
            mac: MacAddr([2, 0x42, 172, 17, 0, n]),
            port: format!("veth{n}"),
            published,
            exposed: vec![],
            links: vec![],
            names: crate::model::Names::default(),
        }
    }

    pub(in crate::firewall) fn publish(host: [u8; 4], host_port: u16, container: &str) -> Published {
        Published { host_ip: host.into(), host_port, container: container.parse::<Port>().expect("port"), count: 1 }
    }

    #[test]
    fn a_slot_has_one_owner() {
        let mut all = Elements::default();
        let mut delta = Delta::default();
        let web = endpoint(2, vec![publish([0; 4], 80, "80"), publish([127, 0, 0, 1], 81, "80")]);
        all.apply(&Change::Admit(id(2), Box::new(web.clone())), &mut delta).expect("free");
        let before = (all.clone(), delta.clone());
        for thief in [endpoint(3, vec![publish([0; 4], 80, "1")]), endpoint(2, vec![])] {
            let error = all.apply(&Change::Admit(id(3), Box::new(thief)), &mut delta).expect_err("taken");
            assert!(matches!(error, FirewallError::Taken { .. }), "{error}");
        }
        // The same port of another protocol or address is another slot.
        assert_eq!((&all, &delta), (&before.0, &before.1), "a refusal changes nothing");
        let other = endpoint(3, vec![publish([0; 4], 80, "80/udp"), publish([127, 0, 0, 2], 81, "80")]);
        all.apply(&Change::Admit(id(3), Box::new(other)), &mut delta).expect("free");
    }

    #[test]
    fn a_batch_that_cancels_itself_is_empty() {
        let mut all = Elements::default();
        let mut delta = Delta::default();
        let web = endpoint(2, vec![publish([0; 4], 80, "80")]);
        all.apply(&Change::Admit(id(2), Box::new(web.clone())), &mut delta).expect("free");
        all.apply(&Change::Dismiss(id(2)), &mut delta).expect("known");
        assert!(delta.is_empty());
        all.apply(&Change::Dismiss(id(2)), &mut delta).expect("nothing to do");
        assert!(delta.is_empty());
    }

    /// Few containers, addresses and ports, so that changes meet.
    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = (1..5u8, any::<bool>(), proptest::collection::vec((0..2u8, 1..4u16, 1..3u16), 0..3)).prop_map(
            |(n, admit, ports)| {
                let ports = ports
                    .into_iter()
                    .map(|(host, host_port, to)| publish([host, 0, 0, host], host_port, &to.to_string()));
                let endpoint = endpoint(n, ports.collect());
                if admit { Change::Admit(id(n), Box::new(endpoint)) } else { Change::Dismiss(id(n)) }
            },
        );
        proptest::collection::vec(change, 0..24)
    }

    proptest! {
        /// Whatever batches the changes are cut into, their deltas lead the kernel to the final intent's elements.
        #[test]
        fn deltas_lead_to_the_final_intent(changes in changes(), cut in 1..6usize) {
            let (mut all, mut kernel) = (Elements::default(), BTreeMap::new());
            for batch in changes.chunks(cut) {
                let mut delta = Delta::default();
                let (untouched, mut undo) = (all.clone(), Vec::new());
                for change in batch {
                    undo.extend(all.apply(change, &mut Delta::default()));
                }
                undo.into_iter().rev().for_each(|before| all.revert(before));
                prop_assert_eq!(&all, &untouched);
                for change in batch {
                    let _refused = all.apply(change, &mut delta);
                }
                for (slot, target) in &delta.gone {
                    prop_assert_eq!(kernel.remove(slot), Some(*target), "nft refuses to delete what is not there");
                }
                for (slot, target) in &delta.come {
                    prop_assert_eq!(kernel.insert(*slot, *target), None, "nft refuses to change a target");
                }
            }
            let held: BTreeMap<_, _> = all.slots.iter().map(|(slot, (_, target))| (*slot, *target)).collect();
            prop_assert_eq!(&kernel, &held);
            prop_assert_eq!(Elements::of(&all.owners).expect("consistent"), all);
        }
    }
}
