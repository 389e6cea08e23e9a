//! `audit explain`: one packet's way through the rules that are in the kernel.

use std::fmt::Write as _;

use serde_json::Value;

use super::{DENIED, UNKNOWN};
use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;

/// `audit explain`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Explain {
    /// The packet: src=ADDRESS dst=ADDRESS proto=tcp|udp|icmp|icmpv6|NUMBER, and as needed sport= dport= flags= type=
    /// code= iif=INTERFACE (or local) vlan= smac= dmac=
    #[arg(required = true, value_name = "KEY=VALUE")]
    packet: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Show also chains and rules that the packet passed without a match
    #[arg(long)]
    all: bool,
}

/// How to print it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Explain {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let packet = self.packet.join(" ");
        let answer = client.get("/pontoon/v1/audit/explain", &[("packet", &packet)]).await;
        // What cannot be asked or answered is not known, and never denied.
        let answer = answer.map_err(|error| error.with_code(UNKNOWN))?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| CliError::new(format!("the daemon's answer: {error}")).with_code(UNKNOWN))?;
        match self.format {
            Format::Json => print(&format!("{answer:#}\n"))?,
            Format::Text => print(&text(&answer, self.all))?,
        }
        Ok(match answer["explanation"]["judgement"].as_str() {
            Some("accept") => 0,
            Some("drop" | "reject") => DENIED,
            _ => UNKNOWN,
        })
    }
}

/// The answer for people.
fn text(answer: &Value, all: bool) -> String {
    let explanation = &answer["explanation"];
    let mut text = word(&explanation["judgement"]).to_uppercase();
    let because: Vec<String> = list(&explanation["because"]).map(word).collect();
    if !because.is_empty() {
        let _ = write!(text, ": it depends on {}", because.join("; "));
    }
    text.push('\n');
    // Questions that change nothing about the way are nobody's concern.
    let mut bodies: Vec<(String, Vec<String>)> = Vec::new();
    for way in list(&explanation["ways"]) {
        let steps: String = list(&way["steps"]).filter_map(|step| line(step, all)).collect();
        let body = format!("{steps}  => {}\n", word(&way["end"]));
        let assumed = list(&way["assuming"]).map(|assumption| {
            let answer = if assumption["answer"] == true { "yes" } else { "no" };
            format!("if {}: {answer}\n", word(&assumption["question"]))
        });
        match bodies.iter_mut().find(|(other, _)| *other == body) {
            Some((_, common)) => {
                let assumed: Vec<String> = assumed.collect();
                common.retain(|one| assumed.contains(one));
            }
            None => bodies.push((body, assumed.collect())),
        }
    }
    for (body, assumed) in &bodies {
        text += &assumed.concat();
        text += body;
    }
    if let Some(assumed) = answer["assumed"].as_str() {
        let _ = writeln!(text, "from a port of a program that chose none: {assumed}");
    }
    for what in list(&answer["unmodelled"]) {
        let _ = writeln!(text, "not looked at: {}", word(what));
    }
    text
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One step, unless it is of no interest.
fn line(step: &Value, all: bool) -> Option<String> {
    let place = || format!("{} {} {}", word(&step["family"]), word(&step["table"]), word(&step["chain"]));
    Some(match step["step"].as_str()? {
        "hook" => {
            let device = step["device"].as_str().map(|device| format!(" at {device}")).unwrap_or_default();
            format!("  {} {}{device}\n", word(&step["family"]), word(&step["hook"]))
        }
        "chain" if all => format!("    {} (priority {})\n", place(), word(&step["priority"])),
        "element" => {
            let hits = step["packets"].as_u64().map(|packets| format!(" (hits: {packets})")).unwrap_or_default();
            format!("    element {} of {}{hits}\n", word(&step["key"]), word(&step["set"]))
        }
        "rule" if all || step["verdict"].is_string() => {
            let verdict = match (step["matched"] == true, step["verdict"].as_str()) {
                (false, _) => "no match".to_owned(),
                (true, None) => "goes on".to_owned(),
                (true, Some(verdict)) => verdict.to_owned(),
            };
            let comment = step["comment"].as_str().map(|comment| format!(" \"{comment}\"")).unwrap_or_default();
            let rule = step["text"].as_str().map(|text| format!("      {text}\n")).unwrap_or_default();
            format!("    {} handle {}{comment}: {verdict}\n{rule}", place(), word(&step["handle"]))
        }
        "policy" if all || step["verdict"] == "drop" => format!("    {} policy: {}\n", place(), word(&step["verdict"])),
        "kernel" => format!("    {}\n", word(&step["what"])),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_lines() {
        let answer = serde_json::json!({
            "unmodelled": ["an XDP program at eth0"],
            "assumed": "sport=32768-60999",
            "explanation": { "judgement": "drop", "ways": [{ "end": "it is dropped", "assuming": [], "steps": [
                { "step": "hook", "family": "ip", "hook": "forward", "device": null },
                { "step": "rule", "family": "inet", "table": "t", "chain": "c", "handle": 3, "comment": null,
                  "matched": false, "verdict": null },
                { "step": "rule", "family": "inet", "table": "t", "chain": "c", "handle": 4, "comment": "no",
                  "matched": true, "verdict": "drop" },
            ] }] },
        });
        let expected = "DROP\n  ip forward\n    inet t c handle 4 \"no\": drop\n  => it is dropped\n\
                        from a port of a program that chose none: sport=32768-60999\n\
                        not looked at: an XDP program at eth0\n";
        assert_eq!(text(&answer, false), expected);
        assert!(text(&answer, true).contains("handle 3: no match"));
    }
}
