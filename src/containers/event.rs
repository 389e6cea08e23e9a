//! Events: what happened to whom, as `docker events` shows it.

use std::collections::BTreeMap;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`, `daemon`.
    pub kind: &'static str,
    /// `create`, `start`, `die`, `exec_start: sh`, …
    pub action: String,
    /// The actor's id.
    pub id: String,
    /// `name`, `image`, `exitCode`, labels, …
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970 UTC.
    pub time_nano: i64,
}

/// Which events a client wants, and from when.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Nanoseconds since 1970: past events kept in memory from here on.
    pub since: Option<i64>,
    /// Nanoseconds since 1970: the stream ends here.
    pub until: Option<i64>,
    /// Filter name to accepted values: `type`, `event`, `container`, `image`, `label`. Several names must all match.
    pub filters: BTreeMap<String, Vec<String>>,
}

impl Event {
    /// An event that happens now.
    pub fn now(kind: &'static str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Self {
        let nanoseconds = jiff::Timestamp::now().as_nanosecond();
        Self {
            kind,
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
            // Until the year 2262.
            time_nano: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
        }
    }
}

impl EventFilter {
    /// Whether an event is wanted, times aside: every filter must be met by one of its values.
    pub fn matches(&self, event: &Event) -> bool {
        self.filters.iter().all(|(name, values)| values.is_empty() || values.iter().any(|v| meets(event, name, v)))
    }
}

fn meets(event: &Event, filter: &str, value: &str) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map(String::as_str);
    let is_actor = || event.id.starts_with(value) || attribute("name") == Some(value);
    match filter {
        "type" => event.kind == value,
        // `exec_start: sh` is found by `exec_start` too.
        "event" => event.action == value || event.action.split_once(':').is_some_and(|(action, _)| action == value),
        "container" | "network" | "volume" => event.kind == filter && is_actor(),
        "image" => (event.kind == "image" && is_actor()) || attribute("image") == Some(value),
        "label" => match value.split_once('=') {
            Some((key, wanted)) => attribute(key) == Some(wanted),
            None => attribute(value).is_some(),
        },
        "daemon" | "scope" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let attributes = [("name", "web"), ("image", "busybox"), ("tier", "front")];
        Event {
            kind: "container",
            action: "exec_start: sh -c true".into(),
            id: "abcdef".into(),
            attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            time_nano: 1,
        }
    }

    fn matches(filters: &[(&str, &[&str])]) -> bool {
        let filters =
            filters.iter().map(|(k, vs)| ((*k).to_owned(), vs.iter().map(|v| (*v).to_owned()).collect())).collect();
        EventFilter { filters, ..EventFilter::default() }.matches(&event())
    }

    #[test]
    fn values_of_a_filter_are_alternatives_and_filters_add_up() {
        assert!(matches(&[]));
        assert!(matches(&[("container", &["nope", "web"])]));
        assert!(matches(&[("container", &["abc"]), ("event", &["exec_start"])]));
        assert!(!matches(&[("container", &["web"]), ("event", &["die"])]));
        assert!(matches(&[("label", &["tier=front"])]));
        assert!(!matches(&[("label", &["tier=back"])]));
        assert!(matches(&[("image", &["busybox"])]));
        assert!(!matches(&[("type", &["image"])]));
    }
}
