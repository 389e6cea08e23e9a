//! The matrix as CSV (RFC 4180, but for lines that end as lines do here): a line for each flow.

use super::table::{intended, verdict};
use super::way;
use crate::model::audit::{Cell, Matrix};

/// All flows.
pub(super) fn text(matrix: &Matrix) -> String {
    let header = "from,to,service,way,intent,kernel,probe,agrees,listening,because,decided_by\n";
    matrix.cells.iter().fold(header.to_owned(), |text, cell| text + &line(matrix, cell))
}

fn line(matrix: &Matrix, cell: &Cell) -> String {
    let name = |place: usize| matrix.parties.get(place).map(|party| party.name.clone()).unwrap_or_default();
    let decider = cell.decider.and_then(|place| matrix.deciders.get(place)).cloned().unwrap_or_default();
    let fields = [
        name(cell.from),
        name(cell.to),
        cell.service.to_string(),
        way(cell),
        intended(cell.intent).to_owned(),
        verdict(cell.kernel).to_owned(),
        cell.probe.map(verdict).unwrap_or_default().to_owned(),
        cell.agrees().to_string(),
        cell.listening.map(|listening| listening.to_string()).unwrap_or_default(),
        matrix.reasons.get(cell.reason).map(ToString::to_string).unwrap_or_default(),
        decider,
    ];
    fields.map(quoted).join(",") + "\n"
}

fn quoted(field: String) -> String {
    let plain = !field.contains([',', '"', '\n', '\r']);
    if plain { field } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn a_line_for_each_flow() {
        insta::assert_snapshot!(super::text(&samples::matrix()));
    }
}
