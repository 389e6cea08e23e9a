//! What the kernel does with a flow: in the source's namespace, the host's, and the target's. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::cast::{Cast, Seat};
use super::deciders::{Decides, Whose};
use super::flows::{DOMAIN, Flow};
use super::inside::Inside;
use super::reading::Reading;
use crate::firewall::audit::{Content, Entry, Outcome, Packet, Place, Stop, Transport};
use crate::model::Protocol;
use crate::model::audit::{Service, Verdict, Way};

/// The kernel's verdict about some ports of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// How many ports of the flow's come before these.
    pub(super) skipped: u16,
    /// The last of these, counted likewise.
    pub(super) last: u16,
    pub(super) verdict: Verdict,
    pub(super) decides: Option<Decides>,
}

/// First and last port of a row, and what stops it.
type Within = (u16, u16, Option<(Verdict, Decides)>);

/// Judges flows of one reading.
pub(super) struct Judge<'a> {
    reading: &'a Reading,
    cast: &'a Cast,
    /// Of each party, what is inside of its namespace, where that is not as the daemon made it.
    changed: Vec<Option<&'a Inside>>,
    /// The name of the daemon's own tables.
    own: Option<String>,
}

/// The types of an echo request, and of a connection's first packet.
const ECHO: u8 = 8;
const SYN: u8 = 2;

impl<'a> Judge<'a> {
    pub(super) fn new(reading: &'a Reading, cast: &'a Cast) -> Self {
        let gateway = reading.intent.as_ref().map(|intent| IpAddr::V4(intent.options.gateway()));
        let changed = cast.seats.iter().zip(&cast.parties).map(|(seat, party)| {
            let inside = reading.insides.get(party.id.as_ref()?)?;
            let Seat::Bridged { endpoint, .. } = seat else { return None };
            (!inside.is_plain(endpoint, gateway?)).then_some(inside)
        });
        let own = reading.intent.as_ref().map(|intent| format!("pontoon-{}", intent.options.bridge));
        Self { reading, cast, changed: changed.collect(), own }
    }

    /// The first packet of a flow to one of its ports, or to any, as it comes to the host's namespace.
    pub(super) fn first_packet(&self, flow: &Flow, port: Option<u16>) -> Option<Packet> {
        Some(with_ports(&self.packet(flow)?, flow, None, port))
    }

    /// The verdicts about a flow, by ports in order.
    pub(super) fn judge(&self, flow: &Flow) -> Vec<Judged> {
        let whole = |verdict, decides| vec![Judged { skipped: 0, last: count(flow) - 1, verdict, decides }];
        if flow.by == Way::Shared {
            return whole(Verdict::Allow, None);
        }
        if let Some(closed) = self.closed(flow) {
            return closed.map_or_else(|| whole(Verdict::Deny, None), |why| whole(Verdict::Unknown, Some(why)));
        }
        let (first, last) = (flow.port, flow.port + (count(flow) - 1));
        let Some(packet) = self.packet(flow) else {
            let gone = Decides::Kernel("the container's port on the bridge is gone".to_owned(), false);
            return whole(Verdict::Deny, Some(gone));
        };
        let outcomes = self.reading.kernel.flows(first, last, |source, port| with_ports(&packet, flow, source, port));
        let mut judged: Vec<Judged> = Vec::new();
        for (row, end, outcome) in outcomes {
            let (verdict, decides) = self.outcome(flow, row, outcome);
            let here = Judged { skipped: row - first, last: end - first, verdict, decides };
            if verdict != Verdict::Allow || !self.is_changed(flow) {
                push(&mut judged, here);
                continue;
            }
            for (row, end, within) in self.within(flow, &packet, row, end) {
                let (verdict, decides) = within.map_or((verdict, here.decides.clone()), |(v, d)| (v, Some(d)));
                push(&mut judged, Judged { skipped: row - first, last: end - first, verdict, decides });
            }
        }
        judged
    }

