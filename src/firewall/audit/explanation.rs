//! The answer: what becomes of a packet, by which rule, on which assumptions.

use std::collections::BTreeSet;

use serde::Serialize;

use super::bytecode::Verdict;
use super::compiled::{ChainAt, Compiled, Stack};
use super::flows::Place;
use super::frame::{Flow, Tuple};
use super::listing::Listing;
use super::machine::End;
use super::network::Network;
use super::packet::{Content, Entry, Packet};
use super::trace::{Met, RuleEnd};
use super::walk::Fate;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "judgement")]
pub enum Judgement {
    /// It arrives: at a socket of this machine, or out of an interface.
    Accept,
    /// It does not.
    Drop,
    /// It does not, and its sender is told.
    Reject,
    /// It depends on what is not modelled or nobody said: all of it, by name.
    Unknown {
        /// Names of what it depends on.
        because: Vec<String>,
    },
}

/// What becomes of a packet, and each way that it may take.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What all ways come to.
    pub judgement: Judgement,
    /// Usually one; more where something may go either way. The first is that of a packet that is nothing special.
    pub ways: Vec<Way>,
    packet: Packet,
    /// Whether anything depended on a source or on a destination port that nobody said.
    pub(super) ports: (bool, bool),
    /// All ways are here.
    pub(super) whole: bool,
}

/// One way.
#[derive(Clone, Debug)]
pub struct Way {
    /// How it ends.
    pub fate: Fate,
    /// Open questions, with the answers that lead this way.
    pub assuming: Vec<(String, bool)>,
    /// What the packet meets, in order.
    pub steps: Vec<Step>,
    /// The flow that it is of, as it is at the end of the way.
    pub flow: Option<Flow>,
    /// The rule or policy that dropped or refused it, or that is unknown.
    pub stopped_by: Option<Place>,
    /// Rules that let it pass by name, in order: of filters, for what is sent, received or forwarded.
    pub passed: Vec<Place>,
    /// The rule that gave it another destination.
    pub led_by: Option<Place>,
    /// The rule that gave it to a socket of this machine, whoever it is for (`tproxy`).
    pub taken_by: Option<Place>,
    /// As it was sent and as it ends: between which addresses and ports.
    pub(super) ends: Option<(Tuple, Tuple)>,
}

/// One thing that the packet meets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "step")]
#[allow(missing_docs, reason = "nft's own names")]
pub enum Step {
    Hook {
        family: &'static str,
        hook: &'static str,
        device: Option<String>,
    },
    Chain {
        family: &'static str,
        table: String,
        chain: String,
        priority: Option<i32>,
    },
    Element {
        set: String,
        key: String,
        /// What it has counted, where it counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        packets: Option<u64>,
    },
    Rule {
        family: &'static str,
        table: String,
        chain: String,
        handle: u64,
        comment: Option<String>,
        /// As nft prints it, where it was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        matched: bool,
        verdict: Option<String>,
    },
    Policy {
        family: &'static str,
        table: String,
        chain: String,
        verdict: &'static str,
    },
    Kernel {
        what: String,
    },
}

impl Explanation {
    /// The same with rules in nft's words.
    pub fn in_words(mut self, listing: &Listing) -> Self {
        for step in self.ways.iter_mut().flat_map(|way| &mut way.steps) {
            if let Step::Rule { family, table, handle, text, .. } = step {
                *text = listing.rule(family, table, *handle).map(|rule| rule.text.clone());
            }
        }
        self
    }

    pub(super) fn of(packet: &Packet, ways: Vec<Way>, (depends_on, ports): (Vec<String>, (bool, bool))) -> Self {
        Self { judgement: judge(&ways, depends_on), ways, packet: packet.clone(), ports, whole: true }
    }

    /// The same where not all ways were gone.
    pub(super) fn cut(mut self) -> Self {
        self.whole = false;
        self.judgement = Judgement::Unknown { because: vec!["more open questions than can be followed".to_owned()] };
        self
    }

    /// What was not looked at may drop what the rest lets through; it lets nothing through that the rest drops.
    pub(super) fn but_for(mut self, unmodelled: &[String]) -> Self {
        if self.judgement == Judgement::Accept && !unmodelled.is_empty() {
            self.judgement = Judgement::Unknown { because: unmodelled.to_vec() };
        }
        self
    }

