//! The firewall: intent → ruleset (pure), applied as one nft transaction.
//!
//! The number of *rules* is constant; containers and published ports are *elements* of sets and maps, so that a start
//! costs the same with one container or with a thousand. Tables are named after the bridge, so that several daemons
//! live side by side; no table of anybody else is ever touched.

use crate::model::{ContainerId, Endpoint, Intent};

/// What went wrong with the firewall.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// nft refused, or could not be run.
    #[error("cannot {step}: {source}")]
    Nft {
        /// What was attempted.
        step: &'static str,
        /// nft's answer.
        #[source]
        source: nftables::helper::NftablesError,
    },
}

/// One change between two intents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The endpoint's elements come into force.
    Admit(ContainerId, Endpoint),
    /// They go.
    Dismiss(ContainerId, Endpoint),
}

/// The daemon's tables. Clones share one committer.
#[derive(Clone)]
pub struct Firewall {}

impl Firewall {
    /// Starts the committer; touches nothing yet.
    pub fn new(intent: &Intent) -> Self {
        let _ = intent;
        todo!()
    }

    /// Makes the kernel hold the intent's ruleset: replaces the daemon's own tables in one transaction.
    pub async fn reconcile(&self, intent: &Intent) -> Result<(), FirewallError> {
        let _ = intent;
        todo!()
    }

    /// Applies a change and answers when the kernel holds it. Changes that arrive while a transaction is under way
    /// share the next one; if that fails, each is tried alone, so that one bad change fails only its own caller.
    pub async fn apply(&self, change: Change) -> Result<(), FirewallError> {
        let _ = change;
        todo!()
    }
}
