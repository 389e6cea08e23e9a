//! Holes that are wider than their purpose.

use serde::{Deserialize, Serialize};

use super::finding::Finding;

/// What `lint` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linted {
    /// Of the JSON.
    pub version: u32,
    /// When the kernel was read: RFC 3339, UTC.
    pub taken: String,
    /// The worst first.
    pub findings: Vec<Finding>,
}
