//! Whether somebody else's rules may change the ports that packets come from. Pure.
//!
//! Datagrams of probes are told from others by the ports that they come from, when they are kept from programs. Our own
//! rules leave these as they are; `masquerade random`, or a range of ports, does not.

use crate::firewall::audit::Kernel;
use crate::firewall::audit::bytecode::{Expression, Ruleset, Translation};
use crate::firewall::audit::xt::Extension;

/// Whether others than pontoon translate sources here, whatever of.
pub(super) fn by_others(kernel: &Kernel) -> bool {
    // Tables of the legacy iptables are seen, and not read.
    in_rules(kernel.ruleset()) || kernel.network().unmodelled.iter().any(|what| what.contains("legacy iptables"))
}

fn in_rules(ruleset: &Ruleset) -> bool {
    let others = ruleset.tables.iter().filter(|table| !table.name.starts_with("pontoon-"));
    let rules = others.flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| &rule.expressions).any(translates_sources)
}

fn translates_sources(expression: &Expression) -> bool {
    match expression {
        Expression::Nat { what, .. } | Expression::Extension(Extension::Nat { what, .. }) => {
            matches!(what, Translation::Source | Translation::Masquerade)
        }
        Expression::Extension(Extension::UnknownTarget(name)) => {
            ["NAT", "NETMAP", "MASQUERADE"].iter().any(|part| name.contains(part))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::bytecode::{Chain, Family, Rule, Table};

    fn ruleset(table: &str, expression: Expression) -> Ruleset {
        let rule = Rule { handle: 1, comment: None, expressions: vec![expression] };
        let chain = Chain { name: "c".to_owned(), handle: 1, base: None, rules: vec![rule] };
        let (family, name) = (Family::Ip, table.to_owned());
        let table = Table { family, name, dormant: false, chains: vec![chain], sets: vec![], objects: vec![] };
        Ruleset { generation: 1, tables: vec![table] }
    }

    #[test]
    fn others_masquerading_is_seen() {
        let nat = |what| Expression::Nat { what, addresses: None, ports: None, netmap: false };
        assert!(in_rules(&ruleset("nat", nat(Translation::Masquerade))));
        assert!(!in_rules(&ruleset("pontoon-pontoon0", nat(Translation::Masquerade))));
        assert!(!in_rules(&ruleset("nat", nat(Translation::Destination))));
        let target = |name: &str| Expression::Extension(Extension::UnknownTarget(name.to_owned()));
        assert!(in_rules(&ruleset("nat", target("MASQUERADE revision 7"))));
        assert!(!in_rules(&ruleset("nat", target("LED"))));
    }
}
