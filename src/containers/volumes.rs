//! Volumes: directories under the data root that outlive containers.

use std::path::PathBuf;

use super::VolumePaths;
use super::engine::{Engine, now};
use super::error::EngineError;
use super::record::Container;
use crate::model::{ContainerSpec, MountKind};
use crate::runner::launch::Seed;

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

    /// `--mount type=bind` needs its source to be there; `-v` makes it at the start.
    pub(super) fn check_mounts(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        for mount in &spec.mounts {
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
