//! The only `unsafe` in the house: thin, safe wrappers over what no crate offers safely.
//!
//! Each block says why it is sound. Nothing here decides anything.

pub mod bpf;
pub mod memory;
pub mod pidfd;
pub mod process;
pub mod seccomp;
pub mod socket;
