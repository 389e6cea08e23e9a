//! A layer's tar, unpacked as overlayfs wants it.
//!
//! What an archive may not do is refused with the entry's name: leave the root by path or link, bring device nodes, set
//! overlayfs's own attributes, exceed its [`Budget`]. Whiteouts (OCI image-spec, layer.md) become overlayfs's: a file
//! `.wh.x` is a character device 0:0 called `x`, and `.wh..wh..opq` the attribute `trusted.overlay.opaque` of its directory
//! (kernel, Documentation/filesystems/overlayfs.rst).

mod attributes;
mod whiteout;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use self::attributes::Attributes;
use self::whiteout::{Meaning, meaning};
use super::budget::{Budget, OverBudget};
use super::confined::{Confined, Denied, Found, NO_DIRECTORY, make_directory, open_directory};
use super::entry_path::{EntryPath, climbs_out};
use super::tarball::{Entry, Extent, Kind, TarStream};
use super::{ImageError, printable};
use crate::model::Digest;

/// What became of a layer's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Digest of the uncompressed tar.
    pub(super) diff_id: Digest,
    /// Bytes of its files.
    pub(super) size: u64,
}

/// Unpacks an uncompressed tar stream into an empty directory.
///
/// # Errors
///
/// [`ImageError::Entry`] for what is refused, [`ImageError::Archive`] for a damaged stream, [`ImageError::Io`] for the disk.
/// The directory then holds a part; the caller throws it away.
pub(super) fn unpack(tar: impl Read, into: &Path, budget: &Rc<Budget>) -> Result<Unpacked, ImageError> {
    let io =
        |source: Errno| ImageError::Io { step: "unpack a layer into", path: into.to_owned(), source: source.into() };
    let root = open_directory_path(into).map_err(io)?;
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(io)?;
    let mut unpacking = Unpacking {
        tree: Confined::new(root),
        directory_times: HashMap::new(),
        remembered: 0,
        budget: budget.clone(),
        buffer: vec![0; 256 << 10],
        size: 0,
    };
    let mut tar = TarStream::new(Hashing { inner: tar, hash: Sha256::new() });
    while let Some(entry) = tar.next()? {
        unpacking.entry(&entry, &mut tar).map_err(|stop| stop.name(&entry, into))?;
    }
    let hash = tar.finish()?.hash;
    unpacking.set_directory_times().map_err(io)?;
    Ok(Unpacked { diff_id: Digest::from_sha256(hash.finalize().into()), size: unpacking.size })
}

/// Why an entry was not unpacked.
enum Stop {
    Refused(String),
    System(Errno),
    Stream(ImageError),
}

impl Stop {
    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }

    fn name(self, entry: &Entry, into: &Path) -> ImageError {
        match self {
            Self::Refused(reason) => ImageError::Entry { entry: printable(&entry.path), reason },
            Self::System(errno) => ImageError::Io {
                step: "unpack",
                path: into.join(OsStr::from_bytes(entry.path.trim_ascii_start())),
                source: errno.into(),
            },
            Self::Stream(error) => error,
        }
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Denied::from(errno).into()
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Refused(reason) => Self::refused(reason),
            Denied::System(errno) => Self::System(errno),
        }
    }
}

impl From<OverBudget> for Stop {
    fn from(over: OverBudget) -> Self {
        Self::Refused(over.to_string())
    }
}

impl From<ImageError> for Stop {
    fn from(error: ImageError) -> Self {
        Self::Stream(error)
    }
}

/// Bytes of directory names that are kept in memory until their times are set.
const MAX_REMEMBERED: usize = 32 << 20;

struct Unpacking {
    tree: Confined,
    /// Set at the end: making what is inside changes them.
    directory_times: HashMap<EntryPath, (i64, u32)>,
    /// Bytes of names in `directory_times`.
    remembered: usize,
    budget: Rc<Budget>,
    buffer: Vec<u8>,
    size: u64,
}

