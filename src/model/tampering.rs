//! Changes by others to what the daemon keeps in the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What somebody else changed, and by now is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    /// In words, one change each: `deleted table inet pontoon-pontoon0`.
    pub what: Vec<String>,
    /// Who did it, where the kernel tells.
    pub process: Option<Process>,
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
