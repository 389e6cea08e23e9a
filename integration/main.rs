//! What pontoon does on a real kernel, through the real docker CLI and its own: a file a capability.
//!
//! Run as root. Each test has a machine of its own (see [`harness`]), so they run in parallel.

#![expect(clippy::disallowed_methods, reason = "tests type commands, as people do")]
#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped has failed the test")]

#[allow(unreachable_pub, reason = "a module that wants to be read, not a crate")]
mod harness;

mod archetypes;
mod attacks;
mod audit;
mod audit_differential;
mod audit_drift;
mod audit_expectations;
mod audit_history;
mod audit_hits;
mod audit_log;
mod audit_matrix;
mod audit_probe;
mod audit_report;
mod audit_truth;
mod bad_input;
mod bridge_options;
mod daemon;
mod exec;
mod failures;
mod firewall;
mod firewall_doc;
mod images;
mod lifecycle;
mod limits_and_security;
mod links;
mod logs;
mod metrics;
mod names;
mod networks;
mod ps_inspect;
mod publish;
mod publish_ports;
mod publish_ranges;
mod repair;
mod run_cli;
mod runtimes;
mod stage;
mod survival;
mod together;