    fn is_changed(&self, flow: &Flow) -> bool {
        self.changed[flow.from].is_some() || self.changed[flow.to].is_some()
    }

    /// Of a flow from or to a closed container; inside is why it is unknown, if that is so.
    fn closed(&self, flow: &Flow) -> Option<Option<Decides>> {
        let closed = [flow.from, flow.to].into_iter().find(|place| self.cast.seats[*place] == Seat::Closed)?;
        let party = &self.cast.parties[closed];
        let inside = party.id.as_ref().and_then(|id| self.reading.insides.get(id));
        let opened = inside.and_then(|inside| inside.ways_out().next());
        Some(opened.map(|interface| {
            Decides::Kernel(format!("{} has an interface {} that is not Pontoon's", party.name, interface.name), false)
        }))
    }

    /// The first packet as it comes to the host's namespace, without a port.
    fn packet(&self, flow: &Flow) -> Option<Packet> {
        let (entry, source, mac) = match &self.cast.seats[flow.from] {
            Seat::Bridged { endpoint, port } => (Entry::Interface((*port)?), endpoint.address, Some(endpoint.mac.0)),
            Seat::Beyond { interface, address, mac, .. } => (Entry::Interface(*interface), *address, *mac),
            // The kernel chooses the source that fits.
            _ => (Entry::Local, Ipv4Addr::UNSPECIFIED, None),
        };
        let mac = self.changed[flow.from].and_then(|inside| inside.ways_out().next()?.mac).or(mac);
        let content = Content::Ip {
            source: source.into(),
            destination: flow.address.into(),
            transport: Transport::Icmp { kind: ECHO, code: 0 },
        };
        Some(Packet { entry, source_mac: mac, destination_mac: None, vlan: None, content })
    }

    /// Of a row of ports that begins with this one.
    fn outcome(&self, flow: &Flow, port: u16, outcome: Outcome) -> (Verdict, Option<Decides>) {
        let host = |place: Place| (Whose::Host, place);
        match outcome {
            Outcome::Stopped { by: Stop::Rule(place), answer } => {
                (Verdict::Deny, Some(Decides::Stops(host(place), answer)))
            }
            Outcome::Stopped { by: Stop::Kernel(why), answer } => (Verdict::Deny, Some(Decides::Kernel(why, answer))),
            Outcome::Unknown { because, answer } => (Verdict::Unknown, Some(Decides::Open(because, answer))),
            Outcome::Passes { arrival, by, led_by } => {
                let skipped = port - flow.port;
                let expected = match flow.service {
                    Service::Ports(ports) => Some(ports.first + skipped),
                    Service::Echo => None,
                };
                let there = match &self.cast.seats[flow.to] {
                    Seat::Bridged { endpoint, port } => {
                        arrival.destination.0 == IpAddr::V4(endpoint.address)
                            && (arrival.at == Entry::Interface(port.unwrap_or(0)) || self.at_bridge(arrival.at))
                    }
                    Seat::Beyond { interface, above, address, others, .. } => {
                        let here = |at: &u32| arrival.at == Entry::Interface(*at);
                        let there = [interface, above].into_iter().chain(others).any(here);
                        there && arrival.destination.0 == IpAddr::V4(*address)
                    }
                    _ => arrival.at == Entry::Local,
                };
                let to = arrival.destination;
                let same_port = to.1.is_none_or(|to| expected.is_none_or(|port| to == port));
                if there && (same_port || self.are_names(flow, port) && to.1 == self.names_port()) {
                    return (Verdict::Allow, self.names_it(&by).map(|place| Decides::Passes(host(place))));
                }
                // It is led to nobody else, and yet it does not come there.
                if let (None, Entry::Interface(at)) = (led_by, arrival.at)
                    && to.0 == IpAddr::V4(flow.address)
                {
                    let name = self
                        .reading
                        .kernel
                        .network()
                        .interface(at)
                        .map_or_else(|| at.to_string(), |it| it.name.clone());
                    return (Verdict::Deny, Some(Decides::Kernel(format!("it leaves by {name} instead"), false)));
                }
                (Verdict::Deny, Some(Decides::Elsewhere(led_by.map(host), arrival.destination)))
            }
        }
    }

