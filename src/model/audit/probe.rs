//! What real packets did.

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::matrix::{Cell, Verdict};

/// One kind of packet that was sent, to one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The flow, where it is one of the matrix's, with its verdicts; `None` for frames that no flow has (a spoofed ARP).
    pub cell: Option<Cell>,
    /// What was sent, in words: `TCP SYN to 172.17.0.2:5432`, `ARP reply in the name of 172.17.0.1`.
    pub what: String,
    /// How many packets.
    pub packets: u32,
    /// What should come of it.
    pub expected: Verdict,
    /// What came of it.
    pub found: Verdict,
    /// How that was seen, in words: `the peer's SYN-ACK`, `nothing arrived at eth0 within 300 ms`.
    pub seen: String,
}

impl Sent {
    /// Whether it was as expected, and the rules in the kernel say the same. Unknown disagrees with nothing.
    pub fn agrees(&self) -> bool {
        let as_expected =
            self.expected == self.found || self.expected == Verdict::Unknown || self.found == Verdict::Unknown;
        as_expected && self.cell.as_ref().is_none_or(Cell::agrees)
    }
}

/// What real packets did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Of the JSON.
    pub version: u32,
    /// When it began: RFC 3339, UTC.
    pub began: String,
    /// Each kind of packet.
    pub sent: Vec<Sent>,
    /// What went otherwise than expected: of the kind `probe-disagrees`.
    pub findings: Vec<Finding>,
    /// What was not tried, and why: ports where a program would notice more than a connection attempt.
    pub untried: Vec<String>,
}
