//! `audit assert`: expectations from a file, held against what is; for people and for CI.

mod formats;

use std::io::Read;
use std::os::unix::fs::FileTypeExt;

use http_body_util::BodyExt;
use hyper::Method;

use super::ask::read as read_answer;
use crate::cli::client::{Client, Payload, broken};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::model::audit::Checked;

/// Bytes of expectations.
const MOST: u64 = 1 << 20;
/// What cannot be asked or read is not known, and never kept.
const UNKNOWN: u8 = 2;

/// `audit assert`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Assert {
    /// The file of expectations: TOML with [[allow]] and [[deny]] tables and default = "deny"; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Send real packets, too
    #[arg(long)]
    probe: bool,
    /// How to print what comes of it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How to print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    /// Test Anything Protocol, version 13
    Tap,
    Junit,
    /// SARIF 2.1.0
    Sarif,
    Json,
}

impl Assert {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let text = read(&self.file).map_err(|error| error.with_code(UNKNOWN))?;
        let checked = self.ask(client, &text).await.map_err(|error| error.with_code(UNKNOWN))?;
        let shown = match self.format {
            Format::Table => formats::table(&checked),
            Format::Tap => formats::tap(&checked),
            Format::Junit => formats::junit(&checked, &self.file),
            Format::Sarif => formats::sarif(&checked, &self.file),
            Format::Json => serde_json::to_string_pretty(&checked).unwrap_or_default() + "\n",
        };
        print(&shown)?;
        Ok(checked.outcome().code())
    }

    async fn ask(&self, client: &Client, text: &str) -> Result<Checked, CliError> {
        let probe = if self.probe { "1" } else { "0" };
        let payload = Payload::Json(&serde_json::Value::String(text.to_owned()));
        let answer = client.open(Method::POST, "/pontoon/v1/audit/assert", &[("probe", probe)], payload).await;
        let answer = answer.map_err(|error| match error.status {
            Some(400) => CliError::new(format!("{}: {error}", self.file)),
            _ => error,
        })?;
        let answer = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        read_answer(&answer)
    }
}

fn read(file: &str) -> Result<String, CliError> {
    let cannot = |error: std::io::Error| CliError::new(format!("cannot read {file}: {error}"));
    let no_file = || CliError::new(format!("cannot read {file}: it is neither a file nor a pipe"));
    let source: Box<dyn Read> = if file == "-" {
        Box::new(std::io::stdin())
    } else {
        let kind = std::fs::metadata(file).map_err(cannot)?.file_type();
        if !kind.is_file() && !kind.is_fifo() {
            return Err(no_file());
        }
        Box::new(std::fs::File::open(file).map_err(cannot)?)
    };
    let mut text = String::new();
    source.take(MOST + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MOST {
        return Err(CliError::new(format!("cannot read {file}: it is longer than 1 MiB")));
    }
    Ok(text)
}
