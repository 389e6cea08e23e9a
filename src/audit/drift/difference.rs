//! How a difference is written down.

use crate::model::audit::{Difference, Subject};

/// One that `--repair` puts right.
pub(super) fn ours(subject: Subject, kind: &str, what: String) -> Difference {
    Difference {
        subject,
        kind: kind.to_owned(),
        what,
        containers: Vec::new(),
        since: None,
        by: None,
        repaired: false,
        remedy: None,
    }
}

/// One that is others' to put right, and how.
pub(super) fn theirs(subject: Subject, kind: &str, what: String, remedy: impl Into<String>) -> Difference {
    Difference { remedy: Some(remedy.into()), ..ours(subject, kind, what) }
}

/// The same, of a container.
pub(super) fn of(name: &str, difference: Difference) -> Difference {
    Difference { containers: vec![name.to_owned()], ..difference }
}

/// A hardware address in words.
pub(super) fn mac_words(mac: [u8; 6]) -> String {
    crate::model::MacAddr(mac).to_string()
}
