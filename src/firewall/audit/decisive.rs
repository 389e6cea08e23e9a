//! How much of a rule decides about packets. Behind its last verdict or change, a rule may count, log, take note in a set,
//! or ask whether to: whatever comes of that, the packet fares alike. Each such question would double the ways to go.

use std::collections::HashSet;

use super::bytecode::{Expression, Rule, Table};
use super::expressions::of_object;

/// How many of each rule's expressions, from the first on, decide: by chain and rule.
pub(super) fn of_table(table: &Table) -> Vec<Vec<usize>> {
    let rules = || table.chains.iter().flat_map(|chain| &chain.rules);
    let read: HashSet<&str> = rules().flat_map(|rule| &rule.expressions).filter_map(reads).collect();
    let of_rule = |rule: &Rule| {
        let last = rule.expressions.iter().rposition(|expression| decides(expression, &read));
        last.map_or(0, |last| last + 1)
    };
    table.chains.iter().map(|chain| chain.rules.iter().map(of_rule).collect()).collect()
}

/// The set that an expression looks into: what rules have put there makes a difference then.
fn reads(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Lookup { set, .. } | Expression::ObjectOf { set, .. } => Some(set),
        _ => None,
    }
}

/// Whether it ends or changes anything. What only fills registers, which each rule fills before it reads them, or says
/// whether the rest of the rule comes about, decides nothing by itself.
fn decides(expression: &Expression, read: &HashSet<&str>) -> bool {
    match expression {
        Expression::Immediate { .. }
        | Expression::Compare { .. }
        | Expression::Range { .. }
        | Expression::Bitwise { .. }
        | Expression::Byteorder { .. }
        | Expression::Payload { .. }
        | Expression::Meta { .. }
        | Expression::Ct { .. }
        | Expression::Fib { .. }
        | Expression::Lookup { verdicts: false, .. }
        | Expression::Meter(_)
        | Expression::Transparent(_)
        | Expression::UnknownValue { .. } => false,
        Expression::Dynset { set, deletes, .. } => *deletes || read.contains(set.as_str()),
        Expression::Object { kind } => {
            let object = of_object(*kind);
            matches!(object, Expression::Object { .. }) || decides(&object, read)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytecode::{Chain, Family, Meter, Verdict};
    use super::*;

    fn table(rules: Vec<Vec<Expression>>) -> Table {
        let rules = rules.into_iter().map(|expressions| Rule { handle: 1, comment: None, expressions }).collect();
        let chain = Chain { name: "c".to_owned(), handle: 1, base: None, rules };
        Table {
            family: Family::Inet,
            name: "t".to_owned(),
            dormant: false,
            chains: vec![chain],
            sets: vec![],
            objects: vec![],
        }
    }

    fn note(set: &str) -> Expression {
        Expression::Dynset { set: set.to_owned(), from: 16, deletes: false, inverted: false, metered: None }
    }

    fn look(set: &str) -> Expression {
        Expression::Lookup { set: set.to_owned(), from: 16, to: None, verdicts: false, inverted: false }
    }

    #[test]
    fn what_follows_the_last_deed_decides_nothing() {
        let limit = || Expression::Meter(Meter::Limit);
        let rules = vec![
            vec![look("s"), limit(), Expression::Verdict(Verdict::Drop)],
            vec![look("s"), note("counts"), limit(), Expression::Transparent("log")],
            vec![Expression::SetMeta { from: 16, key: 3 }, limit(), Expression::Transparent("log")],
            vec![Expression::Transparent("counter"), note("s"), limit()],
            vec![limit(), Expression::Tproxy { address: None, port: None }],
        ];
        assert_eq!(of_table(&table(rules)), [[3, 0, 1, 2, 2]]);
    }
}
