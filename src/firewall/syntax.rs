//! nft's words for what the rules need: small constructors over `nftables::schema` (libnftables-json(5)).

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use nftables::expr::{BinaryOperation, CT, CTDir, Elem, Expression, Fib, FibFlag, FibResult, Map, Meta, MetaKey};
use nftables::expr::{NamedExpression, Payload, PayloadField, Prefix, Range, SetItem};
use nftables::stmt::{
    Counter, JumpTarget, Limit, Log, Mangle, Match, Meter, NAT, NATFamily, Operator, Statement, VerdictMap,
};

use super::names::{self, Cause, SetName};
use crate::model::{MacAddr, PortRange, Protocol};

/// Log lines a second, of one cause and one container, and how many may come at once.
const LINES: (u32, u32) = (10, 20);
/// Seconds that a container's rate is kept after its last packet: until it has its burst again, and more.
const RATE_KEPT: u32 = 60;
/// Seconds that a container's count is kept in the kernel after its last packet; the daemon reads it more often.
const COUNT_KEPT: u32 = 3600;
/// Bytes of a packet that the log gets: all headers.
const HEADERS: u32 = 128;

pub(super) type Expr = Expression<'static>;
pub(super) type Stmt = Statement<'static>;

pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Expr {
    Expression::String(text.into())
}

pub(super) fn address(address: Ipv4Addr) -> Expr {
    text(address.to_string())
}

pub(super) fn port(port: u16) -> Expr {
    Expression::Number(port.into())
}

/// From the first to the last.
pub(super) fn ports(run: PortRange) -> Expr {
    Expression::Range(Box::new(Range { range: [port(run.first), port(run.last)] }))
}

pub(super) fn mac(mac: MacAddr) -> Expr {
    text(mac.to_string())
}

/// The elements of a set, as a value to compare with.
pub(super) fn held_in(set: SetName) -> Expr {
    text(set.reference())
}

/// Only these bits of it.
pub(super) fn masked(value: Expr, mask: &'static str) -> Expr {
    Expression::BinaryOperation(Box::new(BinaryOperation::AND(value, text(mask))))
}

pub(super) fn protocol(protocol: Protocol) -> Expr {
    text(protocol.as_str())
}

pub(super) fn prefix(network: Ipv4Network) -> Expr {
    let addr = Box::new(address(network.network()));
    Expression::Named(NamedExpression::Prefix(Prefix { addr, len: network.prefix().into() }))
}

/// The values one after the other, as a key or an element of a concatenated type.
pub(super) fn concat(parts: Vec<Expr>) -> Expr {
    Expression::Named(NamedExpression::Concat(parts))
}

/// An anonymous set.
pub(super) fn any_of(values: impl IntoIterator<Item = Expr>) -> Expr {
    Expression::Named(NamedExpression::Set(values.into_iter().map(SetItem::Element).collect()))
}

pub(super) fn field(protocol: &'static str, field: &'static str) -> Expr {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

pub(super) fn source() -> Expr {
    field("ip", "saddr")
}

pub(super) fn destination() -> Expr {
    field("ip", "daddr")
}

/// The destination port of whichever transport protocol.
pub(super) fn destination_port() -> Expr {
    field("th", "dport")
}

pub(super) fn meta(key: MetaKey) -> Expr {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

/// A field of the flow's first packet, before any rewriting.
pub(super) fn original(key: &'static str) -> Expr {
    let dir = Some(CTDir::Original);
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir }))
}

fn conntrack(key: &'static str) -> Expr {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None }))
}

fn matching(left: Expr, op: Operator, right: Expr) -> Stmt {
    Statement::Match(Match { left, right, op })
}

pub(super) fn equal(left: Expr, right: Expr) -> Stmt {
    matching(left, Operator::EQ, right)
}

pub(super) fn unequal(left: Expr, right: Expr) -> Stmt {
    matching(left, Operator::NEQ, right)
}

/// In by this interface. Names never end in `*`: the bridge refused such.
pub(super) fn in_by(interface: &str) -> Stmt {
    equal(meta(MetaKey::Iifname), text(interface.to_owned()))
}

/// Out by this interface.
pub(super) fn out_by(interface: &str) -> Stmt {
    equal(meta(MetaKey::Oifname), text(interface.to_owned()))
}

/// The packet's mark has none of these bits.
pub(super) fn unmarked(bits: u32) -> Stmt {
    let masked = BinaryOperation::AND(meta(MetaKey::Mark), Expression::Number(bits));
    equal(Expression::BinaryOperation(Box::new(masked)), Expression::Number(0))
}

/// These bits of the packet's mark become 1.
pub(super) fn mark(bits: u32) -> Stmt {
    set_mark(BinaryOperation::OR(vec![meta(MetaKey::Mark), Expression::Number(bits)]))
}

/// These bits of the packet's mark become 0.
pub(super) fn unmark(bits: u32) -> Stmt {
    set_mark(BinaryOperation::AND(meta(MetaKey::Mark), Expression::Number(!bits)))
}

/// The packet's mark becomes this.
pub(super) fn set_whole_mark(value: u32) -> Stmt {
    Statement::Mangle(Mangle { key: meta(MetaKey::Mark), value: Expression::Number(value) })
}

