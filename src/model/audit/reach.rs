//! Intent → who can talk to whom, and the difference that a change makes. Pure.
//!
//! | edge | while |
//! |---|---|
//! | host → containers, over the bridge | always: nothing of ours keeps the host from its containers |
//! | containers → containers, over the bridge | `--icc=true` |
//! | containers → host, over the bridge | `--host-access=true`; otherwise names and echo requests only |
//! | containers → outside, routed | `--ip-forward=true`; otherwise that is the host's own business |
//! | source → target, what the target exposes, by a link | `--icc=false` and both run: with `--icc=true` it opens nothing |
//! | anyone (or, on 127/8, the host) → container, by ports of the host | it runs |

use std::collections::{BTreeMap, BTreeSet};

use super::edge::{By, Delta, Edge, End, Member, Renamed};
use super::party::Service;
use crate::model::{Change, ContainerId, Endpoint, Intent, NetworkOptions, PortRange, Protocol, Published};

/// The port of names.
const DOMAIN: u16 = 53;

/// The difference between two intents. It costs what the larger of them holds.
pub fn delta(before: &Intent, after: &Intent) -> Delta {
    Reach::of(before).become_as(&Reach::of(after))
}

/// An intent, as far as it decides who can talk to whom, with what makes a change cost what it touches. By default there is
/// no network at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    options: Option<NetworkOptions>,
    endpoints: BTreeMap<ContainerId, Endpoint>,
    /// The endpoints that have links to a container, whether that has an endpoint or not.
    sources: BTreeMap<ContainerId, BTreeSet<ContainerId>>,
}

impl Reach {
    /// That of an intent.
    pub fn of(intent: &Intent) -> Self {
        let mut reach =
            Self { options: Some(intent.options.clone()), endpoints: BTreeMap::new(), sources: BTreeMap::new() };
        for (id, endpoint) in &intent.endpoints {
            reach.insert(id, endpoint.clone());
        }
        reach
    }

    /// Makes a change and says what it opens and closes.
    pub fn apply(&mut self, change: &Change) -> Delta {
        let (id, wanted) = match change {
            Change::Admit(id, endpoint) => (id, Some(endpoint.as_ref())),
            Change::Dismiss(id) => (id, None),
        };
        let before = self.touching(id);
        let had = self.remove(id);
        if let Some(endpoint) = wanted {
            self.insert(id, endpoint.clone());
        }
        let after = self.touching(id);
        let mut delta = Delta::default();
        compare_member(id, had.as_ref(), wanted, &mut delta);
        compare_edges(&before, &after, &mut delta);
        self.name(&mut delta);
        delta
    }

    /// What differs there.
    pub fn become_as(&self, after: &Self) -> Delta {
        let mut delta = Delta::default();
        let ids: BTreeSet<&ContainerId> = self.endpoints.keys().chain(after.endpoints.keys()).collect();
        for id in ids {
            compare_member(id, self.endpoints.get(id), after.endpoints.get(id), &mut delta);
        }
        compare_edges(&self.edges(), &after.edges(), &mut delta);
        after.name(&mut delta);
        delta
    }

    /// Everything that is open.
    pub fn edges(&self) -> BTreeSet<Edge> {
        let own = self
            .endpoints
            .iter()
            .flat_map(|(id, endpoint)| published(id, endpoint).into_iter().chain(self.links_from(id, endpoint)));
        self.options.iter().flat_map(standing).chain(own).collect()
    }

    /// Who is on the bridge.
    pub fn members(&self) -> BTreeSet<Member> {
        self.endpoints.iter().map(|(id, endpoint)| member(id, endpoint)).collect()
    }

    /// The endpoint of a container.
    pub fn endpoint(&self, id: &ContainerId) -> Option<&Endpoint> {
        self.endpoints.get(id)
    }

    fn insert(&mut self, id: &ContainerId, endpoint: Endpoint) {
        for link in &endpoint.links {
            self.sources.entry(link.target.clone()).or_default().insert(id.clone());
        }
        self.endpoints.insert(id.clone(), endpoint);
    }

