//! What differs between what should be and what is.

use serde::{Deserialize, Serialize};

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A table, chain or rule of Pontoon's.
    Rule,
    /// An element of a set or map of Pontoon's.
    Element,
    /// The bridge itself.
    Bridge,
    /// A port of the bridge.
    Port,
    /// The bridge's forwarding table.
    Forwarding,
    /// A kernel parameter.
    Sysctl,
    /// A pinned network namespace.
    Namespace,
    /// What is inside of a container's namespace: addresses, routes, links.
    Inside,
    /// A flow in conntrack that nothing admits any more.
    Flow,
    /// Rules, routes or tables of others that change what Pontoon's containers can do.
    Foreign,
}

impl Subject {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Rule,
        Self::Element,
        Self::Bridge,
        Self::Port,
        Self::Forwarding,
        Self::Sysctl,
        Self::Namespace,
        Self::Inside,
        Self::Flow,
        Self::Foreign,
    ];

    /// The word for it in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Element => "element",
            Self::Bridge => "bridge",
            Self::Port => "port",
            Self::Forwarding => "forwarding",
            Self::Sysctl => "sysctl",
            Self::Namespace => "namespace",
            Self::Inside => "inside",
            Self::Flow => "flow",
            Self::Foreign => "foreign",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is about.
    pub subject: Subject,
    /// For programs: `element-missing`, `port-not-isolated`. Kebab case, never renamed.
    pub kind: String,
    /// One sentence: what is so, and what should be.
    pub what: String,
    /// Names of containers that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// When it was first seen, RFC 3339; `None`: now.
    pub since: Option<String>,
    /// By whom, where the kernel tells: `nft (pid 4242)`.
    pub by: Option<String>,
    /// It was put right: by the daemon at once, or by `--repair`.
    pub repaired: bool,
    /// What to do about it where `--repair` does nothing: what is others' stays theirs. `None`: `--repair` puts it right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Of the JSON.
    pub version: u32,
    /// When the kernel was read: RFC 3339, UTC.
    pub taken: String,
    /// What differs now.
    pub differences: Vec<Difference>,
    /// What containers may have changed within themselves, as their capabilities let them (`NET_ADMIN`): worth knowing,
    /// and no drift.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_doing: Vec<Difference>,
    /// What differed and was put right by the daemon since it started, newest first, at most some hundreds.
    pub repaired: Vec<Difference>,
    /// What was not looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
}
