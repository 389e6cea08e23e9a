//! `audit history`.

use std::fmt::Write as _;

use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};
use crate::cli::verbs::time;
use crate::cli::{complain, print};
use crate::model::ContainerId;
use crate::model::audit::{self, Chain, Creation, Delta, Entry, Happening};

/// The exit code of a chain that is not whole.
const BROKEN: u8 = 3;

/// `audit history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon audit history --since 1h                 what changed in the last hour
  pontoon audit history --container db             who could ever talk to db, and because of whom
  pontoon audit history --head                     the newest entry's hash, to be kept on another machine
  pontoon audit history --verify HASH              whether the history still holds what it held then")]
pub(in crate::cli) struct History {
    /// Changes after this time: 10m, 2026-01-02T15:04:05, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Changes before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what says something of this container: its name, now or then, or its id
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Only the last so many
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Prove that the history still holds the entry with this hash, and what was before it
    #[arg(long, value_name = "HASH")]
    verify: Option<String>,
    /// Print nothing but the newest entry's hash
    #[arg(long, conflicts_with_all = ["since", "until", "container", "limit", "json"])]
    head: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let now = jiff::Timestamp::now();
        let since = self.since.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let until = self.until.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let limit = if self.head { Some(0) } else { self.limit }.map(|limit| limit.to_string());
        let fields = [
            ("since", &since),
            ("until", &until),
            ("container", &self.container),
            ("limit", &limit),
            ("verify", &self.verify),
        ];
        let query: Vec<(&str, &str)> =
            fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let answer = client.get("/pontoon/v1/audit/history", &query).await?;
        let wrong = |error: serde_json::Error| CliError::new(format!("the daemon's answer: {error}"));
        if self.json {
            let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(wrong)?;
            print(&format!("{answer:#}\n"))?;
        }
        let history: audit::History = serde_json::from_slice(&answer).map_err(wrong)?;
        if self.head {
            print(&history.chain.head.as_ref().map(|head| format!("{}\n", head.hash)).unwrap_or_default())?;
        } else if !self.json {
            print(&(history.entries.iter().map(told).collect::<String>() + &summary(&history.chain)))?;
        }
        for complaint in complaints(&history.chain) {
            complain(&CliError::new(complaint));
        }
        Ok(if history.chain.is_whole() { 0 } else { BROKEN })
    }
}

/// What is wrong with the chain.
fn complaints(chain: &Chain) -> Vec<String> {
    let broken = chain.broken.as_ref().map(|broken| format!("the history's chain is broken: {}", broken.what));
    let lost = chain.verified.as_ref().filter(|verified| verified.entry.is_none()).map(|verified| {
        let hash = &verified.hash;
        format!(
            "no entry of the history has the hash {hash}: it was cut off or written anew since, or pruned long after"
        )
    });
    broken.into_iter().chain(lost).collect()
}

/// The last lines.
fn summary(chain: &Chain) -> String {
    let mut text = String::new();
    if let Some((hash, entry)) = chain.verified.as_ref().and_then(|verified| Some((&verified.hash, verified.entry?))) {
        let _ = writeln!(text, "entry {entry} has the hash {hash}: it is still there");
    }
    let first = chain.first.filter(|first| *first > 1).map(|first| format!(" (those before {first} were pruned)"));
    let state = if chain.broken.is_none() { "the chain is whole" } else { "THE CHAIN IS BROKEN" };
    let _ = writeln!(text, "{} entries{}, {state}", chain.entries, first.unwrap_or_default());
    if let Some(head) = &chain.head {
        let _ = writeln!(text, "head: entry {}, {}", head.entry, head.hash);
    }
    text
}

