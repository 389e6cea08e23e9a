//! Who can talk to whom, in as few words as say it: edges between containers, their group, the host and others.
//!
//! What the daemon's options open holds for whoever is a container on the bridge, and is one edge of the group
//! ([`End::Containers`]) however many containers there are. A container that comes joins the group; what it alone has
//! (published ports, links) are edges of its own. So a start's [`Delta`] is as long as what that container asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::party::Service;
use crate::model::{ContainerId, ContainerName, ParseIdError};

/// Who is at an end of an edge. As text: a container's id, or the variant's name in small letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum End {
    /// One container.
    Container(ContainerId),
    /// Every container that is on the bridge.
    Containers,
    /// This machine.
    Host,
    /// The LAN, and whoever is reached by a gateway.
    Outside,
    /// Whoever can speak to the address: containers, the host, the LAN and the outside.
    Anyone,
}

impl End {
    /// Whether who is meant here is among those who are meant there.
    fn is_among(&self, others: &Self) -> bool {
        self == others || *others == Self::Anyone || matches!((self, others), (Self::Container(_), Self::Containers))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container(id) => id.as_str(),
            Self::Containers => "containers",
            Self::Host => "host",
            Self::Outside => "outside",
            Self::Anyone => "anyone",
        })
    }
}

impl From<End> for String {
    fn from(end: End) -> Self {
        end.to_string()
    }
}

impl TryFrom<String> for End {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        Ok(match text.as_str() {
            "containers" => Self::Containers,
            "host" => Self::Host,
            "outside" => Self::Outside,
            "anyone" => Self::Anyone,
            _ => Self::Container(text.try_into()?),
        })
    }
}

/// By which way an edge goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "way")]
pub enum By {
    /// Over the bridge, to the party's own address.
    Bridge,
    /// Over the bridge, by a link.
    Link {
        /// What the source calls the target.
        alias: String,
    },
    /// By ports of the host.
    Publish {
        /// The host's address; unspecified is all of them.
        address: IpAddr,
        /// The host's first port; as many follow as the edge has.
        port: u16,
    },
    /// Through the host, by its routes.
    Routed {
        /// In the host's name.
        masqueraded: bool,
    },
    /// To the daemon's name server.
    Names,
}

/// Somebody can talk to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// Who begins.
    pub from: End,
    /// With whom.
    pub to: End,
    /// At the target, after translation; `None`: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// By which way.
    pub by: By,
}

impl Edge {
    /// Whether what `narrow` says is part of what this says: `web` over the bridge to `db` is part of every container's
    /// over the bridge to every other.
    pub fn covers(&self, narrow: &Self) -> bool {
        narrow.from.is_among(&self.from)
            && narrow.to.is_among(&self.to)
            && narrow.by == self.by
            && match (self.service, narrow.service) {
                (None, _) => true,
                (Some(Service::Ports(wide)), Some(Service::Ports(narrow))) => {
                    wide.protocol == narrow.protocol && wide.first <= narrow.first && narrow.last <= wide.last
                }
                (wide, narrow) => wide == narrow,
            }
    }

    /// The container at one of its ends.
    pub fn concerns(&self, id: &ContainerId) -> bool {
        [&self.from, &self.to].into_iter().any(|end| matches!(end, End::Container(one) if one == id))
    }
}

/// A container on the bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub id: ContainerId,
    /// Its name then.
    pub name: ContainerName,
    /// Its address.
    pub address: Ipv4Addr,
}

/// A container that is called differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Renamed {
    /// Which.
    pub id: ContainerId,
    /// Until now.
    pub from: ContainerName,
    /// From now on.
    pub to: ContainerName,
}

/// The difference between two states of who can talk to whom. All lists are in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// They are containers on the bridge from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Member>,
    /// They are not any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Member>,
    /// They are called differently. That opens and closes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
    /// What is possible from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<Edge>,
    /// What is not possible any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<Edge>,
    /// What the containers at the edges are called, those that came and went excepted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<ContainerId, ContainerName>,
}

