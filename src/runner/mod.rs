//! The runner: what a container is as a process.
//!
//! ```text
//! daemon ──spawns──► pontoon shim (one a container, and one an exec; single-threaded, no runtime)
//!                      │ makes a private mount namespace and mounts the overlay there: it ends with the shim
//!                      │ forks a creator, which calls libcontainer (or spawns the OCI command) and ends;
//!                      │ the container's init becomes the shim's child (it is a subreaper)
//!                      ├─ holds stdio or the pty, writes the json-file log
//!                      ├─ serves `shim.sock` in its directory: attach, resize, state
//!                      └─ reaps the init, writes `exit.json` (written aside, then renamed), closes all clients, ends
//! ```
//!
//! Everything a shim is told stands in `launch.json` in its directory (mode 0700 under the exec root), beside the OCI
//! bundle's `config.json`. The creator keeps libcontainer's memory out of the shim's: that is how it stays small. The
//! daemon may die and come back at any moment: [`Runner::reconnect`] finds the shim by its socket, or its `exit.json`.
//!
//! Protocol on `shim.sock` (a stream socket): the client sends one line of JSON, a [`Request`]; the shim answers one
//! line, a [`Reply`]. After an accepted `Attach` the connection carries the streams: from the client raw stdin
//! (a half-close ends it), to the client raw bytes with a tty, else frames of Docker's multiplexed format
//! (`[stream, 0, 0, 0, length as u32 big-endian]`). A client that does not read holds the container's output back, as
//! a full pipe would.

mod adapt;
mod cgroup;
mod client;
pub mod control;
pub mod devices;
mod files;
pub mod launch;
pub mod oci;
mod privileges;
mod seccomp;
pub mod shim;

pub use adapt::cut_limits;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// What went wrong with a runner.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// A step on a file, socket or process failed.
    #[error("cannot {step} {path}: {source}")]
    Io {
        /// What was attempted.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The OCI runtime refused to create or start the container: its own words.
    #[error("{message}")]
    Runtime {
        /// As docker words it: `exec: "nope": executable file not found in $PATH`.
        message: String,
        /// What docker exits with: 126 (cannot be run), 127 (not found), else 125.
        exit_code: i32,
    },
    /// The shim went away, or spoke nonsense.
    #[error("the shim in {path} {what}")]
    Shim {
        /// Its directory.
        path: PathBuf,
        /// What it did.
        what: String,
    },
}

/// The descriptor by which the integrated runtime's creator holds the network namespace to enter; its specification says
/// `/proc/self/fd/4`.
const NETNS_FD: std::os::fd::RawFd = 4;

/// A request to a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Create the container; it waits before its first instruction.
    Create,
    /// Let it run.
    Start,
    /// Carry streams on this connection.
    Attach {
        /// The client will send stdin.
        stdin: bool,
        /// The client wants stdout (or the terminal).
        stdout: bool,
        /// The client wants stderr.
        stderr: bool,
    },
    /// Set the terminal's size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Hold the connection until the process has ended; the reply is `Exited`.
    Wait,
    /// Give up a container that was not started.
    Abort,
}

/// A shim's reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// Created or started: the process id as the host sees it.
    Pid(i32),
    /// The process ended.
    Exited(Exit),
    /// Not done.
    Failed {
        /// Why, in docker's words.
        message: String,
        /// What docker exits with.
        exit_code: i32,
    },
}

/// How a process ended: the content of `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n for signal n.
    pub code: i32,
    /// The kernel's OOM killer was at work in its cgroup.
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds, UTC.
    pub at: String,
}

/// Starts shims and finds them again.
#[derive(Clone, Debug)]
pub struct Runner {
    /// `<exec root>`; a shim's directory is `<exec root>/containers/<id>` or `…/<id>/exec/<exec id>`.
    exec_root: PathBuf,
    /// Compiled seccomp filters, shared by clones.
    filters: Arc<seccomp::Filters>,
    /// This machine; it is looked at once.
    host: Arc<OnceLock<adapt::Host>>,
}

impl Runner {
    /// A runner whose shims live under `exec_root`.
    pub fn new(exec_root: &Path) -> Self {
        Self { exec_root: exec_root.to_owned(), filters: Arc::default(), host: Arc::default() }
    }

    /// The directory of a container's shim and bundle.
    pub fn container_dir(&self, id: &crate::model::ContainerId) -> PathBuf {
        self.exec_root.join("containers").join(id.as_str())
    }
}

/// What [`Runner::reconnect`] found.
#[derive(Debug)]
pub enum Found {
    /// A shim that still holds its process.
    Alive(Shim),
    /// The process ended while nobody looked.
    Ended(Exit),
    /// No trace.
    Gone,
}

/// A shim that runs. Clones talk to the same one; each call is a connection of its own.
#[derive(Clone, Debug)]
pub struct Shim {
    dir: PathBuf,
}

impl Shim {
    /// The shim's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
