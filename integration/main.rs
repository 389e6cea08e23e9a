//! What pontoon does on a real kernel, through the real docker CLI and its own: a file a capability.
//!
//! Run as root. Each test has a machine of its own (see [`harness`]), so they run in parallel.

#![expect(clippy::disallowed_methods, reason = "tests type commands, as people do")]

mod harness;

mod archetypes;
