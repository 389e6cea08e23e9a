//! A flow as a whole: its first packet passes, arrives, and its answer comes back.

use std::net::IpAddr;

use super::bytecode::Family;
use super::packet::{Content, Entry, Packet, Transport};
use super::ports::Ports;
use super::{Explanation, Fate, Flow, Judgement, Kernel, Way};

/// A rule, or a base chain's policy, by its place in the ruleset that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Of tables.
    pub table: usize,
    /// Of its chains.
    pub chain: usize,
    /// Of its rules; `None` is the policy.
    pub rule: Option<usize>,
}

/// A place in nft's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Whose packets the table sees.
    pub family: Family,
    /// The table.
    pub table: &'a str,
    /// The chain.
    pub chain: &'a str,
    /// The rule's handle; `None` is the policy.
    pub handle: Option<u64>,
    /// The rule's comment.
    pub comment: Option<&'a str>,
}

/// What becomes of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its first packet arrives, and the answer does.
    Passes {
        /// Where its first packet arrives.
        arrival: Arrival,
        /// Rules that let it pass by name, in order: filters that ask, of what is sent, received or forwarded.
        by: Vec<Place>,
        /// The rule that gave it another destination.
        led_by: Option<Place>,
    },
    /// One of the two does not arrive.
    Stopped {
        /// By what.
        by: Stop,
        /// It is the answer.
        answer: bool,
    },
    /// It cannot be said.
    Unknown {
        /// Names of what it depends on.
        because: Vec<String>,
        /// It is the answer of which nothing can be said.
        answer: bool,
    },
}

/// Where a packet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// At this machine, or out of an interface.
    pub at: Entry,
    /// Its source then: address and port, where it has one that is known.
    pub source: (IpAddr, Option<u16>),
    /// Its destination then.
    pub destination: (IpAddr, Option<u16>),
}

/// What stops a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A rule or a policy.
    Rule(Place),
    /// The kernel without a rule, and why.
    Kernel(String),
}

/// The source ports that programs get which do not choose one (`net.ipv4.ip_local_port_range`), unless that was changed.
pub const EPHEMERAL: (u16, u16) = (32768, 60999);

impl Kernel {
    /// What becomes of a flow that begins with this packet: both directions of it.
    pub fn flow(&self, packet: &Packet) -> Outcome {
        let request = self.evaluate(packet, None, false);
        if let Some(end) = end(&request, false) {
            return end;
        }
        let (mut arrival, mut stopped) = (None, None);
        let mut answered = false;
        let questions = || request.ways.iter().flat_map(|way| &way.assuming).map(|(question, _)| question.clone());
        let mut seen: Vec<&Way> = Vec::new();
        for way in &request.ways {
            if seen.iter().any(|other| other.fate == way.fate && other.flow == way.flow) {
                continue;
            }
            seen.push(way);
            let (answer, arrives) = match self.answer_to(packet, way) {
                Ok(both) => both,
                Err(what) => return Outcome::Unknown { because: vec![what], answer: true },
            };
            if arrival.is_some_and(|other| other != arrives) {
                return Outcome::Unknown { because: questions().collect(), answer: false };
            }
            arrival = Some(arrives);
            let back = self.evaluate(&answer, way.flow.as_ref().map(Flow::answered).as_ref(), false);
            match end(&back, true) {
                None => answered = true,
                Some(unknown @ Outcome::Unknown { .. }) => return unknown,
                Some(stop) => stopped = stopped.or(Some(stop)),
            }
        }
        match stopped {
            // Some answers come back, and some do not.
            Some(_) if answered => return Outcome::Unknown { because: questions().collect(), answer: true },
            Some(stop) => return stop,
            None => {}
        }
        match (arrival, plainest(&request)) {
            (Some(arrival), Some(way)) => Outcome::Passes { arrival, by: way.passed.clone(), led_by: way.led_by },
            _ => Outcome::Unknown { because: vec!["where it arrives".to_owned()], answer: false },
        }
    }

    /// What becomes of flows to `first` to `last`, which differ in nothing else: rows of ports that fare alike, in order.
    /// They begin where programs' flows do that do not choose a port: anywhere in [`EPHEMERAL`]. `packet` makes the first
    /// one of source and destination port, of which `None` is any.
    ///
    /// One question is enough where no rule asks for the port; else one for each row of ports that no rule tells apart.
    pub fn flows(
        &self,
        first: u16,
        last: u16,
        packet: impl Fn(Option<u16>, Option<u16>) -> Packet,
    ) -> Vec<(u16, u16, Outcome)> {
        let ports = self.ports.get_or_init(|| Ports::of(self.ruleset(), self.network()));
        let sources = ports.rows(EPHEMERAL.0, EPHEMERAL.1).unwrap_or_default();
        let by_any = |port: Option<u16>| self.by_any(&sources, |source| packet(source, port));
        if first == last {
            return vec![(first, last, by_any(Some(first)))];
        }
        let whole = by_any(None);
        let rows = match whole {
            Outcome::Unknown { .. } => ports.rows(first, last),
            _ => None,
        };
        let Some(rows) = rows else { return vec![(first, last, whole)] };
        rows.into_iter().map(|(first, last)| (first, last, by_any(Some(first)))).collect()
    }

