//! What the page shows, in the shape that its script reads. Two hundred containers make some ten thousands of flows, most
//! of which are like others: what a flow is stands once in a table of flows, which flows a pair of parties has stands once
//! in a table of bundles, and each pair is one small number.

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

/// Places in the tables, then verdicts: service, way, intent, kernel, reason, decider, probe, listening, hits. Verdicts are
/// 0 (allow), 1 (deny), 2 (unknown, silent); -1 is none.
type Row = (usize, usize, i8, i8, usize, i64, i8, i8, i64);

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
    /// What flows there are, whoever's.
    flows: Vec<Row>,
    /// What flows a pair of parties may have: places in `flows`.
    bundles: Vec<Vec<usize>>,
    /// For each source, for each target: the place of their bundle plus one, and 0 where there is nothing. Zeros at the end
    /// are left out.
    pairs: Vec<Vec<usize>>,
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
        let tables = Tables::of(matrix);
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
            services: tables.services.values,
            ways: tables.ways.values,
            reasons: matrix.reasons.iter().map(words).collect(),
            deciders: matrix.deciders.clone(),
            flows: tables.flows.values,
            bundles: tables.bundles.values,
            pairs: tables.pairs,
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

    /// When the kernel was read: RFC 3339, UTC.
    pub fn taken(&self) -> &str {
        &self.taken
    }

    /// The machine's name.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The matrix's cells, each thing once.
#[derive(Default)]
struct Tables {
    services: Table<String>,
    ways: Table<Way>,
    flows: Table<Row>,
    bundles: Table<Vec<usize>>,
    pairs: Vec<Vec<usize>>,
}

impl Tables {
    fn of(matrix: &Matrix) -> Self {
        let mut tables = Self { pairs: vec![Vec::new(); matrix.parties.len()], ..Self::default() };
        // Cells of one pair stand together.
        for cells in matrix.cells.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
            let (from, to) = (cells[0].from, cells[0].to);
            let bundle = cells.iter().map(|cell| tables.flow(cell)).collect();
            let place = tables.bundles.place(bundle) + 1;
            let Some(row) = tables.pairs.get_mut(from) else { continue };
            row.resize(row.len().max(to + 1), 0);
            row[to] = place;
        }
        tables
    }

    fn flow(&mut self, cell: &Cell) -> usize {
        let (service, way) = (self.services.place(cell.service.to_string()), self.ways.place(cell.by.clone()));
        let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
        let decider = number(cell.decider.map(|place| place as u64));
        let intent = match cell.intent {
            Intended::Allow => 0,
            Intended::Deny => 1,
            Intended::Silent => 2,
        };
        let (kernel, probe) = (verdict(cell.kernel), cell.probe.map_or(-1, verdict));
        let listening = cell.listening.map_or(-1, i8::from);
        let hits = number(cell.hits);
        self.flows.place((service, way, intent, kernel, cell.reason, decider, probe, listening, hits))
    }
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

    fn cell(pair: (usize, usize), service: &str, kernel: Verdict, probe: Option<Verdict>) -> Cell {
        Cell {
            from: pair.0,
            to: pair.1,
            service: service.parse().expect("service"),
            by: Way::Direct,
            intent: Intended::Deny,
            reason: 0,
            kernel,
            decider: None,
            probe,
            listening: Some(true),
            hits: None,
        }
    }

    fn party(name: &str) -> Party {
        let kind = crate::model::audit::PartyKind::Container;
        let (id, mode, shares) = (None, None, None);
        let (addresses, labels, ports) = (vec![], Default::default(), vec![]);
        Party { name: name.to_owned(), kind, id, mode, addresses, shares, labels, ports }
    }

    #[test]
    fn each_thing_stands_once() {
        let cells = vec![
            cell((0, 1), "80/tcp", Verdict::Deny, None),
            cell((0, 1), "icmp", Verdict::Unknown, Some(Verdict::Allow)),
            Cell { hits: Some(7), ..cell((1, 0), "80/tcp", Verdict::Deny, None) },
            cell((2, 1), "80/tcp", Verdict::Deny, None),
            cell((2, 1), "icmp", Verdict::Unknown, Some(Verdict::Allow)),
        ];
        let parties = vec![party("a"), party("b"), party("c")];
        let matrix = Matrix { cells, parties, reasons: vec![Reason::NoLink], ..Matrix::empty() };
        let data = Data::of(&Sources::of(matrix));
        assert_eq!((data.services, data.ways), (vec!["80/tcp".to_owned(), "icmp".to_owned()], vec![Way::Direct]));
        let flows = [(0, 0, 1, 1, 0, -1, -1, 1, -1), (1, 0, 1, 2, 0, -1, 0, 1, -1), (0, 0, 1, 1, 0, -1, -1, 1, 7)];
        assert_eq!(data.flows, flows);
        assert_eq!(data.bundles, [vec![0, 1], vec![2]]);
        assert_eq!(data.pairs, [vec![0, 1], vec![2], vec![0, 1]]);
        let words = serde_json::to_value(&data.reasons[0]).expect("serializable");
        assert_eq!(words, serde_json::json!({ "because": "no-link", "words": "--icc=false, and no link opens it" }));
    }
}
