//! Reading a tar stream: ustar, GNU and PAX, bounded at every step.
//!
//! A reader of our own, because the archive is an attacker's: extension headers are bounded (the common crates read a
//! header's "long name" of 8 GiB into memory), nothing seeks, and every field is checked once, here. What an entry may *do*
//! is not decided here: see [`super::unpack`].
//!
//! Formats: POSIX.1-2001 `pax`, section "Extended Description"; GNU tar's manual, "Basic Tar Format" and "Sparse Formats".

mod header;
mod pax;
mod sparse;

use std::io::{self, BufReader, Read};

use super::budget::OverBudget;
use super::{ImageError, printable};
pub(super) use sparse::Extent;

/// Header and padding granularity.
const BLOCK: usize = 512;
/// The longest extension header (PAX records, GNU long name): the bound of Go's `archive/tar`.
const MAX_EXTENSION: u64 = 1 << 20;
/// Read-ahead; a longer read of an entry's data bypasses it.
const BUFFER: usize = 128 << 10;

/// One entry; its data, if it is a file, follows in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As the archive has it.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
    /// `SCHILY.xattr.*` records.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes.
    File(u64),
    /// A file with holes: its size, and where the data in the stream goes.
    Sparse(u64, Vec<Extent>),
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Fifo,
    Device,
    /// A type flag that is not served.
    Other(u8),
}

/// A tar stream.
pub(super) struct TarStream<R> {
    input: BufReader<R>,
    /// Of the current entry: data not yet read, then padding.
    data: u64,
    padding: u64,
    /// The current entry's name, for errors.
    current: Vec<u8>,
    any: bool,
}

