//! What the kernel holds already, and what of it must change: a daemon that comes back writes only the difference, so that
//! counters count on, and nothing is ever without rules.
//!
//! Rules are compared as nft lists them. It lists what it was given in words of its own, so the plan is loaded into a
//! network namespace to throw away, and listed there. Elements are compared one by one, as nft's JSON has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::conntrack::{Closed, Row};
use super::elements::Elements;
use super::names::{self, Family, SetName};
use super::{nft, ruleset};
use crate::model::{NetworkOptions, PortRange, Protocol};

/// An element: the family of its table, its set, and itself as canonical JSON.
pub(super) type Key = (String, String, String);

/// A daemon's tables: their rules and what is in their sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// nft's listing of each table without counters and elements.
    pub(super) rules: Vec<String>,
    pub(super) elements: BTreeSet<Key>,
}

impl Held {
    /// Asks the kernel. `None`: it lacks one of the tables, or nft's answer cannot be read.
    pub(super) async fn now(options: &NetworkOptions) -> Option<Self> {
        let options = options.clone();
        tokio::task::spawn_blocking(move || {
            let rules = structure(&options)?;
            let table = names::table(&options);
            let lists = Family::of(&options).map(|family| {
                let listed = nft::ask(&["-j", "list", "table", &family.to_string(), &table]).ok()?;
                serde_json::from_str::<Value>(&listed).ok()
            });
            let elements = lists.map(|list| Some(elements_in(&list?))).collect::<Option<Vec<_>>>()?;
            Some(Self { rules, elements: elements.into_iter().flatten().collect() })
        })
        .await
        .ok()?
    }

    /// What it would be if the plan were in force. `None`: that cannot be tried.
    pub(super) async fn planned(options: &NetworkOptions, elements: &Elements) -> Option<Self> {
        let rules = listed(options, plan(options)?).await?;
        Some(Self { rules, elements: planned_elements(elements) })
    }

    /// The transaction that leads from here to there, if they have the same rules. Empty: nothing differs.
    pub(super) fn difference(&self, to: &Self, table: &str) -> Option<Vec<Value>> {
        if self.rules != to.rules {
            return None;
        }
        let mut commands = element_commands(table, "delete", self.elements.difference(&to.elements));
        commands.extend(element_commands(table, "add", to.elements.difference(&self.elements)));
        Some(commands)
    }

    /// What ends if that comes after this.
    pub(super) fn closed(&self, to: &Self) -> Vec<Closed> {
        let gone = self.elements.difference(&to.elements).filter_map(|(_, set, element)| {
            let element: Value = serde_json::from_str(element).ok()?;
            self.closing(set, &element)
        });
        gone.collect()
    }

    fn closing(&self, set: &str, element: &Value) -> Option<Closed> {
        let is = |name: SetName| set == name.name;
        if is(SetName::ENDPOINTS) {
            return Some(Closed::Endpoint(address(element)?));
        }
        if is(SetName::LINKED) || is(SetName::LINKED_RUNS) {
            let [source, target, protocol, ports] = element["concat"].as_array()?.as_slice() else { return None };
            let (source, target) = (address(source)?, address(target)?);
            return Some(Closed::Link { source, target, ports: run(protocol, ports)? });
        }
        if ![
            SetName::PUBLISHED_ADDRESS,
            SetName::PUBLISHED_ANY_ADDRESS,
            SetName::PUBLISHED_RUNS,
            SetName::PUBLISHED_ANY_RUNS,
        ]
        .into_iter()
        .any(is)
        {
            return None;
        }
        let [key, to] = element.as_array()?.as_slice() else { return None };
        let (host, protocol, ports) = match key["concat"].as_array()?.as_slice() {
            [host, protocol, ports] => (Some(address(host)?), protocol, ports),
            [protocol, ports] => (None, protocol, ports),
            _ => return None,
        };
        let ports = run(protocol, ports)?;
        // Where the port changes, another map says to what. That matters to nobody here: the whole row goes.
        Some(Closed::Unpublished(Row { host, ports, to: address(to)?, to_first: ports.first }))
    }
}

/// The rules that follow from options, as the transaction that writes them.
pub(super) fn plan(options: &NetworkOptions) -> Option<String> {
    serde_json::to_string(&ruleset::replace(options, &Elements::none(options))).ok()
}

/// How nft lists a plan. `None`: that cannot be tried.
pub(super) async fn listed(options: &NetworkOptions, plan: String) -> Option<Vec<String>> {
    let (tell, told) = oneshot::channel();
    let options = options.clone();
    // The namespace ends with the thread, which must be nobody else's.
    std::thread::spawn(move || {
        let listed = || {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            nft::feed(plan.as_bytes()).ok()?;
            structure(&options)
        };
        let _ = tell.send(listed());
    });
    told.await.ok()?
}

/// A table's listing without counters and elements, and its elements.
pub(super) type Listed = (String, BTreeSet<Key>);