impl Delta {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
            && self.left.is_empty()
            && self.renamed.is_empty()
            && self.opened.is_empty()
            && self.closed.is_empty()
    }

    /// Every container that it says something of, by what it was called then.
    pub fn containers(&self) -> BTreeSet<(&ContainerId, &ContainerName)> {
        let members = self.joined.iter().chain(&self.left).map(|member| (&member.id, &member.name));
        let renamed =
            self.renamed.iter().flat_map(|renamed| [(&renamed.id, &renamed.from), (&renamed.id, &renamed.to)]);
        members.chain(renamed).chain(&self.names).collect()
    }

    /// In words, a change a line: `+` from now on, `-` no more.
    pub fn lines(&self) -> Vec<String> {
        let on_bridge =
            |sign: char, member: &Member| format!("{sign} {} is on the bridge ({})", member.name, member.address);
        let joined = self.joined.iter().map(|member| on_bridge('+', member));
        let left = self.left.iter().map(|member| on_bridge('-', member));
        let renamed = self.renamed.iter().map(|renamed| format!("~ {} is called {}", renamed.from, renamed.to));
        let closed = self.closed.iter().map(|edge| format!("- {}", self.words(edge)));
        let opened = self.opened.iter().map(|edge| format!("+ {}", self.words(edge)));
        joined.chain(left).chain(renamed).chain(closed).chain(opened).collect()
    }

    /// One edge: `web -> db: 5432/tcp, by the link "store"`.
    fn words(&self, edge: &Edge) -> String {
        let end = |end: &End| match end {
            End::Container(id) => self.name_of(id).map_or(id.short(), ContainerName::as_str).to_owned(),
            End::Containers => "every container".to_owned(),
            End::Host => "the host".to_owned(),
            End::Outside => "the outside".to_owned(),
            End::Anyone => "anyone".to_owned(),
        };
        let service = edge.service.map_or_else(|| "anything".to_owned(), |service| service.to_string());
        let by = match &edge.by {
            By::Bridge => "over the bridge".to_owned(),
            By::Link { alias } => format!("by the link {alias:?}"),
            By::Publish { address, port } => match edge.service {
                Some(Service::Ports(ports)) if ports.last > ports.first => {
                    format!("published at {address}:{port}-{}", port.saturating_add(ports.last - ports.first))
                }
                _ => format!("published at {address}:{port}"),
            },
            By::Routed { masqueraded: true } => "through the host, in its name".to_owned(),
            By::Routed { masqueraded: false } => "through the host".to_owned(),
            By::Names => "by the daemon's name server".to_owned(),
        };
        format!("{} -> {}: {service}, {by}", end(&edge.from), end(&edge.to))
    }

    /// What a container was called then.
    pub fn name_of(&self, id: &ContainerId) -> Option<&ContainerName> {
        self.containers().into_iter().find(|(one, _)| *one == id).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_all_is_said_of_each() {
        let one = End::Container(ContainerId::from_bytes([1; 32]));
        let edge = |from: &End, service: &str, by: By| Edge {
            from: from.clone(),
            to: one.clone(),
            service: (!service.is_empty()).then(|| service.parse().expect("service")),
            by,
        };
        let wide = edge(&End::Anyone, "80-89/tcp", By::Bridge);
        for from in [&one, &End::Containers, &End::Host, &End::Outside, &End::Anyone] {
            assert!(wide.covers(&edge(from, "85/tcp", By::Bridge)), "{from}");
            assert!(!wide.covers(&edge(from, "85/udp", By::Bridge)) && !wide.covers(&edge(from, "", By::Bridge)));
            assert!(!wide.covers(&edge(from, "85/tcp", By::Names)) && !wide.covers(&edge(from, "icmp", By::Bridge)));
            assert!(edge(from, "", By::Bridge).covers(&edge(from, "icmp", By::Bridge)));
        }
        assert!(!edge(&one, "", By::Bridge).covers(&edge(&End::Containers, "", By::Bridge)));
        assert!(!edge(&End::Containers, "", By::Bridge).covers(&edge(&End::Host, "", By::Bridge)));
    }

    #[test]
    fn edges_are_short_in_json() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let by = By::Publish { address: Ipv4Addr::UNSPECIFIED.into(), port: 9000 };
        let service = Some("9000-9999/tcp".parse().expect("service"));
        let edge = Edge { from: End::Anyone, to: End::Container(id.clone()), service, by };
        let json = serde_json::to_string(&edge).expect("plain data");
        let by = r#"{"way":"publish","address":"0.0.0.0","port":9000}"#;
        assert_eq!(json, format!(r#"{{"from":"anyone","to":"{id}","service":"9000-9999/tcp","by":{by}}}"#));
        assert_eq!(serde_json::from_str::<Edge>(&json).expect("the same"), edge);
        assert!(serde_json::from_str::<End>(r#""nobody""#).is_err());
    }
}
