//! What iptables' matches and targets do (net/netfilter/xt_….c).

use std::net::IpAddr;

use super::bytecode::Verdict;
use super::choices;
use super::frame::State;
use super::loads::{address_type, type_number};
use super::machine::{Asked, End, Machine, Next};
use super::registers::Maybe;
use super::xt::{Conntrack, Device, Extension, Ports};

/// Runs a match or a target.
pub(super) fn run(machine: &mut Machine<'_, '_>, extension: &Extension) -> Next<'static> {
    match extension {
        Extension::Transparent(_) => Next::Expression,
        Extension::Conntrack(asked) => {
            let result = conntrack(machine, asked);
            open(machine, result, "conntrack")
        }
        Extension::AddressType { source, destination, not_source, not_destination, device } => {
            let device = match device {
                Device::Any => None,
                Device::In => machine.frame.incoming,
                Device::Out => machine.frame.outgoing,
            };
            let headers = &machine.frame.headers;
            let sides = [
                (*source, *not_source, headers.address(false)),
                (*destination, *not_destination, headers.address(true)),
            ];
            match address_types(machine, sides, device) {
                Ok(matches) => machine.when(Maybe::from(matches)),
                Err(what) => Next::End(End::Unknown(what)),
            }
        }
        Extension::Multiport { which, ranges, inverted } => {
            let result = ports(machine, *which, ranges, *inverted);
            let named = match which {
                Ports::Source => choices::SOURCE_PORT,
                Ports::Destination => choices::DESTINATION_PORT,
                Ports::Either => "a port",
            };
            open(machine, result, named)
        }
        Extension::Mark { mark, mask, inverted } => {
            let result = match machine.frame.mark {
                Some(own) => Maybe::from((own & mask == *mark) != *inverted),
                None => Maybe::Unknown,
            };
            open(machine, result, "the packet's mark")
        }
        Extension::Icmp { kind, codes, inverted, v6 } => {
            let headers = &machine.frame.headers;
            let Some([this, code]) = headers.transport.and_then(|at| headers.network.known(at, 2)) else {
                return Next::Rule;
            };
            let any = !v6 && *kind == u8::MAX;
            let matches = any || this == kind && (codes.0..=codes.1).contains(code);
            machine.when(Maybe::from(matches != *inverted))
        }
        Extension::PacketType { kind, inverted } => {
            let result = match machine.frame.packet_type {
                Some(own) => Maybe::from((own == *kind) != *inverted),
                None => Maybe::Unknown,
            };
            open(machine, result, "the packet's type")
        }
        Extension::Metered(meter) => machine.metered(*meter),
        Extension::SetMark { mark, mask } => {
            machine.frame.mark = machine.frame.mark.map(|own| own & !mask ^ mark);
            Next::Expression
        }
        Extension::Reject(how) => Next::End(End::Reject(*how)),
        Extension::Nat { what, addresses, ports } => {
            let length = if machine.frame.headers.is_v4() { 4 } else { 16 };
            let cut = |bytes: &Vec<u8>| bytes[..length.min(bytes.len())].to_vec();
            let addresses = addresses.as_ref().map(|(min, max)| Some((cut(min), cut(max))));
            machine.asked = Some(Asked { what: *what, addresses, ports: ports.map(Some) });
            Next::Verdict(&Verdict::Accept)
        }
        Extension::Notrack => {
            machine.frame.exempt();
            Next::Expression
        }
        Extension::UnknownMatch(name) => {
            if machine.choose(|| format!("xt match {name}: whether it matches")) {
                Next::Expression
            } else {
                Next::Rule
            }
        }
        Extension::UnknownTarget(name) => Next::End(End::Unknown(format!("xt target {name}"))),
    }
}

/// Goes on by a result that may be unknown for the reason given.
fn open(machine: &mut Machine<'_, '_>, result: Maybe, why: &str) -> Next<'static> {
    let yes = match result {
        Maybe::Unknown => machine.choose(|| why.to_owned()),
        certain => certain == Maybe::Yes,
    };
    if yes { Next::Expression } else { Next::Rule }
}

