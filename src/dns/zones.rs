//! What a container asks and what it may learn, as a function of the endpoints present. Pure.
//!
//! Nothing is worked out in advance: a question is answered from the asker's own endpoint and from those that it links to,
//! so that a change costs the same with one container or with a thousand, and a target that comes back with another
//! address is seen there at once.
//!
//! | name | known to |
//! |---|---|
//! | hostname, `hostname.domainname`, and the hostname up to its first dot | the container itself |
//! | `--add-host` names | the container that was given them |
//! | a link's alias, its target's hostname and name | the link's source, while the target has an endpoint |
//!
//! Where a name means several of these, the first that has it wins: `--add-host`, alias, names of a target, own. (The
//! order of the lines in `/etc/hosts`.) An alias whose target does not run is nobody, rather than whoever may have that
//! name elsewhere. All other names belong to others: the asker's upstream servers are asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;

use crate::model::{Change, ContainerId, Endpoint, Intent};

/// The names of all containers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Zones {
    /// Addresses from which containers get theirs: what is nobody's here is nobody's elsewhere.
    ours: Ipv4Network,
    endpoints: HashMap<ContainerId, Endpoint>,
    askers: HashMap<Ipv4Addr, ContainerId>,
}

/// What is known of a name or an address to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The name exists, with these addresses, of either family; at least one.
    Addresses(Vec<IpAddr>),
    /// The address has these names; at least one.
    Names(Vec<String>),
    /// It would be ours, and is nobody's: NXDOMAIN.
    Nobody,
    /// Not ours to know.
    Elsewhere,
}

impl Zones {
    /// The names of an intent.
    pub(super) fn new(intent: &Intent) -> Self {
        let ours = intent.options.fixed_cidr.unwrap_or(intent.options.bip);
        let mut zones = Self { ours, endpoints: HashMap::new(), askers: HashMap::new() };
        for (id, endpoint) in &intent.endpoints {
            zones.apply(&Change::Admit(id.clone(), Box::new(endpoint.clone())));
        }
        zones
    }

    /// Follows a change of the intent.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Admit(id, endpoint) => {
                self.dismiss(id);
                self.askers.insert(endpoint.address, id.clone());
                self.endpoints.insert(id.clone(), (**endpoint).clone());
            }
            Change::Dismiss(id) => self.dismiss(id),
        }
    }

    fn dismiss(&mut self, id: &ContainerId) {
        // The address may be another's already.
        if let Some(gone) = self.endpoints.remove(id)
            && self.askers.get(&gone.address) == Some(id)
        {
            self.askers.remove(&gone.address);
        }
    }

    /// Where a container is.
    pub(super) fn address(&self, id: &ContainerId) -> Option<Ipv4Addr> {
        Some(self.endpoints.get(id)?.address)
    }

    /// Who asks from this address; `None`: no container of ours.
    pub(super) fn asker(&self, source: IpAddr) -> Option<Asker<'_>> {
        let IpAddr::V4(source) = source else { return None };
        let id = self.askers.get(&source)?;
        Some(Asker { zones: self, id, endpoint: self.endpoints.get(id)? })
    }
}

/// The names as one container sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'z> {
    zones: &'z Zones,
    /// Who it is.
    pub(super) id: &'z ContainerId,
    endpoint: &'z Endpoint,
}

impl<'z> Asker<'z> {
    /// The servers to ask about others; none: the host's.
    pub(super) fn upstreams(&self) -> &'z [IpAddr] {
        &self.endpoint.names.upstreams
    }

    /// What a name means to it. Letter case and a final dot mean nothing.
    pub(super) fn addresses(&self, name: &str) -> Known {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |other: &str| same(name, other);
        let added: Vec<IpAddr> =
            self.endpoint.names.extra.iter().filter(|(other, _)| is(other)).map(|(_, address)| *address).collect();
        if !added.is_empty() {
            return Known::Addresses(added);
        }
        if let Some(link) = self.endpoint.links.iter().find(|link| is(&link.alias)) {
            let target = self.zones.endpoints.get(&link.target);
            return target.map_or(Known::Nobody, |target| Known::Addresses(vec![target.address.into()]));
        }
        let mut linked: Vec<IpAddr> = self
            .targets()
            .filter(|(_, target)| is(&target.names.hostname) || is(target.name.as_str()))
            .map(|(_, target)| target.address.into())
            .collect();
        linked.dedup();
        if !linked.is_empty() {
            return Known::Addresses(linked);
        }
        let own = own_names(self.endpoint).iter().any(|own| is(own));
        if own { Known::Addresses(vec![self.endpoint.address.into()]) } else { Known::Elsewhere }
    }

    /// What an address is called, as far as it may know; the most telling name first.
    pub(super) fn names(&self, address: IpAddr) -> Known {
        let added = self.endpoint.names.extra.iter().filter(|(_, other)| *other == address);
        let linked = self.targets().filter(|(_, target)| address == target.address).map(|(alias, _)| alias);
        let own = (address == self.endpoint.address).then(|| own_names(self.endpoint)).into_iter().flatten();
        let mut names: Vec<String> = Vec::new();
        for name in added.map(|(name, _)| name.clone()).chain(linked.map(str::to_owned)).chain(own.take(1)) {
            if !names.iter().any(|other| same(other, &name)) {
                names.push(name);
            }
        }
        match address {
            _ if !names.is_empty() => Known::Names(names),
            IpAddr::V4(address) if self.zones.ours.contains(address) => Known::Nobody,
            _ => Known::Elsewhere,
        }
    }

    /// Its links whose targets run: alias and target.
    fn targets(&self) -> impl Iterator<Item = (&'z str, &'z Endpoint)> {
        let zones = self.zones;
        let target =
            move |link: &'z crate::model::Link| Some((link.alias.as_str(), zones.endpoints.get(&link.target)?));
        self.endpoint.links.iter().filter_map(target)
    }
}

/// The full name first.
fn own_names(endpoint: &Endpoint) -> Vec<String> {
    let names = &endpoint.names;
    match names.domain.as_deref().filter(|domain| !domain.is_empty()) {
        Some(domain) => vec![format!("{}.{domain}", names.hostname), names.hostname.clone()],
        None => {
            let short = names.hostname.split_once('.').map(|(short, _)| short.to_owned());
            std::iter::once(names.hostname.clone()).chain(short).collect()
        }
    }
}

fn same(name: &str, other: &str) -> bool {
    !name.is_empty() && name.eq_ignore_ascii_case(other.strip_suffix('.').unwrap_or(other))
}

#[cfg(test)]
mod tests;
