//! What a shim is told: the content of `launch.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::spec::LogSpec;

/// Everything a shim needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The container's id (for an exec: the container it enters).
    pub id: String,
    /// Who makes containers.
    pub runtime: RuntimeKind,
    /// A container, or a process in one.
    pub kind: LaunchKind,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// stdin is a pipe or the terminal; otherwise `/dev/null`.
    pub open_stdin: bool,
    /// Close stdin when the first client that sends it is done.
    pub stdin_once: bool,
    /// The terminal's first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// The log's path; `None` logs nothing.
    pub log_path: Option<PathBuf>,
    /// Rotation.
    pub log: LogSpec,
}

/// What the shim runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchKind {
    /// A container: the bundle is the shim's directory.
    Container {
        /// Mounted in the shim's own mount namespace before the container is created.
        overlay: Overlay,
        /// Volumes that get the image's content if they are empty.
        #[serde(default)]
        seeds: Vec<Seed>,
        /// The network namespace to enter, by its pin; `None` is the host's.
        #[serde(default)]
        netns: Option<PathBuf>,
        /// Where all pins are: a mount of its own, which the shim leaves out of its mount namespace. With the pins of
        /// hundreds of others in it, copying that namespace would make each start slower than the last.
        #[serde(default)]
        pins: PathBuf,
    },
    /// A process in a running container.
    Exec {
        /// The OCI process, as JSON beside `launch.json`: `process.json`.
        process: Box<oci_spec::runtime::Process>,
        /// The container's shim directory.
        container_dir: PathBuf,
        /// The container's init, as the host sees it.
        init_pid: i32,
    },
}

/// A volume, and the place in the container whose content it begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The volume's directory on the host.
    pub volume: PathBuf,
    /// Absolute path in the container.
    pub target: String,
}

/// An overlayfs mount (kernel: Documentation/filesystems/overlayfs.rst).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, uppermost first. More than fit into one page of mount options must work too (`lowerdir+`).
    pub lower: Vec<PathBuf>,
    /// The container's own layer.
    pub upper: PathBuf,
    /// overlayfs's scratch directory, beside `upper`.
    pub work: PathBuf,
    /// Where it is mounted: the bundle's root path.
    pub target: PathBuf,
}

/// Who makes containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// The crate libcontainer, in the creator process.
    Integrated,
    /// An OCI runtime command: runc, crun, youki. Absolute path.
    Command(PathBuf),
}
