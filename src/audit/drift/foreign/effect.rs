//! What becomes of a flow, as far as it matters to those at its ends: who gets it, of whom, and whether the answer comes
//! back. Everything else may differ, and nobody would notice.

use std::net::IpAddr;

use crate::firewall::audit::network::Network;
use crate::firewall::audit::{Arrival, Content, Entry, Fate, Flow, Kernel, MOST_WAYS, Packet, Place, Way};

/// What becomes of a flow by one way through open questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Its first packet does not arrive.
    Stopped,
    /// Its first packet has nowhere to go.
    Lost,
    /// The answer does not.
    Unanswered,
    /// It cannot be said, for want of this.
    Unknown(String),
    Passes {
        at: Whither,
        to: (IpAddr, Option<u16>),
        source: Source,
        /// Where the answer arrives.
        back: Whither,
    },
}

/// Where packets go, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whither {
    Host,
    /// A port of the bridge.
    Port(u32),
    /// The link that the address is on.
    Link(u32),
    /// Towards somebody behind some gateway.
    Beyond,
}

/// As whose the packet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    AsSent,
    Hosts,
    Other(IpAddr),
}

/// One way, with what explains it.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) effect: Effect,
    /// As whose the first packet arrives, if it does.
    pub(super) arrives_as: Option<Source>,
    pub(super) stopped_by: Option<Place>,
    pub(super) led_by: Option<Place>,
    /// The rule that gave the first packet to a socket.
    pub(super) taken_by: Option<Place>,
    /// Open questions on it.
    pub(super) asked: Vec<String>,
    /// The answer by which it shows; without it, it is the first packet.
    pub(super) answer: Option<(Packet, Flow)>,
}

/// All ways of a flow that begins with a packet.
pub(super) fn courses(kernel: &Kernel, bridge: Option<u32>, packet: &Packet) -> Vec<Course> {
    let there = kernel.outcome(packet, None).ways;
    let mut courses: Vec<Course> = Vec::new();
    let mut seen: Vec<&Way> = Vec::new();
    let cut = there.len() >= MOST_WAYS;
    for way in &there {
        if seen.iter().any(|it| it.fate == way.fate && it.flow == way.flow && it.stopped_by == way.stopped_by) {
            continue;
        }
        seen.push(way);
        match stopped(&way.fate) {
            Some(effect) => courses.push(course(effect, way, None)),
            None => courses.extend(answered(kernel, bridge, packet, way)),
        }
    }
    if cut && let Some(way) = there.first() {
        courses.push(course(Effect::Unknown("more open questions than can be followed".to_owned()), way, None));
    }
    courses
}

fn stopped(fate: &Fate) -> Option<Effect> {
    match fate {
        Fate::Dropped | Fate::Rejected(_) => Some(Effect::Stopped),
        Fate::Lost(_) => Some(Effect::Lost),
        Fate::Unknown(what) => Some(Effect::Unknown(what.clone())),
        Fate::Delivered | Fate::Sent { .. } | Fate::Flooded { .. } => None,
    }
}

fn course(effect: Effect, way: &Way, before: Option<(&Way, Packet, Flow)>) -> Course {
    let of = |way: &Way| way.assuming.iter().map(|(question, _)| question.clone()).collect::<Vec<_>>();
    let asked = before.as_ref().map(|(before, ..)| of(before)).into_iter().flatten().chain(of(way)).collect();
    let first = before.as_ref().map_or(way, |(before, ..)| before);
    let (led_by, taken_by) = (first.led_by, first.taken_by);
    let answer = before.map(|(_, packet, flow)| (packet, flow));
    Course { effect, arrives_as: None, stopped_by: way.stopped_by, led_by, taken_by, asked, answer }
}

/// A first packet that arrives, by each way of its answer.
fn answered(kernel: &Kernel, bridge: Option<u32>, packet: &Packet, way: &Way) -> Vec<Course> {
    let (answer, arrival) = match kernel.answer_to(packet, way) {
        Ok(both) => both,
        Err(what) => return vec![course(Effect::Unknown(what), way, None)],
    };
    let network = kernel.network();
    let effect = |back| {
        let at = whither(network, bridge, arrival.at, arrival.destination.0);
        Effect::Passes { at, to: arrival.destination, source: source(network, packet, &arrival), back }
    };
    let flow = way.flow.as_ref().map(Flow::answered);
    let Content::Ip { source: sender, .. } = packet.content else { return Vec::new() };
    let back = kernel.outcome_of_answer(&answer, way).ways;
    let courses = back.iter().map(|back| {
        let effect = match &back.fate {
            Fate::Delivered => effect(Whither::Host),
            Fate::Sent { interface } => effect(whither(network, bridge, Entry::Interface(*interface), sender)),
            Fate::Flooded { .. } => effect(Whither::Beyond),
            Fate::Unknown(what) => Effect::Unknown(what.clone()),
            Fate::Dropped | Fate::Rejected(_) | Fate::Lost(_) => Effect::Unanswered,
        };
        let course = match &flow {
            Some(flow) => course(effect, back, Some((way, answer.clone(), flow.clone()))),
            // What conntrack does not see is explained by its first packet, where nothing stops the answer.
            None => Course { stopped_by: back.stopped_by, ..course(effect, way, None) },
        };
        Course { arrives_as: Some(source(network, packet, &arrival)), ..course }
    });
    courses.collect()
}

fn whither(network: &Network, bridge: Option<u32>, at: Entry, address: IpAddr) -> Whither {
    let Entry::Interface(index) = at else { return Whither::Host };
    if bridge.is_some() && network.interface(index).and_then(|it| it.master) == bridge {
        return Whither::Port(index);
    }
    let on_link = network.interfaces.iter().any(|it| it.addresses.iter().any(|net| net.contains(address)));
    if on_link { Whither::Link(index) } else { Whither::Beyond }
}

fn source(network: &Network, packet: &Packet, arrival: &Arrival) -> Source {
    let Content::Ip { source, .. } = packet.content else { return Source::AsSent };
    match arrival.source.0 {
        found if found == source => Source::AsSent,
        found if network.interfaces.iter().any(|it| it.addresses.iter().any(|own| own.ip() == found)) => Source::Hosts,
        found => Source::Other(found),
    }
}