    /// A flow from whichever source port: of each row of them, if rules tell them apart.
    fn by_any(&self, sources: &[(u16, u16)], packet: impl Fn(Option<u16>) -> Packet) -> Outcome {
        if let [(only, _)] = sources {
            return self.flow(&packet(Some(*only)));
        }
        let whole = self.flow(&packet(None));
        if !matches!(whole, Outcome::Unknown { .. }) {
            return whole;
        }
        let mut outcomes = sources.iter().map(|(first, _)| self.flow(&packet(Some(*first))).of_some_port());
        let Some(first) = outcomes.next() else { return whole };
        if outcomes.all(|other| other == first) { first } else { whole }
    }

    /// The first answer to a packet that arrives by this way, and where it has arrived; or what is not known of that.
    pub fn answer_to(&self, packet: &Packet, way: &Way) -> Result<(Packet, Arrival), String> {
        let at = match way.fate {
            Fate::Delivered => Entry::Local,
            Fate::Sent { interface } => Entry::Interface(interface),
            _ => return Err("behind which port of the bridge the target is".to_owned()),
        };
        let Content::Ip { source, destination, transport } = packet.content else {
            return Err("answers to what is not IP".to_owned());
        };
        let (source_port, port) = transport.ports();
        // What conntrack does not see has no flow and is not translated.
        let (from, to) = match &way.flow {
            Some(flow) => (flow.answer.destination, flow.answer.source),
            None => ((source, source_port), (destination, port)),
        };
        let content = Content::Ip { source: to.0, destination: from.0, transport: transport.answered(to.1, from.1) };
        // What comes out of a bridge's port is answered by a station of the bridge.
        let link = match at {
            Entry::Local => None,
            Entry::Interface(index) => self.network().interface(index).map(|port| port.master.unwrap_or(index)),
        };
        let source_mac = link.and_then(|link| self.stations.mac(to.0, link));
        let answer = Packet { entry: at, source_mac, destination_mac: None, vlan: packet.vlan, content };
        Ok((answer, Arrival { at, source: from, destination: to }))
    }

    /// A place's names.
    pub fn named(&self, place: Place) -> Named<'_> {
        let table = self.compiled.table(place.table);
        let chain = &table.chains[place.chain];
        let rule = place.rule.map(|rule| &chain.rules[rule]);
        Named {
            family: table.family,
            table: &table.name,
            chain: &chain.name,
            handle: rule.map(|rule| rule.handle),
            comment: rule.and_then(|rule| rule.comment.as_deref()),
        }
    }
}

impl Outcome {
    fn of_some_port(mut self) -> Self {
        if let Self::Passes { arrival, .. } = &mut self {
            arrival.source.1 = None;
        }
        self
    }
}

/// Of several ways that end alike, the one that assumes least: rules for single ports match on the others.
fn plainest(explanation: &Explanation) -> Option<&Way> {
    explanation.ways.iter().min_by_key(|way| way.assuming.iter().filter(|(_, answer)| *answer).count())
}

/// `None` where it arrives.
fn end(explanation: &Explanation, answer: bool) -> Option<Outcome> {
    match &explanation.judgement {
        Judgement::Accept => None,
        Judgement::Drop | Judgement::Reject => {
            let way = plainest(explanation);
            let lost = way.and_then(|way| match &way.fate {
                Fate::Lost(why) => Some(why.clone()),
                _ => None,
            });
            let by = match (lost, way.and_then(|way| way.stopped_by)) {
                (None, Some(place)) => Stop::Rule(place),
                (why, _) => Stop::Kernel(why.unwrap_or_else(|| "the kernel drops it".to_owned())),
            };
            Some(Outcome::Stopped { by, answer })
        }
        Judgement::Unknown { because } => Some(Outcome::Unknown { because: because.clone(), answer }),
    }
}

impl Transport {
    /// Source and destination port; `None` of protocols without, and where nobody said.
    pub fn ports(self) -> (Option<u16>, Option<u16>) {
        match self {
            Self::Tcp { source, destination, .. } | Self::Udp { source, destination } => (source, destination),
            Self::Icmp { .. } | Self::Other(_) => (None, None),
        }
    }

