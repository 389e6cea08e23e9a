//! nft's words for what the rules need: small constructors over `nftables::schema` (libnftables-json(5)).

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use nftables::expr::{CT, Expression, Fib, FibFlag, FibResult, Map, Meta, MetaKey, NamedExpression, Payload};
use nftables::expr::{PayloadField, Prefix, SetItem};
use nftables::stmt::{Counter, JumpTarget, Match, NAT, NATFamily, Operator, Statement};

use crate::model::Protocol;

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

/// The destination is an address of the host.
pub(super) fn to_this_host() -> Stmt {
    let fib = Fib { result: FibResult::Type, flags: [FibFlag::Daddr].into() };
    equal(Expression::Named(NamedExpression::Fib(fib)), text("local"))
}

/// The packet belongs to a flow that was let through before, or is an ICMP error about one.
pub(super) fn known_flow() -> Stmt {
    let states = Expression::List(vec![text("established"), text("related")]);
    matching(conntrack("state"), Operator::IN, states)
}

/// The flow's destination was rewritten.
pub(super) fn redirected() -> Stmt {
    matching(conntrack("status"), Operator::IN, text("dnat"))
}

pub(super) fn counted() -> Stmt {
    Statement::Counter(Counter::Anonymous(None))
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

/// Rewrites the destination to what two maps hold under the key; without an entry, nothing happens.
pub(super) fn redirect_to(key: &Expr, addresses: &'static str, ports: &'static str) -> Stmt {
    let lookup = |map: &'static str| {
        let map = Map { key: key.clone(), data: text(format!("@{map}")) };
        Some(Expression::Named(NamedExpression::Map(Box::new(map))))
    };
    Statement::DNAT(Some(NAT {
        addr: lookup(addresses),
        port: lookup(ports),
        family: Some(NATFamily::IP),
        flags: None,
    }))
}
