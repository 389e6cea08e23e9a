//! Fields of a 512-byte tar header.

use super::BLOCK;

/// Text up to the first NUL.
pub(super) fn text(field: &[u8]) -> Vec<u8> {
    field.split(|&b| b == 0).next().unwrap_or_default().to_vec()
}

/// The name: in POSIX ustar `prefix/name`; GNU uses the prefix's place for other things.
pub(super) fn path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    if &block[257..263] == b"ustar\0" && block[345] != 0 { [text(&block[345..500]), name].join(&b'/') } else { name }
}

/// A number in octal digits, or in GNU's base 256. An empty field is 0. `None` if it is neither, negative, or over 63 bits.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    signed(field).and_then(|n| u64::try_from(n).ok())
}

/// Like [`number`], and base 256 may be negative (times before 1970).
pub(super) fn signed(field: &[u8]) -> Option<i64> {
    match field.first()? {
        first @ (0x80..=0xff) => {
            let negative = first & 0x40 != 0;
            // The sign is bit 6 of the first byte; bit 7 only marks the format.
            let mut value: i128 = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
            for &byte in &field[1..] {
                value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
            }
            i64::try_from(value).ok()
        }
        _ => {
            let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
            // What follows a NUL is not part of the number.
            let text = text.split('\0').next().unwrap_or_default().trim_end();
            if text.is_empty() { Some(0) } else { octal(text) }
        }
    }
}

fn octal(text: &str) -> Option<i64> {
    // from_str_radix would take a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| i64::from_str_radix(text, 8).ok()).flatten()
}

/// The sum over the header with its own field as spaces; some old writers summed signed bytes.
pub(super) fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let Some(want) = signed(&block[148..156]) else { return false };
    let bytes = || block.iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { b' ' } else { b });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    want == unsigned || want == signed
}

/// Bytes that fill the last block of so many bytes of data.
pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"64a\0"), None);
        assert_eq!(number(b"-1\0\0"), None);
        assert_eq!(number(b"+1\0\0"), None);
        assert_eq!(number(b"9\0\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02"), Some(0x102));
        assert_eq!(signed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), None);
        // Over 63 bits.
        assert_eq!(number(b"\x80\0\0\x80\0\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn padding_fills_the_block() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
