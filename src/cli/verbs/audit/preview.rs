//! `audit preview`: what a run would change.

use std::fmt::Write as _;

use http_body_util::BodyExt;
use hyper::Method;

use super::ask::read;
use crate::cli::client::{Client, Payload, broken};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::verbs::run::Run;
use crate::model::audit;

/// `audit preview`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    override_usage = "pontoon audit preview [--json] [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_help = "\
Takes what `run` takes, and runs nothing:
  pontoon audit preview -p 8080:80 --link db web"
)]
pub(in crate::cli) struct Preview {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: Run,
}

impl Preview {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let body = serde_json::to_value(self.run.body()?).map_err(|error| CliError::new(error.to_string()))?;
        let name = self.run.name().unwrap_or_default();
        let answer =
            client.open(Method::POST, "/pontoon/v1/audit/preview", &[("name", name)], Payload::Json(&body)).await?;
        let answer = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        let preview: audit::Preview = read(&answer)?;
        match self.json {
            true => print(&(serde_json::to_string_pretty(&preview).unwrap_or_default() + "\n"))?,
            false => print(&text(&preview))?,
        }
        Ok(0)
    }
}

fn text(preview: &audit::Preview) -> String {
    let mut text = String::new();
    for warning in &preview.warnings {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    let _ = writeln!(text, "{} ({}) would change:", preview.name, preview.mode);
    for line in preview.delta.lines().iter().chain(&preview.notes) {
        let _ = writeln!(text, "  {line}");
    }
    if preview.delta.is_empty() && preview.notes.is_empty() {
        text += "  nothing\n";
    }
    text
}
