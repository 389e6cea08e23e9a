//! Volumes: directories under the data root that outlive containers.

use std::path::PathBuf;

use super::VolumePaths;
use super::engine::{Engine, now};
use super::error::EngineError;
use super::record::Container;
use super::runtimes::INTEGRATED;
use crate::model::{ContainerSpec, Mount, MountKind};
use crate::runner::launch::Seed;

/// Files of `/proc` that may be covered: what programs read to learn how large the machine is (the list is runc's).
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// A name for a volume that was given none.
pub(super) fn anonymous_name() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

impl Engine {
    fn volume_dir(&self, name: &str) -> PathBuf {
        self.config().data_root.join("volumes").join(name)
    }

    /// Makes the volumes that a container names and that do not exist yet.
    pub(super) fn make_volumes(&self, container: &Container) -> Result<(), EngineError> {
        for mount in &container.spec.mounts {
            if let MountKind::Volume { name, anonymous } = &mount.kind {
                std::fs::create_dir_all(self.volume_dir(name).join("_data"))?;
                self.store().put_volume(name, *anonymous, &now())?;
            }
        }
        Ok(())
    }

    /// `--mount type=bind` needs its source to be there; `-v` makes it at the start. Targets must leave the runtime its own.
    pub(super) fn check_mounts(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        for mount in &spec.mounts {
            check_target(mount, spec.runtime == INTEGRATED)?;
            if let MountKind::Bind { source, create: false } = &mount.kind
                && !source.exists()
            {
                return Err(EngineError::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    source.display()
                )));
            }
        }
        Ok(())
    }

    /// Makes the host directories that `-v` names and that are not there.
    pub(super) fn make_bind_sources(spec: &ContainerSpec) -> Result<(), EngineError> {
        for mount in &spec.mounts {
            if let MountKind::Bind { source, create: true } = &mount.kind
                && !source.exists()
            {
                std::fs::create_dir_all(source).map_err(|error| {
                    EngineError::invalid(format!(
                        "error while creating mount source path '{}': {error}",
                        source.display()
                    ))
                })?;
            }
        }
        Ok(())
    }

    /// Removes the anonymous volumes of a container that no other container mounts.
    pub(super) fn remove_anonymous_volumes(&self, container: &Container) {
        for mount in &container.spec.mounts {
            let MountKind::Volume { name, anonymous: true } = &mount.kind else { continue };
            let shared = self.list().iter().any(|other| {
                other.id != container.id
                    && other
                        .spec
                        .mounts
                        .iter()
                        .any(|m| matches!(&m.kind, MountKind::Volume { name: n, .. } if n == name))
            });
            if !shared {
                let removed = self.store().delete_volume(name).map_err(EngineError::from);
                if let Err(error) = removed.and_then(|_| Ok(crate::images::remove_tree(&self.volume_dir(name))?)) {
                    tracing::warn!(volume = %name, %error, "a volume could not be removed");
                }
            }
        }
    }

    /// Volumes that begin with what the image has at their place.
    pub(super) fn volume_seeds(&self, container: &Container) -> Vec<Seed> {
        let seeds = container.spec.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => {
                Some(Seed { volume: self.volume_dir(name).join("_data"), target: mount.target.clone() })
            }
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        });
        seeds.collect()
    }

    /// The host directories of the volumes that a container mounts, by volume name.
    pub fn volume_paths(&self, container: &Container) -> VolumePaths {
        let named = container.spec.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some((name.clone(), self.volume_dir(name).join("_data"))),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        });
        named.collect()
    }
}

/// Whether a mount may stand where it is asked to.
///
/// libcontainer makes links and nodes in whatever is mounted at `/dev` (with `-v /dev:/dev` that would be the host's), and
/// takes its own way through `/proc` while it does.
fn check_target(mount: &Mount, integrated: bool) -> Result<(), EngineError> {
    let target = mount.target.as_str();
    let refuse = |why: String| Err(EngineError::invalid(format!("invalid mount target {target}: {why}")));
    if target == "/" {
        return refuse("it would hide the whole container".to_owned());
    }
    if target == "/dev" && integrated && !matches!(mount.kind, MountKind::Tmpfs { .. }) {
        let advice = "--privileged shows every device of the host, --device shows one; or use --runtime runc";
        return refuse(format!("the integrated runtime fills /dev itself: {advice}"));
    }
    if target == "/proc" && (integrated || matches!(mount.kind, MountKind::Tmpfs { .. })) {
        return refuse("a container's /proc is its own; mount the host's somewhere else".to_owned());
    }
    if target.starts_with("/proc/") && !PROC_FILES.contains(&target) {
        return refuse(format!("inside /proc only these can be covered: {}", PROC_FILES.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_and_proc_are_the_runtimes() {
        let check = |target: &str, tmpfs: bool, integrated: bool| {
            let bind = MountKind::Bind { source: "/x".into(), create: true };
            let kind = if tmpfs { MountKind::Tmpfs { options: String::new() } } else { bind };
            let mount = Mount { kind, target: target.to_owned(), read_only: false, propagation: None };
            check_target(&mount, integrated).is_ok()
        };
        for (target, tmpfs, integrated, fine) in [
            ("/data", false, true, true),
            ("/dev/shm", true, true, true),
            ("/dev", true, true, true),
            ("/dev", false, true, false),
            ("/dev", false, false, true),
            ("/proc", false, true, false),
            ("/proc", true, false, false),
            ("/proc/cpuinfo", false, true, true),
            ("/proc/sys", false, true, false),
            ("/proc/1/fd", true, false, false),
            ("/process", false, true, true),
            ("/", false, true, false),
        ] {
            assert_eq!(check(target, tmpfs, integrated), fine, "{target} tmpfs={tmpfs} integrated={integrated}");
        }
    }
}
