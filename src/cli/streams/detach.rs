//! Detach keys: the sequence that leaves a terminal's container running. The client looks for it, as docker's does, so
//! that leaving works even while the daemon does not answer.

use crate::cli::error::CliError;

/// Where nobody says otherwise.
pub(in crate::cli) const DEFAULT_KEYS: &str = "ctrl-p,ctrl-q";

/// What becomes of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Typed {
    /// Send these.
    Send(Vec<u8>),
    /// The sequence is complete.
    Detach,
}

/// The same text, if it can be read: for the command line, so that nothing is started with keys that nobody can type.
pub(in crate::cli) fn checked(text: &str) -> Result<String, CliError> {
    if !text.is_empty() {
        DetachKeys::parse(text)?;
    }
    Ok(text.to_owned())
}

/// Watches what is typed. Keys that may begin the sequence are held back until it is clear that they do not.
#[derive(Debug)]
pub(in crate::cli) struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`: letters, or `ctrl-` and one of `a-z @ [ \ ] ^ _`.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, CliError> {
        let key = |name: &str| match name.as_bytes() {
            [key] => Some(*key),
            [b'c', b't', b'r', b'l', b'-', key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => {
                Some(key.to_ascii_uppercase() & 0x1f)
            }
            _ => None,
        };
        let sequence = text.split(',').map(key).collect::<Option<Vec<u8>>>();
        let sequence = sequence.ok_or_else(|| CliError::new(format!("invalid detach keys ({text}) provided")))?;
        Ok(Self { sequence, matched: 0 })
    }

    /// Takes what was typed.
    pub(in crate::cli) fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut send = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *byte != self.sequence[self.matched] {
                send.extend_from_slice(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return Typed::Detach;
                }
            } else {
                send.push(*byte);
            }
        }
        Typed::Send(send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_found_across_reads() {
        let mut keys = DetachKeys::parse(DEFAULT_KEYS).expect("keys");
        assert_eq!(keys.typed(b"ls\r"), Typed::Send(b"ls\r".to_vec()));
        assert_eq!(keys.typed(b"\x10"), Typed::Send(vec![]));
        assert_eq!(keys.typed(b"\x11"), Typed::Detach);
    }

    #[test]
    fn a_sequence_that_breaks_off_is_sent() {
        let mut keys = DetachKeys::parse(DEFAULT_KEYS).expect("keys");
        assert_eq!(keys.typed(b"a\x10b"), Typed::Send(b"a\x10b".to_vec()));
        assert_eq!(keys.typed(b"\x10"), Typed::Send(vec![]));
        assert_eq!(keys.typed(b"\x10"), Typed::Send(b"\x10".to_vec()), "the second may begin it anew");
        assert_eq!(keys.typed(b"\x11"), Typed::Detach);
    }

    #[test]
    fn keys_read_as_docker_writes_them() {
        assert_eq!(DetachKeys::parse("ctrl-@,x,ctrl-[").expect("keys").sequence, [0, b'x', 27]);
        for bad in ["", "ctrl-", "ctrl-A", "xx", "a,,b", "ctrl-1"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad:?}");
        }
    }
}
