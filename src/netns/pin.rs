//! Pins: a namespace's file, bind-mounted onto an ordinary one.
//!
//! Nothing is asked of the directory's own mount: whether it is shared or private, the pin is visible to every process
//! of the daemon's mount namespace, and a detached unmount takes it out of all copies that propagation made.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// Pins the calling thread's network namespace at `path`, where nothing is.
pub(super) fn place(path: &Path) -> io::Result<()> {
    // create_new: whatever got here since `remove` is not ours to mount upon, a symbolic link least of all.
    fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| {
        let _ = fs::remove_file(path);
        io::Error::from(e)
    })
}

/// Pins a namespace that is open at `path`, where nothing is.
pub(super) fn place_open(namespace: &File, path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| {
        let _ = fs::remove_file(path);
        io::Error::from(e)
    })
}

/// A directory that is a private mount of itself; one that is a mount already stays as it is.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_mount(path)? {
        return Ok(());
    }
    mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(mount(None::<&str>, path, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Whether a mount has its root here (statx(2), Linux 5.8).
fn is_mount(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Unmounts whatever is mounted on `path` and removes the file. Nothing there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Mounts stack; a crash between mount and record may have left more than one.
            Ok(()) => continue,
            // EINVAL: an ordinary file.
            Err(nix::Error::EINVAL | nix::Error::ENOENT) => break,
            Err(e) => return Err(e.into()),
        }
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Whether the open file is a namespace rather than the empty file that a lost mount leaves.
pub(super) fn is_namespace(file: &File) -> io::Result<bool> {
    Ok(fstatfs(file)?.filesystem_type() == NSFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_file_is_no_namespace_and_removal_is_idempotent() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let pin = dir.path().join("pin");
        fs::write(&pin, "").expect("file");
        assert!(!is_namespace(&File::open(&pin).expect("open")).expect("statfs"));
        assert!(is_namespace(&File::open("/proc/self/ns/net").expect("open")).expect("statfs"));
        remove(&pin).expect("leftover");
        remove(&pin).expect("nothing there");
        assert!(!pin.exists());
    }
}
