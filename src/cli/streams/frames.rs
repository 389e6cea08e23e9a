//! Docker's multiplexed streams: frames of `[stream, 0, 0, 0, length as u32 big-endian]` and `length` bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Target {
    /// Streams 0 and 1.
    Stdout,
    /// Stream 2.
    Stderr,
}

const HEADER: usize = 8;

/// Takes bytes as they come, gives payloads as soon as any of them is there: a large frame is not held back until it
/// is whole.
#[derive(Debug, Default)]
pub(in crate::cli) struct Demultiplexer {
    buffer: BytesMut,
    /// The frame that is being read, and how many bytes of it are still to come.
    current: Option<(Target, usize)>,
}

/// A stream number that does not exist: the stream is not framed, or out of step.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized input header: {0}")]
pub(in crate::cli) struct BadFrame(u8);

impl Demultiplexer {
    /// Adds what was read.
    pub(in crate::cli) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payloads of all frames that come next and go to the same target, as one; `None` if more input is needed.
    /// After what is no frame this says so, but not before all that came before it was given.
    pub(in crate::cli) fn next_run(&mut self) -> Result<Option<(Target, Bytes)>, BadFrame> {
        let Some((target, first)) = self.next()? else { return Ok(None) };
        let mut run = None;
        while matches!(self.open(), Ok(Some(next)) if next == target)
            && let Some((_, more)) = self.next()?
        {
            run.get_or_insert_with(|| BytesMut::from(&*first)).extend_from_slice(&more);
        }
        Ok(Some((target, run.map_or(first, BytesMut::freeze))))
    }

    /// The next payload, whole or in part; `None` if more input is needed.
    fn next(&mut self) -> Result<Option<(Target, Bytes)>, BadFrame> {
        let (Some(_), Some((target, left))) = (self.open()?, self.current) else { return Ok(None) };
        let take = left.min(self.buffer.len());
        if take == 0 {
            return Ok(None);
        }
        self.current = Some((target, left - take));
        Ok(Some((target, self.buffer.split_to(take).freeze())))
    }

    /// Reads headers as far as the next frame that holds anything; where that goes. `None`: it has not begun to arrive.
    fn open(&mut self) -> Result<Option<Target>, BadFrame> {
        loop {
            match self.current {
                Some((_, 0)) => self.current = None,
                Some((target, _)) => return Ok(Some(target)),
                None if self.buffer.len() < HEADER => return Ok(None),
                None => {
                    let target = target_of(self.buffer[0])?;
                    let mut length = &self.buffer[4..HEADER];
                    self.current = Some((target, length.get_u32() as usize));
                    self.buffer.advance(HEADER);
                }
            }
        }
    }
}

fn target_of(stream: u8) -> Result<Target, BadFrame> {
    match stream {
        0 | 1 => Ok(Target::Stdout),
        2 => Ok(Target::Stderr),
        other => Err(BadFrame(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short");
        [&[stream, 0, 0, 0][..], &length.to_be_bytes(), payload].concat()
    }

    fn drain(chunks: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), BadFrame> {
        let (mut demux, mut out, mut err) = (Demultiplexer::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            demux.feed(chunk);
            while let Some((target, bytes)) = demux.next_run()? {
                match target {
                    Target::Stdout => out.extend(bytes),
                    Target::Stderr => err.extend(bytes),
                }
            }
        }
        Ok((out, err))
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        assert_eq!(drain(&[b"hello, world"]), Err(BadFrame(b'h')));
    }

    #[test]
    fn frames_that_came_together_are_written_together() {
        let mut demux = Demultiplexer::default();
        for _ in 0..1000 {
            demux.feed(&frame(1, b"line\n"));
        }
        demux.feed(&frame(2, b"error\n"));
        demux.feed(&frame(1, b"later\n"));
        let runs: Vec<_> = std::iter::from_fn(|| demux.next_run().expect("frames")).collect();
        let runs: Vec<_> = runs.iter().map(|(target, bytes)| (*target, bytes.len())).collect();
        assert_eq!(runs, [(Target::Stdout, 5000), (Target::Stderr, 6), (Target::Stdout, 6)]);
    }

    #[test]
    fn what_came_before_a_bad_frame_is_given() {
        let mut demux = Demultiplexer::default();
        demux.feed(&[frame(1, b"good"), frame(9, b"bad")].concat());
        assert_eq!(demux.next_run(), Ok(Some((Target::Stdout, Bytes::from_static(b"good")))));
        assert_eq!(demux.next_run(), Err(BadFrame(9)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            frames in prop::collection::vec((1u8..3, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cut in 1usize..20,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(stream, payload)| frame(*stream, payload)).collect();
            let expected = |wanted: u8| -> Vec<u8> {
                frames.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, payload)| payload.clone()).collect()
            };
            let chunks: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(drain(&chunks), Ok((expected(1), expected(2))));
        }
    }
}
