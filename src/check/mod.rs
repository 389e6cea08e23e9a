//! What this machine can do: each thing that the daemon needs, found or missing, and what to do about it.
//!
//! The daemon asks at its start, `pontoon check` asks for a person. Everything is tried, not looked up, in namespaces
//! made for it and gone with its thread: the host keeps its interfaces, rules, mounts and parameters.

mod machine;
mod network;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Found,
    /// The daemon runs without it, but not everything will work.
    Limited,
    /// The daemon cannot run.
    Missing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Found => "found",
            Self::Limited => "limited",
            Self::Missing => "MISSING",
        })
    }
}

/// One thing that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What.
    pub name: &'static str,
    /// Whether.
    pub outcome: Outcome,
    /// What was found, or how the attempt failed.
    pub detail: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

impl Item {
    fn found(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Found, detail: detail.into(), advice: None }
    }

    fn missing(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Missing, detail: detail.into(), advice: Some(advice.into()) }
    }

    fn limited(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Limited, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// All that was looked for, in an order that a person can work through: what comes first may be the cause of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One by one.
    pub items: Vec<Item>,
}

impl Report {
    /// Nothing that the daemon needs is missing.
    pub fn can_run(&self) -> bool {
        self.missing().next().is_none()
    }

    /// What is missing.
    pub fn missing(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.outcome == Outcome::Missing)
    }

    /// What is missing and what to do about the first of it, as one line for a log. Empty if nothing is.
    pub fn complaint(&self) -> String {
        let names: Vec<&str> = self.missing().map(|item| item.name).collect();
        let Some(first) = self.missing().next() else { return String::new() };
        let advice = first.advice.as_deref().unwrap_or("see its documentation");
        format!(
            "this machine lacks: {}. {}: {}; {advice} (`pontoon check` shows all)",
            names.join(", "),
            first.name,
            first.detail
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.items.iter().map(|item| item.name.len()).max().unwrap_or_default();
        for item in &self.items {
            writeln!(f, "{:<7}  {:<width$}  {}", item.outcome, item.name, item.detail)?;
            if let Some(advice) = &item.advice {
                writeln!(f, "{:7}  {:width$}  -> {advice}", "", "")?;
            }
        }
        match self.missing().count() {
            0 => writeln!(f, "\nThe daemon can run on this machine."),
            count => writeln!(f, "\nThe daemon cannot run on this machine: {count} of {} missing.", self.items.len()),
        }
    }
}

/// Looks for everything. Takes some tens of milliseconds, and waits for a thread and for nft.
pub fn run() -> Report {
    let mut items = vec![machine::capabilities(), machine::kernel()];
    items.extend(network::items());
    items.extend([machine::cgroups(), machine::seccomp()]);
    Report { items }
}

/// The same, and what of this host's own firewall would be in the way of a daemon with default options. (A daemon that
/// starts looks for that itself, knowing its options.)
pub fn run_for_people() -> Report {
    let mut report = run();
    report.items.extend(network::obstacles());
    report
}

/// `pontoon check`: prints the report; exit code 1 if the daemon could not run.
pub fn main(report: &Report) -> ExitCode {
    // A reader that went away (`pontoon check | head`) is no reason to panic: the exit code tells too.
    let _ = write!(std::io::stdout().lock(), "{report}");
    if report.can_run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_to_do() {
        let report = Report {
            items: vec![
                Item::found("kernel", "6.1.0"),
                Item::limited("cgroups", "v1 without pids", "mount it"),
                Item::missing("nft", "not found", "apt install nftables"),
            ],
        };
        assert!(!report.can_run());
        insta::assert_snapshot!(report, @r"
        found    kernel   6.1.0
        limited  cgroups  v1 without pids
                          -> mount it
        MISSING  nft      not found
                          -> apt install nftables

        The daemon cannot run on this machine: 1 of 3 missing.
        ");
        assert_eq!(
            report.complaint(),
            "this machine lacks: nft. nft: not found; apt install nftables (`pontoon check` shows all)"
        );
        assert_eq!(Report { items: vec![] }.complaint(), "");
    }
}
