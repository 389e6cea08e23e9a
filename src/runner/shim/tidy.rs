//! When a shim gives back memory: creating a container, an answer to a client and much output leave pages behind that
//! waiting does not need.

use std::time::{Duration, Instant};

/// So long after the first reason: a container that ends before does not pay for tidiness.
const SOON: Duration = Duration::from_millis(100);
/// A busy one pays once in so long at most.
const PAUSE: Duration = Duration::from_secs(1);
/// So many bytes carried are a reason.
const MUCH: usize = 4 << 20;

/// The next time to give back memory, if there is a reason.
#[derive(Debug, Default)]
pub(super) struct Tidy {
    due: Option<Instant>,
    last: Option<Instant>,
    carried: usize,
}

impl Tidy {
    /// Something was done that leaves memory behind.
    pub(super) fn grown(&mut self, now: Instant) {
        let again = self.last.map(|last| last + PAUSE);
        self.due.get_or_insert(again.map_or(now + SOON, |again| again.max(now + SOON)));
    }

    /// So many bytes went through.
    pub(super) fn carried(&mut self, bytes: usize, now: Instant) {
        self.carried = self.carried.saturating_add(bytes);
        if self.carried >= MUCH {
            self.grown(now);
        }
    }

    /// How long there is to wait; `None`: there is no reason.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether it is time, which it is once for all reasons so far. However busy the shim is: much of what it needs again
    /// is mapped in no time, and what it does not need would stay.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| now >= due);
        if due {
            *self = Self { last: Some(now), ..Self::default() };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_that_is_never_quiet_gives_back_too_but_not_at_every_turn() {
        let start = Instant::now();
        let mut tidy = Tidy::default();
        tidy.grown(start);
        let mut times = 0;
        // 10 s of 32 KiB each millisecond.
        for step in 0..10_000 {
            let now = start + Duration::from_millis(step);
            tidy.carried(32 << 10, now);
            times += usize::from(tidy.is_due(now));
        }
        assert!((5..=10).contains(&times), "{times}");
    }

    #[test]
    fn without_a_reason_there_is_nothing_to_wait_for() {
        let start = Instant::now();
        let mut tidy = Tidy::default();
        tidy.carried(1000, start);
        assert_eq!(tidy.due_in(start), None);
        assert!(!tidy.is_due(start + PAUSE));
        tidy.grown(start);
        assert_eq!(tidy.due_in(start), Some(SOON));
        tidy.grown(start + SOON / 2);
        let first = start + SOON;
        assert!(tidy.is_due(first), "a later reason does not put it off");
        assert_eq!(tidy.due_in(first), None);
        tidy.grown(first);
        assert_eq!(tidy.due_in(first), Some(PAUSE), "but not so soon again");
    }
}
