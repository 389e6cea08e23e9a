//! A logged packet's bytes → who says to send what to whom. Pure; anything may be cut off or nonsense.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// Ethertypes (IEEE 802 numbers, as IANA lists them).
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const SERVICE_VLAN: u16 = 0x88a8;
/// What the kernel calls a frame that has a length where others have a type (`ETH_P_802_2`, `ETH_P_802_3`).
const LENGTHS: std::ops::RangeInclusive<u16> = 1..=4;

/// A packet as the log has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw<'a> {
    /// Target, source and type, where the link's header is known.
    pub(super) link: Option<&'a [u8]>,
    /// What the frame carries: behind its tag, if it has one.
    pub(super) ethertype: u16,
    /// A tag's own type, and its VLAN.
    pub(super) tag: Option<(u16, u16)>,
    /// The first bytes of what it carries.
    pub(super) payload: &'a [u8],
}

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// The frame's sender.
    pub(super) source_mac: Option<Mac>,
    /// The frame's receiver.
    pub(super) target_mac: Option<Mac>,
    /// The sender in an ARP message.
    pub(super) arp_mac: Option<Mac>,
    /// The sender by address.
    pub(super) source: Option<IpAddr>,
    /// To whom, or in ARP about whom.
    pub(super) target: Option<IpAddr>,
    /// The destination port.
    pub(super) port: Option<u16>,
    /// What it is, in words: `tcp/80`, `icmp echo-request`, `arp reply`, `ethertype 0x88b5`.
    pub(super) what: String,
}

/// Reads what can be read.
pub(super) fn read(raw: Raw<'_>) -> Frame {
    let mac = |at: usize| raw.link.and_then(|link| link.get(at..at + 6)?.try_into().ok());
    let mut frame = Frame { target_mac: mac(0), source_mac: mac(6), ..Frame::default() };
    let known = match raw.ethertype {
        IPV4 => frame.ipv4(raw.payload),
        IPV6 => frame.ipv6(raw.payload),
        ARP => frame.arp(raw.payload),
        _ => None,
    };
    if known.is_none() {
        frame.what = match raw.ethertype {
            IPV4 => "broken ip".to_owned(),
            IPV6 => "broken ipv6".to_owned(),
            ARP => "broken arp".to_owned(),
            length if LENGTHS.contains(&length) => "802.2 frame".to_owned(),
            other => format!("ethertype {other:#06x}"),
        };
    }
    if let Some((kind, vlan)) = raw.tag {
        let service = if kind == SERVICE_VLAN { "service " } else { "" };
        let _ = write!(frame.what, " on {service}vlan {vlan}");
    }
    frame
}

impl Frame {
    /// RFC 791.
    fn ipv4(&mut self, packet: &[u8]) -> Option<()> {
        let length = usize::from(packet.first()? & 0xf) * 4;
        let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
        (self.source, self.target) = (Some(address(12)?.into()), Some(address(16)?.into()));
        let offset = number(packet, 6)? & 0x1fff;
        self.transport(packet.get(9).copied()?, packet.get(length..).unwrap_or_default(), offset != 0);
        Some(())
    }

    /// RFC 8200; headers that have a length are passed over.
    fn ipv6(&mut self, packet: &[u8]) -> Option<()> {
        let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
        (self.source, self.target) = (Some(address(8)?.into()), Some(address(24)?.into()));
        let (mut next, mut rest, mut fragment) = (packet[6], &packet[40..], false);
        // Hop-by-hop options, routing, fragment, destination options.
        while let (0 | 43 | 44 | 60, Some(&then)) = (next, rest.first()) {
            let length = match next {
                44 => {
                    fragment |= number(rest, 2).is_some_and(|offset| offset & 0xfff8 != 0);
                    8
                }
                _ => (usize::from(rest.get(1).copied().unwrap_or_default()) + 1) * 8,
            };
            (next, rest) = (then, rest.get(length..).unwrap_or_default());
        }
        self.transport(next, rest, fragment);
        Some(())
    }

