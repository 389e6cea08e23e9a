//! How long things took: counted in buckets, as Prometheus' histograms are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds; a last one has all that took longer.
pub const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations since the daemon's start.
#[derive(Debug, Default)]
pub struct Durations {
    /// Of each bucket by itself, and of what is beyond the last bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// Durations at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// How many took no longer than each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    /// All of them.
    pub count: u64,
    /// Seconds that they took together.
    pub sum: f64,
}

impl Durations {
    /// One more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// As they are now. The count is that of the buckets, whatever comes meanwhile.
    pub fn now(&self) -> Distribution {
        let mut distribution = Distribution::default();
        for (bucket, number) in self.buckets.iter().enumerate() {
            distribution.count += number.load(Ordering::Relaxed);
            if let Some(within) = distribution.within.get_mut(bucket) {
                *within = distribution.count;
            }
        }
        distribution.sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        distribution
    }
}

/// How long something took that may fail.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Those that came to a good end.
    pub succeeded: Durations,
    /// Those that did not.
    pub failed: Durations,
}

impl Outcomes {
    /// One more.
    pub fn observe(&self, succeeded: bool, took: Duration) {
        let durations = if succeeded { &self.succeeded } else { &self.failed };
        durations.observe(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_took_no_longer() {
        let durations = Durations::default();
        for milliseconds in [0, 1, 5, 6, 70_000] {
            durations.observe(Duration::from_millis(milliseconds));
        }
        let now = durations.now();
        assert_eq!(now.within[..4], [2, 2, 3, 4]);
        assert_eq!((now.within[12], now.count), (4, 5));
        assert!((now.sum - 70.012).abs() < 1e-9);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted());
    }
}
