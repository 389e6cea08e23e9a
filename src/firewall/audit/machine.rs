//! The machine that runs a chain's rules over a packet (net/netfilter/nf_tables_core.c), as far as it is modelled.

use super::bytecode::{
    Between, Comparison, Expression, Family, Hook, Layer, Meter, Register, Reject, Translation, Value, Verdict,
};
use super::choices::Choices;
use super::compiled::{ChainAt, Compiled};
use super::expressions::of_object;
use super::frame::Frame;
use super::network::Network;
use super::packet::{ARP, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP};
use super::registers::{Maybe, Registers};
use super::sets::Found;
use super::stations::Stations;
use super::taken;
use super::trace::{RuleAt, RuleEnd, Trace};
use super::{choices, exits, extensions, loads};

/// How a base chain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Accept,
    Drop,
    Reject(Reject),
    /// Nothing can be said, and why.
    Unknown(String),
}

/// Address translation that a rule asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) what: Translation,
    /// First and last address in network order; `None` inside: unknown.
    pub(super) addresses: Option<Option<(Vec<u8>, Vec<u8>)>>,
    /// First and last port; `None` inside: unknown.
    pub(super) ports: Option<Option<(u16, u16)>>,
}

/// What stays the same while a packet is evaluated, and what it collects.
pub(super) struct Evaluation<'a> {
    pub(super) compiled: &'a Compiled,
    pub(super) network: &'a Network,
    pub(super) stations: &'a Stations,
    pub(super) choices: &'a mut Choices,
    pub(super) trace: Trace,
    /// Keys that this packet itself has put into sets: table, set, key.
    pub(super) added: Vec<exits::Added>,
}

/// One base chain being run.
pub(super) struct Machine<'e, 'a> {
    pub(super) evaluation: &'e mut Evaluation<'a>,
    pub(super) frame: &'e mut Frame,
    pub(super) registers: Registers,
    pub(super) hook: Hook,
    pub(super) family: Family,
    table: usize,
    /// Translation that the deciding rule asked for.
    pub(super) asked: Option<Asked>,
    /// The rule that ended the chain; `None` is its policy.
    pub(super) decided: Option<RuleAt>,
}

/// What comes after an expression.
pub(super) enum Next<'a> {
    Expression,
    /// The rule does not match.
    Rule,
    Verdict(&'a Verdict),
    End(End),
}

/// nf_tables refuses rulesets with deeper jumps (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

impl<'e, 'a> Machine<'e, 'a> {
    pub(super) fn new(evaluation: &'e mut Evaluation<'a>, frame: &'e mut Frame, chain: ChainAt) -> Option<Self> {
        let base = evaluation.compiled.base(chain)?;
        let family = evaluation.compiled.table(chain.table).family;
        let hook = base.hook;
        let registers = Registers::new();
        Some(Self { evaluation, frame, registers, hook, family, table: chain.table, asked: None, decided: None })
    }

    /// `None` where an earlier run came by in the same state.
    pub(super) fn run_rules(&mut self, base: ChainAt, found: &mut exits::Found) -> Option<End> {
        let compiled = self.evaluation.compiled;
        let accepts = compiled.base(base).is_none_or(|base| base.accepts);
        let mut callers: Vec<(ChainAt, usize)> = Vec::new();
        let (mut chain, mut rule) = (base, 0);
        let mut asked = 0;
        loop {
            if rule >= compiled.chain(chain).rules.len() {
                let Some(caller) = callers.pop() else {
                    self.evaluation.trace.policy(base, accepts);
                    return Some(if accepts { End::Accept } else { End::Drop });
                };
                (chain, rule) = caller;
                continue;
            }
            let at = RuleAt { chain, rule };
            if asked < self.evaluation.choices.asked() {
                asked = self.evaluation.choices.asked();
                if self.evaluation.choices.is_new() && self.was_here(at, &callers, found) {
                    return None;
                }
            }
            rule += 1;
            let next = self.rule(at, compiled.expressions(at, self.evaluation.trace.wanted));
            if let Some(Next::End(_) | Next::Verdict(Verdict::Accept | Verdict::Drop)) = next {
                self.decided = Some(at);
            }
            let (to, back) = match next {
                None => continue,
                Some(Next::End(end)) => return Some(end),
                Some(Next::Verdict(Verdict::Accept)) => return Some(End::Accept),
                Some(Next::Verdict(Verdict::Drop)) => return Some(End::Drop),
                Some(Next::Verdict(Verdict::Return)) => {
                    rule = usize::MAX;
                    continue;
                }
                Some(Next::Verdict(Verdict::Jump(to))) => (to, true),
                Some(Next::Verdict(Verdict::Goto(to))) => (to, false),
                Some(_) => continue,
            };
            if back {
                callers.push((chain, rule));
            }
            match compiled.named_chain(chain.table, to) {
                Some(next) if callers.len() <= DEEPEST => (chain, rule) = (next, 0),
                _ => return Some(End::Unknown(format!("chain {to}, which a rule jumps to"))),
            }
        }
    }

