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
//! | `compiled`, `sets` | names resolved, base chains in order, sets indexed |
//! | `registers`, `machine`, `loads`, `extensions` | running a chain |
//! | `walk`, `bridging`, `translate` | the hooks in order, and what the kernel does between them |
//! | `question` | a packet in words |
//! | `choices`, `trace`, `explanation` | open questions; what was met; the answer for people and programs |

mod attributes;
mod bridging;
pub mod bytecode;
mod choices;
mod compiled;
mod decode;
mod explanation;
mod expressions;
mod extensions;
mod frame;
mod links;
mod loads;
mod machine;
mod netlink;
pub mod network;
mod packet;
pub mod question;
mod registers;
mod routes;
mod routing;
mod sets;
pub mod snapshot;
mod trace;
mod translate;
mod walk;
pub mod xt;

use bytecode::Ruleset;
use choices::Choices;
use compiled::Compiled;
use machine::Evaluation;
use network::{Neighbour, Network};
use trace::Trace;
use walk::Walk;

pub use explanation::{Explanation, Judgement, Step, Way};
pub use frame::{Flow, State, Tuple};
pub use packet::{Content, Entry, Mac, Packet, Transport};
pub use walk::Fate;

/// A network namespace as the audit sees it.
#[derive(Debug)]
pub struct Kernel {
    compiled: Compiled,
    network: Network,
}

/// More ways than this through open questions are not gone: the answer is then unknown.
const MOST_WAYS: usize = 256;

impl Kernel {
    /// Makes a ruleset ready: indexes its sets, orders its chains.
    pub fn new(ruleset: Ruleset, network: Network) -> Self {
        Self { compiled: Compiled::new(ruleset), network }
    }

    /// Adds who has which address on a link, as somebody else knows it: the kernel knows only whom it has talked to.
    pub fn knowing(mut self, link: &str, hosts: impl IntoIterator<Item = (std::net::IpAddr, Mac)>) -> Self {
        if let Some(interface) = self.network.named(link).map(|interface| interface.index) {
            let neighbours =
                hosts.into_iter().map(|(address, mac)| Neighbour { address, mac, interface, permanent: false });
            self.network.neighbours.extend(neighbours);
        }
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
        self.evaluate(packet, None, true)
    }

    /// The same, of a packet of a flow that is known: an answer, or a later one.
    pub fn explain_in(&self, packet: &Packet, flow: &Flow) -> Explanation {
        self.evaluate(packet, Some(flow), true)
    }

    /// What becomes of a packet that begins a flow, without the way: for many packets.
    pub fn judge(&self, packet: &Packet) -> Judgement {
        self.evaluate(packet, None, false).judgement
    }

    fn evaluate(&self, packet: &Packet, flow: Option<&Flow>, traced: bool) -> Explanation {
        let mut choices = Choices::default();
        let mut ways = Vec::new();
        loop {
            ways.push(self.one_way(packet, flow, traced, &mut choices));
            if !choices.next_run() {
                return Explanation::of(packet, ways, false).but_for(&self.network.unmodelled);
            }
            if ways.len() == MOST_WAYS {
                return Explanation::of(packet, ways, true);
            }
        }
    }

    fn one_way(&self, packet: &Packet, flow: Option<&Flow>, traced: bool, choices: &mut Choices) -> Way {
        let trace = Trace { wanted: traced, met: Vec::new() };
        let mut evaluation =
            Evaluation { compiled: &self.compiled, network: &self.network, choices, trace, added: Vec::new() };
        let (fate, flow) = match Walk::new(&mut evaluation, packet, 0, flow.cloned()) {
            Some(mut walk) => {
                let fate = walk.go(packet.entry);
                (fate, walk.frame.tracking.flow().cloned())
            }
            None => (Fate::Lost("its addresses are of two families".to_owned()), None),
        };
        let met = std::mem::take(&mut evaluation.trace.met);
        let steps = met.into_iter().map(|met| explanation::step(&self.compiled, &self.network, met)).collect();
        let assuming = choices.asked().map(|(question, answer)| (question.to_owned(), answer)).collect();
        Way { fate, assuming, steps, flow }
    }
}
