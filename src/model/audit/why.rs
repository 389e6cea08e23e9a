//! One cell in depth.

use serde::{Deserialize, Serialize};

use super::matrix::{Cell, Verdict};

/// Why a flow passes or does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Of the JSON.
    pub version: u32,
    /// Who.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The verdict of all ways together: allowed if one of them is.
    pub verdict: Verdict,
    /// A sentence that answers the question.
    pub answer: String,
    /// Each way, with its reasons.
    pub ways: Vec<WhyWay>,
}

/// One way of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyWay {
    /// The flow and its verdicts. `reason` and `decider` refer to nothing here: see the other fields.
    pub cell: Cell,
    /// Why the intent says what it says, in words.
    pub because: String,
    /// The link, publish or option behind it, as one would type it: `--link db:database`, `-p 8080:80`, `--icc=false`.
    pub option: Option<String>,
    /// Who asked for it and when.
    pub asked: Option<Asked>,
    /// What decides in the kernel.
    pub decider: Option<Decider>,
    /// What it depends on, where the kernel's verdict is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// The question that `audit explain` answers with the packet's whole way.
    pub packet: String,
}

/// Who asked for something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// RFC 3339, UTC.
    pub when: String,
    /// The request: `POST /containers/create?name=web`; or what else it was: `the daemon's start`.
    pub request: String,
    /// The peer of the API's socket, in words: `uid 1000 (alice), pid 4242 (docker)`.
    pub by: String,
    /// Its entry in the history.
    pub entry: Option<u64>,
}

/// What decides in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decider {
    /// `inet`, `ip`, `bridge`, …
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule's handle; `None`: the chain's policy.
    pub handle: Option<u64>,
    /// The rule's comment.
    pub comment: Option<String>,
    /// `accept`, `drop`, `reject`, …
    pub verdict: String,
    /// The rule as `nft -a list` prints it, where that could be read.
    pub rule: Option<String>,
    /// Packets that the rule's counter has counted, where it has one.
    pub packets: Option<u64>,
    /// The element that matched: set and key, as nft prints them.
    pub element: Option<String>,
    /// Connection attempts that found this element since it counts, whoever's they were (of a link and UDP: packets that
    /// nobody had answered yet); `None`: it does not count.
    pub hits: Option<u64>,
    /// It is of one of Pontoon's own tables.
    pub own: bool,
}