/// Each family's table of this name. `None`: there is no such table.
pub(super) fn by_family(table: &str) -> std::io::Result<Vec<Option<Listed>>> {
    let mut held = Vec::new();
    for family in Family::ALL {
        let family = family.to_string();
        // Not `list table`, which fails for a table that is not there as for any other reason.
        let tables = nft::ask(&["list", "tables", &family])?;
        if !tables.lines().any(|line| line.trim() == format!("table {family} {table}")) {
            held.push(None);
            continue;
        }
        let listing = nft::ask(&["--stateless", "--terse", "list", "table", &family, table])?;
        let objects = nft::ask(&["-j", "list", "table", &family, table])?;
        let objects: Value = serde_json::from_str(&objects)?;
        held.push(Some((listing, elements_in(&objects).into_iter().collect())));
    }
    Ok(held)
}

/// A listing for each family; empty where there is no table and should be none.
fn structure(options: &NetworkOptions) -> Option<Vec<String>> {
    let table = names::table(options);
    let list = |family: Family| {
        let listed = nft::ask(&["--stateless", "--terse", "list", "table", &family.to_string(), &table]).ok();
        if family.is_used(options.own_bridge) { listed } else { Some(listed.unwrap_or_default()) }
    };
    Family::ALL.map(list).into_iter().collect()
}

/// All elements of all sets and maps in nft's listing.
fn elements_in(listing: &Value) -> Vec<Key> {
    let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    // What packets fill is nobody's plan. (Some versions of nft list meters among the sets.)
    let kept = |set: &&Value| !set["flags"].as_array().is_some_and(|flags| flags.iter().any(|it| it == "dynamic"));
    let sets = objects.iter().filter_map(|object| object.get("set").or_else(|| object.get("map"))).filter(kept);
    sets.flat_map(|set| {
        let name = |key: &str| set[key].as_str().unwrap_or_default().to_owned();
        let elements = set["elem"].as_array().map(Vec::as_slice).unwrap_or_default();
        elements.iter().map(move |element| (name("family"), name("name"), uncounted(element).to_string()))
    })
    .collect()
}

/// An element, alone or as the key of a pair, without what it has counted: that is nobody's plan. What else was made of it
/// stays to be seen.
fn uncounted(element: &Value) -> Value {
    match element {
        Value::Array(pair) => pair.iter().map(uncounted).collect(),
        Value::Object(object) => match object.get("elem").and_then(Value::as_object) {
            Some(more) => {
                let mut more = more.clone();
                more.remove("counter");
                match (more.len(), more.get("val")) {
                    (1, Some(plain)) => plain.clone(),
                    _ => json!({ "elem": more }),
                }
            }
            None => element.clone(),
        },
        _ => element.clone(),
    }
}

pub(super) fn planned_elements(elements: &Elements) -> BTreeSet<Key> {
    let all = elements.facts().into_iter().flat_map(|fact| fact.elements());
    all.filter_map(|(set, element)| {
        let element = serde_json::to_value(element).ok()?;
        Some((set.family.to_string(), set.name.to_owned(), element.to_string()))
    })
    .collect()
}

/// One command a set.
fn element_commands<'a>(table: &str, command: &str, elements: impl Iterator<Item = &'a Key>) -> Vec<Value> {
    let mut sets: BTreeMap<(&str, &str), Vec<Value>> = BTreeMap::new();
    for (family, set, element) in elements {
        // It was made from JSON.
        let element = serde_json::from_str(element).unwrap_or_default();
        sets.entry((family, set)).or_default().push(element);
    }
    let in_set = |((family, set), elements): ((&str, &str), Vec<Value>)| json!({ command: { "element": { "family": family, "table": table, "name": set, "elem": elements } } });
    sets.into_iter().map(in_set).collect()
}

