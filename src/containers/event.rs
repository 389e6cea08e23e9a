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
