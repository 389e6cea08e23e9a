//! The audit: what the kernel does with a packet, and why.
//!
//! [`Kernel`] is a network namespace's ruleset (all tables of all families, whoever wrote them) and network
//! (interfaces, routes, neighbours, parameters), read once ([`snapshot`]) or made up. [`Kernel::explain`] is a pure
//! function from a [`Packet`] to how it ends and what it met. What cannot be modelled is [`Fate::Unknown`], with its
//! name; what may go either way (a limit's rate, a port that nobody said) is followed both ways, and is unknown only
//! where they end differently.
//!
//! The rules are read as the kernel holds them, over netlink, not as `nft` prints them: see [`bytecode`].
//!
//! | file | what it is |
//! |---|---|
//! | `bytecode`, `xt` | the ruleset: tables, chains, sets, expressions; iptables' extensions |
//! | `attributes`, `netlink`, `decode`, `expressions`, `links`, `routes`, `snapshot` | reading it from the kernel |
//! | `network`, `routing` | interfaces, bridges, routes; the routing decision |
//! | `packet`, `frame` | the packet in question; the packet on its way |
//! | `compiled`, `decisive`, `sets`, `stations` | names resolved, base chains in order, what of a rule decides, sets and hardware addresses indexed |
//! | `registers`, `machine`, `loads`, `extensions`, `exits` | running a chain: once, and as often as it may go either way |
//! | `walk`, `bridging`, `borrowing`, `translate` | the hooks in order, and what the kernel does between them |
//! | `flows`, `ports` | a flow as a whole: its first packet and the answer; of many ports at once |
//! | `keys`, `listing` | elements and rules in nft's words |
//! | `sockets`, `taken` | who listens in a namespace; packets that rules give to one of them |
//! | `question` | a packet in words |
//! | `choices`, `trace`, `explanation` | open questions; what was met; the answer for people and programs |

mod attributes;
mod borrowing;
mod bridging;
pub mod bytecode;
mod choices;
mod compiled;
mod decisive;
mod decode;
mod exits;
mod explanation;
mod expressions;
mod extensions;
mod flows;
mod frame;
mod keys;
mod legacy;
mod links;
pub mod listing;
mod loads;
mod machine;
mod netlink;
pub mod network;
mod packet;
mod ports;
pub mod question;
mod registers;
mod routes;
mod routing;
mod sets;
pub mod snapshot;
pub mod sockets;
mod stations;
mod taken;
mod trace;
mod translate;
mod walk;
pub mod xt;

use std::net::IpAddr;
use std::sync::OnceLock;

use bytecode::Ruleset;
use choices::Choices;
use compiled::Compiled;
use machine::Evaluation;
use network::{ForwardingEntry, Neighbour, Network};
use ports::Ports;
use stations::Stations;
use trace::Trace;
use walk::Walk;

pub use explanation::{Explanation, Judgement, Step, Way};
pub use flows::{Arrival, EPHEMERAL, Named, Outcome, Place, Stop};
pub use frame::{Flow, State, Tuple, Zone};
pub use packet::{Content, Entry, Mac, Packet, Transport};
pub use ports::told_apart as ports_told_apart;
pub use routing::way_to;
pub use walk::Fate;

/// A network namespace as the audit sees it.
#[derive(Debug)]
pub struct Kernel {
    compiled: Compiled,
    network: Network,
    stations: Stations,
    /// Made when first asked for.
    ports: OnceLock<Ports>,
}

/// More ways than this through open questions are not gone: the answer is then unknown.
pub const MOST_WAYS: usize = 256;
/// Where only the verdict is wanted, and some ways arrive and some do not, no more ways than this are gone.
const ENOUGH_WAYS: usize = 8;

/// How much is wanted of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// How it ends, and on what that depends.
    Verdict,
    /// By which rules, too, each way that it may end.
    Ways,
    /// All that it meets, too.
    Steps,
}

impl Kernel {
    /// Makes a ruleset ready: indexes its sets, orders its chains.
    pub fn new(ruleset: Ruleset, network: Network) -> Self {
        let stations = Stations::of(&network);
        Self { compiled: Compiled::new(ruleset), network, stations, ports: OnceLock::new() }
    }

