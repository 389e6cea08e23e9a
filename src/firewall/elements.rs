//! Endpoints → facts, and the difference that a change makes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use nftables::schema::{NfCmd, NfObject};

use super::conntrack::Row;
use super::delta::Delta;
use super::facts::{self, Fact};
use super::{FirewallError, publishable};
use crate::model::{Change, ContainerId, Endpoint, NetworkOptions, PortRange, Protocol};

/// What at most one endpoint can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A container's address.
    Member(Ipv4Addr),
    /// A port of the bridge.
    Port(String),
    /// Host ports, on one address of the host or (`None`) on all of them.
    Host(Option<Ipv4Addr>, PortRange),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(address) => write!(f, "address {address}"),
            Self::Port(port) => write!(f, "the bridge's port {port}"),
            Self::Host(host, PortRange { protocol, first, last }) => {
                let host = host.unwrap_or(Ipv4Addr::UNSPECIFIED);
                match first == last {
                    true => write!(f, "host port {host}:{first}/{protocol}"),
                    false => write!(f, "host port {host}:{first}-{last}/{protocol}"),
                }
            }
        }
    }
}

/// Where a row of host ports begins.
type RowKey = (Option<Ipv4Addr>, Protocol, u16);

fn key(row: &Row) -> RowKey {
    (row.host, row.ports.protocol, row.ports.first)
}

fn rows(endpoint: &Endpoint) -> impl Iterator<Item = Row> {
    endpoint.published.iter().map(|published| facts::row(published, endpoint.address))
}

/// Everything that follows from the endpoints, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elements {
    /// Links open something: containers do not talk to each other anyway.
    linking: bool,
    endpoints: BTreeMap<ContainerId, Endpoint>,
    addresses: BTreeMap<Ipv4Addr, ContainerId>,
    ports: BTreeMap<String, ContainerId>,
    /// The last port of each row, and its owner. Rows are disjoint.
    rows: BTreeMap<RowKey, (u16, ContainerId)>,
    /// The endpoints that have links to a container, whether that has an endpoint or not: a change costs what it touches,
    /// however many others there are.
    sources: BTreeMap<ContainerId, BTreeSet<ContainerId>>,
}

impl Elements {
    /// None yet.
    pub(super) fn none(options: &NetworkOptions) -> Self {
        Self {
            linking: !options.icc,
            endpoints: BTreeMap::new(),
            addresses: BTreeMap::new(),
            ports: BTreeMap::new(),
            rows: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
    }

    /// Those of all endpoints.
    pub(super) fn of(
        options: &NetworkOptions,
        endpoints: &BTreeMap<ContainerId, Endpoint>,
    ) -> Result<Self, FirewallError> {
        let mut all = Self::none(options);
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
        wanted.map_or(Ok(()), |endpoint| self.check(id, endpoint))?;
        let before = self.remove(id, delta);
        match (wanted, &before) {
            (Some(endpoint), _) => self.insert(id, endpoint.clone(), delta),
            (None, Some(ended)) => delta.end(ended.address),
            (None, None) => {}
        }
        Ok(Before(id.clone(), before))
    }

    /// Takes the last change back.
    pub(super) fn revert(&mut self, Before(id, endpoint): Before) {
        self.remove(&id, &mut Delta::default());
        if let Some(endpoint) = endpoint {
            // It was in force before the change, so nothing can be in its way.
            self.insert(&id, endpoint, &mut Delta::default());
        }
    }

    /// The commands that put all of them into empty sets.
    pub(super) fn commands(&self, table: &str) -> Vec<NfObject<'static>> {
        facts::commands(table, &self.facts(), NfCmd::Add)
    }

