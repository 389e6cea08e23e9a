//! A ruleset made ready for evaluation: names resolved, sets indexed, base chains in the order in which hooks call them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::bytecode::{Base, Chain, ChainKind, Expression, Family, Hook, Ruleset, Set, Table};
use super::decisive;
use super::sets::Index;
use super::trace::RuleAt;
use super::xt::Extension;

/// A ruleset with its indexes.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) ruleset: Ruleset,
    tables: Vec<Names>,
    /// By stack and hook.
    hooks: Vec<[Vec<Call>; HOOKS]>,
    /// Whether rules keep conntrack running, for IPv4 and IPv6.
    tracks: (bool, bool),
}

#[derive(Debug)]
struct Names {
    /// How many of a rule's expressions decide, by chain and rule.
    decisive: Vec<Vec<usize>>,
    chains: HashMap<String, usize, FixedState>,
    sets: HashMap<String, (usize, Index), FixedState>,
}

/// A family's hooks in the kernel, which tables of one or two families share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stack {
    Ip,
    Ip6,
    Bridge,
    Arp,
    /// Ingress and egress of devices, of netdev and inet.
    Device,
}

impl Stack {
    const ALL: [Self; 5] = [Self::Ip, Self::Ip6, Self::Bridge, Self::Arp, Self::Device];
}

/// As many as [`Hook`] has.
const HOOKS: usize = Hook::Egress as usize + 1;

/// A base chain in the order of its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) priority: i32,
    pub(super) at: ChainAt,
    pub(super) kind: ChainKind,
}

/// A chain by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainAt {
    pub(super) table: usize,
    pub(super) chain: usize,
}

impl Compiled {
    pub(super) fn new(ruleset: Ruleset) -> Self {
        let mut hooks: Vec<[Vec<Call>; HOOKS]> = Stack::ALL.iter().map(|_| Default::default()).collect();
        for (table, of) in ruleset.tables.iter().enumerate().filter(|(_, table)| !table.dormant) {
            for (chain, base) in of.chains.iter().enumerate().filter_map(|(at, chain)| Some((at, chain.base.as_ref()?)))
            {
                for stack in stacks(of.family, base.hook) {
                    let call = Call { priority: base.priority, at: ChainAt { table, chain }, kind: base.kind };
                    hooks[*stack as usize][base.hook as usize].push(call);
                }
            }
        }
        for calls in hooks.iter_mut().flatten() {
            // Of equal priorities the one that was registered last runs first (nf_hook_entries_grow).
            calls.reverse();
            calls.sort_by_key(|call| call.priority);
        }
        let tracks = (tracks(&ruleset, Family::Ip), tracks(&ruleset, Family::Ip6));
        let tables = ruleset.tables.iter().map(Names::of).collect();
        Self { ruleset, tables, hooks, tracks }
    }

    pub(super) fn calls(&self, stack: Stack, hook: Hook) -> &[Call] {
        &self.hooks[stack as usize][hook as usize]
    }

    pub(super) fn tracks(&self, v4: bool) -> bool {
        if v4 { self.tracks.0 } else { self.tracks.1 }
    }

    pub(super) fn table(&self, at: usize) -> &Table {
        &self.ruleset.tables[at]
    }

    pub(super) fn chain(&self, at: ChainAt) -> &Chain {
        &self.table(at.table).chains[at.chain]
    }

    /// A rule's expressions; without those that decide nothing, unless `all` are wanted.
    pub(super) fn expressions(&self, at: RuleAt, all: bool) -> &[Expression] {
        let expressions = &self.chain(at.chain).rules[at.rule].expressions;
        let decisive = || self.tables[at.chain.table].decisive[at.chain.chain][at.rule];
        if all { expressions } else { &expressions[..decisive()] }
    }

    pub(super) fn base(&self, at: ChainAt) -> Option<&Base> {
        self.chain(at).base.as_ref()
    }

    pub(super) fn named_chain(&self, table: usize, name: &str) -> Option<ChainAt> {
        self.tables[table].chains.get(name).map(|chain| ChainAt { table, chain: *chain })
    }

    pub(super) fn named_set(&self, table: usize, name: &str) -> Option<(&Set, &Index)> {
        let (at, index) = self.tables[table].sets.get(name)?;
        Some((&self.table(table).sets[*at], index))
    }
}

impl Names {
    fn of(table: &Table) -> Self {
        Self {
            decisive: decisive::of_table(table),
            chains: table.chains.iter().enumerate().map(|(at, chain)| (chain.name.clone(), at)).collect(),
            sets: table.sets.iter().enumerate().map(|(at, set)| (set.name.clone(), (at, Index::of(set)))).collect(),
        }
    }
}

fn stacks(family: Family, hook: Hook) -> &'static [Stack] {
    match (family, hook) {
        (_, Hook::Ingress | Hook::Egress) => &[Stack::Device],
        (Family::Inet, _) => &[Stack::Ip, Stack::Ip6],
        (Family::Ip, _) => &[Stack::Ip],
        (Family::Ip6, _) => &[Stack::Ip6],
        (Family::Arp, _) => &[Stack::Arp],
        (Family::Bridge, _) => &[Stack::Bridge],
        (Family::Netdev, _) => &[],
    }
}

/// Conntrack's hooks are there as long as a rule of the family needs them (`nf_ct_netns_get`), in any table, a dormant
/// one included.
fn tracks(ruleset: &Ruleset, family: Family) -> bool {
    let of_family = ruleset.tables.iter().filter(|table| table.family == family || table.family == Family::Inet);
    let mut expressions =
        of_family.flat_map(|table| &table.chains).flat_map(|chain| &chain.rules).flat_map(|rule| &rule.expressions);
    expressions.any(|expression| match expression {
        Expression::Ct { .. } | Expression::SetCt { .. } | Expression::Nat { .. } => true,
        Expression::Meter(meter) => *meter == super::bytecode::Meter::Connections,
        Expression::Object { kind } => matches!(kind, 3 | 5 | 7 | 9),
        Expression::Transparent(name) => *name == "flow add",
        Expression::Extension(extension) => {
            matches!(extension, Extension::Conntrack(_) | Extension::Nat { .. } | Extension::Notrack)
        }
        _ => false,
    })
}