impl Unpacking {
    fn entry(&mut self, entry: &Entry, tar: &mut TarStream<impl Read>) -> Result<(), Stop> {
        let path = EntryPath::parse(&entry.path).map_err(Stop::refused)?;
        let (directory, name) = path.split();
        match meaning(&path).map_err(Stop::refused)? {
            Meaning::Ignored => Ok(()),
            Meaning::Opaque => {
                let directory = self.parent(directory)?;
                Ok(attributes::set_opaque(&directory)?)
            }
            Meaning::Whiteout(hidden) => {
                let directory = self.parent(directory)?;
                self.whiteout(&directory, hidden)
            }
            Meaning::Content => self.content(entry, &path, directory, name, tar),
        }
    }

    /// The directory that an entry lies in, made if no entry has yet.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Stop> {
        let budget = self.budget.clone();
        let make = || Ok(budget.inode()?);
        match self.tree.directory_or_make(path, make) {
            Err(Stop::Refused(reason)) if reason == NO_DIRECTORY && self.whiteout_to_directory(path)? => {
                self.tree.directory_or_make(path, make)
            }
            found => found,
        }
    }

    /// Makes the whiteout on the way to `path` a directory that hides what is below: a layer may remove a directory of the
    /// layers below and then have its own. Whether there was one.
    fn whiteout_to_directory(&mut self, path: &[u8]) -> Result<bool, Stop> {
        for end in (0..=path.len()).filter(|&at| at == path.len() || path[at] == b'/') {
            let start = path[..end].iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
            let parent = self.tree.directory(&path[..start.saturating_sub(1)])?;
            let name = &path[start..end];
            if Confined::kind(&parent, name)? == Some(Found::Whiteout) {
                self.tree.remove(&parent, name, Found::Whiteout)?;
                attributes::set_opaque(&make_directory(&parent, OsStr::from_bytes(name))?)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hides a name of the layers below; what this layer itself has there stays (image-spec, "Whiteouts").
    fn whiteout(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<(), Stop> {
        match Confined::kind(directory, name)? {
            Some(Found::Directory) => Ok(attributes::set_opaque(&open_directory(directory, OsStr::from_bytes(name))?)?),
            Some(_) => Ok(()),
            None => {
                self.budget.inode()?;
                let mode = Mode::empty();
                Ok(mknodat(directory, OsStr::from_bytes(name), FileType::CharacterDevice, mode, 0)?)
            }
        }
    }

    fn content(
        &mut self,
        entry: &Entry,
        path: &EntryPath,
        directory: &[u8],
        name: &[u8],
        tar: &mut TarStream<impl Read>,
    ) -> Result<(), Stop> {
        let attributes = Attributes::of(entry).map_err(Stop::Refused)?;
        if path.is_root() {
            if entry.kind != Kind::Directory {
                return Err(Stop::refused("it would replace the root directory"));
            }
            attributes.of_open(self.tree.root(), true)?;
            return self.remember_time(path, entry);
        }
        allowed(&entry.kind, directory).map_err(Stop::refused)?;
        let parent = self.parent(directory)?;
        let hidden = match Confined::kind(&parent, name)? {
            Some(Found::Directory) if entry.kind == Kind::Directory => {
                let fd = open_directory(&parent, OsStr::from_bytes(name))?;
                attributes.of_open(&fd, true)?;
                return self.remember_time(path, entry);
            }
            Some(found) => {
                self.tree.remove(&parent, name, found)?;
                found == Found::Whiteout
            }
            None => false,
        };
        let name = OsStr::from_bytes(name);
        if !matches!(entry.kind, Kind::Hardlink(_)) {
            self.budget.inode()?;
        }
        match &entry.kind {
            Kind::Directory => {
                mkdirat(&parent, name, Mode::RWXU)?;
                let fd = open_directory(&parent, name)?;
                if hidden {
                    attributes::set_opaque(&fd)?;
                }
                attributes.of_open(&fd, true)?;
                self.remember_time(path, entry)?;
            }
            Kind::File(size) => {
                let file = create(&parent, name)?;
                self.copy(tar, &file, *size, 0)?;
                self.size += size;
                attributes.of_open(&file, false)?;
            }
            Kind::Sparse(size, extents) => {
                let file = create(&parent, name)?;
                self.sparse(tar, &file, *size, extents)?;
                attributes.of_open(&file, false)?;
            }
            Kind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), &parent, name)?;
                attributes.of_name(&parent, name, true)?;
            }
            Kind::Hardlink(target) => self.hardlink(target, &parent, name)?,
            Kind::Fifo => {
                mknodat(&parent, name, FileType::Fifo, Mode::RUSR, 0)?;
                attributes.of_name(&parent, name, false)?;
            }
            Kind::Device | Kind::Other(_) => unreachable!("refused by allowed()"),
        }
        Ok(())
    }

    /// Copies so many bytes of the entry's data to an offset of a file.
    fn copy(&mut self, tar: &mut TarStream<impl Read>, file: &OwnedFd, size: u64, offset: u64) -> Result<(), Stop> {
        self.budget.write(size)?;
        let mut done = 0;
        while done < size {
            let want = self.buffer.len().min(usize::try_from(size - done).unwrap_or(usize::MAX));
            let n = tar.read_data(&mut self.buffer[..want])?;
            let mut written = 0;
            while written < n {
                written += rustix::io::pwrite(file, &self.buffer[written..n], offset + done + written as u64)?;
            }
            done += n as u64;
        }
        Ok(())
    }

    fn sparse(
        &mut self,
        tar: &mut TarStream<impl Read>,
        file: &OwnedFd,
        size: u64,
        extents: &[Extent],
    ) -> Result<(), Stop> {
        // Holes are as good as inflated zeros to whoever copies the file.
        let data: u64 = extents.iter().map(|e| e.length).sum();
        self.budget.inflate(size - data)?;
        rustix::fs::ftruncate(file, size)?;
        for extent in extents {
            self.copy(tar, file, extent.length, extent.offset)?;
        }
        self.size += size;
        Ok(())
    }

    fn hardlink(&mut self, target: &[u8], parent: &OwnedFd, name: &OsStr) -> Result<(), Stop> {
        let target =
            EntryPath::parse(target).map_err(|reason| Stop::Refused(format!("its link's target: {reason}")))?;
        let missing = || Stop::refused("its link's target is not in the archive before it");
        let (directory, target_name) = target.split();
        let directory = match self.tree.directory(directory) {
            Err(Denied::System(Errno::NOENT)) => return Err(missing()),
            found => found?,
        };
        match Confined::kind(&directory, target_name)? {
            Some(Found::Other) => {}
            Some(_) => return Err(Stop::refused("its link's target is no file")),
            None => return Err(missing()),
        }
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is one.
        Ok(linkat(&directory, OsStr::from_bytes(target_name), parent, name, AtFlags::empty())?)
    }

    fn remember_time(&mut self, path: &EntryPath, entry: &Entry) -> Result<(), Stop> {
        self.remembered += entry.path.len();
        self.directory_times.insert(path.clone(), entry.mtime);
        // With more names than that, a time that a later entry changes again is the lesser evil.
        if self.remembered > MAX_REMEMBERED {
            self.set_directory_times()?;
        }
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), Errno> {
        self.remembered = 0;
        for (path, mtime) in std::mem::take(&mut self.directory_times) {
            let (parent, name) = path.split();
            // What an entry replaced later is no directory any more, or is not on the way to one.
            let Ok(parent) = self.tree.directory(parent) else { continue };
            let Ok(fd) = open_directory(&parent, OsStr::from_bytes(if path.is_root() { b"." } else { name })) else {
                continue;
            };
            attributes::set_mtime(&fd, mtime)?;
        }
        Ok(())
    }
}

/// Whether an entry of this kind may be at all.
fn allowed(kind: &Kind, directory: &[u8]) -> Result<(), String> {
    match kind {
        Kind::Device => Err("device nodes are not taken from archives (a container gets its own /dev): \
             make the archive without them, e.g. tar --exclude='./dev/*'"
            .to_owned()),
        Kind::Other(flag) => Err(format!("tar entries of type {:?} are not served", char::from(*flag))),
        Kind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            Err("a symbolic link with an empty target, or with a NUL in it".to_owned())
        }
        Kind::Symlink(target) if climbs_out(directory, target) => {
            Err(format!("a symbolic link that leaves the root: {:?}", printable(target)))
        }
        _ => Ok(()),
    }
}

fn open_directory_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a layer's root hides everything below it.
pub(super) fn is_opaque(layer: &Path) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::getxattr(layer, attributes::OPAQUE, &mut value), Ok(1)) && value == *b"y"
}

fn create(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
