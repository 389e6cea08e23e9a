//! Which flows there are: for each pair of parties, each service of the target and each way to it; and what the intent
//! says. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::cast::{Cast, Seat};
use super::intended::{self, Should};
use super::ports;
use super::reading::Reading;
use crate::firewall::audit::sockets::Socket;
use crate::model::audit::{Intended, PartyKind, PartyPort, Reason, Service, Way};
use crate::model::{Endpoint, NetworkOptions, PortRange, Protocol, Published};

/// One flow to be judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flow {
    /// Who, by place.
    pub(super) from: usize,
    /// To whom.
    pub(super) to: usize,
    /// At the target.
    pub(super) service: Service,
    /// By which way.
    pub(super) by: Way,
    /// The address that is spoken to.
    pub(super) address: Ipv4Addr,
    /// The first port that is spoken to; of an echo request 0.
    pub(super) port: u16,
    /// What should be.
    pub(super) intent: Intended,
    /// Why.
    pub(super) reason: Reason,
    /// Somebody listens.
    pub(super) listening: Option<bool>,
}

/// Makes the flows of one reading.
pub(super) struct Flows<'a> {
    reading: &'a Reading,
    cast: &'a Cast,
    /// What is asked of parties of whom nobody knows which ports matter.
    any: Vec<Service>,
    /// What comes in by the bridge is forwarded.
    bridge_forwards: bool,
}

/// The port of names.
pub(super) const DOMAIN: u16 = 53;

const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

impl<'a> Flows<'a> {
    pub(super) fn new(reading: &'a Reading, cast: &'a Cast) -> Self {
        let all = |protocol| Service::Ports(PortRange { protocol, first: 1, last: u16::MAX });
        let mut flows = Self {
            reading,
            cast,
            bridge_forwards: true,
            any: vec![all(Protocol::Tcp), all(Protocol::Udp), Service::Echo],
        };
        let bridge = flows.options().and_then(|options| reading.kernel.network().named(&options.bridge));
        flows.bridge_forwards = bridge.is_none_or(|bridge| flows.forwards(bridge.index));
        flows
    }

    /// Only of this service.
    pub(super) fn only(self, service: Service) -> Self {
        Self { any: vec![service], ..self }
    }

    /// All flows of a pair of two different parties, in order. Whoever shares another's namespace has that one's.
    pub(super) fn between(&self, from: usize, to: usize) -> Vec<Flow> {
        let seats = &self.cast.seats;
        if self.cast.space(from) == self.cast.space(to) {
            return self.shared(from, to);
        }
        let mut flows = match (&seats[from], &seats[to]) {
            (Seat::Shares(_), _) | (_, Seat::Shares(_)) => Vec::new(),
            (Seat::Closed, _) | (_, Seat::Closed) => self.closed(from, to),
            (Seat::Bridged { endpoint: source, .. }, Seat::Bridged { endpoint, .. }) => {
                self.neighbours(from, to, source, endpoint)
            }
            (Seat::Host, Seat::Bridged { endpoint, .. }) => self.host_to_container(from, to, endpoint),
            (Seat::Beyond { .. }, Seat::Bridged { endpoint, .. }) if self.is_at_bridge(from) => {
                self.guest_to_container(from, to, endpoint)
            }
            (Seat::Beyond { above, own, .. }, Seat::Bridged { endpoint, .. }) => {
                self.published_to(from, to, endpoint, *own, self.forwards(*above))
            }
            (Seat::Bridged { .. }, Seat::Host) => self.container_to_host(from, to),
            (Seat::Beyond { own, .. }, Seat::Host) => self.stranger_to_host(from, to, *own),
            (Seat::Bridged { .. }, Seat::Beyond { address, .. }) if self.is_at_bridge(to) => {
                self.any(from, to, *address, &(Intended::Silent, Reason::OperatorsBridge, Way::Direct))
            }
            (Seat::Bridged { .. }, Seat::Beyond { address, .. }) => {
                let outbound = (Intended::Allow, Reason::Outbound, Way::Direct);
                self.any(from, to, *address, &intended::forwarded(outbound, self.bridge_forwards))
            }
            (Seat::Beyond { interface, .. }, Seat::Beyond { interface: other, .. }) if interface == other => Vec::new(),
            (Seat::Host | Seat::Beyond { .. }, Seat::Beyond { address, .. }) => {
                self.any(from, to, *address, &(Intended::Silent, Reason::HostsOwn, Way::Direct))
            }
            (Seat::Host, Seat::Host) => Vec::new(),
        };
        flows.sort_by(|a, b| (a.service, &a.by).cmp(&(b.service, &b.by)));
        flows
    }

