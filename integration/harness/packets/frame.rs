//! Frames, built by hand: nothing need be valid.
//!
//! Each layer is bytes that the next one carries, inside out: `ethernet(…, &Ipv4::new(a, b).carrying(UDP, &udp(…)))`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// To everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// Ethertypes (IEEE 802 numbers, as IANA lists them).
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const VLAN: u16 = 0x8100;
pub const SERVICE_VLAN: u16 = 0x88a8;
pub const IPV6: u16 = 0x86dd;
/// Local experimental: nobody's.
pub const EXPERIMENTAL: u16 = 0x88b5;

/// IP protocol numbers.
pub const ICMP: u8 = 1;
pub const IGMP: u8 = 2;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Sixteen bytes that are in no other frame: whatever becomes of a frame on its way, they tell it. They fit into the
/// padding of an ARP frame, and into the bytes that an ICMP error quotes of what it complains about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub [u8; 16]);

impl Token {
    /// A new one.
    pub fn new() -> Self {
        let text = format!("tok{:06x}{:06x}.", std::process::id() & 0xff_ffff, NEXT.fetch_add(1, Ordering::Relaxed));
        Self(text.into_bytes().try_into().expect("sixteen characters"))
    }

    /// The frame with another token in its place.
    pub fn replaced_by(&self, other: Self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        while let Some(at) = frame.windows(self.0.len()).position(|window| window == self.0) {
            frame[at..at + other.0.len()].copy_from_slice(&other.0);
        }
        frame
    }

    /// Whether a frame, or a datagram, carries it.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(self.0.len()).any(|window| window == self.0)
    }
}

/// A frame, padded to what Ethernet wants at least (60 bytes without the checksum).
pub fn ethernet(source: Mac, target: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&target[..], &source, &ethertype.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The same frame on a VLAN: the tag goes between the addresses and the ethertype (802.1Q; 802.1ad stacks them).
pub fn tagged(frame: &[u8], ethertype: u16, vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &ethertype.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

/// IPv4 inside an 802.2 SNAP header: how it travelled before ethertypes (RFC 1042).
pub fn snap(source: Mac, target: Mac, packet: &[u8]) -> Vec<u8> {
    let payload = [&[0xaa, 0xaa, 0x03, 0, 0, 0], &IPV4.to_be_bytes()[..], packet].concat();
    ethernet(source, target, payload.len().try_into().expect("short"), &payload)
}

/// What an ARP packet asks or says (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arp {
    /// "Who has the target address?"
    Request,
    /// "It is at the sender's."
    Reply,
}

/// An ARP packet; the token is in the padding behind it.
pub fn arp(what: Arp, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), token: Token) -> Vec<u8> {
    let code = if what == Arp::Request { 1 } else { 2 };
    let head = [0, 1, 8, 0, 6, 4, 0, code];
    [&head[..], &sender.0, &sender.1.octets(), &target.0, &target.1.octets(), &token.0].concat()
}

/// An IPv4 header and what it carries.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    source: Ipv4Addr,
    target: Ipv4Addr,
    ttl: u8,
    id: u16,
    /// Flags and offset, as in the header.
    fragment: u16,
    options: Vec<u8>,
}

impl Ipv4 {
    /// From and to.
    pub fn new(source: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { source, target, ttl: 64, id: 1, fragment: 0, options: Vec::new() }
    }

    /// Hops that it may take.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Options, padded to a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Part of a larger packet: where it belongs, in bytes (a multiple of eight), and whether more follow.
    pub fn fragment(self, id: u16, offset: u16, more: bool) -> Self {
        Self { id, fragment: (offset / 8) | if more { 0x2000 } else { 0 }, ..self }
    }

    /// The packet.
    pub fn carrying(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).expect("at most ten words of options");
        let length = u16::try_from(usize::from(words) * 4 + payload.len()).expect("a small packet");
        let mut header = vec![0x40 | words, 0];
        for part in [length, self.id, self.fragment] {
            header.extend(part.to_be_bytes());
        }
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.target.octets());
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header, payload].concat()
    }

    /// A UDP datagram in a packet.
    pub fn udp(&self, source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
        self.carrying(UDP, &self.datagram(source, target, payload))
    }

    /// A UDP datagram, with the checksum that it has between these addresses.
    pub fn datagram(&self, source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).expect("a small datagram");
        let mut datagram = Vec::new();
        for part in [source, target, length, 0] {
            datagram.extend(part.to_be_bytes());
        }
        datagram.extend(payload);
        let sum = self.checksum_of(UDP, &datagram);
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        datagram
    }

    /// A TCP segment in a packet: the first of a connection if `flags` is [`SYN`].
    pub fn tcp(&self, source: u16, target: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = [source.to_be_bytes(), target.to_be_bytes()].concat();
        segment.extend(1_u32.to_be_bytes());
        segment.extend(1_u32.to_be_bytes());
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        let sum = self.checksum_of(TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        self.carrying(TCP, &segment)
    }

    /// An ICMP message in a packet.
    pub fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        self.carrying(ICMP, &message(kind, code, rest, payload))
    }

    fn checksum_of(&self, protocol: u8, data: &[u8]) -> u16 {
        let length = u16::try_from(data.len()).expect("a small packet").to_be_bytes();
        checksum(&[&self.source.octets()[..], &self.target.octets(), &[0, protocol], &length, data].concat())
    }
}

/// TCP flags.
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

/// A message of ICMP's form, which is IGMP's too (RFC 792): type, code, checksum, four bytes, and the rest.
pub fn message(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], &rest[..], payload].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An IPv6 packet (RFC 8200).
pub fn ipv6(source: Ipv6Addr, target: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a small packet").to_be_bytes();
    [&[0x60, 0, 0, 0][..], &length, &[next, 255], &source.octets(), &target.octets(), payload].concat()
}

/// An ICMPv6 message in a packet. Hop limit 255, as neighbour discovery wants it (RFC 4861).
pub fn icmpv6(source: Ipv6Addr, target: Ipv6Addr, kind: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], &rest[..], payload].concat();
    let length = u32::try_from(message.len()).expect("a small packet").to_be_bytes();
    let sum = checksum(&[&source.octets()[..], &target.octets(), &length, &[0, 0, 0, ICMPV6], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, target, ICMPV6, &message)
}

/// The link-local address of a MAC (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from(
        [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0][..], &id].concat().try_into().map(|b: [u8; 16]| b).expect("16 bytes"),
    )
}

/// The MAC of an IPv6 multicast group (RFC 2464).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