    /// What answers this, between these ports.
    pub(super) fn answered(self, source: Option<u16>, destination: Option<u16>) -> Self {
        const SYN_ACK: u8 = 0x12;
        match self {
            Self::Tcp { .. } => Self::Tcp { source, destination, flags: SYN_ACK },
            Self::Udp { .. } => Self::Udp { source, destination },
            Self::Icmp { kind: 8, code } => Self::Icmp { kind: 0, code },
            Self::Icmp { kind: 128, code } => Self::Icmp { kind: 129, code },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytecode::{
        Base, Chain, ChainKind, Comparison, Expression, Hook, Layer, Rule, Ruleset, Table, Verdict,
    };
    use super::super::network::{Interface, Network, Route, RouteKind, RoutingRule, Way as Hop};
    use super::*;

    const ETH0: u32 = 2;

    /// A machine 192.0.2.1 with one link, and the rules of two base chains.
    fn kernel(prerouting: Vec<Vec<Expression>>, output: Vec<Vec<Expression>>) -> Kernel {
        let chain = |hook, priority, rules: Vec<Vec<Expression>>| Chain {
            name: "c".to_owned(),
            handle: 1,
            base: Some(Base { hook, priority, kind: ChainKind::Filter, accepts: true, devices: vec![] }),
            rules: (2..).zip(rules).map(|(handle, expressions)| Rule { handle, comment: None, expressions }).collect(),
        };
        let table = Table {
            family: Family::Ip,
            name: "t".to_owned(),
            dormant: false,
            chains: vec![chain(Hook::Prerouting, -300, prerouting), chain(Hook::Output, -300, output)],
            sets: vec![],
            objects: vec![],
        };
        let route = |table, to: &str, kind| Route {
            table,
            destination: to.parse().expect("network"),
            source: None,
            metric: 0,
            tos: 0,
            kind,
            ways: vec![Hop { interface: ETH0, gateway: None }],
            preferred_source: None,
            opaque: false,
        };
        let addresses = vec!["192.0.2.1/24".parse().expect("address")];
        let eth0 = Interface { index: ETH0, name: "eth0".to_owned(), up: true, addresses, ..Interface::default() };
        let network = Network {
            interfaces: vec![eth0],
            routes: vec![route(255, "192.0.2.1/32", RouteKind::Local), route(254, "192.0.2.0/24", RouteKind::Unicast)],
            rules: vec![RoutingRule::usual(0, 255), RoutingRule::usual(32_766, 254)],
            ..Network::default()
        };
        Kernel::new(Ruleset { generation: 1, tables: vec![table] }, network)
    }

    fn port(destination: bool, number: u16, then: Expression) -> Vec<Expression> {
        let offset = if destination { 2 } else { 0 };
        let with = number.to_be_bytes().to_vec();
        vec![
            Expression::Payload { to: 16, layer: Layer::Transport, offset, length: 2 },
            Expression::Compare { from: 16, how: Comparison::Equal, with },
            then,
        ]
    }

    fn drop() -> Expression {
        Expression::Verdict(Verdict::Drop)
    }

    fn packet(source: Option<u16>, destination: Option<u16>) -> Packet {
        let transport = Transport::Tcp { source, destination, flags: 2 };
        let (from, to) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        let content = Content::Ip { source: from, destination: to, transport };
        Packet { entry: Entry::Interface(ETH0), source_mac: None, destination_mac: None, vlan: None, content }
    }

    #[test]
    fn the_rule_that_stops_is_of_the_way_that_assumes_least() {
        let kernel = kernel(vec![port(false, 68, drop()), port(true, 443, drop())], vec![]);
        let Outcome::Stopped { by: Stop::Rule(place), .. } = kernel.flow(&packet(None, Some(443))) else {
            panic!("it is stopped");
        };
        assert_eq!(kernel.named(place).handle, Some(3));
    }

    #[test]
    fn where_some_answers_come_back_a_range_is_told_port_by_port() {
        const STATE: u32 = 0;
        const UNTRACKED: u32 = 1 << 6;
        let untracked = vec![
            Expression::Ct { to: 16, key: STATE, reply: None },
            Expression::Compare { from: 16, how: Comparison::Equal, with: UNTRACKED.to_ne_bytes().to_vec() },
            drop(),
        ];
        // Answers to what was not tracked are not either: as raw's output chain of the same rule has it.
        let back = port(false, 5432, Expression::Notrack);
        let kernel = kernel(vec![port(true, 5432, Expression::Notrack)], vec![back, untracked]);
        let rows = kernel.flows(1, 65_535, packet);
        let ends: Vec<_> =
            rows.iter().map(|(first, last, it)| (*first, *last, matches!(it, Outcome::Passes { .. }))).collect();
        assert!(ends.contains(&(5432, 5432, false)), "{ends:?}");
        assert!(ends.iter().all(|(first, last, passes)| *passes != (*first..=*last).contains(&5432)), "{ends:?}");
    }
}
