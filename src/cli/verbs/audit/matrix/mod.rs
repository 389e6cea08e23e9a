//! `audit matrix`: who can talk to whom.

mod csv;
mod graph;
mod table;

use hyper::Method;

use super::{UNKNOWN, ask, report};
use crate::cli::client::{Client, Payload, whole};
use crate::cli::error::Outcome;
use crate::cli::print;
use crate::model::audit::{Cell, Matrix, Way};
use crate::report::{Kept, page};

/// `audit matrix`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// Only from this container (name or id), host, lan, outside, or address
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Only to this one
    #[arg(long, value_name = "WHO")]
    to: Option<String>,
    /// Send real packets, too, and show what they did beside the other verdicts (see `audit probe`)
    #[arg(long)]
    probe: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How to print it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Findings, then a line for each pair and reason
    Table,
    /// The audit's JSON, version 1
    Json,
    /// A line for each flow
    Csv,
    /// What is allowed, for Graphviz
    Dot,
    /// What is allowed, for Mermaid
    Mermaid,
    /// The report: one page for a browser, with findings, drift, history and denied packets
    Html,
}

impl Show {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let wanted = [("from", &self.from), ("to", &self.to)];
        let query: Vec<(&str, &str)> = wanted.iter().filter_map(|(key, who)| Some((*key, who.as_deref()?))).collect();
        // Who sends packets does something.
        let method = if self.probe { Method::POST } else { Method::GET };
        let answer =
            async { whole(client.open(method, "/pontoon/v1/audit/matrix", &query, Payload::Empty).await?).await };
        // Of whom nobody knows, nothing is known.
        let answer = answer.await.map_err(|error| error.with_code(UNKNOWN))?;
        if matches!(self.format, Format::Json) {
            print(&String::from_utf8_lossy(&answer))?;
            return Ok(0);
        }
        let matrix: Matrix = ask::read(&answer)?;
        if matches!(self.format, Format::Html) {
            print(&page(&report::about(client, matrix).await?, Kept::File))?;
            return Ok(0);
        }
        print(&match self.format {
            Format::Csv => csv::text(&matrix),
            Format::Dot => graph::dot(&matrix),
            Format::Mermaid => graph::mermaid(&matrix),
            Format::Table | Format::Json | Format::Html => table::text(&matrix),
        })?;
        Ok(0)
    }
}

/// A way in words.
pub(super) fn way(cell: &Cell) -> String {
    match &cell.by {
        Way::Direct => "direct".to_owned(),
        Way::Link { alias } => format!("link {alias}"),
        Way::Publish { host } => format!("publish {}:{}", host.0, host.1),
        Way::Hairpin { host } => format!("hairpin {}:{}", host.0, host.1),
        Way::Shared => "shared".to_owned(),
    }
}

#[cfg(test)]
mod samples;