    fn options(&self) -> Option<&'a NetworkOptions> {
        Some(&self.reading.intent.as_ref()?.options)
    }

    /// Whether what comes in there is forwarded: because the daemon sees to it, or the host does anyway.
    fn forwards(&self, interface: u32) -> bool {
        let by_itself = self.reading.kernel.network().interface(interface).is_some_and(|i| i.sysctls.forwarding_v4);
        by_itself || self.options().is_some_and(|options| options.ip_forward)
    }

    /// Whether a party is at a port of an operator's bridge.
    fn is_at_bridge(&self, place: usize) -> bool {
        self.cast.parties[place].kind == PartyKind::Bridge
    }

    fn ports(&self, of: usize) -> &'a [PartyPort] {
        &self.cast.parties[of].ports
    }

    fn flow(
        &self,
        (from, to): (usize, usize),
        port: Option<&PartyPort>,
        to_port: (Ipv4Addr, u16),
        should: Should,
    ) -> Flow {
        let (intent, reason, by) = should;
        Flow {
            from,
            to,
            service: port.map_or(Service::Echo, |port| Service::Ports(port.ports)),
            by,
            address: to_port.0,
            port: to_port.1,
            intent,
            reason,
            listening: port.map(|port| !port.listeners.is_empty()),
        }
    }

    /// One flow for each service at an address, echo requests included.
    fn services(
        &self,
        pair: (usize, usize),
        address: Ipv4Addr,
        should: impl Fn(Option<&PartyPort>) -> Should,
    ) -> Vec<Flow> {
        let ports = self.ports(pair.1).iter();
        let flows = ports.map(|port| self.flow(pair, Some(port), (address, port.ports.first), should(Some(port))));
        flows.chain([self.flow(pair, None, (address, 0), should(None))]).collect()
    }

    /// Within one namespace: by its loopback, which nobody stands between.
    fn shared(&self, from: usize, to: usize) -> Vec<Flow> {
        let allowed = |_: Option<&PartyPort>| (Intended::Allow, Reason::Shared, Way::Shared);
        self.services((from, to), Ipv4Addr::LOCALHOST, allowed)
    }

    fn closed(&self, from: usize, to: usize) -> Vec<Flow> {
        let denied = |_: Option<&PartyPort>| (Intended::Deny, Reason::Closed, Way::Direct);
        let address = match &self.cast.seats[to] {
            Seat::Bridged { endpoint, .. } => endpoint.address,
            Seat::Beyond { address, .. } => *address,
            Seat::Host => self.options().map_or(NOWHERE, NetworkOptions::gateway),
            _ => NOWHERE,
        };
        match self.cast.seats[to] {
            Seat::Beyond { .. } => self.any(from, to, address, &denied(None)),
            _ => self.services((from, to), address, denied),
        }
    }

    fn neighbours(&self, from: usize, to: usize, source: &Endpoint, target: &Endpoint) -> Vec<Flow> {
        let (Some(options), Some(id)) = (self.options(), &self.cast.parties[to].id) else { return Vec::new() };
        let routed = !options.icc;
        let forwards = self.bridge_forwards;
        let direct = |port: Option<&PartyPort>| {
            let should = intended::neighbours(options, source, id, port);
            intended::forwarded(should, forwards || !routed)
        };
        let mut flows = self.services((from, to), target.address, direct);
        flows.extend(self.hairpins(from, to, options));
        flows
    }

    /// From a neighbour at another port of an operator's bridge.
    fn guest_to_container(&self, from: usize, to: usize, target: &Endpoint) -> Vec<Flow> {
        let direct = |_: Option<&PartyPort>| (Intended::Silent, Reason::OperatorsBridge, Way::Direct);
        let mut flows = self.services((from, to), target.address, direct);
        flows.extend(self.options().into_iter().flat_map(|options| self.hairpins(from, to, options)));
        flows
    }

    /// To published ports, from who is at the bridge.
    fn hairpins(&self, from: usize, to: usize, options: &NetworkOptions) -> impl Iterator<Item = Flow> {
        self.publishes(to, |row| !intended::on_loopback(row)).map(move |(port, row)| {
            let host = (address_of(&row, options.gateway()), row.host_port);
            let by = Way::Hairpin { host: (IpAddr::V4(host.0), host.1) };
            let should = (Intended::Allow, Reason::Published { row: intended::row_text(&row) }, by);
            self.flow((from, to), Some(port), host, intended::forwarded(should, self.bridge_forwards))
        })
    }

    /// Rows that lead to a container, each with the port of the party that it leads to.
    fn publishes(
        &self,
        to: usize,
        which: impl Fn(&Published) -> bool,
    ) -> impl Iterator<Item = (&'a PartyPort, Published)> {
        let rows = |port: &'a PartyPort| port.published.iter().map(move |row| (port, *row));
        self.ports(to).iter().flat_map(rows).filter(move |(_, row)| which(row))
    }

    fn host_to_container(&self, from: usize, to: usize, target: &Endpoint) -> Vec<Flow> {
        let direct = |_: Option<&PartyPort>| (Intended::Allow, Reason::Host, Way::Direct);
        let mut flows = self.services((from, to), target.address, direct);
        flows.extend(self.publishes(to, |_| true).map(|(port, row)| {
            self.flow(
                (from, to),
                Some(port),
                publish_at(&row, Ipv4Addr::LOCALHOST),
                published(&row, Ipv4Addr::LOCALHOST),
            )
        }));
        flows
    }

    fn published_to(&self, from: usize, to: usize, target: &Endpoint, own: Ipv4Addr, forwards: bool) -> Vec<Flow> {
        let mut flows = self.services((from, to), target.address, intended::from_beyond);
        flows.extend(self.publishes(to, |row| !intended::on_loopback(row)).map(|(port, row)| {
            let should = intended::forwarded(published(&row, own), forwards);
            self.flow((from, to), Some(port), publish_at(&row, own), should)
        }));
        flows
    }

    fn container_to_host(&self, from: usize, to: usize) -> Vec<Flow> {
        let Some(options) = self.options() else { return Vec::new() };
        let mut flows =
            self.at_host(from, to, options.gateway(), |service, address| intended::to_host(options, service, address));
        // Names are asked for at the usual port, which leads to where the daemon answers; there is no other way to it.
        let mut asked: Vec<Protocol> = Vec::new();
        flows.retain_mut(|flow| {
            let (Service::Ports(ports), Reason::HostAlways) = (&mut flow.service, &flow.reason) else { return true };
            let tcp = ports.protocol == Protocol::Tcp;
            let listens = |socket: &Socket| socket.tcp == tcp && Some(socket.port) == options.dns_port;
            flow.listening = Some(self.reading.sockets.iter().any(listens));
            (ports.first, ports.last, flow.port) = (DOMAIN, DOMAIN, DOMAIN);
            let again = asked.contains(&ports.protocol);
            asked.push(ports.protocol);
            !again
        });
        flows
    }

    fn stranger_to_host(&self, from: usize, to: usize, own: Ipv4Addr) -> Vec<Flow> {
        self.at_host(from, to, own, |_, _| (Intended::Silent, Reason::HostsOwn, Way::Direct))
    }

    /// What listens on this machine: each where it listens. What has IPv6 only is out of containers' reach.
    fn at_host(
        &self,
        from: usize,
        to: usize,
        usual: Ipv4Addr,
        should: impl Fn(Service, Ipv4Addr) -> Should,
    ) -> Vec<Flow> {
        let reached = self.ports(to).iter().filter_map(|port| Some((port, ports::spoken_to(&port.listeners, usual)?)));
        let flows = reached.map(|(port, address)| {
            let should = should(Service::Ports(port.ports), address);
            self.flow((from, to), Some(port), (address, port.ports.first), should)
        });
        let echo = self.flow((from, to), None, (usual, 0), should(Service::Echo, usual));
        flows.chain([echo]).collect()
    }

    /// To where nobody knows which ports matter: all of them.
    fn any(&self, from: usize, to: usize, address: Ipv4Addr, should: &Should) -> Vec<Flow> {
        let flow = |service: &Service| Flow {
            service: *service,
            port: if let Service::Ports(ports) = service { ports.first } else { 0 },
            ..self.flow((from, to), None, (address, 0), should.clone())
        };
        self.any.iter().map(flow).collect()
    }
}

fn published(row: &Published, usual: Ipv4Addr) -> Should {
    let (address, port) = publish_at(row, usual);
    let by = Way::Publish { host: (IpAddr::V4(address), port) };
    (Intended::Allow, Reason::Published { row: intended::row_text(row) }, by)
}

fn publish_at(row: &Published, usual: Ipv4Addr) -> (Ipv4Addr, u16) {
    (address_of(row, usual), row.host_port)
}

/// The host's address by which a row is spoken to: its own, or of rows on all addresses the usual one.
fn address_of(row: &Published, usual: Ipv4Addr) -> Ipv4Addr {
    match row.host_ip {
        IpAddr::V4(address) if !address.is_unspecified() => address,
        _ => usual,
    }
}
