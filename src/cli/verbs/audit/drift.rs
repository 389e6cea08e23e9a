//! `audit drift`: what differs between what should be and what is.

use std::fmt::Write as _;

use hyper::Method;
use jiff::Timestamp;

use super::{DRIFT, UNKNOWN};
use crate::cli::client::{Client, Payload, whole};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::human;
use crate::model::audit::{Difference, Drift as Answer};

/// `audit drift`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Drift {
    /// Put right what is pontoon's; what is others' stays, and is listed with what to do about it
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Drift {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let (method, path) = match self.repair {
            true => (Method::POST, "/pontoon/v1/audit/drift/repair"),
            false => (Method::GET, "/pontoon/v1/audit/drift"),
        };
        let answer = async { whole(client.open(method, path, &[], Payload::Empty).await?).await };
        // What cannot be asked or answered is not known.
        let answer = answer.await.map_err(|error| error.with_code(UNKNOWN))?;
        let drift: Answer = serde_json::from_slice(&answer)
            .map_err(|error| CliError::new(format!("the daemon's answer: {error}")).with_code(UNKNOWN))?;
        match self.json {
            true => print(&format!("{}\n", String::from_utf8_lossy(&answer).trim_end()))?,
            false => print(&text(&drift, Timestamp::now()))?,
        }
        Ok(if drift.differences.is_empty() { 0 } else { DRIFT })
    }
}

/// Of what was put right, the newest that are told.
const MOST_REPAIRED: usize = 10;

/// The answer for people.
fn text(drift: &Answer, now: Timestamp) -> String {
    let mut text = match drift.differences.len() {
        0 if drift.unchecked.is_empty() => "no drift: everything is as it should be\n".to_owned(),
        0 => "no drift in what was looked at\n".to_owned(),
        1 => "1 difference between what should be and what is\n".to_owned(),
        count => format!("{count} differences between what should be and what is\n"),
    };
    for difference in &drift.differences {
        let _ = writeln!(text, "\n{}: {}", difference.kind, plain(&difference.what));
        let since = difference.since.as_deref().map(|since| format!("since {} ago", ago(since, now)));
        let by = difference.by.as_deref().map(|by| format!("by {}", plain(by)));
        let known: Vec<String> = [since, by].into_iter().flatten().collect();
        if !known.is_empty() {
            let _ = writeln!(text, "    {}", known.join(", "));
        }
        match &difference.remedy {
            Some(remedy) => _ = writeln!(text, "    --repair leaves it: {}", plain(remedy)),
            None => text.push_str("    --repair puts it right\n"),
        }
    }
    part(
        &mut text,
        "what containers may have done to themselves, which their capabilities let them",
        &drift.own_doing,
        |it| format!("{}: {}", it.kind, plain(&it.what)),
    );
    for what in &drift.unchecked {
        let _ = writeln!(text, "\nnot looked at: {}", plain(what));
    }
    let newest = &drift.repaired[..drift.repaired.len().min(MOST_REPAIRED)];
    part(&mut text, "put right", newest, |it| {
        let since = it.since.as_deref().map(|since| format!("{} ago: ", ago(since, now))).unwrap_or_default();
        let by = it.by.as_deref().map(|by| format!("{}: ", plain(by))).unwrap_or_default();
        format!("{since}{by}{}", plain(&it.what))
    });
    match drift.repaired.len() - newest.len() {
        0 => {}
        earlier => _ = writeln!(text, "    and {earlier} earlier: `pontoon audit history`"),
    }
    text
}

fn part(text: &mut String, title: &str, differences: &[Difference], line: impl Fn(&Difference) -> String) {
    if !differences.is_empty() {
        let _ = writeln!(text, "\n{title}:");
    }
    for difference in differences {
        let _ = writeln!(text, "    {}", line(difference));
    }
}

fn ago(since: &str, now: Timestamp) -> String {
    match since.parse::<Timestamp>() {
        Ok(since) => human::duration(now.as_second() - since.as_second()).to_lowercase(),
        Err(_) => plain(since),
    }
}

/// Others choose the names of interfaces and tables: what they hold must not reach the terminal as commands.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Subject, VERSION};

    fn difference(what: &str, by: Option<&str>, remedy: Option<&str>) -> Difference {
        Difference {
            subject: Subject::Element,
            kind: "element-missing".to_owned(),
            what: what.to_owned(),
            containers: vec![],
            since: Some("2026-01-02T03:04:05.678Z".to_owned()),
            by: by.map(str::to_owned),
            repaired: false,
            remedy: remedy.map(str::to_owned),
        }
    }

    fn answer(differences: Vec<Difference>, repaired: Vec<Difference>) -> Answer {
        let taken = String::new();
        Answer { version: VERSION, taken, differences, own_doing: vec![], repaired, unchecked: vec![] }
    }

    #[test]
    fn each_difference_says_what_since_when_and_by_whom() {
        let now = "2026-01-02T03:04:17Z".parse().expect("a time");
        let differences =
            vec![difference("a \u{1b}[2J", Some("nft (pid 42)"), None), difference("b", None, Some("do c"))];
        let expected = "2 differences between what should be and what is\n\n\
                        element-missing: a \u{fffd}[2J\n    since 12 seconds ago, by nft (pid 42)\n    --repair puts it right\n\n\
                        element-missing: b\n    since 12 seconds ago\n    --repair leaves it: do c\n";
        assert_eq!(text(&answer(differences, vec![]), now), expected);
        let eleven: Vec<_> = (0..11).map(|_| difference("deleted table inet t", None, None)).collect();
        let told = text(&Answer { unchecked: vec!["tc".to_owned()], ..answer(vec![], eleven) }, now);
        assert!(told.starts_with("no drift in what was looked at\n\nnot looked at: tc\n"), "{told}");
        assert!(told.ends_with("t\n    and 1 earlier: `pontoon audit history`\n"), "{told}");
        let repaired = vec![difference("deleted table inet t", Some("nft (pid 42)"), None)];
        let expected = "no drift: everything is as it should be\n\nput right:\n    \
                        12 seconds ago: nft (pid 42): deleted table inet t\n";
        assert_eq!(text(&answer(vec![], repaired), now), expected);
    }
}
