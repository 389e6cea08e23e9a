//! The shim's own mount namespace, in which the container's root is mounted.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, unmount};

/// Gives this process mounts of its own: what it mounts is seen by nobody else and ends with it, while mounts made by
/// the host still arrive.
///
/// Where the daemon runs in a chroot, that directory becomes the root of the new namespace. Otherwise the container's
/// root would be pivoted onto the chroot's directory only, and whoever enters the container's mount namespace by
/// setns(2), as an exec does, would come out at the namespace's real root: the machine outside the chroot.
pub(super) fn own_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let here = std::env::current_dir()?;
    let inside = File::open("/")?;
    let namespace = File::open("/proc/self/ns/mnt")?;
    // Entering a mount namespace moves root and working directory to the top of its real root.
    setns(&namespace, CloneFlags::CLONE_NEWNS)?;
    // Only what is mounted here ends here; "/" is a mount point now, even where a chroot's directory is none.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    if mount_and_inode(&inside)? != mount_and_inode(&File::open("/")?)? {
        nix::unistd::fchdir(&inside)?;
        mount_bind_recursive(".", "/")?;
        setns(&namespace, CloneFlags::CLONE_NEWNS)?;
    }
    std::env::set_current_dir(here)
}

/// Takes a mount, and all that is mounted below it, out of this mount namespace.
pub(super) fn leave_out(path: &Path) {
    // Not a mount, or not there: then there is nothing to leave out, and starts are slower at worst.
    let _ = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
}

/// Tells two directories apart, even where one is the other's bind mount.
fn mount_and_inode(directory: &File) -> io::Result<(u64, u64)> {
    let found = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | StatxFlags::INO)?;
    Ok((found.stx_mnt_id, found.stx_ino))
}
