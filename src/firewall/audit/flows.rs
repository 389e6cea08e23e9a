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
        let mut arrival = None;
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
                let because = request.ways.iter().flat_map(|way| &way.assuming).map(|(question, _)| question.clone());
                return Outcome::Unknown { because: because.collect(), answer: false };
            }
            arrival = Some(arrives);
            let back = self.evaluate(&answer, way.flow.as_ref().map(Flow::answered).as_ref(), false);
            if let Some(end) = end(&back, true) {
                return end;
            }
        }
        match (arrival, request.ways.first()) {
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

    /// The first answer, and where the packet that it answers has arrived.
    fn answer_to(&self, packet: &Packet, way: &Way) -> Result<(Packet, Arrival), String> {
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

/// `None` where it arrives.
fn end(explanation: &Explanation, answer: bool) -> Option<Outcome> {
    match &explanation.judgement {
        Judgement::Accept => None,
        Judgement::Drop | Judgement::Reject => {
            let way = explanation.ways.first();
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
