//! Maps of sparse files: GNU's old format, and its PAX formats 0.0, 0.1 and 1.0.

use super::{BLOCK, header, pax};

/// Data of a sparse file: so many bytes at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::images) struct Extent {
    pub(in crate::images) offset: u64,
    pub(in crate::images) length: u64,
}

/// The longest map.
const MAX_EXTENTS: usize = 1 << 16;
const DAMAGED: &str = "a sparse file with a damaged map";

/// `GNU.sparse.*` records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offset and length in turn.
    pub(super) numbers: Vec<u64>,
}

/// Where the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Not a sparse file.
    None,
    /// 0.0 and 0.1: in the records.
    Records,
    /// 1.0: at the data's beginning.
    InData,
}

impl PaxSparse {
    pub(super) fn version(&self) -> Version {
        match (self.major, self.minor) {
            (Some(1), Some(0)) => Version::InData,
            _ if !self.numbers.is_empty() => Version::Records,
            _ => Version::None,
        }
    }

    /// Size and map of formats 0.0 and 0.1.
    pub(super) fn extents(&self) -> Result<(u64, Vec<Extent>), &'static str> {
        let real = self.real_size.ok_or("a sparse file without its size")?;
        Ok((real, pairs(&self.numbers)?))
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<Extent>, &'static str> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > MAX_EXTENTS {
        return Err(DAMAGED);
    }
    Ok(pairs.iter().map(|&[offset, length]| Extent { offset, length }).collect())
}

/// Extents must ascend, lie inside the file, and account for exactly the data in the stream.
pub(super) fn check(real: u64, extents: &[Extent], data: u64) -> Result<(), &'static str> {
    let mut end = 0;
    let mut total = 0u64;
    for extent in extents {
        if extent.offset < end {
            return Err(DAMAGED);
        }
        end = extent.offset.checked_add(extent.length).ok_or(DAMAGED)?;
        total += extent.length;
    }
    if end <= real && total == data { Ok(()) } else { Err(DAMAGED) }
}

/// A table of 12-byte offset and length fields, as GNU's old headers have it; an empty pair ends it.
pub(super) fn read_table(table: &[u8], extents: &mut Vec<Extent>) -> Option<()> {
    for field in table.chunks_exact(24) {
        if field[0] == 0 {
            break;
        }
        if extents.len() == MAX_EXTENTS {
            return None;
        }
        extents.push(Extent { offset: header::number(&field[..12])?, length: header::number(&field[12..])? });
    }
    Some(())
}

/// The map of format 1.0: `count\n`, then `offset\n` and `length\n` for each extent.
#[derive(Default)]
pub(super) struct MapReader {
    line: Vec<u8>,
    count: Option<usize>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// Takes the next block; the map, once it is complete.
    pub(super) fn feed(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Extent>>, &'static str> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err(DAMAGED);
                }
                continue;
            }
            let number = pax::decimal(&self.line).ok_or(DAMAGED)?;
            self.line.clear();
            match self.count {
                None => {
                    let count = usize::try_from(number).ok().filter(|&n| n <= MAX_EXTENTS).ok_or(DAMAGED)?;
                    self.count = Some(count);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.count.is_some_and(|count| self.numbers.len() == 2 * count) {
                return pairs(&self.numbers).map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_must_account_for_the_data_and_stay_inside_the_file() {
        let at = |offset, length| Extent { offset, length };
        assert_eq!(check(100, &[at(0, 10), at(50, 20), at(100, 0)], 30), Ok(()));
        assert!(check(100, &[at(50, 20), at(0, 10)], 30).is_err());
        assert!(check(100, &[at(0, 10), at(5, 10)], 20).is_err());
        assert!(check(60, &[at(50, 20)], 20).is_err());
        assert!(check(100, &[at(0, 10)], 9).is_err());
        assert!(check(u64::MAX, &[at(u64::MAX, 2)], 2).is_err());
    }

    #[test]
    fn a_map_in_the_data_may_span_blocks() {
        let mut text = format!("{}\n", 60);
        for n in 0..60 {
            text += &format!("{}\n{}\n", 1_000_000 * n, 512);
        }
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let mut map = MapReader::default();
        let mut found = None;
        for block in bytes.as_chunks::<BLOCK>().0 {
            assert_eq!(found, None);
            found = map.feed(block).unwrap();
        }
        assert_eq!(found.unwrap()[59], Extent { offset: 59_000_000, length: 512 });
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(b"x\n1\n");
        assert!(MapReader::default().feed(&block).is_err());
        assert!(MapReader::default().feed(&[b'1'; BLOCK]).is_err());
    }
}
