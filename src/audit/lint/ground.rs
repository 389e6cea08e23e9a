//! What the rules look at.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::containers::Container;
use crate::firewall::hits::Hits;
use crate::model::audit::{Matrix, Party};
use crate::model::{ContainerId, Endpoint, NetworkMode, PortRange, Published};

/// What the rules look at.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Who can talk to whom, and who listens where.
    pub matrix: &'a Matrix,
    /// Running containers.
    pub inhabitants: Vec<Inhabitant>,
    /// What was opened and counts who uses it.
    pub holes: Vec<Hole>,
    /// A hole that is younger was not used yet.
    pub unused_for: SignedDuration,
}

/// What tells how the holes were used.
#[derive(Debug)]
pub struct Usage {
    /// The elements' counters.
    pub hits: Hits,
    /// When all of them began at nothing.
    pub counting_since: Timestamp,
    /// When they were read.
    pub taken: Timestamp,
}

/// A link or a published row, and how it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The container that asked for it.
    pub of: String,
    /// What it is.
    pub by: Opens,
    /// Since when it is open and counts.
    pub since: Timestamp,
    /// For how long that is.
    pub age: SignedDuration,
    /// Connection attempts; `None`: not known.
    pub hits: Option<u64>,
}

/// What opens a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    /// A link to this container, by all of its aliases.
    Link {
        /// The target's name.
        to: String,
        /// In order.
        aliases: Vec<String>,
    },
    /// A published row.
    Publish(Published),
}

/// A container that runs, as far as the rules care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inhabitant {
    /// Its name.
    pub name: String,
    /// `--privileged`.
    pub privileged: bool,
    /// Capabilities that it was given beyond the usual ones, upper case, without `CAP_`.
    pub given: Vec<String>,
    /// `--net host`.
    pub open: bool,
    /// It has a place on the bridge.
    pub bridged: bool,
    /// In force.
    pub published: Vec<Published>,
    /// What a link to it opens.
    pub exposed: Vec<PortRange>,
    /// Links from here to containers that run: alias and the target's name.
    pub links: Vec<(String, String)>,
}

impl<'a> Ground<'a> {
    /// From what the engine and the kernel know. Without a bridge there is no usage.
    pub fn of<'c>(
        matrix: &'a Matrix,
        containers: impl IntoIterator<Item = &'c Container>,
        usage: Option<&Usage>,
        unused_for: SignedDuration,
    ) -> Self {
        let running = containers.into_iter().filter(|container| container.state.status.is_running());
        let running: Vec<&Container> = running.collect();
        let name = |id: &ContainerId| running.iter().find(|other| other.id == *id).map(|other| other.name.to_string());
        let inhabitants = running.iter().map(|container| Inhabitant::of(container, name)).collect();
        let holes = usage.map(|usage| usage.holes(&running)).unwrap_or_default();
        Self { matrix, inhabitants, holes, unused_for }
    }

    /// Who has links to a container, with the alias.
    pub fn linked_to<'g>(&'g self, target: &'g str) -> impl Iterator<Item = (&'g Inhabitant, &'g str)> {
        self.inhabitants.iter().flat_map(move |source| {
            let links = source.links.iter().filter(move |(_, to)| to == target);
            links.map(move |(alias, _)| (source, alias.as_str()))
        })
    }

    /// A container's party.
    pub fn party(&self, name: &str) -> Option<&'a Party> {
        self.matrix.party(name).map(|at| &self.matrix.parties[at])
    }

    /// Whether somebody listens at one of these ports. `None`: that is not known.
    pub fn hears(&self, name: &str, ports: PortRange) -> Option<bool> {
        let party = self.party(name)?;
        let overlaps = |other: PortRange| {
            other.protocol == ports.protocol && other.first <= ports.last && ports.first <= other.last
        };
        Some(party.ports.iter().any(|port| overlaps(port.ports) && !port.listeners.is_empty()))
    }
}

impl Usage {
    /// All links and published rows of these containers.
    fn holes(&self, running: &[&Container]) -> Vec<Hole> {
        let attached = running.iter().filter_map(|container| Some((*container, container.attached.as_ref()?)));
        let seats: BTreeMap<&ContainerId, (&Container, &Endpoint)> =
            attached.map(|(container, endpoint)| (&container.id, (container, endpoint))).collect();
        let of = |(container, endpoint): (&Container, &Endpoint)| {
            let rows = endpoint
                .published
                .iter()
                .filter_map(|row| self.hole(container, Opens::Publish(*row), &[container], self.hits.row(row)));
            let mut targets: BTreeMap<&ContainerId, Vec<String>> = BTreeMap::new();
            for link in &endpoint.links {
                targets.entry(&link.target).or_default().push(link.alias.clone());
            }
            let links = targets.into_iter().filter_map(|(target, aliases)| {
                let (target, seat) = seats.get(target)?;
                let by = Opens::Link { to: target.name.to_string(), aliases };
                let hits = self.hits.link(endpoint.address, seat.address, &seat.exposed);
                self.hole(container, by, &[container, target], hits)
            });
            rows.chain(links).collect::<Vec<_>>()
        };
        seats.values().copied().flat_map(of).collect()
    }

    /// It counts since the last of its ends started, and since the counters began.
    fn hole(&self, of: &Container, by: Opens, ends: &[&Container], hits: Option<u64>) -> Option<Hole> {
        let started = ends.iter().map(|end| end.state.started_at.parse::<Timestamp>().ok());
        let since = started.chain([Some(self.counting_since)]).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some(Hole { of: of.name.to_string(), by, since, age: self.taken.duration_since(since), hits })
    }
}

impl Inhabitant {
    fn of(container: &Container, name: impl Fn(&ContainerId) -> Option<String>) -> Self {
        let security = &container.spec.security;
        let attached = container.attached.as_ref();
        let links = attached.map(|endpoint| endpoint.links.as_slice()).unwrap_or_default();
        Self {
            name: container.name.to_string(),
            privileged: security.privileged,
            given: security.cap_add.clone(),
            open: container.spec.network.mode == NetworkMode::Host,
            bridged: attached.is_some(),
            published: attached.map(|endpoint| endpoint.published.clone()).unwrap_or_default(),
            exposed: attached.map(|endpoint| endpoint.exposed.clone()).unwrap_or_default(),
            links: links.iter().filter_map(|link| Some((link.alias.clone(), name(&link.target)?))).collect(),
        }
    }
}
