//! `start`.

use bollard::query_parameters::StartContainerOptions;
use serde_json::Value;

use super::foreground::{Foreground, exit_code, open_wait};
use super::{each, run};
use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::flags::Streams;
use crate::cli::grammar::go_bool;
use crate::cli::streams::Resized;
use crate::cli::streams::detach;
use crate::cli::streams::signals::Signals;
use crate::cli::streams::terminal::RawMode;

/// `start`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Start {
    /// Show its output, and end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Attach our stdin to it
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave a terminal's container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", value_parser = detach::checked)]
    detach_keys: Option<String>,
    /// Hand signals on to the container, where it has no terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = go_bool, action = clap::ArgAction::Set,
          hide_default_value = true)]
    sig_proxy: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        match self.containers.as_slice() {
            [name] if self.attach || self.interactive => self.in_foreground(client, name).await,
            _ if self.attach || self.interactive => {
                Err(CliError::new("you cannot start and attach multiple containers at once"))
            }
            names => each(names, |name| start(client, name)).await,
        }
    }

    async fn in_foreground(&self, client: &Client, name: &str) -> Outcome {
        let id = client::container(name)?;
        let container = inspect(client, &id).await?;
        let tty = container["Config"]["Tty"] == true;
        let streams =
            Streams { stdin: self.interactive && container["Config"]["OpenStdin"] == true, stdout: true, stderr: true };
        let signals = Signals::of_container(tty && streams.stdin, self.sig_proxy)?;
        let removed = container["HostConfig"]["AutoRemove"] == true;
        let condition = if removed { "removed" } else { "next-exit" };
        let attaching = run::attach(client, &id, streams, self.detach_keys.as_deref());
        let (hijacked, waiting) = tokio::try_join!(attaching, open_wait(client, &id, condition))?;
        let raw = if tty && streams.stdin { RawMode::enter()? } else { None };
        start(client, name.to_owned()).await?;
        let whose = Resized::Container(&id);
        let keys = self.detach_keys.as_deref();
        let foreground = Foreground { client, whose, tty, joined: false, stdin: streams.stdin, keys, signals };
        let outcome = foreground.watch(hijacked, exit_code(waiting)).await;
        drop(raw);
        outcome
    }
}

async fn start(client: &Client, name: String) -> Result<String, CliError> {
    let id = client::container(&name)?;
    client.docker().start_container(&id, None::<StartContainerOptions>).await?;
    Ok(name)
}

/// A container as the daemon describes it. `id` is a path segment.
pub(super) async fn inspect(client: &Client, id: &str) -> Result<Value, CliError> {
    let json = client.get(&format!("/containers/{id}/json"), &[]).await?;
    serde_json::from_slice(&json).map_err(client::broken)
}
