//! One expression's attributes → [`Expression`]. Attribute numbers are nf_tables.h's, in its order.

use super::attributes::Attributes;
use super::bytecode::{
    Between, Bitwise, Comparison, Expression, Layer, Meter, Operand, Register, Reject, Translation, Value,
};
use super::decode::{meter, meter_of_element, register, value};
use super::xt;

/// An expression; what is malformed or not modelled keeps its name.
pub(super) fn decode(from: Attributes<'_>) -> Expression {
    let name = from.text(1).unwrap_or_default();
    known(&name, from.nest(2)).unwrap_or(Expression::Unknown(name))
}

fn known(name: &str, data: Attributes<'_>) -> Option<Expression> {
    let from = |kind| register(data.be32(kind)?);
    match name {
        "immediate" => immediate(data),
        "cmp" => compare(data),
        "range" => Some(Expression::Range {
            from: from(1)?,
            inside: data.be32(2)? == 0,
            low: bytes(data, 3)?,
            high: bytes(data, 4)?,
        }),
        "bitwise" => bitwise(data),
        "byteorder" => Some(Expression::Byteorder {
            from: from(1)?,
            to: from(2)?,
            length: data.be32(4)? as usize,
            size: data.be32(5)? as usize,
        }),
        "payload" => payload(data),
        "meta" => match (from(1), data.be32(2)?) {
            (Some(to), key) => Some(Expression::Meta { to, key }),
            (None, key) => Some(Expression::SetMeta { from: from(3)?, key }),
        },
        "ct" => match (from(1), data.be32(2)?) {
            (Some(to), key) => Some(Expression::Ct { to, key, reply: data.byte(3).map(|direction| direction != 0) }),
            (None, key) => {
                let reply = data.byte(3).map(|direction| direction != 0);
                Some(Expression::SetCt { from: from(4)?, key, reply })
            }
        },
        "fib" => Some(Expression::Fib { to: from(1)?, result: data.be32(2)?, flags: data.be32(3)? }),
        "lookup" => Some(Expression::Lookup {
            set: data.text(1)?,
            from: from(2)?,
            to: from(3),
            verdicts: data.be32(3) == Some(0),
            inverted: data.be32(5).unwrap_or(0) & 1 != 0,
        }),
        "dynset" => dynset(data),
        "nat" => nat(data),
        "masq" => Some(translate(Translation::Masquerade, None, between(data, 2, 3))),
        "redir" => Some(translate(Translation::Redirect, None, between(data, 1, 2))),
        "reject" => reject(data),
        "objref" => objref(data),
        "notrack" => Some(Expression::Notrack),
        "tproxy" => Some(Expression::Tproxy { address: from(2), port: from(3) }),
        "match" => Some(Expression::Extension(xt::decode_match(&data.text(1)?, data.be32(2)?, data.get(3)?))),
        "target" => Some(Expression::Extension(xt::decode_target(&data.text(1)?, data.be32(2)?, data.get(3)?))),
        "exthdr" => extension_header(data),
        "numgen" | "osf" | "xfrm" | "rt" => Some(unknown_value(from(1)?, name)),
        "hash" | "socket" | "tunnel" => Some(unknown_value(from(2)?, name)),
        "counter" => Some(Expression::Transparent("counter")),
        "log" => Some(Expression::Transparent("log")),
        "last" => Some(Expression::Transparent("last")),
        "dup" => Some(Expression::Transparent("dup")),
        "flow_offload" => Some(Expression::Transparent("flow add")),
        _ => meter(name).map(Expression::Meter),
    }
}

fn unknown_value(to: Register, name: &str) -> Expression {
    Expression::UnknownValue { to, name: name.to_owned() }
}

fn bytes(data: Attributes<'_>, kind: u16) -> Option<Vec<u8>> {
    data.nest(kind).get(1).map(<[u8]>::to_vec)
}