    /// Adds who has which address on a bridge, and behind which port, as somebody else knows it: the kernel knows only
    /// whom it has talked to. What it knows goes first.
    pub fn knowing<'h>(mut self, bridge: &str, hosts: impl IntoIterator<Item = (IpAddr, Mac, &'h str)>) -> Self {
        let Some(interface) = self.network.named(bridge).map(|interface| interface.index) else { return self };
        for (address, mac, port) in hosts {
            self.network.neighbours.push(Neighbour { address, mac, interface, permanent: false });
            if let Some(port) = self.network.named(port).map(|port| port.index) {
                self.network.forwarding.push(ForwardingEntry {
                    mac,
                    port,
                    local: false,
                    own: false,
                    fixed: false,
                    sticky: false,
                });
            }
        }
        self.stations = Stations::of(&self.network);
        self
    }

    /// The ruleset.
    pub fn ruleset(&self) -> &Ruleset {
        &self.compiled.ruleset
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What becomes of a packet that begins a flow, with all that it meets.
    pub fn explain(&self, packet: &Packet) -> Explanation {
        self.evaluate(packet, None, Detail::Steps)
    }

    /// The same, of a packet of a flow that is known: an answer, or a later one.
    pub fn explain_in(&self, packet: &Packet, flow: &Flow) -> Explanation {
        self.evaluate(packet, Some(flow), Detail::Steps)
    }

    /// What becomes of a packet that begins a flow (or is of `flow`): how it ends, and the flow, without what it meets.
    pub fn outcome(&self, packet: &Packet, flow: Option<&Flow>) -> Explanation {
        self.evaluate(packet, flow, Detail::Ways)
    }

    /// What becomes of the answer ([`Kernel::answer_to`]) to a packet that arrived by this way. What comes back as another's
    /// than the one who was asked, or to another port than was asked from, is lost: no socket takes it.
    pub fn outcome_of_answer(&self, answer: &Packet, way: &Way) -> Explanation {
        self.fate_of_answer(answer, way, Detail::Ways)
    }

    fn fate_of_answer(&self, answer: &Packet, way: &Way, detail: Detail) -> Explanation {
        let flow = way.flow.as_ref().map(Flow::answered);
        self.evaluate_for(answer, flow.as_ref(), way.ends.map(|(began, _)| began.inverted()), detail)
    }

    /// What becomes of a packet that begins a flow, without the way: for many packets.
    pub fn judge(&self, packet: &Packet) -> Judgement {
        self.evaluate(packet, None, Detail::Verdict).judgement
    }

    fn evaluate(&self, packet: &Packet, flow: Option<&Flow>, detail: Detail) -> Explanation {
        self.evaluate_for(packet, flow, None, detail)
    }

    /// `awaited`: as whoever gets it must see it, or is none who gets it.
    fn evaluate_for(
        &self,
        packet: &Packet,
        flow: Option<&Flow>,
        awaited: Option<Tuple>,
        detail: Detail,
    ) -> Explanation {
        let mut choices = Choices::new(detail != Detail::Verdict);
        let (mut ways, mut kinds) = (Vec::new(), 0_u8);
        loop {
            let mut way = self.one_way(packet, flow, detail == Detail::Steps, &mut choices);
            if let (Some(awaited), Some((_, ended))) = (awaited, way.ends)
                && matches!(way.fate, Fate::Delivered | Fate::Sent { .. })
                && !ended.may_be(awaited)
            {
                // Without the port that was asked from: it may be any, and this is one reason.
                let told = |(address, port): (IpAddr, Option<u16>)| match port {
                    Some(port) => std::net::SocketAddr::new(address, port).to_string(),
                    None => address.to_string(),
                };
                way.fate = Fate::Lost(match (told(ended.source), told(awaited.source)) {
                    (from, asked) if from != asked => {
                        format!("it comes from {from}, and {asked} was asked: nobody takes it")
                    }
                    _ => "it does not come to whom and the port that asked: nobody takes it".to_owned(),
                });
            }
            let kind = explanation::kind(&way.fate);
            choices.ended(kind);
            kinds |= kind;
            ways.push(way);
            if !choices.next_run() {
                let passed = self.passed_by(packet, &ways);
                let arrives = ways.iter().any(|way| way.fate == Fate::Delivered);
                let mut unmodelled = self.network.unmodelled_for(&passed, arrives);
                unmodelled.extend(self.mute(packet, &ways, &passed));
                return Explanation::of(packet, ways, choices.finish()).but_for(&unmodelled);
            }
            let clear = kinds & explanation::ARRIVES != 0 && kinds != explanation::ARRIVES;
            if detail == Detail::Verdict && clear && ways.len() >= ENOUGH_WAYS {
                return Explanation::of(packet, ways, choices.finish());
            }
            if ways.len() == MOST_WAYS {
                return Explanation::of(packet, ways, choices.finish()).cut();
            }
        }
    }

    /// Interfaces that a packet passes: where it comes in and where it goes out, and what these belong to.
    fn passed_by(&self, packet: &Packet, ways: &[Way]) -> Vec<u32> {
        let entry = match packet.entry {
            Entry::Interface(index) => Some(index),
            Entry::Local => None,
        };
        let ends = ways.iter().filter_map(|way| match way.fate {
            Fate::Sent { interface } => Some(interface),
            Fate::Flooded { bridge } => Some(bridge),
            _ => None,
        });
        let all: Vec<u32> = entry.into_iter().chain(ends).collect();
        let masters = all.iter().filter_map(|index| self.network.interface(*index)?.master);
        masters.chain(all.iter().copied()).collect()
    }

    /// Of interfaces that a packet passes, those that tell nobody their hardware address: who has not learned it before
    /// does not find them. Stations of a bridge find each other without.
    fn mute(&self, packet: &Packet, ways: &[Way], passed: &[u32]) -> Vec<String> {
        let passed = passed.iter().filter_map(|index| self.network.interface(*index));
        let mute =
            passed.filter(|it| it.sysctls.is_mute() && !it.loopback && !self.is_among_stations(packet, ways, it));
        mute.map(|it| format!("who knows the hardware address of {} (its arp_ignore is 8)", it.name)).collect()
    }

    fn is_among_stations(&self, packet: &Packet, ways: &[Way], bridge: &network::Interface) -> bool {
        let of_bridge = |index: u32| self.network.interface(index).is_some_and(|it| it.master == Some(bridge.index));
        let comes = matches!(packet.entry, Entry::Interface(index) if of_bridge(index));
        let goes = ways.iter().all(|way| matches!(way.fate, Fate::Sent { interface } if of_bridge(interface)));
        let Content::Ip { destination, .. } = packet.content else { return false };
        comes && goes && bridge.addresses.iter().any(|net| net.contains(destination) && net.ip() != destination)
    }

    fn one_way(&self, packet: &Packet, flow: Option<&Flow>, traced: bool, choices: &mut Choices) -> Way {
        let trace = Trace { wanted: traced, ..Trace::default() };
        let mut evaluation = Evaluation {
            compiled: &self.compiled,
            network: &self.network,
            stations: &self.stations,
            choices,
            trace,
            added: Vec::new(),
        };
        let (fate, flow, ends, taken_by) = match Walk::new(&mut evaluation, packet, 0, flow.cloned()) {
            Some(mut walk) => {
                let fate = walk.go(packet.entry);
                let ends = walk.began.zip(Tuple::of(&walk.frame.headers));
                (fate, walk.frame.tracking.flow().cloned(), ends, walk.frame.taken_by)
            }
            None => (Fate::Lost("its addresses are of two families".to_owned()), None, None, None),
        };
        let Trace { met, stopped_by, passed, led_by, .. } = std::mem::take(&mut evaluation.trace);
        let steps = met.into_iter().map(|met| explanation::step(&self.compiled, &self.network, met)).collect();
        let assuming = choices.assumed().map(|(question, answer)| (question.to_string(), *answer)).collect();
        Way { fate, assuming, steps, flow, stopped_by, passed, led_by, taken_by, ends }
    }
}
