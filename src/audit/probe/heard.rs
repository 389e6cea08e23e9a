//! What was heard, read from bytes: which probe it belongs to, and what it says of it.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::packet::{ACK, ECHO, ECHO_REPLY, EXPIRED, ICMP, IPV4, RST, SYN, TCP, UDP, UNREACHABLE};
use super::token::Run;

/// What a packet is to its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// The probe itself, or a copy of it.
    Asked,
    /// A TCP connection would be taken.
    Taken,
    /// Nobody listens (TCP's RST).
    Refused,
    /// The answer: of our receiver, or an echo.
    Answered,
    /// Somebody says that it does not get there (an ICMP error).
    Unreachable(Ipv4Addr),
    /// An answer from where nobody was asked, or to where nobody asked from: no program takes it.
    Astray(SocketAddrV4, SocketAddrV4),
}

/// A packet of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Which probe.
    pub(super) number: u16,
    /// What it says.
    pub(super) sign: Sign,
    /// From whom to whom, as it looked here; an echo's identifier is both ports.
    pub(super) ends: Option<(SocketAddrV4, SocketAddrV4)>,
    /// It is UDP's.
    pub(super) datagram: bool,
}

impl Heard {
    /// Reads a frame.
    pub(super) fn frame(run: Run, frame: &[u8]) -> Option<Self> {
        let ethertype = u16::from_be_bytes(*frame.get(12..14)?.first_chunk()?);
        if ethertype == IPV4 {
            return Self::packet(run, &frame[14..]);
        }
        let token = run.find(&frame[14..])?;
        Some(Self { number: token.number, sign: Sign::Asked, ends: None, datagram: false })
    }

