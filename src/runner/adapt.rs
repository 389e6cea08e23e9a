//! What a specification must be on this machine: cgroup version, and what this process may hand on.

use std::path::Path;

use oci_spec::runtime::{
    Capabilities, LinuxNamespace, LinuxNamespaceType, Mount, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    Spec,
};
use rustix::process::Resource;

use super::cgroup::{self, Hierarchy};
use super::oci::{all_capabilities, rlimits};
use crate::model::Resources;

/// The machine, and this process's rights on it.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// cgroup hierarchies; one of version 2 alone is a unified machine.
    pub(super) hierarchies: Vec<Hierarchy>,
    /// What we hold, and can therefore give to a container.
    pub(super) capabilities: Capabilities,
    /// Our own score, below which only CAP_SYS_RESOURCE can go.
    pub(super) oom_score_adj: i32,
    /// Swap can be limited apart from memory.
    pub(super) swap_limit: bool,
    /// The machine's name.
    pub(super) hostname: String,
}

impl Host {
    /// This machine, now.
    pub(super) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let hierarchies = cgroup::hierarchies().to_vec();
        let without_swap = |hierarchy: &Hierarchy| {
            hierarchy.has("memory") && !hierarchy.mount.join("memory.memsw.limit_in_bytes").exists()
        };
        Self {
            swap_limit: !hierarchies.iter().any(without_swap),
            hierarchies,
            capabilities: held(&read("/proc/self/status")),
            oom_score_adj: read("/proc/self/oom_score_adj").trim().parse().unwrap_or_default(),
            hostname: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }

    fn is_unified(&self) -> bool {
        matches!(&self.hierarchies[..], [only] if only.controllers.is_none())
    }
}

/// The effective set in `/proc/<pid>/status` (proc_pid_status(5)).
fn held(status: &str) -> Capabilities {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    use libcontainer::capabilities::CapabilityExt;
    all_capabilities().into_iter().filter(|one| mask & one.to_cap().bitmask() != 0).collect()
}

/// Adapts `spec` to `host`; what cannot be had is left out, and said in a line for the log.
pub(super) fn adapt(spec: &mut Spec, host: &Host, integrated: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    name_host(spec, host);
    if let Some(process) = spec.process_mut() {
        adapt_process(process, host, &mut warnings);
    }
    if host.is_unified() {
        add_cgroup_namespace(spec);
        forbid_swap(spec);
    } else if integrated {
        bind_cgroups(spec, host);
    }
    if !host.swap_limit {
        drop_swap_limit(spec, &mut warnings);
    }
    warnings
}

/// A process's own wishes: rlimits, score, capabilities.
pub(super) fn adapt_process(process: &mut Process, host: &Host, warnings: &mut Vec<String>) {
    let may_raise = host.capabilities.contains(&oci_spec::runtime::Capability::SysResource);
    if let Some(limits) = process.rlimits().clone().filter(|_| !may_raise) {
        let limits = limits.into_iter().map(|limit| lowered(limit, hard_limit(limit.typ()), warnings)).collect();
        process.set_rlimits(Some(limits));
    }
    if let Some(score) = process.oom_score_adj().filter(|&score| !may_raise && score < host.oom_score_adj) {
        warnings.push(format!("the daemon lacks CAP_SYS_RESOURCE: oom score adjustment {score} is not applied"));
        process.set_oom_score_adj(None);
    }
    if let Some(mut sets) = process.capabilities().clone() {
        let ours = |set: &Option<Capabilities>| {
            set.as_ref().map(|set| set.intersection(&host.capabilities).copied().collect::<Capabilities>())
        };
        let (bounding, effective, permitted) = (ours(sets.bounding()), ours(sets.effective()), ours(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        process.set_capabilities(Some(sets));
    }
}

/// Which of the limits asked for are more than a container can be given here, in words for whoever creates it.
pub fn cut_limits(wishes: &Resources) -> Vec<String> {
    let capabilities = held(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    if capabilities.contains(&oci_spec::runtime::Capability::SysResource) {
        Vec::new()
    } else {
        beyond(wishes, hard_limit)
    }
}

/// Each limit asked for that is more than `most`, and to what it is cut.
fn beyond(wishes: &Resources, most: impl Fn(PosixRlimitType) -> u64) -> Vec<String> {
    // Those that are none are refused where the description is made.
    let limits = rlimits(wishes).ok().flatten().unwrap_or_default();
    let cut = |((name, ..), limit): (&(String, u64, u64), &PosixRlimit)| {
        let most = most(limit.typ());
        (limit.hard() > most).then(|| {
            format!("ulimit {name} was cut to {most}: the daemon has no more to give, for it lacks CAP_SYS_RESOURCE")
        })
    };
    wishes.ulimits.iter().zip(&limits).filter_map(cut).collect()
}

/// A limit that we can set: not above our own.
fn lowered(limit: PosixRlimit, max: u64, warnings: &mut Vec<String>) -> PosixRlimit {
    if limit.hard() <= max {
        return limit;
    }
    warnings.push(format!("the daemon lacks CAP_SYS_RESOURCE: {:?} is {max}, not {}", limit.typ(), limit.hard()));
    let built = PosixRlimitBuilder::default().typ(limit.typ()).hard(max).soft(limit.soft().min(max)).build();
    built.unwrap_or(limit)
}

fn hard_limit(typ: PosixRlimitType) -> u64 {
    use PosixRlimitType::*;
    let resource = match typ {
        RlimitCpu => Resource::Cpu,
        RlimitFsize => Resource::Fsize,
        RlimitData => Resource::Data,
        RlimitStack => Resource::Stack,
        RlimitCore => Resource::Core,
        RlimitRss => Resource::Rss,
        RlimitNproc => Resource::Nproc,
        RlimitNofile => Resource::Nofile,
        RlimitMemlock => Resource::Memlock,
        RlimitAs => Resource::As,
        RlimitLocks => Resource::Locks,
        RlimitSigpending => Resource::Sigpending,
        RlimitMsgqueue => Resource::Msgqueue,
        RlimitNice => Resource::Nice,
        RlimitRtprio => Resource::Rtprio,
        RlimitRttime => Resource::Rttime,
    };
    rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX)
}

/// A container that shares the host's name is told it, as every other is told its own.
fn name_host(spec: &mut Spec, host: &Host) {
    if let Some(env) = spec.process_mut().as_mut().and_then(|process| process.env_mut().as_mut())
        && !env.iter().any(|var| var.starts_with("HOSTNAME="))
    {
        env.insert(1.min(env.len()), format!("HOSTNAME={}", host.hostname));
    }
}

/// With version 2 a container sees its own cgroup as the root, as Docker does.
fn add_cgroup_namespace(spec: &mut Spec) {
    if let Some(namespaces) = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut()) {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(LinuxNamespaceType::Cgroup);
        namespaces.push(namespace);
    }
}

/// As much memory and swap together as memory alone: no swap. In version 2 that is a limit of 0, which libcontainer takes
/// for no limit.
fn forbid_swap(spec: &mut Spec) {
    let Some(resources) = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut()) else { return };
    let limits = resources.memory().as_ref().map(|memory| (memory.limit(), memory.swap()));
    if let Some((Some(limit), Some(swap))) = limits
        && limit == swap
    {
        let mut files = resources.unified().clone().unwrap_or_default();
        files.insert("memory.swap.max".to_owned(), "0".to_owned());
        resources.set_unified(Some(files));
    }
}

