//! Prometheus' text exposition format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Pure.

use std::fmt::Write as _;

use crate::model::Distribution;
use crate::model::durations::BOUNDS;

/// What a client is told that it gets.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a family's numbers move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only up, until the daemon ends.
    Counter,
    /// Up and down.
    Gauge,
    /// Numbers by size.
    Histogram,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Samples of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One sentence, without its full stop.
    pub(super) help: &'static str,
}

/// Names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page that is being written: each family at once, one after the other.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, family: &Family) -> Samples<'_> {
        let Family { name, kind, help } = family;
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {}", escape(help), kind.as_str());
        Samples { text: &mut self.0, name }
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// The samples of a family.
pub(super) struct Samples<'p> {
    text: &'p mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// A whole number.
    pub(super) fn number(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        let _ = writeln!(self.text, "{}{} {value}", self.name, in_braces(labels, None));
        self
    }

    /// A histogram in seconds.
    pub(super) fn distribution(&mut self, labels: Labels<'_>, of: &Distribution) -> &mut Self {
        let name = self.name;
        let bounds = BOUNDS.iter().map(f64::to_string).zip(of.within);
        for (bound, within) in bounds.chain([("+Inf".to_owned(), of.count)]) {
            let _ = writeln!(self.text, "{name}_bucket{} {within}", in_braces(labels, Some(&bound)));
        }
        let labels = in_braces(labels, None);
        let _ = writeln!(self.text, "{name}_sum{labels} {}\n{name}_count{labels} {}", of.sum, of.count);
        self
    }
}

fn in_braces(labels: Labels<'_>, bound: Option<&str>) -> String {
    let bound = bound.map(|bound| ("le", bound));
    let pairs: Vec<String> =
        labels.iter().copied().chain(bound).map(|(name, value)| format!("{name}=\"{}\"", quote(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn quote(text: &str) -> String {
    escape(text).replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels() {
        let mut page = Page::default();
        let family = Family { name: "a_total", kind: Kind::Counter, help: "What\nit \\ is" };
        page.family(&family).number(&[], 7).number(&[("x", "a\"b\\c\nd"), ("y", "")], 8);
        let expected = "# HELP a_total What\\nit \\\\ is\n# TYPE a_total counter\na_total 7\n\
                        a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 8\n";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn histograms_add_up() {
        let mut page = Page::default();
        let family = Family { name: "b_seconds", kind: Kind::Histogram, help: "How long" };
        let mut of = Distribution { count: 5, sum: 1.25, ..Distribution::default() };
        of.within[BOUNDS.len() - 1] = 4;
        page.family(&family).distribution(&[("result", "success")], &of);
        let text = page.text();
        assert!(text.contains("b_seconds_bucket{result=\"success\",le=\"0.001\"} 0\n"), "{text}");
        assert!(text.contains("b_seconds_bucket{result=\"success\",le=\"10\"} 4\n"), "{text}");
        assert!(text.contains("b_seconds_bucket{result=\"success\",le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.ends_with("b_seconds_sum{result=\"success\"} 1.25\nb_seconds_count{result=\"success\"} 5\n"));
    }
}
