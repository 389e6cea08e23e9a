//! Owner, mode, extended attributes and times of what was unpacked.
//!
//! The order matters: a change of owner clears set-user-id bits and file capabilities, so mode and attributes follow it, and
//! times come last.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, futimens,
    lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::super::confined::path_in;
use super::super::printable;
use super::super::tarball::Entry;

/// Checked attributes of an entry.
pub(super) struct Attributes<'a> {
    owner: Uid,
    group: Gid,
    mode: Mode,
    mtime: (i64, u32),
    xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Attributes<'a> {
    /// Refuses owners that the kernel has no number for, and attributes by which overlayfs would be steered.
    pub(super) fn of(entry: &'a Entry) -> Result<Self, String> {
        // The highest number means "leave it" to chown(2).
        let id = |id: u64, what: &str| {
            u32::try_from(id)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or_else(|| format!("its {what} {id} is out of range"))
        };
        for (name, _) in &entry.xattrs {
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                return Err(format!("the attribute {:?} is overlayfs's own", printable(name)));
            }
            if name.is_empty() || name.contains(&0) {
                return Err("an extended attribute without a name, or with a NUL in it".to_owned());
            }
        }
        Ok(Self {
            owner: Uid::from_raw(id(entry.uid, "owner")?),
            group: Gid::from_raw(id(entry.gid, "group")?),
            mode: Mode::from_raw_mode(entry.mode),
            mtime: entry.mtime,
            xattrs: &entry.xattrs,
        })
    }

    /// Sets them on an open file or directory; a directory's time is left for later.
    pub(super) fn of_open(&self, fd: impl AsFd, is_directory: bool) -> Result<(), Errno> {
        fchown(&fd, Some(self.owner), Some(self.group))?;
        fchmod(&fd, self.mode)?;
        for (name, value) in self.xattrs {
            tolerate(fsetxattr(&fd, OsStr::from_bytes(name), value, XattrFlags::empty()), name, true)?;
        }
        if is_directory { Ok(()) } else { set_mtime(fd, self.mtime) }
    }

    /// Sets them on a symbolic link or a fifo, which are not opened. Nothing else writes to the directory, so the name is
    /// what was just made.
    pub(super) fn of_name(&self, directory: &OwnedFd, name: &OsStr, is_symlink: bool) -> Result<(), Errno> {
        chownat(directory, name, Some(self.owner), Some(self.group), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_symlink {
            chmodat(directory, name, self.mode, AtFlags::empty())?;
        }
        for (attribute, value) in self.xattrs {
            let path = path_in(directory, name.as_bytes());
            let set = lsetxattr(path, OsStr::from_bytes(attribute), value, XattrFlags::empty());
            tolerate(set, attribute, false)?;
        }
        utimensat(directory, name, &times(self.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// An attribute that this file system, or this kind of file, cannot have is left out, as Docker does: labels of a security
/// module that is not here, user attributes of a symbolic link.
fn tolerate(set: Result<(), Errno>, name: &[u8], may_have_user: bool) -> Result<(), Errno> {
    match set {
        Err(Errno::OPNOTSUPP) => {}
        Err(Errno::PERM) if !may_have_user && name.starts_with(b"user.") => {}
        other => return other,
    }
    tracing::debug!(attribute = printable(name), "the file system does not take this attribute: left out");
    Ok(())
}

/// Sets the modification time of an open file or directory.
pub(super) fn set_mtime(fd: impl AsFd, mtime: (i64, u32)) -> Result<(), Errno> {
    futimens(fd, &times(mtime))
}

fn times((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Hides what the layers below have in this directory.
pub(super) fn set_opaque(directory: &OwnedFd) -> Result<(), Errno> {
    fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Kernel, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";