impl<R: Read> TarStream<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), data: 0, padding: 0, current: Vec::new(), any: false }
    }

    /// The next entry; what is left of the one before is skipped. `None` at the archive's end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(block) = self.header()? else {
                return if extensions.pending {
                    Err(self.malformed("the archive ends inside an entry"))
                } else {
                    Ok(None)
                };
            };
            self.any = true;
            let size = header::number(&block[124..136]).ok_or_else(|| self.malformed("its size is no number"))?;
            match block[156] {
                b'x' => {
                    let records = self.extension(size)?;
                    pax::read(&records, &mut extensions.pax).map_err(|reason| self.malformed(reason))?;
                }
                b'L' => extensions.path = Some(self.long_name(size)?),
                b'K' => extensions.link = Some(self.long_name(size)?),
                // Global records: comments of `git archive`; nothing in them may change an entry here (Docker, too).
                b'g' => drop(self.extension(size)?),
                _ => return self.entry(&block, size, extensions).map(Some),
            }
            extensions.pending |= block[156] != b'g';
        }
    }

    /// Reads of the current entry's data.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let want = buffer.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.input.read(&mut buffer[..want]).map_err(|e| self.unreadable(&e))?;
        if n == 0 {
            return Err(self.truncated());
        }
        self.data -= n as u64;
        Ok(n)
    }

    /// The current entry's data, refused if it is longer than `limit`.
    pub(super) fn read_small(&mut self, limit: u64) -> Result<Vec<u8>, ImageError> {
        if self.data > limit {
            return Err(self.malformed(&format!("longer than {limit} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(self.data).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_data(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    /// Reads what follows the archive's end (padding, by tar's rules), and gives the input back.
    pub(super) fn finish(mut self) -> Result<R, ImageError> {
        self.skip()?;
        io::copy(&mut self.input, &mut io::sink()).map_err(|e| self.unreadable(&e))?;
        Ok(self.input.into_inner())
    }

    fn skip(&mut self) -> Result<(), ImageError> {
        let rest = self.data + self.padding;
        let skipped =
            io::copy(&mut self.input.by_ref().take(rest), &mut io::sink()).map_err(|e| self.unreadable(&e))?;
        (self.data, self.padding) = (0, 0);
        if skipped == rest { Ok(()) } else { Err(self.truncated()) }
    }

    /// The next header block, its checksum verified; `None` at the end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, ImageError> {
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? || block == [0; BLOCK] {
            return Ok(None);
        }
        if header::checksum_holds(&block) {
            Ok(Some(block))
        } else if self.any {
            Err(self.malformed("the header that follows it is damaged"))
        } else {
            Err(ImageError::Archive("not a tar archive (plain, gzip or zstd)".to_owned()))
        }
    }

    /// Fills a block; false if the stream ended before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ImageError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.truncated()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(&e)),
            }
        }
        Ok(true)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        self.data = size;
        self.padding = header::padding(size);
        if size > MAX_EXTENSION {
            return Err(self.malformed(&format!("the extension header that follows it has {size} bytes, over 1 MiB")));
        }
        self.read_small(MAX_EXTENSION)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        let mut name = self.extension(size)?;
        // GNU tar counts a final NUL.
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn entry(&mut self, block: &[u8; BLOCK], size: u64, extensions: Extensions) -> Result<Entry, ImageError> {
        let Extensions { pax, path, link, .. } = extensions;
        let path = pax.sparse.name.clone().or(pax.path).or(path).unwrap_or_else(|| header::path(block));
        self.current.clone_from(&path);
        let number = |field: &[u8], what: &str| {
            header::number(field).ok_or_else(|| self.malformed(&format!("its {what} is no number")))
        };
        let mode = number(&block[100..108], "mode")? & 0o7777;
        let uid = pax.uid.map_or_else(|| number(&block[108..116], "owner"), Ok)?;
        let gid = pax.gid.map_or_else(|| number(&block[116..124], "group"), Ok)?;
        let mtime = pax.mtime.unwrap_or_else(|| (header::signed(&block[136..148]).unwrap_or(0), 0));
        let link = pax.linkpath.or(link).unwrap_or_else(|| header::text(&block[157..257]));
        let size = pax.size.unwrap_or(size);
        let directory_name = path.last() == Some(&b'/');
        let kind = match block[156] {
            // Before ustar, a directory was a file whose name ends in a slash.
            b'0' | 0 if directory_name => {
                // What it holds, if anything, is skipped.
                (self.data, self.padding) = (size, header::padding(size));
                Kind::Directory
            }
            b'0' | 0 | b'7' => self.file(size, &pax.sparse)?,
            b'S' => self.gnu_sparse(block, size)?,
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        };
        Ok(Entry { path, kind, mode: mode as u32, uid, gid, mtime, xattrs: pax.xattrs })
    }

    /// A file of the usual type flag: PAX records may still say that it is sparse.
    fn file(&mut self, size: u64, sparse: &sparse::PaxSparse) -> Result<Kind, ImageError> {
        self.data = size;
        self.padding = header::padding(size);
        let (real, extents) = match sparse.version() {
            sparse::Version::None => return Ok(Kind::File(size)),
            sparse::Version::Records => sparse.extents().map_err(|reason| self.malformed(reason))?,
            sparse::Version::InData => {
                let real = sparse.real_size.ok_or_else(|| self.malformed("a sparse file without its size"))?;
                (real, self.sparse_map()?)
            }
        };
        sparse::check(real, &extents, self.data).map_err(|reason| self.malformed(reason))?;
        Ok(Kind::Sparse(real, extents))
    }

    /// GNU sparse format 1.0: the map is at the data's beginning, in decimal lines, padded to a block.
    fn sparse_map(&mut self) -> Result<Vec<Extent>, ImageError> {
        let mut map = sparse::MapReader::default();
        let mut block = [0; BLOCK];
        loop {
            for at in 0..BLOCK {
                if self.read_data(&mut block[at..=at])? == 0 {
                    return Err(self.malformed("a sparse file whose map is cut off"));
                }
            }
            if let Some(extents) = map.feed(&block).map_err(|reason| self.malformed(reason))? {
                return Ok(extents);
            }
        }
    }

    /// GNU's old sparse format: the map is in the header and in blocks that follow it.
    fn gnu_sparse(&mut self, block: &[u8; BLOCK], size: u64) -> Result<Kind, ImageError> {
        let mut extents = Vec::new();
        let bad = "a sparse file with a damaged map";
        sparse::read_table(&block[386..482], &mut extents).ok_or_else(|| self.malformed(bad))?;
        let mut more = block[482] != 0;
        while more {
            let mut next = [0; BLOCK];
            if !self.block(&mut next)? {
                return Err(self.truncated());
            }
            sparse::read_table(&next[..504], &mut extents).ok_or_else(|| self.malformed(bad))?;
            more = next[504] != 0;
        }
        let real = header::number(&block[483..495]).ok_or_else(|| self.malformed(bad))?;
        self.data = size;
        self.padding = header::padding(size);
        sparse::check(real, &extents, size).map_err(|reason| self.malformed(reason))?;
        Ok(Kind::Sparse(real, extents))
    }

    fn malformed(&self, reason: &str) -> ImageError {
        ImageError::Entry { entry: printable(&self.current), reason: reason.to_owned() }
    }

    fn truncated(&self) -> ImageError {
        ImageError::Archive(format!("it ends inside entry {:?}", printable(&self.current)))
    }

    /// The input's error: a bound that was reached names the entry, the rest is a damaged or interrupted stream.
    fn unreadable(&self, error: &io::Error) -> ImageError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<OverBudget>()) {
            Some(over) => self.malformed(&over.to_string()),
            None if self.any => ImageError::Archive(format!("{error}, at entry {:?}", printable(&self.current))),
            None => ImageError::Archive(error.to_string()),
        }
    }
}

/// What extension headers said about the entry that follows them.
#[derive(Default)]
struct Extensions {
    pax: pax::Records,
    /// GNU `L`.
    path: Option<Vec<u8>>,
    /// GNU `K`.
    link: Option<Vec<u8>>,
    pending: bool,
}

#[cfg(test)]
mod tests;
