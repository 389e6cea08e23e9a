//! Knowing when a client has gone.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How often a client that closed only its own direction is looked at.
const HALF_CLOSED_POLL: Duration = Duration::from_millis(500);

/// Returns when the other end is closed altogether. A peer that closed only its writing direction (and still reads) has
/// not hung up; the kernel has no edge for its final close, hence the poll.
pub(super) async fn hung_up(peer: &UnixStream) {
    // Of the two bits of this interest only "read closed" can come: nothing on a unix socket is urgent.
    if peer.ready(Interest::PRIORITY).await.is_err() {
        return;
    }
    while !is_hung_up(peer) {
        tokio::time::sleep(HALF_CLOSED_POLL).await;
    }
}

fn is_hung_up(peer: &UnixStream) -> bool {
    let mut fds = [PollFd::new(peer, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_err() || fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn half_closed_is_not_gone() {
        let (mut ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.shutdown().await.expect("shutdown");
        assert!(tokio::time::timeout(Duration::from_millis(20), hung_up(&theirs)).await.is_err());
        drop(ours);
        tokio::time::timeout(Duration::from_secs(10), hung_up(&theirs)).await.expect("gone");
    }

    #[tokio::test]
    async fn closed_is_gone_at_once() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        drop(ours);
        tokio::time::timeout(Duration::from_millis(400), hung_up(&theirs)).await.expect("gone");
    }
}
