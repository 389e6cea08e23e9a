//! The file of expectations: TOML, read strictly, so that a misspelt key is an error and not a check that never fails.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::model::audit::{Party, PartyKind, Service};

/// Why a file is not one of expectations.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub what: String,
}

/// Expectations.
#[derive(Debug, PartialEq, Eq)]
pub struct Expectations {
    /// What no line names may not pass.
    pub deny_by_default: bool,
    /// Where that stands.
    pub default_line: usize,
    /// The default holds for echo requests, too.
    pub default_echo: bool,
    /// In the file's order.
    pub lines: Vec<Line>,
}

/// One expectation.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// It should pass.
    pub allow: bool,
    /// Who.
    pub from: Vec<Who>,
    /// To whom.
    pub to: Vec<Who>,
    /// On what; empty is all that matters there.
    pub services: Vec<Service>,
    /// Why.
    pub because: Option<String>,
}

/// Some parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A container's name, in which `*` is any characters; or `host`, `lan`, `outside`.
    Named(String),
    /// Containers with a label, and (where given) its value.
    Labelled(String, Option<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    default: Option<Spanned<Default>>,
    default_icmp: Option<bool>,
    #[serde(default)]
    allow: Vec<Spanned<RawLine>>,
    #[serde(default)]
    deny: Vec<Spanned<RawLine>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Default {
    Deny,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    from: Words,
    to: Words,
    ports: Option<Words>,
    because: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "text, or a list of texts")]
enum Words {
    One(String),
    Several(Vec<String>),
}

impl Words {
    fn each(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Several(words) => words,
        }
    }
}

impl Expectations {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let at = |span: Option<Range<usize>>| line_of(text, span.map_or(0, |span| span.start));
        let raw: Raw = toml::from_str(text)
            .map_err(|error| FileError { line: at(error.span()), what: error.message().to_owned() })?;
        let line = |raw: &Spanned<RawLine>, allow| Line::of(raw, allow, at(Some(raw.span())));
        let allowed = raw.allow.iter().map(|raw| line(raw, true));
        let mut lines: Vec<Line> =
            allowed.chain(raw.deny.iter().map(|raw| line(raw, false))).collect::<Result<_, _>>()?;
        lines.sort_by_key(|line| line.number);
        let deny_by_default = raw.default.as_ref().is_some_and(|default| *default.get_ref() == Default::Deny);
        if lines.is_empty() && !deny_by_default {
            let what = "nothing is expected: write [[allow]] or [[deny]] with from and to, or default = \"deny\"";
            return Err(FileError { line: 1, what: what.to_owned() });
        }
        let default_line = at(raw.default.as_ref().map(Spanned::span));
        Ok(Self { deny_by_default, default_line, default_echo: raw.default_icmp == Some(true), lines })
    }
}

impl Line {
    fn of(raw: &Spanned<RawLine>, allow: bool, number: usize) -> Result<Self, FileError> {
        let wrong = |what: String| FileError { line: number, what };
        let raw = raw.get_ref();
        let who = |key, words: &Words| -> Result<Vec<Who>, FileError> {
            let all: Option<Vec<Who>> = words.each().iter().map(|word| Who::parse(word)).collect();
            let expected = "a name, label:KEY, label:KEY=VALUE, host, lan, bridge:PORT, outside or *";
            all.filter(|all| !all.is_empty()).ok_or_else(|| wrong(format!("{key}: expected {expected}")))
        };
        let services = raw.ports.iter().flat_map(Words::each).map(|word| {
            word.parse().map_err(|_| wrong(format!("ports: {word:?}: expected PORT/tcp, FIRST-LAST/udp or icmp")))
        });
        let services: Vec<Service> = services.collect::<Result<_, _>>()?;
        if raw.ports.is_some() && services.is_empty() {
            return Err(wrong("ports: an empty list names none; leave it out to mean all that matter".to_owned()));
        }
        let (from, to) = (who("from", &raw.from)?, who("to", &raw.to)?);
        Ok(Self { number, allow, from, to, services, because: raw.because.clone() })
    }
}