    /// The first answer to this packet, and the flow that it is of: as it leaves where this one arrived. `None` where
    /// this one does not arrive, or has no flow to be answered in.
    pub fn answer(&self) -> Option<(Packet, Flow)> {
        let way = self.ways.first()?;
        let flow = way.flow.as_ref()?;
        let entry = match way.fate {
            Fate::Delivered => Entry::Local,
            Fate::Sent { interface } => Entry::Interface(interface),
            _ => return None,
        };
        let Content::Ip { transport, .. } = self.packet.content else { return None };
        let (source, destination) = (flow.answer.source, flow.answer.destination);
        let transport = transport.answered(source.1, destination.1);
        let content = Content::Ip { source: source.0, destination: destination.0, transport };
        let packet = Packet { entry, source_mac: None, destination_mac: None, vlan: self.packet.vlan, content };
        Some((packet, flow.answered()))
    }
}

/// An explanation for programs: version 1 of the audit's JSON.
#[derive(Debug, Serialize)]
pub struct Described {
    #[serde(flatten)]
    judgement: Judgement,
    ways: Vec<DescribedWay>,
}

#[derive(Debug, Serialize)]
struct DescribedWay {
    /// In words, with interfaces' names.
    end: String,
    /// The rule or policy that decided, unless the kernel did.
    decided_by: Option<Step>,
    assuming: Vec<Assumption>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Assumption {
    question: String,
    answer: bool,
}

impl Explanation {
    /// The explanation for programs.
    pub fn described(&self, network: &Network) -> Described {
        let way = |way: &Way| DescribedWay {
            end: end(&way.fate, network),
            decided_by: way.decider().cloned(),
            assuming: way.assuming.iter().map(|(q, a)| Assumption { question: q.clone(), answer: *a }).collect(),
            steps: way.steps.clone(),
        };
        Described { judgement: self.judgement.clone(), ways: self.ways.iter().map(way).collect() }
    }
}

fn end(fate: &Fate, network: &Network) -> String {
    let name = |index: &u32| network.interface(*index).map_or_else(|| index.to_string(), |i| i.name.clone());
    match fate {
        Fate::Delivered => "it arrives at this machine".to_owned(),
        Fate::Sent { interface } => format!("it is sent out of {}", name(interface)),
        Fate::Flooded { bridge } => format!("it is sent out of every port of {} that floods", name(bridge)),
        Fate::Dropped => "it is dropped".to_owned(),
        Fate::Rejected(_) => "it is rejected".to_owned(),
        Fate::Lost(why) => format!("the kernel drops it: {why}"),
        Fate::Unknown(what) => format!("unknown: {what}"),
    }
}

impl Way {
    /// The last rule or policy that gave a verdict: the one that decided, unless the kernel did.
    pub fn decider(&self) -> Option<&Step> {
        self.steps
            .iter()
            .rev()
            .find(|step| matches!(step, Step::Policy { .. } | Step::Rule { matched: true, verdict: Some(_), .. }))
    }
}

fn judge(ways: &[Way], depends_on: Vec<String>) -> Judgement {
    let kinds = ways.iter().fold(0, |kinds, way| kinds | kind(&way.fate));
    match kinds {
        ARRIVES => Judgement::Accept,
        DROPS => Judgement::Drop,
        REJECTS => Judgement::Reject,
        _ => Judgement::Unknown { because: because(ways, depends_on) },
    }
}

pub(super) const ARRIVES: u8 = 1;
pub(super) const DROPS: u8 = 1 << 1;
pub(super) const REJECTS: u8 = 1 << 2;
const NOBODY_KNOWS: u8 = 1 << 3;

/// A fate's kind: a bit.
pub(super) fn kind(fate: &Fate) -> u8 {
    match fate {
        Fate::Delivered | Fate::Sent { .. } | Fate::Flooded { .. } => ARRIVES,
        Fate::Dropped | Fate::Lost(_) => DROPS,
        Fate::Rejected(_) => REJECTS,
        Fate::Unknown(_) => NOBODY_KNOWS,
    }
}

/// What is unknown, and on what it depends which way it is.
fn because(ways: &[Way], depends_on: Vec<String>) -> Vec<String> {
    let unknown = ways.iter().filter_map(|way| match &way.fate {
        Fate::Unknown(what) => Some(what.clone()),
        _ => None,
    });
    depends_on.into_iter().chain(unknown).collect::<BTreeSet<String>>().into_iter().collect()
}

/// What was met, in nft's words.
pub(super) fn step(compiled: &Compiled, network: &Network, met: Met) -> Step {
    match met {
        Met::Hook { stack, hook, device } => {
            let device = device.and_then(|index| network.interface(index)).map(|i| i.name.clone());
            Step::Hook { family: stack.word(), hook: hook.word(), device }
        }
        Met::Chain(at) => {
            let (family, table, chain) = names(compiled, at);
            Step::Chain { family, table, chain, priority: compiled.base(at).map(|base| base.priority) }
        }
        Met::Element { set, key, packets } => Step::Element { set, key, packets },
        Met::Rule(at, end) => {
            let (family, table, chain) = names(compiled, at.chain);
            let rule = &compiled.chain(at.chain).rules[at.rule];
            let (matched, verdict) = rule_end(end);
            Step::Rule {
                family,
                table,
                chain,
                handle: rule.handle,
                comment: rule.comment.clone(),
                text: None,
                matched,
                verdict,
            }
        }
        Met::Policy(at, accepts) => {
            let (family, table, chain) = names(compiled, at);
            Step::Policy { family, table, chain, verdict: if accepts { "accept" } else { "drop" } }
        }
        Met::Kernel(what) => Step::Kernel { what },
    }
}

fn names(compiled: &Compiled, at: ChainAt) -> (&'static str, String, String) {
    let table = compiled.table(at.table);
    (table.family.word(), table.name.clone(), compiled.chain(at).name.clone())
}

fn rule_end(end: RuleEnd) -> (bool, Option<String>) {
    let verdict = match end {
        RuleEnd::Mismatch => return (false, None),
        RuleEnd::Passed => None,
        RuleEnd::Verdict(verdict) => Some(match verdict {
            Verdict::Accept => "accept".to_owned(),
            Verdict::Drop => "drop".to_owned(),
            Verdict::Return => "return".to_owned(),
            Verdict::Jump(chain) => format!("jump {chain}"),
            Verdict::Goto(chain) => format!("goto {chain}"),
            other => format!("{other:?}").to_lowercase(),
        }),
        RuleEnd::End(End::Reject(_)) => Some("reject".to_owned()),
        RuleEnd::End(End::Drop) => Some("drop".to_owned()),
        RuleEnd::End(End::Accept) => Some("accept".to_owned()),
        RuleEnd::End(End::Unknown(what)) => Some(format!("unknown: {what}")),
    };
    (true, verdict)
}

impl Stack {
    fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Bridge => "bridge",
            Self::Arp => "arp",
            Self::Device => "netdev",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(fates: Vec<Fate>) -> Explanation {
        let way = |fate| Way {
            ends: None,
            fate,
            assuming: vec![("a rate".to_owned(), true)],
            steps: vec![],
            flow: None,
            stopped_by: None,
            passed: vec![],
            led_by: None,
            taken_by: None,
        };
        let packet = Packet {
            entry: Entry::Local,
            source_mac: None,
            destination_mac: None,
            vlan: None,
            content: Content::Other(0x88b5),
        };
        Explanation::of(&packet, fates.into_iter().map(way).collect(), (vec!["a rate".to_owned()], (false, false)))
    }

    #[test]
    fn ways_that_end_alike_leave_nothing_open() {
        assert_eq!(explanation(vec![Fate::Dropped, Fate::Lost("no route".to_owned())]).judgement, Judgement::Drop);
        assert_eq!(explanation(vec![Fate::Delivered, Fate::Sent { interface: 1 }]).judgement, Judgement::Accept);
        let open = Judgement::Unknown { because: vec!["a rate".to_owned()] };
        assert_eq!(explanation(vec![Fate::Delivered, Fate::Dropped]).judgement, open);
    }

    #[test]
    fn what_was_not_looked_at_may_drop_but_not_let_through() {
        let legacy = vec!["tables of the legacy iptables: filter".to_owned()];
        let unknown = Judgement::Unknown { because: legacy.clone() };
        assert_eq!(explanation(vec![Fate::Delivered]).but_for(&legacy).judgement, unknown);
        assert_eq!(explanation(vec![Fate::Dropped]).but_for(&legacy).judgement, Judgement::Drop);
        assert_eq!(explanation(vec![Fate::Delivered]).but_for(&[]).judgement, Judgement::Accept);
    }
}
