//! Matches and targets of iptables-nft that stand in rules as they are, with the binary structures of the headers
//! named at each (linux/netfilter/xt_….h, linux/netfilter_ipv4/…, linux/netfilter_bridge/…). Iptables-nft writes the
//! common matches (addresses, interfaces, ports) as native expressions; what is here is the rest that firewalls use.

use super::bytecode::{Meter, Reject, Translation};

/// A match or a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the headers document each")]
pub enum Extension {
    /// Matches always and changes nothing: comment; LOG, NFLOG, TCPMSS, CHECKSUM, TRACE, TEE (which sends a copy), …
    Transparent(String),
    /// `xt_conntrack`, `xt_state`.
    Conntrack(Box<Conntrack>),
    /// `xt_addrtype`: bits by route type; `None` where not asked.
    AddressType {
        source: Option<u16>,
        destination: Option<u16>,
        not_source: bool,
        not_destination: bool,
        device: Device,
    },
    /// `xt_multiport`: which ports, ranges inclusive.
    Multiport { which: Ports, ranges: Vec<(u16, u16)>, inverted: bool },
    /// `xt_mark`.
    Mark { mark: u32, mask: u32, inverted: bool },
    /// `xt_icmp`, `xt_icmp6`: type 255 (IPv4) is any.
    Icmp { kind: u8, codes: (u8, u8), inverted: bool, v6: bool },
    /// `xt_pkttype`.
    PacketType { kind: u8, inverted: bool },
    /// Matches some packets and not others, whatever they are: limit, statistic, connlimit, hashlimit, quota.
    Metered(Meter),
    /// `MARK` revision 2: `(mark & !mask) ^ mark`.
    SetMark { mark: u32, mask: u32 },
    /// `REJECT`.
    Reject(Reject),
    /// `DNAT`, `SNAT`, `MASQUERADE`, `REDIRECT`.
    Nat { what: Translation, addresses: Option<(Vec<u8>, Vec<u8>)>, ports: Option<(u16, u16)> },
    /// `CT --notrack`.
    Notrack,
    /// A match that is not modelled: it may match or not.
    UnknownMatch(String),
    /// A target that is not modelled: it may do anything.
    UnknownTarget(String),
}

/// What `xt_conntrack` asks. Fields that are not asked are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the header documents each")]
pub struct Conntrack {
    pub state: Option<(u16, bool)>,
    pub status: Option<(u16, bool)>,
    /// Whether the packet must be of the original direction.
    pub original: Option<bool>,
    /// Original source, original destination, reply source, reply destination.
    pub addresses: [Option<Masked>; 4],
    /// Ranges of ports in the same order, inverted.
    pub ports: [Option<(u16, u16, bool)>; 4],
    pub protocol: Option<(u8, bool)>,
    /// It asks for more: when the flow expires.
    pub more: bool,
}

/// An address, its mask, and whether it must not match.
pub type Masked = (Vec<u8>, Vec<u8>, bool);

/// Which device an address must be local to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Device {
    Any,
    In,
    Out,
}

/// Which ports are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Ports {
    Source,
    Destination,
    Either,
}

/// A match's information; what is unknown, of an unknown revision or too short keeps its name.
pub(super) fn decode_match(name: &str, revision: u32, info: &[u8]) -> Extension {
    known_match(name, revision, Info(info)).unwrap_or_else(|| Extension::UnknownMatch(name.to_owned()))
}

/// A target's.
pub(super) fn decode_target(name: &str, revision: u32, info: &[u8]) -> Extension {
    known_target(name, revision, Info(info)).unwrap_or_else(|| Extension::UnknownTarget(name.to_owned()))
}

/// A C structure in the machine's order.
#[derive(Clone, Copy)]
struct Info<'a>(&'a [u8]);

impl Info<'_> {
    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.0.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
    }

    fn be16(self, at: usize) -> Option<u16> {
        self.u16(at).map(u16::from_be)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.0.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn bytes(self, at: usize, length: usize) -> Option<Vec<u8>> {
        self.0.get(at..at + length).map(<[u8]>::to_vec)
    }
}

