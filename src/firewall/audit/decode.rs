//! The kernel's messages → tables, chains, rules, sets. Attribute numbers are nf_tables.h's.

use super::attributes::{Attributes, text};
use super::bytecode::{
    Base, Chain, ChainKind, Element, Family, Hook, Meter, Object, Register, Rule, Set, Table, Value, Verdict,
};
use super::expressions;

/// A message's family and attributes, after `struct nfgenmsg`.
pub(super) fn message(body: &[u8]) -> Option<(Family, Attributes<'_>)> {
    Some((Family::of(*body.first()?)?, Attributes(body.get(4..)?)))
}

pub(super) fn table(family: Family, from: Attributes<'_>) -> Option<Table> {
    const DORMANT: u32 = 1;
    Some(Table {
        family,
        name: from.text(1)?,
        dormant: from.be32(2).unwrap_or(0) & DORMANT != 0,
        chains: Vec::new(),
        sets: Vec::new(),
        objects: Vec::new(),
    })
}

/// A chain, and its table's name.
pub(super) fn chain(family: Family, from: Attributes<'_>) -> Option<(String, Chain)> {
    let chain = Chain { name: from.text(3)?, handle: from.be64(2)?, base: base(family, from), rules: Vec::new() };
    Some((from.text(1)?, chain))
}

fn base(family: Family, from: Attributes<'_>) -> Option<Base> {
    let place = from.nest(4);
    let number = place.be32(1)?;
    let one = place.text(3).into_iter();
    let devices = one.chain(place.nest(4).filter(|a| a.kind == 1).map(|a| text(a.value)));
    let kind = match from.text(7)?.as_str() {
        "nat" => ChainKind::Nat,
        "route" => ChainKind::Route,
        _ => ChainKind::Filter,
    };
    Some(Base {
        hook: hook(family, number)?,
        priority: place.be32(2)?.cast_signed(),
        kind,
        accepts: from.be32(5).unwrap_or(1) != 0,
        devices: devices.collect(),
    })
}

/// Hooks are numbered by family (`NF_INET_…`, `NF_ARP_…`, `NF_NETDEV_…`).
fn hook(family: Family, number: u32) -> Option<Hook> {
    use Hook::*;
    let hooks: &[Hook] = match family {
        Family::Netdev => &[Ingress, Egress],
        Family::Arp => &[Input, Output],
        _ => &[Prerouting, Input, Forward, Output, Postrouting, Ingress],
    };
    hooks.get(number as usize).copied()
}

/// A rule, with its table's and its chain's names.
pub(super) fn rule(from: Attributes<'_>) -> Option<(String, String, Rule)> {
    let expressions = from.nest(4).map(|expression| expressions::decode(Attributes(expression.value))).collect();
    let comment = from.get(7).and_then(|userdata| user_text(userdata, 0));
    Some((from.text(1)?, from.text(2)?, Rule { handle: from.be64(3)?, comment, expressions }))
}

/// libnftnl's own attributes: type and length a byte each.
fn user_text(mut data: &[u8], kind: u8) -> Option<String> {
    while let [this, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *this == kind {
            return Some(text(value));
        }
        data = &rest[value.len()..];
    }
    None
}

/// A set without its elements, and its table's name.
pub(super) fn set(from: Attributes<'_>) -> Option<(String, Set)> {
    const INTERVAL: u32 = 4;
    const EVAL: u32 = 0x20;
    let flags = from.be32(3).unwrap_or(0);
    let length = from.be32(5)? as usize;
    let field =
        |a: super::attributes::Attribute<'_>| Attributes(a.value).be32(1).map(|n| n.next_multiple_of(4) as usize);
    let mut fields: Vec<usize> = from.nest(9).nest(2).filter_map(field).collect();
    if fields.len() < 2 {
        fields = vec![length];
    }
    let set = Set {
        name: from.text(2)?,
        handle: from.be64(16).unwrap_or(0),
        interval: flags & INTERVAL != 0,
        dynamic: flags & EVAL != 0,
        key_type: from.be32(4).unwrap_or(0),
        fields,
        object_kind: from.be32(15),
        elements: Vec::new(),
    };
    Some((from.text(1)?, set))
}

