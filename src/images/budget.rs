//! How much an archive may ask for: the bounds that make a decompression bomb an error instead of a full disk.
//!
//! One [`Budget`] covers one `import` or `load`, all layers and nesting together, so that a bomb inside a bomb gains nothing.
//!
//! | bound | value | stops |
//! |---|---|---|
//! | inflated bytes | 64 MiB + 100 × the bytes that the client sent | gzip and zstd bombs, nested ones, sparse files of terabytes |
//! | disk | free space less a tenth of it (1 GiB at most); a block for each inode | archives larger than the disk, inode floods |
//! | entries | 4,000,000, or nine tenths of the free inodes | floods of empty files |
//!
//! Real images compress 2 to 10 times; a file system with one huge file of zeros can exceed the first bound, and then goes
//! in uncompressed (the error says so).

use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use super::ImageError;
use super::storage::io;

/// Inflated bytes that need no justification.
const INFLATED_FREE: u64 = 64 << 20;
/// Inflated bytes allowed for each byte received.
const INFLATED_RATIO: u64 = 100;
/// Entries of one operation.
const MAX_ENTRIES: u64 = 4_000_000;
/// What an inode costs at least: its first block.
const INODE_COST: u64 = 4096;

/// An archive wants more than it may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct OverBudget(String);

/// What is left for one operation.
pub(super) struct Budget {
    received: Cell<u64>,
    inflated: Cell<u64>,
    disk: Cell<u64>,
    entries: Cell<u64>,
}

impl Budget {
    /// For an operation that writes to the file system of `directory`.
    pub(super) fn of_directory(directory: &Path) -> Result<Rc<Self>, ImageError> {
        let fs = rustix::fs::statvfs(directory).map_err(|e| io("measure the disk of", directory)(e.into()))?;
        let free = fs.f_bavail.saturating_mul(fs.f_frsize);
        // btrfs and some network file systems count no inodes and report none.
        let inodes = if fs.f_files == 0 { MAX_ENTRIES } else { fs.f_favail / 10 * 9 };
        Ok(Self::new(free - (free / 10).min(1 << 30), MAX_ENTRIES.min(inodes)))
    }

    /// With so many bytes of disk and so many entries.
    pub(super) fn new(disk: u64, entries: u64) -> Rc<Self> {
        Rc::new(Self {
            received: Cell::new(0),
            inflated: Cell::new(0),
            disk: Cell::new(disk),
            entries: Cell::new(entries),
        })
    }

    /// The client sent so many bytes.
    fn receive(&self, bytes: u64) {
        self.received.set(self.received.get().saturating_add(bytes));
    }

    /// So many bytes came out of a decompressor, or are promised by a sparse file.
    pub(super) fn inflate(&self, bytes: u64) -> Result<(), OverBudget> {
        let inflated = self.inflated.get().saturating_add(bytes);
        self.inflated.set(inflated);
        let received = self.received.get();
        if inflated <= INFLATED_FREE.saturating_add(received.saturating_mul(INFLATED_RATIO)) {
            return Ok(());
        }
        Err(OverBudget(format!(
            "decompression bomb: {received} bytes inflate to more than {inflated}, over {INFLATED_RATIO} times; \
             if this is meant, send the archive uncompressed and without sparse files"
        )))
    }

    /// So many bytes are about to be written.
    pub(super) fn write(&self, bytes: u64) -> Result<(), OverBudget> {
        match self.disk.get().checked_sub(bytes) {
            Some(left) => {
                self.disk.set(left);
                Ok(())
            }
            None => Err(OverBudget("the archive is larger than the free space on the disk".to_owned())),
        }
    }

    /// An inode is about to be made.
    pub(super) fn inode(&self) -> Result<(), OverBudget> {
        let left =
            self.entries.get().checked_sub(1).ok_or_else(|| {
                OverBudget(format!("more than {MAX_ENTRIES} entries, or than the disk has free inodes"))
            })?;
        self.entries.set(left);
        self.write(INODE_COST)
    }
}

/// Counts what comes from the client.
pub(super) struct Received<R> {
    pub(super) inner: R,
    pub(super) budget: Rc<Budget>,
}

impl<R: Read> Read for Received<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.budget.receive(n as u64);
        Ok(n)
    }
}

/// Counts, and bounds, what comes out of a decompressor.
pub(super) struct Inflated<R> {
    pub(super) inner: R,
    pub(super) budget: Rc<Budget>,
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.budget.inflate(n as u64).map_err(std::io::Error::other)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_justifies_what_is_inflated() {
        let budget = Budget::new(u64::MAX, 1);
        budget.inflate(INFLATED_FREE).unwrap();
        assert!(budget.inflate(1).unwrap_err().to_string().contains("decompression bomb"));
        budget.receive(10);
        budget.inflate(900).unwrap();
        assert!(budget.inflate(u64::MAX).is_err());
    }

    #[test]
    fn an_inode_costs_an_entry_and_a_block() {
        let budget = Budget::new(2 * INODE_COST, 3);
        budget.inode().unwrap();
        budget.inode().unwrap();
        assert!(budget.inode().unwrap_err().to_string().contains("free space"));
        let budget = Budget::new(u64::MAX, 1);
        budget.inode().unwrap();
        assert!(budget.inode().unwrap_err().to_string().contains("entries"));
    }
}
