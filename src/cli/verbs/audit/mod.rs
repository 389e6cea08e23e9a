//! `audit`: who can talk to whom, on which port, and why. A file a verb.

mod answers;
mod ask;
mod assert;
mod drift;
mod explain;
mod history;
mod lint;
mod log;
mod matrix;
mod preview;
mod probe;
mod report;
mod serve;
mod why;

use crate::cli::client::Client;
use crate::cli::error::Outcome;

/// Exit codes of verbs that answer whether something may pass; 0 is yes.
const DENIED: u8 = 1;
const UNKNOWN: u8 = 2;
/// What should be and what is are not the same.
const DRIFT: u8 = 3;

/// `audit`'s verbs.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Audit {
    /// Show one packet's way through the rules that are in the kernel now; exit code 0 if it arrives, 1 if not, 2 if
    /// that cannot be said
    Explain(explain::Explain),
    /// List what differs between what should be and what is, since when and by whom, and what was put right; exit code 0
    /// if nothing differs, 3 if something does
    Drift(drift::Drift),
    /// Show each change of who can talk to whom: when, by whom, what it opened and closed; exit code 0 if the chain of
    /// entries is whole, 3 if not
    History(history::History),
    /// Show packets that were denied: who really sent what to whom, and how much of it was not seen
    Log(log::Log),
    /// Show who can talk to whom, on which port, by which way and why: what should be beside what the kernel does
    Matrix(matrix::Show),
    /// Hold a file of expectations against what is; exit code 0 if all hold, 1 if one is violated, 2 if one cannot be
    /// said, 3 if intent, kernel and packets disagree about one
    Assert(assert::Assert),
    /// Find holes that are wider than their purpose; exit code 1 if there are any
    Lint(lint::Lint),
    /// Show what a run would change of who can talk to whom, and run nothing
    Preview(Box<preview::Preview>),
    /// Serve the report as a live page, for this machine unless an address is given, until interrupted
    Serve(serve::Serve),
    /// Say whether one may reach another, and by which rule, link, published port or option; exit code 0 if so, 1 if
    /// not, 2 if that cannot be said
    Why(why::Ask),
    /// Send real packets from inside the containers and see what comes of them; exit code 0 if that is what should, 3 if
    /// not. No program notices more than a connection attempt
    Probe(probe::Try),
}

impl Audit {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        match self {
            Self::Explain(verb) => verb.run(client).await,
            Self::Drift(verb) => verb.run(client).await,
            Self::History(verb) => verb.run(client).await,
            Self::Log(verb) => verb.run(client).await,
            Self::Matrix(verb) => verb.run(client).await,
            Self::Assert(verb) => verb.run(client).await,
            Self::Lint(verb) => verb.run(client).await,
            Self::Preview(verb) => verb.run(client).await,
            Self::Serve(verb) => verb.run(client).await,
            Self::Why(verb) => verb.run(client).await,
            Self::Probe(verb) => verb.run(client).await,
        }
    }
}
