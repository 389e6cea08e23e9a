//! What the daemon's rules dropped: who really sent what to whom, how often, and how much of it nobody saw.
//!
//! ```text
//! kernel: rules ──► counters by cause, meters by container ──► counters ─► ledger ─┐
//!              └──► nflog group, each container at its rate ─► nflog ─► frame      ├─► log
//! intent: changes ─► directory ──────────────────────────────────► who ─► table ──┘
//! ```
//!
//! The kernel's counters are the truth: what was counted and not told is said to be so, and why (see
//! [`Counts`]). Entries live in memory and end with the daemon; the counters are the kernel's,
//! and a small file says how far a daemon had got, for the next one to know what happened between the two.

mod counters;
mod directory;
mod frame;
mod ledger;
mod listener;
mod memory;
mod nflog;
mod table;
mod who;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::names;
use crate::model::audit::{CauseCounts, ContainerCounts, Correspondent, Counts, Denial, DenialLog, LogLine, VERSION};
use crate::model::{Change, Intent, NetworkOptions};
use directory::Directory;
use ledger::Ledger;
use listener::Listener;
use table::Table;

/// Lines that wait for a client who reads slowly.
const LINES: usize = 1024;

/// What is known by now.
struct State {
    directory: Directory,
    table: Table,
    ledger: Ledger,
    listening_since: Option<Timestamp>,
    trouble: Option<String>,
    /// The tables are being written anew: what is read meanwhile may be of the old or of the new ones.
    replacing: bool,
}

struct Shared {
    state: Mutex<State>,
    lines: broadcast::Sender<LogLine>,
    /// The name of the daemon's tables.
    table: String,
    group: u16,
    /// What our lines in the log begin with, up to the cause.
    prefix: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was denied. Clones share it.
#[derive(Clone)]
pub struct Denials {
    shared: Arc<Shared>,
    asked: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

/// Counts at one moment.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// All.
    pub total: Counts,
    /// By cause.
    pub causes: Vec<CauseCounts>,
    /// By container and cause.
    pub containers: Vec<ContainerCounts>,
    /// Whether the daemon listens.
    pub listens: bool,
}

/// Which denials somebody wants to hear of.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Seen since then.
    pub since: Option<Timestamp>,
    /// By, to, or in the name of this container: its name, or the beginning of its id.
    pub container: Option<String>,
}

impl Wanted {
    /// Whether it is wanted, times aside.
    pub fn matches(&self, denial: &Denial) -> bool {
        let Some(container) = self.container.as_deref() else { return true };
        let is = |who: &Correspondent| {
            who.container.as_ref().is_some_and(|id| id.as_str().starts_with(container))
                || (who.container.is_some() && who.name.as_deref() == Some(container))
        };
        !container.is_empty() && (is(&denial.from) || is(&denial.to) || denial.claims.as_ref().is_some_and(is))
    }

    fn counts(&self, counts: &ContainerCounts) -> bool {
        let is = |container: &String| {
            counts.name == *container || (!container.is_empty() && counts.container.as_str().starts_with(container))
        };
        self.container.as_ref().is_none_or(is)
    }
}

impl Denials {
    /// Begins to listen, as soon as that is possible. `memory`: the file that says how far a daemon had got; without
    /// one, all that happened before is taken to have happened while nobody listened.
    pub(super) fn listen(options: &NetworkOptions, memory: Option<PathBuf>) -> Self {
        let (asked, inbox) = mpsc::unbounded_channel();
        let state = State {
            directory: Directory::new(options),
            table: Table::default(),
            ledger: Ledger::default(),
            listening_since: None,
            trouble: None,
            replacing: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            lines: broadcast::Sender::new(LINES),
            table: names::table(options),
            group: names::log_group(&options.bridge),
            prefix: names::log_prefix(&options.bridge),
        });
        tokio::spawn(Listener::new(shared.clone(), memory).run(inbox));
        Self { shared, asked }
    }

    /// What was denied up to now.
    pub async fn log(&self, wanted: &Wanted) -> DenialLog {
        self.settle().await;
        let state = self.shared.state();
        let mut denials = state.table.since(wanted.since);
        denials.retain(|denial| wanted.matches(denial));
        let mut containers = state.ledger.containers();
        containers.retain(|counts| wanted.counts(counts));
        DenialLog {
            version: VERSION,
            taken: format!("{:.6}", Timestamp::now()),
            group: self.shared.group,
            listening_since: state.listening_since.map(|since| format!("{since:.6}")),
            trouble: state.trouble.clone(),
            denials,
            total: state.ledger.total(state.table.forgotten),
            causes: state.ledger.causes(),
            containers,
        }
    }

    /// The counts alone, as they are now.
    pub async fn counts(&self) -> Numbers {
        self.settle().await;
        let state = self.shared.state();
        Numbers {
            total: state.ledger.total(state.table.forgotten),
            causes: state.ledger.causes(),
            containers: state.ledger.containers(),
            listens: state.listening_since.is_some(),
        }
    }

    /// What is denied from now on, line by line.
    pub fn follow(&self) -> broadcast::Receiver<LogLine> {
        self.shared.lines.subscribe()
    }

    /// Takes what the kernel has to tell by now.
    async fn settle(&self) {
        let (reply, answer) = oneshot::channel();
        if self.asked.send(reply).is_ok() {
            let _ = answer.await;
        }
    }

    /// Who there is.
    pub(super) fn learn(&self, intent: &Intent) {
        self.shared.state().directory.learn(intent);
    }

    /// Who comes and goes.
    pub(super) fn apply(&self, change: &Change) {
        self.shared.state().directory.apply(change);
    }

    /// To be called before the tables are written anew.
    pub(super) async fn before_new_tables(&self) {
        self.settle().await;
        self.shared.state().replacing = true;
    }

    /// To be called afterwards. `written`: they are new, and their counters begin at nothing.
    pub(super) fn after_new_tables(&self, written: bool) {
        let mut state = self.shared.state();
        state.replacing = false;
        if written {
            state.ledger.tables_are_new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContainerId;

    #[test]
    fn a_container_is_wanted_by_name_and_by_id() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let who = |name: &str, container: Option<&ContainerId>| Correspondent {
            name: Some(name.to_owned()),
            container: container.cloned(),
            ..Correspondent::default()
        };
        let denial = Denial {
            cause: "lan".into(),
            from: who("web", Some(&id)),
            claims: None,
            to: who("host", None),
            what: "tcp/80".into(),
            port: Some(80),
            packets: 1,
            first: String::new(),
            last: String::new(),
        };
        let wants =
            |container: &str| Wanted { container: Some(container.to_owned()), ..Wanted::default() }.matches(&denial);
        assert!(Wanted::default().matches(&denial));
        assert!(wants("web") && wants("abab") && wants(id.as_str()));
        assert!(!wants("we") && !wants("b") && !wants("") && !wants("host"));
    }
}
