//! Where rules tell ports apart: between two such places in a row all ports fare alike.
//!
//! The places are all numbers of two bytes that any rule, set or routing rule holds: too many rather than too few. A rule
//! that calculates with ports (masks them, or reads both at once) tells them apart in ways that no list has; then there
//! is no such list.

use std::collections::BTreeSet;

use super::bytecode::{Comparison, Element, Expression, Layer, Register, Rule, Ruleset, Set, Value};
use super::network::Network;
use super::packet::{ICMP, ICMPV6};
use super::xt::Extension;

/// The first ports of rows that fare alike, in order; `None` where there is no telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports(Option<BTreeSet<u16>>);

impl Ports {
    pub(super) fn of(ruleset: &Ruleset, network: &Network) -> Self {
        let mut starts = Starts(BTreeSet::new());
        for table in &ruleset.tables {
            table.sets.iter().for_each(|set| starts.set(set));
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                if calculates(rule) {
                    return Self(None);
                }
                rule.expressions.iter().for_each(|expression| starts.expression(expression));
            }
        }
        for rule in &network.rules {
            for (low, high) in [rule.source_ports, rule.destination_ports].into_iter().flatten() {
                starts.row(low, high);
            }
        }
        // By `tproxy`, who listens where tells ports apart.
        network.listeners.iter().flatten().for_each(|(socket, _)| starts.row(socket.port, socket.port));
        Self(Some(starts.0))
    }

    /// The rows of `first` to `last` that fare alike; `None` where there is no telling.
    pub(super) fn rows(&self, first: u16, last: u16) -> Option<Vec<(u16, u16)>> {
        let starts = self.0.as_ref()?;
        let inner = starts.range(first..=last).copied().filter(|start| *start != first);
        let firsts: Vec<u16> = std::iter::once(first).chain(inner).collect();
        let lasts = firsts[1..].iter().map(|next| next - 1).chain([last]);
        Some(firsts.iter().copied().zip(lasts).collect())
    }
}

/// The first ports of rows that fare alike under these rules, of all ports in order; `None` where there is no telling.
pub fn told_apart(ruleset: &Ruleset, network: &Network) -> Option<Vec<u16>> {
    let rows = Ports::of(ruleset, network).rows(1, u16::MAX)?;
    Some(rows.into_iter().map(|(first, _)| first).collect())
}

struct Starts(BTreeSet<u16>);

impl Starts {
    fn row(&mut self, first: u16, last: u16) {
        self.0.insert(first);
        self.0.extend(last.checked_add(1));
    }

    /// In network order, as registers have ports.
    fn bytes(&mut self, bytes: &[u8]) {
        if let [high, low] = bytes {
            let port = u16::from_be_bytes([*high, *low]);
            self.row(port, port);
        }
    }

    fn set(&mut self, set: &Set) {
        let lengths = set.fields.clone();
        for element in &set.elements {
            self.element(&lengths, element);
        }
    }

    fn element(&mut self, fields: &[usize], element: &Element) {
        let mut field = |key: &[u8]| {
            let mut at = 0;
            for length in fields {
                // Fields of concatenations are padded to four: a port's are its first two, and whatever else is in
                // four bytes does no harm.
                let port = match (*length, fields.len()) {
                    (2, 1) => key.get(at..at + 2),
                    (4, 2..) if key.get(at + 2..at + 4) == Some(&[0, 0]) => key.get(at..at + 2),
                    _ => None,
                };
                if let Some(port) = port {
                    self.bytes(port);
                }
                at += length;
            }
        };
        field(&element.key);
        if let Some(last) = &element.last {
            field(last);
        }
        if let Some(Value::Bytes(value)) = &element.value {
            self.bytes(value);
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Compare { with, .. } => self.bytes(with),
            Expression::Range { low, high, .. } => {
                self.bytes(low);
                self.bytes(high);
            }
            Expression::Immediate { value, .. } => self.bytes(value.get(..2).unwrap_or_default()),
            Expression::Extension(Extension::Multiport { ranges, .. }) => {
                ranges.iter().for_each(|(low, high)| self.row(*low, *high));
            }
            Expression::Extension(Extension::Conntrack(asked)) => {
                asked.ports.iter().flatten().for_each(|(low, high, _)| self.row(*low, *high));
            }
            Expression::Extension(Extension::Nat { ports: Some((low, high)), .. }) => self.row(*low, *high),
            _ => {}
        }
    }
}

