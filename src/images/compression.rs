//! Plain, gzip or zstd, told apart by their first bytes, never by a name or a media type.

use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::budget::{Budget, Inflated};

/// One read from a client or a file; also what decompressors are fed with.
const BUFFER: usize = 256 << 10;

/// The uncompressed bytes of `input`, counted against the budget.
///
/// A zstd frame that wants a window of more than 128 MiB is refused (the library's own bound), so that memory is bounded.
///
/// # Errors
///
/// What reading says; `InvalidData` for an empty input, xz and bzip2.
pub(super) fn inflated<'a>(mut input: impl Read + 'a, budget: &Rc<Budget>) -> io::Result<Box<dyn Read + 'a>> {
    // Read apart: a client's first chunk may be shorter than a magic number.
    let mut start = Vec::with_capacity(6);
    input.by_ref().take(6).read_to_end(&mut start)?;
    let input = BufReader::with_capacity(BUFFER, io::Cursor::new(start.clone()).chain(input));
    let invalid = |words: &str| Err(io::Error::new(io::ErrorKind::InvalidData, words));
    let inner: Box<dyn Read + 'a> = match start[..] {
        [] => return invalid("the archive is empty"),
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        // A frame, or a skippable frame before it (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return invalid("xz is not served: use gzip, zstd or no compression"),
        [b'B', b'Z', b'h', ..] => return invalid("bzip2 is not served: use gzip, zstd or no compression"),
        _ => Box::new(input),
    };
    Ok(Box::new(Inflated { inner, budget: budget.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        inflated(bytes, &Budget::new(u64::MAX, 1))?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_first_bytes_decide() {
        let text = b"some text, some text";
        assert_eq!(read(text).unwrap(), text);
        assert_eq!(read(&gzip(text)).unwrap(), text);
        assert_eq!(read(&zstd::encode_all(&text[..], 1).unwrap()).unwrap(), text);
        // Members and frames may follow each other.
        assert_eq!(read(&[gzip(b"a"), gzip(b"b")].concat()).unwrap(), b"ab");
        for refused in [&b""[..], b"\xfd7zXZ\0", b"BZh91AY"] {
            assert_eq!(read(refused).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_bomb_stops() {
        let zeros = vec![0; 80 << 20];
        for bomb in [gzip(&zeros), zstd::encode_all(&zeros[..], 1).unwrap()] {
            let error = io::copy(&mut inflated(&bomb[..], &Budget::new(u64::MAX, 1)).unwrap(), &mut io::sink());
            assert!(error.unwrap_err().to_string().contains("decompression bomb"));
        }
    }
}