    /// `None` where the rule does not decide.
    fn rule(&mut self, at: RuleAt, expressions: &'a [Expression]) -> Option<Next<'a>> {
        for expression in expressions {
            let next = match expression {
                // The way for most rules of most rulesets, without a call.
                Expression::Transparent(_) => continue,
                other => self.expression(other),
            };
            match next {
                Next::Expression if matches!(expression, Expression::Tproxy { .. }) => {
                    self.frame.taken_by = Some(at.into());
                }
                Next::Expression | Next::Verdict(Verdict::Continue) => {}
                Next::Rule | Next::Verdict(Verdict::Break) => {
                    self.evaluation.trace.rule(at, || RuleEnd::Mismatch);
                    return None;
                }
                Next::Verdict(Verdict::Queue) => return self.stop(at, "queue: a program decides".to_owned()),
                Next::Verdict(Verdict::Other(code)) => return self.stop(at, format!("verdict {code}")),
                Next::Verdict(verdict) => {
                    self.evaluation.trace.rule(at, || RuleEnd::Verdict(verdict.clone()));
                    return Some(Next::Verdict(verdict));
                }
                Next::End(End::Unknown(what)) => return self.stop(at, what),
                Next::End(end) => {
                    self.evaluation.trace.rule(at, || RuleEnd::End(end.clone()));
                    return Some(Next::End(end));
                }
            }
        }
        self.evaluation.trace.rule(at, || RuleEnd::Passed);
        None
    }

    fn stop(&mut self, at: RuleAt, what: String) -> Option<Next<'a>> {
        let end = End::Unknown(what);
        self.evaluation.trace.rule(at, || RuleEnd::End(end.clone()));
        Some(Next::End(end))
    }

    fn expression(&mut self, expression: &'a Expression) -> Next<'a> {
        match expression {
            Expression::Immediate { to, value } => self.store(*to, value),
            Expression::Verdict(verdict) => return Next::Verdict(verdict),
            Expression::Compare { from, how, with } => {
                let result = self.registers.compare(*from, *how, with);
                return self.when_usually(result, *how == Comparison::NotEqual);
            }
            Expression::Range { from, inside, low, high } => {
                let result = match self.registers.in_range(*from, low, high) {
                    Maybe::Unknown => Maybe::Unknown,
                    certain => Maybe::from((certain == Maybe::Yes) == *inside),
                };
                return self.when_usually(result, !*inside);
            }
            Expression::Bitwise { from, to, length, what } => self.registers.bitwise(*from, *to, *length, what),
            Expression::Byteorder { from, to, length, size } => self.registers.byteorder(*from, *to, *length, *size),
            Expression::Payload { to, layer, offset, length } => return self.payload(*to, *layer, *offset, *length),
            Expression::SetPayload { from, layer, offset, length } => {
                return self.set_payload(*from, *layer, *offset, *length);
            }
            Expression::Meta { to, key } => return loads::meta(self, *to, *key),
            Expression::SetMeta { from, key } => return loads::set_meta(self, *from, *key),
            Expression::Ct { to, key, reply } => return loads::ct(self, *to, *key, *reply),
            Expression::SetCt { from, key, reply } => return loads::set_ct(self, *from, *key, *reply),
            Expression::Fib { to, result, flags } => return loads::fib(self, *to, *result, *flags),
            Expression::Lookup { set, from, to, verdicts, inverted } => {
                return self.lookup(set, *from, *to, *verdicts, *inverted);
            }
            Expression::Dynset { set, from, deletes, inverted, metered } => {
                return self.dynset(set, *from, *deletes, *inverted, *metered);
            }
            Expression::Nat { what, addresses, ports, netmap } => return self.nat(*what, *addresses, *ports, *netmap),
            Expression::Reject { how } => return Next::End(End::Reject(*how)),
            Expression::Meter(meter) => return self.metered(*meter),
            Expression::Object { kind } => return self.object(*kind),
            Expression::ObjectOf { set, from } => return self.object_of(set, *from),
            Expression::Transparent(_) => {}
            Expression::Notrack => self.frame.exempt(),
            Expression::Tproxy { address, port } => return taken::tproxy(self, *address, *port),
            Expression::Extension(extension) => return extensions::run(self, extension),
            Expression::UnknownValue { to, name } => {
                self.registers.store_unknown(*to, 16, name);
                if !self.presume(|| format!("{name}: whether there is a value")) {
                    return Next::Rule;
                }
            }
            Expression::Unknown(name) => return Next::End(End::Unknown(name.clone())),
        }
        Next::Expression
    }

    fn store(&mut self, to: Register, value: &[u8]) {
        self.registers.store(to, value);
    }

    /// A question of which the usual answer is no.
    pub(super) fn choose(&mut self, question: impl FnOnce() -> String) -> bool {
        self.evaluation.choices.choose(false, question)
    }

    /// A question of which the usual answer is yes.
    pub(super) fn presume(&mut self, question: impl FnOnce() -> String) -> bool {
        self.evaluation.choices.choose(true, question)
    }

    /// Goes on where the result is yes.
    pub(super) fn when(&mut self, result: Maybe) -> Next<'static> {
        self.when_usually(result, false)
    }

