//! What came of expectations.

use serde::{Deserialize, Serialize};

/// How an expectation fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All that was looked at is as expected.
    Ok,
    /// Something is not as expected.
    Violated,
    /// It cannot be said: a party does not exist, or the kernel's verdict is unknown.
    Unknown,
    /// Intent, kernel and packets disagree about it.
    Drift,
}

impl Outcome {
    /// The exit code of a check that ended so.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Violated => 1,
            Self::Unknown => 2,
            Self::Drift => 3,
        }
    }
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// In words: `web may reach db on 5432/tcp`.
    pub what: String,
    /// Why somebody expects it, in their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// How it fares.
    pub outcome: Outcome,
    /// Each flow that is not as expected, or of which it cannot be said, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<String>,
    /// How many flows were looked at.
    pub looked_at: usize,
}

/// A file of expectations, held against what is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Of the JSON.
    pub version: u32,
    /// When the kernel was read: RFC 3339, UTC.
    pub taken: String,
    /// Each expectation, in the file's order; the default last.
    pub expectations: Vec<Expectation>,
}

impl Checked {
    /// The worst: what is violated, then what disagrees, then what is unknown.
    pub fn outcome(&self) -> Outcome {
        let has = |outcome| self.expectations.iter().any(|expectation| expectation.outcome == outcome);
        [Outcome::Violated, Outcome::Drift, Outcome::Unknown].into_iter().find(|it| has(*it)).unwrap_or(Outcome::Ok)
    }
}