    /// Names are asked for at the bridge's port 53.
    fn are_names(&self, flow: &Flow, port: u16) -> bool {
        let options = self.reading.intent.as_ref().map(|intent| &intent.options);
        port == DOMAIN && options.is_some_and(|options| options.gateway() == flow.address)
    }

    /// Where the daemon answers names.
    fn names_port(&self) -> Option<u16> {
        self.reading.intent.as_ref().and_then(|intent| intent.options.dns_port)
    }

    /// The bridge itself, where the kernel has not said behind which port somebody is.
    fn at_bridge(&self, at: Entry) -> bool {
        let bridge = self.reading.intent.as_ref().map(|intent| intent.options.bridge.as_str());
        let bridge = bridge.and_then(|bridge| self.reading.kernel.network().named(bridge));
        bridge.is_some_and(|bridge| at == Entry::Interface(bridge.index))
    }

    /// Of the rules that let it pass by name, one of our own where there is one.
    fn names_it(&self, by: &[Place]) -> Option<Place> {
        let own = |place: &&Place| self.is_own(**place);
        by.iter().find(own).or(by.last()).copied()
    }

    /// Whether a place is in one of the daemon's own tables.
    pub(super) fn is_own(&self, place: Place) -> bool {
        Some(self.reading.kernel.named(place).table) == self.own.as_deref()
    }

    /// What keeps a flow from passing the host as a router, or its answers: they are sent with one hop to go.
    fn ends_here(&self, flow: &Flow) -> Option<(Verdict, Decides)> {
        let seat = |place: usize| &self.cast.seats[place];
        let bridged = |place| matches!(seat(place), Seat::Bridged { .. });
        let icc = self.reading.intent.as_ref().is_some_and(|intent| intent.options.icc);
        let on_the_bridge =
            bridged(flow.from) && bridged(flow.to) && icc && matches!(flow.by, Way::Direct | Way::Link { .. });
        let with_the_host = matches!(seat(flow.from), Seat::Host) || matches!(seat(flow.to), Seat::Host);
        if on_the_bridge || with_the_host {
            return None;
        }
        let (whose, answer) = [(flow.from, false), (flow.to, true)]
            .into_iter()
            .find(|(place, _)| self.changed[*place].is_some_and(Inside::ends_at_a_router))?;
        let name = &self.cast.parties[whose].name;
        let why = format!("inside of {name}: what it sends ends at the first router (net.ipv4.ip_default_ttl is 1)");
        Some((Verdict::Deny, Decides::Kernel(why, answer)))
    }

    /// What the two ends' own namespaces make of ports that the host lets pass: of rows of them, what stops these.
    fn within(&self, flow: &Flow, packet: &Packet, first: u16, last: u16) -> Vec<Within> {
        let leaves = |from: u16, to: u16| match self.changed[flow.from] {
            None => vec![(from, to, None)],
            Some(inside) => {
                let leaving = Packet { entry: Entry::Local, source_mac: None, ..packet.clone() };
                let outcomes = inside.kernel.flows(from, to, |source, port| with_ports(&leaving, flow, source, port));
                self.stops(flow.from, outcomes, |at| at != Entry::Local)
            }
        };
        let arrives = |from: u16, to: u16| match (self.changed[flow.to], &self.cast.seats[flow.to]) {
            (Some(inside), Seat::Bridged { endpoint, .. }) => {
                // Without an interface nothing arrives: index 0 is nobody's.
                let eth0 = inside.ways_out().next().map_or(0, |interface| interface.index);
                let (source, to_address) = (self.seen_from(flow).into(), endpoint.address.into());
                let arriving = |source_port: Option<u16>, port: Option<u16>| {
                    let service = match flow.service {
                        Service::Ports(ports) => port.map(|port| ports.first + (port - flow.port)),
                        Service::Echo => None,
                    };
                    let packet = with_ports(packet, flow, source_port, service);
                    let Content::Ip { transport, .. } = packet.content else { return packet };
                    let content = Content::Ip { source, destination: to_address, transport };
                    Packet { entry: Entry::Interface(eth0), content, ..packet }
                };
                self.stops(flow.to, inside.kernel.flows(from, to, arriving), |at| at == Entry::Local)
            }
            _ => vec![(from, to, None)],
        };
        if let Some(why) = self.ends_here(flow) {
            return vec![(first, last, Some(why))];
        }
        let rows = leaves(first, last).into_iter();
        rows.flat_map(|(from, to, stopped)| match stopped {
            Some(_) => vec![(from, to, stopped)],
            None => arrives(from, to),
        })
        .collect()
    }

