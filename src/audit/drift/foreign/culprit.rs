//! Which rule did it: the one that stopped the packet, else the one without which it fares as it should.

use std::collections::{BTreeSet, HashMap};

use super::effect::{Course, courses};
use crate::firewall::audit::bytecode::{Expression, Rule, Ruleset, Translation};
use crate::firewall::audit::network::{Network, RoutingRule};
use crate::firewall::audit::xt::Extension;
use crate::firewall::audit::{Flow, Kernel, Packet, Place, Step};

/// What made the difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Culprit {
    Rule {
        family: String,
        table: String,
        chain: String,
        handle: u64,
        comment: Option<String>,
    },
    Policy {
        family: String,
        table: String,
        chain: String,
    },
    /// Routing rules of others, by priority.
    Routing(Vec<u32>),
    /// Several together, or none that stands out.
    Together,
}

/// `NFT_META_MARK`.
const MARK: u32 = 3;

/// Kernels without one rule that are made at most: each is a copy of all rules.
const COPIES: usize = 24;

/// Finds who did it.
pub(super) struct Search<'a> {
    kernel: &'a Kernel,
    bridge: Option<u32>,
    /// Which tables are the daemon's, by place.
    own: Vec<bool>,
    /// Of routing rules, those that are not usual; and the network with the usual ones alone.
    routing: (Vec<u32>, Vec<RoutingRule>),
    without: HashMap<Place, Kernel>,
    without_routing: Option<Kernel>,
}

impl<'a> Search<'a> {
    pub(super) fn new(kernel: &'a Kernel, bridge: Option<u32>, own: Vec<bool>, usual: Vec<RoutingRule>) -> Self {
        let unusual = kernel.network().rules.iter().filter(|rule| rule.v4 && !rule.is_usual());
        let routing = (unusual.map(|rule| rule.priority).collect(), usual);
        Self { kernel, bridge, own, routing, without: HashMap::new(), without_routing: None }
    }