fn immediate(data: Attributes<'_>) -> Option<Expression> {
    match value(data.nest(2))? {
        Value::Verdict(verdict) => Some(Expression::Verdict(verdict)),
        Value::Bytes(value) => Some(Expression::Immediate { to: register(data.be32(1)?)?, value }),
        Value::Object(_) => None,
    }
}

fn compare(data: Attributes<'_>) -> Option<Expression> {
    let how = match data.be32(2)? {
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        2 => Comparison::Less,
        3 => Comparison::LessOrEqual,
        4 => Comparison::Greater,
        5 => Comparison::GreaterOrEqual,
        _ => return None,
    };
    Some(Expression::Compare { from: register(data.be32(1)?)?, how, with: bytes(data, 3)? })
}

fn bitwise(data: Attributes<'_>) -> Option<Expression> {
    /// `NFTA_BITWISE_SREG2`, of Linux 6.12.
    const SECOND: u16 = 8;
    let operand = || match data.be32(SECOND) {
        Some(number) => Some(Operand::Register(register(number)?)),
        None => Some(Operand::Constant(bytes(data, 7)?)),
    };
    let shift = || bytes(data, 7)?.try_into().ok().map(u32::from_ne_bytes);
    let what = match data.be32(6).unwrap_or(0) {
        0 => Bitwise::MaskXor { mask: bytes(data, 4)?, xor: bytes(data, 5)? },
        1 => Bitwise::ShiftLeft(shift()?),
        2 => Bitwise::ShiftRight(shift()?),
        3 => Bitwise::And(operand()?),
        4 => Bitwise::Or(operand()?),
        5 => Bitwise::Xor(operand()?),
        _ => return None,
    };
    let (from, to) = (register(data.be32(1)?)?, register(data.be32(2)?)?);
    Some(Expression::Bitwise { from, to, length: data.be32(3)? as usize, what })
}

fn payload(data: Attributes<'_>) -> Option<Expression> {
    let layer = match data.be32(2)? {
        0 => Layer::Link,
        1 => Layer::Network,
        2 => Layer::Transport,
        _ => return None,
    };
    let (offset, length) = (data.be32(3)? as usize, data.be32(4)? as usize);
    match data.be32(1).and_then(register) {
        Some(to) => Some(Expression::Payload { to, layer, offset, length }),
        None => Some(match (layer, offset) {
            // Nothing that a rule writes there is looked at before the link's header is read, or made anew.
            (Layer::Link, _) => Expression::SetPayload { from: register(data.be32(5)?)?, layer, offset, length },
            _ if sums_up(data, layer, offset) => {
                Expression::SetPayload { from: register(data.be32(5)?)?, layer, offset, length }
            }
            _ => Expression::Unknown("a packet whose checksum a rule makes wrong".to_owned()),
        }),
    }
}

/// Whether the kernel keeps the checksums right that a write changes: of IPv4's header, and of what is above for addresses and
/// ports. IPv6 has none but the latter.
fn sums_up(data: Attributes<'_>, layer: Layer, offset: usize) -> bool {
    const OF_IPV4: u32 = 10;
    const WITH_ADDRESSES: u32 = 1;
    let (kind, at, flags) = (data.be32(6).unwrap_or(0), data.be32(7).unwrap_or(0), data.be32(8).unwrap_or(0));
    match layer {
        Layer::Link => true,
        Layer::Network if kind == 0 => offset < 8 || flags & WITH_ADDRESSES != 0,
        Layer::Network => at == OF_IPV4 && (offset < 12 || flags & WITH_ADDRESSES != 0),
        Layer::Transport => kind != 0,
    }
}

