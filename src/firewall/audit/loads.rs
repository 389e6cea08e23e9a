//! Expressions that read and write what the kernel keeps beside the packet: `meta`, `ct`, `fib`.

use std::net::IpAddr;

use super::bytecode::{Family, Hook, Register};
use super::frame::{Flow, Tracking, Zone};
use super::machine::{End, Machine, Next};
use super::network::{Interface, RouteKind};
use super::packet::{ARP, IPV4, IPV6};
use super::routing::{self, Answer, Question};

/// `NFT_META_…`.
pub(super) fn meta(machine: &mut Machine<'_, '_>, to: Register, key: u32) -> Next<'static> {
    let (incoming, outgoing) = (machine.frame.incoming, machine.frame.outgoing);
    let network = machine.evaluation.network;
    let device = |index: Option<u32>| index.and_then(|index| network.interface(index));
    let mut name = [0; 16];
    let named = |device: Option<&Interface>, name: &mut [u8; 16]| {
        let bytes = device.map_or(&[][..], |device| device.name.as_bytes());
        name[..bytes.len().min(15)].copy_from_slice(&bytes[..bytes.len().min(15)]);
    };
    let registers = &mut machine.registers;
    let headers = &machine.frame.headers;
    match key {
        1 => registers.store(to, &headers.ethertype.to_be_bytes()),
        3 => match machine.frame.mark {
            Some(mark) => registers.store(to, &mark.to_ne_bytes()),
            None => registers.store_unknown(to, 4, "the packet's mark"),
        },
        4 => registers.store(to, &incoming.unwrap_or(0).to_ne_bytes()),
        5 => registers.store(to, &outgoing.unwrap_or(0).to_ne_bytes()),
        6 | 7 => {
            named(device(if key == 6 { incoming } else { outgoing }), &mut name);
            registers.store(to, &name);
        }
        8 | 9 => match device(if key == 8 { incoming } else { outgoing }) {
            Some(device) => registers.store(to, &device.hardware.to_ne_bytes()),
            None => return Next::Rule,
        },
        15 => registers.store(to, &[number(machine.family, headers.ethertype)]),
        16 => match headers.protocol {
            Some(protocol) => registers.store(to, &[protocol]),
            None => return Next::Rule,
        },
        17 | 18 => {
            let port = device(if key == 17 { incoming } else { outgoing });
            let Some(bridge) = port.and_then(|port| network.bridge_of(port)) else { return Next::Rule };
            named(Some(bridge), &mut name);
            registers.store(to, &name);
        }
        19 => match machine.frame.packet_type {
            Some(kind) => registers.store(to, &[kind]),
            None => registers.store_unknown(to, 1, "the packet's type"),
        },
        21 | 22 => match device(if key == 21 { incoming } else { outgoing }) {
            Some(device) => registers.store(to, &device.group.to_ne_bytes()),
            None => return Next::Rule,
        },
        26 | 27 => match device(if key == 26 { incoming } else { outgoing }) {
            Some(device) => {
                let bytes = device.kind.as_bytes();
                name[..bytes.len().min(15)].copy_from_slice(&bytes[..bytes.len().min(15)]);
                registers.store(to, &name);
            }
            None => return Next::Rule,
        },
        // What a socket has, and what arrives has none.
        10 | 11 | 13 | 23 if incoming.is_some() => return Next::Rule,
        _ => {
            let name = format!("meta {}", key_name(key));
            registers.store_unknown(to, 16, &name);
            if !machine.presume(|| format!("{name}: whether there is a value")) {
                return Next::Rule;
            }
        }
    }
    Next::Expression
}

fn key_name(key: u32) -> String {
    let known = match key {
        0 => "length",
        2 => "priority",
        10 => "skuid",
        11 => "skgid",
        12 => "nftrace",
        13 => "rtclassid",
        20 => "cpu",
        23 => "cgroup",
        24 => "random",
        25 => "secpath",
        28 => "ibrpvid",
        29 => "ibrvproto",
        30 => "time",
        31 => "day",
        32 => "hour",
        33 => "sdif",
        34 => "sdifname",
        _ => return format!("key {key}"),
    };
    known.to_owned()
}

/// `NFPROTO_…`, as the hook has it.
fn number(family: Family, ethertype: u16) -> u8 {
    match (family, ethertype) {
        (Family::Netdev, _) => 5,
        (Family::Bridge, _) => 7,
        (_, IPV4) => 2,
        (_, IPV6) => 10,
        (_, ARP) => 3,
        _ => 0,
    }
}

