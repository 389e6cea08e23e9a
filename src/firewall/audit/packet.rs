//! A packet in question, and the bytes of its headers, in which what nobody said is unknown.

use std::net::IpAddr;

/// A packet as one asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub entry: Entry,
    /// Its source's hardware address.
    pub source_mac: Option<Mac>,
    /// Where its sender sends it on the link. Without it: to whom the link would answer that it is the next hop.
    pub destination_mac: Option<Mac>,
    /// An 802.1Q tag's VLAN.
    pub vlan: Option<u16>,
    /// What it carries.
    pub content: Content,
}

/// A hardware address.
pub type Mac = [u8; 6];

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A program of this machine (or of this network namespace).
    Local,
    /// It arrives at an interface, by index.
    Interface(u32),
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// IPv4 or IPv6, both addresses of one family.
    Ip {
        /// The source.
        source: IpAddr,
        /// The destination.
        destination: IpAddr,
        /// What it carries.
        transport: Transport,
    },
    /// ARP for IPv4 on ethernet.
    Arp {
        /// 1 request, 2 reply.
        operation: u16,
        /// Who asks: its hardware address as the message says it.
        sender_mac: Mac,
        /// Who asks.
        sender: std::net::Ipv4Addr,
        /// Who is asked for.
        target: std::net::Ipv4Addr,
    },
    /// Anything else, by ethertype.
    Other(u16),
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: a source port of `None` is any; flags as in the header (SYN is 2).
    Tcp {
        /// The source port.
        source: Option<u16>,
        /// The destination port; `None` is any.
        destination: Option<u16>,
        /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// The source port.
        source: Option<u16>,
        /// The destination port; `None` is any.
        destination: Option<u16>,
    },
    /// ICMP or ICMPv6, as the addresses are.
    Icmp {
        /// Type: 8 is an echo request, 128 in version 6.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Another protocol, by number.
    Other(u8),
}

/// Room for the longest headers here: IPv6 and TCP.
const ROOM: usize = 80;

/// Header bytes, of which some may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    data: [u8; ROOM],
    /// A bit a byte.
    unknown: u128,
    length: usize,
}

/// A read.
pub(super) struct Read<'a> {
    pub(super) bytes: &'a [u8],
    /// A bit a byte, from the first one read.
    pub(super) unknown: u128,
}

impl Bytes {
    pub(super) const fn new() -> Self {
        Self { data: [0; ROOM], unknown: 0, length: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.data[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn push_unknown(&mut self, count: usize) {
        self.unknown |= ((1 << count) - 1) << self.length;
        self.length += count;
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// `None` beyond the headers that we made.
    pub(super) fn read(&self, offset: usize, length: usize) -> Option<Read<'_>> {
        let bytes = self.data[..self.length].get(offset..offset.checked_add(length)?)?;
        Some(Read { bytes, unknown: (self.unknown >> offset) & mask(length) })
    }

    /// Bytes that are there and known.
    pub(super) fn known(&self, offset: usize, length: usize) -> Option<&[u8]> {
        self.read(offset, length).filter(|read| read.unknown == 0).map(|read| read.bytes)
    }

    /// Replaces bytes that are there.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], unknown: u128) {
        if let Some(place) = self.data[..self.length].get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
            self.unknown = self.unknown & !(mask(bytes.len()) << offset) | unknown << offset;
        }
    }
}

/// As many low bits.
pub(super) fn mask(count: usize) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

/// Headers of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) link: Bytes,
    pub(super) network: Bytes,
    /// Where the transport header begins in the network's bytes.
    pub(super) transport: Option<usize>,
    /// The protocol above IP.
    pub(super) protocol: Option<u8>,
    /// The frame's type, of what is inside of a VLAN tag.
    pub(super) ethertype: u16,
}

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

/// `net.ipv4.ip_default_ttl` and `hop_limit`, unless they were changed: what has come a longer way has less.
const USUAL_TTL: u8 = 64;

