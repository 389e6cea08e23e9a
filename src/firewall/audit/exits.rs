//! A base chain as a whole: run as often as its open questions lead to different states, to the exits in which it differs.

use std::collections::BTreeSet;

use super::MOST_WAYS;
use super::bytecode::{ChainKind, Hook};
use super::choices::{Answer, Leaf, bit, mattering};
use super::compiled::ChainAt;
use super::frame::Frame;
use super::machine::{Asked, End, Machine};
use super::registers::Registers;
use super::trace::{Met, RuleAt};

/// A key that a packet put into a set: table, set, key.
pub(super) type Added = (usize, String, Vec<u8>);

/// How a packet comes out of a base chain.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    end: End,
    frame: Frame,
    asked: Option<Asked>,
    decided: Option<RuleAt>,
    added: Vec<Added>,
    met: Vec<Met>,
    /// Answers that lead here and not elsewhere.
    pub(super) assuming: Vec<Answer>,
}

/// What a packet is like before a rule.
#[derive(Debug)]
pub(super) struct State {
    at: RuleAt,
    callers: Vec<(ChainAt, usize)>,
    frame: Frame,
    added: Vec<Added>,
    /// The first of the leaves that it led to, and how many answers led to it.
    leaf: usize,
    depth: usize,
}

/// What was found out about a chain so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// States that were gone on from.
    states: Vec<State>,
    leaves: Vec<Leaf>,
    exits: Vec<Exit>,
}

impl Machine<'_, '_> {
    /// Runs a base chain to its end.
    pub(super) fn run(&mut self, base: ChainAt) -> End {
        if let Some(exit) = self.evaluation.choices.enter() {
            let (added, met) = (self.evaluation.added.len(), self.evaluation.trace.met.len());
            return self.take(base, exit, added, met);
        }
        let (added, met) = (self.evaluation.added.len(), self.evaluation.trace.met.len());
        let before = self.frame.clone();
        let mut found = Found::default();
        let end = self.run_rules(base, &mut found);
        if let Some(end) = &end
            && self.evaluation.choices.asked() == 0
        {
            self.evaluation.choices.pass();
            self.ended(base, end);
            return end.clone();
        }
        self.note(end, added, met, &mut found);
        while self.evaluation.choices.again() {
            if found.leaves.len() >= MOST_WAYS {
                let end = End::Unknown("more open questions than can be followed".to_owned());
                self.note(Some(end), added, met, &mut found);
                break;
            }
            *self.frame = before.clone();
            self.begin_anew(added, met);
            let end = self.run_rules(base, &mut found);
            self.note(end, added, met, &mut found);
        }
        let Found { mut exits, leaves, .. } = found;
        let mut mattered = BTreeSet::new();
        mattering(&leaves, 0, &|exits| exits, &mut mattered);
        exits.iter_mut().for_each(|exit| exit.assuming.retain(|(question, _)| mattered.contains(question)));
        let Some(exit) = self.evaluation.choices.leave(exits, leaves) else { return End::Accept };
        self.take(base, exit, added, met)
    }

    fn begin_anew(&mut self, added: usize, met: usize) {
        self.evaluation.added.truncate(added);
        self.evaluation.trace.met.truncate(met);
        (self.asked, self.decided, self.registers) = (None, None, Registers::new());
    }

    /// Whether an earlier run came to this rule in the same state: it has gone all ways from here.
    pub(super) fn was_here(&self, at: RuleAt, callers: &[(ChainAt, usize)], found: &mut Found) -> bool {
        let same = |state: &State| {
            state.at == at
                && state.callers == callers
                && state.frame == *self.frame
                && state.added == self.evaluation.added
        };
        let depth = self.evaluation.choices.asked();
        if let Some(state) = found.states.iter().find(|state| same(state)) {
            let led_to = &found.leaves[state.leaf..];
            let by = &led_to[0].asked[..state.depth];
            let exits = led_to.iter().take_while(|leaf| leaf.asked.starts_with(by)).fold(0, |all, it| all | it.exits);
            found.leaves.push(Leaf { asked: self.evaluation.choices.answers(), exits });
            return true;
        }
        let (callers, frame, added) = (callers.to_vec(), self.frame.clone(), self.evaluation.added.clone());
        found.states.push(State { at, callers, frame, added, leaf: found.leaves.len(), depth });
        false
    }

    /// Notes how a run ended; `None` where an earlier one had been there before.
    fn note(&self, end: Option<End>, added: usize, met: usize, found: &mut Found) {
        let Some(end) = end else { return };
        let assuming = self.evaluation.choices.answers();
        let apart = self.evaluation.choices.apart();
        let exit = Exit {
            frame: self.frame.clone(),
            asked: self.asked.clone(),
            decided: self.decided,
            added: self.evaluation.added[added..].to_vec(),
            met: self.evaluation.trace.met[met..].to_vec(),
            assuming: assuming.clone(),
            end,
        };
        let place = found.exits.iter().position(|other| other.is_as(&exit, apart)).unwrap_or(found.exits.len());
        if place == found.exits.len() {
            found.exits.push(exit);
        }
        found.leaves.push(Leaf { asked: assuming, exits: bit(place) });
    }

    /// Comes out by an exit.
    fn take(&mut self, base: ChainAt, exit: Exit, added: usize, met: usize) -> End {
        self.begin_anew(added, met);
        *self.frame = exit.frame;
        (self.asked, self.decided) = (exit.asked, exit.decided);
        self.evaluation.added.extend(exit.added);
        self.evaluation.trace.met.extend(exit.met);
        self.ended(base, &exit.end);
        exit.end
    }

    fn ended(&mut self, base: ChainAt, end: &End) {
        let kind = self.evaluation.compiled.base(base).map(|base| base.kind);
        let judges = matches!(self.hook, Hook::Input | Hook::Forward | Hook::Output) && kind != Some(ChainKind::Nat);
        let trace = &mut self.evaluation.trace;
        match (end, self.decided) {
            (End::Accept, Some(rule)) if judges => trace.passed.push(rule.into()),
            (End::Accept, _) => {}
            (_, Some(rule)) => trace.stopped_by = Some(rule.into()),
            (_, None) => trace.stopped_by = Some(base.into()),
        }
    }
}

impl Exit {
    fn is_as(&self, other: &Self, apart: bool) -> bool {
        let stops = self.end != End::Accept;
        if stops && !apart {
            // Whatever it was like, it goes no further.
            return self.end == other.end;
        }
        self.end == other.end
            && (!stops || self.decided == other.decided)
            && (stops || self.frame == other.frame && self.asked == other.asked && self.added == other.added)
    }
}