/// An option of TCP that is read, written or taken out, or a header of another protocol that is read (linux/netfilter/nf_tables.h,
/// `NFTA_EXTHDR_…`).
fn extension_header(data: Attributes<'_>) -> Option<Expression> {
    const TCP_OPTION: u32 = 1;
    const MAXSEG: u8 = 2;
    let (kind, what) = (data.byte(2)?, data.be32(6).unwrap_or(0));
    let name = match (what, kind) {
        (0, kind) => format!("IPv6's extension header {kind}"),
        (TCP_OPTION, 2) => "TCP's option maxseg".to_owned(),
        (TCP_OPTION, 3) => "TCP's option window".to_owned(),
        (TCP_OPTION, 4 | 5) => "TCP's option sack".to_owned(),
        (TCP_OPTION, 8) => "TCP's option timestamp".to_owned(),
        (TCP_OPTION, kind) => format!("TCP's option {kind}"),
        (2, kind) => format!("IPv4's option {kind}"),
        (_, kind) => format!("SCTP's chunk or DCCP's option {kind}"),
    };
    match (data.be32(1).and_then(register), data.be32(7).and_then(register)) {
        (Some(to), _) => Some(Expression::UnknownValue { to, name }),
        // Connections bear a smaller segment, or to do without an option.
        (None, Some(_)) if (what, kind) != (TCP_OPTION, MAXSEG) => {
            Some(Expression::Unknown(format!("{name} that a rule sets")))
        }
        (None, _) => Some(Expression::Transparent("exthdr set")),
    }
}

fn dynset(data: Attributes<'_>) -> Option<Expression> {
    const DELETE: u32 = 2;
    let one = data.get(7).into_iter();
    let all = one.chain(data.nest(10).map(|a| a.value));
    Some(Expression::Dynset {
        set: data.text(1)?,
        from: register(data.be32(4)?)?,
        deletes: data.be32(3)? == DELETE,
        inverted: data.be32(9).unwrap_or(0) & 1 != 0,
        metered: all.filter_map(|e| meter_of_element(&Attributes(e).text(1)?)).next(),
    })
}

/// A range of registers, whose last is the first where it is not given.
fn between(data: Attributes<'_>, min: u16, max: u16) -> Option<Between> {
    let min = register(data.be32(min)?)?;
    Some(Between { min, max: data.be32(max).and_then(register).unwrap_or(min) })
}

fn translate(what: Translation, addresses: Option<Between>, ports: Option<Between>) -> Expression {
    Expression::Nat { what, addresses, ports, netmap: false }
}

fn nat(data: Attributes<'_>) -> Option<Expression> {
    const NETMAP: u32 = 1 << 6;
    let what = if data.be32(1)? == 0 { Translation::Source } else { Translation::Destination };
    let netmap = data.be32(7).unwrap_or(0) & NETMAP != 0;
    Some(Expression::Nat { what, addresses: between(data, 3, 4), ports: between(data, 5, 6), netmap })
}

fn reject(data: Attributes<'_>) -> Option<Expression> {
    let how = match data.be32(1)? {
        0 | 2 => Reject::Icmp(data.byte(2).unwrap_or(0)),
        1 => Reject::TcpReset,
        _ => return None,
    };
    Some(Expression::Reject { how })
}

fn objref(data: Attributes<'_>) -> Option<Expression> {
    match data.be32(1) {
        Some(kind) => Some(Expression::Object { kind }),
        None => Some(Expression::ObjectOf { set: data.text(4)?, from: register(data.be32(3)?)? }),
    }
}

/// What a named object does to a packet's way.
pub(super) fn of_object(kind: u32) -> Expression {
    match kind {
        1 => Expression::Transparent("counter"),
        2 => Expression::Meter(Meter::Quota),
        3 => Expression::Transparent("ct helper"),
        4 => Expression::Meter(Meter::Limit),
        5 => Expression::Meter(Meter::Connections),
        7 => Expression::Transparent("ct timeout"),
        8 => Expression::Transparent("secmark"),
        9 => Expression::Transparent("ct expectation"),
        10 => Expression::Unknown("synproxy".to_owned()),
        _ => Expression::Unknown(format!("object of kind {kind}")),
    }
}
