//! Which transactions are ours. The kernel tells every listener of each new generation of its rules, with the process
//! that wrote it; this is how ours are told from anybody else's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// More than this many unseen means that nobody watches.
const MOST: usize = 1024;

/// The nft processes, by their ids as this process sees them, whose generation has not been seen yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers(Arc<Mutex<BTreeSet<u32>>>);

impl Writers {
    /// Called before nft hears what to write, so that its generation cannot be seen before.
    pub(super) fn began(&self, pid: u32) {
        let mut unseen = self.unseen();
        if unseen.len() >= MOST {
            unseen.clear();
        }
        unseen.insert(pid);
    }

    /// It wrote nothing: no generation will come, and its id may become another's.
    pub(super) fn failed(&self, pid: u32) {
        self.unseen().remove(&pid);
    }

    /// Whether a generation by this process is one of ours, each of which is seen once.
    pub(super) fn seen(&self, pid: u32) -> bool {
        self.unseen().remove(&pid)
    }

    fn unseen(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_is_ours_once() {
        let writers = Writers::default();
        writers.began(7);
        writers.began(8);
        writers.failed(8);
        assert!(writers.clone().seen(7), "clones share what they know");
        assert!(!writers.seen(7));
        assert!(!writers.seen(8));
    }

    #[test]
    fn what_nobody_sees_does_not_pile_up() {
        let writers = Writers::default();
        (0..10_000).for_each(|pid| writers.began(pid));
        assert!(writers.unseen().len() <= MOST);
    }
}
