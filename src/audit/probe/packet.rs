//! Packets as bytes: what a probe sends. Each is small, valid, and says in its payload what it is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::token::Token;
use crate::firewall::audit::Mac;

/// To everybody.
pub(super) const BROADCAST: Mac = [0xff; 6];

/// Ethertypes (IANA, IEEE 802 numbers).
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const VLAN: u16 = 0x8100;
pub(super) const IPV6: u16 = 0x86dd;
/// IEEE 802's first one for local experiments: no program expects it.
pub(super) const EXPERIMENTAL: u16 = 0x88b5;

/// IP protocol numbers.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// TCP flags.
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

/// ICMP types (RFC 792).
pub(super) const ECHO_REPLY: u8 = 0;
pub(super) const UNREACHABLE: u8 = 3;
pub(super) const ECHO: u8 = 8;
pub(super) const EXPIRED: u8 = 11;

/// A frame, padded to what Ethernet wants at least (60 bytes without its checksum).
pub(super) fn ethernet(source: Mac, target: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&target[..], &source, &ethertype.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The same frame on a VLAN (802.1Q): the tag goes between the addresses and the ethertype.
pub(super) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &VLAN.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

/// An ARP message (RFC 826): 1 asks, 2 answers. The token stands in the padding behind it.
pub(super) fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), token: Token) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &sender.0, &sender.1.octets(), &target.0, &target.1.octets(), &token.bytes()].concat()
}

/// The first packet of a TCP connection, with the token as its sequence number.
pub(super) fn syn(from: SocketAddrV4, to: SocketAddrV4, token: Token) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend(token.sequence().to_be_bytes());
    // No acknowledgement; six words of header, SYN, a window; checksum, urgent pointer; the largest segment (1460).
    segment.extend([0, 0, 0, 0, 0x60, SYN, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    let sum = transport_checksum(*from.ip(), *to.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(*from.ip(), *to.ip(), TCP, &segment)
}

/// A UDP datagram.
pub(super) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for part in [from.port(), to.port(), short(8 + payload.len()), 0] {
        datagram.extend(part.to_be_bytes());
    }
    datagram.extend(payload);
    let sum = transport_checksum(*from.ip(), *to.ip(), UDP, &datagram);
    // Zero is for "none" (RFC 768).
    datagram[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    ipv4(*from.ip(), *to.ip(), UDP, &datagram)
}

/// An ICMP echo request.
pub(super) fn echo(from: Ipv4Addr, to: Ipv4Addr, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = [&[ECHO, 0, 0, 0], &id.to_be_bytes()[..], &1_u16.to_be_bytes(), payload].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, ICMP, &message)
}

/// An IPv6 neighbour solicitation (RFC 4861) for `target`, with the token in an option for experiments (RFC 4727).
pub(super) fn solicitation(source: Ipv6Addr, target: Ipv6Addr, token: Token) -> Vec<u8> {
    let group = solicited(target);
    let option = [&[253, 2, 0, 0, 0, 0, 0, 0], &token.bytes()[..]].concat();
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..], &option].concat();
    let length = u32::from(short(message.len())).to_be_bytes();
    let sum = checksum(&[&source.octets()[..], &group.octets(), &length, &[0, 0, 0, ICMPV6], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let head = [0x60, 0, 0, 0, 0, short(message.len()).to_be_bytes()[1], ICMPV6, 255];
    [&head[..], &source.octets(), &group.octets(), &message].concat()
}

/// The group that an address is asked for in (RFC 4291).
fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// The MAC of the group that an address is asked for in (RFC 2464).
pub(super) fn solicited_mac(target: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = solicited(target).octets();
    [0x33, 0x33, a, b, c, d]
}

/// The link-local address of a MAC (RFC 4291, appendix A).
pub(super) fn link_local([a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

fn ipv4(source: Ipv4Addr, target: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    // Do not fragment: what is this small need not be, and its identification may then be zero (RFC 6864).
    for part in [short(20 + payload.len()), 0, 0x4000] {
        header.extend(part.to_be_bytes());
    }
    header.extend([64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(target.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

fn transport_checksum(source: Ipv4Addr, target: Ipv4Addr, protocol: u8, data: &[u8]) -> u16 {
    let length = short(data.len()).to_be_bytes();
    checksum(&[&source.octets()[..], &target.octets(), &[0, protocol], &length, data].concat())
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("what a probe sends is small")
}

/// The Internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::super::token::Run;
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

    fn token() -> Token {
        Run::of(0xdead_beef).token(7)
    }

    /// Whose checksum is right sums up to nothing.
    fn sums_up(packet: &[u8]) -> bool {
        let (header, rest) = packet.split_at(20);
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let pseudo = [&header[12..20], &[0, header[9]], &length, rest].concat();
        checksum(header) == 0 && (header[9] == ICMP && checksum(rest) == 0 || checksum(&pseudo) == 0)
    }

    #[test]
    fn checksums_are_right() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        let (from, to) = (SocketAddrV4::new(A, 40_000), SocketAddrV4::new(B, 80));
        assert!(sums_up(&syn(from, to, token())));
        assert!(sums_up(&udp(from, to, b"odd")));
        assert!(sums_up(&echo(A, B, 9, b"even")));
    }

    #[test]
    fn lengths_are_right() {
        let (from, to) = (SocketAddrV4::new(A, 40_000), SocketAddrV4::new(B, 80));
        for packet in [syn(from, to, token()), udp(from, to, b"1"), echo(A, B, 9, b"")] {
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        }
        let packet = syn(from, to, token());
        assert_eq!(usize::from(packet[32] >> 4) * 4, packet.len() - 20, "TCP's header is all there is");
        assert_eq!(ethernet(BROADCAST, BROADCAST, ARP, &arp(1, ([0; 6], A), ([0; 6], B), token())).len(), 60);
    }

    #[test]
    fn a_solicitation_sums_up() {
        let (source, target) = (link_local([2, 0x42, 0xac, 0x11, 0, 2]), Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4));
        assert_eq!(source.to_string(), "fe80::42:acff:fe11:2");
        let packet = solicitation(source, target, token());
        let (header, message) = packet.split_at(40);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert_eq!(checksum(&[&header[8..40], &length, &[0, 0, 0, ICMPV6], message].concat()), 0);
        assert_eq!(usize::from(header[5]), message.len());
        assert_eq!(solicited_mac(target), [0x33, 0x33, 0xff, 3, 0, 4]);
    }
}
