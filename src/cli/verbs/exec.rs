//! `exec`.

use std::path::PathBuf;

use bollard::models::ExecConfig;
use serde_json::json;

use super::foreground::Foreground;
use crate::cli::client::{self, Client, Payload};
use crate::cli::error::{CliError, Outcome};
use crate::cli::flags;
use crate::cli::streams::Resized;
use crate::cli::streams::detach;
use crate::cli::streams::signals::Signals;
use crate::cli::streams::terminal::{self, RawMode};

/// `exec`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pontoon exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    after_help = "\
Examples:
  pontoon exec web ip route             run a command in web
  pontoon exec -it web sh               a shell
  pontoon exec -u 1000 -w /srv web id   as another user, elsewhere

Exit code: the command's own; 126 if it cannot be run, 127 if there is no such command."
)]
pub(in crate::cli) struct Exec {
    /// Leave it running in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave a terminal's command running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", value_parser = detach::checked)]
    detach_keys: Option<String>,
    /// Environment variable, NAME=VALUE, or NAME with the value it has here; may be repeated
    #[arg(short, long, value_name = "VARIABLE")]
    env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Every capability
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User, by name or number, and group: USER[:GROUP]
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The container, then the command and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND", "ARG"])]
    words: Vec<String>,
}

impl Exec {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let Some((container, command)) = self.words.split_first().filter(|(_, command)| !command.is_empty()) else {
            return Err(CliError::new("exec requires at least 2 arguments: a container and a command"));
        };
        if self.tty && self.interactive && !self.detach && !terminal::stdin_is_terminal() {
            return Err(CliError::new("the input device is not a TTY"));
        }
        let attached = !self.detach;
        let size = terminal::size().filter(|_| self.tty);
        let config = ExecConfig {
            attach_stdin: Some(attached && self.interactive),
            attach_stdout: Some(attached),
            attach_stderr: Some(attached),
            console_size: size.map(|(rows, columns)| vec![rows.into(), columns.into()]),
            detach_keys: self.detach_keys.clone(),
            tty: Some(self.tty),
            env: Some(flags::variables(&self.env_file, &self.env, &|name| std::env::var(name).ok())?),
            cmd: Some(command.to_vec()),
            privileged: Some(self.privileged),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
        };
        let created = client.docker().create_exec(&client::container(container)?, config).await;
        let id = created.map_err(CliError::from)?.id;
        let started = json!({
            "Detach": self.detach,
            "Tty": self.tty,
            "ConsoleSize": size.map(|(rows, columns)| [rows, columns]),
        });
        let path = format!("/exec/{id}/start");
        if self.detach {
            client.open(hyper::Method::POST, &path, &[], Payload::Json(&started)).await.map_err(of_exec)?;
            return Ok(0);
        }
        let signals = if self.tty { Signals::ending()? } else { Signals::none() };
        let raw = if self.tty && self.interactive { RawMode::enter()? } else { None };
        let hijacked = client.hijack(&path, &[], Payload::Json(&started)).await.map_err(of_exec)?;
        let foreground = Foreground {
            client,
            whose: Resized::Exec(&id),
            joined: false,
            tty: self.tty,
            stdin: self.interactive,
            keys: self.detach_keys.as_deref(),
            signals,
        };
        let outcome = foreground.watch(hijacked, exit_code(client, &id)).await;
        drop(raw);
        outcome
    }
}

/// 126 and 127 as with `run`; what is no fault of the command's is 1.
fn of_exec(error: CliError) -> CliError {
    let error = error.of_start();
    if error.code == crate::cli::error::RUN_FAILED { error.with_code(1) } else { error }
}

async fn exit_code(client: &Client, id: &str) -> Outcome {
    let code = client.docker().inspect_exec(id).await?.exit_code.unwrap_or_default();
    Ok(u8::try_from(code & 0xff).unwrap_or(1))
}
