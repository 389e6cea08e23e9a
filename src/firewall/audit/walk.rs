//! The packet's way through the kernel: which hooks, in which order, and what stands between them.

use std::net::IpAddr;

use super::bytecode::{ChainKind, Hook, Reject};
use super::compiled::Stack;
use super::frame::{Flow, Frame, Tracking, Tuple};
use super::machine::{End, Evaluation, Machine};
use super::network::{Interface, RouteKind, Way};
use super::packet::{ARP, Entry, Headers, ICMP, IPV4, IPV6, Packet, TCP};
use super::routing::{self, Answer, Question};
use super::trace::Met;
use super::translate;

/// How a packet ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// A socket of this machine may have it.
    Delivered,
    /// It is sent out of an interface; of a bridge's port, that port.
    Sent {
        /// The interface's index.
        interface: u32,
    },
    /// A bridge sends it out of every port that floods.
    Flooded {
        /// The bridge's index.
        bridge: u32,
    },
    /// A rule or a policy drops it.
    Dropped,
    /// A rule answers that it is refused.
    Rejected(Reject),
    /// The kernel drops it without a rule, and why.
    Lost(String),
    /// It cannot be said, and why.
    Unknown(String),
}

/// A packet on its way.
pub(super) struct Walk<'e, 'a> {
    pub(super) evaluation: &'e mut Evaluation<'a>,
    pub(super) frame: Frame,
    /// The flow that it is of, where it is not the first packet.
    known: Option<Flow>,
    /// Bridged packets that ip's hooks have seen do not meet ip's prerouting again.
    pub(super) prerouted: bool,
    /// The next hop, where it goes by one.
    pub(super) gateway: Option<IpAddr>,
    /// Another way out that it was given at a hook, which goes on with the one that it began with.
    onward: Option<Way>,
    /// As it was sent: with the source that this machine chose, before any rule saw it.
    pub(super) began: Option<Tuple>,
}

/// What happens at a hook besides chains.
#[derive(Clone, Copy)]
pub(super) enum Point {
    Track,
    Translate,
    /// br_netfilter: the hooks of ip see what is bridged.
    Borrow(Hook),
}

/// How the way goes on, or its end.
pub(super) type Passage<T> = Result<T, Fate>;

impl<'e, 'a> Walk<'e, 'a> {
    pub(super) fn new(
        evaluation: &'e mut Evaluation<'a>,
        packet: &Packet,
        mark: u32,
        known: Option<Flow>,
    ) -> Option<Self> {
        let frame = Frame {
            headers: Headers::of(packet)?,
            has_link: packet.entry != Entry::Local,
            incoming: None,
            outgoing: None,
            ports: (None, None),
            mark: Some(mark),
            packet_type: None,
            tracking: Tracking::None,
            taken_by: None,
            zone: None,
            readdressed: false,
        };
        let began = Tuple::of(&frame.headers);
        Some(Self { evaluation, frame, known, prerouted: false, gateway: None, onward: None, began })
    }

    /// Goes all the way.
    pub(super) fn go(&mut self, entry: Entry) -> Fate {
        let result = match entry {
            Entry::Local => self.originate(),
            Entry::Interface(index) => self.arrive(index),
        };
        match result {
            Ok(fate) | Err(fate) => fate,
        }
    }