    /// The same, where an unknown result usually is this.
    fn when_usually(&mut self, result: Maybe, usual: bool) -> Next<'static> {
        let yes = match result {
            Maybe::Yes => true,
            Maybe::No => false,
            Maybe::Unknown => {
                let why = self.registers.why().to_owned();
                self.evaluation.choices.choose(usual, || why)
            }
        };
        if yes { Next::Expression } else { Next::Rule }
    }

    pub(super) fn metered(&mut self, meter: Meter) -> Next<'static> {
        let question = match meter {
            Meter::Limit => "limit: whether the rate allows it",
            Meter::Quota => "quota: whether it is used up",
            Meter::Connections => "ct count: how many flows there are",
            Meter::Other => "an element's own expression: whether it lets the packet match",
        };
        if self.choose(|| question.to_owned()) { Next::Expression } else { Next::Rule }
    }

    /// Where a layer's bytes begin; `None` where the packet has no such layer.
    fn begin(&self, layer: Layer) -> Option<usize> {
        match layer {
            Layer::Link => self.frame.has_link.then_some(0),
            Layer::Network => Some(0),
            Layer::Transport => self.frame.headers.transport,
        }
    }

    fn payload(&mut self, to: Register, layer: Layer, offset: usize, length: usize) -> Next<'a> {
        let Some(begin) = self.begin(layer) else { return Next::Rule };
        let bytes = if layer == Layer::Link { &self.frame.headers.link } else { &self.frame.headers.network };
        match bytes.read(begin + offset, length) {
            Some(read) if read.unknown == 0 => self.registers.store(to, read.bytes),
            Some(read) => {
                // Of a field that is read beside another, that is told which is unknown.
                let at = offset + read.unknown.trailing_zeros() as usize;
                let name = field(layer, self.frame.headers.protocol, self.frame.headers.ethertype, at);
                self.registers.store_partly(to, read.bytes, read.unknown, name);
            }
            None => {
                if !self.presume(|| "whether the packet has data there".to_owned()) {
                    return Next::Rule;
                }
                self.registers.store_unknown(to, length, "data of the packet");
            }
        }
        Next::Expression
    }

    fn set_payload(&mut self, from: Register, layer: Layer, offset: usize, length: usize) -> Next<'a> {
        let Some(begin) = self.begin(layer) else { return Next::Rule };
        let (bytes, unknown) = self.registers.read(from, length);
        let headers = &mut self.frame.headers;
        let to = if layer == Layer::Link { &mut headers.link } else { &mut headers.network };
        let Some(read) = to.read(begin + offset, length) else {
            return Next::End(End::Unknown("data of the packet that a rule writes".to_owned()));
        };
        // What nobody knows and a rule reads and writes again, beside what it changes, stays as it is.
        let changed = |at: &usize| {
            let known = (unknown | read.unknown) >> at & 1 == 0;
            if known { bytes[*at] != read.bytes[*at] } else { (unknown & read.unknown) >> at & 1 == 0 }
        };
        for at in (0..length).filter(changed) {
            match writable(layer, headers.protocol, headers.ethertype, offset + at) {
                Writable::Freely => {}
                Writable::Link => self.frame.readdressed = true,
                Writable::No(what) => {
                    return Next::End(End::Unknown(format!("{what} that a rule writes")));
                }
            }
        }
        to.write(begin + offset, bytes, unknown);
        Next::Expression
    }

    fn lookup(&mut self, name: &str, from: Register, to: Option<Register>, verdicts: bool, inverted: bool) -> Next<'a> {
        let compiled = self.evaluation.compiled;
        let Some((set, index)) = compiled.named_set(self.table, name) else {
            return Next::End(End::Unknown(format!("set {name}")));
        };
        let (key, unknown) = self.registers.read(from, set.fields.iter().sum());
        let maps = verdicts || to.is_some();
        let element = match index.find(key, unknown) {
            Found::Certain(Some(at)) => &set.elements[at as usize],
            Found::Certain(None) if set.dynamic && self.has_added(name, key) => {
                let inside = self.choose(|| format!("set {name}: whether it took what this packet added"));
                return if inside != inverted { Next::Expression } else { Next::Rule };
            }
            Found::Certain(None) => return if inverted { Next::Expression } else { Next::Rule },
            Found::Possible => {
                let why = self.registers.why().to_owned();
                let inside = self.choose(|| format!("{why}, in set {name}"));
                return match inside {
                    true if maps => Next::End(End::Unknown(format!("{why}: which element of map {name} it is"))),
                    inside => {
                        if inside != inverted {
                            Next::Expression
                        } else {
                            Next::Rule
                        }
                    }
                };
            }
        };
        let metered = element.meter;
        self.evaluation.trace.element(set, element);
        if inverted {
            return Next::Rule;
        }
        if let Some(meter) = metered
            && let Next::Rule = self.metered(meter)
        {
            return Next::Rule;
        }
        match (&element.value, to) {
            (Some(Value::Verdict(verdict)), _) if verdicts => Next::Verdict(verdict),
            (Some(Value::Bytes(bytes)), Some(to)) => {
                self.registers.store(to, bytes);
                Next::Expression
            }
            (_, None) if !verdicts => Next::Expression,
            _ => Next::End(End::Unknown(format!("the value of an element of map {name}"))),
        }
    }

    fn has_added(&self, name: &str, key: &[u8]) -> bool {
        self.evaluation.added.iter().any(|(table, set, added)| *table == self.table && set == name && added == key)
    }

    fn dynset(
        &mut self,
        name: &str,
        from: Register,
        deletes: bool,
        inverted: bool,
        metered: Option<Meter>,
    ) -> Next<'a> {
        let Some((set, _)) = self.evaluation.compiled.named_set(self.table, name) else {
            return Next::End(End::Unknown(format!("set {name}")));
        };
        let (key, unknown) = self.registers.read(from, set.fields.iter().sum());
        if deletes || unknown != 0 {
            return Next::End(End::Unknown(format!("set {name}, which the rule changes")));
        }
        let key = key.to_vec();
        self.evaluation.added.push((self.table, name.to_owned(), key));
        if !self.presume(|| format!("set {name}: whether it has room")) {
            return if inverted { Next::Expression } else { Next::Rule };
        }
        match metered.map(|meter| self.metered(meter)) {
            Some(Next::Rule) => Next::Rule,
            _ if inverted => Next::Rule,
            _ => Next::Expression,
        }
    }

    fn object(&mut self, kind: u32) -> Next<'a> {
        match of_object(kind) {
            Expression::Meter(meter) => self.metered(meter),
            Expression::Unknown(name) => Next::End(End::Unknown(name)),
            _ => Next::Expression,
        }
    }

    fn object_of(&mut self, name: &str, from: Register) -> Next<'a> {
        let Some((set, index)) = self.evaluation.compiled.named_set(self.table, name) else {
            return Next::End(End::Unknown(format!("map {name}")));
        };
        let (key, unknown) = self.registers.read(from, set.fields.iter().sum());
        match (index.find(key, unknown), set.object_kind) {
            (Found::Certain(None), _) => Next::Rule,
            (Found::Certain(Some(_)), Some(kind)) => self.object(kind),
            _ => Next::End(End::Unknown(format!("which object of map {name} it is"))),
        }
    }

    fn nat(
        &mut self,
        what: Translation,
        addresses: Option<Between>,
        ports: Option<Between>,
        netmap: bool,
    ) -> Next<'static> {
        if netmap {
            return Next::End(End::Unknown("netmap".to_owned()));
        }
        let length = if self.frame.headers.is_v4() { 4 } else { 16 };
        let read = |register, length| self.registers.known(register, length);
        let addresses =
            addresses.map(|range| Some((read(range.min, length)?.to_vec(), read(range.max, length)?.to_vec())));
        let port = |register| read(register, 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
        let ports = ports.map(|range| Some((port(range.min)?, port(range.max)?)));
        self.asked = Some(Asked { what, addresses, ports });
        Next::Verdict(&Verdict::Accept)
    }
}

