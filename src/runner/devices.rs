//! Devices of the host that a container is to have.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use crate::model::Security;

/// Terminals and what containers have anew: not handed on with "all devices".
const OWN: [&str; 8] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];

/// Looks up the devices of `--device`, and all of `/dev` for a privileged container, with their access (`rwm`).
///
/// # Errors
/// [`io::Error`] with the path of a `--device` that is no device.
pub fn resolve(security: &Security) -> io::Result<Vec<(LinuxDevice, String)>> {
    let mut found = Vec::new();
    if security.privileged {
        collect(Path::new("/dev"), Path::new("/dev"), "rwm", &mut found)?;
    }
    for (host, container, access) in &security.devices {
        let access = if access.is_empty() { "rwm" } else { access };
        let before = found.len();
        let missing = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", host.display()));
        let host = fs::canonicalize(host).map_err(missing)?;
        if host.is_dir() {
            collect(&host, container, access, &mut found)?;
        } else if let Some(device) = device(&host, container)? {
            found.push((device, access.to_owned()));
        }
        if found.len() == before {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}: not a device node", host.display())));
        }
    }
    Ok(found)
}

/// Devices in a directory and below; links and what goes away meanwhile are passed over.
fn collect(host: &Path, container: &Path, access: &str, found: &mut Vec<(LinuxDevice, String)>) -> io::Result<()> {
    for entry in fs::read_dir(host)? {
        let entry = entry?;
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { continue };
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let target = container.join(&name);
        if kind.is_dir() {
            collect(&entry.path(), &target, access, found)?;
        } else if let Ok(Some(device)) = device(&entry.path(), &target) {
            found.push((device, access.to_owned()));
        }
    }
    Ok(())
}

fn device(host: &Path, container: &Path) -> io::Result<Option<LinuxDevice>> {
    let metadata = fs::symlink_metadata(host)?;
    let kind = metadata.file_type();
    let typ = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return Ok(None);
    };
    let number = metadata.rdev();
    let mut device = LinuxDevice::default();
    device
        .set_path(PathBuf::from(container))
        .set_typ(typ)
        .set_major(rustix::fs::major(number).into())
        .set_minor(rustix::fs::minor(number).into())
        .set_file_mode(Some(metadata.permissions().mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    Ok(Some(device))
}