    /// All endpoints.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// All that is in force.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let of = |(id, endpoint)| [self.own(endpoint), self.links_from(id, endpoint)].concat();
        self.endpoints.iter().flat_map(of).collect()
    }

    /// Whose elements these are.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&ContainerId, &Endpoint)> {
        self.endpoints.iter()
    }

    /// Whether the endpoint's ports can be served, and nobody else has what it wants.
    fn check(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<(), FirewallError> {
        let taken =
            |slot, owner: &ContainerId| Err(FirewallError::Taken { slot, owner: owner.clone(), claimant: id.clone() });
        if let Some(owner) = self.addresses.get(&endpoint.address).filter(|owner| *owner != id) {
            return taken(Slot::Member(endpoint.address), owner);
        }
        if let Some(owner) = self.ports.get(&endpoint.port).filter(|owner| *owner != id) {
            return taken(Slot::Port(endpoint.port.clone()), owner);
        }
        endpoint.published.iter().try_for_each(publishable)?;
        let mut own: BTreeMap<RowKey, (u16, ContainerId)> = BTreeMap::new();
        for row in rows(endpoint) {
            let others = overlapping(&self.rows, &row).find(|(_, owner)| *owner != id);
            if let Some((slot, owner)) = others.or_else(|| overlapping(&own, &row).next()) {
                return taken(slot, owner);
            }
            own.insert(key(&row), (row.ports.last, id.clone()));
        }
        Ok(())
    }

    fn insert(&mut self, id: &ContainerId, endpoint: Endpoint, delta: &mut Delta) {
        self.addresses.insert(endpoint.address, id.clone());
        self.ports.insert(endpoint.port.clone(), id.clone());
        self.rows.extend(rows(&endpoint).map(|row| (key(&row), (row.ports.last, id.clone()))));
        for link in &endpoint.links {
            self.sources.entry(link.target.clone()).or_default().insert(id.clone());
        }
        self.endpoints.insert(id.clone(), endpoint);
        self.touching(id).into_iter().for_each(|fact| delta.add(fact));
    }

    fn remove(&mut self, id: &ContainerId, delta: &mut Delta) -> Option<Endpoint> {
        self.touching(id).into_iter().for_each(|fact| delta.remove(fact));
        let endpoint = self.endpoints.remove(id)?;
        self.addresses.remove(&endpoint.address);
        self.ports.remove(&endpoint.port);
        for row in rows(&endpoint) {
            self.rows.remove(&key(&row));
        }
        for link in &endpoint.links {
            if let Some(sources) = self.sources.get_mut(&link.target) {
                sources.remove(id);
                if sources.is_empty() {
                    self.sources.remove(&link.target);
                }
            }
        }
        Some(endpoint)
    }

    /// All that is in force because this endpoint exists.
    fn touching(&self, id: &ContainerId) -> BTreeSet<Fact> {
        let Some(endpoint) = self.endpoints.get(id) else { return BTreeSet::new() };
        let mut facts = self.own(endpoint);
        facts.extend(self.links_from(id, endpoint));
        let sources = self.sources.get(id).into_iter().flatten();
        let sources = sources.filter(|source| *source != id).filter_map(|source| self.endpoints.get(source));
        facts.extend(sources.flat_map(|source| self.link(source, endpoint)));
        facts.into_iter().collect()
    }

    fn own(&self, endpoint: &Endpoint) -> Vec<Fact> {
        let published = rows(endpoint).map(Fact::Published);
        [Fact::endpoint(endpoint)].into_iter().chain(published).chain(facts::admitted(rows(endpoint))).collect()
    }

    /// A container that is linked to under several names is still one container, and one that links to itself needs none.
    fn links_from(&self, id: &ContainerId, source: &Endpoint) -> Vec<Fact> {
        let targets: BTreeSet<&ContainerId> = source.links.iter().map(|link| &link.target).collect();
        let targets = targets.into_iter().filter(|target| *target != id);
        targets.filter_map(|target| self.endpoints.get(target)).flat_map(|target| self.link(source, target)).collect()
    }

    fn link(&self, source: &Endpoint, target: &Endpoint) -> Vec<Fact> {
        let exposed: &[PortRange] = if self.linking { &target.exposed } else { &[] };
        let (source, target) = (source.address, target.address);
        let pair = exposed.first().map(|_| Fact::Linked { source, target });
        pair.into_iter().chain(exposed.iter().map(|ports| Fact::Link { source, target, ports: *ports })).collect()
    }
}

/// The rows that have ports of this row, each with its owner, from the last on.
fn overlapping<'a>(
    rows: &'a BTreeMap<RowKey, (u16, ContainerId)>,
    row: &Row,
) -> impl Iterator<Item = (Slot, &'a ContainerId)> {
    let (host, PortRange { protocol, first, last }) = (row.host, row.ports);
    let before = rows.range((host, protocol, 0)..=(host, protocol, last)).rev();
    // They are disjoint: the first that ends before this row begins has only such before it.
    before.take_while(move |(_, (end, _))| *end >= first).map(move |((_, _, start), (end, owner))| {
        let shared = PortRange { protocol, first: first.max(*start), last: last.min(*end) };
        (Slot::Host(host, shared), owner)
    })
}

/// What a container had before a change.
#[derive(Debug)]
pub(super) struct Before(ContainerId, Option<Endpoint>);

#[cfg(test)]
pub(super) mod tests;
