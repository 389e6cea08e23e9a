//! What differs between the daemon's tables as they should be and as the kernel holds them, in words. Nothing is changed.
//!
//! The same comparison as a daemon's that comes back (`held`), told instead of followed: rules by the listing of a plan
//! that is loaded into a namespace to throw away, elements one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;

use super::elements::Elements;
use super::held::{self, Key};
use super::names::{self, Family, SetName};
use super::structure::{Change, Structure};
use crate::model::audit::{Difference, Subject};
use crate::model::{Endpoint, NetworkOptions};

/// What the plan's listings are, per family; they follow from the options alone.
pub(super) type Planned = Vec<String>;

/// Everything that differs.
pub(super) async fn differences(
    options: &NetworkOptions,
    planned: &Planned,
    elements: &Elements,
) -> std::io::Result<Vec<Difference>> {
    let table = names::table(options);
    let held = {
        let table = table.clone();
        let listed = tokio::task::spawn_blocking(move || held::by_family(&table)).await;
        listed.map_err(std::io::Error::other)??
    };
    let words = Words { table, of: Owners::of(elements) };
    let wanted = held::planned_elements(elements);
    let mut differences = Vec::new();
    for ((family, plan), held) in Family::ALL.into_iter().zip(planned).zip(held) {
        let Some((listing, found)) = held else {
            if family.is_used(options.own_bridge) {
                differences.push(words.no_table(family));
            }
            continue;
        };
        let changes = Structure::read(&listing).changes(&Structure::read(plan));
        differences.extend(changes.iter().map(|change| words.change(family, change)));
        // The elements of a set that is gone, or is another's by now, are not told one by one.
        let gone: BTreeSet<&str> = changes.iter().filter_map(lost_set).collect();
        let wanted: BTreeSet<&Key> = wanted.iter().filter(|(of, ..)| *of == family.to_string()).collect();
        let found: BTreeSet<&Key> = found.iter().collect();
        let missing = wanted.difference(&found).map(|key| (true, key));
        let extra = found.difference(&wanted).map(|key| (false, key));
        let told = missing.chain(extra).filter(|(_, (_, set, _))| !gone.contains(set.as_str()));
        differences.extend(told.map(|(missing, (_, set, element))| words.element(family, set, element, missing)));
    }
    Ok(differences)
}

fn lost_set(change: &Change) -> Option<&str> {
    match change {
        Change::Missing { kind, name } | Change::Extra { kind, name } if kind == "set" || kind == "map" => Some(name),
        _ => None,
    }
}

/// Whose what is.
struct Owners<'a> {
    addresses: BTreeMap<Ipv4Addr, &'a Endpoint>,
    ports: BTreeMap<&'a str, &'a Endpoint>,
}

impl<'a> Owners<'a> {
    fn of(elements: &'a Elements) -> Self {
        let endpoints = || elements.endpoints();
        Self {
            addresses: endpoints().map(|endpoint| (endpoint.address, endpoint)).collect(),
            ports: endpoints().map(|endpoint| (endpoint.port.as_str(), endpoint)).collect(),
        }
    }

    /// The container that an address or a port of the bridge belongs to.
    fn name(&self, word: &str) -> Option<String> {
        let by_address = word.parse().ok().and_then(|address: Ipv4Addr| self.addresses.get(&address));
        let endpoint = by_address.or_else(|| self.ports.get(word))?;
        Some(endpoint.name.to_string())
    }

    /// The name, or the word itself.
    fn call(&self, word: &str) -> String {
        self.name(word).unwrap_or_else(|| word.to_owned())
    }
}

struct Words<'a> {
    table: String,
    of: Owners<'a>,
}

