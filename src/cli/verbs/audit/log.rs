//! `audit log`: packets that were denied.

use futures_util::StreamExt;
use hyper::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::client::{self, Client, Payload, lines};
use crate::cli::error::Outcome;
use crate::cli::print;
use crate::cli::render::table::align;
use crate::cli::verbs::time;
use crate::model::audit::{ContainerCounts, Correspondent, Counts, Denial, DenialLog, LogLine};

/// `audit log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Packets that are the same (cause, sender, receiver, protocol and port) are one line with their number. Each container's are
logged at a rate of its own; the last line says how many there were in all, by the kernel's counters, and what became of
those that are not shown.

Examples:
  pontoon audit log --container web --since 10m     what web was denied in the last ten minutes
  pontoon audit log -f --json                       each denial as a line of JSON, as it comes")]
pub(in crate::cli) struct Log {
    /// Go on, with each denial as it comes
    #[arg(short, long)]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only what this container sent, what was for it, and what was sent in its name
    #[arg(long, value_name = "CONTAINER")]
    container: Option<String>,
    /// Only what was seen after this time: 10m, 2026-01-02T15:04:05, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

const PATH: &str = "/pontoon/v1/audit/log";

impl Log {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let since = self.since.as_deref().map(|text| time::api_time(text, Timestamp::now())).transpose()?;
        let mut query = Vec::new();
        query.extend(since.as_deref().map(|since| ("since", since)));
        query.extend(self.container.as_deref().map(|container| ("container", container)));
        if self.follow {
            query.push(("follow", "1"));
            return self.follow(client, &query).await;
        }
        let answer = client.get(PATH, &query).await?;
        if self.json {
            let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(client::broken)?;
            print(&format!("{answer:#}\n"))?;
        } else {
            let log: DenialLog = serde_json::from_slice(&answer).map_err(client::broken)?;
            print(&text(&log, self.container.is_some()))?;
        }
        Ok(0)
    }

    async fn follow(&self, client: &Client, query: &[(&str, &str)]) -> Outcome {
        let response = client.open(Method::GET, PATH, query, Payload::Empty).await?;
        let mut lines = lines(response.into_body());
        while let Some(line) = lines.next().await {
            let line = line?;
            if self.json {
                print(&format!("{}\n", String::from_utf8_lossy(&line).trim_end()))?;
                continue;
            }
            let line: LogLine = serde_json::from_slice(&line).map_err(client::broken)?;
            print(&followed(&line))?;
        }
        Ok(0)
    }
}

/// The whole answer for people.
fn text(log: &DenialLog, of_one: bool) -> String {
    let mut text = String::new();
    if !log.denials.is_empty() {
        let mut rows = vec!["LAST SEEN\tCAUSE\tFROM\tTO\tWHAT\tPACKETS".to_owned()];
        rows.extend(log.denials.iter().map(|denial| format!("{}\t{}", row(denial), denial.packets)));
        text += &align(&rows);
    }
    if of_one {
        text += &log.containers.iter().map(of_container).collect::<String>();
    }
    text += &format!("{}{}\n", if of_one { "all containers: " } else { "" }, in_words(&log.total));
    if let Some(trouble) = &log.trouble {
        text += &format!("not listening: {trouble}\n");
    }
    text
}

/// Tab-separated: when, why, from whom, to whom, what.
fn row(denial: &Denial) -> String {
    let from = match &denial.claims {
        Some(claims) => format!("{} claiming to be {}", sender(&denial.from), place(claims)),
        None => sender(&denial.from),
    };
    format!("{}\t{}\t{from}\t{}\t{}", clock(&denial.last), denial.cause, place(&denial.to), denial.what)
}

/// `web (veth1234567)`, `192.0.2.9 (by eth0)`.
fn sender(from: &Correspondent) -> String {
    match (&from.name, &from.interface) {
        (Some(name), Some(interface)) => format!("{name} ({interface})"),
        (None, Some(interface)) => format!("{} (by {interface})", place(from)),
        (_, None) => place(from),
    }
}

