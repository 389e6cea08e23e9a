//! Clients of containers: the neighbour on the LAN, or the host itself.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Outcome;
use super::host::Host;
use super::namespaces::Place;
use super::wait::{eventually, until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Somebody who sends packets from `place`.
#[derive(Clone, Copy)]
pub struct Lan<'h> {
    host: &'h Host,
    place: Place,
}

impl<'h> Lan<'h> {
    pub(super) fn new(host: &'h Host, place: Place) -> Self {
        Self { host, place }
    }

    /// Its network namespace, as this machine sees it.
    pub fn netns(&self) -> std::path::PathBuf {
        self.host.namespaces.netns(self.place)
    }

    /// A shell command there.
    pub fn sh(&self, script: &str) -> Outcome {
        Outcome::of(self.command("bash").args(["-c", script]), b"")
    }

    /// Fetches a page, trying until the server is up; its body without the last line's end.
    #[track_caller]
    pub fn get(&self, url: &str) -> String {
        eventually(&format!("GET {url}"), || {
            let outcome = self.fetch(url);
            if outcome.code == 0 { Ok(outcome.ok()) } else { Err(outcome) }
        })
    }

    /// Panics if a page can be fetched. Without a positive control beside it this proves nothing.
    #[track_caller]
    pub fn cannot_get(&self, url: &str) {
        let outcome = self.fetch(url);
        assert!(outcome.code != 0, "should not be reachable: {outcome}");
    }

    /// Whether a host answers to a ping.
    pub fn pings(&self, address: &str) -> bool {
        // busybox's ping is everywhere where these tests run.
        self.sh(&format!("busybox ping -c 1 -W 1 {address}")).code == 0
    }

    /// A program that stays, with whatever it starts, until the answer is dropped.
    pub fn background(&self, words: &[&str]) -> Background<'h> {
        let note = format!("/run/background-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // It ends when it is dropped; on a busy machine that may be later than any command's end.
        let mut command = self.host.namespaces.command(self.place, 600, "setsid");
        let child = command
            .args(["bash", "-c", "echo $$ >$0.new && mv $0.new $0 && exec \"$@\"", &note])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nsenter (util-linux) runs");
        let path = self.host.path(&note);
        until("the program has started", || path.exists());
        let pid = std::fs::read_to_string(path).expect("it was written").trim().to_owned();
        Background { host: self.host, pid, child }
    }

    fn fetch(&self, url: &str) -> Outcome {
        Outcome::of(
            self.command("curl").args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "2", url]),
            b"",
        )
    }

    fn command(&self, program: &str) -> Command {
        self.host.namespaces.command(self.place, 30, program)
    }
}

/// A program that runs beside the test.
pub struct Background<'h> {
    host: &'h Host,
    pid: String,
    child: Child,
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.host.sh(&format!("kill -9 -- -{}", self.pid));
            let _ = self.child.wait();
        }
    }
}
