//! The task that listens: to the log, to the clock, and to who wants to know.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::counters::{Reading, Where};
use super::frame::read;
use super::nflog::{Heard, Logged, Nflog, Told, told};
use super::who::{Place, judge};
use super::{Shared, memory};
use crate::model::audit::{Counts, LogLine, VERSION};

/// Between two looks at the kernel's counters, and between two tries to listen.
const PERIOD: Duration = Duration::from_secs(2);
/// Times that the counters are read for one answer, if packets keep coming.
const LOOKS: usize = 3;
/// Names of interfaces that are remembered.
const INTERFACES: usize = 4096;

/// Listens as long as anybody may ask.
pub(super) struct Listener {
    shared: Arc<Shared>,
    memory: Option<PathBuf>,
    nflog: Option<Nflog>,
    buffer: Vec<u8>,
    /// The last name of an interface that may be gone.
    interfaces: HashMap<u32, String>,
    /// What the file says.
    noted: BTreeMap<Where, u64>,
    /// What followers were told.
    told: Counts,
    /// The counters cannot be read, and that was said.
    blind: bool,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, memory: Option<PathBuf>) -> Self {
        Self {
            shared,
            memory,
            nflog: None,
            buffer: Vec::new(),
            interfaces: HashMap::new(),
            noted: BTreeMap::new(),
            told: Counts::default(),
            blind: false,
        }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>) {
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = clock.tick() => self.look().await,
                heard = hear(self.nflog.as_mut(), &mut self.buffer) => self.heard(heard),
                reply = asked.recv() => {
                    let Some(reply) = reply else { return };
                    self.settle().await;
                    // Who went away does not mind.
                    let _ = reply.send(());
                }
            }
        }
    }

    /// What is done every so often.
    async fn look(&mut self) {
        self.count().await;
        if self.nflog.is_none() {
            self.begin().await;
        }
        let (known, total) = {
            let state = self.shared.state();
            (state.ledger.known().clone(), state.ledger.total(state.table.forgotten))
        };
        if let Some(path) = self.memory.as_deref().filter(|_| known != self.noted) {
            match memory::write(path, &known) {
                Ok(()) => self.noted = known,
                Err(error) => tracing::debug!(%error, "cannot note how far the counters were followed"),
            }
        }
        let silent = |counts: Counts| (counts.unlogged, counts.lost, counts.unheard);
        if silent(total) != silent(self.told) {
            self.told = total;
            let line = LogLine { version: VERSION, denial: None, total: Some(total), missed: None };
            let _nobody_follows = self.shared.lines.send(line);
        }
    }

    /// Tries to listen.
    async fn begin(&mut self) {
        let group = self.shared.group;
        let bound = Nflog::bind(group).await;
        let mut state = self.shared.state();
        match bound {
            Ok(nflog) => {
                state.ledger.listens_anew();
                state.listening_since = Some(Timestamp::now());
                state.trouble = None;
                self.nflog = Some(nflog);
            }
            Err(error) => {
                let trouble = trouble(group, &error);
                if state.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!("{trouble}");
                }
                state.trouble = Some(trouble);
            }
        }
    }

    /// All that the kernel has to tell by now, and counters that agree with it, if packets ever pause.
    async fn settle(&mut self) {
        for _look in 0..LOOKS {
            self.drain();
            let before = self.shared.state().ledger.known().clone();
            self.count().await;
            if self.shared.state().ledger.known() == &before {
                return;
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(nflog) = &mut self.nflog {
            match nflog.hear_now(&mut self.buffer) {
                Ok(None) => return,
                Ok(Some(heard)) => self.heard(Ok(heard)),
                Err(error) => self.heard(Err(error)),
            }
        }
    }

    /// Reads the kernel's counters.
    async fn count(&mut self) {
        let (table, known) = (self.shared.table.clone(), self.shared.state().ledger.known().clone());
        let reading = tokio::task::spawn_blocking(move || Reading::now(&table, &known)).await;
        let reading = match reading.map_err(io::Error::other).and_then(|reading| reading) {
            Ok(reading) => reading,
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::warn!(%error, "cannot read the firewall's counters");
                }
                return;
            }
        };
        self.blind = false;
        let mut state = self.shared.state();
        let state = &mut *state;
        if state.replacing {
            return;
        }
        if state.ledger.has_begun() {
            state.ledger.add(reading, state.listening_since.is_some(), &state.directory);
        } else {
            let before = self.memory.as_deref().map(memory::read).unwrap_or_default();
            state.ledger.begin(reading, &before);
        }
    }

    /// What came of listening.
    fn heard(&mut self, heard: io::Result<Heard>) {
        match heard {
            Ok(Heard::Messages) => self.record(),
            // The next packet's number says how many were lost.
            Ok(Heard::Overflow) => tracing::debug!("more was denied than could be followed"),
            Err(error) => {
                tracing::warn!(%error, "cannot listen to the firewall's log any more; trying again");
                self.nflog = None;
                self.shared.state().listening_since = None;
            }
        }
    }

    /// The packets that are in the buffer.
    fn record(&mut self) {
        let (shared, now) = (self.shared.clone(), Timestamp::now());
        let buffer = std::mem::take(&mut self.buffer);
        for told in told(&buffer, &shared.prefix) {
            match told {
                Told::Foreign(number) => shared.state().ledger.number(number),
                Told::Packet(logged) => {
                    let interface = logged.interface.and_then(|index| self.interface(index));
                    self.one(logged, interface, now);
                }
            }
        }
        self.buffer = buffer;
    }

    fn one(&self, logged: Logged<'_>, interface: Option<String>, now: Timestamp) {
        let mut state = self.shared.state();
        let state = &mut *state;
        state.ledger.number(logged.number);
        let place = Place { cause: logged.cause, bridged: logged.bridged, interface };
        let (whose, key) = judge(&state.directory, &place, read(logged.raw));
        let container = [&key.from, &key.to].into_iter().find(|who| who.container == whose);
        let name = container.and_then(|who| who.name.clone()).unwrap_or_default();
        state.ledger.tell(logged.cause, whose.as_ref().map(|id| (id, name.as_str())));
        let denial = state.table.record(whose, &key, now);
        if self.shared.lines.receiver_count() > 0 {
            let line = LogLine { version: VERSION, denial: Some(denial), total: None, missed: None };
            let _went_meanwhile = self.shared.lines.send(line);
        }
    }

    /// An interface's name, or the last one that it had.
    fn interface(&mut self, index: u32) -> Option<String> {
        let name = nix::net::if_::if_indextoname(index).ok().and_then(|name| name.into_string().ok());
        match name {
            Some(name) => {
                if self.interfaces.len() >= INTERFACES {
                    self.interfaces.clear();
                }
                self.interfaces.insert(index, name.clone());
                Some(name)
            }
            None => self.interfaces.get(&index).cloned(),
        }
    }
}

/// What comes next, if anybody listens.
async fn hear(nflog: Option<&mut Nflog>, buffer: &mut Vec<u8>) -> io::Result<Heard> {
    match nflog {
        Some(nflog) => nflog.hear(buffer).await,
        None => std::future::pending().await,
    }
}

fn trouble(group: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "another program listens to nflog group {group}: what is denied is counted, and not shown; see who it is in \
             /proc/net/netfilter/nfnetlink_log"
        ),
        _ => format!("cannot listen to nflog group {group}: {error}; is the kernel's module nfnetlink_log there?"),
    }
}
