//! What the page shows, in the shape that its script reads: tables of words, and cells as rows of small numbers, because
//! two hundred containers make some ten thousands of them.

use std::collections::HashMap;

use serde::Serialize;

use super::past::{Denied, Past};
use crate::model::audit::{Cell, DenialLog, Drift, Finding, History, Intended, Matrix, Party, Reason, Verdict, Way};

/// The audit's answers that the report is made of.
#[derive(Debug)]
pub struct Sources {
    /// Who can talk to whom.
    pub matrix: Matrix,
    /// Findings beyond the matrix's own.
    pub lint: Vec<Finding>,
    /// What differs, where it was asked.
    pub drift: Option<Drift>,
    /// What was denied, where it was asked.
    pub denied: Option<DenialLog>,
    /// What changed, where it was asked.
    pub history: Option<History>,
}

impl Sources {
    /// The matrix alone.
    pub fn of(matrix: Matrix) -> Self {
        Self { matrix, lint: Vec::new(), drift: None, denied: None, history: None }
    }
}

/// Places in the tables, then verdicts: from, to, service, way, intent, kernel, reason, decider, probe, listening. Verdicts
/// are 0 (allow), 1 (deny), 2 (unknown, silent); -1 is none.
type Row = (usize, usize, usize, usize, i8, i8, usize, i64, i8, i8);

/// What the page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    version: u32,
    host: String,
    taken: String,
    bridge: Option<String>,
    icc: bool,
    generation: u32,
    unmodelled: Vec<String>,
    parties: Vec<Party>,
    services: Vec<String>,
    ways: Vec<Way>,
    reasons: Vec<Words>,
    deciders: Vec<String>,
    cells: Vec<Row>,
    findings: Vec<Finding>,
    drift: Option<Drift>,
    denied: Option<Denied>,
    history: Option<Past>,
}

#[derive(Clone, Debug, Serialize)]
struct Words {
    #[serde(flatten)]
    reason: Reason,
    words: String,
}

impl Data {
    /// From the answers.
    pub fn of(sources: &Sources) -> Self {
        let matrix = &sources.matrix;
        let (mut services, mut ways) = (Table::default(), Table::default());
        let row = |cell: &Cell| row(cell, services.place(cell.service.to_string()), ways.place(cell.by.clone()));
        let cells = matrix.cells.iter().map(row).collect();
        let words = |reason: &Reason| Words { words: reason.to_string(), reason: reason.clone() };
        Self {
            version: matrix.version,
            host: matrix.host.clone(),
            taken: matrix.taken.clone(),
            bridge: matrix.bridge.clone(),
            icc: matrix.icc,
            generation: matrix.generation,
            unmodelled: matrix.unmodelled.clone(),
            parties: matrix.parties.clone(),
            services: services.values,
            ways: ways.values,
            reasons: matrix.reasons.iter().map(words).collect(),
            deciders: matrix.deciders.clone(),
            cells,
            findings: matrix.findings.iter().chain(&sources.lint).cloned().collect(),
            // Asked each time, and as old as the rest.
            drift: sources.drift.clone().map(|drift| Drift { taken: matrix.taken.clone(), ..drift }),
            denied: sources.denied.as_ref().map(Denied::of),
            history: sources.history.as_ref().map(Past::of),
        }
    }

    /// What tells whether anything has changed: all but when it was asked.
    pub fn unchanging(&self) -> Vec<u8> {
        serde_json::to_vec(&Self {
            taken: String::new(),
            drift: self.drift.clone().map(|drift| Drift { taken: String::new(), ..drift }),
            ..self.clone()
        })
        .unwrap_or_default()
    }

    /// The machine's name.
    pub fn host(&self) -> &str {
        &self.host
    }
}

fn row(cell: &Cell, service: usize, way: usize) -> Row {
    let decider = cell.decider.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1);
    let intent = match cell.intent {
        Intended::Allow => 0,
        Intended::Deny => 1,
        Intended::Silent => 2,
    };
    let (kernel, probe) = (verdict(cell.kernel), cell.probe.map_or(-1, verdict));
    let listening = cell.listening.map_or(-1, i8::from);
    (cell.from, cell.to, service, way, intent, kernel, cell.reason, decider, probe, listening)
}

fn verdict(verdict: Verdict) -> i8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Deny => 1,
        Verdict::Unknown => 2,
    }
}

/// Each value once.
struct Table<T> {
    values: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn place(&mut self, value: T) -> usize {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        self.values.push(value.clone());
        self.places.insert(value, self.values.len() - 1);
        self.values.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_rows_of_numbers() {
        let cell = |service: &str, kernel, probe| Cell {
            from: 1,
            to: 0,
            service: service.parse().expect("service"),
            by: Way::Direct,
            intent: Intended::Deny,
            reason: 0,
            kernel,
            decider: None,
            probe,
            listening: Some(true),
            hits: None,
        };
        let cells = vec![
            cell("80/tcp", Verdict::Deny, None),
            cell("icmp", Verdict::Unknown, Some(Verdict::Allow)),
            cell("80/tcp", Verdict::Allow, None),
        ];
        let matrix = Matrix { cells, reasons: vec![Reason::NoLink], ..Matrix::empty() };
        let data = Data::of(&Sources::of(matrix));
        assert_eq!((data.services, data.ways), (vec!["80/tcp".to_owned(), "icmp".to_owned()], vec![Way::Direct]));
        let rows =
            [(1, 0, 0, 0, 1, 1, 0, -1, -1, 1), (1, 0, 1, 0, 1, 2, 0, -1, 0, 1), (1, 0, 0, 0, 1, 0, 0, -1, -1, 1)];
        assert_eq!(data.cells, rows);
        let words = serde_json::to_value(&data.reasons[0]).expect("serializable");
        assert_eq!(words, serde_json::json!({ "because": "no-link", "words": "--icc=false, and no link opens it" }));
    }
}
