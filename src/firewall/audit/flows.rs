//! A flow as a whole: its first packet passes, arrives, and its answer comes back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::bytecode::Family;
use super::choices::of_ports;
use super::explanation::{DROPS, REJECTS, kind};
use super::network::RouteKind;
use super::packet::{Content, Entry, Packet, Transport};
use super::ports::Ports;
use super::routing;
use super::{Detail, Explanation, Fate, Judgement, Kernel, Way};

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
        self.followed(packet).0
    }

    /// The same, and whether anything depended on a source or on a destination port that nobody said.
    fn followed(&self, packet: &Packet) -> (Outcome, (bool, bool)) {
        let request = self.evaluate(packet, None, Detail::Verdict);
        let mut ports = request.ports;
        if let Some(end) = end(&request, false) {
            return (end, ports);
        }
        let outcome = self.both_directions(packet, &request, &mut ports);
        (outcome, ports)
    }

    /// Of a packet that arrives by each way: whether the answers come back.
    fn both_directions(&self, packet: &Packet, request: &Explanation, ports: &mut (bool, bool)) -> Outcome {
        let (mut arrival, mut stopped) = (None, None);
        let mut answered = false;
        let questions = || request.ways.iter().flat_map(|way| &way.assuming).map(|(question, _)| question.clone());
        let unknown = |because, answer| Outcome::Unknown { because, answer };
        let mut seen: Vec<&Way> = Vec::new();
        for way in &request.ways {
            if seen.iter().any(|other| other.fate == way.fate && other.flow == way.flow) {
                continue;
            }
            seen.push(way);
            let (answer, arrives) = match self.answer_to(packet, way) {
                Ok(both) => both,
                Err(what) => return unknown(vec![what], true),
            };
            if arrival.is_some_and(|other| other != arrives) {
                return unknown(named_once(questions()), false);
            }
            arrival = Some(arrives);
            if let Some(whose) = self.nobodys_source(way, &arrives) {
                return unknown(vec![format!("who has {whose}, which the source becomes")], true);
            }
            let back = self.fate_of_answer(&answer, way, Detail::Verdict);
            // The answer comes from the port that was spoken to.
            *ports = (ports.0 || back.ports.1, ports.1 || back.ports.0);
            match end(&back, true).or_else(|| self.astray(packet.entry, &back)) {
                None => answered = true,
                Some(open @ Outcome::Unknown { .. }) => return open,
                Some(stop) => stopped = stopped.or(Some(stop)),
            }
        }
        match stopped {
            // Some answers come back, and some do not.
            Some(_) if answered => return unknown(named_once(questions()), true),
            Some(stop) => return stop,
            None => {}
        }
        match (arrival, request.ways.first()) {
            (Some(arrival), Some(way)) => Outcome::Passes { arrival, by: way.passed.clone(), led_by: way.led_by },
            _ => unknown(vec!["where it arrives".to_owned()], false),
        }
    }

    /// The source that a packet was given, where it leaves this machine and the address is not this machine's: whether
    /// answers to it come here is for others to say.
    fn nobodys_source(&self, way: &Way, arrival: &Arrival) -> Option<IpAddr> {
        let (Entry::Interface(_), Some(flow)) = (arrival.at, &way.flow) else { return None };
        let source = arrival.source.0;
        let given = flow.source_nat && source != flow.original.source.0;
        let own = routing::kind_of(self.network(), source, None).is_ok_and(|kind| kind == RouteKind::Local);
        (given && !own).then_some(source)
    }

    /// An answer that leaves, but not to where the first packet came from. Behind a bridge's port there is nobody whom
    /// another way leads to; behind another link there may be.
    fn astray(&self, from: Entry, back: &Explanation) -> Option<Outcome> {
        let network = self.network();
        let stop = |why: String| Outcome::Stopped { by: Stop::Kernel(why), answer: true };
        let name = |index: u32| network.interface(index).map_or_else(|| index.to_string(), |it| it.name.clone());
        let bridge = |index: u32| network.interface(index).and_then(|it| network.bridge_of(it)).map(|it| it.index);
        back.ways.iter().find_map(|way| match (from, &way.fate) {
            (Entry::Local, Fate::Delivered) => None,
            (Entry::Interface(port), Fate::Flooded { bridge: by }) if bridge(port) == Some(*by) => None,
            (Entry::Interface(port), Fate::Sent { interface }) if *interface == port => None,
            (Entry::Interface(port), Fate::Sent { interface }) if bridge(port) == Some(*interface) => None,
            (Entry::Interface(port), Fate::Sent { interface }) if bridge(port).is_none() => {
                let what = format!("whether an answer that leaves by {} comes to {}", name(*interface), name(port));
                Some(Outcome::Unknown { because: vec![what], answer: true })
            }
            (_, Fate::Sent { interface }) => Some(stop(format!("it leaves by {} instead", name(*interface)))),
            (_, Fate::Flooded { bridge }) => Some(stop(format!("it leaves by {} instead", name(*bridge)))),
            (_, Fate::Delivered) => Some(stop("it ends at this machine".to_owned())),
            _ => None,
        })
    }

    /// What becomes of flows to `first` to `last`, which differ in nothing else: rows of ports that fare alike, in order.
    /// They begin where programs' flows do that do not choose a port: anywhere in [`EPHEMERAL`]. `packet` makes the first
    /// one of source and destination port, of which `None` is any. What is said of a row is said of its first port.
    ///
    /// One question is enough where no rule asks for the port; else one for each row of ports that no rule tells apart.
    pub fn flows(
        &self,
        first: u16,
        last: u16,
        packet: impl Fn(Option<u16>, Option<u16>) -> Packet,
    ) -> Vec<(u16, u16, Outcome)> {
        let ports = self.ports();
        let sources = self.sources();
        let by_any = |port: Option<u16>| self.by_any(&sources, |source| packet(source, port));
        if first == last {
            return vec![(first, last, by_any(Some(first)).0)];
        }
        let (whole, asked) = by_any(None);
        // A rule that leads all of them to one port leads all but one elsewhere.
        let led = matches!(&whole, Outcome::Passes { arrival, .. } if arrival.destination.1.is_some());
        if !led && !told_apart(&whole, asked).1 {
            return vec![(first, last, whole)];
        }
        let Some(rows) = ports.rows(first, last) else {
            let because = vec!["what rules calculate from the port".to_owned()];
            let open = Outcome::Unknown { because, answer: false };
            return vec![(first, last, if led { open } else { whole })];
        };
        rows.into_iter().map(|(first, last)| (first, last, by_any(Some(first)).0)).collect()
    }

    fn ports(&self) -> &Ports {
        self.ports.get_or_init(|| Ports::of(self.ruleset(), self.network()))
    }

    /// Rows of source ports that fare alike, of those that programs get.
    fn sources(&self) -> Vec<(u16, u16)> {
        self.ports().rows(EPHEMERAL.0, EPHEMERAL.1).unwrap_or_default()
    }

    /// A flow from whichever source port: of each row of them, if rules tell them apart.
    fn by_any(&self, sources: &[(u16, u16)], packet: impl Fn(Option<u16>) -> Packet) -> (Outcome, (bool, bool)) {
        if let [(only, _)] = sources {
            return self.followed(&packet(Some(*only)));
        }
        let (whole, mut ports) = self.followed(&packet(None));
        if !matches!(whole, Outcome::Unknown { .. }) || !told_apart(&whole, ports).0 {
            return (whole, ports);
        }
        let mut outcomes = sources.iter().map(|(first, _)| {
            let (outcome, asked) = self.followed(&packet(Some(*first)));
            ports.1 |= asked.1;
            outcome.of_some_port()
        });
        let Some(first) = outcomes.next() else { return (whole, ports) };
        let alike = outcomes.all(|other| other == first);
        (if alike { first } else { whole }, ports)
    }

    /// The same as [`Self::explain`] of a packet from the port of a program that did not choose one, if it has a port and
    /// nobody said which: then, the ports that it may be from.
    pub fn explain_usual(&self, packet: &Packet) -> (Explanation, Option<(u16, u16)>) {
        let Some(from) = packet.leaving_port(EPHEMERAL.0) else { return (self.explain(packet), None) };
        let sources = self.sources();
        if let [_] = sources.as_slice() {
            return (self.explain(&from), Some(EPHEMERAL));
        }
        let whole = self.explain(packet);
        if !matches!(whole.judgement, Judgement::Unknown { .. }) {
            return (whole, Some(EPHEMERAL));
        }
        let mut rows = sources.iter().filter_map(|(first, _)| Some(self.explain(&packet.leaving_port(*first)?)));
        let Some(first) = rows.next() else { return (whole, Some(EPHEMERAL)) };
        let alike = rows.all(|other| other.judgement == first.judgement);
        (if alike { first } else { whole }, Some(EPHEMERAL))
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
        // As it arrives, whoever made it so: translation, or a rule that writes into packets.
        let (from, to) = match &way.ends {
            Some((_, ended)) => (ended.source, ended.destination),
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

/// Whether other source ports, and other destination ports, may fare otherwise.
fn told_apart(outcome: &Outcome, asked: (bool, bool)) -> (bool, bool) {
    let Outcome::Unknown { because, answer } = outcome else { return asked };
    let may = because.iter().map(|what| match (of_ports(what), answer) {
        (ports, false) => ports,
        ((source, destination), true) => (destination, source),
    });
    may.fold(asked, |all, it| (all.0 || it.0, all.1 || it.1))
}

/// Each once, in order.
fn named_once(questions: impl Iterator<Item = String>) -> Vec<String> {
    questions.collect::<BTreeSet<_>>().into_iter().collect()
}

/// `None` where it arrives.
fn end(explanation: &Explanation, answer: bool) -> Option<Outcome> {
    let kinds = explanation.ways.iter().fold(0, |kinds, way| kinds | kind(&way.fate));
    match &explanation.judgement {
        Judgement::Accept => None,
        // Whether somebody is told of it or not.
        _ if explanation.whole && kinds & !(DROPS | REJECTS) == 0 => {
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
        Judgement::Drop | Judgement::Reject => None,
    }
}

impl Packet {
    /// The same from a port, where it is of a protocol with ports and nobody said which.
    fn leaving_port(&self, port: u16) -> Option<Self> {
        let mut packet = self.clone();
        let Content::Ip { transport, .. } = &mut packet.content else { return None };
        match transport {
            Transport::Tcp { source: source @ None, .. } | Transport::Udp { source: source @ None, .. } => {
                *source = Some(port);
            }
            _ => return None,
        }
        Some(packet)
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
mod tests;
