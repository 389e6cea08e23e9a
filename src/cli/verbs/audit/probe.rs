//! `audit probe`: what real packets do, beside what they should.

use http_body_util::BodyExt;
use hyper::Method;

use super::{DRIFT, UNKNOWN, ask};
use crate::cli::client::{Client, Payload};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::table::align;
use crate::model::audit::{Probe, Sent, Verdict};

/// `audit probe`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Try {
    /// Only from this party: a container, host
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Only to this party
    #[arg(long, value_name = "WHO")]
    to: Option<String>,
    /// Only what does not agree, what was not tried, and the sum
    #[arg(short, long)]
    quiet: bool,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Try {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let query = [("from", &self.from), ("to", &self.to)];
        let query: Vec<_> = query.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
        let probe = self.answer(client, &query).await;
        // What could not be tried is not known: neither agreed nor otherwise.
        let (text, probe) = probe.map_err(|error| error.with_code(UNKNOWN))?;
        print(&if self.json { text } else { table(&probe, self.quiet) })?;
        // Who asks for somebody's flows is told nothing by there being none to try.
        Ok(if probe.sent.is_empty() && !query.is_empty() { UNKNOWN } else { code(&probe.sent) })
    }

    async fn answer(&self, client: &Client, query: &[(&str, &str)]) -> Result<(String, Probe), CliError> {
        let answer = client.open(Method::POST, "/pontoon/v1/audit/probe", query, Payload::Empty).await?;
        let answer = answer.into_body().collect().await.map_err(|error| CliError::new(error.to_string()))?.to_bytes();
        let value: serde_json::Value = ask::read(&answer)?;
        Ok((format!("{value:#}\n"), ask::read(&answer)?))
    }
}

/// Whether all is as it should be; where nothing could be said of any flow, that is not known.
fn code(sent: &[Sent]) -> u8 {
    let mut flows = sent.iter().filter(|it| it.cell.is_some()).peekable();
    match () {
        () if !sent.iter().all(Sent::agrees) => DRIFT,
        () if flows.peek().is_some() && flows.all(|it| it.found == Verdict::Unknown) => UNKNOWN,
        () => 0,
    }
}

/// For people: what disagrees first, then what was sent, what was not, and the sum.
fn table(probe: &Probe, quiet: bool) -> String {
    let agrees = |it: &&Sent| it.agrees() && it.found != Verdict::Unknown;
    let mut sent: Vec<_> = probe.sent.iter().filter(|it| !quiet || !agrees(it)).collect();
    sent.sort_by_key(|it| (it.agrees(), it.found != Verdict::Unknown));
    let mut rows = vec!["\tFROM\tTO\tSENT\tEXPECTED\tFOUND\tSEEN".to_owned()];
    rows.extend(sent.into_iter().map(row));
    let mut text = if rows.len() > 1 { align(&rows) } else { String::new() };
    for untried in &probe.untried {
        text += &format!("not tried: {untried}\n");
    }
    text + &sum(&probe.sent)
}

fn row(sent: &Sent) -> String {
    let mark = match (sent.agrees(), sent.found) {
        (false, _) => "DISAGREES",
        (true, Verdict::Unknown) => "unknown",
        (true, _) => "agrees",
    };
    let what = match sent.packets {
        1 => sent.what.clone(),
        count => format!("{} ({count} packets)", sent.what),
    };
    let rules = sent.cell.as_ref().map(|cell| cell.kernel).filter(|kernel| *kernel != sent.expected);
    let rules = rules.map(|kernel| format!(" (rules: {})", word(kernel))).unwrap_or_default();
    let (expected, found) = (word(sent.expected), word(sent.found));
    format!("{mark}\t{}\t{}\t{what}\t{expected}{rules}\t{found}\t{}", sent.from, sent.to, sent.seen)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Unknown => "unknown",
    }
}

/// `412 packets, 180 flows, 39 frames that nobody may send: all as intended`.
fn sum(sent: &[Sent]) -> String {
    let packets: u32 = sent.iter().map(|it| it.packets).sum();
    let flows = sent.iter().filter(|it| it.cell.is_some()).count();
    let disagree = sent.iter().filter(|it| !it.agrees()).count();
    let unknown = sent.iter().filter(|it| it.agrees() && it.found == Verdict::Unknown).count();
    let verdict = match (disagree, unknown) {
        _ if sent.is_empty() => "nothing was tried".to_owned(),
        (0, 0) => "all as intended".to_owned(),
        (0, unknown) if code(sent) == UNKNOWN => format!("nothing can be said, {unknown} unknown"),
        (0, unknown) => format!("as intended, but for {unknown} unknown"),
        (disagree, 0) => format!("{disagree} disagree"),
        (disagree, unknown) => format!("{disagree} disagree, {unknown} unknown"),
    };
    format!("{packets} packets, {flows} flows, {} frames that nobody may send: {verdict}\n", sent.len() - flows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Cell, Intended, Way};

    fn sent(to: &str, flow: bool, expected: Verdict, found: Verdict) -> Sent {
        let intent = if expected == Verdict::Allow { Intended::Allow } else { Intended::Deny };
        let cell = Cell {
            from: 0,
            to: 1,
            service: "80/tcp".parse().expect("service"),
            by: Way::Direct,
            intent,
            reason: 0,
            kernel: expected,
            decider: None,
            probe: Some(found),
            listening: None,
            hits: None,
        };
        Sent {
            from: "web".into(),
            to: to.into(),
            cell: flow.then_some(cell),
            what: "TCP SYN to 172.17.0.2:80".into(),
            packets: 1,
            expected,
            found,
            seen: "its words".into(),
        }
    }

    #[test]
    fn what_disagrees_comes_first() {
        use Verdict::{Allow, Deny, Unknown};
        let all =
            vec![sent("db", true, Allow, Allow), sent("cache", true, Allow, Unknown), sent("all", false, Deny, Allow)];
        let probe =
            Probe { version: 1, began: String::new(), sent: all, findings: vec![], untried: vec!["lan: why".into()] };
        insta::assert_snapshot!(table(&probe, false), @r"
                    FROM      TO        SENT                       EXPECTED   FOUND     SEEN
        DISAGREES   web       all       TCP SYN to 172.17.0.2:80   deny       allow     its words
        unknown     web       cache     TCP SYN to 172.17.0.2:80   allow      unknown   its words
        agrees      web       db        TCP SYN to 172.17.0.2:80   allow      allow     its words
        not tried: lan: why
        3 packets, 2 flows, 1 frames that nobody may send: 1 disagree, 1 unknown
        ");
        assert!(!table(&probe, true).contains("agrees "), "only what does not");
        assert_eq!(sum(&probe.sent[..1]), "1 packets, 1 flows, 0 frames that nobody may send: all as intended\n");
        assert!(sum(&[]).ends_with("nothing was tried\n"));
        assert_eq!((code(&probe.sent), code(&probe.sent[..1]), code(&probe.sent[..2])), (DRIFT, 0, 0));
        assert_eq!((code(&probe.sent[1..2]), code(&[])), (UNKNOWN, 0));
    }
}
