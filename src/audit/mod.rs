//! The audit: who can talk to whom, on which port, and why.
//!
//! Three verdicts stand beside each other for each flow: what the intent says should be, what the ruleset in the kernel
//! does ([`crate::firewall::audit`], evaluated), and what a real packet did. Where they disagree, there is a finding.
//!
//! A file a question; each asks the engine and the kernel once, and the rest is pure. The answers' types are
//! [`crate::model::audit`].

pub mod drift;