pub(super) fn set_meta(machine: &mut Machine<'_, '_>, from: Register, key: u32) -> Next<'static> {
    match key {
        3 => machine.frame.mark = machine.registers.u32(from),
        19 => match machine.registers.known(from, 1) {
            Some(bytes) => machine.frame.packet_type = Some(bytes[0]),
            None => return Next::End(End::Unknown("the packet's type that a rule sets".to_owned())),
        },
        // Priority, tracing and security marks decide nothing here.
        2 | 12 | 14 => {}
        35 => return Next::End(End::Unknown("meta broute set".to_owned())),
        _ => return Next::End(End::Unknown(format!("meta {} set", key_name(key)))),
    }
    Next::Expression
}

/// `NFT_CT_…`.
pub(super) fn ct(machine: &mut Machine<'_, '_>, to: Register, key: u32, reply: Option<bool>) -> Next<'static> {
    if machine.family == Family::Bridge {
        return unknown_ct(machine, to, "ct of the bridge");
    }
    if key == 0 {
        // A zone that was chosen is kept in what looks like a flow until conntrack sees the packet.
        let chosen = machine.frame.tracking == Tracking::None && machine.frame.zone.is_some();
        let state = if chosen { 1 << 3 } else { machine.frame.tracking.state_bits() };
        machine.registers.store(to, &state.to_ne_bytes());
        return Next::Expression;
    }
    let name = ct_name(key);
    if machine.frame.tracking == Tracking::None && machine.frame.zone.is_some() {
        return unknown_ct(machine, to, &format!("ct {name} before the packet is tracked"));
    }
    let Some(flow) = machine.frame.tracking.flow().cloned() else { return Next::Rule };
    let registers = &mut machine.registers;
    match key {
        1 => registers.store(to, &[u8::from(flow.reply)]),
        2 => registers.store(to, &flow.status().to_ne_bytes()),
        3 => match flow.mark {
            Some(mark) => registers.store(to, &mark.to_ne_bytes()),
            None => registers.store_unknown(to, 4, "the flow's mark"),
        },
        7 => registers.store(to, &[if flow.original.source.0.is_ipv4() { 2 } else { 10 }]),
        8 | 9 | 19..=22 => {
            let address = side(&flow, reply, matches!(key, 8 | 19 | 21)).0;
            match (address, key) {
                (IpAddr::V4(address), 8 | 9 | 19 | 20) => registers.store(to, &address.octets()),
                (IpAddr::V6(address), 8 | 9 | 21 | 22) => registers.store(to, &address.octets()),
                _ => return Next::Rule,
            }
        }
        10 => match machine.frame.headers.protocol {
            Some(protocol) => registers.store(to, &[protocol]),
            None => return Next::Rule,
        },
        11 | 12 => match side(&flow, reply, key == 11).1 {
            Some(port) => registers.store(to, &port.to_be_bytes()),
            None => registers.store_unknown(to, 2, "a port of the flow"),
        },
        17 => {
            let zone = match reply {
                Some(true) => flow.zone.answer,
                Some(false) => flow.zone.original,
                None => flow.zone.original.max(flow.zone.answer),
            };
            registers.store(to, &zone.to_ne_bytes());
        }
        // A new flow has no helper, no labels and has counted nothing; what was set meanwhile is not kept.
        _ => return unknown_ct(machine, to, &format!("ct {name}")),
    }
    Next::Expression
}

fn side(flow: &Flow, reply: Option<bool>, source: bool) -> (IpAddr, Option<u16>) {
    let tuple = if reply.unwrap_or(flow.reply) { flow.answer } else { flow.original };
    if source { tuple.source } else { tuple.destination }
}

fn unknown_ct(machine: &mut Machine<'_, '_>, to: Register, name: &str) -> Next<'static> {
    machine.registers.store_unknown(to, 16, name);
    if machine.presume(|| format!("{name}: whether there is a value")) { Next::Expression } else { Next::Rule }
}

/// nft's names.
fn ct_name(key: u32) -> String {
    let known = match key {
        4 => "secmark",
        5 => "expiration",
        6 => "helper",
        13 => "label",
        14 => "packets",
        15 => "bytes",
        16 => "avgpkt",
        17 => "zone",
        18 => "event",
        23 => "id",
        _ => return format!("key {key}"),
    };
    known.to_owned()
}

/// A zone, where none was chosen and conntrack has not seen the packet; for one direction of its flow, or both.
pub(super) fn set_zone(machine: &mut Machine<'_, '_>, zone: Option<u16>, reply: Option<bool>) -> Next<'static> {
    if machine.frame.tracking != Tracking::None || machine.frame.zone.is_some() {
        return Next::Expression;
    }
    let Some(zone) = zone else {
        return Next::End(End::Unknown("the conntrack zone that a rule sets".to_owned()));
    };
    let of = |here: bool| if here { zone } else { 0 };
    machine.frame.zone = Some(Zone { original: of(reply != Some(true)), answer: of(reply != Some(false)) });
    Next::Expression
}

