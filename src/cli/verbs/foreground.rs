//! Watching a process until it ends: its streams, its terminal's size, our signals.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::Value;

use crate::cli::client::{Client, Payload};
use crate::cli::error::{CliError, Outcome, RUN_FAILED};
use crate::cli::streams::detach::{DEFAULT_KEYS, DetachKeys};
use crate::cli::streams::signals::Signals;
use crate::cli::streams::{Ended, Hijacked, Input, Resized, carry, follow_size};

/// A process in the foreground.
pub(super) struct Foreground<'a> {
    pub(super) client: &'a Client,
    /// Whom signals and sizes go to.
    pub(super) whose: Resized<'a>,
    pub(super) tty: bool,
    /// It has run without us: its screen is to be drawn for us, and leaving it is worth a word.
    pub(super) joined: bool,
    /// Our stdin goes to it.
    pub(super) stdin: bool,
    /// As `--detach-keys` gives them.
    pub(super) keys: Option<&'a str>,
    /// Caught since before the start.
    pub(super) signals: Signals,
}

impl Foreground<'_> {
    /// Carries the streams until they end, then waits for `exit_code`, whose question the daemon has had all along.
    pub(super) async fn watch(mut self, streams: Hijacked, exit_code: impl Future<Output = Outcome>) -> Outcome {
        let keys = self.keys.filter(|keys| !keys.is_empty()).unwrap_or(DEFAULT_KEYS);
        let keys = self.tty.then(|| DetachKeys::parse(keys)).transpose()?;
        let input = Input { stdin: self.stdin, keys };
        let process = async {
            match carry(streams, self.tty, input).await? {
                Ended::Output => exit_code.await,
                // Docker's word, and its exit code; who has started a container and leaves it is done.
                Ended::Detached if self.joined || matches!(self.whose, Resized::Exec(_)) => {
                    Err(CliError::new("read escape sequence"))
                }
                Ended::Detached => Ok(0),
            }
        };
        let sizes = async {
            match self.tty {
                true => follow_size(self.client, self.whose, self.joined).await.map(|never| match never {}),
                false => std::future::pending().await,
            }
        };
        let (Resized::Container(id) | Resized::Exec(id)) = self.whose;
        let signals = self.signals.serve(self.client, id);
        tokio::select! {
            outcome = process => outcome,
            outcome = sizes => outcome,
            outcome = signals => outcome,
        }
    }
}

/// Asks to be told a container's exit code. When this answers, the daemon has registered the question: what is started
/// afterwards cannot end unseen.
pub(super) async fn open_wait(client: &Client, id: &str, condition: &str) -> Result<Response<Incoming>, CliError> {
    client.open(Method::POST, &format!("/containers/{id}/wait"), &[("condition", condition)], Payload::Empty).await
}

/// The answer to [`open_wait`].
pub(super) async fn exit_code(waiting: Response<Incoming>) -> Outcome {
    let lost = |error: &dyn std::fmt::Display| {
        CliError::new(format!("lost sight of the container: {error}; see its state with ps -a")).with_code(RUN_FAILED)
    };
    let body = waiting.into_body().collect().await.map_err(|error| lost(&error))?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(|error| lost(&error))?;
    if let Some(message) = answer["Error"]["Message"].as_str().filter(|message| !message.is_empty()) {
        return Err(CliError::new(message).with_code(RUN_FAILED));
    }
    let code = answer["StatusCode"].as_i64().unwrap_or_default();
    // Codes are a byte; what would be cut off must not become success.
    Ok(u8::try_from(code & 0xff).unwrap_or(RUN_FAILED))
}
