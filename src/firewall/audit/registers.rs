//! The registers of nf_tables' machine, of which some bytes may be unknown.

use std::cmp::Ordering;

use super::bytecode::{Bitwise, Comparison, Operand, Register};
use super::packet::mask;

const SIZE: usize = 80;

/// Eighty bytes; the first sixteen are the verdict's.
#[derive(Debug)]
pub(super) struct Registers {
    bytes: [u8; SIZE],
    /// A bit a byte.
    unknown: u128,
    /// What made the last unknown bytes unknown.
    why: String,
}

/// A result that may depend on what is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maybe {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Maybe {
    fn from(certain: bool) -> Self {
        if certain { Self::Yes } else { Self::No }
    }
}

impl Registers {
    pub(super) fn new() -> Self {
        Self { bytes: [0; SIZE], unknown: 0, why: String::new() }
    }

    /// Stores bytes; the rest of the last four are zero.
    pub(super) fn store(&mut self, to: Register, bytes: &[u8]) {
        let whole = bytes.len().next_multiple_of(4);
        if let Some(place) = self.bytes.get_mut(to..to + whole) {
            place[..bytes.len()].copy_from_slice(bytes);
            place[bytes.len()..].fill(0);
            self.unknown &= !(mask(whole) << to);
        }
    }

    /// Stores bytes of which some are unknown.
    pub(super) fn store_partly(&mut self, to: Register, bytes: &[u8], unknown: u128, why: &str) {
        self.store(to, bytes);
        if unknown != 0 {
            self.unknown |= unknown << to;
            why.clone_into(&mut self.why);
        }
    }

    pub(super) fn store_unknown(&mut self, to: Register, length: usize, why: &str) {
        let length = length.min(16);
        self.store_partly(to, &[0; 16][..length], mask(length), why);
    }

    /// The bytes and which of them are unknown. What lies beyond the registers is empty.
    pub(super) fn read(&self, from: Register, length: usize) -> (&[u8], u128) {
        (self.bytes.get(from..from + length).unwrap_or_default(), (self.unknown >> from) & mask(length))
    }

    /// `None` where a byte is unknown.
    pub(super) fn known(&self, from: Register, length: usize) -> Option<&[u8]> {
        let (bytes, unknown) = self.read(from, length);
        (unknown == 0 && !bytes.is_empty()).then_some(bytes)
    }

