//! Archives made in memory, and image stores in temporary directories, for this room's tests. They run as root: whiteouts
//! and owners need it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Images;
use crate::model::Digest;
use crate::store::Store;

/// A tar, block by block: what an honest library would not write can be written.
#[derive(Clone, Default)]
pub(super) struct Tar {
    bytes: Vec<u8>,
}

/// A header's fields.
#[derive(Clone)]
pub(super) struct Header<'a> {
    pub(super) flag: u8,
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
    /// `None`: that of the data.
    pub(super) size: Option<u64>,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self { flag: b'0', link: b"", mode: 0o644, owner: (0, 0), mtime: 1_000_000_000, size: None }
    }
}

impl Tar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn entry(mut self, path: impl AsRef<[u8]>, header: &Header<'_>, data: &[u8]) -> Self {
        let (path, link) = (path.as_ref(), header.link);
        if path.len() > 100 {
            self = self.extension(b'L', path);
        }
        if link.len() > 100 {
            self = self.extension(b'K', link);
        }
        let mut block = [0u8; 512];
        let put = |block: &mut [u8; 512], at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(&mut block, 0, &path[..path.len().min(100)]);
        put(&mut block, 100, format!("{:07o}\0", header.mode).as_bytes());
        put(&mut block, 108, format!("{:07o}\0", header.owner.0).as_bytes());
        put(&mut block, 116, format!("{:07o}\0", header.owner.1).as_bytes());
        put(&mut block, 124, format!("{:011o}\0", header.size.unwrap_or(data.len() as u64)).as_bytes());
        put(&mut block, 136, format!("{:011o}\0", header.mtime).as_bytes());
        put(&mut block, 156, &[header.flag]);
        put(&mut block, 157, &link[..link.len().min(100)]);
        put(&mut block, 257, b"ustar\x0000");
        seal(&mut block);
        self.bytes.extend_from_slice(&block);
        self.data(data)
    }

    /// An extension header for the entry after it.
    pub(super) fn extension(self, flag: u8, data: &[u8]) -> Self {
        self.entry("././@LongLink", &Header { flag, ..Header::default() }, data)
    }

    /// PAX records for the entry after it.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).find(|n| n.to_string().len() + rest == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.extension(b'x', &data)
    }

    /// Blocks as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(path, &Header::default(), data.as_ref())
    }

    pub(super) fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(path, &Header { flag: b'5', mode: 0o755, ..Header::default() }, b"")
    }

    pub(super) fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(path, &Header { flag: b'2', link: target.as_ref(), ..Header::default() }, b"")
    }

    pub(super) fn hardlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(path, &Header { flag: b'1', link: target.as_ref(), ..Header::default() }, b"")
    }

    /// With the two empty blocks of its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// Writes a header's checksum.
pub(super) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// An image store of its own.
pub(super) struct Home {
    pub(super) directory: tempfile::TempDir,
    pub(super) images: Images,
}

impl Home {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = open(directory.path());
        Self { directory, images }
    }

    /// As a daemon's next start does.
    pub(super) fn reopen(self) -> Self {
        let Self { directory, images } = self;
        drop(images);
        let images = open(directory.path());
        Self { directory, images }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("images").join(name)
    }

    /// What lies under `layers`, `configs` and `tmp`: how many of each.
    pub(super) fn counts(&self) -> [usize; 3] {
        ["layers", "configs", "tmp"].map(|name| std::fs::read_dir(self.path(name)).unwrap().count())
    }
}

fn open(directory: &Path) -> Images {
    let store = Store::open(&directory.join("pontoon.db")).unwrap();
    Images::open(&directory.join("images"), Arc::new(store)).unwrap()
}