/// `172.17.0.5 (db)`; a MAC where it is what counts.
fn place(who: &Correspondent) -> String {
    let place = [who.address.map(|address| address.to_string()), who.mac.clone()];
    let place = place.into_iter().flatten().collect::<Vec<_>>().join(" at ");
    match (&who.name, place.is_empty()) {
        (Some(name), true) => name.clone(),
        (Some(name), false) => format!("{place} ({name})"),
        (None, true) => "somebody".to_owned(),
        (None, false) => place,
    }
}

/// Local time with milliseconds, as it came if it is none.
fn clock(rfc3339: &str) -> String {
    let time = rfc3339.parse::<Timestamp>();
    time.map_or_else(
        |_| rfc3339.to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

fn of_container(counts: &ContainerCounts) -> String {
    let unlogged = counts.denied.saturating_sub(counts.logged);
    let ContainerCounts { name, cause, denied, logged, .. } = counts;
    format!("{name}: {cause}: {} denied, {logged} logged, {unlogged} not\n", packets(*denied))
}

/// `12 packets denied: 5 shown, 7 not logged (rate limit), 0 lost`.
fn in_words(total: &Counts) -> String {
    let Counts { denied, shown, forgotten, unlogged, lost, unheard, earlier } = *total;
    let mut text =
        format!("{} denied: {shown} shown, {unlogged} not logged (rate limit), {lost} lost", packets(denied));
    for (number, what) in [
        (forgotten, "pushed out by later ones of the same container"),
        (unheard, "not logged while no daemon was listening"),
        (earlier, "told to the daemon before"),
    ] {
        if number > 0 {
            text += &format!(", {number} {what}");
        }
    }
    text
}

fn packets(number: u64) -> String {
    if number == 1 { "1 packet".to_owned() } else { format!("{number} packets") }
}

fn followed(line: &LogLine) -> String {
    let mut text = String::new();
    if let Some(denial) = &line.denial {
        let times = if denial.packets > 1 { format!(" ({} times)", denial.packets) } else { String::new() };
        let row = row(denial);
        let [when, cause, from, to, what] = row.split('\t').collect::<Vec<_>>()[..] else { return row };
        text += &format!("{when} {cause}: {from} to {to}: {what}{times}\n");
    }
    if let Some(total) = &line.total {
        text += &format!("-- {}\n", in_words(total));
    }
    if let Some(missed) = line.missed {
        text += &format!("-- {missed} lines are missing: they came faster than they were read\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial() -> Denial {
        let from = Correspondent {
            name: Some("web".into()),
            interface: Some("veth1".into()),
            address: Some([172, 17, 0, 3].into()),
            ..Correspondent::default()
        };
        let db = |mac: Option<&str>| Correspondent {
            name: Some("db".into()),
            address: Some([172, 17, 0, 5].into()),
            mac: mac.map(str::to_owned),
            ..Correspondent::default()
        };
        Denial {
            cause: "spoofed-ip".into(),
            from,
            claims: Some(db(None)),
            to: db(Some("02:42:ac:11:00:05")),
            what: "tcp/5432".into(),
            port: Some(5432),
            packets: 3,
            first: "x".into(),
            last: "y".into(),
        }
    }

    #[test]
    fn a_lie_is_shown_with_who_tells_it() {
        let line = LogLine { version: 1, denial: Some(denial()), total: None, missed: None };
        assert_eq!(
            followed(&line),
            "y spoofed-ip: web (veth1) claiming to be 172.17.0.5 (db) to 172.17.0.5 at 02:42:ac:11:00:05 (db): tcp/5432 (3 times)\n"
        );
        let stranger = Correspondent {
            address: Some([192, 0, 2, 9].into()),
            interface: Some("eth0".into()),
            ..Correspondent::default()
        };
        assert_eq!(sender(&stranger), "192.0.2.9 (by eth0)");
    }

    #[test]
    fn every_packet_is_in_the_sum() {
        let total = Counts { denied: 12, shown: 5, unlogged: 7, ..Counts::default() };
        assert_eq!(in_words(&total), "12 packets denied: 5 shown, 7 not logged (rate limit), 0 lost");
        let total = Counts { denied: 1, unheard: 1, ..Counts::default() };
        assert!(in_words(&total).ends_with("0 lost, 1 not logged while no daemon was listening"));
    }
}