/// The elements in one message of a dump.
pub(super) fn elements(from: Attributes<'_>) -> impl Iterator<Item = Element> + '_ {
    from.nest(3).map(|element| self::element(Attributes(element.value)))
}

fn element(from: Attributes<'_>) -> Element {
    const ENDS: u32 = 1;
    const CATCHES_ALL: u32 = 2;
    let flags = from.be32(3).unwrap_or(0);
    let bytes = |kind| from.nest(kind).get(1).map(<[u8]>::to_vec);
    let one = from.get(7).into_iter();
    let all: Vec<Attributes<'_>> = one.chain(from.nest(11).map(|a| a.value)).map(Attributes).collect();
    Element {
        key: bytes(1).unwrap_or_default(),
        last: bytes(10),
        ends: flags & ENDS != 0,
        catches_all: flags & CATCHES_ALL != 0,
        value: from.get(2).and_then(|data| value(Attributes(data))).or_else(|| from.text(9).map(Value::Object)),
        meter: all.iter().find_map(|expression| meter_of_element(&expression.text(1)?)),
        packets: all.iter().find_map(|expression| counted(*expression)),
    }
}

/// `NFTA_COUNTER_PACKETS`.
fn counted(expression: Attributes<'_>) -> Option<u64> {
    (expression.text(1)? == "counter").then(|| expression.nest(2).be64(2)).flatten()
}

/// What an element has is run once it is found: all but what only notes it may keep the packet from matching.
pub(super) fn meter_of_element(name: &str) -> Option<Meter> {
    match name {
        "counter" | "last" => None,
        other => Some(meter(other).unwrap_or(Meter::Other)),
    }
}

/// Expressions that let only some packets pass, by the kernel's name.
pub(super) fn meter(name: &str) -> Option<Meter> {
    match name {
        "limit" => Some(Meter::Limit),
        "quota" => Some(Meter::Quota),
        "connlimit" => Some(Meter::Connections),
        _ => None,
    }
}

/// `NFTA_DATA_…`.
pub(super) fn value(from: Attributes<'_>) -> Option<Value> {
    match from.get(1) {
        Some(bytes) => Some(Value::Bytes(bytes.to_vec())),
        None => Some(Value::Verdict(verdict(Attributes(from.get(2)?))?)),
    }
}

pub(super) fn verdict(from: Attributes<'_>) -> Option<Verdict> {
    let code = from.be32(1)?.cast_signed();
    let to = || from.text(2).unwrap_or_default();
    Some(match code {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -2 => Verdict::Break,
        -3 => Verdict::Jump(to()),
        -4 => Verdict::Goto(to()),
        -5 => Verdict::Return,
        // The queue's number is in the upper half.
        _ if code & 0xff == 3 => Verdict::Queue,
        _ => Verdict::Other(code),
    })
}

/// An object, and its table's name.
pub(super) fn object(from: Attributes<'_>) -> Option<(String, Object)> {
    Some((from.text(1)?, Object { name: from.text(2)?, kind: from.be32(3)? }))
}

/// `NFT_REG_1` to `NFT_REG_4` are sixteen bytes each, `NFT_REG32_00` on four; the verdict's register is none.
pub(super) fn register(number: u32) -> Option<Register> {
    match number {
        1..=4 => Some(number as usize * 16),
        8..=23 => Some((number as usize - 8) * 4 + 16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::push;
    use super::*;

    fn expression(name: &[u8], data: &[(u16, u64)]) -> Vec<u8> {
        let (mut inner, mut bytes) = (Vec::new(), Vec::new());
        data.iter().for_each(|(kind, number)| push(&mut inner, *kind, &number.to_be_bytes()));
        push(&mut bytes, 1, name);
        push(&mut bytes, 2, &inner);
        bytes
    }

    #[test]
    fn what_an_element_counts_does_not_hinder_and_all_else_may() {
        let counter = expression(b"counter\0", &[(1, 420), (2, 7)]);
        let of = |expressions: &[&[u8]]| {
            let (mut list, mut bytes) = (Vec::new(), Vec::new());
            expressions.iter().for_each(|expression| push(&mut list, 1, expression));
            match expressions {
                [one] => push(&mut bytes, 7, one),
                _ => push(&mut bytes, 11, &list),
            }
            let element = element(Attributes(&bytes));
            (element.packets, element.meter)
        };
        assert_eq!(of(&[&counter]), (Some(7), None));
        assert_eq!(of(&[]), (None, None));
        let (limit, last, new) = (expression(b"limit\0", &[]), expression(b"last\0", &[]), expression(b"new\0", &[]));
        assert_eq!(of(&[&limit]), (None, Some(Meter::Limit)));
        assert_eq!(of(&[&last, &counter, &limit]), (Some(7), Some(Meter::Limit)));
        assert_eq!(of(&[&counter, &new]), (Some(7), Some(Meter::Other)));
    }

    #[test]
    fn registers_of_either_size_share_one_file() {
        assert_eq!(register(1), register(8));
        assert_eq!(register(2), register(12));
        assert_eq!(register(23), Some(76));
        assert_eq!(register(0), None);
        assert_eq!(register(24), None);
    }

    #[test]
    fn verdicts_by_the_kernels_codes() {
        let verdict_of = |code: i32| {
            let mut bytes = Vec::new();
            push(&mut bytes, 1, &code.to_be_bytes());
            push(&mut bytes, 2, b"there\0");
            verdict(Attributes(&bytes)).expect("a code")
        };
        assert_eq!(verdict_of(0), Verdict::Drop);
        assert_eq!(verdict_of(-3), Verdict::Jump("there".to_owned()));
        assert_eq!(verdict_of(3 | 7 << 16), Verdict::Queue);
        assert_eq!(verdict_of(77), Verdict::Other(77));
    }

    #[test]
    fn comments_are_found_among_other_data_of_users() {
        assert_eq!(user_text(b"\x01\x02ab\x00\x03hi\0", 0).as_deref(), Some("hi"));
        assert_eq!(user_text(b"\x00\x09cut", 0), None);
    }
}