/// What comes of a byte that a rule writes.
enum Writable {
    /// It is read where it matters, or nobody cares.
    Freely,
    /// Who gets the frame.
    Link,
    /// It makes a difference that is not modelled.
    No(&'static str),
}

fn writable(layer: Layer, protocol: Option<u8>, ethertype: u16, offset: usize) -> Writable {
    let name = field(layer, protocol, ethertype, offset);
    let freely = match layer {
        Layer::Link if offset < 6 => return Writable::Link,
        Layer::Link => false,
        // Class of service, identification, time to live, addresses.
        Layer::Network if ethertype == IPV4 => matches!(offset, 1 | 4 | 5 | 8 | 12..20),
        // Of the first four bytes, the version is the upper half of the first.
        Layer::Network if ethertype == IPV6 => matches!(offset, 1..4 | 7 | 8..40),
        Layer::Network => false,
        Layer::Transport => matches!(protocol, Some(TCP | UDP)) && offset < 4,
    };
    if freely { Writable::Freely } else { Writable::No(name) }
}

/// What a byte of a header is called.
fn field(layer: Layer, protocol: Option<u8>, ethertype: u16, offset: usize) -> &'static str {
    match (layer, ethertype, protocol, offset) {
        (Layer::Link, _, _, 0..6) => "the destination's hardware address",
        (Layer::Link, _, _, 6..12) => "the source's hardware address",
        (Layer::Link, ..) => "a field of the link header",
        (Layer::Network, IPV4, _, 0) => "the header's length",
        (Layer::Network, IPV4, _, 1) | (Layer::Network, IPV6, _, 0..2) => "the class of service (dscp)",
        (Layer::Network, IPV4, _, 2..4) | (Layer::Network, IPV6, _, 4..6) => "the packet's length",
        (Layer::Network, IPV4, _, 4..6) => "the packet's identification",
        (Layer::Network, IPV4, _, 6..8) => "the flags and offset of fragments",
        (Layer::Network, IPV4, _, 8) => "the time to live",
        (Layer::Network, IPV4, _, 9) | (Layer::Network, IPV6, _, 6) => "the protocol",
        (Layer::Network, IPV4, _, 10..12) => "the header's checksum",
        (Layer::Network, IPV4, _, 12..16) | (Layer::Network, IPV6, _, 8..24) => "the source",
        (Layer::Network, IPV4, _, 16..20) | (Layer::Network, IPV6, _, 24..40) => "the destination",
        (Layer::Network, IPV6, _, 2..4) => "the flow label",
        (Layer::Network, IPV6, _, 7) => "the hop limit",
        (Layer::Network, ARP, ..) => "a field of ARP",
        (Layer::Network, ..) => "a field of the network header",
        (Layer::Transport, _, Some(TCP | UDP), 0..2) => choices::SOURCE_PORT,
        (Layer::Transport, _, Some(TCP | UDP), 2..4) => choices::DESTINATION_PORT,
        (Layer::Transport, _, Some(TCP), 4..8) => "TCP's sequence number",
        (Layer::Transport, _, Some(TCP), 8..12) => "TCP's acknowledged number",
        (Layer::Transport, _, Some(TCP), 12..14) => "TCP's flags",
        (Layer::Transport, _, Some(TCP), 14..16) => "TCP's window",
        (Layer::Transport, _, Some(TCP), 16..18) | (Layer::Transport, _, Some(UDP), 6..8) => "the checksum",
        (Layer::Transport, _, Some(TCP), 18..20) => "TCP's urgent pointer",
        (Layer::Transport, _, Some(UDP), 4..6) => "the datagram's length",
        (Layer::Transport, _, Some(ICMP | ICMPV6), 0..2) => "the kind of ICMP message",
        (Layer::Transport, _, Some(ICMP | ICMPV6), 4..6) => "the echo's identifier",
        (Layer::Transport, _, Some(ICMP | ICMPV6), 6..8) => "the echo's number",
        (Layer::Transport, ..) => "a field of the transport header",
    }
}
