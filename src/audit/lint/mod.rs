//! `audit lint`: holes that are wider than their purpose. Pure.
//!
//! What stands here is not wrong: each hole was asked for. But nobody seems to need it as wide as it is, or it opens
//! something else than meant. Each rule is a function from the [`Ground`] to findings; their kinds are in docs/audit.md.

mod ground;
mod rules;

pub use ground::{Ground, Hole, Inhabitant, Opens, Usage};

use crate::model::audit::Finding;

/// All findings, the worst first, then by kind and party.
pub fn findings(ground: &Ground<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = rules::ALL.iter().flat_map(|rule| rule(ground)).collect();
    found.sort_by(|a, b| (a.severity, &a.kind, &a.parties, &a.what).cmp(&(b.severity, &b.kind, &b.parties, &b.what)));
    found
}

#[cfg(test)]
mod tests;
