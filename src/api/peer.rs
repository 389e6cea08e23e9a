//! Who a client is, and knowing when it has gone.

use std::io;
use std::time::Duration;

use hyper::Request;
use hyper::header::USER_AGENT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::model::audit::{Origin, Peer, Requester};

/// Bytes of a request's line that are kept.
const REQUEST: usize = 512;
/// Bytes of what a client says of itself that are kept.
const AGENT: usize = 128;
/// Of /proc/PID/loginuid: nobody logged in.
const NOBODY: u32 = u32::MAX;

/// How often a client that closed only its own direction is looked at.
const HALF_CLOSED_POLL: Duration = Duration::from_millis(500);

/// Who has connected: what the kernel noted then, and what can be seen of the process now. It may have ended since, and
/// another have got its number; its user and its number are sure.
pub(super) fn identity(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", pid?)).ok();
    let login = read("loginuid").and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != NOBODY);
    let process = read("comm").map(|name| name.trim_end_matches('\n').to_owned());
    Ok(Peer { uid: credentials.uid(), gid: credentials.gid(), pid, user: None, process, login, login_user: None })
}

/// Whose doing it is what a request does.
pub(super) fn origin<B>(peer: &Peer, request: &Request<B>) -> Origin {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Origin::Request(Requester {
        request: clipped(&format!("{} {path}", request.method()), REQUEST),
        agent: agent.map(|agent| clipped(agent, AGENT)),
        peer: peer.clone(),
    })
}

/// As much of a text as fits.
fn clipped(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

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
    async fn who_asks_and_for_what() {
        let (ours, _theirs) = UnixStream::pair().expect("socket pair");
        let peer = identity(&ours).expect("credentials");
        assert_eq!((peer.uid, peer.pid), (nix::unistd::geteuid().as_raw(), Some(std::process::id())));
        assert!(peer.process.as_ref().is_some_and(|name| !name.is_empty() && !name.contains('\n')), "{peer:?}");
        let long = format!("/v1.50/containers/create?name={}", "x".repeat(1000));
        let request = Request::post(&long).header(USER_AGENT, "curl/8").body(()).expect("a request");
        let Origin::Request(asked) = origin(&peer, &request) else { panic!("a request") };
        assert!(asked.request.starts_with("POST /v1.50/containers/create?name=xx") && asked.request.len() == REQUEST);
        assert_eq!((asked.agent.as_deref(), asked.peer), (Some("curl/8"), peer));
    }

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
