//! `audit why`: whether one may reach another, and what decides.

use std::fmt::Write as _;

use super::{DENIED, UNKNOWN, ask, matrix};
use crate::cli::client::Client;
use crate::cli::error::Outcome;
use crate::cli::print;
use crate::model::audit::{Asked, Decider, Intended, Verdict, Why, WhyWay};

/// `audit why`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Ask {
    /// Who: a container (name or id), host, lan, bridge:PORT, outside, or an address
    #[arg(value_name = "FROM")]
    from: String,
    /// To whom
    #[arg(value_name = "TO")]
    to: String,
    /// About what: 5432, 5432/tcp, tcp/5432, 9000-9099/udp or icmp; without it, all that matters at the target
    #[arg(value_name = "PROTO/PORT")]
    service: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How to print it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Ask {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let mut query = vec![("from", self.from.as_str()), ("to", self.to.as_str())];
        query.extend(self.service.as_deref().map(|service| ("service", service)));
        // What cannot be asked or answered is not known, and never denied.
        let answer = client.get("/pontoon/v1/audit/why", &query).await.map_err(|error| error.with_code(UNKNOWN))?;
        let why: Why = ask::read(&answer).map_err(|error| error.with_code(UNKNOWN))?;
        match self.format {
            Format::Json => print(&String::from_utf8_lossy(&answer))?,
            Format::Text => print(&text(&why))?,
        }
        Ok(match why.verdict {
            Verdict::Allow => 0,
            Verdict::Deny => DENIED,
            Verdict::Unknown => UNKNOWN,
        })
    }
}

/// The answer, then each way with its evidence.
fn text(why: &Why) -> String {
    why.ways.iter().fold(format!("{}\n", why.answer), |text, way| text + "\n" + &evidence(way))
}

fn evidence(way: &WhyWay) -> String {
    let cell = &way.cell;
    let verdict = match cell.verdict() {
        Verdict::Allow => "ALLOWED",
        Verdict::Deny => "DENIED",
        Verdict::Unknown => "UNKNOWN",
    };
    let mut text = format!("{verdict} {} ({})\n", cell.service, matrix::way(cell));
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "  {name:<8} {what}");
    };
    let should = match cell.intent {
        Intended::Allow => "allow",
        Intended::Deny => "deny",
        Intended::Silent => "the host's own business",
    };
    line("intent", &format!("{should}: {}", way.because));
    if let Some(option) = &way.option {
        line("option", option);
    }
    if let Some(asked) = &way.asked {
        line("asked", &asked_words(asked));
    }
    if let Some(decider) = &way.decider {
        line("rule", &place(decider));
        if let Some(rule) = &decider.rule {
            line("", rule);
        }
        if let Some(element) = &decider.element {
            line("element", element);
        }
        if let Some(hits) = decider.hits {
            line("hits", &attempts(hits));
        }
        if let Some(packets) = decider.packets {
            line("counter", &format!("{packets} packets"));
        }
    }
    for what in &way.unknown {
        line("unknown", what);
    }
    if cell.listening == Some(false) {
        line("listens", "nobody");
    }
    if !way.packet.is_empty() {
        line("packet", &format!("pontoon audit explain '{}'", way.packet));
    }
    text
}

fn attempts(hits: u64) -> String {
    match hits {
        0 => "none: nobody has used it".to_owned(),
        1 => "1 connection attempt".to_owned(),
        more => format!("{more} connection attempts"),
    }
}

fn asked_words(asked: &Asked) -> String {
    let entry = asked.entry.map(|entry| format!(" (history entry {entry})")).unwrap_or_default();
    let by = if asked.by.is_empty() { String::new() } else { format!(" by {}", asked.by) };
    format!("{}{by}: {}{entry}", asked.when, asked.request)
}

fn place(decider: &Decider) -> String {
    let Decider { family, table, chain, verdict, own, .. } = decider;
    let handle = decider.handle.map_or_else(|| "policy".to_owned(), |handle| format!("handle {handle}"));
    let whose = if *own { "" } else { " (not Pontoon's)" };
    format!("{family} {table} {chain} {handle}: {verdict}{whose}")
}
