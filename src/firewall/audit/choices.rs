//! What nobody can know: each open question is answered both ways.
//!
//! A base chain is gone through by itself ([`super::exits`]): its questions are asked as often as they lead to another
//! state, and what comes out of it in the end is one fork with an exit for each way in which it differs. The forks are
//! followed one run of the evaluation after another: a run takes them in order; the next run repeats what was taken but
//! for the last that has an exit left. So all ways are seen, and if all of them end alike, the questions did not matter.
//! What is usual comes first: a packet that no rule for special ones is for.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::exits::Exit;

/// A question and its answer.
pub(super) type Answer = (Rc<str>, bool);

/// One way through the questions of a fork: what was answered, and a bit for each exit that it leads to.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) asked: Vec<Answer>,
    pub(super) exits: u128,
}

/// Where ways part.
#[derive(Debug)]
struct Fork {
    /// Of a chain: how many had been run before. Of a question outside of chains there are no exits but yes and no.
    chain: Option<usize>,
    exits: Vec<Exit>,
    leaves: Vec<Leaf>,
    taken: usize,
    /// How the ways by each exit end: a bit a kind.
    kinds: Vec<u8>,
}

/// The questions of one chain, in the order in which they are asked.
#[derive(Debug, Default)]
struct Script {
    /// Each with its usual answer, and the one of this run.
    answers: Vec<(Rc<str>, bool, bool)>,
    asked: usize,
    /// So many were repeated from the run before, the last of them with its other answer.
    repeated: usize,
}

/// The answers of one run.
#[derive(Debug, Default)]
pub(super) struct Choices {
    /// Ends that differ in nothing but the rule that decides are told apart.
    apart: bool,
    forks: Vec<Fork>,
    passed: usize,
    chains: usize,
    script: Option<Script>,
    /// What the end depends on, of forks that were gone through.
    mattered: BTreeSet<Rc<str>>,
    /// Whether anything depended on a source or on a destination port that nobody said.
    ports: (bool, bool),
}

impl Choices {
    pub(super) fn new(apart: bool) -> Self {
        Self { apart, ..Self::default() }
    }

    pub(super) fn apart(&self) -> bool {
        self.apart
    }

    /// A question, and what is usual.
    pub(super) fn choose(&mut self, usual: bool, question: impl FnOnce() -> String) -> bool {
        let ports = &mut self.ports;
        let question = || {
            let question = question();
            let (source, destination) = of_ports(&question);
            *ports = (ports.0 || source, ports.1 || destination);
            Rc::from(question)
        };
        if let Some(script) = &mut self.script {
            return script.choose(usual, question);
        }
        if self.passed == self.forks.len() {
            let question: Rc<str> = question();
            let leaf = |answer, exits| Leaf { asked: vec![(Rc::clone(&question), answer)], exits };
            let leaves = vec![leaf(usual, 1), leaf(!usual, 2)];
            self.forks.push(Fork { chain: None, exits: Vec::new(), leaves, taken: 0, kinds: vec![0; 2] });
        }
        self.passed += 1;
        let fork = &self.forks[self.passed - 1];
        fork.leaves[fork.taken].asked[0].1
    }

    /// A chain begins. The exit that this run takes, where that is known.
    pub(super) fn enter(&mut self) -> Option<Exit> {
        self.chains += 1;
        let fork = self.forks.get(self.passed).filter(|fork| fork.chain == Some(self.chains));
        if let Some(fork) = fork {
            self.passed += 1;
            return Some(fork.exits[fork.taken].clone());
        }
        self.script = Some(Script::default());
        None
    }

    /// How many questions of the chain were asked in this run.
    pub(super) fn asked(&self) -> usize {
        self.script.as_ref().map_or(0, |script| script.asked)
    }