pub(super) fn set_ct(machine: &mut Machine<'_, '_>, from: Register, key: u32, reply: Option<bool>) -> Next<'static> {
    if machine.family == Family::Bridge {
        return Next::End(End::Unknown(format!("ct {} of the bridge set", ct_name(key))));
    }
    if key == 17 {
        let zone = machine.registers.known(from, 2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        return set_zone(machine, zone, reply);
    }
    let value = machine.registers.u32(from);
    match (key, &mut machine.frame.tracking) {
        (3, Tracking::Flow(flow)) => flow.mark = value,
        (3, _) => {}
        // Security marks, labels and which events are told decide nothing here unless read, and reading them is unknown.
        (4 | 13 | 18, _) => {}
        _ => return Next::End(End::Unknown(format!("ct {} set", ct_name(key)))),
    }
    Next::Expression
}

const SOURCE: u32 = 1;
const MARK: u32 = 4;
const IN: u32 = 8;
const OUT: u32 = 16;
const PRESENT: u32 = 32;

/// `NFT_FIB_RESULT_…`.
pub(super) fn fib(machine: &mut Machine<'_, '_>, to: Register, result: u32, flags: u32) -> Next<'static> {
    let headers = &machine.frame.headers;
    let (Some(source), Some(destination)) = (headers.address(false), headers.address(true)) else {
        return Next::Rule;
    };
    let asked = if flags & SOURCE != 0 { source } else { destination };
    let device = match flags & (IN | OUT) {
        IN => machine.frame.incoming,
        OUT => machine.frame.outgoing,
        _ => None,
    };
    if result == 3 {
        return match address_type(machine, asked, device) {
            Ok(kind) => {
                machine.registers.store(to, &u32::from(type_number(kind)).to_ne_bytes());
                Next::Expression
            }
            Err(what) => Next::End(End::Unknown(what)),
        };
    }
    match way(machine, asked, if flags & SOURCE != 0 { destination } else { source }, flags, device) {
        Ok(found) => store_way(machine, to, result, flags & PRESENT != 0, found),
        Err(what) => return Next::End(End::Unknown(what)),
    }
    Next::Expression
}

/// The interface towards an address, as `nft_fib4_eval` finds it.
fn way(
    machine: &Machine<'_, '_>,
    asked: IpAddr,
    other: IpAddr,
    flags: u32,
    device: Option<u32>,
) -> Result<Option<u32>, String> {
    let network = machine.evaluation.network;
    let incoming = machine.frame.incoming.and_then(|index| network.interface(index));
    if matches!(machine.hook, Hook::Prerouting | Hook::Input | Hook::Ingress)
        && let Some(loopback) = incoming.filter(|interface| interface.loopback)
    {
        return Ok(Some(loopback.index));
    }
    let mark = if flags & MARK != 0 { machine.frame.mark.ok_or("the packet's mark")? } else { 0 };
    let question = Question { source: Some(other), mark, outgoing: device, ..Question::to(asked) };
    match routing::route(network, &question) {
        Answer::Route { kind: RouteKind::Local, .. } | Answer::None => Ok(None),
        Answer::Route { way, .. } => {
            let found = way.map(|way| way.interface);
            Ok(found.filter(|index| device.is_none_or(|device| device == *index)))
        }
        Answer::Unknown(what) => Err(what),
    }
}

fn store_way(machine: &mut Machine<'_, '_>, to: Register, result: u32, present: bool, found: Option<u32>) {
    if present {
        machine.registers.store(to, &u32::from(found.is_some()).to_ne_bytes());
    } else if result == 1 {
        machine.registers.store(to, &found.unwrap_or(0).to_ne_bytes());
    } else {
        let name = found.and_then(|index| machine.evaluation.network.interface(index)).map(|i| i.name.clone());
        let mut bytes = [0; 16];
        let name = name.unwrap_or_default();
        bytes[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
        machine.registers.store(to, &bytes);
    }
}

/// What kind of address this is; for IPv6 as `nft_fib6_eval_type` finds it.
pub(super) fn address_type(
    machine: &Machine<'_, '_>,
    address: IpAddr,
    device: Option<u32>,
) -> Result<RouteKind, String> {
    let network = machine.evaluation.network;
    let kind = routing::kind_of(network, address, device)?;
    if address.is_ipv4() || kind != RouteKind::Unicast {
        return Ok(kind);
    }
    match routing::route(network, &Question::to(address)) {
        Answer::None => Ok(RouteKind::Unreachable),
        Answer::Route { kind: RouteKind::Local, .. } => Ok(RouteKind::Unicast),
        Answer::Route { kind, .. } => Ok(kind),
        Answer::Unknown(what) => Err(what),
    }
}

/// `RTN_…`.
pub(super) fn type_number(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Anycast => 4,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Throw => 9,
        RouteKind::Other(number) => number,
    }
}
