//! Container spec → OCI runtime spec (OCI runtime-spec, config.md and config-linux.md). Pure.
//!
//! What depends on the machine (cgroup version, what this process may raise) is adapted when a shim is spawned.

mod capabilities;
mod mounts;
mod resources;
#[cfg(test)]
mod tests;
mod user;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Capabilities, Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root, Spec, User,
};

pub(super) use resources::rlimits;

use super::seccomp::profile;
use crate::model::{ContainerSpec, EnvVar, SeccompProfile};

/// Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    pub extra_env: Vec<EnvVar>,
    /// Parent cgroup, `pontoon` unless said; the container's is `/<parent>/<id>`.
    pub cgroup_parent: &'a str,
    /// Users and groups are read from `etc/passwd` and `etc/group` of the image: their texts, if there are such files.
    pub passwd: Option<String>,
    /// See `passwd`.
    pub group: Option<String>,
    /// `--device` and, if privileged, all of the host's, with the access that the cgroup allows (`rwm`): what
    /// [`super::devices::resolve`] found.
    pub devices: Vec<(LinuxDevice, String)>,
}

/// Every capability that Linux has.
pub(super) fn all_capabilities() -> Capabilities {
    capabilities::all()
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
///
/// # Errors
/// What the user asked for and the image or the specification does not have.
pub fn spec(input: &OciInput<'_>) -> Result<Spec, OciError> {
    let kept = capabilities::kept(&input.spec.security)?;
    let mut root = Root::default();
    root.set_path(input.rootfs.clone()).set_readonly(Some(input.spec.security.readonly_rootfs));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts::mounts(input)?))
        .set_hostname(input.hostname.clone())
        .set_process(Some(process(input, &kept)?))
        .set_linux(Some(linux(input, &kept)?));
    Ok(spec)
}

fn linux(input: &OciInput<'_>, kept: &Capabilities) -> Result<Linux, OciError> {
    let privileged = input.spec.security.privileged;
    let paths = |list: &[&str]| (!privileged).then(|| list.iter().map(|&path| path.to_owned()).collect());
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input)))
        .set_cgroups_path(Some(Path::new("/").join(input.cgroup_parent).join(input.id.as_str())))
        .set_resources(Some(resources::resources(input)?))
        .set_devices(resources::devices(input))
        .set_seccomp(seccomp(input, kept)?)
        .set_sysctl(sysctls(input))
        .set_rootfs_propagation(mounts::root_propagation(input))
        .set_masked_paths(paths(mounts::MASKED))
        .set_readonly_paths(paths(mounts::READ_ONLY));
    Ok(linux)
}

fn namespaces(input: &OciInput<'_>) -> Vec<LinuxNamespace> {
    let security = &input.spec.security;
    let new = |typ: LinuxNamespaceType, wanted: bool| wanted.then_some((typ, None));
    let wanted = [
        new(LinuxNamespaceType::Mount, true),
        new(LinuxNamespaceType::Pid, !security.host_pid),
        new(LinuxNamespaceType::Uts, input.hostname.is_some()),
        new(LinuxNamespaceType::Ipc, !security.host_ipc),
        input.netns.clone().map(|path| (LinuxNamespaceType::Network, Some(path))),
    ];
    wanted
        .into_iter()
        .flatten()
        .map(|(typ, path)| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(typ).set_path(path);
            namespace
        })
        .collect()
}

fn seccomp(input: &OciInput<'_>, kept: &Capabilities) -> Result<Option<LinuxSeccomp>, OciError> {
    if input.spec.security.privileged {
        return Ok(None);
    }
    match &input.spec.security.seccomp {
        SeccompProfile::Default => Ok(Some(profile::default(kept))),
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::Custom(json) => profile::parse(json, kept).map(Some).map_err(OciError::Invalid),
    }
}

fn sysctls(input: &OciInput<'_>) -> Option<HashMap<String, String>> {
    let mut all: HashMap<_, _> = input.spec.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let (Some(domain), Some(_)) = (&input.spec.network.domainname, &input.hostname) {
        all.entry("kernel.domainname".to_owned()).or_insert_with(|| domain.clone());
    }
    (!all.is_empty()).then_some(all)
}

fn process(input: &OciInput<'_>, kept: &Capabilities) -> Result<Process, OciError> {
    let wishes = &input.spec.process;
    let identity = user::resolve(input, &wishes.user)?;
    let mut process = Process::default();
    process
        .set_terminal(Some(wishes.tty))
        .set_args(Some(wishes.args.clone()))
        .set_env(Some(texts(&environment(input, &identity.home, &wishes.env, wishes.tty))))
        .set_cwd(PathBuf::from(&wishes.workdir))
        .set_capabilities(Some(capabilities::sets(kept, identity.uid)))
        .set_rlimits(rlimits(&input.spec.resources)?)
        // The runtime tells apart what is not said and what is denied.
        .set_no_new_privileges(input.spec.security.no_new_privileges.then_some(true))
        .set_oom_score_adj(input.spec.resources.oom_score_adj)
        .set_user(oci_user(&identity));
    Ok(process)
}

fn oci_user(identity: &user::Identity) -> User {
    let mut user = User::default();
    user.set_uid(identity.uid).set_gid(identity.gid).set_additional_gids(Some(identity.groups.clone()));
    user
}

/// Name and value.
type Var<'a> = (&'a str, &'a str);

/// Docker's defaults, then links, then the user's; a later one replaces an earlier one of its name.
fn environment<'a>(input: &'a OciInput<'_>, home: &'a str, own: &'a [EnvVar], tty: bool) -> Vec<Var<'a>> {
    let mut all = vec![("PATH", DEFAULT_PATH)];
    all.extend(input.hostname.as_deref().map(|name| ("HOSTNAME", name)));
    all.extend(tty.then_some(("TERM", "xterm")));
    merge(&mut all, &input.extra_env);
    merge(&mut all, own);
    if !all.iter().any(|(name, _)| *name == "HOME") {
        all.push(("HOME", home));
    }
    all
}

/// Links to containers with many ports bring thousands of variables: each is looked up, not looked for.
fn merge<'a>(all: &mut Vec<Var<'a>>, more: &'a [EnvVar]) {
    let mut known: HashMap<&str, usize> = all.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    for EnvVar { name, value } in more {
        match known.entry(name) {
            Entry::Occupied(at) => all[*at.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push((name, value));
            }
        }
    }
}

fn texts(vars: &[Var<'_>]) -> Vec<String> {
    vars.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What `exec` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<EnvVar>,
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
///
/// # Errors
/// A user or group that the image does not know.
pub fn exec_process(input: &OciInput<'_>, exec: &ExecSpec) -> Result<Process, OciError> {
    let wishes = &input.spec.process;
    let security = &input.spec.security;
    let kept = if exec.privileged { capabilities::all() } else { capabilities::kept(security)? };
    let identity = user::resolve(input, exec.user.as_deref().unwrap_or(&wishes.user))?;
    let mut env = environment(input, &identity.home, &wishes.env, exec.tty);
    merge(&mut env, &exec.env);
    let mut process = process(input, &kept)?;
    process
        .set_terminal(Some(exec.tty))
        .set_args(Some(exec.args.clone()))
        .set_env(Some(texts(&env)))
        .set_cwd(PathBuf::from(exec.workdir.as_deref().unwrap_or(&wishes.workdir)))
        .set_capabilities(Some(capabilities::sets(&kept, identity.uid)))
        .set_user(oci_user(&identity));
    Ok(process)
}
