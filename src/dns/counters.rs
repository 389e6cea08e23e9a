//! What the server has done, for whoever wants to show it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sums since the daemon's start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that came, of any kind.
    pub queries: Counter,
    /// Answered from the containers' own names.
    pub local: Counter,
    /// Handed on to an upstream server.
    pub forwarded: Counter,
    /// Answered from what an upstream server had said before.
    pub cached: Counter,
    /// Of somebody who is no container of ours, or about what is not served.
    pub refused: Counter,
    /// Not understood.
    pub malformed: Counter,
    /// Dropped, for their asker has too many under way.
    pub dropped: Counter,
    /// Upstream servers that did not answer in time, or could not be reached.
    pub timeouts: Counter,
    /// Answered with SERVFAIL, for no upstream server had an answer.
    pub failed: Counter,
}

/// One sum.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