impl Who {
    fn parse(word: &str) -> Option<Self> {
        match word.strip_prefix("label:") {
            Some("") => None,
            Some(label) => Some(match label.split_once('=') {
                Some((key, value)) => Self::Labelled(key.to_owned(), Some(value.to_owned())),
                None => Self::Labelled(label.to_owned(), None),
            }),
            None => (!word.trim().is_empty()).then(|| Self::Named(word.to_owned())),
        }
    }

    /// Whether a party is meant.
    pub fn means(&self, party: &Party) -> bool {
        match self {
            Self::Named(name) if name == "*" => party.kind == PartyKind::Container,
            Self::Named(name) => {
                let kind = match party.kind {
                    PartyKind::Lan => {
                        party.name.strip_prefix(':').unwrap_or(&party.name).starts_with("lan") && name == "lan"
                    }
                    _ => false,
                };
                kind || like(name, &party.name) || party.id.as_ref().is_some_and(|id| id.as_str() == name)
            }
            Self::Labelled(key, value) => {
                party.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        }
    }

    /// It names no containers. (A machine without a way out has no outside, and that is no mistake.)
    pub fn is_place(&self) -> bool {
        let Self::Named(name) = self else { return false };
        matches!(name.as_str(), "host" | "lan" | "outside") || name.starts_with("bridge:")
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Labelled(key, None) => write!(f, "label:{key}"),
            Self::Labelled(key, Some(value)) => write!(f, "label:{key}={value}"),
        }
    }
}

/// Whether a name is as a pattern says, in which `*` is any characters.
fn like(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(first) else { return false };
    (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| like(rest, &name[at..]))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let text = "default = \"deny\"\n\n[[deny]]\nfrom = \"*\"\nto = \"vault\"\n\n[[allow]]\nfrom = [\"web-*\", \"label:tier=front\"]\n\
                    to = \"db\"\nports = [\"5432\", \"icmp\"]\nbecause = \"orders\"\n";
        let read = Expectations::parse(text).expect("a file");
        assert!(read.deny_by_default && !read.default_echo);
        let numbers: Vec<(usize, bool)> = read.lines.iter().map(|line| (line.number, line.allow)).collect();
        assert_eq!(numbers, [(3, false), (7, true)]);
        let from: Vec<String> = read.lines[1].from.iter().map(ToString::to_string).collect();
        assert_eq!(from, ["web-*", "label:tier=front"]);
        assert_eq!(read.lines[1].services.len(), 2);
        assert_eq!(read.lines[1].because.as_deref(), Some("orders"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("", 1, "nothing is expected"),
            ("default = \"maybe\"", 1, "unknown variant"),
            ("default = \"deny\"\n[[alow]]\nfrom = \"a\"", 2, "unknown field `alow`"),
            ("[[allow]]\nfrom = \"a\"\nto = \"b\"\nport = \"1\"", 4, "unknown field `port`"),
            ("[[allow]]\nfrom = \"a\"", 1, "missing field `to`"),
            ("[[allow]]\nfrom = \"a\"\nto = \"b\"\nports = \"http\"", 1, "\"http\": expected PORT/tcp"),
            ("[[allow]]\nfrom = \"\"\nto = \"b\"", 1, "from: expected a name"),
            ("[[allow]]\nfrom = \"a\"\nto = \"b\"\nports = []", 1, "an empty list"),
            ("[[allow]]\nfrom = 1\nto = \"b\"", 2, "text, or a list of texts"),
            ("[[allow]\nfrom", 1, ""),
        ];
        for (text, line, words) in cases {
            let error = Expectations::parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.what.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn stars_are_any_characters() {
        for (pattern, name, is) in [
            ("web", "web", true),
            ("web", "webs", false),
            ("web-*", "web-1", true),
            ("*-db", "a-b-db", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "ab-", false),
        ] {
            assert_eq!(like(pattern, name), is, "{pattern} {name}");
        }
    }
}
