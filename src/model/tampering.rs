//! Changes by others to what the daemon keeps in the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    /// Where.
    pub place: Place,
    /// In words, one change each: `deleted table inet pontoon-pontoon0`. Empty: something may have changed, and nobody
    /// looked yet.
    pub what: Vec<String>,
    /// By now it is as it was.
    pub repaired: bool,
    /// Who did it, where the kernel tells.
    pub process: Option<Process>,
}

/// Where something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The daemon's tables.
    Rules,
    /// Others' tables.
    Foreign,
    /// The bridge, its ports, its forwarding table.
    Wire,
    /// Parameters of the kernel.
    Parameters,
    /// Pins of network namespaces.
    Namespaces,
    /// What conntrack knows.
    Flows,
}

/// A process as the kernel shows it, which may have ended since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id in the initial pid namespace.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}
