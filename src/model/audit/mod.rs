//! The audit's answers, as the API gives them and clients read them: version 1 of the audit's JSON.
//!
//! Three verdicts stand beside each other, and their agreement is the point: what the [`Intent`](super::Intent) says
//! should be, what the ruleset in the kernel does, and what a real packet did.
//!
//! | file | what it is |
//! |---|---|
//! | `party` | who may be at an end of a flow, and the ports that matter there |
//! | `matrix` | who can talk to whom: cells of three verdicts |
//! | `why` | one cell in depth |
//! | `drift` | what differs between intent and kernel |
//! | `probe` | what real packets did |
//! | `checked` | what came of expectations |
//! | `linted` | holes wider than their purpose |
//! | `preview` | what a run would change |
//! | `finding` | what an operator should know, by kind |
//! | `log` | what was denied, and how much of it was not seen |
//! | `edge`, `reach` | who can talk to whom in as few words as say it, and the difference that a change makes |
//! | `origin` | whose doing a change is |
//! | `history` | each change: when, by whom, what it opened and closed |

mod checked;
mod drift;
mod edge;
mod finding;
mod history;
mod linted;
mod log;
mod matrix;
mod origin;
mod party;
mod preview;
mod probe;
mod reach;
mod why;

pub use checked::{Checked, Expectation, Outcome};
pub use drift::{Difference, Drift, Subject};
pub use edge::{By, Delta, Edge, End, Member, Renamed};
pub use finding::{Finding, Severity};
pub use history::{Break, Chain, Creation, Entry, Happening, Head, History, Opening, Verified, opening};
pub use linted::Linted;
pub use log::{CauseCounts, ContainerCounts, Correspondent, Counts, Denial, DenialLog, LogLine};
pub use matrix::{Cell, Cells, Intended, Matrix, Reason, Verdict, Way};
pub use origin::{Origin, Peer, Requester};
pub use party::{Listener, Party, PartyKind, PartyPort, Service};
pub use preview::Preview;
pub use probe::{Probe, Sent};
pub use reach::{Reach, delta};
pub use why::{Asked, Decider, Why, WhyWay};

/// The version of the JSON. It rises when a field changes its meaning or goes; new fields may come without.
pub const VERSION: u32 = 1;
