//! What an operator should know.

use serde::{Deserialize, Serialize};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something passes that should not, or the audit cannot vouch for it.
    High,
    /// Something does not pass that should, or a hole is wider than its purpose.
    Medium,
    /// Good to know.
    Low,
}

/// One thing that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind, for programs: `passes-though-denied`, `publish-wider-than-link`. Kebab case, never renamed.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence: what is so.
    pub what: String,
    /// One sentence: what to do about it. Empty where nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Names of parties that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<String>,
}
