//! Who can talk to whom: a cell for each pair of parties, service and way.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::VERSION;
use super::finding::Finding;
use super::party::{Party, Service};

/// What comes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It comes about, if somebody listens.
    Allow,
    /// It does not.
    Deny,
    /// That cannot be said.
    Unknown,
}

/// What the intent says of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Intended {
    /// It should come about.
    Allow,
    /// It should not.
    Deny,
    /// It is not Pontoon's to say: between the host and others, what the host's own rules forbid.
    Silent,
}

/// By which way a flow goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "way")]
pub enum Way {
    /// To the party's own address, on the bridge or (between others) by the host's routes.
    Direct,
    /// To the party's own address, by a link.
    Link {
        /// What the source calls the target; the first of several.
        alias: String,
    },
    /// To a published port: from the LAN, the outside or the host.
    Publish {
        /// The host's address and first port that are spoken to.
        host: (IpAddr, u16),
    },
    /// To a published port from a container: by the host's address and back over the bridge.
    Hairpin {
        /// The host's address and first port that are spoken to.
        host: (IpAddr, u16),
    },
    /// Within one namespace, by its loopback.
    Shared,
}

/// Why the intent says what it says. Cells refer to it by its place in [`Matrix::reasons`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
pub enum Reason {
    /// `--icc=true`: containers reach each other.
    Icc,
    /// `--icc=false` and no link opens it.
    NoLink,
    /// `--icc=false`, there is a link, and the target does not expose the port.
    NotExposed {
        /// What the source calls the target.
        alias: String,
    },
    /// A link opens it.
    Link {
        /// What the source calls the target.
        alias: String,
    },
    /// A published port leads there.
    Published {
        /// As `-p` would say it: `0.0.0.0:8080->80/tcp`.
        row: String,
    },
    /// It is published on an address that this party cannot speak to (127.0.0.1).
    PublishedElsewhere {
        /// As `-p` would say it.
        row: String,
    },
    /// Nobody from the LAN or the outside reaches containers but by published ports.
    NotPublished,
    /// The host reaches its own containers.
    Host,
    /// Containers reach what listens on the host (`--host-access=true`).
    HostAccess,
    /// `--host-access=false`.
    NoHostAccess,
    /// The host answers names and echo requests in any case.
    HostAlways,
    /// Containers reach the outside.
    Outbound,
    /// The daemon was told not to forward (`--ip-forward=false`), and the host does not.
    NoForwarding,
    /// One of the two has no network (`--net none`).
    Closed,
    /// Both are in one namespace.
    Shared,
    /// Not Pontoon's to say.
    HostsOwn,
    /// One of them is at a port of an operator's bridge (`-b`) that is no container's: not Pontoon's to say.
    OperatorsBridge,
}

impl fmt::Display for Reason {
    /// A clause that may stand after "because" or a colon, without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icc => f.write_str("containers reach each other (--icc=true)"),
            Self::NoLink => f.write_str("--icc=false, and no link opens it"),
            Self::NotExposed { alias } => {
                write!(f, "--icc=false, and the target of the link {alias} does not expose it")
            }
            Self::Link { alias } => write!(f, "the link {alias} opens it"),
            Self::Published { row } => write!(f, "it is published ({row})"),
            Self::PublishedElsewhere { row } => write!(f, "it is published on another address only ({row})"),
            Self::NotPublished => f.write_str("containers are reached from outside by published ports only"),
            Self::Host => f.write_str("the host reaches its own containers"),
            Self::HostAccess => f.write_str("containers reach what listens on the host (--host-access=true)"),
            Self::NoHostAccess => f.write_str("--host-access=false"),
            Self::HostAlways => f.write_str("the host answers names and echo requests in any case"),
            Self::Outbound => f.write_str("containers reach the outside"),
            Self::NoForwarding => f.write_str("the host does not forward (--ip-forward=false)"),
            Self::Closed => f.write_str("one of them has no network (--net none)"),
            Self::Shared => f.write_str("both are in one network namespace"),
            Self::HostsOwn => f.write_str("that is for the host's own rules to say"),
            Self::OperatorsBridge => {
                f.write_str("neighbours on an operator's bridge (-b) are for its operator's rules to keep apart")
            }
        }
    }
}