impl Words<'_> {
    fn no_table(&self, family: Family) -> Difference {
        let what = match family {
            Family::Inet => "nothing judges who reaches containers, and no published port leads to one",
            Family::Arp => "the host believes strangers on the bridge who has which address",
            Family::Bridge => "nothing keeps containers from speaking in each other's names",
        };
        plain(Subject::Rule, "table-missing", format!("table {family} {} is missing: {what}", self.table))
    }

    fn change(&self, family: Family, change: &Change) -> Difference {
        let of = format!("of table {family} {}", self.table);
        let (kind, what) = match change {
            Change::Flag(line) if line.contains("dormant") => (
                "table-dormant".to_owned(),
                format!("table {family} {} is dormant: none of its rules is in force", self.table),
            ),
            Change::Flag(line) => {
                ("table-changed".to_owned(), format!("table {family} {} has `{line}`, which is not ours", self.table))
            }
            Change::Missing { kind, name } => (format!("{kind}-missing"), format!("{kind} {name} {of} is missing")),
            Change::Extra { kind, name } => (format!("{kind}-added"), format!("{kind} {name} {of} is not one of ours")),
            Change::Redefined { kind, name, is, should } => {
                let (is, should) = (is.trim_end_matches(';'), should.trim_end_matches(';'));
                let is = if is.is_empty() { "nothing" } else { is };
                (format!("{kind}-changed"), format!("{kind} {name} {of} is `{is}` and should be `{should}`"))
            }
            Change::RuleMissing { chain, rule } => {
                ("rule-missing".to_owned(), format!("rule `{rule}` of chain {chain} {of} is missing"))
            }
            Change::RuleExtra { chain, rule, before } => {
                let before = match before {
                    0 => String::new(),
                    1 => ", before 1 of ours".to_owned(),
                    _ => format!(", before {before} of ours"),
                };
                ("rule-added".to_owned(), format!("rule `{rule}` in chain {chain} {of} is not one of ours{before}"))
            }
            Change::Order { chain } => {
                ("rules-reordered".to_owned(), format!("the rules of chain {chain} {of} are in another order"))
            }
        };
        plain(Subject::Rule, &kind, what)
    }

    fn element(&self, family: Family, set: &str, element: &str, missing: bool) -> Difference {
        // It was made from JSON.
        let parts = flat(&serde_json::from_str(element).unwrap_or_default());
        let purpose = self.purpose(family, set, &parts);
        let text = joined(&serde_json::from_str(element).unwrap_or_default());
        let (kind, what) = match missing {
            true => ("element-missing", format!("element {text} of {set} is missing: {purpose}")),
            false => (
                "element-added",
                format!("element {text} of {set} is not one of ours: {purpose}, which nobody asked for"),
            ),
        };
        let names: BTreeSet<String> = parts.iter().filter_map(|part| self.of.name(part)).collect();
        Difference { containers: names.into_iter().collect(), ..plain(Subject::Element, kind, what) }
    }

    /// What an element is for.
    fn purpose(&self, family: Family, set: &str, parts: &[String]) -> String {
        let is = |name: SetName| name.family == family && name.name == set;
        let part = |place: usize| parts.get(place).map(String::as_str).unwrap_or_default();
        let call = |place: usize| self.of.call(part(place));
        if is(SetName::ENDPOINTS) {
            return format!("that the rules take {} for a container", call(0));
        }
        if is(SetName::LINKED) || is(SetName::LINKED_RUNS) {
            return format!("{}'s link to {} on {}/{}", call(0), call(1), part(3), part(2));
        }
        if is(SetName::LINKED_PAIRS) {
            return format!("that {} believes ICMP errors of {}", call(0), call(1));
        }
        if is(SetName::PORTS) {
            return format!("that what {} sends is judged", call(0));
        }
        if is(SetName::MACS) {
            return format!("that {} is the hardware address of {}", part(1), call(0));
        }
        if is(SetName::SOURCES) {
            return format!("that {} and {} are the addresses of {}", part(1), part(2), call(0));
        }
        if is(SetName::ADMITTED) || is(SetName::ADMITTED_RUNS) {
            return format!("that who is led to {}'s {}/{} passes", call(0), part(2), part(1));
        }
        if is(SetName::ADMITTED_ADDRESS) || is(SetName::ADMITTED_ADDRESS_RUNS) {
            return format!("that who is led from {} to {}'s {}/{} passes", part(0), call(1), part(3), part(2));
        }
        let on_all = [SetName::PUBLISHED_ANY_ADDRESS, SetName::PUBLISHED_ANY_PORT, SetName::PUBLISHED_ANY_RUNS];
        let anywhere = on_all.into_iter().any(is);
        let (host, rest) = if anywhere { ("0.0.0.0", parts) } else { (part(0), parts.get(1..).unwrap_or_default()) };
        let rest = |place: usize| rest.get(place).map(String::as_str).unwrap_or_default();
        let to = rest(2);
        let to = if to.parse::<u16>().is_ok() { format!("a container's port {to}") } else { self.of.call(to) };
        format!("that port {host}:{}/{} of the host leads to {to}", rest(1), rest(0))
    }
}

