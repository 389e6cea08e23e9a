//! What others changed in the network since the daemon began, and what was put right: bounded, in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::model::audit::{Difference, Subject};
use crate::model::{Place, Tampering};

/// Repairs that are remembered.
const MOST: usize = 512;
/// Notes that nobody has looked into yet.
const NOTES: usize = 64;

/// Things as they were when the daemon began to watch. What is not ours to say how it should be may stay as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Kernel parameters, by their paths below `/proc/sys`.
    pub parameters: BTreeMap<String, String>,
    /// The bridge's hardware address.
    pub bridge_mac: Option<[u8; 6]>,
    /// What could not be looked into, by name: tables of the legacy iptables.
    pub unmodelled: Vec<String>,
    /// Whether there was a default route.
    pub default_route: bool,
}

/// The record.
#[derive(Debug, Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
    beginning: OnceLock<Beginning>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Newest first.
    repaired: VecDeque<Difference>,
    counts: BTreeMap<Subject, u64>,
    found: BTreeMap<Subject, u64>,
    /// Heard since the last look.
    notes: VecDeque<Note>,
    seen: BTreeMap<(String, String), Seen>,
}

#[derive(Clone, Debug)]
struct Note {
    at: String,
    heard: Instant,
    place: Place,
    by: Option<String>,
    /// A difference was laid to it.
    used: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    subject: Subject,
    since: String,
    by: Option<String>,
}

impl Ledger {
    /// Writes down what was heard.
    pub fn note(&self, tampering: &Tampering) {
        let (at, by) = (super::engine::now(), tampering.process.as_ref().map(ToString::to_string));
        let mut inner = self.inner();
        if tampering.repaired {
            for what in &tampering.what {
                let (subject, kind) = (subject(tampering.place, what), "tampering".to_owned());
                *inner.found.entry(subject).or_default() += 1;
                let (what, since, by) = (what.clone(), Some(at.clone()), by.clone());
                let containers = Vec::new();
                inner.remember(Difference { subject, kind, what, containers, since, by, repaired: true, remedy: None });
            }
        } else {
            inner.notes.push_back(Note { at, heard: Instant::now(), place: tampering.place, by, used: false });
            if inner.notes.len() > NOTES {
                inner.notes.pop_front();
            }
            drop(inner);
            self.news.notify_one();
        }
    }

    /// Waits until something was changed and not put right.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Writes down what was put right by order.
    pub fn put_right(&self, difference: Difference) {
        self.inner().remember(Difference { repaired: true, ..difference });
    }

    /// Writes down what was found to differ, and is right again.
    pub fn found_and_put_right(&self, difference: Difference) {
        let mut inner = self.inner();
        *inner.found.entry(difference.subject).or_default() += 1;
        inner.remember(Difference { repaired: true, ..difference });
    }

    /// What was put right, newest first.
    pub fn repaired(&self) -> Vec<Difference> {
        self.inner().repaired.iter().cloned().collect()
    }

    /// How often something was put right, for each subject; those that are not remembered any more, too.
    pub fn counts(&self) -> BTreeMap<Subject, u64> {
        self.inner().counts.clone()
    }

    /// How often something was found to differ, for each subject: put right at once, or by whoever looked.
    pub fn found(&self) -> BTreeMap<Subject, u64> {
        self.inner().found.clone()
    }

    /// Says of each difference since when it has been seen and, where that is known, by whom it was made. Of `subjects`,
    /// what is not among them has gone. `began`: when the look was begun that found them.
    pub fn stamp(&self, differences: &mut [Difference], subjects: &BTreeSet<Subject>, began: Instant) {
        let now = super::engine::now();
        let mut inner = self.inner();
        let Inner { notes: heard, seen, found, .. } = &mut *inner;
        let mut notes: Vec<Note> = heard.drain(..).collect();
        let key = |difference: &Difference| (difference.kind.clone(), difference.what.clone());
        let present: BTreeSet<_> = differences.iter().map(key).collect();
        seen.retain(|key, seen| !subjects.contains(&seen.subject) || present.contains(key));
        for difference in differences {
            let fresh = || {
                *found.entry(difference.subject).or_default() += 1;
                first_seen(difference.subject, &mut notes, &now)
            };
            let seen = seen.entry(key(difference)).or_insert_with(fresh);
            difference.since = Some(seen.since.clone());
            difference.by.clone_from(&seen.by);
        }
        // What came while the look was under way may be what the next one sees.
        heard.extend(notes.into_iter().filter(|note| !note.used && note.heard >= began));
    }

    /// How things were when the daemon began to watch.
    pub fn beginning(&self) -> &Beginning {
        self.beginning.get_or_init(Beginning::default)
    }

    /// Writes it down, once.
    pub fn begin(&self, beginning: Beginning) {
        let _ = self.beginning.set(beginning);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, difference: Difference) {
        *self.counts.entry(difference.subject).or_default() += 1;
        self.repaired.push_front(difference);
        self.repaired.truncate(MOST);
    }
}

