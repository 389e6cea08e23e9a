//! Which transactions are ours. The kernel tells every listener of each new generation of its rules, with the process
//! that wrote it; this is how ours are told from anybody else's, and how we know that one is in force before its nft ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// More than this many unseen means that nobody watches.
const MOST: usize = 1024;

/// The nft processes, by their ids as this process sees them, whose generation has not been seen yet, and who wants to
/// know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers(Arc<Mutex<BTreeMap<u32, oneshot::Sender<()>>>>);

impl Writers {
    /// Called before nft hears what to write, so that its generation cannot be seen before. What is returned is told when
    /// it is seen, and never if nobody watches.
    pub(super) fn began(&self, pid: u32) -> oneshot::Receiver<()> {
        let mut unseen = self.unseen();
        if unseen.len() >= MOST {
            unseen.clear();
        }
        let (tell, seen) = oneshot::channel();
        unseen.insert(pid, tell);
        seen
    }

    /// It wrote nothing: no generation will come, and its id may become another's.
    pub(super) fn failed(&self, pid: u32) {
        self.unseen().remove(&pid);
    }

    /// Whether a generation by this process is one of ours, each of which is seen once.
    pub(super) fn seen(&self, pid: u32) -> bool {
        // Nobody may want to know any more.
        self.unseen().remove(&pid).map(|tell| tell.send(())).is_some()
    }

    fn unseen(&self) -> MutexGuard<'_, BTreeMap<u32, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_is_ours_once() {
        let writers = Writers::default();
        let (mut seventh, mut eighth) = (writers.began(7), writers.began(8));
        writers.failed(8);
        assert!(seventh.try_recv().is_err());
        assert!(writers.clone().seen(7), "clones share what they know");
        assert!(!writers.seen(7));
        assert!(!writers.seen(8));
        assert!(seventh.try_recv().is_ok(), "who waits for it hears of it");
        assert!(eighth.try_recv().is_err());
    }

    #[test]
    fn what_nobody_sees_does_not_pile_up() {
        let writers = Writers::default();
        (0..10_000).for_each(|pid| drop(writers.began(pid)));
        assert!(writers.unseen().len() <= MOST);
    }
}
