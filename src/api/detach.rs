//! Detach keys: a sequence typed on a terminal that ends the client's connection and leaves the container running.

use super::error::ApiError;

/// What ends a session if nothing else was asked for: ctrl-p ctrl-q.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Looks for the sequence in what a client types. Bytes that may be its beginning are held back until it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DetachKeys {
    sequence: Vec<u8>,
    /// How many bytes of the sequence were typed last; they are held back.
    matched: usize,
}

/// What is to be done after some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Go on.
    Onward,
    /// The sequence was typed.
    Detach,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a`, `ctrl-@,x`, …; nothing means docker's default.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self { sequence: DEFAULT.into(), matched: 0 });
        };
        let bad = || ApiError::bad_request(format!("Invalid detach keys ({text}) provided"));
        let sequence = text.split(',').map(|key| byte_of(key).ok_or_else(bad)).collect::<Result<Vec<u8>, _>>()?;
        Ok(Self { sequence, matched: 0 })
    }

    /// Takes input and appends to `out` what the container is to get. After a detach the rest of the input is gone.
    pub(super) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Typed {
        for &byte in input {
            // On a mismatch, what was held back begins anew with the longest suffix that may still be a beginning.
            while self.matched > 0 && self.sequence[self.matched] != byte {
                let keep = self.fallback();
                out.extend_from_slice(&self.sequence[..self.matched - keep]);
                self.matched = keep;
            }
            if self.sequence[self.matched] != byte {
                out.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.sequence.len() {
                self.matched = 0;
                return Typed::Detach;
            }
        }
        Typed::Onward
    }

    /// What is held back: the container gets it if the client's input ends here.
    pub(super) fn held(&self) -> &[u8] {
        &self.sequence[..self.matched]
    }

    /// Length of the longest proper suffix of what is held that is also a beginning of the sequence.
    fn fallback(&self) -> usize {
        let held = &self.sequence[..self.matched];
        (1..held.len()).rev().find(|&length| held.ends_with(&held[..length])).unwrap_or(0)
    }
}

/// `a`, or `ctrl-` and a letter or one of `@[\]^_`.
fn byte_of(key: &str) -> Option<u8> {
    if let [byte] = key.as_bytes() {
        return byte.is_ascii().then_some(*byte);
    }
    match key.to_ascii_lowercase().strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(sign - b'@'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_by_name() {
        let keys = |text| DetachKeys::parse(Some(text)).map(|keys| keys.sequence);
        assert_eq!(DetachKeys::parse(None).expect("default").sequence, [16, 17]);
        assert_eq!(keys("").expect("default"), [16, 17]);
        assert_eq!(keys("ctrl-a,b,ctrl-@,ctrl-\\,CTRL-_").expect("valid"), [1, b'b', 0, 28, 31]);
        for bad in [",", "ctrl-", "ctrl-aa", "ctrl-1", "ab", "é", "a,,b"] {
            let message = keys(bad).expect_err(bad).message;
            assert_eq!(message, format!("Invalid detach keys ({bad}) provided"));
        }
    }

    #[test]
    fn a_half_typed_sequence_is_held_and_then_let_go() {
        let mut keys = DetachKeys::parse(None).expect("default");
        let mut out = Vec::new();
        assert_eq!(keys.feed(b"ls\x10", &mut out), Typed::Onward);
        assert_eq!((out.as_slice(), keys.held()), (&b"ls"[..], &b"\x10"[..]));
        assert_eq!(keys.feed(b"\x10x", &mut out), Typed::Onward);
        assert_eq!(out, b"ls\x10\x10x");
        assert_eq!(keys.feed(b"\x10\x11after", &mut out), Typed::Detach);
        assert_eq!(out, b"ls\x10\x10x");
    }

    proptest! {
        /// However the input is cut, the container gets exactly what stands before the first occurrence of the sequence.
        #[test]
        fn agrees_with_a_search_of_the_whole_input(
            sequence in prop::collection::vec(0u8..3, 1..5),
            chunks in prop::collection::vec(prop::collection::vec(0u8..3, 0..6), 0..12),
        ) {
            let input = chunks.concat();
            let found = input.windows(sequence.len()).position(|window| window == sequence);
            let mut keys = DetachKeys { sequence, matched: 0 };
            let mut out = Vec::new();
            let detached = chunks.iter().any(|chunk| keys.feed(chunk, &mut out) == Typed::Detach);
            prop_assert_eq!(detached, found.is_some());
            if !detached {
                out.extend_from_slice(keys.held());
            }
            prop_assert_eq!(out.as_slice(), &input[..found.unwrap_or(input.len())]);
        }
    }
}
