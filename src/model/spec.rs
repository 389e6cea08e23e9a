//! What a user asked a container to be, parsed once.
//!
//! A [`ContainerSpec`] is complete: defaults of the image (entrypoint, command, environment, user, working directory,
//! exposed ports) are already merged in, so that whoever reads one needs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::net::{HostBinding, MacAddr, NetworkMode, Port};
use super::{ContainerId, ContainerName};

/// A container, as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// What runs.
    pub process: ProcessSpec,
    /// Which network it sees.
    pub network: NetworkSpec,
    /// Who makes it: `integrated`, or the name of an OCI command; empty is the daemon's default.
    #[serde(default)]
    pub runtime: String,
    /// Cgroup limits.
    pub resources: Resources,
    /// Capabilities, seccomp, read-only root.
    pub security: Security,
    /// Bind mounts, volumes and tmpfs, in the order given.
    pub mounts: Vec<Mount>,
    /// Kernel parameters of the container's own namespaces, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Labels of image and container.
    pub labels: BTreeMap<String, String>,
    /// What happens when the process ends by itself.
    pub restart: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// `json-file`, `local` or `none`.
    pub log: LogSpec,
}

/// The container's first process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments: entrypoint, then command. Never empty.
    pub args: Vec<String>,
    /// How many of `args` come from the entrypoint (`inspect` shows path and arguments apart).
    pub entrypoint_len: usize,
    /// Environment in order; a later name has replaced an earlier one.
    pub env: Vec<EnvVar>,
    /// `user[:group]` by name or number; empty is root.
    pub user: String,
    /// Further groups, by name or number (`--group-add`).
    pub group_add: Vec<String>,
    /// Absolute; `/` if nothing was said.
    pub workdir: String,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Keep stdin open.
    pub open_stdin: bool,
    /// Close stdin when the first attached client closes its own.
    pub stdin_once: bool,
    /// `--init`: not served; kept to say so.
    pub init: bool,
    /// Signal number for `stop`; 15 unless said.
    pub stop_signal: i32,
    /// Seconds between the stop signal and SIGKILL; `None` is 10, negative waits for ever.
    pub stop_timeout: Option<i64>,
}

/// `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Never empty, without `=` and NUL.
    pub name: String,
    /// Without NUL.
    pub value: String,
}

/// The network of a container, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Archetype.
    pub mode: NetworkMode,
    /// `--hostname`; `None` is the short id (bridge, none) or the host's or joined container's own.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `--mac-address`.
    pub mac: Option<MacAddr>,
    /// `-p`, one entry a container port.
    #[serde(with = "super::runs::bindings")]
    pub publish: Vec<HostBinding>,
    /// `-P`.
    pub publish_all: bool,
    /// EXPOSE of the image, `--expose`, and every published port.
    #[serde(with = "super::runs::ports")]
    pub expose: BTreeSet<Port>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`; a single `.` empties the list.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--add-host`, name and address; the address may be the word `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// `--link`, resolved. No two aliases are the same, letter case aside.
    pub links: Vec<LinkSpec>,
}

/// A link as a container holds it, whether it runs or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// The other container.
    pub target: ContainerId,
    /// What the container calls it: a [`super::Hostname`], or an id as the user gave it.
    pub alias: String,
    /// What the target was called when it was linked, to speak of it when it is gone.
    pub name: ContainerName,
}

/// Cgroup limits; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Memory and swap together, bytes; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Bytes, soft limit.
    pub memory_reservation: Option<i64>,
    /// Relative weight, 1024 is the default's weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU per period.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds.
    pub cpu_period: Option<u64>,
    /// CPUs allowed, in list format (`0-1,3`).
    pub cpuset_cpus: Option<String>,
    /// Processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// Added to the OOM killer's score, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// `--ulimit`: name without `RLIMIT_`, lower case; soft; hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `/dev/shm` in bytes; `None` is 64 MiB.
    pub shm_size: Option<i64>,
}

/// What the container may do to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Security {
    /// Every capability, every device, no seccomp, nothing masked.
    pub privileged: bool,
    /// Names without `CAP_`, upper case; or `ALL`.
    pub cap_add: Vec<String>,
    /// Names without `CAP_`, upper case; or `ALL`.
    pub cap_drop: Vec<String>,
    /// `--read-only`.
    pub readonly_rootfs: bool,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=…`.
    pub seccomp: SeccompProfile,
    /// `--pid host`.
    pub host_pid: bool,
    /// `--ipc host`.
    pub host_ipc: bool,
    /// `--device host[:container[:rwm]]`.
    pub devices: Vec<(PathBuf, PathBuf, String)>,
}

/// Which system calls are let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Pontoon's own list.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile in Docker's JSON format, as the docker CLI sends it.
    Custom(String),
}

/// A place in the container where something else than the image shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path in the container.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// `rprivate` (default), `rslave`, `rshared`, `private`, `slave`, `shared`.
    pub propagation: Option<String>,
}

/// Kinds of [`Mount`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Make a directory there if nothing is (`-v` does, `--mount` does not).
        create: bool,
    },
    /// A named or anonymous volume under the data root.
    Volume {
        /// The volume's name; an anonymous one is 64 hexadecimal digits.
        name: String,
        /// Made for this container, removed with it by `rm -v` and `--rm`.
        anonymous: bool,
    },
    /// Memory.
    Tmpfs {
        /// Mount options, comma separated.
        options: String,
    },
}

/// Whether a container that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it ends, and when the daemon starts.
    Always,
    /// Like always, but a container stopped by a user stays stopped.
    UnlessStopped,
    /// When its exit code is not 0.
    OnFailure {
        /// Give up after so many; 0 is never.
        max_retries: u32,
    },
}

/// How output is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// `json-file` or `none`.
    pub driver: String,
    /// Rotate when the file exceeds so many bytes; `None` is never.
    pub max_size: Option<u64>,
    /// How many files to keep, at least 1.
    pub max_file: u32,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self { driver: "json-file".to_owned(), max_size: None, max_file: 1 }
    }
}
