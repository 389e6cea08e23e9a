//! What the rules look at.

use crate::containers::Container;
use crate::model::audit::{Matrix, Party};
use crate::model::{ContainerId, NetworkMode, PortRange, Published};

/// What the rules look at.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Who can talk to whom, and who listens where.
    pub matrix: &'a Matrix,
    /// Running containers.
    pub inhabitants: Vec<Inhabitant>,
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
    /// From what the engine knows.
    pub fn of<'c>(matrix: &'a Matrix, containers: impl IntoIterator<Item = &'c Container> + Clone) -> Self {
        let running = containers.into_iter().filter(|container| container.state.status.is_running());
        let running: Vec<&Container> = running.collect();
        let name = |id: &ContainerId| running.iter().find(|other| other.id == *id).map(|other| other.name.to_string());
        let inhabitants = running.iter().map(|container| Inhabitant::of(container, name)).collect();
        Self { matrix, inhabitants }
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
