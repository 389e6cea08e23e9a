//! The kernel's rules as the kernel holds them: expressions over registers (linux/netfilter/nf_tables.h).
//!
//! This is what runs, so evaluating it needs no opinion about what a listing meant. `nft -j` would lose the matches and
//! targets that iptables-nft leaves in rules (`xt`), all but their names, and prints garbage for tables with an owner.

use super::xt::Extension;

/// All tables, in the kernel's order, with the generation that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// `NFTA_GEN_ID`: grows with each transaction.
    pub generation: u32,
    /// Tables in the order of their making.
    pub tables: Vec<Table>,
}

/// An address family of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "nft's own names")]
pub enum Family {
    Inet,
    Ip,
    Arp,
    Netdev,
    Bridge,
    Ip6,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Whose packets it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its chains are not registered.
    pub dormant: bool,
    /// Chains in the order of their making.
    pub chains: Vec<Chain>,
    /// Sets and maps, anonymous ones included.
    pub sets: Vec<Set>,
    /// Named stateful objects.
    pub objects: Vec<Object>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its handle.
    pub handle: u64,
    /// Where the kernel calls it; others are jumped to.
    pub base: Option<Base>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// Where the kernel calls a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// Lower runs earlier.
    pub priority: i32,
    /// What it is for.
    pub kind: ChainKind,
    /// What happens at its end.
    pub accepts: bool,
    /// Only packets of these devices (netdev, and inet's ingress).
    pub devices: Vec<String>,
}

/// A place in the kernel where chains are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "nft's own names")]
pub enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of each flow.
    Nat,
    /// Sees every packet, and has a changed one routed anew.
    Route,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its handle, by which `nft` names it.
    pub handle: u64,
    /// `comment "…"`.
    pub comment: Option<String>,
    /// What the kernel runs.
    pub expressions: Vec<Expression>,
}

/// A register's first byte in the file of registers.
pub type Register = usize;

/// What ends or diverts the way through a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ends this base chain.
    Accept,
    /// Ends the packet.
    Drop,
    /// The next expression.
    Continue,
    /// The next rule.
    Break,
    /// Back to the caller; at a base chain's level its policy.
    Return,
    /// To a chain, by name, and back.
    Jump(String),
    /// To a chain, by name; back to the caller's caller.
    Goto(String),
    /// To a program.
    Queue,
    /// What this kernel has and we do not know.
    Other(i32),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a bitwise expression does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Bitwise {
    MaskXor { mask: Vec<u8>, xor: Vec<u8> },
    ShiftLeft(u32),
    ShiftRight(u32),
    And(Operand),
    Or(Operand),
    Xor(Operand),
}

/// The second operand of a bitwise expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Operand {
    Register(Register),
    Constant(Vec<u8>),
}

/// Where a payload expression counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Layer {
    Link,
    Network,
    Transport,
}

/// Which address translation a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Of the source.
    Source,
    /// Of the destination.
    Destination,
    /// Of the source, to the address of the way out.
    Masquerade,
    /// Of the destination, to this machine.
    Redirect,
}

/// Registers that hold the first and the last value of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub struct Between {
    pub min: Register,
    pub max: Register,
}

/// What may pass or not whatever the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "nft's own names")]
pub enum Meter {
    Limit,
    Quota,
    Connections,
    /// What an element of a set has, and we do not know.
    Other,
}

/// One expression. Numbers that name keys are the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "nf_tables.h documents each")]
pub enum Expression {
    Immediate {
        to: Register,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Compare {
        from: Register,
        how: Comparison,
        with: Vec<u8>,
    },
    Range {
        from: Register,
        inside: bool,
        low: Vec<u8>,
        high: Vec<u8>,
    },
    Bitwise {
        from: Register,
        to: Register,
        length: usize,
        what: Bitwise,
    },
    Byteorder {
        from: Register,
        to: Register,
        length: usize,
        size: usize,
    },
    Payload {
        to: Register,
        layer: Layer,
        offset: usize,
        length: usize,
    },
    SetPayload {
        from: Register,
        layer: Layer,
        offset: usize,
        length: usize,
    },
    Meta {
        to: Register,
        key: u32,
    },
    SetMeta {
        from: Register,
        key: u32,
    },
    Ct {
        to: Register,
        key: u32,
        reply: Option<bool>,
    },
    SetCt {
        from: Register,
        key: u32,
        reply: Option<bool>,
    },
    Fib {
        to: Register,
        result: u32,
        flags: u32,
    },
    Lookup {
        set: String,
        from: Register,
        to: Option<Register>,
        verdicts: bool,
        inverted: bool,
    },
    Dynset {
        set: String,
        from: Register,
        deletes: bool,
        inverted: bool,
        metered: Option<Meter>,
    },
    Nat {
        what: Translation,
        addresses: Option<Between>,
        ports: Option<Between>,
        netmap: bool,
    },
    Reject {
        how: Reject,
    },
    Meter(Meter),
    Object {
        kind: u32,
    },
    ObjectOf {
        set: String,
        from: Register,
    },
    /// Counts, logs, or changes what no verdict depends on.
    Transparent(&'static str),
    Notrack,
    /// Gives it to a socket of this machine, if one waits there that takes what is another's.
    Tproxy {
        address: Option<Register>,
        port: Option<Register>,
    },
    Extension(Extension),
    /// A value that is not modelled, by name; reading it may also end the rule.
    UnknownValue {
        to: Register,
        name: String,
    },
    /// What is not modelled, by name.
    Unknown(String),
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "as they read")]
pub enum Reject {
    Icmp(u8),
    TcpReset,
    /// `enum ipt_reject_with` or `ip6t_reject_with`, whose numbers differ.
    Extension(u32),
}

/// A named object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// `NFT_OBJECT_…`.
    pub kind: u32,
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name; anonymous ones are `__set%d` and `__map%d`.
    pub name: String,
    /// Its handle.
    pub handle: u64,
    /// Elements are the ends of ranges.
    pub interval: bool,
    /// Rules may add to it.
    pub dynamic: bool,
    /// nft's number for what its keys are, of fields six bits each; the kernel only keeps it.
    pub key_type: u32,
    /// The bytes of each field of a concatenation as they lie in registers (each padded to four); one for a plain key.
    pub fields: Vec<usize>,
    /// `NFT_OBJECT_…` of what a map of objects maps to.
    pub object_kind: Option<u32>,
    /// Elements in the kernel's order.
    pub elements: Vec<Element>,
}

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The key, or the first of a range; empty for the element that catches all others.
    pub key: Vec<u8>,
    /// The last of a range, of sets of concatenations.
    pub last: Option<Vec<u8>>,
    /// It ends a range (exclusive), in sets of plain keys.
    pub ends: bool,
    /// It matches what no other does.
    pub catches_all: bool,
    /// What a map maps it to.
    pub value: Option<Value>,
    /// It lets only some packets match.
    pub meter: Option<Meter>,
    /// Packets that it has counted, where it counts.
    pub packets: Option<u64>,
}

/// What a map's element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they read")]
pub enum Value {
    Bytes(Vec<u8>),
    Verdict(Verdict),
    Object(String),
}

impl Family {
    /// From `nfgenmsg`.
    pub(super) fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }

    /// nft's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
            Self::Ip6 => "ip6",
        }
    }
}

impl Hook {
    /// nft's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
        }
    }
}

impl Ruleset {
    /// A table.
    pub fn table(&self, family: Family, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.family == family && table.name == name)
    }
}
