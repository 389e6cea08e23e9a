//! Docker's `filters` parameter: JSON, in its new form (`{"name": {"web": true}}`) and its old (`{"name": ["web"]}`).

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::Deserialize;

use super::clock;
use super::error::ApiError;
use super::query::Query;

/// Filter name → values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Reads the `filters` of a query; a name outside `known` is an error.
    pub(super) fn parse(query: &Query, known: &[&str]) -> Result<Self, ApiError> {
        let Some(text) = query.get("filters") else { return Ok(Self::default()) };
        let raw: BTreeMap<String, Values> = serde_json::from_str(text)
            .map_err(|error| ApiError::bad_request(format!("invalid filters {text:?}: {error}")))?;
        let mut filters = BTreeMap::new();
        for (name, values) in raw {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!("invalid filter '{name}'")));
            }
            let values: Vec<String> = match values {
                Values::List(values) => values,
                Values::Set(values) => {
                    values.into_iter().filter(|(_, wanted)| *wanted).map(|(value, _)| value).collect()
                }
            };
            if !values.is_empty() {
                filters.insert(name, values);
            }
        }
        Ok(Self(filters))
    }

    /// The values of a filter; none if it was not given.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a filter was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All of them.
    pub(super) fn into_inner(self) -> BTreeMap<String, Vec<String>> {
        self.0
    }

    /// A filter that was not given admits everything; otherwise one of its values must satisfy `test`.
    pub(super) fn any(&self, name: &str, test: impl FnMut(&String) -> bool) -> bool {
        !self.has(name) || self.values(name).iter().any(test)
    }

    /// The `until` of prune requests, in nanoseconds since 1970: a time, or a duration before now.
    pub(super) fn until(&self) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.values("until").first() else { return Ok(None) };
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        clock::moment(text, now).map(Some).ok_or_else(|| invalid("until", text))
    }

    /// Docker's booleans in filters: `true`/`1` or `false`/`0`.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let mut wanted = None;
        for value in self.values(name) {
            wanted = match value.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => return Err(invalid(name, value)),
            };
        }
        Ok(wanted)
    }
}

/// Docker's words for a value that a filter cannot take.
pub(super) fn invalid(name: &str, value: &str) -> ApiError {
    ApiError::bad_request(format!("invalid filter '{name}={value}'"))
}

/// `key` or `key=value` against labels.
pub(super) fn label_matches<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>, wanted: &str) -> bool {
    let (key, value) = wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)));
    labels.into_iter().any(|(k, v)| k == key && value.is_none_or(|value| v == value))
}

/// A pattern of a filter: what is no regular expression is taken literally.
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|_| Regex::new(&regex_lite::escape(text)).expect("an escaped text is a pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Filters, ApiError> {
        let encoded: String = json.bytes().map(|b| format!("%{b:02x}")).collect();
        Filters::parse(
            &Query::parse(Some(&format!("filters={encoded}"))).expect("query"),
            &["name", "status", "dangling"],
        )
    }

    #[test]
    fn both_forms() {
        let new = parse(r#"{"name":{"a":true,"b":true,"c":false}}"#).expect("new form");
        assert_eq!(new, parse(r#"{"name":["a","b"]}"#).expect("old form"));
        assert_eq!(new.values("name"), ["a", "b"]);
        assert_eq!(parse("{}"), Ok(Filters::default()));
        assert!(!parse(r#"{"name":{}}"#).expect("empty").has("name"));
    }

    #[test]
    fn unknown_and_malformed_filters_are_named() {
        assert_eq!(parse(r#"{"colour":["red"]}"#).expect_err("unknown").message, "invalid filter 'colour'");
        for bad in ["", "x", "[]", r#"{"name":"a"}"#] {
            assert!(parse(bad).is_err() || bad.is_empty(), "{bad}");
        }
    }

    #[test]
    fn values_are_alternatives() {
        let filters = parse(r#"{"name":["a","b"],"dangling":["true"]}"#).expect("valid");
        assert!(filters.any("name", |value| value == "b"));
        assert!(!filters.any("name", |value| value == "c"));
        assert!(filters.any("status", |_| false));
        assert_eq!(filters.boolean("dangling"), Ok(Some(true)));
        assert!(parse(r#"{"dangling":["maybe"]}"#).expect("valid").boolean("dangling").is_err());
    }

    #[test]
    fn labels_by_key_or_pair() {
        let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
        for (wanted, matches) in [("tier", true), ("tier=front", true), ("tier=", false), ("tie", false)] {
            assert_eq!(label_matches(&labels, wanted), matches, "{wanted}");
        }
    }
}
