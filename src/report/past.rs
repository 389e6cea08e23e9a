//! The history and the denied packets, as the page's lists show them.

use serde::Serialize;

use crate::model::audit::{Correspondent, Denial, DenialLog, Entry, Happening, History};

/// More entries than these are left out, oldest first.
const MOST: usize = 500;

/// The history.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Past {
    words: String,
    broken: bool,
    entries: Vec<Change>,
    /// How many older ones are left out.
    left_out: usize,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
struct Change {
    seq: u64,
    time: String,
    changes: Vec<String>,
    request: String,
    by: String,
}

impl Past {
    /// Newest first.
    pub(super) fn of(history: &History) -> Self {
        let chain = &history.chain;
        let head = chain.head.as_ref().map(|head| format!("; the head is entry {}, {}", head.entry, head.hash));
        let words = match &chain.broken {
            Some(broken) => format!("THE CHAIN IS BROKEN: {}.", broken.what),
            None => format!("The chain of {} entries is whole{}.", chain.entries, head.unwrap_or_default()),
        };
        let entries = history.entries.iter().rev().take(MOST).map(Change::of).collect();
        let left_out = history.entries.len().saturating_sub(MOST);
        Self { words, broken: chain.broken.is_some(), entries, left_out }
    }
}

impl Change {
    fn of(entry: &Entry) -> Self {
        let mut changes = entry.delta.lines();
        match &entry.change {
            Happening::Repair { what, left, by, .. } => {
                let by = by.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string);
                let done = if *left { "left" } else { "put right" };
                changes.insert(0, format!("{done}: {} (by {by})", what.join("; ")));
            }
            Happening::Options { options } => changes.insert(0, format!("options {}", options.join(" "))),
            Happening::Prune { through, .. } => changes.insert(0, format!("entries up to {through} are pruned")),
            Happening::Found => changes.insert(0, "what is so without an entry that tells of it".to_owned()),
            Happening::Admit { .. } | Happening::Dismiss { .. } => {}
        }
        let (request, by) = (shortened(entry.origin.request()), entry.origin.by());
        Self { seq: entry.entry, time: entry.time.clone(), changes, request, by }
    }
}

/// The same with ids of containers as people see them: twelve of their 64 digits.
fn shortened(text: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = |word: &str| if is_id(word) { word[..12].to_owned() } else { word.to_owned() };
    text.split('/').map(short).collect::<Vec<_>>().join("/")
}

/// Denied packets.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Denied {
    words: String,
    causes: Vec<Cause>,
    entries: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
struct Cause {
    cause: String,
    packets: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    last: String,
    cause: String,
    from: String,
    to: String,
    what: String,
    count: u64,
}

impl Denied {
    /// The latest first.
    pub(super) fn of(log: &DenialLog) -> Self {
        let total = log.total;
        let words = format!(
            "{} packets were denied since the rules were made: {} are shown, {} were too many at once to be logged, {} were \
             lost, {} came while no daemon listened or before this one.",
            total.denied,
            total.shown,
            total.unlogged,
            total.lost + total.forgotten,
            total.unheard + total.earlier
        );
        let causes = log.causes.iter().map(|it| Cause { cause: it.cause.clone(), packets: it.counts.denied });
        let entries = log.denials.iter().rev().take(MOST).map(Line::of).collect();
        Self { words, causes: causes.collect(), entries }
    }
}

impl Line {
    fn of(denial: &Denial) -> Self {
        let from = match &denial.claims {
            Some(claimed) => format!("{}, as {}", who(&denial.from), who(claimed)),
            None => who(&denial.from),
        };
        let (cause, what) = (denial.cause.clone(), denial.what.clone());
        Self { last: denial.last.clone(), cause, from, to: who(&denial.to), what, count: denial.packets }
    }
}

/// A name and an address, as far as there are any.
fn who(one: &Correspondent) -> String {
    let address = one.address.map(|address| address.to_string()).or_else(|| one.mac.clone());
    match (&one.name, address, &one.interface) {
        (Some(name), Some(address), _) => format!("{name} ({address})"),
        (Some(name), None, _) => name.clone(),
        (None, Some(address), _) => address,
        (None, None, Some(interface)) => format!("port {interface}"),
        (None, None, None) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_short() {
        let id = "ab".repeat(32);
        let short = super::shortened(&format!("POST /v1.50/containers/{id}/start"));
        assert_eq!(short, "POST /v1.50/containers/abababababab/start");
        assert_eq!(super::shortened(""), "");
    }
}
