//! A packet on its way: what the kernel keeps beside its bytes (`struct sk_buff`, `struct nf_conn`).

use std::net::IpAddr;

use super::flows::Place;
use super::packet::Headers;

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) headers: Headers,
    /// Whether the link header is there: what this machine sends gets it last.
    pub(super) has_link: bool,
    pub(super) incoming: Option<u32>,
    pub(super) outgoing: Option<u32>,
    /// The bridge's ports that it passed, for rules of ip that see bridged packets.
    pub(super) ports: (Option<u32>, Option<u32>),
    /// `None`: it was set to what is not modelled.
    pub(super) mark: Option<u32>,
    /// `PACKET_…`; `None` where the kernel's answer depends on more than is modelled.
    pub(super) packet_type: Option<u8>,
    pub(super) tracking: Tracking,
    /// The rule that gave it to a socket of this machine, whoever it is for (`tproxy`).
    pub(super) taken_by: Option<Place>,
    /// The zone that a rule chose, before conntrack saw the packet.
    pub(super) zone: Option<Zone>,
    /// A rule wrote the destination's hardware address.
    pub(super) readdressed: bool,
}

/// Conntrack's zones of a flow's first direction and of its answers: flows of two zones do not know each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Of packets in the direction of the first one.
    pub original: u16,
    /// Of answers.
    pub answer: u16,
}

/// What conntrack knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tracking {
    /// It has not been there, or does not run.
    None,
    /// A rule exempted it.
    Untracked,
    /// It belongs to a flow.
    Flow(Flow),
    /// It is of no flow that could be.
    Invalid,
}

/// How a packet stands to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The first of its flow.
    New,
    /// One of a flow that was answered, or an answer.
    Established,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How this packet stands to it.
    pub state: State,
    /// Whether this packet is an answer.
    pub reply: bool,
    /// As its first packet was sent.
    pub original: Tuple,
    /// As its answers come.
    pub answer: Tuple,
    /// Its source is translated.
    pub source_nat: bool,
    /// Its destination is translated.
    pub destination_nat: bool,
    /// Its mark; `None` where it was set to what is not modelled.
    pub mark: Option<u32>,
    /// Its zones.
    pub zone: Zone,
    /// Whether it has been decided if source and destination are translated.
    pub(super) decided: (bool, bool),
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The source; a port of `None` is unknown or does not exist.
    pub source: (IpAddr, Option<u16>),
    /// The destination.
    pub destination: (IpAddr, Option<u16>),
}

impl Tuple {
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        Some(Self {
            source: (headers.address(false)?, headers.port(false)),
            destination: (headers.address(true)?, headers.port(true)),
        })
    }

    pub(super) fn inverted(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }

    /// Whether they may be one: ports that nobody knows may be any.
    pub(super) fn may_be(self, other: Self) -> bool {
        let side = |(a, at): (IpAddr, Option<u16>), (b, port): (IpAddr, Option<u16>)| {
            a == b && (at == port || at.is_none() || port.is_none())
        };
        side(self.source, other.source) && side(self.destination, other.destination)
    }
}

impl Flow {
    /// The flow that a first packet makes.
    pub(super) fn begun_by(headers: &Headers) -> Option<Self> {
        let original = Tuple::of(headers)?;
        Some(Self {
            state: State::New,
            reply: false,
            original,
            answer: original.inverted(),
            source_nat: false,
            destination_nat: false,
            mark: Some(0),
            zone: Zone::default(),
            decided: (false, false),
        })
    }

    /// The same flow as its first answer sees it.
    pub fn answered(&self) -> Self {
        Self { state: State::Established, reply: true, decided: (true, true), ..self.clone() }
    }

    /// `IPS_…` that rules ask for.
    pub(super) fn status(&self) -> u32 {
        const SEEN_REPLY: u32 = 2;
        const CONFIRMED: u32 = 8;
        let known = if self.state == State::Established { SEEN_REPLY | CONFIRMED } else { 0 };
        let (done_source, done_destination) = (u32::from(self.decided.0) << 7, u32::from(self.decided.1) << 8);
        known | u32::from(self.source_nat) << 4 | u32::from(self.destination_nat) << 5 | done_source | done_destination
    }
}

impl Frame {
    /// A rule exempts it from conntrack, unless it has been there or a zone was chosen for it.
    pub(super) fn exempt(&mut self) {
        if self.tracking == Tracking::None && self.zone.is_none() {
            self.tracking = Tracking::Untracked;
        }
    }
}

impl Tracking {
    /// `NF_CT_STATE_…_BIT`.
    pub(super) fn state_bits(&self) -> u32 {
        match self {
            Self::None | Self::Invalid => 1,
            Self::Untracked => 1 << 6,
            Self::Flow(flow) => match flow.state {
                State::Established => 1 << 1,
                State::New => 1 << 3,
            },
        }
    }

    pub(super) fn flow(&self) -> Option<&Flow> {
        match self {
            Self::Flow(flow) => Some(flow),
            _ => None,
        }
    }
}
