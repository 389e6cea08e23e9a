//! Writes what is told of, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Message, SharedHead};
use crate::model::audit::{Creation, Delta, Happening, Origin, Peer, Reach};
use crate::model::{Change, ContainerId, Endpoint, Intent, NetworkOptions, Process, Tampering};
use crate::store::{Line, Store, StoreError};

/// Changes that share a transaction at most.
const TOGETHER: usize = 256;
/// Repairs in such a time, in nanoseconds, share an entry: who tampers in a loop does not fill the history.
const REPAIRS: i64 = 5_000_000_000;
/// Kinds of repairs that such an entry tells one by one.
const TOLD: usize = 20;
/// Entries that wait for a disk that is full. What is beyond is found at the next start.
const WAITING: usize = 10_000;
/// Where users have names.
const PASSWD: &str = "/etc/passwd";

/// Something that happened.
pub(super) struct Told {
    /// Nanoseconds since 1970 UTC.
    time: i64,
    what: What,
}

enum What {
    Changed(Box<Changed>),
    Found(Vec<String>),
    Tampered { what: Vec<String>, by: Option<Process>, left: bool },
}

/// A change, and whose doing it was.
struct Changed {
    change: Change,
    origin: Origin,
    created: Option<Creation>,
}

impl Told {
    pub(super) fn changed(change: Change, origin: Origin, created: Option<Creation>) -> Self {
        Self { time: now(), what: What::Changed(Box::new(Changed { change, origin, created })) }
    }

    pub(super) fn found(what: Vec<String>) -> Self {
        Self { time: now(), what: What::Found(what) }
    }

    pub(super) fn tampered(tampering: &Tampering) -> Self {
        let Tampering { what, process, repaired, .. } = tampering.clone();
        Self { time: now(), what: What::Tampered { what, by: process, left: !repaired } }
    }
}

