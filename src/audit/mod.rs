//! The audit: who can talk to whom, on which port, and why.
//!
//! Three verdicts stand beside each other for each flow: what the intent says should be, what the ruleset in the kernel
//! does ([`crate::firewall::audit`], evaluated), and what a real packet did. Where they disagree, there is a finding.
//!
//! Engine and kernel are asked once (`reading`); the rest is pure. The answers' types are [`crate::model::audit`].
//!
//! | file | what it is |
//! |---|---|
//! | `reading`, `inside`, `processes` | what is known at one moment: containers, the kernel, each namespace, who listens |
//! | `cast`, `ports`, `neighbourhood` | the parties and the ports that matter at each |
//! | `flows`, `intended` | which flows there are between them, and what the intent says of each |
//! | `judge`, `deciders` | what the kernel does with each, and by which rule |
//! | `matrix`, `findings` | all of it side by side; where it disagrees |
//! | `assert` | expectations, held against the matrix |
//! | `lint` | holes that are wider than their purpose |
//! | `preview` | what a run would change |
//! | `why`, `evidence`, `openings` | one pair in depth: the rule that decides, and who asked for it |
//! | `drift` | what differs in the kernel, and what is put right |
//! | `probe` | what real packets do |

pub mod assert;
mod cast;
mod deciders;
pub mod drift;
mod evidence;
mod findings;
mod flows;
mod inside;
mod intended;
mod judge;
pub mod lint;
mod matrix;
mod neighbourhood;
mod openings;
mod ports;
pub mod preview;
pub mod probe;
mod processes;
mod reading;
mod why;

use crate::firewall::audit::Kernel;
use crate::firewall::audit::snapshot::{self, SnapshotError};
pub use cast::{Cast, Seat};
pub use matrix::{Wanted, asked, matrix};
pub use reading::Reading;
pub use why::{Asking, why};

/// Reads this machine's network namespace: [`crate::firewall::audit::snapshot::read`], whose programs are no probe's.
pub fn read_kernel() -> Result<Kernel, SnapshotError> {
    probe::beside(snapshot::read)
}

/// Why the audit has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The kernel could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Who listens could not be read.
    #[error("cannot read who listens on this machine: {0}")]
    Sockets(#[source] std::io::Error),
    /// Containers come and go faster than all of them can be read.
    #[error("containers were started or stopped during each of the readings; try again when it is quiet")]
    Restless,
    /// An address on an operator's bridge that the kernel has not met.
    #[error("{who} is on the bridge, and behind which of its ports is not known; ask for {}, or let it speak first", .ports.join(" or "))]
    Whereabouts {
        /// The address.
        who: String,
        /// The names of those who stand for the ports.
        ports: Vec<String>,
    },
    /// A name that nobody has.
    #[error("there is no {who:?} here; there are: {}", .known.join(", "))]
    NoParty {
        /// As it was asked.
        who: String,
        /// Names of all parties.
        known: Vec<String>,
    },
}
