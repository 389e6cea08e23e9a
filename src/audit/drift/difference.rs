//! How a difference is written down.

use std::collections::HashMap;

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

/// What is said several times in the same words is said once, and how often it is so.
pub(super) fn gathered(differences: Vec<Difference>) -> Vec<Difference> {
    let mut gathered: Vec<(Difference, usize)> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for difference in differences {
        let place = places.entry((difference.kind.clone(), difference.what.clone())).or_insert(gathered.len());
        match gathered.get_mut(*place) {
            Some((_, count)) => *count += 1,
            None => gathered.push((difference, 1)),
        }
    }
    let told = |(difference, count): (Difference, usize)| match count {
        1 => difference,
        count => Difference { what: format!("{} ({count} times)", difference.what), ..difference },
    };
    gathered.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_often_is_said_once() {
        let flow = |to: &str| ours(Subject::Flow, "flow-unadmitted", format!("a flow to {to}"));
        let all: Vec<Difference> = ["db", "web", "db", "db"].map(flow).into();
        let words: Vec<String> = gathered(all).into_iter().map(|it| it.what).collect();
        assert_eq!(words, ["a flow to db (3 times)", "a flow to web"]);
    }
}