    pub(super) fn interface(&self, index: u32) -> Passage<&'a Interface> {
        let network = self.evaluation.network;
        network
            .interface(index)
            .ok_or_else(|| Fate::Unknown(format!("an interface of index {index}, which is not here")))
    }

    fn stack(&self) -> Passage<Stack> {
        match self.frame.headers.ethertype {
            IPV4 => Ok(Stack::Ip),
            IPV6 => Ok(Stack::Ip6),
            other => Err(Fate::Lost(format!("nothing on this machine takes ethertype {other:#06x}"))),
        }
    }

    /// Runs a hook's chains by priority, and what the kernel has hooked in between.
    pub(super) fn hook(&mut self, stack: Stack, hook: Hook, points: &[(i32, Point)]) -> Passage<()> {
        let compiled = self.evaluation.compiled;
        let calls = compiled.calls(stack, hook);
        if calls.is_empty() && points.is_empty() {
            return Ok(());
        }
        self.evaluation.trace.push(|| Met::Hook { stack, hook, device: None });
        let mut points = points.iter().peekable();
        for call in calls.iter().filter(|call| call.kind != ChainKind::Nat) {
            while let Some((_, point)) = points.next_if(|(priority, _)| *priority <= call.priority) {
                self.point(*point, stack, hook)?;
            }
            self.chain(call.at)?;
            if call.kind == ChainKind::Route {
                self.reroute()?;
            }
        }
        for (_, point) in points {
            self.point(*point, stack, hook)?;
        }
        Ok(())
    }

    /// Runs one base chain.
    fn chain(&mut self, at: super::compiled::ChainAt) -> Passage<()> {
        self.evaluation.trace.push(|| Met::Chain(at));
        let Some(mut machine) = Machine::new(self.evaluation, &mut self.frame, at) else { return Ok(()) };
        fate(machine.run(at))
    }

    fn point(&mut self, point: Point, stack: Stack, hook: Hook) -> Passage<()> {
        match point {
            Point::Track => translate::track(self.evaluation, &mut self.frame, self.known.as_ref()),
            Point::Translate => {
                let before = self.frame.headers.address(true);
                translate::translate(self.evaluation, &mut self.frame, stack, hook).or_else(fate)?;
                if hook == Hook::Output && before != self.frame.headers.address(true) {
                    return self.reroute();
                }
                Ok(())
            }
            Point::Borrow(of) => self.borrow(of),
        }
    }

    /// Chains of netdev, and inet's of ingress, for one device.
    pub(super) fn device_hook(&mut self, hook: Hook, device: &Interface) -> Passage<()> {
        let compiled = self.evaluation.compiled;
        for call in compiled.calls(Stack::Device, hook) {
            let on = compiled.base(call.at).is_some_and(|base| base.devices.iter().any(|name| on_device(name, device)));
            if on {
                self.evaluation.trace.push(|| Met::Hook { stack: Stack::Device, hook, device: Some(device.index) });
                self.chain(call.at)?;
            }
        }
        Ok(())
    }

    pub(super) fn question(&self) -> Passage<Question> {
        let headers = &self.frame.headers;
        let destination =
            headers.address(true).ok_or_else(|| Fate::Unknown("the destination that it was given".to_owned()))?;
        Ok(Question {
            source: headers.address(false).filter(|source| !source.is_unspecified()),
            destination,
            incoming: self.frame.incoming,
            outgoing: None,
            mark: self.frame.mark.ok_or_else(|| Fate::Unknown("the packet's mark".to_owned()))?,
            protocol: headers.protocol,
            ports: (headers.port(false), headers.port(true)),
        })
    }

    /// A program of this machine sends it.
    fn originate(&mut self) -> Passage<Fate> {
        let stack = self.stack()?;
        let way = self.route_out()?;
        if self.frame.headers.address(false).is_some_and(|source| source.is_unspecified()) {
            let to = self.question()?.destination;
            let source = routing::source_for(self.evaluation.network, Some(way.0), way.1, to);
            self.frame
                .headers
                .set_address(false, source.ok_or_else(|| Fate::Lost("no address to send from".to_owned()))?);
            self.began = Tuple::of(&self.frame.headers);
        }
        self.goes(way.0);
        self.frame.packet_type = Some(HOST);
        self.hook(stack, Hook::Output, &[(-200, Point::Track), (-100, Point::Translate)])?;
        if let Some(way) = self.onward.take() {
            self.goes(way);
        }
        self.leave(stack)
    }

    /// The way out for what this machine sends, and the source that it prefers.
    fn route_out(&mut self) -> Passage<(Way, Option<IpAddr>)> {
        let mut question = self.question()?;
        question.incoming = None;
        let loopback = || self.evaluation.network.interfaces.iter().find(|i| i.loopback).map(|i| i.index);
        match routing::route(self.evaluation.network, &question) {
            Answer::Route { kind: RouteKind::Local, source, .. } => {
                let interface = loopback().ok_or_else(|| Fate::Lost("there is no loopback".to_owned()))?;
                Ok((Way { interface, gateway: None }, source.or(Some(question.destination))))
            }
            Answer::Route {
                kind: RouteKind::Unicast | RouteKind::Broadcast | RouteKind::Multicast,
                way: Some(way),
                source,
            } => Ok((way, source)),
            Answer::Route { kind, .. } => Err(Fate::Lost(format!("the route to {} is {kind:?}", question.destination))),
            Answer::None => Err(Fate::Lost(format!("no route to {}", question.destination))),
            Answer::Unknown(what) => Err(Fate::Unknown(what)),
        }
    }

    /// What this machine sends was changed, and finds its way anew (`ip_route_me_harder`). Rules see that from the next hook
    /// on: to this one's end it has the way out that it came with.
    fn reroute(&mut self) -> Passage<()> {
        if self.frame.incoming.is_none() {
            let (way, _) = self.route_out()?;
            self.onward = Some(way);
        }
        Ok(())
    }

    fn goes(&mut self, way: Way) {
        (self.frame.outgoing, self.gateway) = (Some(way.interface), way.gateway);
    }

    /// Postrouting, and out.
    fn leave(&mut self, stack: Stack) -> Passage<Fate> {
        self.frame.packet_type = None;
        self.hook(stack, Hook::Postrouting, &[(100, Point::Translate)])?;
        let index = self.frame.outgoing.ok_or_else(|| Fate::Unknown("the way out".to_owned()))?;
        let interface = self.interface(index)?;
        if interface.loopback {
            return self.come_back(stack, index);
        }
        if !interface.up {
            return Err(Fate::Lost(format!("{} is down", interface.name)));
        }
        if self.gateway.is_some() && self.frame.headers.time_to_live().is_some_and(|hops| hops <= 1) {
            return Err(Fate::Lost("its time to live ends at the next hop".to_owned()));
        }
        // The link's header is made anew.
        self.frame.readdressed = false;
        self.frame.has_link = true;
        let next = self.gateway.or(self.frame.headers.address(true));
        let to = next.and_then(|next| self.evaluation.stations.mac(next, index));
        self.frame.headers.set_mac(true, to);
        self.frame.headers.set_mac(false, interface.mac);
        if interface.bridge.is_some() {
            return self.bridge_out(interface);
        }
        self.device_hook(Hook::Egress, interface)?;
        if self.frame.readdressed {
            return Err(Fate::Unknown("who gets a frame to the hardware address that a rule writes".to_owned()));
        }
        Ok(Fate::Sent { interface: index })
    }

    /// Over loopback: conntrack knows the packet, and its route is kept.
    fn come_back(&mut self, stack: Stack, loopback: u32) -> Passage<Fate> {
        (self.frame.incoming, self.frame.outgoing) = (Some(loopback), None);
        self.frame.packet_type = None;
        self.frame.has_link = true;
        self.device_hook(Hook::Ingress, self.interface(loopback)?)?;
        self.hook(stack, Hook::Prerouting, &[(-200, Point::Track), (-100, Point::Translate)])?;
        self.deliver(stack)
    }

    fn deliver(&mut self, stack: Stack) -> Passage<Fate> {
        self.hook(stack, Hook::Input, &[(100, Point::Translate)])?;
        if stack == Stack::Ip && self.evaluation.network.sysctls.icmp_echo_ignore_all && self.is_echo_request() {
            return Err(Fate::Lost("echo requests are ignored (net.ipv4.icmp_echo_ignore_all)".to_owned()));
        }
        // `tcp_v4_rcv`; a rule has made it so, for else it were lost before.
        if (self.frame.headers.protocol, self.frame.packet_type) == (Some(TCP), Some(OTHER_HOST)) {
            return Err(Fate::Lost("TCP takes only what is sent to this machine's hardware address".to_owned()));
        }
        Ok(Fate::Delivered)
    }

    fn is_echo_request(&self) -> bool {
        const ECHO: u8 = 8;
        let headers = &self.frame.headers;
        let kind = headers.transport.and_then(|begin| headers.network.known(begin, 1));
        headers.protocol == Some(ICMP) && kind == Some(&[ECHO])
    }

    /// It arrives at an interface.
    fn arrive(&mut self, index: u32) -> Passage<Fate> {
        let interface = self.interface(index)?;
        if !interface.up {
            return Err(Fate::Lost(format!("{} is down", interface.name)));
        }
        self.frame.incoming = Some(index);
        let bridge = self.evaluation.network.bridge_of(interface);
        if let Some(bridge) = bridge {
            self.aim(interface, bridge)?;
        }
        self.frame.packet_type = self.packet_type(interface);
        self.device_hook(Hook::Ingress, interface)?;
        match (bridge, interface.master) {
            (Some(bridge), _) => self.bridge_in(interface, bridge),
            (None, Some(master)) => {
                let master = self.interface(master)?;
                Err(Fate::Unknown(format!("{} belongs to {}, a {}", interface.name, master.name, master.kind)))
            }
            (None, None) => self.take_in(interface),
        }
    }

    /// `eth_type_trans`. Where nobody said to whom it is sent, it is sent to this interface.
    fn packet_type(&self, interface: &Interface) -> Option<u8> {
        let Some(to) = self.frame.headers.destination_mac() else { return Some(HOST) };
        Some(match to {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => BROADCAST,
            [first, ..] if first & 1 != 0 => MULTICAST,
            to if interface.mac == Some(to) => HOST,
            _ => 3,
        })
    }

    /// Above the link: by ethertype.
    pub(super) fn take_in(&mut self, interface: &'a Interface) -> Passage<Fate> {
        if self.frame.headers.link.known(12, 2) == Some(&[0x81, 0]) {
            return Err(Fate::Unknown(format!("whether an interface takes the frame's VLAN at {}", interface.name)));
        }
        if self.frame.packet_type == Some(OTHER_HOST) {
            return Err(Fate::Lost(format!("it came to {} and is sent to another hardware address", interface.name)));
        }
        if self.frame.headers.ethertype == ARP {
            self.hook(Stack::Arp, Hook::Input, &[])?;
            return Ok(Fate::Delivered);
        }
        let stack = self.stack()?;
        if stack == Stack::Ip6 && interface.sysctls.disable_ipv6 {
            return Err(Fate::Lost(format!("{} has no IPv6", interface.name)));
        }
        if !self.prerouted {
            self.hook(stack, Hook::Prerouting, &[(-200, Point::Track), (-100, Point::Translate)])?;
        }
        self.decide(stack, interface)
    }

    /// The routing decision.
    fn decide(&mut self, stack: Stack, interface: &'a Interface) -> Passage<Fate> {
        let question = self.question()?;
        let network = self.evaluation.network;
        let lost = |why: String| Err(Fate::Lost(why));
        if let Some(why) = routing::refuses_destination(network, question.destination, interface.index) {
            return lost(why);
        }
        let multicast = question.destination.is_multicast();
        if !multicast
            && let Some(why) = routing::refuses_source(network, &question, interface.index).map_err(Fate::Unknown)?
        {
            return lost(why);
        }
        if multicast {
            return self.deliver(stack);
        }
        let (kind, way) = match routing::route(network, &question) {
            Answer::Route { kind, way, .. } => (kind, way),
            Answer::None => return lost(format!("no route to {}", question.destination)),
            Answer::Unknown(what) => return Err(Fate::Unknown(what)),
        };
        let to_many = matches!(self.frame.packet_type, Some(BROADCAST | MULTICAST));
        if interface.sysctls.drop_unicast_in_l2_multicast
            && stack == Stack::Ip
            && to_many
            && !matches!(kind, RouteKind::Broadcast | RouteKind::Multicast)
        {
            return lost("it is for one, in a frame for many (drop_unicast_in_l2_multicast)".to_owned());
        }
        match (kind, way) {
            (RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast, _) => {
                self.deliver(stack)
            }
            (RouteKind::Unicast, Some(way)) => self.forward(stack, interface, way, &question),
            (kind, _) => lost(format!("the route to {} is {kind:?}", question.destination)),
        }
    }

    fn forward(&mut self, stack: Stack, interface: &Interface, way: Way, question: &Question) -> Passage<Fate> {
        let on = match stack {
            Stack::Ip => interface.sysctls.forwarding_v4,
            _ => self.evaluation.network.sysctls.forwarding_v6,
        };
        if !on {
            return Err(Fate::Lost(format!("forwarding is off at {}", interface.name)));
        }
        if self.frame.taken_by.is_some() {
            return Err(Fate::Lost("it was given to a socket (tproxy), and such packets are not forwarded".to_owned()));
        }
        if self.frame.packet_type != Some(HOST) {
            return Err(Fate::Lost("only what is sent to this machine is forwarded".to_owned()));
        }
        let link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if question.source.is_none_or(link_local) && stack == Stack::Ip6 {
            return Err(Fate::Lost("its source is of one link only".to_owned()));
        }
        match self.frame.headers.time_to_live() {
            Some(0 | 1) => return Err(Fate::Lost("its time to live ends here: it is not forwarded".to_owned())),
            Some(hops) => self.frame.headers.set_time_to_live(hops - 1),
            None => return Err(Fate::Unknown("the time to live that a rule sets".to_owned())),
        }
        self.goes(way);
        self.evaluation.trace.kernel(|| format!("forwarded to interface {}", way.interface));
        self.hook(stack, Hook::Forward, &[])?;
        self.leave(stack)
    }
}

pub(super) const HOST: u8 = 0;
const BROADCAST: u8 = 1;
const MULTICAST: u8 = 2;
const OTHER_HOST: u8 = 3;

/// Chains may name devices by a prefix (Linux 6.17 and newer).
fn on_device(name: &str, device: &Interface) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => device.name.starts_with(prefix),
        None => device.name == name,
    }
}

/// A chain's end, or a translation's, as the packet's.
fn fate(end: End) -> Passage<()> {
    match end {
        End::Accept => Ok(()),
        End::Drop => Err(Fate::Dropped),
        End::Reject(how) => Err(Fate::Rejected(how)),
        End::Unknown(what) => Err(Fate::Unknown(what)),
    }
}
