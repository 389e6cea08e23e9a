//! Whom rules name: addresses that stand in them, which are what they tell containers apart by.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::firewall::audit::bytecode::{Expression, Rule, Ruleset, Value};
use crate::firewall::audit::xt::Extension;

/// All of them, and other numbers of four bytes, which do no harm.
pub(super) fn named(ruleset: &Ruleset) -> BTreeSet<Ipv4Addr> {
    let mut named = BTreeSet::new();
    let mut note = |bytes: &[u8]| {
        for field in bytes.chunks_exact(4) {
            named.extend(<[u8; 4]>::try_from(field).map(Ipv4Addr::from));
        }
    };
    for rule in rules(ruleset) {
        for expression in &rule.expressions {
            match expression {
                Expression::Compare { with: value, .. } | Expression::Immediate { value, .. } => note(value),
                Expression::Range { low, high, .. } => [low, high].into_iter().for_each(|it| note(it)),
                _ => {}
            }
        }
    }
    let sets = ruleset.tables.iter().flat_map(|table| &table.sets);
    for element in sets.flat_map(|set| &set.elements) {
        note(&element.key);
        element.last.iter().for_each(|last| note(last));
        if let Some(Value::Bytes(value)) = &element.value {
            note(value);
        }
    }
    named
}

/// Whether any rule sends elsewhere what it gets.
pub(super) fn translates(ruleset: &Ruleset) -> bool {
    let translates =
        |it: &Expression| matches!(it, Expression::Nat { .. } | Expression::Extension(Extension::Nat { .. }));
    rules(ruleset).any(|rule| rule.expressions.iter().any(translates))
}

fn rules(ruleset: &Ruleset) -> impl Iterator<Item = &Rule> {
    ruleset.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules)
}
