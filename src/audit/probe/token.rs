//! What tells a probe's packets from all others, and from each other.
//!
//! A run has a number that is drawn, and each probe in it has one of its own. In TCP, whose first packet has no payload,
//! they are the two halves of the sequence number, which no translation of addresses changes, and which the answer
//! acknowledges. Everything else carries them in its payload or padding.

/// Behind the token, for whoever finds such a packet in a capture.
const TEXT: &[u8] = b" pontoon audit probe";

/// Length of a token.
pub(super) const LENGTH: usize = 8;

/// One run of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u32);

/// The packets of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    run: Run,
    /// Of the probe in its run.
    pub(super) number: u16,
    /// It is the answer to one.
    pub(super) answers: bool,
}

impl Run {
    /// Of a number that is drawn.
    pub(super) fn of(number: u32) -> Self {
        Self(number)
    }

    /// The first four bytes of each token, and their upper half: of each sequence number.
    pub(super) fn magic(self) -> (u32, u16) {
        (self.0, (self.0 >> 16) as u16)
    }

    /// The token of a probe by its number.
    pub(super) fn token(self, number: u16) -> Token {
        Token { run: self, number, answers: false }
    }

    /// The token at the beginning of a payload.
    pub(super) fn read(self, payload: &[u8]) -> Option<Token> {
        let [magic @ .., high, low, answers, _] = *payload.first_chunk::<LENGTH>()?;
        (u32::from_be_bytes(magic) == self.0).then_some(Token {
            run: self,
            number: u16::from_be_bytes([high, low]),
            answers: answers != 0,
        })
    }

    /// A token anywhere in a frame.
    pub(super) fn find(self, frame: &[u8]) -> Option<Token> {
        frame.windows(LENGTH).find_map(|window| self.read(window))
    }

    /// Whose sequence number it is.
    pub(super) fn of_sequence(self, sequence: u32) -> Option<Token> {
        (sequence >> 16 == self.0 >> 16).then_some(self.token(sequence as u16))
    }
}

impl Token {
    /// As it stands in packets.
    pub(super) fn bytes(self) -> [u8; LENGTH] {
        let ([a, b, c, d], [e, f]) = (self.run.0.to_be_bytes(), self.number.to_be_bytes());
        [a, b, c, d, e, f, u8::from(self.answers), 0]
    }

    /// A payload: the token, and words for people.
    pub(super) fn payload(self) -> Vec<u8> {
        [&self.bytes()[..], TEXT].concat()
    }

    /// The initial sequence number of a connection.
    pub(super) fn sequence(self) -> u32 {
        self.run.0 & 0xffff_0000 | u32::from(self.number)
    }

    /// The token of the answer.
    pub(super) fn answered(self) -> Self {
        Self { answers: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_again() {
        let run = Run::of(0x1234_5678);
        let token = run.token(0xabcd);
        assert_eq!(run.read(&token.payload()), Some(token));
        assert_eq!(run.find(&[b"padding", &token.answered().bytes()[..]].concat()), Some(token.answered()));
        assert_eq!(run.of_sequence(token.sequence()), Some(token));
        assert_eq!((run.of_sequence(0x1233_0001), run.read(b"short"), run.find(&[0; 100])), (None, None, None));
        assert_eq!(Run::of(1).find(&token.payload()), None);
    }
}
