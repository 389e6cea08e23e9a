//! `run` and `create`.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, CreateContainerOptionsBuilder, StartContainerOptions};
use clap::ArgAction;

use super::foreground::{Foreground, exit_code, open_wait};
use super::{images, progress};
use crate::cli::client::{Client, Payload};
use crate::cli::error::{CliError, Outcome, RUN_FAILED};
use crate::cli::flags::{ContainerFlags, Streams};
use crate::cli::grammar::go_bool;
use crate::cli::streams::Resized;
use crate::cli::streams::detach;
use crate::cli::streams::signals::Signals;
use crate::cli::streams::terminal::{self, RawMode};
use crate::cli::{eprint, print};

const EXAMPLES: &str = "\
Examples:
  pontoon run --rm busybox echo hello          run a command, then remove the container
  pontoon run -it --rm busybox sh              a shell; ctrl-p ctrl-q leaves it running
  pontoon run -d --name web -p 8080:80 httpd   in the background, port 80 published on 8080
  pontoon run --rm --net none busybox ip addr  no network but lo
  pontoon run --rm --net container:web busybox wget -qO- 127.0.0.1
                                               share web's network
  pontoon run --rm -m 64m --pids-limit 20 -v $PWD:/work:ro busybox ls /work

Exit code: the container's own; 125 if it could not be created or started, 126 if its command
cannot be run, 127 if there is no such command.";

/// `run`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pontoon run [OPTIONS] IMAGE [COMMAND] [ARG...]", after_help = EXAMPLES)]
pub(in crate::cli) struct Run {
    /// Print its id and leave it running
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave a terminal's container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", value_parser = detach::checked)]
    detach_keys: Option<String>,
    /// Hand signals on to the container, where it has no terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true)]
    sig_proxy: bool,
    #[command(flatten)]
    flags: ContainerFlags,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// `create`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pontoon create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl Create {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let streams = self.flags.streams()?;
        let id = create(client, &self.flags, streams).await?;
        print(&format!("{id}\n"))?;
        Ok(0)
    }
}

impl Run {
    /// What would be asked of the daemon.
    pub(super) fn body(&self) -> Result<ContainerCreateBody, CliError> {
        let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
        self.flags.body(self.streams()?, &here, &|name| std::env::var(name).ok(), terminal::size())
    }

    /// `--name`.
    pub(super) fn name(&self) -> Option<&str> {
        self.flags.name.as_deref()
    }

    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let flags = &self.flags;
        let streams = self.streams().map_err(|error| error.with_code(RUN_FAILED))?;
        if streams.stdin && flags.tty && !terminal::stdin_is_terminal() {
            return Err(CliError::new("the input device is not a TTY"));
        }
        // Caught before there is a container that they could be meant for.
        let signals = Signals::of_container(flags.tty && streams.stdin, self.sig_proxy && !self.detach)?;
        let id = create(client, flags, streams).await.map_err(CliError::of_start)?;
        if self.detach {
            start(client, &id).await?;
            print(&format!("{id}\n"))?;
            return Ok(0);
        }

        // Both questions stand before the start: no byte of output and no exit is missed.
        let condition = if flags.rm { "removed" } else { "next-exit" };
        let attaching = attach(client, &id, streams, self.detach_keys.as_deref());
        let (hijacked, waiting) =
            tokio::try_join!(attaching, open_wait(client, &id, condition)).map_err(CliError::of_start)?;
        let raw = if flags.tty && streams.stdin { RawMode::enter()? } else { None };
        start(client, &id).await?;
        let foreground = Foreground {
            client,
            whose: Resized::Container(&id),
            tty: flags.tty,
            joined: false,
            stdin: streams.stdin,
            keys: self.detach_keys.as_deref(),
            signals,
        };
        let outcome = foreground.watch(hijacked, exit_code(waiting)).await;
        drop(raw);
        outcome
    }

    fn streams(&self) -> Result<Streams, CliError> {
        match (self.detach, self.flags.attach.is_empty()) {
            (true, true) => Ok(Streams::default()),
            (true, false) => Err(CliError::new("conflicting options: cannot specify both --attach and --detach")),
            (false, _) => self.flags.streams(),
        }
    }
}

/// Hijacks a container's streams.
pub(super) async fn attach(
    client: &Client,
    id: &str,
    streams: Streams,
    keys: Option<&str>,
) -> Result<crate::cli::streams::Hijacked, CliError> {
    let one = |wanted: bool| if wanted { "1" } else { "0" };
    let mut query = vec![
        ("stream", "1"),
        ("stdin", one(streams.stdin)),
        ("stdout", one(streams.stdout)),
        ("stderr", one(streams.stderr)),
    ];
    query.extend(keys.map(|keys| ("detachKeys", keys)));
    client.hijack(&format!("/containers/{id}/attach"), &query, Payload::Empty).await
}

async fn start(client: &Client, id: &str) -> Result<(), CliError> {
    let started = client.docker().start_container(id, None::<StartContainerOptions>).await;
    started.map_err(|error| CliError::from(error).of_start())
}

/// Creates the container, fetching the image if it is missing (and if the daemon can). The new id.
async fn create(client: &Client, flags: &ContainerFlags, streams: Streams) -> Result<String, CliError> {
    if !matches!(flags.pull.as_str(), "always" | "missing" | "never") {
        let pull = &flags.pull;
        return Err(CliError::new(format!("invalid pull option: '{pull}': must be one of always, missing or never")));
    }
    let cidfile = flags.cidfile.as_deref();
    if let Some(path) = cidfile.filter(|path| path.exists()) {
        return Err(CliError::new(format!(
            "container ID file found, make sure the other container isn't running or delete {}",
            path.display()
        )));
    }
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let body = flags.body(streams, &here, &|name| std::env::var(name).ok(), terminal::size())?;
    if flags.pull == "always" {
        progress::pull(client, flags.image(), flags.platform.as_deref()).await?;
    }
    let options = options(flags);
    let created = match client.docker().create_container(options.clone(), body.clone()).await.map_err(CliError::from) {
        Err(error) if error.status == Some(404) && flags.pull == "missing" && names_image(&error) => {
            let (repository, tag) = images::split_tag(flags.image());
            eprint(&format!("Unable to find image '{repository}:{tag}' locally\n"));
            progress::pull(client, flags.image(), flags.platform.as_deref()).await?;
            client.docker().create_container(options, body).await.map_err(CliError::from)
        }
        outcome => outcome,
    }?;
    for warning in &created.warnings {
        eprint(&format!("WARNING: {warning}\n"));
    }
    if let Some(path) = cidfile {
        std::fs::write(path, &created.id)
            .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(created.id)
}

/// Whether a 404 is about the image, not about something else that the request names.
fn names_image(error: &CliError) -> bool {
    error.message.to_lowercase().contains("no such image")
}

fn options(flags: &ContainerFlags) -> Option<CreateContainerOptions> {
    let mut options = CreateContainerOptionsBuilder::default();
    if let Some(name) = &flags.name {
        options = options.name(name);
    }
    if let Some(platform) = &flags.platform {
        options = options.platform(platform);
    }
    Some(options.build())
}