    /// RFC 826, of IPv4 on Ethernet.
    fn arp(&mut self, message: &[u8]) -> Option<()> {
        if message.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(message.get(at..at + 4)?).ok()?));
        self.arp_mac = Some(message.get(8..14)?.try_into().ok()?);
        (self.source, self.target) = (Some(address(14)?.into()), Some(address(24)?.into()));
        self.what = match number(message, 6)? {
            1 => "arp request".to_owned(),
            2 => "arp reply".to_owned(),
            other => format!("arp operation {other}"),
        };
        Some(())
    }

    fn transport(&mut self, protocol: u8, bytes: &[u8], later_fragment: bool) {
        let name = protocol_name(protocol);
        let (kind, port) = (bytes.first().copied(), number(bytes, 2));
        self.what = match (protocol, kind, port) {
            _ if later_fragment => format!("{name} fragment"),
            (6 | 17 | 33 | 132 | 136, _, Some(port)) => {
                self.port = Some(port);
                format!("{name}/{port}")
            }
            (1, Some(kind), _) => format!("icmp {}", icmp(kind)),
            (58, Some(kind), _) => format!("icmpv6 {}", icmpv6(kind)),
            _ => name,
        };
    }
}

/// Two bytes in network order.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// IANA's protocol numbers, those that one may meet.
fn protocol_name(number: u8) -> String {
    let name = match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "6in4",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        89 => "ospf",
        112 => "vrrp",
        132 => "sctp",
        136 => "udplite",
        other => return format!("ip protocol {other}"),
    };
    name.to_owned()
}

/// IANA's ICMP types, in nft's words.
fn icmp(kind: u8) -> String {
    let name = match kind {
        0 => "echo-reply",
        3 => "destination-unreachable",
        5 => "redirect",
        8 => "echo-request",
        9 => "router-advertisement",
        10 => "router-solicitation",
        11 => "time-exceeded",
        13 => "timestamp-request",
        other => return format!("type {other}"),
    };
    name.to_owned()
}

