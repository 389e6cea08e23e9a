//! `inspect` and `network inspect`: what the daemon answers, unabridged and in its order.

use bytes::Bytes;
use serde_json::Value;

use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::render::{json, template::Template};
use crate::cli::{complain, print};

/// `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon inspect -f '{{.State.Status}}' web
  pontoon inspect -f '{{.NetworkSettings.IPAddress}}' web
  pontoon inspect -f '{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{json $c}}{{println}}{{end}}' web")]
pub(in crate::cli) struct Inspect {
    /// A Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes of containers too
    #[arg(short, long)]
    size: bool,
    /// What the names mean: container, image or network [default: whichever there is]
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    Container,
    Image,
    Network,
}

/// `network inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon network inspect bridge
  pontoon network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{println}}{{end}}' bridge")]
pub(in crate::cli) struct InspectNetwork {
    /// A Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted, and without effect: there is nothing more to tell
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl InspectNetwork {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let Self { format, names, .. } = self;
        Inspect { format, size: false, kind: None, names }.run(client, Some(Kind::Network)).await
    }
}

impl Inspect {
    /// `kind` is that of the noun on the command line, if there was one.
    pub(in crate::cli) async fn run(self, client: &Client, kind: Option<Kind>) -> Outcome {
        let kind = match self.kind.as_deref() {
            None => kind,
            Some("container") => Some(Kind::Container),
            Some("image") => Some(Kind::Image),
            Some("network") => Some(Kind::Network),
            Some(other) => return Err(CliError::new(format!("{other:?} is not a valid value for --type"))),
        };
        let format = self.format.as_deref().filter(|format| *format != "json");
        let template =
            format.map(Template::parse).transpose().map_err(|error| CliError::new(error.to_string()).with_code(64))?;
        let mut found: Vec<String> = Vec::new();
        let mut code = 0;
        for name in &self.names {
            match self.look_up(client, name, kind).await {
                Ok(json) => found.push(String::from_utf8_lossy(&json).trim().to_owned()),
                Err(error) => {
                    complain(&error);
                    code = 1;
                }
            }
        }
        let text = match &template {
            None if self.format.is_some() => found.iter().map(|json| format!("{json}\n")).collect(),
            None => list(&found),
            Some(template) => {
                let show = |json: &String| {
                    let value: Value = serde_json::from_str(json).map_err(client::broken)?;
                    template.render(&value).map(|text| text + "\n").map_err(|error| CliError::new(error.to_string()))
                };
                found.iter().map(show).collect::<Result<String, CliError>>()?
            }
        };
        print(&text)?;
        Ok(code)
    }

    async fn look_up(&self, client: &Client, name: &str, kind: Option<Kind>) -> Result<Bytes, CliError> {
        let kinds = [Kind::Container, Kind::Image, Kind::Network];
        for wanted in kinds.into_iter().filter(|wanted| kind.is_none_or(|kind| kind == *wanted)) {
            // An image's name may have slashes in it, and a link's: `source/alias`, by which its target is meant.
            if kind.is_none() && wanted == Kind::Network && name.trim_start_matches('/').contains('/') {
                continue;
            }
            let answer = match wanted {
                Kind::Container => {
                    let size: &[(&str, &str)] = if self.size { &[("size", "1")] } else { &[] };
                    client.get(&format!("/containers/{}/json", client::container(name)?), size).await
                }
                Kind::Image => client.get(&format!("/images/{}/json", client::image(name)?), &[]).await,
                Kind::Network => client.get(&format!("/networks/{}", client::network(name)?), &[]).await,
            };
            match answer {
                Err(error) if error.status == Some(404) && kind.is_none() => {}
                outcome => return outcome,
            }
        }
        Err(CliError::new(format!("no such object: {name}")))
    }
}

/// JSON texts as the elements of one array.
fn list(found: &[String]) -> String {
    if found.is_empty() {
        return "[]\n".to_owned();
    }
    let items: Vec<String> = found.iter().map(|text| format!("    {}", json::indent(text, 1))).collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_with_four_blanks_a_level() {
        let found = [r#"{"Id":"a","State":{"Pid":1}}"#.to_owned(), "{}".to_owned()];
        assert_eq!(
            list(&found),
            "[\n    {\n        \"Id\": \"a\",\n        \"State\": {\n            \"Pid\": 1\n        }\n    },\n    {}\n]\n"
        );
        assert_eq!(list(&[]), "[]\n");
    }
}