    /// Whether no earlier run through this chain has answered all that was asked as this one has.
    pub(super) fn is_new(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.asked >= script.repeated)
    }

    /// The questions of this run through the chain, with the answers.
    pub(super) fn answers(&self) -> Vec<Answer> {
        let script = self.script.iter().flat_map(|script| &script.answers[..script.asked]);
        script.map(|(question, _, answer)| (Rc::clone(question), *answer)).collect()
    }

    /// Makes ready for the next run through the chain; `false` when all were made.
    pub(super) fn again(&mut self) -> bool {
        self.script.as_mut().is_some_and(Script::next_run)
    }

    /// The chain has been gone through. Of several exits this run takes the first.
    pub(super) fn leave(&mut self, exits: Vec<Exit>, leaves: Vec<Leaf>) -> Option<Exit> {
        self.script = None;
        let first = exits.first().cloned();
        if exits.len() > 1 {
            let kinds = vec![0; exits.len()];
            self.forks.push(Fork { chain: Some(self.chains), exits, leaves, taken: 0, kinds });
            self.passed += 1;
        }
        first
    }

    /// The chain asked nothing.
    pub(super) fn pass(&mut self) {
        self.script = None;
    }

    /// What this run assumes.
    pub(super) fn assumed(&self) -> impl Iterator<Item = &Answer> {
        self.forks.iter().flat_map(|fork| match fork.chain {
            Some(_) => fork.exits[fork.taken].assuming.as_slice(),
            None => fork.leaves[fork.taken].asked.as_slice(),
        })
    }

    /// How this run ended: a bit.
    pub(super) fn ended(&mut self, kind: u8) {
        self.forks.iter_mut().for_each(|fork| fork.kinds[fork.taken] |= kind);
    }

    /// Makes ready for the next run; `false` when all ways have been gone.
    pub(super) fn next_run(&mut self) -> bool {
        (self.passed, self.chains) = (0, 0);
        while let Some(last) = self.forks.last_mut() {
            if last.taken + 1 < last.kinds.len() {
                last.taken += 1;
                return true;
            }
            self.give_up();
        }
        false
    }

    fn give_up(&mut self) {
        let Some(fork) = self.forks.pop() else { return };
        let kinds = |exits: u128| {
            let led_to = fork.kinds.iter().enumerate().filter(|(exit, _)| exits & bit(*exit) != 0);
            led_to.fold(0_u128, |all, (_, kinds)| all | u128::from(*kinds))
        };
        mattering(&fork.leaves, 0, &kinds, &mut self.mattered);
    }

    /// What the end depends on, and whether anything depended on a source or on a destination port.
    pub(super) fn finish(mut self) -> (Vec<String>, (bool, bool)) {
        while !self.forks.is_empty() {
            self.give_up();
        }
        (self.mattered.iter().map(ToString::to_string).collect(), self.ports)
    }
}

impl Script {
    fn choose(&mut self, usual: bool, question: impl FnOnce() -> Rc<str>) -> bool {
        self.asked += 1;
        if self.asked > self.answers.len() {
            self.answers.push((question(), usual, usual));
        }
        self.answers[self.asked - 1].2
    }

    fn next_run(&mut self) -> bool {
        self.asked = 0;
        while let Some((question, usual, answer)) = self.answers.pop() {
            if answer == usual {
                self.answers.push((question, usual, !usual));
                self.repeated = self.answers.len();
                return true;
            }
        }
        false
    }
}

/// An exit's bit: more than there are bits share the last.
pub(super) fn bit(exit: usize) -> u128 {
    1 << exit.min(127)
}

/// Which questions matter: those whose answers lead to different ends. All leaves share the first `depth` answers.
pub(super) fn mattering(
    leaves: &[Leaf],
    depth: usize,
    ends: &impl Fn(u128) -> u128,
    mattered: &mut BTreeSet<Rc<str>>,
) -> u128 {
    let Some(first) = leaves.first() else { return 0 };
    let Some((question, answer)) = first.asked.get(depth) else { return ends(first.exits) };
    let other = leaves.iter().position(|leaf| leaf.asked.get(depth).is_some_and(|(_, it)| it != answer));
    let (these, others) = leaves.split_at(other.unwrap_or(leaves.len()));
    let ends_of_these = mattering(these, depth + 1, ends, mattered);
    if others.is_empty() {
        return ends_of_these;
    }
    let ends_of_others = mattering(others, depth + 1, ends, mattered);
    if ends_of_these != ends_of_others {
        mattered.insert(Rc::clone(question));
    }
    ends_of_these | ends_of_others
}

/// The source port and the destination port, as a rule's question names them.
pub(super) const SOURCE_PORT: &str = "the source port";
pub(super) const DESTINATION_PORT: &str = "the destination port";

/// Whether the answer to a question may be another for another source port, and for another destination port.
pub(super) fn of_ports(question: &str) -> (bool, bool) {
    let may = ["port", "mark", "conntrack", "set ", "map "].iter().any(|word| question.contains(word));
    (may && question != DESTINATION_PORT, may && question != SOURCE_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_gone_once_and_what_is_usual_first() {
        let mut choices = Choices::default();
        let mut seen = Vec::new();
        loop {
            let first = choices.choose(true, || "a".to_owned());
            let second = first && choices.choose(false, || "b".to_owned());
            seen.push((first, second));
            choices.ended(u8::from(first));
            if !choices.next_run() {
                break;
            }
        }
        assert_eq!(seen, [(true, false), (true, true), (false, false)]);
        assert_eq!(choices.finish().0, ["a"], "b changes nothing");
    }

    #[test]
    fn questions_whose_answers_come_to_the_same_do_not_matter() {
        let leaf = |asked: &[(&str, bool)], exits| Leaf {
            asked: asked.iter().map(|(question, answer)| (Rc::from(*question), *answer)).collect(),
            exits,
        };
        let leaves = [
            leaf(&[("room", true), ("hour", false)], 1),
            leaf(&[("room", true), ("hour", true)], 2),
            leaf(&[("room", false)], 3),
        ];
        let mut mattered = BTreeSet::new();
        assert_eq!(mattering(&leaves, 0, &|exits| exits, &mut mattered), 3);
        assert_eq!(mattered.into_iter().map(|it| it.to_string()).collect::<Vec<_>>(), ["hour"]);
    }
}