/// The same of version 6.
fn icmpv6(kind: u8) -> String {
    let name = match kind {
        1 => "destination-unreachable",
        128 => "echo-request",
        129 => "echo-reply",
        131 | 143 => "multicast-report",
        133 => "router-solicitation",
        134 => "router-advertisement",
        135 => "neighbour-solicitation",
        136 => "neighbour-advertisement",
        137 => "redirect",
        other => return format!("type {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: [u8; 14] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];

    fn ipv4(protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let head = [0x45, 0, 0, 40, 0, 1, high, low, 64, protocol, 0, 0, 172, 17, 0, 2, 172, 17, 0, 3];
        [&head[..], rest].concat()
    }

    fn what(ethertype: u16, payload: &[u8]) -> String {
        read(Raw { link: Some(&LINK), ethertype, tag: None, payload }).what
    }

    #[test]
    fn who_and_what() {
        let packet = ipv4(6, 0, &[0x9c, 0x40, 0x15, 0x38]);
        let frame = read(Raw { link: Some(&LINK), ethertype: IPV4, tag: None, payload: &packet });
        assert_eq!(
            frame,
            Frame {
                source_mac: Some([2, 0, 0, 0, 0, 1]),
                target_mac: Some([2, 0, 0, 0, 0, 2]),
                arp_mac: None,
                source: Some([172, 17, 0, 2].into()),
                target: Some([172, 17, 0, 3].into()),
                port: Some(5432),
                what: "tcp/5432".into(),
            }
        );
        let tagged = read(Raw { tag: Some((0x8100, 7)), ethertype: IPV4, payload: &packet, link: None });
        assert_eq!((tagged.what.as_str(), tagged.source_mac), ("tcp/5432 on vlan 7", None));
        let service = read(Raw { tag: Some((0x88a8, 8)), ethertype: 0x88b5, ..Raw::default() });
        assert_eq!(service.what, "ethertype 0x88b5 on service vlan 8");
    }

    #[test]
    fn protocols_in_words() {
        assert_eq!(what(IPV4, &ipv4(17, 0, &[0, 1, 0, 53])), "udp/53");
        assert_eq!(what(IPV4, &ipv4(17, 0x2000, &[0, 1, 0, 53])), "udp/53");
        assert_eq!(what(IPV4, &ipv4(17, 5, &[0, 1, 0, 53])), "udp fragment");
        assert_eq!(what(IPV4, &ipv4(1, 0, &[8, 0])), "icmp echo-request");
        assert_eq!(what(IPV4, &ipv4(1, 0, &[200, 0])), "icmp type 200");
        assert_eq!(what(IPV4, &ipv4(47, 0, &[8, 0])), "gre");
        assert_eq!(what(IPV4, &ipv4(99, 0, &[])), "ip protocol 99");
        assert_eq!(what(IPV4, &[0x45]), "broken ip");
        assert_eq!(what(4, &[]), "802.2 frame");
        assert_eq!(what(0x88cc, &[]), "ethertype 0x88cc");
    }

    #[test]
    fn version_6_behind_its_headers() {
        let packet = |next: u8, rest: &[u8]| {
            let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 255];
            packet.extend([0xfe; 16]);
            packet.extend([0xff; 16]);
            packet.extend(rest);
            packet
        };
        assert_eq!(what(IPV6, &packet(58, &[133, 0])), "icmpv6 router-solicitation");
        assert_eq!(what(IPV6, &packet(0, &[58, 0, 1, 4, 0, 0, 0, 0, 143, 0])), "icmpv6 multicast-report");
        assert_eq!(what(IPV6, &packet(44, &[17, 0, 0, 8, 0, 0, 0, 1, 0, 1])), "udp fragment");
    }

    #[test]
    fn arp_says_who_and_about_whom() {
        let message = |operation: u8| {
            let head = [0, 1, 8, 0, 6, 4, 0, operation];
            [&head[..], &[2, 0, 0, 0, 0, 9], &[172, 17, 0, 1], &[0; 6], &[172, 17, 0, 3]].concat()
        };
        let frame = read(Raw { link: Some(&LINK), ethertype: ARP, tag: None, payload: &message(2) });
        assert_eq!(frame.what, "arp reply");
        assert_eq!(frame.arp_mac, Some([2, 0, 0, 0, 0, 9]));
        assert_eq!((frame.source, frame.target), (Some([172, 17, 0, 1].into()), Some([172, 17, 0, 3].into())));
        assert_eq!(what(ARP, &message(1)), "arp request");
        assert_eq!(what(ARP, &message(9)), "arp operation 9");
        assert_eq!(what(ARP, &[0, 2, 8, 0, 6, 4]), "broken arp");
    }

    proptest::proptest! {
        #[test]
        fn nothing_breaks_the_reader(link: Option<Vec<u8>>, ethertype: u16, kind in 0..4_usize, payload: Vec<u8>, tag: Option<(u16, u16)>) {
            let ethertype = [IPV4, ARP, IPV6, ethertype][kind];
            let frame = read(Raw { link: link.as_deref(), ethertype, tag, payload: &payload });
            assert!(!frame.what.is_empty() && frame.what.len() < 64);
        }

        /// Cut off anywhere, what is there is read the same.
        #[test]
        fn what_is_cut_off_is_not_guessed(cut in 0..60_usize) {
            let whole = ipv4(6, 0, &[0x9c, 0x40, 0x15, 0x38, 0, 0, 0, 0]);
            let frame = read(Raw { link: Some(&LINK), ethertype: IPV4, tag: None, payload: whole.get(..cut).unwrap_or(&whole) });
            assert!(["broken ip", "tcp", "tcp/5432"].contains(&frame.what.as_str()), "{}", frame.what);
        }
    }
}
