//! A table's listing, read into its parts, and what differs between two of them. Pure.
//!
//! The text is that of `nft --stateless --terse list table`: a block for each chain, set, map and counter, a line for each
//! rule. It is the same nft that lists what is and what should be, so that lines can be compared as they are.

use std::collections::BTreeMap;

/// A table without its elements and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    /// Lines of the table itself: `flags dormant`.
    own: Vec<String>,
    /// By kind (`chain`, `set`, `map`, `counter`) and name.
    blocks: BTreeMap<(String, String), Vec<String>>,
}

/// One difference from the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The table has this line of its own: `flags dormant`.
    Flag(String),
    /// An object is not there.
    Missing { kind: String, name: String },
    /// An object that is not planned.
    Extra { kind: String, name: String },
    /// A line that says what the object is: a chain's hook, priority and policy, a set's type and flags.
    Redefined { kind: String, name: String, is: String, should: String },
    /// A rule is not there.
    RuleMissing { chain: String, rule: String },
    /// A rule that is not planned, and how many of the plan's are behind it.
    RuleExtra { chain: String, rule: String, before: usize },
    /// The right rules in another order.
    Order { chain: String },
}

impl Structure {
    /// Reads a listing of one table.
    pub(super) fn read(listing: &str) -> Self {
        let mut structure = Self::default();
        let mut open: Option<(String, String)> = None;
        for line in listing.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match &open {
                None if line.starts_with("table ") || line == "}" => {}
                None => match line.strip_suffix('{').and_then(|head| head.trim().split_once(' ')) {
                    Some((kind, name)) => {
                        let key = (kind.to_owned(), name.trim().trim_matches('"').to_owned());
                        structure.blocks.entry(key.clone()).or_default();
                        open = Some(key);
                    }
                    None => structure.own.push(line.to_owned()),
                },
                Some(_) if line == "}" => open = None,
                Some(key) => structure.blocks.entry(key.clone()).or_default().push(line.to_owned()),
            }
        }
        structure
    }

    /// What must change here to be as planned.
    pub(super) fn changes(&self, planned: &Self) -> Vec<Change> {
        let mut changes: Vec<Change> = surplus(&self.own, &planned.own).map(|(_, line)| Change::Flag(line)).collect();
        for (key, lines) in &planned.blocks {
            let (kind, name) = key.clone();
            match self.blocks.get(key) {
                None => changes.push(Change::Missing { kind, name }),
                Some(found) if kind == "chain" => changes.extend(in_chain(&name, found, lines)),
                Some(found) if found != lines => {
                    let (is, should) = (found.join(", "), lines.join(", "));
                    changes.push(Change::Redefined { kind, name, is, should });
                }
                Some(_) => {}
            }
        }
        let extra = self.blocks.keys().filter(|key| !planned.blocks.contains_key(*key)).cloned();
        changes.extend(extra.map(|(kind, name)| Change::Extra { kind, name }));
        changes
    }
}

fn is_head(line: &str) -> bool {
    line.starts_with("type ")
}

fn in_chain(chain: &str, found: &[String], planned: &[String]) -> Vec<Change> {
    let head = |lines: &[String]| lines.iter().find(|line| is_head(line)).cloned().unwrap_or_default();
    let rules = |lines: &[String]| lines.iter().filter(|line| !is_head(line)).cloned().collect::<Vec<_>>();
    let mut changes = Vec::new();
    let (is, should) = (head(found), head(planned));
    if is != should {
        changes.push(Change::Redefined { kind: "chain".to_owned(), name: chain.to_owned(), is, should });
    }
    let (found, planned) = (rules(found), rules(planned));
    if found == planned {
        return changes;
    }
    let before = changes.len();
    let missing = surplus(&planned, &found);
    changes.extend(missing.map(|(_, rule)| Change::RuleMissing { chain: chain.to_owned(), rule }));
    for (place, rule) in surplus(&found, &planned) {
        let behind = found[place + 1..].iter().filter(|line| planned.contains(line)).count();
        changes.push(Change::RuleExtra { chain: chain.to_owned(), rule, before: behind });
    }
    if changes.len() == before {
        changes.push(Change::Order { chain: chain.to_owned() });
    }
    changes
}

/// Lines that are here more often than there, with their place here.
fn surplus<'a>(here: &'a [String], there: &'a [String]) -> impl Iterator<Item = (usize, String)> + 'a {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    there.iter().for_each(|line| *left.entry(line).or_default() += 1);
    here.iter().enumerate().filter_map(move |(place, line)| match left.get_mut(line.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            None
        }
        _ => Some((place, line.clone())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"table inet t {
        counter lan {
        }

        set linked {
                type ipv4_addr . inet_service
                flags interval
        }

        chain forward {
                type filter hook forward priority filter; policy accept;
                oifname "br0" goto to_containers comment "to containers"
        }

        chain to_containers {
                ct state established accept comment "replies"
                ip saddr { 1.1.1.1, 2.2.2.2 } drop
                drop
        }
}"#;

    fn changes(edit: impl Fn(&str) -> String) -> Vec<Change> {
        Structure::read(&edit(PLAN)).changes(&Structure::read(PLAN))
    }

    #[test]
    fn what_is_as_planned_differs_in_nothing() {
        assert_eq!(changes(str::to_owned), []);
    }

    #[test]
    fn each_change_is_named() {
        let [text] = [|text: &str| text.to_owned()];
        let rule = |rule: &str| (text("to_containers"), text(rule));
        let (chain, drop) = rule("drop");
        assert_eq!(
            changes(|plan| plan.replace("                drop\n", "")),
            [Change::RuleMissing { chain: chain.clone(), rule: drop.clone() }]
        );
        let accept = changes(|plan| plan.replace("                ct state", "                accept\n   ct state"));
        assert_eq!(accept, [Change::RuleExtra { chain: chain.clone(), rule: text("accept"), before: 3 }]);
        let swapped = changes(|plan| {
            plan.replace("                drop\n", "").replace("                ct state", "drop\n ct state")
        });
        assert_eq!(swapped, [Change::Order { chain: chain.clone() }]);
        let policy = changes(|plan| plan.replace("policy accept", "policy drop"));
        assert!(
            matches!(&policy[..], [Change::Redefined { kind, name, is, .. }]
                if kind == "chain" && name == "forward" && is.ends_with("policy drop;")),
            "{policy:?}"
        );
        let flags = changes(|plan| plan.replace("flags interval", "flags interval,timeout"));
        assert!(matches!(&flags[..], [Change::Redefined { kind, .. }] if kind == "set"), "{flags:?}");
        assert_eq!(
            changes(|plan| plan.replace("counter lan {\n        }", "flags dormant\n chain mine {\n drop\n }")),
            [
                Change::Flag(text("flags dormant")),
                Change::Missing { kind: text("counter"), name: text("lan") },
                Change::Extra { kind: text("chain"), name: text("mine") },
            ]
        );
    }

    #[test]
    fn a_rule_twice_is_one_too_many() {
        let twice = changes(|plan| plan.replace("                drop\n", "drop\ndrop\n"));
        let [Change::RuleExtra { rule, before: 0, .. }] = &twice[..] else { panic!("{twice:?}") };
        assert_eq!(rule, "drop");
    }
}
