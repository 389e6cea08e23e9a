//! `logs`.

use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use hyper::Method;
use jiff::Timestamp;
use tokio_util::io::StreamReader;

use super::{start, time};
use crate::cli::client::{self, Client, Payload};
use crate::cli::error::Outcome;
use crate::cli::streams::copy_output;

/// `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon logs --tail 20 -f web         the last 20 lines, and those to come
  pontoon logs --since 10m -t web       the last ten minutes, with times")]
pub(in crate::cli) struct Logs {
    /// Go on as long as the container runs
    #[arg(short, long)]
    follow: bool,
    /// Lines after this time: 10m, 2026-01-02T15:04:05, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Lines before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Accepted; there are no further details
    #[arg(long)]
    details: bool,
    /// Name or id
    container: String,
}

impl Logs {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let id = client::container(&self.container)?;
        let now = Timestamp::now();
        let since = self.since.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let until = self.until.as_deref().map(|text| time::api_time(text, now)).transpose()?;
        let one = |wanted: bool| if wanted { "1" } else { "0" };
        let mut query = vec![
            ("stdout", "1"),
            ("stderr", "1"),
            ("follow", one(self.follow)),
            ("timestamps", one(self.timestamps)),
            ("tail", self.tail.as_str()),
        ];
        query.extend(since.as_deref().map(|time| ("since", time)));
        query.extend(until.as_deref().map(|time| ("until", time)));
        let response = client.open(Method::GET, &format!("/containers/{id}/logs"), &query, Payload::Empty).await?;
        let framed = match client::is_framed(&response) {
            Some(framed) => framed,
            None => start::inspect(client, &id).await?["Config"]["Tty"] != true,
        };
        let body = response.into_body().into_data_stream().map_err(std::io::Error::other);
        copy_output(StreamReader::new(Box::pin(body)), framed).await?;
        Ok(0)
    }
}