fn known_match(name: &str, revision: u32, info: Info<'_>) -> Option<Extension> {
    Some(match (name, revision) {
        ("comment", _) => Extension::Transparent(name.to_owned()),
        ("conntrack", 2 | 3) => Extension::Conntrack(Box::new(conntrack(info, revision)?)),
        ("state", 0) => Extension::Conntrack(Box::new(Conntrack {
            // Untracked is bit 6 here (xt_state.h), as in nf_tables, and bit 8 (IP_CT_NUMBER + 3) in xt_conntrack.
            state: Some((states(info.u32(0)? as u16, 6), false)),
            ..Conntrack::default()
        })),
        ("addrtype", 1) => address_type(info)?,
        ("multiport", 1) => multiport(info)?,
        ("mark", 1) => Extension::Mark { mark: info.u32(0)?, mask: info.u32(4)?, inverted: info.u8(8)? != 0 },
        ("icmp" | "icmp6", 0) => Extension::Icmp {
            kind: info.u8(0)?,
            codes: (info.u8(1)?, info.u8(2)?),
            inverted: info.u8(3)? & 1 != 0,
            v6: name == "icmp6",
        },
        ("pkttype", 0) => Extension::PacketType { kind: u8::try_from(info.u32(0)?).ok()?, inverted: info.u32(4)? != 0 },
        ("limit" | "hashlimit" | "statistic", _) => Extension::Metered(Meter::Limit),
        ("connlimit", _) => Extension::Metered(Meter::Connections),
        ("quota", _) => Extension::Metered(Meter::Quota),
        _ => return None,
    })
}

/// `struct xt_conntrack_mtinfo2` and `…3`, which adds the upper ends of port ranges and has ports in the machine's order.
fn conntrack(info: Info<'_>, revision: u32) -> Option<Conntrack> {
    let (asked, inverted) = (info.u16(146)?, info.u16(148)?);
    let flag = |bit: u16| (asked & (1 << bit) != 0).then_some(inverted & (1 << bit) != 0);
    let (state, status) = (info.u16(150)?, info.u16(152)?);
    let mut found = Conntrack {
        state: flag(0).map(|not| (states(state, 8), not)),
        status: flag(6).map(|not| (status, not)),
        original: flag(12).map(|reply| !reply),
        protocol: flag(1).map(|not| Some((u8::try_from(info.u16(136)?).ok()?, not))).unwrap_or(None),
        more: flag(7).is_some(),
        ..Conntrack::default()
    };
    // SNAT and DNAT among the states (bits 6 and 7) ask for the status.
    if found.state.is_some() && state & 0b1100_0000 != 0 {
        found.nat_states(state);
    }
    for index in 0..4 {
        let at = index * 32;
        if let Some(not) = flag(2 + index as u16) {
            found.addresses[index] = Some((info.bytes(at, 16)?, info.bytes(at + 16, 16)?, not));
        }
        if let Some(not) = flag(8 + index as u16) {
            let at = 138 + index * 2;
            let (low, high) = match revision {
                3 => (info.u16(at)?, info.u16(154 + index * 2)?),
                _ => (info.be16(at)?, info.be16(at)?),
            };
            found.ports[index] = Some((low, high, not));
        }
    }
    Some(found)
}

impl Conntrack {
    /// Bits of our own above the kernel's: [`Conntrack::SOURCE_NAT`], [`Conntrack::DESTINATION_NAT`].
    pub const SOURCE_NAT: u16 = 1 << 14;
    /// See [`Conntrack::SOURCE_NAT`].
    pub const DESTINATION_NAT: u16 = 1 << 15;

    fn nat_states(&mut self, bits: u16) {
        if let Some((states, _)) = &mut self.state {
            *states |= if bits & 1 << 6 != 0 { Self::SOURCE_NAT } else { 0 };
            *states |= if bits & 1 << 7 != 0 { Self::DESTINATION_NAT } else { 0 };
        }
    }
}

/// xt's bits of states → nf_tables': the low ones are the same (invalid, established, related, new).
fn states(bits: u16, untracked: u16) -> u16 {
    (bits & 0b1111) | if bits & 1 << untracked != 0 { 1 << 6 } else { 0 }
}

