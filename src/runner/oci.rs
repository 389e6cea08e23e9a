//! Container spec → OCI runtime spec. Pure.

use std::path::PathBuf;

use crate::model::ContainerSpec;

/// What the spec needs besides the container's own wishes.
#[derive(Clone, Debug, PartialEq)]
pub struct OciInput<'a> {
    /// The container.
    pub id: &'a crate::model::ContainerId,
    /// As asked for.
    pub spec: &'a ContainerSpec,
    /// Hostname of its UTS namespace; `None` keeps the host's (open containers).
    pub hostname: Option<String>,
    /// The network namespace to enter; `None` is the host's.
    pub netns: Option<PathBuf>,
    /// Root path: the overlay's target.
    pub rootfs: PathBuf,
    /// Files bound over the container's: (host path, container path), for hosts, hostname and resolv.conf.
    pub files: Vec<(PathBuf, String)>,
    /// Volumes resolved to host paths, by volume name.
    pub volumes: std::collections::BTreeMap<String, PathBuf>,
    /// Environment to add before the user's own (links): the user's wins.
    pub extra_env: Vec<crate::model::EnvVar>,
    /// Parent cgroup, `pontoon` unless said; the container's is `/<parent>/<id>`.
    pub cgroup_parent: &'a str,
    /// Users and groups are read from `etc/passwd` and `etc/group` of the image: their texts, if there are such files.
    pub passwd: Option<String>,
    /// See `passwd`.
    pub group: Option<String>,
}

/// Why a container cannot be described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// A user or group that the image does not know.
    #[error("unable to find {kind} {name}: no matching entries in {file} file")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// As given.
        name: String,
        /// `passwd` or `group`.
        file: &'static str,
    },
    /// A capability that does not exist.
    #[error("invalid capability: unknown capability {0:?}")]
    Capability(String),
    /// Anything else the specification cannot say.
    #[error("{0}")]
    Invalid(String),
}

/// Builds the OCI spec of a container: namespaces, mounts, capabilities, seccomp, masked paths, cgroup limits.
pub fn spec(input: &OciInput<'_>) -> Result<oci_spec::runtime::Spec, OciError> {
    let _ = input;
    todo!()
}

/// What `exec` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<crate::model::EnvVar>,
    /// `user[:group]`; `None` is the container's own.
    pub user: Option<String>,
    /// `None` is the container's own.
    pub workdir: Option<String>,
    /// A terminal.
    pub tty: bool,
    /// All capabilities.
    pub privileged: bool,
}

/// Builds the OCI process of an `exec` in a container described by `input`.
pub fn exec_process(input: &OciInput<'_>, exec: &ExecSpec) -> Result<oci_spec::runtime::Process, OciError> {
    let _ = (input, exec);
    todo!()
}
