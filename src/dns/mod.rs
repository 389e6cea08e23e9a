//! Names: what a container finds in `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`. Pure functions of text.
//!
//! Whatever does not belong into a file's grammar does not get into it: names and options that could start a line of
//! their own are left out, even if a caller should have failed to refuse them.

mod hosts;
mod resolv;

pub use hosts::{HostsFile, relink};
pub use resolv::{ResolvOptions, host_resolv_conf, resolv_conf};