    fn remove(&mut self, id: &ContainerId) -> Option<Endpoint> {
        let endpoint = self.endpoints.remove(id)?;
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

    /// What is open because this endpoint exists, its membership aside.
    fn touching(&self, id: &ContainerId) -> BTreeSet<Edge> {
        let Some(endpoint) = self.endpoints.get(id) else { return BTreeSet::new() };
        let sources = self.sources.get(id).into_iter().flatten();
        let to = sources.filter_map(|source| Some((source, self.endpoints.get(source)?)));
        let to = to.flat_map(|(source, from)| self.link(source, from, id, endpoint));
        published(id, endpoint).into_iter().chain(self.links_from(id, endpoint)).chain(to).collect()
    }

    fn links_from(&self, id: &ContainerId, source: &Endpoint) -> BTreeSet<Edge> {
        let targets: BTreeSet<&ContainerId> = source.links.iter().map(|link| &link.target).collect();
        let targets = targets.into_iter().filter_map(|target| Some((target, self.endpoints.get(target)?)));
        targets.flat_map(|(target, to)| self.link(id, source, target, to)).collect()
    }

    /// All that links of one container to another open.
    fn link(&self, source: &ContainerId, from: &Endpoint, target: &ContainerId, to: &Endpoint) -> Vec<Edge> {
        if source == target || self.options.as_ref().is_none_or(|options| options.icc) {
            return Vec::new();
        }
        let links = from.links.iter().filter(|link| link.target == *target);
        let edge = |alias: &String, ports: &PortRange| Edge {
            from: End::Container(source.clone()),
            to: End::Container(target.clone()),
            service: Some(Service::Ports(*ports)),
            by: By::Link { alias: alias.clone() },
        };
        links.flat_map(|link| to.exposed.iter().map(|ports| edge(&link.alias, ports))).collect()
    }

    /// Says what those are called that stand at edges and did not come, go or change their names.
    fn name(&self, delta: &mut Delta) {
        let ends = delta.opened.iter().chain(&delta.closed).flat_map(|edge| [&edge.from, &edge.to]);
        let mut unnamed: BTreeSet<&ContainerId> =
            ends.filter_map(|end| if let End::Container(id) = end { Some(id) } else { None }).collect();
        delta.joined.iter().chain(&delta.left).for_each(|member| _ = unnamed.remove(&member.id));
        delta.renamed.iter().for_each(|renamed| _ = unnamed.remove(&renamed.id));
        let named = unnamed.into_iter().filter_map(|id| Some((id.clone(), self.endpoints.get(id)?.name.clone())));
        delta.names = named.collect();
    }
}

fn member(id: &ContainerId, endpoint: &Endpoint) -> Member {
    Member { id: id.clone(), name: endpoint.name.clone(), address: endpoint.address }
}

fn compare_member(id: &ContainerId, before: Option<&Endpoint>, after: Option<&Endpoint>, delta: &mut Delta) {
    match (before, after) {
        (Some(before), Some(after)) if before.address == after.address => {
            if before.name != after.name {
                let (from, to) = (before.name.clone(), after.name.clone());
                delta.renamed.push(Renamed { id: id.clone(), from, to });
            }
        }
        (before, after) => {
            delta.left.extend(before.map(|endpoint| member(id, endpoint)));
            delta.joined.extend(after.map(|endpoint| member(id, endpoint)));
        }
    }
}

fn compare_edges(before: &BTreeSet<Edge>, after: &BTreeSet<Edge>, delta: &mut Delta) {
    delta.closed.extend(before.difference(after).cloned());
    delta.opened.extend(after.difference(before).cloned());
}

/// What is open for whoever is on the bridge.
fn standing(options: &NetworkOptions) -> Vec<Edge> {
    let edge = |from, to, service, by| Edge { from, to, service, by };
    let mut edges = vec![edge(End::Host, End::Containers, None, By::Bridge)];
    if options.icc {
        edges.push(edge(End::Containers, End::Containers, None, By::Bridge));
    }
    if options.host_access {
        edges.push(edge(End::Containers, End::Host, None, By::Bridge));
    } else {
        edges.push(edge(End::Containers, End::Host, Some(Service::Echo), By::Bridge));
    }
    if options.dns_port.is_some() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let service = Service::Ports(PortRange { protocol, first: DOMAIN, last: DOMAIN });
            edges.push(edge(End::Containers, End::Host, Some(service), By::Names));
        }
    }
    if options.ip_forward {
        edges.push(edge(End::Containers, End::Outside, None, By::Routed { masqueraded: options.ip_masq }));
    }
    edges
}

/// What is open by an endpoint's published ports.
fn published(id: &ContainerId, endpoint: &Endpoint) -> Vec<Edge> {
    let edge = |row: &Published| {
        let first = row.container.number;
        let last = first.saturating_add(row.count.saturating_sub(1));
        Edge {
            from: if row.host_ip.is_loopback() { End::Host } else { End::Anyone },
            to: End::Container(id.clone()),
            service: Some(Service::Ports(PortRange { protocol: row.container.protocol, first, last })),
            by: By::Publish { address: row.host_ip, port: row.host_port },
        }
    };
    endpoint.published.iter().map(edge).collect()
}

#[cfg(test)]
mod tests;