    /// Outcomes in a party's namespace: what stops them, where they should end as is said.
    fn stops(&self, whose: usize, outcomes: Vec<(u16, u16, Outcome)>, right: impl Fn(Entry) -> bool) -> Vec<Within> {
        let rule = |place: Place| (Whose::Party(whose), place);
        let stop = |outcome| match outcome {
            Outcome::Passes { arrival, .. } if right(arrival.at) => None,
            Outcome::Passes { arrival, led_by, .. } => {
                Some((Verdict::Deny, Decides::Elsewhere(led_by.map(rule), arrival.destination)))
            }
            Outcome::Stopped { by: Stop::Rule(place), answer } => {
                Some((Verdict::Deny, Decides::Stops(rule(place), answer)))
            }
            Outcome::Stopped { by: Stop::Kernel(why), answer } => {
                let name = &self.cast.parties[whose].name;
                Some((Verdict::Deny, Decides::Kernel(format!("inside of {name}: {why}"), answer)))
            }
            Outcome::Unknown { because, answer } => Some((Verdict::Unknown, Decides::Open(because, answer))),
        };
        outcomes.into_iter().map(|(first, last, outcome)| (first, last, stop(outcome))).collect()
    }

    /// The address under which a target sees the source.
    fn seen_from(&self, flow: &Flow) -> Ipv4Addr {
        let gateway = self.reading.intent.as_ref().map(|intent| intent.options.gateway());
        match (&self.cast.seats[flow.from], &flow.by) {
            (Seat::Bridged { endpoint, .. }, Way::Direct | Way::Link { .. }) => endpoint.address,
            (Seat::Beyond { address, .. }, _) => *address,
            _ => gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// How many ports a flow is of; one where there is none.
fn count(flow: &Flow) -> u16 {
    match flow.service {
        Service::Ports(ports) => (ports.last - ports.first).saturating_add(1),
        Service::Echo => 1,
    }
}

fn with_ports(packet: &Packet, flow: &Flow, from: Option<u16>, to: Option<u16>) -> Packet {
    let Content::Ip { source, destination, .. } = packet.content else { return packet.clone() };
    let transport = match flow.service {
        Service::Echo => Transport::Icmp { kind: ECHO, code: 0 },
        Service::Ports(ports) => match ports.protocol {
            Protocol::Tcp => Transport::Tcp { source: from, destination: to, flags: SYN },
            Protocol::Udp => Transport::Udp { source: from, destination: to },
            Protocol::Sctp => Transport::Other(132),
        },
    };
    Packet { content: Content::Ip { source, destination, transport }, ..packet.clone() }
}

/// Rows that fare alike become one.
fn push(judged: &mut Vec<Judged>, next: Judged) {
    match judged.last_mut() {
        Some(last) if (last.verdict, &last.decides) == (next.verdict, &next.decides) => last.last = next.last,
        _ => judged.push(next),
    }
}
