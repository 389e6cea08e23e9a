//! An outer archive's entries, as files to be read in any order: `docker save` writes its table of contents last.
//!
//! Nothing is unpacked by name: an entry becomes a numbered file, and its name only a key, so that no name leads anywhere.
//! Symbolic and hard links between entries (old `docker save` shares layers so) are links between keys.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::budget::{Budget, OverBudget};
use super::entry_path::{EntryPath, climbs_out};
use super::storage::io;
use super::tarball::{Entry, Kind, TarStream};
use super::{ImageError, printable};
use crate::model::Digest;

/// More entries than any set of images has; their names are kept in memory.
const MAX_ENTRIES: usize = 1 << 15;
/// Longer than any name of a blob.
const MAX_NAME: usize = 512;
/// The largest manifest, index or configuration: the bound of registries.
const MAX_JSON: u64 = 4 << 20;
/// Links that lead to links.
const MAX_LINKS: usize = 8;

/// What the archive holds, by name.
pub(super) struct Spool {
    directory: PathBuf,
    entries: HashMap<EntryPath, Spooled>,
    written: usize,
}

enum Spooled {
    File(Blob),
    /// To another name.
    Link(EntryPath),
}

/// One entry's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Spool {
    /// Reads a whole uncompressed tar into `directory`, which is made.
    pub(super) fn read(tar: impl Read, directory: &Path, budget: &Rc<Budget>) -> Result<Self, ImageError> {
        fs::create_dir(directory).map_err(io("make", directory))?;
        let mut spool = Self { directory: directory.to_owned(), entries: HashMap::new(), written: 0 };
        let mut tar = TarStream::new(tar);
        let mut buffer = vec![0; 256 << 10];
        while let Some(entry) = tar.next()? {
            let refuse = |reason: String| ImageError::Entry { entry: printable(&entry.path), reason };
            let path = EntryPath::parse(&entry.path).map_err(|reason| refuse(reason.to_owned()))?;
            if spool.entries.len() == MAX_ENTRIES {
                return Err(refuse(format!("more than {MAX_ENTRIES} entries")));
            }
            if entry.path.len() > MAX_NAME {
                return Err(refuse(format!("a name of more than {MAX_NAME} bytes in an image archive")));
            }
            let spooled = match &entry.kind {
                Kind::Directory => continue,
                Kind::File(size) => {
                    charge(budget, *size).map_err(|over| refuse(over.to_string()))?;
                    Spooled::File(spool.write(&mut tar, &mut buffer)?)
                }
                Kind::Symlink(_) | Kind::Hardlink(_) => Spooled::Link(link_target(&entry, &path).map_err(refuse)?),
                Kind::Sparse(..) | Kind::Fifo | Kind::Device | Kind::Other(_) => {
                    return Err(refuse("an image archive holds only files and links to them".to_owned()));
                }
            };
            spool.entries.insert(path, spooled);
        }
        tar.finish()?;
        Ok(spool)
    }

    fn write(&mut self, tar: &mut TarStream<impl Read>, buffer: &mut [u8]) -> Result<Blob, ImageError> {
        let path = self.directory.join(self.written.to_string());
        self.written += 1;
        let mut file = File::create_new(&path).map_err(io("make", &path))?;
        let mut hash = Sha256::new();
        let mut size = 0;
        loop {
            match tar.read_data(buffer)? {
                0 => return Ok(Blob { path, size, digest: Digest::from_sha256(hash.finalize().into()) }),
                n => {
                    hash.update(&buffer[..n]);
                    file.write_all(&buffer[..n]).map_err(io("write", &path))?;
                    size += n as u64;
                }
            }
        }
    }

    /// The entry of that name, through links.
    pub(super) fn find(&self, name: &str) -> Option<&Blob> {
        let mut at = EntryPath::parse(name.as_bytes()).ok()?;
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&at)? {
                Spooled::File(blob) => return Some(blob),
                Spooled::Link(target) => at = target.clone(),
            }
        }
        None
    }

    /// Like [`Self::find`], where the archive itself says that the entry is there.
    pub(super) fn get(&self, name: &str) -> Result<&Blob, ImageError> {
        self.find(name).ok_or_else(|| ImageError::Archive(format!("it names {name:?}, which is not in it")))
    }
}

impl Blob {
    /// The bytes of a document.
    pub(super) fn read_small(&self, what: &str) -> Result<Vec<u8>, ImageError> {
        if self.size > MAX_JSON {
            return Err(ImageError::Archive(format!("{what} is longer than {MAX_JSON} bytes")));
        }
        fs::read(&self.path).map_err(io("read", &self.path))
    }

    /// A JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, ImageError> {
        serde_json::from_slice(&self.read_small(what)?).map_err(|e| ImageError::Archive(format!("{what}: {e}")))
    }
}

fn charge(budget: &Budget, size: u64) -> Result<(), OverBudget> {
    budget.inode()?;
    budget.write(size)
}

/// The entry that a link leads to: a hard link's target is named from the root, a symbolic one's from its directory.
fn link_target(entry: &Entry, path: &EntryPath) -> Result<EntryPath, String> {
    let bad = |reason: &str| format!("its link's target: {reason}");
    match &entry.kind {
        Kind::Hardlink(target) | Kind::Symlink(target) if target.len() > MAX_NAME => {
            Err(bad(&format!("a name of more than {MAX_NAME} bytes")))
        }
        Kind::Hardlink(target) => EntryPath::parse(target).map_err(bad),
        Kind::Symlink(target) => {
            let (directory, _) = path.split();
            if target.first() == Some(&b'/') || climbs_out(directory, target) {
                return Err("a symbolic link that leaves the archive".to_owned());
            }
            let mut parts: Vec<&[u8]> = Vec::new();
            for part in directory.split(|&b| b == b'/').chain(target.split(|&b| b == b'/')) {
                match part {
                    b"" | b"." => {}
                    b".." => drop(parts.pop()),
                    _ => parts.push(part),
                }
            }
            EntryPath::parse(&parts.join(&b'/')).map_err(bad)
        }
        _ => Err("no link".to_owned()),
    }
}
