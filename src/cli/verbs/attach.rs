//! `attach`.

use super::foreground::{Foreground, exit_code, open_wait};
use super::{run, start};
use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::flags::Streams;
use crate::cli::grammar::go_bool;
use crate::cli::streams::Resized;
use crate::cli::streams::detach;
use crate::cli::streams::signals::Signals;
use crate::cli::streams::terminal::{self, RawMode};

/// `attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
ctrl-p ctrl-q leaves a container that has a terminal running. Without a terminal, signals (ctrl-c) are handed on to the
container. The exit code is the container's.")]
pub(in crate::cli) struct Attach {
    /// Keys that leave a terminal's container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", value_parser = detach::checked)]
    detach_keys: Option<String>,
    /// Do not attach our stdin
    #[arg(long)]
    no_stdin: bool,
    /// Hand signals on to the container, where it has no terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = go_bool, action = clap::ArgAction::Set,
          hide_default_value = true)]
    sig_proxy: bool,
    /// Name or id
    container: String,
}

impl Attach {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let id = client::container(&self.container)?;
        let container = start::inspect(client, &id).await?;
        let state = &container["State"];
        let refusal = match () {
            () if state["Running"] != true => "cannot attach to a stopped container, start the container first",
            () if state["Paused"] == true => "cannot attach to a paused container, unpause the container first",
            () if state["Restarting"] == true => {
                "cannot attach to a restarting container, wait until the container is running"
            }
            () => "",
        };
        if !refusal.is_empty() {
            return Err(CliError::new(refusal));
        }
        let tty = container["Config"]["Tty"] == true;
        let stdin = !self.no_stdin && container["Config"]["OpenStdin"] == true;
        if stdin && tty && !terminal::stdin_is_terminal() {
            return Err(CliError::new("the input device is not a TTY"));
        }
        let signals = Signals::of_container(tty && stdin, self.sig_proxy)?;
        let keys = self.detach_keys.as_deref();
        let streams = Streams { stdin, stdout: true, stderr: true };
        let attaching = run::attach(client, &id, streams, keys);
        let (hijacked, waiting) = tokio::try_join!(attaching, open_wait(client, &id, "not-running"))?;
        let raw = if tty && stdin { RawMode::enter()? } else { None };
        let foreground = Foreground { client, whose: Resized::Container(&id), tty, joined: true, stdin, keys, signals };
        let outcome = foreground.watch(hijacked, exit_code(waiting)).await;
        drop(raw);
        outcome
    }
}
