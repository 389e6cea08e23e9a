//! `audit assert`: expectations of who may talk to whom, held against intent, kernel and (where some were sent) packets.
//!
//! ```toml
//! default = "deny"                 # what no line allows may not pass, between containers and from LAN and outside
//!
//! [[allow]]
//! from = "web"                     # a name (web-* is several), label:tier=front, label:tier, host, lan, outside, *
//! to = ["db", "label:tier=back"]
//! ports = ["5432/tcp", "8000-8010/tcp", "icmp"]
//! because = "the shop reads its orders"
//!
//! [[deny]]
//! from = "*"
//! to = "vault"
//! ```
//!
//! `allow` means: it does pass, on each of the ports (without `ports`: on each that matters at the target). `deny` means: it
//! does not pass, by any way (without `ports`: on none that matters, echo included). Both are asked of intent *and* kernel;
//! where they differ, that is drift, and neither kept nor violated. `default = "deny"` adds: what passes between containers,
//! or from LAN and outside to a container, is named by some `allow`. Echo requests (`icmp`) are left out of the default
//! unless the file says `default-icmp = true`.

mod check;
mod file;

pub use check::{Evaluate, check};
pub use file::{Expectations, FileError};