/// One entry in lines.
fn told(entry: &Entry) -> String {
    let mut text = String::new();
    let time = entry.time.parse::<jiff::Timestamp>().map_or_else(|_| entry.time.clone(), |time| format!("{time:.3}"));
    let _ = writeln!(text, "{} #{} {}", time, entry.entry, headline(&entry.change, &entry.delta));
    let by = entry.origin.by();
    let by = if by.is_empty() { by } else { format!(", by {by}") };
    let _ = writeln!(text, "    {}{by}", short(entry.origin.request()));
    if let Happening::Admit { created: Some(Creation { when, origin }), .. } = &entry.change {
        let when = when.parse::<jiff::Timestamp>().map_or_else(|_| when.clone(), |time| format!("{time:.3}"));
        let _ = writeln!(text, "    created {when}: {}, by {}", short(origin.request()), origin.by());
    }
    for line in entry.delta.lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// A request with ids as people are shown them. (JSON has it to the letter.)
fn short(request: &str) -> String {
    let id = |word: &str| word.parse::<ContainerId>().map_or_else(|_| word.to_owned(), |id| id.short().to_owned());
    request.split('/').map(id).collect::<Vec<_>>().join("/")
}

fn headline(change: &Happening, delta: &Delta) -> String {
    match change {
        Happening::Admit { name, .. } if delta.joined.is_empty() => format!("{name} is changed"),
        Happening::Admit { name, .. } => format!("{name} comes"),
        Happening::Dismiss { name, .. } => format!("{name} goes"),
        Happening::Options { options } => format!("options {}", options.join(" ")),
        Happening::Found => "what is so without an entry that tells of it".to_owned(),
        Happening::Repair { what, further, by, left } => {
            let by = by.as_ref().map_or_else(|| "another program".to_owned(), |by| printable(&by.to_string()));
            let further = if *further > 0 { format!("; and {further} more") } else { String::new() };
            let what = printable(&what.join("; "));
            match left {
                true => format!("left what {by} changed: {what}{further}"),
                false => format!("put right what {by} changed: {what}{further}"),
            }
        }
        Happening::Prune { through, .. } => format!("entries up to {through} are pruned"),
    }
}

/// Names of processes and interfaces are whatever somebody gave them.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Break, Head, Verified};

    #[test]
    fn entries_in_lines() {
        let (web, db) = ("03".repeat(32), "02".repeat(32));
        let peer = serde_json::json!({ "uid": 1000, "gid": 100, "pid": 42, "user": "alice", "process": "docker" });
        let request = |line: &str| serde_json::json!({ "kind": "request", "request": line, "peer": peer });
        let created =
            serde_json::json!({ "when": "2026-01-02T03:04:05.678901234Z", "origin": request("POST /create") });
        let entry = |change: serde_json::Value, origin: serde_json::Value, delta: serde_json::Value| {
            let entry = serde_json::json!({ "entry": 7, "time": "2026-01-02T03:04:06.000000009Z", "origin": origin,
                "change": change, "delta": delta, "previous": "", "hash": "" });
            told(&serde_json::from_value(entry).expect("an entry"))
        };
        let comes = entry(
            serde_json::json!({ "kind": "admit", "container": web, "name": "web", "created": created }),
            request(&format!("POST /v1.50/containers/{web}/start")),
            serde_json::json!({
                "joined": [{ "id": web, "name": "web", "address": "172.17.0.3" }],
                "opened": [
                    { "from": web, "to": db, "service": "5432/tcp", "by": { "way": "link", "alias": "store" } },
                    { "from": "anyone", "to": web, "service": "80-89/tcp",
                      "by": { "way": "publish", "address": "0.0.0.0", "port": 8080 } },
                ],
                "names": { db.clone(): "db" },
            }),
        );
        let options = entry(
            serde_json::json!({ "kind": "options", "options": ["--icc=false"] }),
            serde_json::json!({ "kind": "options" }),
            serde_json::json!({ "closed": [{ "from": "containers", "to": "containers", "by": { "way": "bridge" } }],
                "opened": [{ "from": "containers", "to": "outside", "by": { "way": "routed", "masqueraded": true } }] }),
        );
        let repair = entry(
            serde_json::json!({ "kind": "repair", "what": ["deleted \u{1b}x"], "further": 2,
                "by": { "pid": 9, "name": "nft" } }),
            serde_json::json!({ "kind": "guard" }),
            serde_json::json!({}),
        );
        let rename = entry(
            serde_json::json!({ "kind": "admit", "container": web, "name": "www" }),
            request("POST /rename"),
            serde_json::json!({ "renamed": [{ "id": web, "from": "web", "to": "www" }] }),
        );
        insta::assert_snapshot!(comes + &options + &repair + &rename);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let head = Some(Head { entry: 9, hash: "ff".into() });
        let whole = Chain { entries: 9, first: Some(1), head, ..Chain::default() };
        assert_eq!(
            (complaints(&whole).len(), summary(&whole)),
            (0, "9 entries, the chain is whole\nhead: entry 9, ff\n".into())
        );
        let verified = |entry| Some(Verified { hash: "aa".into(), entry });
        let kept = Chain { verified: verified(Some(3)), first: Some(3), ..whole.clone() };
        assert!(summary(&kept).starts_with("entry 3 has the hash aa: it is still there\n9 entries (those before 3"));
        let broken = Some(Break { entry: 4, what: "entry 4 was altered".into() });
        let broken = Chain { verified: verified(None), broken, ..whole };
        let said = complaints(&broken);
        assert!(said[0].ends_with("broken: entry 4 was altered") && said[1].contains("the hash aa"), "{said:?}");
        assert!(summary(&broken).contains("THE CHAIN IS BROKEN"));
    }
}
