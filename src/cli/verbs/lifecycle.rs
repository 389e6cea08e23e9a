//! Verbs that change containers' states by name: stop, restart, kill, rm, rename, pause, unpause, wait.

use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
};
use hyper::Method;

use super::each;
use super::foreground::{exit_code, open_wait};
use crate::cli::client::{Client, Payload, container};
use crate::cli::error::{CliError, Outcome};

/// How containers are ended, and which.
#[derive(Debug, clap::Args)]
struct Ending {
    /// Signal to send [default: the container's own, else SIGTERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before SIGKILL; negative waits for ever [default: the container's own, else 10]
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i32>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Ending {
    /// `verb` as in the API's path.
    async fn run(self, client: &Client, verb: &str) -> Outcome {
        let timeout = self.timeout.map(|seconds| seconds.to_string());
        let query = [("signal", self.signal.as_deref()), ("t", timeout.as_deref())];
        let query: Vec<(&str, &str)> = query.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect();
        let query = query.as_slice();
        let act = |name: String| async move {
            let path = format!("/containers/{}/{verb}", container(&name)?);
            client.open(Method::POST, &path, query, Payload::Empty).await?;
            Ok(name)
        };
        each(&self.containers, act).await
    }
}

/// `stop`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Stop {
    #[command(flatten)]
    ending: Ending,
}

impl Stop {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        self.ending.run(client, "stop").await
    }
}

/// `restart`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Restart {
    #[command(flatten)]
    ending: Ending,
}

impl Restart {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        // In the order that was given: one may stand on another.
        let Ending { signal, timeout, containers } = self.ending;
        let mut code = 0;
        for container in containers {
            let ending = Ending { signal: signal.clone(), timeout, containers: vec![container] };
            code = code.max(ending.run(client, "restart").await?);
        }
        Ok(code)
    }
}

/// `kill`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Kill {
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let options = KillContainerOptionsBuilder::default().signal(&self.signal).build();
        let act = |name: String| {
            let options = options.clone();
            async move {
                client.docker().kill_container(&container(&name)?, Some(options)).await?;
                Ok(name)
            }
        };
        each(&self.containers, act).await
    }
}

/// `rm`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rm {
    /// Kill it first if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Remove a link, /SOURCE/ALIAS, not a container
    #[arg(short, long)]
    link: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let options =
            RemoveContainerOptionsBuilder::default().force(self.force).v(self.volumes).link(self.link).build();
        let (force, link) = (self.force, self.link);
        let act = |name: String| {
            let options = options.clone();
            async move {
                // A link's name has a slash in it.
                let path = if link { link_path(&name)? } else { container(&name)? };
                match client.docker().remove_container(&path, Some(options)).await.map_err(CliError::from) {
                    // `rm -f` of what is not there: docker says so and is content.
                    Err(error) if force && error.status == Some(404) => {
                        crate::cli::complain(&error);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                    Ok(()) => Ok(Some(name)),
                }
            }
        };
        each(&self.containers, act).await
    }
}

/// `/source/alias` as one path segment: the daemon decodes it.
fn link_path(name: &str) -> Result<String, CliError> {
    let parts: Vec<String> = name.trim_start_matches('/').split('/').map(container).collect::<Result<_, _>>()?;
    Ok(parts.join("%2F"))
}

/// `rename`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rename {
    /// Name or id
    container: String,
    /// The new name
    new_name: String,
}

impl Rename {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let options = RenameContainerOptionsBuilder::default().name(&self.new_name).build();
        client.docker().rename_container(&container(&self.container)?, options).await?;
        Ok(0)
    }
}

/// `pause`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let act = |name: String| async move {
            client.docker().pause_container(&container(&name)?).await?;
            Ok(name)
        };
        each(&self.containers, act).await
    }
}

/// `unpause`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let act = |name: String| async move {
            client.docker().unpause_container(&container(&name)?).await?;
            Ok(name)
        };
        each(&self.containers, act).await
    }
}

/// `wait`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let act = |name: String| async move {
            let waiting = open_wait(client, &container(&name)?, "not-running").await?;
            Ok(exit_code(waiting).await?.to_string())
        };
        each(&self.containers, act).await
    }
}
