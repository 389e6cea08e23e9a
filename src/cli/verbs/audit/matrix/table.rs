//! The matrix as a table: flows of one pair that fare alike for the same reason are one line.

use std::fmt::Write as _;

use super::way;
use crate::cli::render::table::align;
use crate::model::audit::{Cell, Intended, Matrix, Severity, Verdict};

/// Findings first, then the flows.
pub(super) fn text(matrix: &Matrix) -> String {
    let mut text = String::new();
    for finding in &matrix.findings {
        let _ = writeln!(text, "{} {}: {}. {}", severity(finding.severity), finding.kind, finding.what, finding.remedy);
    }
    for what in &matrix.unmodelled {
        let _ = writeln!(text, "not looked at: {what}");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let probed = matrix.cells.iter().any(|cell| cell.probe.is_some());
    let packets = if probed { "\tPACKETS" } else { "" };
    let mut rows = vec![format!("FROM\tTO\tINTENT\tKERNEL{packets}\tSERVICE\tWAY\tBECAUSE")];
    let mut cells = matrix.cells.as_slice();
    while let Some(first) = cells.first() {
        let pair = cells.iter().take_while(|cell| (cell.from, cell.to) == (first.from, first.to)).count();
        let (these, rest) = cells.split_at(pair);
        rows.extend(of_pair(matrix, these, probed));
        cells = rest;
    }
    text + &align(&rows)
}

/// The lines of one pair: allowed ones first.
fn of_pair(matrix: &Matrix, cells: &[Cell], probed: bool) -> Vec<String> {
    let alike = |a: &Cell, b: &Cell| {
        (a.intent, a.kernel, a.probe, a.reason, way(a)) == (b.intent, b.kernel, b.probe, b.reason, way(b))
            && (a.agrees() || a.decider == b.decider)
    };
    let mut groups: Vec<Vec<&Cell>> = Vec::new();
    for cell in cells {
        match groups.iter_mut().find(|group| alike(group[0], cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups.sort_by_key(|group| group[0].kernel);
    groups.iter().map(|group| line(matrix, group, probed)).collect()
}

fn line(matrix: &Matrix, cells: &[&Cell], probed: bool) -> String {
    let cell = cells[0];
    let services: Vec<String> = cells.iter().map(|cell| cell.service.to_string()).collect();
    let name = |place: usize| matrix.parties.get(place).map_or("?", |party| party.name.as_str());
    let reason = matrix.reasons.get(cell.reason).map(ToString::to_string).unwrap_or_default();
    // Where the two are one, the reason of the one is the reason of both.
    let decider = cell.decider.filter(|_| !cell.agrees() || cell.kernel == Verdict::Unknown);
    let but = decider.and_then(|place| matrix.deciders.get(place)).map(|by| format!("; but {by}")).unwrap_or_default();
    let (from, to, kernel) = (name(cell.from), name(cell.to), verdict(cell.kernel));
    let mark = if cell.agrees() { "" } else { " !" };
    let intent = intended(cell.intent);
    let packets = match cell.probe {
        _ if !probed => String::new(),
        Some(packets) => format!("\t{}", verdict(packets)),
        None => "\t-".to_owned(),
    };
    format!("{from}\t{to}\t{intent}\t{kernel}{mark}{packets}\t{}\t{}\t{reason}{but}", services.join(", "), way(cell))
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Unknown => "unknown",
    }
}

pub(super) fn intended(intended: Intended) -> &'static str {
    match intended {
        Intended::Allow => "allow",
        Intended::Deny => "deny",
        Intended::Silent => "-",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn findings_first_and_a_line_for_each_reason() {
        insta::assert_snapshot!(super::text(&samples::matrix()));
    }
}
