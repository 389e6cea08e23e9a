//! Waiting for conditions, never for times.

use std::time::{Duration, Instant};

/// No condition in these tests needs longer, on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Tries until `attempt` answers `Ok`; panics with its last error at the deadline.
#[track_caller]
pub fn eventually<T, E: std::fmt::Display>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(error) => assert!(begin.elapsed() < DEADLINE, "still not so after {DEADLINE:?}: {what}: {error}"),
        }
        pause();
    }
}

/// Tries until `condition` holds; panics at the deadline.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || if condition() { Ok(()) } else { Err("no") });
}

#[expect(clippy::disallowed_methods, reason = "between two looks: the deadline decides, not this time")]
/// The interval of a poll.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
