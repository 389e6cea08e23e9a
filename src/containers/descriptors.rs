//! File descriptors, which are what the daemon runs out of first: published ports and clients hold one or two each, and
//! what puts the firewall right again needs some at any time.
//!
//! The kernel gives the lowest number that is free, so that a new descriptor's number tells how many are in use.

use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, getrlimit};

/// The daemon's own: a quarter, which is at least this many and at most [`MOST_KEPT`].
const LEAST_KEPT: u64 = 256;
const MOST_KEPT: u64 = 4096;

/// The first descriptor that is kept for the daemon's own work: published ports may not have it.
pub(super) fn first_kept() -> i64 {
    let most = limit();
    at(most.saturating_sub(kept(most)))
}

/// Whether another client may be let in: ports may have taken everything up to what is kept, and of this clients may use
/// half. `any` is a descriptor, to be copied for a moment.
pub fn room_for_clients(any: impl AsFd) -> bool {
    let most = limit();
    let first = at(most.saturating_sub(kept(most) / 2));
    rustix::io::fcntl_dupfd_cloexec(any, 0).is_ok_and(|copy| i64::from(copy.as_raw_fd()) < first)
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

fn kept(limit: u64) -> u64 {
    (limit / 4).clamp(LEAST_KEPT, MOST_KEPT)
}

fn at(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_within_bounds() {
        assert_eq!([100, 1024, 4096, 1 << 20].map(kept), [256, 256, 1024, 4096]);
        assert!(room_for_clients(std::io::stdin()));
    }
}