fn plain(subject: Subject, kind: &str, what: String) -> Difference {
    let kind = kind.to_owned();
    Difference { subject, kind, what, containers: Vec::new(), since: None, by: None, repaired: false, remedy: None }
}

/// The fields of an element, and behind them its value.
fn flat(element: &Value) -> Vec<String> {
    match element {
        Value::Array(pair) => pair.iter().flat_map(flat).collect(),
        Value::Object(object) => match (object.get("concat"), object.get("elem")) {
            (Some(Value::Array(fields)), _) => fields.iter().flat_map(flat).collect(),
            (_, Some(elem)) => flat(&elem["val"]),
            _ => vec![joined(element)],
        },
        one => vec![joined(one)],
    }
}

/// As nft writes it.
fn joined(element: &Value) -> String {
    let all = |values: &[Value], by: &str| values.iter().map(joined).collect::<Vec<_>>().join(by);
    match element {
        Value::String(text) => text.clone(),
        Value::Array(pair) => all(pair, " : "),
        Value::Object(object) => match object.iter().next().map(|(key, value)| (key.as_str(), value)) {
            Some(("concat", Value::Array(fields))) => all(fields, " . "),
            Some(("range", Value::Array(ends))) => all(ends, "-"),
            Some(("prefix", prefix)) => format!("{}/{}", joined(&prefix["addr"]), prefix["len"]),
            Some(("elem", elem)) => {
                let more = elem
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(key, _)| !["val", "expires"].contains(&key.as_str()));
                let more: String = more.map(|(key, value)| format!(" {key} {}", joined(value))).collect();
                format!("{}{more}", joined(&elem["val"]))
            }
            _ => element.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::elements::tests::{endpoint, exposing, id, linked, publish};
    use super::*;

    fn told(set: SetName, element: &Value, missing: bool) -> Difference {
        let options = NetworkOptions { icc: false, ..NetworkOptions::usual() };
        let target = exposing(endpoint(1, vec![publish([0; 4], 80, "81")]), &["80-80/tcp"]);
        let endpoints = (1..).map(id).zip([target, linked(endpoint(2, vec![]), &[1])]).collect();
        let elements = Elements::of(&options, &endpoints).expect("distinct");
        let words = Words { table: "t".to_owned(), of: Owners::of(&elements) };
        words.element(set.family, set.name, &element.to_string(), missing)
    }

    #[test]
    fn an_element_is_told_by_what_it_is_for() {
        let link = serde_json::json!({ "concat": ["172.17.0.2", "172.17.0.1", "tcp", 80] });
        let difference = told(SetName::LINKED, &link, true);
        assert_eq!(
            (difference.kind.as_str(), difference.what.as_str()),
            (
                "element-missing",
                "element 172.17.0.2 . 172.17.0.1 . tcp . 80 of linked is missing: c2's link to c1 on 80/tcp"
            )
        );
        assert_eq!(difference.containers, ["c1", "c2"]);
        let hole = told(SetName::LINKED, &serde_json::json!({ "elem": { "val": link, "timeout": 60 } }), false);
        assert_eq!(
            hole.what,
            "element 172.17.0.2 . 172.17.0.1 . tcp . 80 timeout 60 of linked is not one of ours: c2's link to c1 on \
             80/tcp, which nobody asked for"
        );
        let any = serde_json::json!([{ "concat": ["tcp", 80] }, "172.17.0.1"]);
        assert_eq!(
            told(SetName::PUBLISHED_ANY_ADDRESS, &any, true).what,
            "element tcp . 80 : 172.17.0.1 of published_any_address is missing: that port 0.0.0.0:80/tcp of the \
             host leads to c1"
        );
        let row = serde_json::json!([{ "concat": ["192.0.2.1", "tcp", { "range": [8000, 8099] }] }, "172.17.0.9"]);
        assert_eq!(
            told(SetName::PUBLISHED_RUNS, &row, false).what,
            "element 192.0.2.1 . tcp . 8000-8099 : 172.17.0.9 of published_runs is not one of ours: that port \
             192.0.2.1:8000-8099/tcp of the host leads to 172.17.0.9, which nobody asked for"
        );
    }
}
