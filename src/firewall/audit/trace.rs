//! What a packet met on its way.

use super::bytecode::{Element, Hook, Set, Verdict};
use super::compiled::{ChainAt, Stack};
use super::flows::Place;
use super::keys;
use super::machine::End;

/// A rule by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleAt {
    pub(super) chain: ChainAt,
    pub(super) rule: usize,
}

impl From<RuleAt> for Place {
    fn from(at: RuleAt) -> Self {
        Self { table: at.chain.table, chain: at.chain.chain, rule: Some(at.rule) }
    }
}

impl From<ChainAt> for Place {
    fn from(at: ChainAt) -> Self {
        Self { table: at.table, chain: at.chain, rule: None }
    }
}

/// How a rule ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleEnd {
    /// An expression did not match.
    Mismatch,
    /// It matched, and decided nothing.
    Passed,
    Verdict(Verdict),
    End(End),
}

/// One thing met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Hook {
        stack: Stack,
        hook: Hook,
        device: Option<u32>,
    },
    Chain(ChainAt),
    Element {
        set: String,
        /// As nft prints it.
        key: String,
        /// What it has counted.
        packets: Option<u64>,
    },
    Rule(RuleAt, RuleEnd),
    Policy(ChainAt, bool),
    /// The kernel did something besides rules.
    Kernel(String),
}

/// The way of one run; what was met is empty where nobody wants it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) wanted: bool,
    pub(super) met: Vec<Met>,
    /// What decided is kept in any case: what ended it,
    pub(super) stopped_by: Option<Place>,
    /// rules of filters that let it pass by name,
    pub(super) passed: Vec<Place>,
    /// and what gave it another destination.
    pub(super) led_by: Option<Place>,
}

impl Trace {
    pub(super) fn rule(&mut self, at: RuleAt, end: impl FnOnce() -> RuleEnd) {
        self.push(|| Met::Rule(at, end()));
    }

    pub(super) fn policy(&mut self, chain: ChainAt, accepts: bool) {
        self.push(|| Met::Policy(chain, accepts));
    }

    pub(super) fn element(&mut self, set: &Set, element: &Element) {
        self.push(|| Met::Element { set: set.name.clone(), key: keys::text(set, element), packets: element.packets });
    }

    pub(super) fn kernel(&mut self, what: impl FnOnce() -> String) {
        self.push(|| Met::Kernel(what()));
    }

    pub(super) fn push(&mut self, met: impl FnOnce() -> Met) {
        if self.wanted {
            self.met.push(met());
        }
    }
}
