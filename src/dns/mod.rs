//! Names: who a container is, and whom it knows.
//!
//! Two ways lead there, and both are functions of the same endpoints: the files `/etc/hosts`, `/etc/hostname` and
//! `/etc/resolv.conf`, and a server that bridged containers find on port 53 of their gateway. It answers their own names
//! and those that they were given, each by its own view, and hands on all other questions.
//!
//! - `hosts`, `resolv`: the files' text. Whatever does not belong into a file's grammar does not get into it: names and
//!   options that could start a line of their own are left out, even if a caller should have failed to refuse them.
//! - `zones`: what a container may know (pure)
//! - `server`: who asks, and how much at once; `sockets`, `datagrams`: where; `answer`: what is said, and as which bytes
//! - `forward`: questions about others; `upstream`: one question to one server; `host_servers`: which servers those are;
//!   `cache`: what they have said
//!
//! ```text
//! container ── :53 ──► firewall ──► gateway:port ── server ─► answer ─► zones
//!                                                     └─► forward ─► cache, upstream ──► --dns, or the host's servers
//! ```

mod answer;
mod cache;
mod counters;
mod datagrams;
mod forward;
mod host_servers;
mod hosts;
mod question;
mod resolv;
mod server;
mod sockets;
mod upstream;
mod zones;

pub use counters::{Counter, Counters};
pub use hosts::{HostsFile, relink};
pub use resolv::{Asks, ResolvOptions, host_resolv_conf, resolv_conf};
pub use server::NameServer;
pub use sockets::{ListenError, Sockets};
