//! The grammar: which verbs there are, and what the help says about them.

use clap::{ArgAction, Parser, Subcommand};

use super::client::Client;
use super::error::{CliError, Outcome, RUN_FAILED};
use super::verbs::*;

const EXAMPLES: &str = "\
Examples:
  pontoon import rootfs.tar busybox            make an image of a root file system
  pontoon run --rm busybox ip addr             a bridged container: eth0 on the bridge
  pontoon run -d --name web -p 8080:80 httpd   publish port 80 on the host's port 8080
  pontoon run --rm --net container:web busybox wget -qO- 127.0.0.1
                                               share web's network
  pontoon ps -a                                list containers
  pontoon logs -f web                          follow its output
  pontoon rm -f web                            end and remove it

The daemon is found at -H, else PONTOON_HOST, else DOCKER_HOST, else unix:///run/pontoon/pontoon.sock.";

/// Runs containers and the network between them.
#[derive(Debug, Parser)]
#[command(
    name = "pontoon",
    version,
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    args_override_self = true,
    propagate_version = false,
    max_term_width = 120
)]
pub(super) struct Cli {
    /// The daemon's socket, unix:///path
    #[arg(short = 'H', long, value_name = "URL")]
    pub(super) host: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Container(ContainerVerb),
    /// List images
    Images(images::Images),
    /// Show how an image was made
    History(images::History),
    /// Make an image of a root file system
    Import(archive::Import),
    /// Load images from an archive
    Load(archive::Load),
    /// Give an image another name
    Tag(images::Tag),
    /// Remove images
    Rmi(images::Rmi),
    /// Follow what happens
    Events(events::Events),
    /// Show the daemon's state
    Info(system::Info),
    /// Show the versions of client and daemon
    Version(system::Version),
    /// Commands about containers
    #[command(name = "container", subcommand)]
    Containers(ContainerVerb),
    /// Commands about images
    #[command(name = "image", subcommand)]
    Image(ImageVerb),
    /// Commands about networks
    #[command(subcommand)]
    Network(NetworkVerb),
    /// Say what the firewall in the kernel does, and why
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Run the daemon (see `pontoon daemon --help`)
    Daemon(Elsewhere),
    /// Look whether this machine can run the daemon (see `pontoon check --help`)
    Check(Elsewhere),
}