/// Whether a rule does anything with a port but to compare it or to look it up.
fn calculates(rule: &Rule) -> bool {
    /// Where the transport header begins after IPv4's shortest, and where IPv6 has its destination.
    const AFTER_IPV4: usize = 20;
    const IPV6_DESTINATION: usize = 24;
    let mut ports: Vec<Register> = Vec::new();
    let mut protocol: Option<Register> = None;
    let mut without_ports = false;
    rule.expressions.iter().any(|expression| {
        let calculates = match expression {
            Expression::Payload { layer: Layer::Transport, .. } if without_ports => false,
            Expression::Payload { layer: Layer::Transport, offset, length, .. } if *offset < 4 => {
                !matches!((offset, length), (0 | 2, 2))
            }
            Expression::SetPayload { layer: Layer::Transport, offset, .. } => *offset < 4,
            Expression::Payload { layer: Layer::Network, offset, .. }
            | Expression::SetPayload { layer: Layer::Network, offset, .. } => {
                *offset >= AFTER_IPV4 && *offset != IPV6_DESTINATION
            }
            Expression::Bitwise { from, .. }
            | Expression::Byteorder { from, .. }
            | Expression::SetMeta { from, .. }
            | Expression::SetCt { from, .. } => ports.contains(from),
            _ => false,
        };
        if let Some(to) = written(expression) {
            ports.retain(|register| *register != to);
            protocol = is_protocol(expression).then_some(to).or(protocol.filter(|register| *register != to));
        }
        if let Expression::Compare { from, how: Comparison::Equal, with } = expression {
            without_ports |= protocol == Some(*from) && matches!(with.as_slice(), [ICMP | ICMPV6]);
        }
        if let Expression::Payload { to, layer: Layer::Transport, offset: 0..4, .. }
        | Expression::Ct { to, key: 11 | 12, .. } = expression
        {
            ports.push(*to);
        }
        calculates
    })
}

/// Whether an expression loads the number of the protocol above IP.
fn is_protocol(expression: &Expression) -> bool {
    const L4PROTO: u32 = 16;
    let in_ipv4 = matches!(expression, Expression::Payload { layer: Layer::Network, offset: 9, length: 1, .. });
    in_ipv4 || matches!(expression, Expression::Meta { key: L4PROTO, .. })
}

/// The register that an expression writes.
fn written(expression: &Expression) -> Option<Register> {
    match expression {
        Expression::Immediate { to, .. }
        | Expression::Bitwise { to, .. }
        | Expression::Byteorder { to, .. }
        | Expression::Payload { to, .. }
        | Expression::Meta { to, .. }
        | Expression::Ct { to, .. }
        | Expression::Fib { to, .. }
        | Expression::UnknownValue { to, .. } => Some(*to),
        Expression::Lookup { to, .. } => *to,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytecode::{Bitwise, Chain, Family, Table};
    use super::*;

    fn ruleset(expressions: Vec<Expression>, sets: Vec<Set>) -> Ruleset {
        let rule = Rule { handle: 1, comment: None, expressions };
        let chain = Chain { name: "c".to_owned(), handle: 1, base: None, rules: vec![rule] };
        let table = Table {
            family: Family::Inet,
            name: "t".to_owned(),
            dormant: false,
            chains: vec![chain],
            sets,
            objects: vec![],
        };
        Ruleset { generation: 1, tables: vec![table] }
    }

    fn rows(ruleset: &Ruleset, first: u16, last: u16) -> Option<Vec<(u16, u16)>> {
        Ports::of(ruleset, &Network::default()).rows(first, last)
    }

    fn port() -> Expression {
        Expression::Payload { to: 16, layer: Layer::Transport, offset: 2, length: 2 }
    }

    #[test]
    fn rows_end_where_a_rule_or_a_set_tells_ports_apart() {
        let compare = Expression::Compare { from: 16, how: Comparison::Less, with: 100_u16.to_be_bytes().to_vec() };
        let keys = |port: u16| [&[10, 0, 0, 1][..], &port.to_be_bytes(), &[0, 0]].concat();
        let element = Element { key: keys(200), last: Some(keys(209)), ..Element::default() };
        let set = Set {
            name: "s".to_owned(),
            handle: 1,
            interval: true,
            dynamic: false,
            key_type: 0,
            fields: vec![4, 4],
            object_kind: None,
            elements: vec![element],
        };
        let ruleset = ruleset(vec![port(), compare], vec![set]);
        let all = rows(&ruleset, 50, 300).expect("nothing is calculated");
        assert_eq!(all, [(50, 99), (100, 100), (101, 199), (200, 200), (201, 208), (209, 209), (210, 300)]);
        assert_eq!(rows(&ruleset, 205, 205), Some(vec![(205, 205)]));
        assert_eq!(rows(&ruleset, 65000, 65535), Some(vec![(65000, 65535)]));
    }

    #[test]
    fn where_ports_are_calculated_with_there_is_no_telling() {
        let odd = Bitwise::MaskXor { mask: vec![0, 1], xor: vec![0, 0] };
        let odd = Expression::Bitwise { from: 16, to: 16, length: 2, what: odd };
        assert_eq!(rows(&ruleset(vec![port(), odd], vec![]), 1, 2), None);
        let echo = |protocol| {
            vec![
                Expression::Meta { to: 16, key: 16 },
                Expression::Compare { from: 16, how: Comparison::Equal, with: vec![protocol] },
                Expression::Payload { to: 16, layer: Layer::Transport, offset: 0, length: 1 },
            ]
        };
        assert_eq!(rows(&ruleset(echo(1), vec![]), 1, 2), Some(vec![(1, 2)]), "ICMP has no ports");
        assert_eq!(rows(&ruleset(echo(6), vec![]), 1, 2), None);
        let both = Expression::Payload { to: 16, layer: Layer::Transport, offset: 0, length: 4 };
        assert_eq!(rows(&ruleset(vec![both], vec![]), 1, 2), None);
    }
}
