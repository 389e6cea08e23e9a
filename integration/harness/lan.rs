//! Clients of containers: the neighbour on the LAN, or the host itself.

use std::process::Command;

use super::Outcome;
use super::host::Host;
use super::namespaces::Place;
use super::wait::eventually;

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