    /// Reads an IPv4 packet.
    pub(super) fn packet(run: Run, packet: &[u8]) -> Option<Self> {
        let header = Header::read(packet)?;
        let port = |at: usize| Some(u16::from_be_bytes(*header.payload.get(at..)?.first_chunk()?));
        let between =
            |from: u16, to: u16| Some((SocketAddrV4::new(header.source, from), SocketAddrV4::new(header.target, to)));
        let ends = match header.protocol {
            TCP | UDP => between(port(0)?, port(2)?),
            ICMP => port(4).and_then(|id| between(id, id)),
            _ => None,
        };
        let heard = |number, sign| Some(Self { number, sign, ends, datagram: header.protocol == UDP });
        match header.protocol {
            TCP => {
                let flags = *header.payload.get(13)?;
                let word = |at: usize| Some(u32::from_be_bytes(*header.payload.get(at..)?.first_chunk()?));
                if flags & ACK == 0 && flags & SYN != 0 {
                    return heard(run.of_sequence(word(4)?)?.number, Sign::Asked);
                }
                let number = run.of_sequence(word(8)?.wrapping_sub(1))?.number;
                match flags {
                    _ if flags & RST != 0 => heard(number, Sign::Refused),
                    _ if flags & SYN != 0 => heard(number, Sign::Taken),
                    _ => None,
                }
            }
            UDP => {
                let token = run.read(header.payload.get(8..)?)?;
                let sign = if token.answers { Sign::Answered } else { Sign::Asked };
                heard(token.number, sign)
            }
            ICMP => match *header.payload.first()? {
                UNREACHABLE | EXPIRED => {
                    heard(quoted(run, header.payload.get(8..)?)?, Sign::Unreachable(header.source))
                }
                kind @ (ECHO | ECHO_REPLY) => {
                    let sign = if kind == ECHO { Sign::Asked } else { Sign::Answered };
                    heard(run.read(header.payload.get(8..)?)?.number, sign)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Heard {
    /// What an answer is to who asked between these ends: one from elsewhere, or to elsewhere, is none.
    pub(super) fn answering(self, asked: (SocketAddrV4, SocketAddrV4)) -> Sign {
        match (self.sign, self.ends) {
            (Sign::Taken | Sign::Refused | Sign::Answered, Some((from, to))) if (to, from) != asked => {
                Sign::Astray(from, to)
            }
            (sign, _) => sign,
        }
    }
}

/// Whose packet an ICMP error is about: it quotes the header and some bytes more.
fn quoted(run: Run, packet: &[u8]) -> Option<u16> {
    let header = Header::read(packet)?;
    let token = match header.protocol {
        TCP => run.of_sequence(u32::from_be_bytes(*header.payload.get(4..)?.first_chunk()?))?,
        UDP | ICMP => run.read(header.payload.get(8..)?)?,
        _ => return None,
    };
    Some(token.number)
}

/// What matters of an IPv4 header (RFC 791).
struct Header<'a> {
    protocol: u8,
    source: Ipv4Addr,
    target: Ipv4Addr,
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; 20] = packet.first_chunk()?;
        let length = usize::from(fixed[0] & 0xf) * 4;
        let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        // Version 4, and the first fragment.
        let is_whole = fixed[0] >> 4 == 4 && fixed[6] & 0x1f == 0 && fixed[7] == 0;
        (is_whole && length >= 20).then_some(())?;
        Some(Self { protocol: fixed[9], source: address(12), target: address(16), payload: packet.get(length..)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packet;
    use super::*;

    const RUN: u32 = 0xa1b2_c3d4;
    const A: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

    fn ends() -> (SocketAddrV4, SocketAddrV4) {
        (SocketAddrV4::new(A, 40_000), SocketAddrV4::new(B, 80))
    }

    fn sign(packet: &[u8]) -> Option<(u16, Sign)> {
        Heard::packet(Run::of(RUN), packet).map(|heard| (heard.number, heard.sign))
    }

    #[test]
    fn what_is_sent_is_read_again() {
        let token = Run::of(RUN).token(77);
        let (from, to) = ends();
        assert_eq!(sign(&packet::syn(from, to, token)), Some((77, Sign::Asked)));
        assert_eq!(sign(&packet::echo(A, B, 1, &token.payload())), Some((77, Sign::Asked)));
        let datagram = packet::udp(from, to, &token.payload());
        assert_eq!(Heard::packet(Run::of(RUN), &datagram).unwrap().ends, Some((from, to)));
        assert_eq!(sign(&packet::udp(to, from, &token.answered().payload())), Some((77, Sign::Answered)));
        assert_eq!(sign(&packet::udp(from, to, b"somebody else's")), None);
        let frame = packet::ethernet([2; 6], [4; 6], packet::EXPERIMENTAL, &token.payload());
        assert_eq!(Heard::frame(Run::of(RUN), &frame).unwrap().number, 77);
        let arp = packet::arp(1, ([2; 6], A), ([0; 6], B), token);
        let frame = packet::ethernet([2; 6], [4; 6], packet::ARP, &arp);
        assert_eq!(Heard::frame(Run::of(RUN), &frame).unwrap().sign, Sign::Asked);
    }

    #[test]
    fn only_who_was_asked_answers() {
        let (from, to) = ends();
        let answer = packet::udp(to, from, &Run::of(RUN).token(3).answered().payload());
        let heard = Heard::packet(Run::of(RUN), &answer).expect("an answer");
        assert_eq!(heard.answering((from, to)), Sign::Answered);
        let other = SocketAddrV4::new(*to.ip(), 81);
        assert_eq!(heard.answering((from, other)), Sign::Astray(to, from));
        let echo = packet::echo(A, B, 9, &Run::of(RUN).token(3).payload());
        let mut reply = packet::echo(B, A, 9, &Run::of(RUN).token(3).payload());
        reply[20] = ECHO_REPLY;
        let heard = |packet: &[u8]| Heard::packet(Run::of(RUN), packet).expect("an echo");
        let asked = heard(&echo).ends.expect("its ends");
        assert_eq!(heard(&reply).answering(asked), Sign::Answered);
        reply[24] = 7;
        assert!(matches!(heard(&reply).answering(asked), Sign::Astray(..)), "another's echo");
    }

    #[test]
    fn answers_of_kernels() {
        let token = Run::of(RUN).token(0xfffe);
        let (from, to) = ends();
        let answer = |flags: u8| {
            let mut packet = packet::syn(to, from, Run::of(1).token(1));
            packet[28..32].copy_from_slice(&(token.sequence() + 1).to_be_bytes());
            packet[33] = flags;
            packet
        };
        assert_eq!(sign(&answer(SYN | ACK)), Some((0xfffe, Sign::Taken)));
        assert_eq!(sign(&answer(RST | ACK)), Some((0xfffe, Sign::Refused)));
        assert_eq!(sign(&answer(ACK)), None);
        let asked = packet::syn(from, to, token);
        let mut error = packet::echo(B, A, 0, &asked);
        error[20] = UNREACHABLE;
        assert_eq!(sign(&error), Some((0xfffe, Sign::Unreachable(B))));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), ipv4: bool) {
            if ipv4 && bytes.len() > 24 {
                (bytes[12], bytes[13], bytes[14]) = (8, 0, 0x45);
            }
            let _ = Heard::frame(Run::of(RUN), &bytes);
            let _ = Heard::packet(Run::of(RUN), &bytes);
        }

        #[test]
        fn what_is_cut_short_is_not_misread(cut in 0..60_usize) {
            let packet = packet::syn(ends().0, ends().1, Run::of(RUN).token(3));
            let cut = cut.min(packet.len());
            if let Some(read) = sign(&packet[..cut]) {
                prop_assert_eq!(read, (3, Sign::Asked));
            }
        }
    }
}
