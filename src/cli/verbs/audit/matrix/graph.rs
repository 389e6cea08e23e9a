//! The matrix as a graph: an arrow for each pair with what is allowed, and for each that disagrees.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::audit::{Cell, Matrix, Party, PartyKind, Verdict};

/// Services of a pair that fare alike.
type Arrows<'a> = BTreeMap<(usize, usize, Arrow), Vec<&'a Cell>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrow {
    Allowed,
    /// The verdicts are not one.
    Disagreed,
}

fn arrows(matrix: &Matrix) -> Arrows<'_> {
    let mut arrows: Arrows<'_> = BTreeMap::new();
    for cell in &matrix.cells {
        let arrow = match (cell.agrees(), cell.verdict()) {
            (false, _) => Arrow::Disagreed,
            (true, Verdict::Allow) => Arrow::Allowed,
            (true, _) => continue,
        };
        arrows.entry((cell.from, cell.to, arrow)).or_default().push(cell);
    }
    arrows
}

/// What an arrow says: each service once.
fn label(cells: &[&Cell]) -> String {
    let mut names: Vec<String> = cells.iter().map(|cell| cell.service.to_string()).collect();
    names.dedup();
    names.join(", ")
}

/// For Graphviz.
pub(super) fn dot(matrix: &Matrix) -> String {
    let mut text = "digraph matrix {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n".to_owned();
    for (place, party) in matrix.parties.iter().enumerate() {
        let shape = if party.kind == PartyKind::Container { "box" } else { "ellipse" };
        let _ = writeln!(text, "  n{place} [label=\"{}\", shape={shape}];", escaped(&title(party)));
    }
    for ((from, to, arrow), cells) in arrows(matrix) {
        let style = match arrow {
            Arrow::Allowed => "",
            Arrow::Disagreed => ", color=red, style=dashed",
        };
        let _ = writeln!(text, "  n{from} -> n{to} [label=\"{}\"{style}];", escaped(&label(&cells)));
    }
    text + "}\n"
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// For Mermaid.
pub(super) fn mermaid(matrix: &Matrix) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (place, party) in matrix.parties.iter().enumerate() {
        let (open, close) = if party.kind == PartyKind::Container { ("[", "]") } else { ("([", "])") };
        let _ = writeln!(text, "  n{place}{open}\"{}\"{close}", entities(&title(party)));
    }
    let arrows = arrows(matrix);
    for ((from, to, arrow), cells) in &arrows {
        let line = match arrow {
            Arrow::Allowed => "-->",
            Arrow::Disagreed => "-.->",
        };
        let _ = writeln!(text, "  n{from} {line}|\"{}\"| n{to}", entities(&label(cells)));
    }
    for (number, _) in arrows.keys().enumerate().filter(|(_, (_, _, arrow))| *arrow == Arrow::Disagreed) {
        let _ = writeln!(text, "  linkStyle {number} stroke:red");
    }
    text
}

fn entities(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;")
}

fn title(party: &Party) -> String {
    match &party.shares {
        Some(other) => format!("{} (in {other})", party.name),
        None => party.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn an_arrow_for_what_is_allowed_and_what_disagrees() {
        let matrix = samples::matrix();
        insta::assert_snapshot!(format!("{}\n{}", super::dot(&matrix), super::mermaid(&matrix)));
    }
}
