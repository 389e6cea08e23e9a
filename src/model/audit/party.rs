//! Who may be at an end of a flow.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{ContainerId, Port, PortError, PortRange, Published};

/// Where a party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartyKind {
    /// A container that runs. One that is open is at the host's place, one that joined another at that one's.
    Container,
    /// This machine.
    Host,
    /// A neighbour on a link of this machine that is not the bridge.
    Lan,
    /// Behind a port of an operator's bridge (`-b`) that is no container's: a network, a virtual machine.
    Bridge,
    /// Whoever is reached by a gateway.
    Outside,
}

/// Who may be at an end of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// How questions and answers call it: a container's name, `host`, `lan` (`lan:eth1` where there are several),
    /// `bridge:eth1` or `outside`. A container of such a name goes first; the party is then `:host`, `:lan`, `:outside`.
    pub name: String,
    /// Where it is.
    pub kind: PartyKind,
    /// A container's id.
    pub id: Option<ContainerId>,
    /// A container's archetype as docker writes it: `bridge`, `none`, `host`, `container:web`.
    pub mode: Option<String>,
    /// Its addresses; of LAN, bridge and outside one that stands for all.
    pub addresses: Vec<IpAddr>,
    /// Another party that has the same network namespace, and whose cells are also this one's.
    pub shares: Option<String>,
    /// A container's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports that matter here, in order.
    pub ports: Vec<PartyPort>,
}

/// Ports in a row that matter for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyPort {
    /// The ports.
    pub ports: PortRange,
    /// Exposed by image, `--expose` or `-p`.
    pub exposed: bool,
    /// Rows of host ports that lead here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
    /// Who listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
}

/// A socket that waits for others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Its address; unspecified is all of the namespace's.
    pub address: IpAddr,
    /// The process that holds it, where that could be found: name and pid on the host.
    pub process: Option<(String, u32)>,
}

/// What a flow is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Service {
    /// Ports of one protocol: `80/tcp`, `9000-9099/udp`.
    Ports(PortRange),
    /// ICMP echo.
    Echo,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(PortRange { protocol, first, last }) if first == last => write!(f, "{first}/{protocol}"),
            Self::Ports(PortRange { protocol, first, last }) => write!(f, "{first}-{last}/{protocol}"),
            Self::Echo => f.write_str("icmp"),
        }
    }
}

impl FromStr for Service {
    type Err = PortError;
    /// `80`, `80/tcp`, `tcp/80`, `9000-9099/udp`, `icmp`.
    fn from_str(text: &str) -> Result<Self, PortError> {
        if matches!(text, "icmp" | "ping" | "echo") {
            return Ok(Self::Echo);
        }
        let (ports, protocol) = match text.split_once('/') {
            Some((protocol, ports)) if ports.starts_with(|c: char| c.is_ascii_digit()) => (ports, protocol),
            Some((ports, protocol)) => (ports, protocol),
            None => (text, "tcp"),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |text: &str| -> Result<Port, PortError> { format!("{text}/{protocol}").parse() };
        let (first, last) = (number(first)?, number(last)?);
        if last.number < first.number {
            return Err(PortError::Number(ports.to_owned()));
        }
        Ok(Self::Ports(PortRange { protocol: first.protocol, first: first.number, last: last.number }))
    }
}

impl TryFrom<String> for Service {
    type Error = PortError;
    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<Service> for String {
    fn from(service: Service) -> String {
        service.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_as_they_are_written() {
        for text in ["80/tcp", "9000-9099/udp", "132/sctp", "icmp"] {
            assert_eq!(text.parse::<Service>().expect(text).to_string(), text);
        }
        for (text, same) in [("80", "80/tcp"), ("tcp/80", "80/tcp"), ("udp/1-2", "1-2/udp"), ("ping", "icmp")] {
            assert_eq!(text.parse::<Service>().expect(text).to_string(), same);
        }
        for bad in ["", "0", "80/icmp", "9-8/tcp", "x", "65536", "1-/tcp"] {
            assert!(bad.parse::<Service>().is_err(), "{bad:?}");
        }
    }
}