impl Headers {
    /// `None` where the addresses are of two families.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let mut headers =
            Self { link: Bytes::new(), network: Bytes::new(), transport: None, protocol: None, ethertype: 0 };
        match packet.content {
            Content::Ip { source, destination, transport } => headers.ip(source, destination, transport)?,
            Content::Arp { operation, sender_mac, sender, target } => {
                headers.ethertype = ARP;
                headers.network.push(&[0, 1, 8, 0, 6, 4]);
                headers.network.push(&operation.to_be_bytes());
                headers.network.push(&sender_mac);
                headers.network.push(&sender.octets());
                headers.network.push_unknown(6);
                headers.network.push(&target.octets());
            }
            Content::Other(ethertype) => headers.ethertype = ethertype,
        }
        headers.link(packet);
        Some(headers)
    }

    fn link(&mut self, packet: &Packet) {
        for mac in [packet.destination_mac, packet.source_mac] {
            match mac {
                Some(mac) => self.link.push(&mac),
                None => self.link.push_unknown(6),
            }
        }
        if let Some(vlan) = packet.vlan {
            self.link.push(&[0x81, 0, (vlan >> 8) as u8 & 0x0f, vlan as u8]);
        }
        self.link.push(&self.ethertype.to_be_bytes());
    }

    fn ip(&mut self, source: IpAddr, destination: IpAddr, transport: Transport) -> Option<()> {
        let v4 = source.is_ipv4();
        let protocol = match transport {
            Transport::Tcp { .. } => TCP,
            Transport::Udp { .. } => UDP,
            Transport::Icmp { .. } if v4 => ICMP,
            Transport::Icmp { .. } => ICMPV6,
            Transport::Other(protocol) => protocol,
        };
        let ip = &mut self.network;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ethertype = IPV4;
                // Version and length; service, total length and identification that nobody said; no fragment; the usual
                // time to live; the checksum.
                ip.push(&[0x45]);
                ip.push_unknown(5);
                ip.push(&[0x40, 0, USUAL_TTL]);
                ip.push(&[protocol]);
                ip.push_unknown(2);
                ip.push(&source.octets());
                ip.push(&destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ethertype = IPV6;
                ip.push(&[0x60]);
                ip.push_unknown(5);
                ip.push(&[protocol, USUAL_TTL]);
                ip.push(&source.octets());
                ip.push(&destination.octets());
            }
            _ => return None,
        }
        self.transport = Some(ip.length());
        self.protocol = Some(protocol);
        self.transport(transport);
        Some(())
    }

    fn transport(&mut self, transport: Transport) {
        let to = &mut self.network;
        let mut ports = |source: Option<u16>, destination: Option<u16>| {
            for port in [source, destination] {
                match port {
                    Some(port) => to.push(&port.to_be_bytes()),
                    None => to.push_unknown(2),
                }
            }
        };
        match transport {
            Transport::Tcp { source, destination, flags } => {
                ports(source, destination);
                to.push_unknown(9);
                to.push(&[flags]);
                to.push_unknown(6);
            }
            Transport::Udp { source, destination } => {
                ports(source, destination);
                to.push_unknown(4);
            }
            Transport::Icmp { kind, code } => {
                to.push(&[kind, code]);
                to.push_unknown(6);
            }
            Transport::Other(_) => {}
        }
    }

    pub(super) fn is_v4(&self) -> bool {
        self.ethertype == IPV4
    }

    /// The bytes of the source's or the destination's address.
    pub(super) fn address_at(&self, destination: bool) -> (usize, usize) {
        match (self.is_v4(), destination) {
            (true, false) => (12, 4),
            (true, true) => (16, 4),
            (false, false) => (8, 16),
            (false, true) => (24, 16),
        }
    }

    pub(super) fn address(&self, destination: bool) -> Option<IpAddr> {
        if !matches!(self.ethertype, IPV4 | IPV6) {
            return None;
        }
        let (offset, length) = self.address_at(destination);
        address(self.network.known(offset, length)?)
    }

    /// The source's or the destination's port, of protocols that have ports. `None` also where it is unknown.
    pub(super) fn port(&self, destination: bool) -> Option<u16> {
        let offset = self.transport.filter(|_| matches!(self.protocol, Some(TCP | UDP)))?;
        let bytes = self.network.known(offset + if destination { 2 } else { 0 }, 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn set_address(&mut self, destination: bool, address: IpAddr) {
        let (offset, _) = self.address_at(destination);
        match address {
            IpAddr::V4(address) => self.network.write(offset, &address.octets(), 0),
            IpAddr::V6(address) => self.network.write(offset, &address.octets(), 0),
        }
    }

    /// `None` makes it unknown.
    pub(super) fn set_port(&mut self, destination: bool, port: Option<u16>) {
        if let Some(offset) = self.transport.filter(|_| matches!(self.protocol, Some(TCP | UDP))) {
            let unknown = if port.is_none() { 0b11 } else { 0 };
            self.network.write(offset + if destination { 2 } else { 0 }, &port.unwrap_or(0).to_be_bytes(), unknown);
        }
    }

    fn time_to_live_at(&self) -> usize {
        if self.is_v4() { 8 } else { 7 }
    }

    /// IPv6 calls it the hop limit. `None` where it is unknown.
    pub(super) fn time_to_live(&self) -> Option<u8> {
        self.network.known(self.time_to_live_at(), 1).map(|bytes| bytes[0])
    }

    pub(super) fn set_time_to_live(&mut self, hops: u8) {
        self.network.write(self.time_to_live_at(), &[hops], 0);
    }

    /// `None` makes it unknown.
    pub(super) fn set_mac(&mut self, destination: bool, mac: Option<Mac>) {
        let unknown = if mac.is_none() { mask(6) } else { 0 };
        self.link.write(if destination { 0 } else { 6 }, &mac.unwrap_or_default(), unknown);
    }

    /// Whether the destination hardware address is known, and which it is.
    pub(super) fn destination_mac(&self) -> Option<Mac> {
        self.link.known(0, 6)?.try_into().ok()
    }

    pub(super) fn source_mac(&self) -> Option<Mac> {
        self.link.known(6, 6)?.try_into().ok()
    }
}

/// An address from its bytes in network order.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, destination: &str, transport: Transport) -> Packet {
        Packet {
            entry: Entry::Local,
            source_mac: None,
            destination_mac: Some([2; 6]),
            vlan: None,
            content: Content::Ip {
                source: source.parse().expect("address"),
                destination: destination.parse().expect("address"),
                transport,
            },
        }
    }

    #[test]
    fn what_nobody_said_is_unknown() {
        let transport = Transport::Tcp { source: None, destination: Some(80), flags: 2 };
        let mut headers = Headers::of(&packet("192.0.2.1", "192.0.2.2", transport)).expect("of one family");
        assert_eq!(headers.address(true), Some([192, 0, 2, 2].into()));
        assert_eq!(headers.port(true), Some(80));
        assert_eq!(headers.port(false), None);
        assert_eq!(headers.destination_mac(), Some([2; 6]));
        assert_eq!(headers.source_mac(), None);
        assert_eq!(headers.network.known(33, 1), Some(&[2][..]), "TCP's flags are its 14th byte");
        assert_eq!(headers.time_to_live(), Some(64));
        assert_eq!(headers.network.read(1, 1).expect("a service").unknown, 1);
        assert!(headers.network.read(40, 1).is_none(), "what comes after the headers is not ours to say");
        headers.set_port(false, Some(7));
        assert_eq!(headers.port(false), Some(7));
        headers.set_port(true, None);
        assert_eq!(headers.port(true), None);
    }

    #[test]
    fn families_do_not_mix() {
        assert!(Headers::of(&packet("192.0.2.1", "::1", Transport::Other(1))).is_none());
        let headers =
            Headers::of(&packet("::2", "::1", Transport::Icmp { kind: 128, code: 0 })).expect("of one family");
        assert_eq!(headers.protocol, Some(ICMPV6));
        assert_eq!(headers.address(false), Some("::2".parse().expect("address")));
    }
}
