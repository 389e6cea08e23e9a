//! Rules of others at the bridge's devices that take frames past everything else (`fwd`), or copy them (`dup`).

use std::collections::BTreeSet;

use super::super::difference::theirs;
use crate::firewall::audit::bytecode::{Chain, Expression, Hook, Rule, Table};
use crate::firewall::audit::network::Network;
use crate::model::audit::{Difference, Subject};

/// All of them.
pub(super) fn differences<'a>(
    network: &Network,
    bridge: u32,
    foreign: impl Iterator<Item = &'a Table>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for table in foreign.filter(|table| !table.dormant) {
        let devices: BTreeSet<&str> = table.chains.iter().flat_map(|chain| ours(network, bridge, chain)).collect();
        if devices.is_empty() {
            continue;
        }
        for (chain, rule) in table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule))) {
            let Some((kind, does)) = deed(rule) else { continue };
            let (family, table, chain, handle) = (table.family.word(), &table.name, &chain.name, rule.handle);
            let of = devices.iter().copied().collect::<Vec<_>>().join(", ");
            let what = format!("rule with handle {handle} in chain {chain} of table {family} {table} {does} (at {of})");
            let remedy = format!("if nobody meant it: `nft delete rule {family} {table} {chain} handle {handle}`");
            found.push(theirs(Subject::Foreign, kind, what, remedy));
        }
    }
    found
}

/// Whether a table is at the bridge's devices: what it does there is told here.
pub(super) fn is_told(network: &Network, bridge: u32, table: &Table) -> bool {
    table.chains.iter().any(|chain| !ours(network, bridge, chain).is_empty())
}

/// Devices of a base chain that are the bridge or its ports.
fn ours<'a>(network: &Network, bridge: u32, chain: &'a Chain) -> Vec<&'a str> {
    let Some(base) = chain.base.as_ref().filter(|base| matches!(base.hook, Hook::Ingress | Hook::Egress)) else {
        return Vec::new();
    };
    let on = |device: &str, name: &str| match device.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => device == name,
    };
    let is_ours = |device: &&String| {
        let mut here = network.interfaces.iter().filter(|it| it.index == bridge || it.master == Some(bridge));
        here.any(|it| on(device, &it.name))
    };
    base.devices.iter().filter(is_ours).map(String::as_str).collect()
}

fn deed(rule: &Rule) -> Option<(&'static str, &'static str)> {
    rule.expressions.iter().find_map(|expression| match expression {
        Expression::Unknown(name) if name == "fwd" => {
            Some(("foreign-bypass", "sends frames out elsewhere, past the firewall"))
        }
        Expression::Transparent("dup") => Some(("foreign-copy", "sends copies of frames elsewhere")),
        _ => None,
    })
}