/// One flow: who, to whom, what, by which way; and the verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Place of the source in [`Matrix::parties`].
    pub from: usize,
    /// Place of the target.
    pub to: usize,
    /// At the target, after translation: the container's own port.
    pub service: Service,
    /// By which way.
    #[serde(flatten)]
    pub by: Way,
    /// What should be.
    pub intent: Intended,
    /// Place in [`Matrix::reasons`] of why.
    pub reason: usize,
    /// What the kernel's rules do.
    pub kernel: Verdict,
    /// Place in [`Matrix::deciders`] of what decides in the kernel: rule or policy. `None`: the kernel itself, or nothing.
    pub decider: Option<usize>,
    /// What a real packet did, where one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Verdict>,
    /// Somebody listens there. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening: Option<bool>,
    /// Connection attempts that the element behind a link or a published port has counted. `None`: none is there, or it
    /// does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
}

impl Cell {
    /// Whether those verdicts that were given are one. What is unknown or silent disagrees with nobody.
    pub fn agrees(&self) -> bool {
        let kernel = match (self.intent, self.kernel) {
            (Intended::Allow, Verdict::Deny) | (Intended::Deny, Verdict::Allow) => return false,
            (_, kernel) => kernel,
        };
        let Some(probe) = self.probe else { return true };
        !matches!(
            (self.intent, kernel, probe),
            (Intended::Allow, _, Verdict::Deny)
                | (Intended::Deny, _, Verdict::Allow)
                | (_, Verdict::Allow, Verdict::Deny)
                | (_, Verdict::Deny, Verdict::Allow)
        )
    }

    /// The verdict that counts: the kernel's, unless it is unknown and the intent is not silent.
    pub fn verdict(&self) -> Verdict {
        match (self.kernel, self.intent) {
            (Verdict::Unknown, _) => self.probe.unwrap_or(Verdict::Unknown),
            (kernel, _) => kernel,
        }
    }
}

/// Cells in order: by source, target, service, way.
pub type Cells = Vec<Cell>;

/// Who can talk to whom, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Of the JSON.
    pub version: u32,
    /// When the kernel was read: RFC 3339, UTC.
    pub taken: String,
    /// The machine's hostname.
    pub host: String,
    /// The bridge's name; `None` with `-b none`.
    pub bridge: Option<String>,
    /// Containers may talk to each other.
    pub icc: bool,
    /// The ruleset's generation that was read.
    pub generation: u32,
    /// Who there is: containers by name, then host, LAN, the bridge's other ports, outside.
    pub parties: Vec<Party>,
    /// The flows.
    pub cells: Cells,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What decides in the kernel, in words: `inet pontoon-pontoon0 icc handle 12 "between containers, nothing else": drop`.
    pub deciders: Vec<String>,
    /// Disagreements first.
    pub findings: Vec<Finding>,
    /// What in this kernel is not looked at, by name.
    pub unmodelled: Vec<String>,
}

impl Matrix {
    /// An empty one of this version.
    pub fn empty() -> Self {
        Self {
            version: VERSION,
            taken: String::new(),
            host: String::new(),
            bridge: None,
            icc: true,
            generation: 0,
            parties: Vec::new(),
            cells: Vec::new(),
            reasons: Vec::new(),
            deciders: Vec::new(),
            findings: Vec::new(),
            unmodelled: Vec::new(),
        }
    }

    /// The place of a party, by its name, or a container's by its id or a unique beginning of it.
    pub fn party(&self, who: &str) -> Option<usize> {
        let named = self.parties.iter().position(|party| party.name == who);
        named.or_else(|| {
            let of =
                |party: &Party| !who.is_empty() && party.id.as_ref().is_some_and(|id| id.as_str().starts_with(who));
            let mut found = self.parties.iter().enumerate().filter(|(_, party)| of(party)).map(|(place, _)| place);
            found.next().filter(|_| found.next().is_none())
        })
    }
}
