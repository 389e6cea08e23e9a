//! What a container is: its life from create to remove.
//!
//! [`Engine`] is the service behind the API: every method is one thing a client can ask, takes names as users write
//! them (name, id or unique id prefix) and answers typed results; HTTP is none of its business.

mod attach;
mod cell;
mod create;
pub mod descriptors;
pub mod engine;
pub mod error;
pub mod event;
mod exec;
mod exit;
mod files;
mod guard;
pub mod history;
mod journal;
mod ledger;
mod lifecycle;
mod links;
pub mod logs;
mod names;
mod networks;
pub mod origin;
pub mod ports;
pub mod preview;
pub mod record;
mod registry;
mod remove;
pub mod restore;
mod rootfs;
pub mod runtimes;
pub mod sandbox;
pub mod signal;
mod start;
pub mod strangers;
mod top;
mod volumes;

pub use engine::Engine;
pub use error::{EngineError, ErrorKind};
pub use event::{Event, EventFilter};
pub use ledger::{Beginning, Ledger};
pub use networks::KnownNetwork;
pub use record::{Container, HealthlessState, Status};

use std::collections::BTreeMap;

use crate::model::{ContainerId, ContainerName, ContainerSpec};
use tokio::net::UnixStream;

/// `create`.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// `--name`; `None` generates one.
    pub name: Option<ContainerName>,
    /// As the user wrote it.
    pub image: String,
    /// Everything but the image's defaults, which [`Engine::create`] merges in.
    pub spec: SpecRequest,
    /// The API's request as it came, kept for `inspect`.
    pub request: serde_json::Value,
}

/// A [`ContainerSpec`] before the image's defaults are merged in.
#[derive(Clone, Debug)]
pub struct SpecRequest {
    /// The rest of the spec: its `process.args`, `env`, `user`, `workdir`, `labels` and `network.expose` hold only what
    /// the request said.
    pub spec: ContainerSpec,
    /// `--entrypoint`: `None` keeps the image's; `Some([])` or `Some([""])` clears it (and the image's CMD).
    pub entrypoint: Option<Vec<String>>,
    /// Command: empty keeps the image's.
    pub cmd: Vec<String>,
    /// Environment as sent: `NAME=value`, or a bare `NAME` that unsets.
    pub env: Vec<String>,
    /// `--stop-signal`: `None` is the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// Anonymous volumes asked for by path (`-v /data`).
    pub anonymous_volumes: Vec<String>,
    /// `--link`: target, as the user named it, and alias.
    pub links: Vec<(String, String)>,
}

/// What `create` made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The new container.
    pub id: ContainerId,
    /// To be shown to the user.
    pub warnings: Vec<String>,
}

/// Whether a request changed something: `start` of a running container does not (304).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It did.
    Yes,
    /// It was so already.
    Already,
}

/// `rm`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// Ended, or not running now.
    NotRunning,
    /// The next end, even if it has not been started.
    NextExit,
    /// Gone.
    Removed,
}

/// An answer to `wait` that is yet to come.
pub type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<WaitOutcome, EngineError>> + Send>>;

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitOutcome {
    /// Exit code.
    pub code: i64,
    /// The container could not be started, or removed: why.
    pub error: Option<String>,
}

/// `attach` and `exec start`: which streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachStreams {
    /// From the client.
    pub stdin: bool,
    /// To the client.
    pub stdout: bool,
    /// To the client.
    pub stderr: bool,
}

/// Streams of a process that may not have been started yet.
pub struct Attachment {
    /// Raw bytes instead of frames.
    pub tty: bool,
    /// The process's stdin is open.
    pub stdin: bool,
    /// Resolves when the process is about to start (at once, if it runs) to a connection in the format of
    /// [`crate::runner`]'s protocol, ready to be copied to and from the client. `None`: it ended, or was removed,
    /// without ever starting.
    pub stream: std::pin::Pin<Box<dyn Future<Output = Result<Option<UnixStream>, EngineError>> + Send>>,
}

pub use crate::runner::oci::ExecSpec;

/// `exec create`.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// What runs.
    pub exec: ExecSpec,
    /// `-i`.
    pub stdin: bool,
    /// Streams asked for.
    pub stdout: bool,
    /// Streams asked for.
    pub stderr: bool,
    /// For the client's `inspect` and `--detach-keys`.
    pub detach_keys: Option<String>,
}

/// `exec inspect`.
#[derive(Clone, Debug)]
pub struct ExecState {
    /// The session.
    pub id: crate::model::ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What was asked.
    pub request: ExecRequest,
    /// It runs now.
    pub running: bool,
    /// How it ended.
    pub exit_code: Option<i64>,
    /// As the host sees it; 0 before it runs.
    pub pid: i32,
}

/// `info`'s numbers.
#[derive(Clone, Debug)]
pub struct Info {
    /// A stable id of this data root.
    pub id: String,
    /// When the data root was made: RFC 3339, UTC.
    pub created: String,
    /// Containers by state: running, paused, others.
    pub running: usize,
    /// Paused ones.
    pub paused: usize,
    /// The rest.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// Warnings worth showing to whoever asks for `info`.
    pub warnings: Vec<String>,
}

/// Volumes in use, by name, with their path on the host.
pub type VolumePaths = BTreeMap<String, std::path::PathBuf>;

/// Paths that `inspect` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFiles {
    /// The json-file log.
    pub log: std::path::PathBuf,
    /// `/etc/hosts` of the container.
    pub hosts: std::path::PathBuf,
    /// `/etc/hostname` of the container.
    pub hostname: std::path::PathBuf,
    /// `/etc/resolv.conf` of the container.
    pub resolv_conf: std::path::PathBuf,
}
