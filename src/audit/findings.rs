//! Where the verdicts disagree: flows of one kind and one decider together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::deciders::{Decides, Whose};
use super::reading::Reading;
use crate::model::audit::{Cell, Finding, Intended, Matrix, PartyKind, Severity, Verdict};

/// Flows that are named in one finding; of more, the number is said.
const MOST_NAMED: usize = 5;

/// Disagreements: by kind and decider, the places of their cells.
#[derive(Debug, Default)]
pub(super) struct Found {
    seen: usize,
    groups: BTreeMap<(Kind, Option<usize>), Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Passes,
    Blocked,
    Unknown,
}

impl Kind {
    fn of(cell: &Cell) -> Option<Self> {
        match (cell.intent, cell.kernel) {
            (Intended::Deny, Verdict::Allow) => Some(Self::Passes),
            (Intended::Allow, Verdict::Deny) => Some(Self::Blocked),
            (Intended::Allow | Intended::Deny, Verdict::Unknown) => Some(Self::Unknown),
            _ => None,
        }
    }
}

impl Found {
    /// Looks at the next cell, in order.
    pub(super) fn look(&mut self, cell: &Cell) {
        if let Some(kind) = Kind::of(cell) {
            self.groups.entry((kind, cell.decider)).or_default().push(self.seen);
        }
        self.seen += 1;
    }

    /// In words. `foreign` says of a decider whether it is somebody else's rule.
    pub(super) fn named(&self, matrix: &Matrix, foreign: impl Fn(usize) -> bool) -> Vec<Finding> {
        let finding = |((kind, decider), cells): (&(Kind, Option<usize>), &Vec<usize>)| {
            let others = decider.is_some_and(&foreign);
            let by = decider.and_then(|place| matrix.deciders.get(place)).map(String::as_str);
            finding(matrix, *kind, by, others, cells)
        };
        self.groups.iter().map(finding).collect()
    }
}

fn finding(matrix: &Matrix, kind: Kind, by: Option<&str>, foreign: bool, cells: &[usize]) -> Finding {
    let cells: Vec<&Cell> = cells.iter().filter_map(|place| matrix.cells.get(*place)).collect();
    let whose = if foreign { "somebody else's rule: " } else { "" };
    let because = by.map(|by| format!("; {whose}{by}")).unwrap_or_default();
    let flows = flows(matrix, &cells);
    let only_to_host = cells.iter().all(|cell| matrix.parties[cell.to].kind == PartyKind::Host);
    let (name, severity, what, remedy) = match kind {
        Kind::Passes => (
            "passes-though-denied",
            Severity::High,
            format!("{flows} should be denied, and the kernel lets it pass{because}"),
            "Look with `pontoon audit drift` what was changed; `pontoon audit why` shows the way of a packet.",
        ),
        Kind::Blocked => (
            "blocked-though-allowed",
            if only_to_host { Severity::Low } else { Severity::Medium },
            format!("{flows} should be allowed, and does not come about{because}"),
            if foreign {
                "Change that rule if it is not meant."
            } else {
                "Look with `pontoon audit drift` what was changed."
            },
        ),
        Kind::Unknown => (
            "kernel-unknown",
            Severity::Low,
            format!("what the kernel does with {flows} cannot be said{because}"),
            "Send real packets: `pontoon audit probe`.",
        ),
    };
    let parties: BTreeSet<&str> =
        cells.iter().flat_map(|cell| [cell.from, cell.to]).map(|place| matrix.parties[place].name.as_str()).collect();
    Finding {
        kind: name.to_owned(),
        severity,
        what,
        remedy: remedy.to_owned(),
        parties: parties.into_iter().map(str::to_owned).collect(),
    }
}

/// `web → db 80/tcp, web → db icmp and 3 more`.
fn flows(matrix: &Matrix, cells: &[&Cell]) -> String {
    let name = |cell: &&Cell| {
        let (from, to) = (&matrix.parties[cell.from].name, &matrix.parties[cell.to].name);
        format!("{from} → {to} {}", cell.service)
    };
    let mut names: Vec<String> = Vec::new();
    for cell in cells {
        let name = name(cell);
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

/// Whether a decider is a rule of neither of the daemon's tables.
pub(super) fn foreign(reading: &Reading, decides: &Decides) -> bool {
    let own = reading.intent.as_ref().map(|intent| format!("pontoon-{}", intent.options.bridge));
    match decides.rule() {
        Some((Whose::Host, place)) => Some(reading.kernel.named(place).table) != own.as_deref(),
        Some((Whose::Party(_), _)) => true,
        None => false,
    }
}
