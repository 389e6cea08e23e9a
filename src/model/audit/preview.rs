//! What a run would change.

use serde::{Deserialize, Serialize};

use super::edge::Delta;

/// What a run would change of who can talk to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Of the JSON.
    pub version: u32,
    /// What the container would be called.
    pub name: String,
    /// Its archetype as docker writes it: `bridge`, `none`, `host`, `container:web`.
    pub mode: String,
    /// What it would open.
    pub delta: Delta,
    /// What besides: whose place it would share.
    pub notes: Vec<String>,
    /// What `create` would warn of.
    pub warnings: Vec<String>,
}
