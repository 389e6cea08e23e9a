//! What is mounted in a container: Docker's defaults, then the user's, then our files.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::{OciError, OciInput};
use crate::model::MountKind;

/// 64 MiB, as Docker.
const SHM_SIZE: i64 = 64 << 20;

/// Kernel state that a container must not read.
pub(super) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Kernel state that a container must not change.
pub(super) const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// All mounts, in order.
pub(super) fn mounts(input: &OciInput<'_>) -> Result<Vec<Mount>, OciError> {
    let mut users = Vec::new();
    for mount in &input.spec.mounts {
        users.push(user_mount(input, mount)?);
    }
    for (source, target) in &input.files {
        if !users.iter().any(|mount: &Mount| mount.destination() == Path::new(target)) {
            let access = if input.spec.security.readonly_rootfs { "ro" } else { "rw" };
            users.push(bind(source, target, &["rbind", "rprivate", access]));
        }
    }
    let mut all: Vec<Mount> = defaults(input).into_iter().filter(|default| !is_hidden(default, &users)).collect();
    // A mount must not cover one that was made before it; the order among equals is the user's.
    users.sort_by_key(|mount| mount.destination().components().count());
    all.extend(users);
    Ok(all)
}

/// The user mounts something there, or above it.
fn is_hidden(default: &Mount, users: &[Mount]) -> bool {
    users.iter().any(|user| default.destination().starts_with(user.destination()))
}

fn defaults(input: &OciInput<'_>) -> Vec<Mount> {
    let security = &input.spec.security;
    let access = if security.privileged { "rw" } else { "ro" };
    let mut all = vec![
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", access]),
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    if security.host_ipc {
        for path in ["/dev/mqueue", "/dev/shm"] {
            all.push(bind(Path::new(path), path, &["rbind", "nosuid", "noexec", "nodev"]));
        }
    } else {
        let size = format!("size={}", input.spec.resources.shm_size.unwrap_or(SHM_SIZE));
        all.push(mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
        all.push(mount("tmpfs", "shm", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
    }
    all
}

fn user_mount(input: &OciInput<'_>, wish: &crate::model::Mount) -> Result<Mount, OciError> {
    let source = match &wish.kind {
        MountKind::Bind { source, .. } => source.clone(),
        MountKind::Volume { name, .. } => input
            .volumes
            .get(name)
            .cloned()
            .ok_or_else(|| OciError::Invalid(format!("volume {name} is mounted but has no path")))?,
        MountKind::Tmpfs { options } => {
            let options = tmpfs_options(options, wish.read_only);
            return Ok(mount("tmpfs", "tmpfs", &wish.target, &options.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    };
    let propagation = wish.propagation.as_deref().unwrap_or("rprivate");
    // Read-only includes what is mounted below the source (Linux 5.12).
    let access: &[&str] = if wish.read_only { &["ro", "rro"] } else { &["rw"] };
    Ok(bind(&source, &wish.target, &[&["rbind", propagation], access].concat()))
}

/// The user's options over `noexec,nosuid,nodev`: the opposite of one replaces it.
fn tmpfs_options(options: &str, read_only: bool) -> Vec<String> {
    let mut all: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
        all.retain(|other| *other != opposite && other != option);
        all.push(option.to_owned());
    }
    if read_only {
        all.push("ro".to_owned());
    }
    all
}

fn mount(typ: &str, source: &str, target: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_destination(PathBuf::from(target))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Mount {
    let mut made = mount("bind", "", target, options);
    made.set_source(Some(source.to_owned()));
    made
}

/// How the root must propagate for the user's mounts to propagate as they should.
pub(super) fn root_propagation(input: &OciInput<'_>) -> Option<String> {
    let wishes: Vec<&str> = input.spec.mounts.iter().filter_map(|mount| mount.propagation.as_deref()).collect();
    if wishes.iter().any(|wish| wish.ends_with("shared")) {
        Some("shared".to_owned())
    } else if wishes.iter().any(|wish| wish.ends_with("slave")) {
        Some("slave".to_owned())
    } else {
        None
    }
}
