//! A container's mounts as `inspect` and `ps` show them.

use bollard_stubs::models::MountPoint;

use crate::containers::VolumePaths;
use crate::model::{Mount, MountKind};

/// `Mounts`: binds and volumes; a tmpfs of `--tmpfs` stands in HostConfig only.
pub(super) fn mount_points(mounts: &[Mount], volumes: &VolumePaths) -> Vec<MountPoint> {
    mounts.iter().filter_map(|mount| mount_point(mount, volumes)).collect()
}

fn mount_point(mount: &Mount, volumes: &VolumePaths) -> Option<MountPoint> {
    let common = MountPoint {
        destination: Some(mount.target.clone()),
        mode: Some(if mount.read_only { "ro".into() } else { String::new() }),
        rw: Some(!mount.read_only),
        propagation: Some(String::new()),
        ..MountPoint::default()
    };
    match &mount.kind {
        MountKind::Bind { source, .. } => Some(MountPoint {
            typ: Some("bind".into()),
            source: Some(source.display().to_string()),
            propagation: Some(mount.propagation.clone().unwrap_or_else(|| "rprivate".into())),
            ..common
        }),
        MountKind::Volume { name, .. } => Some(MountPoint {
            typ: Some("volume".into()),
            name: Some(name.clone()),
            source: Some(volumes.get(name).map(|path| path.display().to_string()).unwrap_or_default()),
            driver: Some("local".into()),
            ..common
        }),
        MountKind::Tmpfs { .. } => None,
    }
}