/// Version 1: libcontainer would show the container its cgroups writable, and the host's own where it has none. Each is
/// bound instead with the access that was asked for.
fn bind_cgroups(spec: &mut Spec, host: &Host) {
    let Some(path) = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()) else { return };
    let path = path.strip_prefix("/").unwrap_or(&path).to_owned();
    let Some(mounts) = spec.mounts().clone() else { return };
    let mut all = Vec::new();
    let mut read_only = Vec::new();
    for mount in mounts {
        if mount.typ().as_deref() != Some("cgroup") {
            all.push(mount);
            continue;
        }
        let target = mount.destination().clone();
        let access = if has_option(&mount, "rw") { "rw" } else { "ro" };
        if access == "ro" {
            // After everything has been bound into it.
            read_only.push(target.display().to_string());
        }
        all.push(directory(&target));
        for hierarchy in host.hierarchies.iter().filter(|hierarchy| hierarchy.is_limiting()) {
            for controller in hierarchy.controllers.iter().flatten() {
                all.push(made(
                    "bind",
                    &hierarchy.mount.join(&path),
                    &target.join(controller),
                    &["bind", "nosuid", "noexec", "nodev", access],
                ));
            }
        }
    }
    spec.set_mounts(Some(all));
    if let Some(linux) = spec.linux_mut() {
        linux.readonly_paths_mut().get_or_insert_default().extend(read_only);
    }
}

fn has_option(mount: &Mount, option: &str) -> bool {
    mount.options().iter().flatten().any(|one| one == option)
}

/// A directory of its own, to bind into.
fn directory(target: &Path) -> Mount {
    made("tmpfs", Path::new("tmpfs"), target, &["nosuid", "noexec", "nodev", "mode=755", "size=64k"])
}

fn made(typ: &str, source: &Path, target: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_destination(target.to_owned())
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

fn drop_swap_limit(spec: &mut Spec, warnings: &mut Vec<String>) {
    let resources = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    if let Some(memory) = resources.and_then(|resources| resources.memory_mut().as_mut())
        && memory.swap().is_some()
    {
        warnings.push("the kernel cannot limit swap: memory is limited without it".to_owned());
        memory.set_swap(None);
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Linux, LinuxMemory, LinuxResources};

    use super::*;

    fn swap_file(limit: i64, swap: i64) -> Option<String> {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit)).set_swap(Some(swap));
        let mut resources = LinuxResources::default();
        resources.set_memory(Some(memory));
        let mut linux = Linux::default();
        linux.set_resources(Some(resources));
        let mut spec = Spec::default();
        spec.set_linux(Some(linux));
        forbid_swap(&mut spec);
        let files = spec.linux().as_ref()?.resources().as_ref()?.unified().clone()?;
        files.get("memory.swap.max").cloned()
    }

    #[test]
    fn a_limit_that_is_cut_is_told_with_what_is_left() {
        let ulimits = [("nofile", 99_999_999_999), ("nproc", 20_000)];
        let ulimits = ulimits.map(|(name, limit)| (name.to_owned(), limit, limit)).to_vec();
        let wishes = Resources { ulimits, ..Resources::default() };
        assert_eq!(
            beyond(&wishes, |_| 20_000),
            ["ulimit nofile was cut to 20000: the daemon has no more to give, for it lacks CAP_SYS_RESOURCE"]
        );
        assert!(beyond(&wishes, |_| u64::MAX).is_empty());
    }

    #[test]
    fn no_swap_is_said_to_version_2_in_its_own_words() {
        assert_eq!(swap_file(1 << 25, 1 << 25).as_deref(), Some("0"));
        assert_eq!(swap_file(1 << 25, 1 << 26), None);
        assert_eq!(swap_file(1 << 25, -1), None);
    }
}
