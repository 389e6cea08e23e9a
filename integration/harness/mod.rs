//! The stage of the integration tests: hosts that are machines of their own.
//!
//! ```ignore
//! let host = Host::new();
//! let web = host.run("busybox").name("web").publish("8080:80").serving().start();
//! assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
//! ```
//!
//! A [`Host`] is a network, a mount and a pid namespace: nothing of the real machine's network is touched, tests run in
//! parallel, and whatever a test does ends with it. When a host goes, it removes its containers and *checks* that they
//! left nothing: no namespace, link, mount, cgroup, process, lease, port or firewall element.

pub mod bpf;
mod browser;
mod command;
mod container;
mod daemon;
mod host;
pub mod image;
mod lan;
mod namespaces;
pub mod packets;
mod talk;
mod terminal;
mod traces;
mod wait;
mod witness;

use std::io::Write as _;

pub use browser::{Browser, Key};
pub use command::Outcome;
pub use container::Container;
pub use daemon::{Cli, pontoon_binary};
pub use host::Host;
pub use lan::Background;
pub use talk::Answers;
pub use wait::{eventually, until};
pub use witness::Noticed;

/// Says what cannot be tried on this machine, and why: past the capture of what tests print, for `scripts/test` to tell.
pub fn not_run(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nnot run: {what}");
}
