//! Docker's multiplexed format: `[stream, 0, 0, 0, length as u32 big-endian]` before each piece of output.

use bytes::{BufMut, Bytes, BytesMut};

/// One frame: stream 1 is stdout, 2 stderr.
pub(super) fn frame(stream: u8, bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).expect("a piece of output is far smaller than 4 GiB");
    let mut frame = BytesMut::with_capacity(8 + bytes.len());
    frame.put_slice(&[stream, 0, 0, 0]);
    frame.put_u32(length);
    frame.put_slice(bytes);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_eight_bytes_of_header() {
        assert_eq!(frame(2, b"hi").as_ref(), b"\x02\0\0\0\0\0\0\x02hi");
    }
}