    pub(super) fn u32(&self, from: Register) -> Option<u32> {
        self.known(from, 4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// As `memcmp` decides.
    pub(super) fn compare(&self, from: Register, how: Comparison, with: &[u8]) -> Maybe {
        let (bytes, unknown) = self.read(from, with.len());
        if unknown != 0 {
            let differs = bytes.iter().zip(with).enumerate().any(|(at, (a, b))| unknown >> at & 1 == 0 && a != b);
            return match how {
                Comparison::Equal if differs => Maybe::No,
                Comparison::NotEqual if differs => Maybe::Yes,
                _ => Maybe::Unknown,
            };
        }
        let order = bytes.cmp(with);
        Maybe::from(match how {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        })
    }

    pub(super) fn in_range(&self, from: Register, low: &[u8], high: &[u8]) -> Maybe {
        match self.known(from, low.len()) {
            Some(bytes) => Maybe::from(low <= bytes && bytes <= high),
            None => Maybe::Unknown,
        }
    }

    pub(super) fn bitwise(&mut self, from: Register, to: Register, length: usize, what: &Bitwise) {
        let (source, unknown) = self.read(from, length);
        let mut result = [0; SIZE];
        let mut left = unknown;
        let Some(result) = result.get_mut(..source.len()) else { return };
        match what {
            Bitwise::MaskXor { mask, xor } => {
                for (at, byte) in result.iter_mut().enumerate() {
                    let mask = mask.get(at).copied().unwrap_or(0);
                    *byte = source[at] & mask ^ xor.get(at).copied().unwrap_or(0);
                    // What is masked out need not be known.
                    left &= if mask == 0 { !(1 << at) } else { u128::MAX };
                }
            }
            Bitwise::ShiftLeft(by) => {
                shift(source, result, *by, true);
                left = smear(unknown, length);
            }
            Bitwise::ShiftRight(by) => {
                shift(source, result, *by, false);
                left = smear(unknown, length);
            }
            Bitwise::And(with) | Bitwise::Or(with) | Bitwise::Xor(with) => {
                let (other, others) = match with {
                    Operand::Register(register) => self.read(*register, length),
                    Operand::Constant(bytes) => (bytes.as_slice(), 0),
                };
                left |= others;
                for (at, byte) in result.iter_mut().enumerate() {
                    let other = other.get(at).copied().unwrap_or(0);
                    *byte = match what {
                        Bitwise::And(_) => source[at] & other,
                        Bitwise::Or(_) => source[at] | other,
                        _ => source[at] ^ other,
                    };
                }
            }
        }
        let why = std::mem::take(&mut self.why);
        self.store_partly(to, result, left, &why);
        self.why = why;
    }

    /// Host to network order is the same swap as network to host order.
    pub(super) fn byteorder(&mut self, from: Register, to: Register, length: usize, size: usize) {
        let (source, unknown) = self.read(from, length);
        let mut result = [0; SIZE];
        let Some(result) = result.get_mut(..source.len()) else { return };
        result.copy_from_slice(source);
        if cfg!(target_endian = "little") && size > 0 {
            result.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let left = smear(unknown, length);
        let why = std::mem::take(&mut self.why);
        self.store_partly(to, result, left, &why);
        self.why = why;
    }
}

/// Anything unknown makes all of it unknown.
fn smear(unknown: u128, length: usize) -> u128 {
    if unknown == 0 { 0 } else { mask(length) }
}

/// Words of 32 bits in the machine's order, the first one the highest, as `nft_bitwise_eval_lshift` has it.
fn shift(source: &[u8], result: &mut [u8], by: u32, left: bool) {
    let word = |at: usize| source.get(at..at + 4).and_then(|w| w.try_into().ok()).map_or(0, u32::from_ne_bytes);
    for at in (0..source.len()).step_by(4) {
        let value = if left {
            word(at) << by | word(at + 4).checked_shr(32 - by).unwrap_or(0)
        } else {
            let above = at.checked_sub(4).map_or(0, word);
            word(at) >> by | above.checked_shl(32 - by).unwrap_or(0)
        };
        if let Some(place) = result.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_padded_to_a_word() {
        let mut registers = Registers::new();
        registers.store(16, &[0xff; 4]);
        registers.store(16, &[1, 2]);
        assert_eq!(registers.known(16, 4), Some(&[1, 2, 0, 0][..]));
    }

    #[test]
    fn the_known_bytes_decide_where_they_can() {
        let mut registers = Registers::new();
        registers.store_partly(16, &[9, 0, 0, 80], 0b0110, "the middle");
        assert_eq!(registers.compare(16, Comparison::Equal, &[9, 1, 1, 80]), Maybe::Unknown);
        assert_eq!(registers.compare(16, Comparison::Equal, &[8, 1, 1, 80]), Maybe::No);
        assert_eq!(registers.compare(16, Comparison::NotEqual, &[8, 1, 1, 80]), Maybe::Yes);
        assert_eq!(registers.why(), "the middle");
        let masked = Bitwise::MaskXor { mask: vec![0xff, 0, 0, 0xff], xor: vec![0; 4] };
        registers.bitwise(16, 32, 4, &masked);
        assert_eq!(registers.compare(32, Comparison::Equal, &[9, 0, 0, 80]), Maybe::Yes);
    }

    #[test]
    fn shifts_carry_between_words() {
        let mut registers = Registers::new();
        registers.store(16, &[1_u32.to_ne_bytes(), 0x8000_0000_u32.to_ne_bytes()].concat());
        registers.bitwise(16, 32, 8, &Bitwise::ShiftLeft(4));
        assert_eq!(registers.u32(32), Some(0x18));
        assert_eq!(registers.u32(36), Some(0));
        registers.bitwise(32, 48, 8, &Bitwise::ShiftRight(4));
        assert_eq!(registers.u32(48), Some(1));
        assert_eq!(registers.u32(52), Some(0x8000_0000));
    }
}