#[derive(Debug, Subcommand)]
pub(super) enum ContainerVerb {
    /// Create a container and start it
    #[command(disable_help_flag = true)]
    Run(Box<run::Run>),
    /// Create a container
    #[command(disable_help_flag = true)]
    Create(Box<run::Create>),
    /// Start containers
    Start(start::Start),
    /// Stop containers: a signal, and after a while SIGKILL
    Stop(lifecycle::Stop),
    /// Stop and start containers
    Restart(lifecycle::Restart),
    /// Send containers a signal, SIGKILL by default
    Kill(lifecycle::Kill),
    /// Remove containers
    Rm(lifecycle::Rm),
    /// Give a container another name
    Rename(lifecycle::Rename),
    /// Freeze containers
    Pause(lifecycle::Pause),
    /// Thaw containers
    Unpause(lifecycle::Unpause),
    /// Run a command in a running container
    Exec(exec::Exec),
    /// Attach to a running container's streams
    Attach(attach::Attach),
    /// Wait until containers end, and show their exit codes
    Wait(lifecycle::Wait),
    /// List containers
    #[command(aliases = ["ls", "list"])]
    Ps(ps::Ps),
    /// Show a container's output
    Logs(logs::Logs),
    /// Show all that is known of containers, images and networks
    Inspect(inspect::Inspect),
    /// List a container's published ports
    Port(port::Port),
    /// Show a container's processes
    Top(top::Top),
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageVerb {
    /// List images
    #[command(aliases = ["list"])]
    Ls(images::Images),
    /// Show how an image was made
    History(images::History),
    /// Make an image of a root file system
    Import(archive::Import),
    /// Show all that is known of images
    Inspect(inspect::Inspect),
    /// Load images from an archive
    Load(archive::Load),
    /// Remove images
    #[command(aliases = ["remove"])]
    Rm(images::Rmi),
    /// Give an image another name
    Tag(images::Tag),
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkVerb {
    /// List networks
    #[command(aliases = ["list"])]
    Ls(networks::Networks),
    /// Show all that is known of networks, and who is on them
    Inspect(inspect::InspectNetwork),
}

/// A verb that stands in the help here and is read elsewhere, before any of this.
#[derive(Debug, clap::Args)]
pub(super) struct Elsewhere {
    #[arg(trailing_var_arg = true, hide = true)]
    rest: Vec<String>,
}

impl Command {
    /// The exit code when the daemon, or the way to it, fails.
    pub(super) fn failure(&self) -> u8 {
        match self {
            Self::Container(ContainerVerb::Run(_)) | Self::Containers(ContainerVerb::Run(_)) => RUN_FAILED,
            _ => 1,
        }
    }

    pub(super) async fn run(self, client: &Client) -> Outcome {
        match self {
            Self::Container(verb) | Self::Containers(verb) => verb.run(client).await,
            Self::Images(verb) | Self::Image(ImageVerb::Ls(verb)) => verb.run(client).await,
            Self::History(verb) | Self::Image(ImageVerb::History(verb)) => verb.run(client).await,
            Self::Import(verb) | Self::Image(ImageVerb::Import(verb)) => verb.run(client).await,
            Self::Load(verb) | Self::Image(ImageVerb::Load(verb)) => verb.run(client).await,
            Self::Tag(verb) | Self::Image(ImageVerb::Tag(verb)) => verb.run(client).await,
            Self::Rmi(verb) | Self::Image(ImageVerb::Rm(verb)) => verb.run(client).await,
            Self::Image(ImageVerb::Inspect(verb)) => verb.run(client, Some(inspect::Kind::Image)).await,
            Self::Network(NetworkVerb::Ls(verb)) => verb.run(client).await,
            Self::Network(NetworkVerb::Inspect(verb)) => verb.run(client).await,
            Self::Events(verb) => verb.run(client).await,
            Self::Info(verb) => verb.run(client).await,
            Self::Version(verb) => verb.run(client).await,
            Self::Audit(verb) => verb.run(client).await,
            Self::Daemon(_) | Self::Check(_) => {
                Err(CliError::new("daemon and check come first on the command line, before any option"))
            }
        }
    }
}

impl ContainerVerb {
    async fn run(self, client: &Client) -> Outcome {
        match self {
            Self::Run(verb) => Box::pin(verb.run(client)).await,
            Self::Create(verb) => Box::pin(verb.run(client)).await,
            Self::Start(verb) => Box::pin(verb.run(client)).await,
            Self::Stop(verb) => verb.run(client).await,
            Self::Restart(verb) => verb.run(client).await,
            Self::Kill(verb) => verb.run(client).await,
            Self::Rm(verb) => verb.run(client).await,
            Self::Rename(verb) => verb.run(client).await,
            Self::Pause(verb) => verb.run(client).await,
            Self::Unpause(verb) => verb.run(client).await,
            Self::Exec(verb) => Box::pin(verb.run(client)).await,
            Self::Attach(verb) => Box::pin(verb.run(client)).await,
            Self::Wait(verb) => verb.run(client).await,
            Self::Ps(verb) => verb.run(client).await,
            Self::Logs(verb) => verb.run(client).await,
            Self::Inspect(verb) => verb.run(client, None).await,
            Self::Port(verb) => verb.run(client).await,
            Self::Top(verb) => verb.run(client).await,
        }
    }
}

/// The same grammar, whose switches may be given a value behind `=`.
pub(super) fn with_go_booleans(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_parser(go_bool),
            _ => arg,
        })
        .mut_subcommands(with_go_booleans)
}

/// What Go's flag package takes for a boolean.
pub(super) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
