//! A directory tree that is written to without ever leaving it.
//!
//! Every path is resolved by the kernel with `openat2(2)`, `RESOLVE_BENEATH`: a symbolic link that stays inside (`bin ->
//! usr/bin`) is followed, an absolute one or one that climbs out is an error, at the moment of use and without a race. The
//! last component is never followed: it is created, replaced or removed in the directory that the rest resolved to.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;

use super::tree;

/// Where a path goes through a file.
pub(super) const NO_DIRECTORY: &str = "its path goes through something that is no directory";

/// Why a path was not opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// By what it asks for.
    Refused(&'static str),
    /// By the system.
    System(Errno),
}

impl From<Errno> for Denied {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::Refused("its path leaves the root through a symbolic link"),
            Errno::LOOP => Self::Refused("its path goes through a loop of symbolic links"),
            Errno::NOTDIR => Self::Refused(NO_DIRECTORY),
            Errno::NAMETOOLONG => Self::Refused("its path is too long"),
            other => Self::System(other),
        }
    }
}

/// A tree being written.
pub(super) struct Confined {
    root: OwnedFd,
    /// The directory that was resolved last: archives come in order of directories.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Confined {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory at `path` (of an [`super::entry_path::EntryPath`]), resolved inside the root.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Denied> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(fd.clone());
        }
        let fd = Rc::new(self.resolve(path)?);
        self.last = Some((path.to_vec(), fd.clone()));
        Ok(fd)
    }

    /// Like [`Self::directory`], and makes what is missing; `made` is told before each directory.
    pub(super) fn directory_or_make<E: From<Denied>>(
        &mut self,
        path: &[u8],
        mut made: impl FnMut() -> Result<(), E>,
    ) -> Result<Rc<OwnedFd>, E> {
        match self.directory(path) {
            Err(Denied::System(Errno::NOENT)) => {}
            found => return Ok(found?),
        }
        let ends: Vec<usize> =
            path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]).collect();
        // The longest part that exists, by bisection: a path may have two thousand components.
        let exists = |end: &usize| !matches!(self.resolve(&path[..*end]), Err(Denied::System(Errno::NOENT)));
        let mut at = ends.partition_point(exists);
        let mut start = at.checked_sub(1).map_or(0, |n| ends[n]);
        let mut directory = self.resolve(&path[..start])?;
        while let Some(&end) = ends.get(at) {
            made()?;
            let name = OsStr::from_bytes(path[start..end].strip_prefix(b"/").unwrap_or(&path[start..end]));
            directory = make_directory(&directory, name)?;
            (start, at) = (end, at + 1);
        }
        let fd = Rc::new(directory);
        self.last = Some((path.to_vec(), fd.clone()));
        Ok(fd)
    }

    fn resolve(&self, path: &[u8]) -> Result<OwnedFd, Denied> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        // Not O_PATH: permissions do not matter to root, and fsetxattr, fchown and friends want a real descriptor.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match openat2(&self.root, path, flags, Mode::empty(), beneath) {
                // A rename somewhere on the machine while ".." of a link was resolved: the kernel asks to try again.
                Err(Errno::AGAIN) => {}
                result => return Ok(result?),
            }
        }
    }

    /// What is at `name` in a directory; not followed.
    pub(super) fn kind(directory: &OwnedFd, name: &[u8]) -> Result<Option<Found>, Denied> {
        match statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Found::Directory,
                FileType::CharacterDevice => Found::Whiteout,
                _ => Found::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes `name` in a directory, whatever it is.
    pub(super) fn remove(&mut self, directory: &OwnedFd, name: &[u8], found: Found) -> Result<(), Denied> {
        // A link on the way to the remembered directory may be what goes.
        self.last = None;
        match found {
            Found::Directory => tree::remove(directory.as_fd(), OsStr::from_bytes(name))?,
            Found::Whiteout | Found::Other => unlinkat(directory, OsStr::from_bytes(name), AtFlags::empty())?,
        }
        Ok(())
    }
}

/// What is in an entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Directory,
    /// Only whiteouts are character devices here: an archive's own are refused.
    Whiteout,
    Other,
}

/// Makes a directory that was not there, and opens it.
pub(super) fn make_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Denied> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(Denied::Refused("its path goes through a symbolic link to nothing")),
        Err(errno) => return Err(errno.into()),
    }
    let fd = open_directory(parent, name)?;
    // A set-group-id parent would hand its group and bit down.
    rustix::fs::fchown(&fd, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
    Ok(fd)
}

/// Opens a directory by its name in another; not followed.
pub(super) fn open_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// A path that names `name` in an open directory, for calls that take no descriptor of it.
pub(super) fn path_in(directory: &OwnedFd, name: &[u8]) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(OsStr::from_bytes(name))
}