    pub(super) fn kernel(&self) -> &'a Kernel {
        self.kernel
    }

    pub(super) fn bridge(&self) -> Option<u32> {
        self.bridge
    }

    /// Whether any rule of others sends copies of packets elsewhere.
    pub(super) fn has_copies(&self) -> bool {
        let tables = self.kernel.ruleset().tables.iter().zip(&self.own);
        let rules = tables.filter(|(_, own)| !**own).flat_map(|(table, _)| &table.chains).flat_map(|it| &it.rules);
        rules.into_iter().any(copies)
    }

    /// Those that a packet or its answer comes to.
    pub(super) fn copied(&self, packet: &Packet) -> Vec<Place> {
        let mut met: Vec<Place> = Vec::new();
        for way in self.kernel.explain(packet).ways {
            met.extend(self.matched(Some(&way.steps), copies));
            if let Ok((answer, _)) = self.kernel.answer_to(packet, &way)
                && let Some(flow) = way.flow.as_ref().map(Flow::answered)
            {
                let back = self.kernel.explain_in(&answer, &flow).ways;
                met.extend(back.iter().flat_map(|way| self.matched(Some(&way.steps), copies)));
            }
        }
        let mut seen = BTreeSet::new();
        met.retain(|it| seen.insert((it.table, it.chain, it.rule)));
        met
    }

    /// The place, if it is another's.
    pub(super) fn foreign(&self, place: Option<Place>) -> Option<Place> {
        place.filter(|place| !self.own.get(place.table).copied().unwrap_or(false))
    }

    /// A place in words of `nft`.
    pub(super) fn at(&self, place: Place) -> Culprit {
        let named = self.kernel.named(place);
        let (family, table, chain) = (named.family.word().to_owned(), named.table.to_owned(), named.chain.to_owned());
        match named.handle {
            Some(handle) => Culprit::Rule { family, table, chain, handle, comment: named.comment.map(str::to_owned) },
            None => Culprit::Policy { family, table, chain },
        }
    }

    /// Who made this packet fare otherwise than it should, and by what, if not by a verdict.
    pub(super) fn culprit(
        &mut self,
        packet: &Packet,
        course: &Course,
        should: &[Course],
    ) -> (Culprit, Option<&'static str>) {
        let bridge = self.bridge;
        if let Some(place) = self.foreign(course.taken_by) {
            return (self.at(place), Some("foreign-tproxy"));
        }
        // What was sent elsewhere may be stopped there; that is why it is.
        if let Some(place) = self.foreign(course.led_by)
            && self.without(place).is_some_and(|without| alike(without, bridge, packet, should))
        {
            return (self.at(place), self.deed(place));
        }
        if let Some(place) = self.foreign(course.stopped_by) {
            return (self.at(place), None);
        }
        let mut met = self.met(&self.kernel.explain(packet).ways.first().map(|way| way.steps.clone()));
        if let Some((answer, flow)) = &course.answer {
            met.extend(self.met(&self.kernel.explain_in(answer, flow).ways.first().map(|way| way.steps.clone())));
        }
        if !self.routing.0.is_empty() || self.kernel.network().rules != self.routing.1 {
            let routing = self.routing.1.clone();
            let other = self.without_routing.get_or_insert_with(|| {
                let network = self.kernel.network();
                Kernel::new(self.kernel.ruleset().clone(), Network { rules: routing, ..network.clone() })
            });
            if alike(other, self.bridge, packet, should) {
                return (Culprit::Routing(self.routing.0.clone()), None);
            }
        }
        // What came last decided, where several would do.
        for place in met.iter().rev() {
            if self.without(*place).is_some_and(|without| alike(without, bridge, packet, should)) {
                return (self.at(*place), self.deed(*place));
            }
        }
        (Culprit::Together, None)
    }

    /// What a rule does to packets that it lets pass: the kind of what is told.
    fn deed(&self, place: Place) -> Option<&'static str> {
        let rule = &self.kernel.ruleset().tables[place.table].chains[place.chain].rules[place.rule?];
        let of_nat = |what: &Translation| match what {
            Translation::Source | Translation::Masquerade => "foreign-snat",
            Translation::Destination | Translation::Redirect => "foreign-dnat",
        };
        rule.expressions.iter().find_map(|expression| match expression {
            Expression::Nat { what, .. } | Expression::Extension(Extension::Nat { what, .. }) => Some(of_nat(what)),
            Expression::Notrack | Expression::Extension(Extension::Notrack) => Some("foreign-notrack"),
            Expression::SetMeta { key: MARK, .. } | Expression::SetCt { .. } => Some("foreign-mark"),
            Expression::Extension(Extension::SetMark { .. }) => Some("foreign-mark"),
            _ => None,
        })
    }

    /// Rules of others that matched on a way and do something.
    fn met(&self, steps: &Option<Vec<Step>>) -> Vec<Place> {
        self.matched(steps.as_ref(), acts)
    }

    fn matched(&self, steps: Option<&Vec<Step>>, wanted: fn(&Rule) -> bool) -> Vec<Place> {
        let ruleset = self.kernel.ruleset();
        let place = |step: &Step| {
            let Step::Rule { family, table, chain, handle, matched: true, .. } = step else { return None };
            let mut tables = ruleset.tables.iter().enumerate();
            // A table of inet is called by its own family's name.
            let (at, found) = tables.find(|(_, it)| it.family.word() == *family && it.name == *table)?;
            let chain = found.chains.iter().position(|it| it.name == *chain)?;
            let rule = found.chains[chain].rules.iter().position(|it| it.handle == *handle)?;
            let place = Place { table: at, chain, rule: Some(rule) };
            self.foreign(Some(place)).filter(|_| wanted(&found.chains[chain].rules[rule]))
        };
        steps.into_iter().flatten().filter_map(place).collect()
    }

    fn without(&mut self, place: Place) -> Option<&Kernel> {
        if !self.without.contains_key(&place) && self.without.len() < COPIES {
            let mut ruleset: Ruleset = self.kernel.ruleset().clone();
            let rules = &mut ruleset.tables[place.table].chains[place.chain].rules;
            rules[place.rule?].expressions = vec![Expression::Transparent("nothing")];
            self.without.insert(place, Kernel::new(ruleset, self.kernel.network().clone()));
        }
        self.without.get(&place)
    }
}

fn alike(kernel: &Kernel, bridge: Option<u32>, packet: &Packet, should: &[Course]) -> bool {
    courses(kernel, bridge, packet).iter().all(|course| should.iter().any(|other| other.effect == course.effect))
}

/// Whether a rule sends copies elsewhere.
fn copies(rule: &Rule) -> bool {
    rule.expressions.iter().any(|expression| match expression {
        Expression::Transparent(name) => *name == "dup",
        Expression::Extension(Extension::Transparent(name)) => name == "TEE",
        _ => false,
    })
}

/// Whether a rule does more than to count, or to ask.
fn acts(rule: &Rule) -> bool {
    rule.expressions.iter().any(|expression| {
        matches!(
            expression,
            Expression::Verdict(_)
                | Expression::SetPayload { .. }
                | Expression::SetMeta { .. }
                | Expression::SetCt { .. }
                | Expression::Lookup { verdicts: true, .. }
                | Expression::Nat { .. }
                | Expression::Reject { .. }
                | Expression::Notrack
                | Expression::Tproxy { .. }
                | Expression::Unknown(_)
                | Expression::Extension(
                    Extension::SetMark { .. }
                        | Extension::Reject(_)
                        | Extension::Nat { .. }
                        | Extension::Notrack
                        | Extension::UnknownTarget(_)
                )
        )
    })
}