fn address_types(
    machine: &Machine<'_, '_>,
    sides: [(Option<u16>, bool, Option<IpAddr>); 2],
    device: Option<u32>,
) -> Result<bool, String> {
    for (mask, inverted, address) in sides {
        let (Some(mask), Some(address)) = (mask, address) else { continue };
        let kind = type_number(address_type(machine, address, device)?);
        let bit = 1_u16.checked_shl(kind.into()).unwrap_or(0);
        let matches = match address {
            IpAddr::V4(_) => mask & bit != 0,
            IpAddr::V6(address) => of_kinds(address, mask, bit),
        };
        if matches == inverted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `match_type6`: what the address itself tells is asked of it, and only the rest of the route.
fn of_kinds(address: std::net::Ipv6Addr, mask: u16, bit: u16) -> bool {
    const UNSPECIFIED: u16 = 1 << 0;
    const UNICAST: u16 = 1 << 1;
    const MULTICAST: u16 = 1 << 5;
    /// Local, anycast, unreachable.
    const ROUTED: u16 = 1 << 2 | 1 << 4 | 1 << 7;
    let (multicast, unspecified) = (address.is_multicast(), address.is_unspecified());
    if mask & MULTICAST != 0 && !multicast
        || mask & UNICAST != 0 && (multicast || unspecified)
        || mask & UNSPECIFIED != 0 && !unspecified
    {
        return false;
    }
    mask & ROUTED == 0 || mask & ROUTED & bit != 0
}

fn ports(machine: &Machine<'_, '_>, which: Ports, ranges: &[(u16, u16)], inverted: bool) -> Maybe {
    let headers = &machine.frame.headers;
    let inside = |port: Option<u16>| match port {
        Some(port) => Maybe::from(ranges.iter().any(|(low, high)| (*low..=*high).contains(&port))),
        None => Maybe::Unknown,
    };
    let (source, destination) = (inside(headers.port(false)), inside(headers.port(true)));
    let matches = match which {
        Ports::Source => source,
        Ports::Destination => destination,
        Ports::Either if source == Maybe::Yes || destination == Maybe::Yes => Maybe::Yes,
        Ports::Either if source == Maybe::No && destination == Maybe::No => Maybe::No,
        Ports::Either => Maybe::Unknown,
    };
    match matches {
        Maybe::Unknown => Maybe::Unknown,
        certain => Maybe::from((certain == Maybe::Yes) != inverted),
    }
}

/// `conntrack_mt`.
fn conntrack(machine: &Machine<'_, '_>, asked: &Conntrack) -> Maybe {
    let tracking = &machine.frame.tracking;
    let flow = tracking.flow();
    if let Some((states, inverted)) = asked.state {
        let mut bits = tracking.state_bits();
        if let Some(flow) = flow {
            bits |= if flow.source_nat { u32::from(Conntrack::SOURCE_NAT) } else { 0 };
            bits |= if flow.destination_nat { u32::from(Conntrack::DESTINATION_NAT) } else { 0 };
        }
        if (u32::from(states) & bits != 0) == inverted {
            return Maybe::No;
        }
    }
    let Some(flow) = flow else { return Maybe::from(asked.state.is_some()) };
    if asked.original.is_some_and(|original| original == flow.reply) {
        return Maybe::No;
    }
    let sides = [flow.original.source, flow.original.destination, flow.answer.source, flow.answer.destination];
    for (wanted, side) in asked.addresses.iter().zip(sides) {
        if let Some((address, mask, inverted)) = wanted
            && under_mask(side.0, address, mask) == *inverted
        {
            return Maybe::No;
        }
    }
    if let Some((protocol, inverted)) = asked.protocol
        && (machine.frame.headers.protocol == Some(protocol)) == inverted
    {
        return Maybe::No;
    }
    if let Some((mask, inverted)) = asked.status
        && (flow.status() & u32::from(mask) != 0) == inverted
    {
        return Maybe::No;
    }
    let mut result =
        if asked.more && flow.state == State::Established { Maybe::Unknown } else { Maybe::from(!asked.more) };
    for (wanted, side) in asked.ports.iter().zip(sides) {
        match (wanted, side.1) {
            (Some((low, high, inverted)), Some(port)) if (*low..=*high).contains(&port) == *inverted => {
                return Maybe::No;
            }
            (Some(_), None) => result = Maybe::Unknown,
            _ => {}
        }
    }
    result
}

fn under_mask(address: IpAddr, wanted: &[u8], mask: &[u8]) -> bool {
    let octets: Vec<u8> = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    octets.iter().zip(wanted.iter().zip(mask)).all(|(own, (wanted, mask))| own & mask == *wanted)
}