fn set_mark(value: BinaryOperation<'static>) -> Stmt {
    Statement::Mangle(Mangle { key: meta(MetaKey::Mark), value: Expression::BinaryOperation(Box::new(value)) })
}

/// The source is an address of the host.
pub(super) fn not_from_this_host() -> Stmt {
    let fib = Fib { result: FibResult::Type, flags: [FibFlag::Saddr].into() };
    unequal(Expression::Named(NamedExpression::Fib(fib)), text("local"))
}

/// The destination is an address of the host.
pub(super) fn to_this_host() -> Stmt {
    let fib = Fib { result: FibResult::Type, flags: [FibFlag::Daddr].into() };
    equal(Expression::Named(NamedExpression::Fib(fib)), text("local"))
}

/// One of conntrack's states: `new`, `established` (which replies are), `related` (ICMP errors about a flow).
pub(super) fn in_state(states: &[&'static str]) -> Stmt {
    let states = match states {
        [one] => text(*one),
        several => Expression::List(several.iter().map(|state| text(*state)).collect()),
    };
    matching(conntrack("state"), Operator::IN, states)
}

/// The flow's destination was rewritten.
pub(super) fn redirected() -> Stmt {
    matching(conntrack("status"), Operator::IN, text("dnat"))
}

pub(super) fn resets() -> Stmt {
    matching(field("tcp", "flags"), Operator::IN, text("rst"))
}

/// Counts by itself.
pub(super) fn counted() -> Stmt {
    Statement::Counter(Counter::Anonymous(None))
}

pub(super) fn counted_as(name: &'static str) -> Stmt {
    Statement::Counter(Counter::Named(name.into()))
}

/// Ends the rule for packets that come too often.
pub(super) fn seldom() -> Stmt {
    let (rate, burst) = LINES;
    Statement::Limit(Limit {
        rate,
        rate_unit: None,
        per: Some("second".into()),
        burst: Some(burst),
        burst_unit: None,
        inv: None,
    })
}

/// The same for the packets of each key by themselves.
pub(super) fn seldom_by(cause: Cause, key: &Expr) -> Stmt {
    meter(names::rates(cause), key, RATE_KEPT, seldom())
}

/// Counts the packets of each key.
pub(super) fn counted_by(cause: Cause, key: &Expr) -> Stmt {
    meter(names::counts(cause), key, COUNT_KEPT, counted())
}

/// A statement that each key has for itself, until it has not come for so many seconds.
fn meter(name: String, key: &Expr, seconds: u32, stmt: Stmt) -> Stmt {
    let val = Box::new(key.clone());
    let key = Elem { val, timeout: Some(seconds), expires: None, comment: None, counter: None };
    let key = Expression::Named(NamedExpression::Elem(key));
    Statement::Meter(Meter { name: name.into(), key, stmt: Box::new(stmt) })
}

pub(super) fn log(prefix: String, group: u16) -> Stmt {
    Statement::Log(Some(Log {
        prefix: Some(prefix.into()),
        group: Some(group.into()),
        snaplen: Some(HEADERS),
        queue_threshold: None,
        level: None,
        flags: None,
    }))
}

pub(super) fn accept() -> Stmt {
    Statement::Accept(None)
}

pub(super) fn drop() -> Stmt {
    Statement::Drop(None)
}

pub(super) fn leave() -> Stmt {
    Statement::Return(None)
}

pub(super) fn jump(chain: &'static str) -> Stmt {
    Statement::Jump(JumpTarget { target: chain.into() })
}

pub(super) fn goto(chain: &'static str) -> Stmt {
    Statement::Goto(JumpTarget { target: chain.into() })
}

/// The address that leads out by the interface becomes the source.
pub(super) fn masquerade() -> Stmt {
    Statement::Masquerade(None)
}

/// The same, with a source port of these; one that is among them already is kept while it is free.
pub(super) fn masquerade_to(ports: Expr) -> Stmt {
    Statement::Masquerade(Some(NAT { addr: None, port: Some(ports), family: None, flags: None }))
}

/// A verdict by value; other values go on.
pub(super) fn choose(key: Expr, verdicts: impl IntoIterator<Item = (Expr, Stmt)>) -> Stmt {
    let verdicts = verdicts.into_iter().map(|(value, verdict)| SetItem::MappingStatement(value, verdict));
    let data = Expression::Named(NamedExpression::Set(verdicts.collect()));
    Statement::VerdictMap(VerdictMap { key, data })
}

fn rewritten(addr: Expr, port: Option<Expr>) -> Stmt {
    Statement::DNAT(Some(NAT { addr: Some(addr), port, family: Some(NATFamily::IP), flags: None }))
}

/// Rewrites the destination to what maps hold under the key; without an entry, nothing happens. Without a map for it,
/// the port stays.
pub(super) fn redirect_to(key: &Expr, addresses: SetName, ports: Option<SetName>) -> Stmt {
    let lookup = |map: SetName| {
        let map = Map { key: key.clone(), data: held_in(map) };
        Expression::Named(NamedExpression::Map(Box::new(map)))
    };
    rewritten(lookup(addresses), ports.map(lookup))
}

/// Rewrites the destination.
pub(super) fn redirect_to_port(to: Ipv4Addr, to_port: u16) -> Stmt {
    rewritten(address(to), Some(port(to_port)))
}
