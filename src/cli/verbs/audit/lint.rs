//! `audit lint`: holes that are wider than their purpose.

use std::fmt::Write as _;

use super::ask::read;
use crate::cli::client::Client;
use crate::cli::error::Outcome;
use crate::cli::print;
use crate::model::audit::{Finding, Linted, Severity};

/// `audit lint`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Lint {
    /// Of links and published ports that were never used, tell those that are open for at least this long
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    unused_for: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Lint {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let query = [("unused-for", self.unused_for.as_str())];
        let linted: Linted = read(&client.get("/pontoon/v1/audit/lint", &query).await?)?;
        match self.json {
            true => print(&(serde_json::to_string_pretty(&linted).unwrap_or_default() + "\n"))?,
            false => print(&text(&linted.findings))?,
        }
        Ok(u8::from(!linted.findings.is_empty()))
    }
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "No hole is wider than its purpose.\n".to_owned();
    }
    let mut text = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::High => "HIGH",
            Severity::Medium => "MEDIUM",
            Severity::Low => "LOW",
        };
        let _ = writeln!(text, "{severity:<6}  {}: {}.", finding.kind, finding.what);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "        {}", finding.remedy);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_two_lines() {
        let finding = Finding {
            kind: "net-raw".to_owned(),
            severity: Severity::Low,
            what: "web was given NET_RAW".to_owned(),
            remedy: "Leave it out.".to_owned(),
            parties: vec![],
        };
        assert_eq!(text(&[finding]), "LOW     net-raw: web was given NET_RAW.\n        Leave it out.\n");
        assert_eq!(text(&[]), "No hole is wider than its purpose.\n");
    }
}