fn address(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

fn run(protocol: &Value, ports: &Value) -> Option<PortRange> {
    let protocol: Protocol = protocol.as_str()?.parse().ok()?;
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    match ports["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => Some(PortRange { protocol, first: port(first)?, last: port(last)? }),
        _ => Some(PortRange { protocol, first: port(ports)?, last: port(ports)? }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::elements::tests::{endpoint, exposing, id, linked, publish};
    use super::*;
    use crate::model::Published;

    fn options() -> NetworkOptions {
        NetworkOptions { icc: false, ..NetworkOptions::usual() }
    }

    fn held(endpoints: Vec<crate::model::Endpoint>) -> Held {
        let endpoints = (1..).map(id).zip(endpoints).collect();
        let elements = Elements::of(&options(), &endpoints).expect("distinct");
        Held { rules: vec!["the same".to_owned()], elements: planned_elements(&elements) }
    }

    /// As nft lists the elements of a set that has them count.
    fn counted(element: &Value) -> Value {
        json!({ "elem": { "val": element, "counter": { "packets": 7, "bytes": 420 } } })
    }

    #[test]
    fn what_was_counted_is_no_difference_and_anything_else_is() {
        let key = json!({ "concat": ["tcp", 80] });
        assert_eq!(uncounted(&counted(&key)), key);
        let pair = json!([counted(&key), "172.17.0.1"]);
        assert_eq!(uncounted(&pair), json!([key, "172.17.0.1"]));
        let tampered = json!({ "elem": { "val": key, "timeout": 60, "counter": { "packets": 7, "bytes": 420 } } });
        assert_eq!(uncounted(&tampered), json!({ "elem": { "val": key, "timeout": 60 } }));
    }

    /// As nft 1.0.6 lists it.
    #[test]
    fn elements_are_read_as_they_are_written() {
        let row = Published { count: 100, ..publish([192, 0, 2, 1], 8000, "8000") };
        let target = exposing(endpoint(1, vec![row, publish([0; 4], 53, "54/udp")]), &["80-80/tcp", "1-65535/udp"]);
        let planned = held(vec![target, linked(endpoint(2, vec![]), &[1])]);
        let inet = json!({ "nftables": [
            { "metainfo": { "version": "1.0.6" } },
            { "table": { "family": "inet", "name": "t", "handle": 1 } },
            { "set": { "family": "inet", "name": "admitted", "elem": [{ "concat": ["172.17.0.1", "udp", 54] }] } },
            { "set": { "family": "inet", "name": "admitted_address_runs",
                "elem": [{ "concat": ["192.0.2.1", "172.17.0.1", "tcp", { "range": [8000, 8099] }] }] } },
            { "counter": { "family": "inet", "name": "lan", "table": "t", "handle": 6, "packets": 7, "bytes": 0 } },
            { "set": { "family": "inet", "name": "endpoints", "table": "t", "type": "ipv4_addr", "handle": 1,
                "elem": ["172.17.0.1", "172.17.0.2"] } },
            { "set": { "family": "inet", "name": "linked", "stmt": [{ "counter": null }],
                "elem": [counted(&json!({ "concat": ["172.17.0.2", "172.17.0.1", "tcp", 80] }))] } },
            { "set": { "family": "inet", "name": "linked_runs", "stmt": [{ "counter": null }],
                "elem": [counted(&json!({ "concat": ["172.17.0.2", "172.17.0.1", "udp", { "range": [1, 65535] }] }))] } },
            { "set": { "family": "inet", "name": "linked_pairs", "elem": [{ "concat": ["172.17.0.2", "172.17.0.1"] }] } },
            { "map": { "family": "inet", "name": "published_address" } },
            { "map": { "family": "inet", "name": "published_runs",
                "elem": [[counted(&json!({ "concat": ["192.0.2.1", "tcp", { "range": [8000, 8099] }] })), "172.17.0.1"]] } },
            { "map": { "family": "inet", "name": "published_any_address",
                "elem": [[counted(&json!({ "concat": ["udp", 53] })), "172.17.0.1"]] } },
            { "map": { "family": "inet", "name": "published_any_port", "elem": [[{ "concat": ["udp", 53] }, 54]] } },
        ] });
        let bridge = json!({ "nftables": [
            { "set": { "family": "bridge", "name": "ports", "elem": ["veth1", "veth2"] } },
            { "set": { "family": "bridge", "name": "macs",
                "elem": [{ "concat": ["veth1", "02:42:ac:11:00:01"] }, { "concat": ["veth2", "02:42:ac:11:00:02"] }] } },
            { "set": { "family": "bridge", "name": "sources", "elem": [
                { "concat": ["veth1", "02:42:ac:11:00:01", "172.17.0.1"] },
                { "concat": ["veth2", "02:42:ac:11:00:02", "172.17.0.2"] }] } },
        ] });
        let elements: BTreeSet<Key> = [inet, bridge].iter().flat_map(elements_in).collect();
        assert_eq!(elements, planned.elements);
        assert_eq!(Held { elements, ..held(vec![]) }.difference(&planned, "t"), Some(vec![]));
    }

    #[test]
    fn only_what_differs_is_written_and_what_goes_is_closed() {
        let target = || exposing(endpoint(1, vec![publish([0; 4], 80, "81")]), &["80-80/tcp"]);
        let before = held(vec![target(), linked(endpoint(2, vec![]), &[1]), endpoint(3, vec![])]);
        let after = held(vec![exposing(endpoint(1, vec![]), &["80-80/tcp"]), endpoint(2, vec![]), endpoint(4, vec![])]);
        let commands = before.difference(&after, "t").expect("the same rules");
        let text: Vec<String> = commands.iter().map(Value::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
        insta::assert_debug_snapshot!(before.closed(&after));
        assert_eq!(Held { rules: vec!["others".to_owned()], ..held(vec![]) }.difference(&after, "t"), None);
    }
}
