//! `events`.

use futures_util::StreamExt;
use hyper::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::{filters_query, time};
use crate::cli::client::{self, Client, Payload, lines};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::template::Template;

/// `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon events --since 10m --until 0s             what happened in the last ten minutes
  pontoon events -f type=container -f event=die --format '{{.Actor.Attributes.name}} {{.Action}}'")]
pub(in crate::cli) struct Events {
    /// Only those that match: type=, event=, container=, image=, label=; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// A Go template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Those after this time too: 10m, 2026-01-02T15:04:05, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those before this time; then it ends
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Events {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let now = Timestamp::now();
        let since = self.since.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let until = self.until.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let filters = filters_query(&self.filter)?;
        let mut query = vec![("filters", filters.as_str())];
        query.extend(since.as_deref().map(|time| ("since", time)));
        query.extend(until.as_deref().map(|time| ("until", time)));
        let template = match self.format.as_deref() {
            None | Some("json") => None,
            Some(format) => Some(Template::parse(format).map_err(|error| CliError::new(error.to_string()))?),
        };
        let response = client.open(Method::GET, "/events", &query, Payload::Empty).await?;
        let mut lines = lines(response.into_body());
        while let Some(line) = lines.next().await {
            let line = line?;
            if self.format.as_deref() == Some("json") {
                print(&format!("{}\n", String::from_utf8_lossy(&line).trim_end()))?;
                continue;
            }
            let event: Value = serde_json::from_slice(&line).map_err(client::broken)?;
            let text = match &template {
                Some(template) => template.render(&event).map_err(|error| CliError::new(error.to_string()))?,
                None => show(&event),
            };
            print(&format!("{text}\n"))?;
        }
        Ok(0)
    }
}

/// `time type action id (name=value, …)`.
fn show(event: &Value) -> String {
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nanos = event["timeNano"].as_i64().unwrap_or_default();
    let attributes = event["Actor"]["Attributes"].as_object();
    let attributes: Vec<String> =
        attributes.into_iter().flatten().map(|(name, value)| format!("{name}={}", field(value))).collect();
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    let (kind, action, id) = (field(&event["Type"]), field(&event["Action"]), field(&event["Actor"]["ID"]));
    format!("{} {kind} {action} {id}{attributes}", time::rfc3339_nano(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line() {
        let event = json!({
            "Type": "container", "Action": "die", "timeNano": 1_000_000_000i64,
            "Actor": {"ID": "abc", "Attributes": {"name": "web", "exitCode": "0"}}
        });
        let line = show(&event);
        assert!(line.ends_with(" container die abc (exitCode=0, name=web)"), "{line}");
    }
}