/// Of what was heard since the last look, what can have made a difference: the first such note says since when; by whom
/// is known if it can only have been one.
fn first_seen(subject: Subject, notes: &mut [Note], now: &str) -> Seen {
    notes.iter_mut().filter(|note| concerns(note.place, subject)).for_each(|note| note.used = true);
    let matching = || notes.iter().filter(|note| concerns(note.place, subject));
    let since = matching().next().map_or_else(|| now.to_owned(), |note| note.at.clone());
    let makers: BTreeSet<&Option<String>> = matching().map(|note| &note.by).collect();
    let by = if makers.len() == 1 { makers.into_iter().next().cloned().flatten() } else { None };
    Seen { subject, since, by }
}

fn concerns(place: Place, subject: Subject) -> bool {
    match subject {
        Subject::Rule | Subject::Element => place == Place::Rules,
        Subject::Foreign => place == Place::Foreign,
        Subject::Bridge | Subject::Port | Subject::Forwarding => place == Place::Wire,
        Subject::Sysctl => place == Place::Parameters,
        Subject::Namespace | Subject::Inside | Subject::Flow => false,
    }
}

/// What the words of a repair are about.
fn subject(place: Place, what: &str) -> Subject {
    match place {
        Place::Rules if what.contains("element") => Subject::Element,
        Place::Rules => Subject::Rule,
        Place::Foreign => Subject::Foreign,
        Place::Namespaces => Subject::Namespace,
        Place::Flows => Subject::Flow,
        Place::Parameters => Subject::Sysctl,
        Place::Wire if what.contains("forwarding") => Subject::Forwarding,
        Place::Wire if what.contains("port ") => Subject::Port,
        Place::Wire => Subject::Bridge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Process;

    fn tampering(place: Place, what: &[&str], pid: u32, repaired: bool) -> Tampering {
        let process = Some(Process { pid, name: "nft".to_owned() });
        Tampering { place, what: what.iter().map(|it| (*it).to_owned()).collect(), repaired, process }
    }

    fn difference(subject: Subject, what: &str) -> Difference {
        let (kind, what) = ("k".to_owned(), what.to_owned());
        Difference { subject, kind, what, containers: vec![], since: None, by: None, repaired: false, remedy: None }
    }

    #[test]
    fn repairs_are_remembered_newest_first_and_counted_for_ever() {
        let ledger = Ledger::default();
        ledger.note(&tampering(
            Place::Rules,
            &["deleted 1 element from linked of table t", "deleted table t"],
            7,
            true,
        ));
        for _ in 0..MOST + 5 {
            ledger.note(&tampering(Place::Wire, &["set port veth1 down"], 7, true));
        }
        let repaired = ledger.repaired();
        assert_eq!((repaired.len(), repaired[0].what.as_str()), (MOST, "set port veth1 down"));
        assert_eq!((repaired[0].by.as_deref(), repaired[0].repaired), (Some("nft (pid 7)"), true));
        let counts = ledger.counts();
        assert_eq!(counts[&Subject::Element], 1);
        assert_eq!(counts[&Subject::Rule], 1);
        assert_eq!(counts[&Subject::Port], MOST as u64 + 5);
    }

    #[test]
    fn a_difference_keeps_the_time_and_the_maker_that_it_was_first_seen_with() {
        let ledger = Ledger::default();
        let all: BTreeSet<Subject> = [Subject::Rule, Subject::Port].into();
        ledger.note(&tampering(Place::Rules, &["deleted a rule"], 7, false));
        let mut first = [difference(Subject::Rule, "a"), difference(Subject::Port, "b")];
        ledger.stamp(&mut first, &all, Instant::now());
        assert_eq!((first[0].by.as_deref(), first[1].by.as_deref()), (Some("nft (pid 7)"), None));
        // Another change of another's: the first keeps what it has.
        ledger.note(&tampering(Place::Rules, &["deleted a rule"], 8, false));
        let mut then = [difference(Subject::Rule, "a"), difference(Subject::Rule, "c")];
        ledger.stamp(&mut then, &all, Instant::now());
        assert_eq!((then[0].by.as_deref(), &then[0].since), (Some("nft (pid 7)"), &first[0].since));
        assert_eq!(then[1].by.as_deref(), Some("nft (pid 8)"));
        // It went, and came back; two may have done it.
        ledger.stamp(&mut [], &all, Instant::now());
        ledger.note(&tampering(Place::Rules, &[], 8, false));
        ledger.note(&tampering(Place::Rules, &[], 9, false));
        let mut again = [difference(Subject::Rule, "a")];
        ledger.stamp(&mut again, &all, Instant::now());
        assert_eq!(again[0].by, None);
        // A look that was begun before the change was heard of does not see it, and leaves the note to the next.
        let began = Instant::now();
        ledger.note(&tampering(Place::Wire, &[], 9, false));
        ledger.stamp(&mut again.clone(), &all, began);
        let mut late = [again[0].clone(), difference(Subject::Port, "d")];
        ledger.stamp(&mut late, &all, Instant::now());
        assert_eq!(late[1].by.as_deref(), Some("nft (pid 9)"));
        // What was not looked at is not forgotten.
        ledger.stamp(&mut [], &[Subject::Port].into(), Instant::now());
        let mut still = [difference(Subject::Rule, "a")];
        ledger.stamp(&mut still, &all, Instant::now());
        assert_eq!(still[0].since, again[0].since);
    }
}