/// `struct xt_addrtype_info_v1`.
fn address_type(info: Info<'_>) -> Option<Extension> {
    let (source, destination, flags) = (info.u16(0)?, info.u16(2)?, info.u32(4)?);
    let asked = |mask: u16| (mask != 0).then_some(mask);
    let device = match flags & 0b1100 {
        0 => Device::Any,
        0b0100 => Device::In,
        0b1000 => Device::Out,
        _ => return None,
    };
    Some(Extension::AddressType {
        source: asked(source),
        destination: asked(destination),
        not_source: flags & 1 != 0,
        not_destination: flags & 2 != 0,
        device,
    })
}

/// `struct xt_multiport_v1`.
fn multiport(info: Info<'_>) -> Option<Extension> {
    let which = match info.u8(0)? {
        0 => Ports::Source,
        1 => Ports::Destination,
        2 => Ports::Either,
        _ => return None,
    };
    let count = usize::from(info.u8(1)?);
    let mut ranges = Vec::new();
    let mut index = 0;
    while index < count {
        let low = info.u16(2 + index * 2)?;
        let is_range = info.u8(32 + index)? != 0;
        let high = if is_range { info.u16(4 + index * 2)? } else { low };
        ranges.push((low, high));
        index += if is_range { 2 } else { 1 };
    }
    Some(Extension::Multiport { which, ranges, inverted: info.u8(47)? != 0 })
}

fn known_target(name: &str, revision: u32, info: Info<'_>) -> Option<Extension> {
    Some(match (name, revision) {
        ("LOG" | "NFLOG" | "ULOG" | "TCPMSS" | "CHECKSUM" | "TRACE" | "AUDIT" | "CLASSIFY" | "LED" | "TEE", _) => {
            Extension::Transparent(name.to_owned())
        }
        ("MARK", 2) => Extension::SetMark { mark: info.u32(0)?, mask: info.u32(4)? },
        ("REJECT", 0) => Extension::Reject(Reject::Extension(info.u32(0)?)),
        // The first word of `struct xt_ct_target_info_v1` is XT_CT_NOTRACK alone, and no zone.
        ("CT", 1 | 2) if info.u16(0)? == 1 && info.u16(2)? == 0 => Extension::Notrack,
        ("NOTRACK", _) => Extension::Notrack,
        // Of IPv6 these have the longer structure, by the same revision.
        ("REDIRECT", 0) => nat_of_either(Translation::Redirect, info)?,
        ("MASQUERADE", 0) => nat_of_either(Translation::Masquerade, info)?,
        ("DNAT", 0) => nat_ipv4(Translation::Destination, info)?,
        ("SNAT", 0) => nat_ipv4(Translation::Source, info)?,
        ("DNAT", 1 | 2) => nat_any(Translation::Destination, info)?,
        ("SNAT", 1) => nat_any(Translation::Source, info)?,
        _ => return None,
    })
}

const MAPS_ADDRESSES: u32 = 1;
const MAPS_PORTS: u32 = 2;

fn nat_of_either(what: Translation, info: Info<'_>) -> Option<Extension> {
    if info.0.len() >= 40 { nat_any(what, info) } else { nat_ipv4(what, info) }
}

/// `struct nf_nat_ipv4_multi_range_compat`: a count, flags, addresses, ports.
fn nat_ipv4(what: Translation, info: Info<'_>) -> Option<Extension> {
    let flags = info.u32(4)?;
    let addresses = if flags & MAPS_ADDRESSES != 0 { Some((info.bytes(8, 4)?, info.bytes(12, 4)?)) } else { None };
    let ports = if flags & MAPS_PORTS != 0 { Some((info.be16(16)?, info.be16(18)?)) } else { None };
    Some(Extension::Nat { what, addresses, ports })
}

/// `struct nf_nat_range` and `…2`: flags, addresses of sixteen bytes, ports. The family tells how many of them count.
fn nat_any(what: Translation, info: Info<'_>) -> Option<Extension> {
    let flags = info.u32(0)?;
    let addresses = if flags & MAPS_ADDRESSES != 0 { Some((info.bytes(4, 16)?, info.bytes(20, 16)?)) } else { None };
    let ports = if flags & MAPS_PORTS != 0 { Some((info.be16(36)?, info.be16(38)?)) } else { None };
    Some(Extension::Nat { what, addresses, ports })
}