fn now() -> i64 {
    // Until the year 2262.
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Repairs that wait for their entry.
struct Repairs {
    time: i64,
    what: BTreeSet<String>,
    further: u64,
    by: Option<Process>,
    left: bool,
}

/// Knows the state that the entries lead to.
pub(super) struct Writer {
    store: Arc<Store>,
    head: SharedHead,
    kept: u64,
    /// The oldest entry's number.
    first: u64,
    reach: Reach,
    /// Entries to be written, and the state that they leave.
    lines: Vec<Line>,
    options: Option<String>,
    endpoints: BTreeMap<String, Option<String>>,
    repairs: Option<Repairs>,
    /// When repairs had an entry last.
    repaired: Option<i64>,
    /// The last attempt to write failed, and that was said.
    failing: bool,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, head: SharedHead, kept: u64) -> Result<Self, StoreError> {
        let first = store.history_begins()?.unwrap_or(1);
        *head.get() = store.history_head()?;
        Ok(Self {
            store,
            head,
            kept: kept.max(1),
            first,
            reach: Reach::default(),
            lines: Vec::new(),
            options: None,
            endpoints: BTreeMap::new(),
            repairs: None,
            repaired: None,
            failing: false,
        })
    }

    /// Enters what differs from the state that the last entry left: first what nobody told of, then the options.
    pub(super) fn take_up(&mut self, intent: &Intent) -> Result<(), StoreError> {
        let written = self.store.history_state()?;
        let options: Option<NetworkOptions> = written.options.as_deref().and_then(|text| read("options", text));
        let mut endpoints: BTreeMap<ContainerId, Endpoint> = BTreeMap::new();
        for (id, text) in &written.endpoints {
            endpoints.extend(id.parse().ok().and_then(|id| Some((id, read("endpoint", text)?))));
        }
        let time = now();
        let mut before = Reach::default();
        if let Some(options) = options {
            before = Reach::of(&Intent { options: options.clone(), endpoints });
            let found = Reach::of(&Intent { options, endpoints: intent.endpoints.clone() });
            let delta = before.become_as(&found);
            self.enter(time, &Origin::Found, &Happening::Found, &delta);
            before = found;
        }
        self.reach = Reach::of(intent);
        let change = Happening::Options { options: in_words(&intent.options) };
        self.enter(time, &Origin::Options, &change, &before.become_as(&self.reach));

        self.options = Some(json(&intent.options));
        let now: BTreeMap<String, String> =
            intent.endpoints.iter().map(|(id, endpoint)| (id.to_string(), json(endpoint))).collect();
        let gone = written.endpoints.keys().filter(|id| !now.contains_key(*id)).map(|id| (id.clone(), None));
        self.endpoints = gone.collect();
        let other = now.into_iter().filter(|(id, endpoint)| written.endpoints.get(id) != Some(endpoint));
        self.endpoints.extend(other.map(|(id, endpoint)| (id, Some(endpoint))));
        self.write()
    }

    /// Serves until the last handle is gone.
    pub(super) fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = inbox.blocking_recv() {
            let mut next = Some(message);
            let mut flushed = Vec::new();
            while let Some(message) = next.take() {
                match message {
                    Message::Told(told) => self.hear(told),
                    Message::Flush(reply) => flushed.push(reply),
                }
                if self.lines.len() < TOGETHER {
                    next = inbox.try_recv().ok();
                }
            }
            if !flushed.is_empty() {
                self.enter_repairs();
            }
            match self.write() {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::error!(%error, "cannot write the history; trying again with the next change");
                }
                Err(_) => {}
            }
            // Who asked went away: no error.
            flushed.into_iter().for_each(|reply| _ = reply.send(()));
        }
    }

    fn hear(&mut self, told: Told) {
        let Told { time, what } = told;
        match what {
            What::Changed(changed) => {
                self.enter_repairs();
                self.change(time, *changed);
            }
            What::Found(mut what) => {
                self.enter_repairs();
                let further = what.len().saturating_sub(TOLD) as u64;
                what.truncate(TOLD);
                let change = Happening::Repair { what, further, by: None, left: false };
                self.line(time, &Origin::Found, &change, &Delta::default());
            }
            What::Tampered { what, by, left } => self.repair(time, what, by.as_ref(), left),
        }
    }

    fn change(&mut self, time: i64, changed: Changed) {
        let Changed { change, mut origin, created } = changed;
        let (id, endpoint) = match &change {
            Change::Admit(id, endpoint) => (id, Some(endpoint)),
            Change::Dismiss(id) => (id, None),
        };
        let name = endpoint.map(|endpoint| &endpoint.name);
        let name = name.or_else(|| Some(&self.reach.endpoint(id)?.name)).cloned();
        let delta = self.reach.apply(&change);
        self.endpoints.insert(id.to_string(), endpoint.map(json));
        // Dismissed without having been there, or named anew as before.
        let Some(name) = name.filter(|_| !delta.is_empty()) else { return };
        let container = id.clone();
        let happening = match endpoint {
            None => Happening::Dismiss { container, name },
            Some(_) => {
                let mut created = created.filter(|_| !delta.joined.is_empty());
                created.as_mut().and_then(|created| created.origin.peer_mut()).map(name_users);
                Happening::Admit { container, name, created }
            }
        };
        origin.peer_mut().map(name_users);
        self.enter(time, &origin, &happening, &delta);
    }

    /// The first at once, others of the next seconds together.
    fn repair(&mut self, time: i64, what: Vec<String>, by: Option<&Process>, left: bool) {
        if self.repairs.as_ref().is_some_and(|repairs| repairs.left != left) {
            self.enter_repairs();
        }
        let fresh = || Repairs { time, what: BTreeSet::new(), further: 0, by: by.cloned(), left };
        let repairs = self.repairs.get_or_insert_with(fresh);
        repairs.time = time;
        if repairs.by.as_ref() != by {
            // By several: nobody is named rather than one of them.
            repairs.by = None;
        }
        for one in what {
            if repairs.what.len() < TOLD {
                repairs.what.insert(one);
            } else {
                repairs.further += u64::from(!repairs.what.contains(&one));
            }
        }
        if self.repaired.is_none_or(|last| time.saturating_sub(last) >= REPAIRS) {
            self.enter_repairs();
        }
    }

    fn enter_repairs(&mut self) {
        if let Some(Repairs { time, what, further, by, left }) = self.repairs.take() {
            self.repaired = Some(time);
            let change = Happening::Repair { what: what.into_iter().collect(), further, by, left };
            self.line(time, &Origin::Guard, &change, &Delta::default());
        }
    }

    /// An entry, if anything is opened or closed.
    fn enter(&mut self, time: i64, origin: &Origin, change: &Happening, delta: &Delta) {
        if !delta.is_empty() {
            self.line(time, origin, change, delta);
        }
    }

    fn line(&mut self, time: i64, origin: &Origin, change: &Happening, delta: &Delta) {
        if self.lines.len() < WAITING {
            self.lines.push(Line { time, origin: json(origin), change: json(change), delta: json(delta) });
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.lines.is_empty() && self.endpoints.is_empty() && self.options.is_none() {
            return Ok(());
        }
        self.append()?;
        let last = self.head.get().as_ref().map_or(0, |head| head.entry);
        // A tenth more than are kept, so that not each change takes one out.
        let entries = (last + 1).saturating_sub(self.first);
        if entries > self.kept.saturating_add(self.kept / 10) { self.prune(last) } else { Ok(()) }
    }

    fn append(&mut self) -> Result<(), StoreError> {
        let before = self.head.get().clone();
        let options = self.options.as_deref();
        let head = self.store.append_history(before.as_ref(), &self.lines, options, &self.endpoints)?;
        *self.head.get() = head;
        self.lines.clear();
        self.endpoints.clear();
        self.options = None;
        Ok(())
    }

    /// The entry that tells of it first: who dies in between has told of what is still there.
    fn prune(&mut self, last: u64) -> Result<(), StoreError> {
        let through = last.saturating_sub(self.kept - 1);
        let Some(hash) = self.store.history_hash(through)? else { return Ok(()) };
        self.line(now(), &Origin::Daemon, &Happening::Prune { through, hash }, &Delta::default());
        self.append()?;
        self.store.prune_history(through)?;
        self.first = through + 1;
        Ok(())
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps have strings as keys")
}

/// What another version wrote and this one cannot read is as if it were not there: then it is entered anew.
fn read<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Option<T> {
    serde_json::from_str(text).map_err(|error| tracing::warn!(%error, "the history's {what} cannot be read")).ok()
}

/// The options that decide who can talk to whom, as one types them.
fn in_words(options: &NetworkOptions) -> Vec<String> {
    let NetworkOptions { bridge, bip, icc, host_access, ip_forward, ip_masq, .. } = options;
    vec![
        format!("--bridge={bridge}"),
        format!("--bip={bip}"),
        format!("--icc={icc}"),
        format!("--host-access={host_access}"),
        format!("--ip-forward={ip_forward}"),
        format!("--ip-masq={ip_masq}"),
    ]
}

/// What the peer's users are called here.
fn name_users(peer: &mut Peer) {
    let Ok(passwd) = std::fs::read_to_string(PASSWD) else { return };
    peer.user = user(&passwd, peer.uid);
    peer.login_user = peer.login.and_then(|login| user(&passwd, login));
}

/// The name that goes with a user's number (passwd(5)).
fn user(passwd: &str, uid: u32) -> Option<String> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}
