use proptest::prelude::*;

use super::super::conntrack::Closed;
use super::super::ruleset;
use super::super::transaction::Transaction;
use super::*;
use crate::model::{ContainerName, Link, MacAddr, Port, Published};

pub(in crate::firewall) fn id(n: u8) -> ContainerId {
    ContainerId::from_bytes([n; 32])
}

pub(in crate::firewall) fn endpoint(n: u8, published: Vec<Published>) -> Endpoint {
    let address = Ipv4Addr::new(172, 17, 0, n);
    let name: ContainerName = format!("c{n}").parse().expect("name");
    Endpoint {
        name,
        address,
        mac: MacAddr([2, 0x42, 172, 17, 0, n]),
        port: format!("veth{n}"),
        published,
        exposed: vec![],
        links: vec![],
        names: crate::model::Names::default(),
    }
}

pub(in crate::firewall) fn publish(host: [u8; 4], host_port: u16, container: &str) -> Published {
    Published { host_ip: host.into(), host_port, container: container.parse::<Port>().expect("port"), count: 1 }
}

/// With exposed ports: `80-81/tcp`.
pub(in crate::firewall) fn exposing(endpoint: Endpoint, runs: &[&str]) -> Endpoint {
    let run = |text: &&str| {
        let (first, rest) = text.split_once('-').expect("a range");
        let last: Port = rest.parse().expect("port");
        PortRange { protocol: last.protocol, first: first.parse().expect("port"), last: last.number }
    };
    Endpoint { exposed: runs.iter().map(run).collect(), ..endpoint }
}

pub(in crate::firewall) fn linked(endpoint: Endpoint, targets: &[u8]) -> Endpoint {
    let link = |n: &u8| Link { target: id(*n), alias: format!("alias{n}") };
    Endpoint { links: targets.iter().map(link).collect(), ..endpoint }
}

fn options() -> NetworkOptions {
    NetworkOptions { icc: false, ..NetworkOptions::usual() }
}

fn admit(n: u8, endpoint: Endpoint) -> Change {
    Change::Admit(id(n), Box::new(endpoint))
}

/// What a change closes and how many facts it makes.
fn made(all: &mut Elements, change: &Change) -> (Vec<Closed>, usize) {
    let before = all.facts().len();
    let mut delta = Delta::default();
    all.apply(change, &mut delta).expect("free");
    (delta.closed(), all.facts().len().saturating_sub(before))
}

#[test]
fn a_slot_has_one_owner() {
    let mut all = Elements::none(&options());
    let mut delta = Delta::default();
    let web = endpoint(2, vec![publish([0; 4], 80, "80"), publish([127, 0, 0, 1], 81, "80")]);
    all.apply(&admit(2, web), &mut delta).expect("free");
    let before = (all.clone(), delta.clone());
    let same_port = Endpoint { port: "veth2".to_owned(), ..endpoint(3, vec![]) };
    for thief in [endpoint(3, vec![publish([0; 4], 80, "1")]), endpoint(2, vec![]), same_port] {
        let error = all.apply(&admit(3, thief), &mut delta).expect_err("taken");
        assert!(matches!(error, FirewallError::Taken { .. }), "{error}");
    }
    assert_eq!((&all, &delta), (&before.0, &before.1), "a refusal changes nothing");
    // The same port of another protocol or address is another slot.
    let other = endpoint(3, vec![publish([0; 4], 80, "80/udp"), publish([127, 0, 0, 2], 81, "80")]);
    all.apply(&admit(3, other), &mut delta).expect("free");
}

#[test]
fn ranges_and_single_ports_conflict() {
    let range = |first, count| Published { count, ..publish([0; 4], first, "8000") };
    let mut all = Elements::none(&options());
    all.apply(&admit(2, endpoint(2, vec![range(8000, 10)])), &mut Delta::default()).expect("free");
    for (first, count, shared) in [
        (8000, 1, "0.0.0.0:8000/tcp"),
        (8009, 1, "0.0.0.0:8009/tcp"),
        (7000, 1001, "0.0.0.0:8000/tcp"),
        (8005, 1000, "0.0.0.0:8005-8009/tcp"),
        (7999, 100, "0.0.0.0:8000-8009/tcp"),
    ] {
        let thief = admit(3, endpoint(3, vec![range(first, count)]));
        let error = all.apply(&thief, &mut Delta::default()).expect_err("taken").to_string();
        assert!(error.contains(&format!("host port {shared} belongs to")), "{error}");
    }
    for (n, first, count) in [(3, 7000, 1000), (4, 8010, 10)] {
        all.apply(&admit(n, endpoint(n, vec![range(first, count)])), &mut Delta::default()).expect("free");
    }
    let twice = endpoint(5, vec![range(9000, 10), range(9009, 1)]);
    all.apply(&admit(5, twice), &mut Delta::default()).expect_err("its own rows overlap");
}

#[test]
fn a_batch_that_cancels_itself_is_empty() {
    let mut all = Elements::none(&options());
    let mut delta = Delta::default();
    let web = endpoint(2, vec![publish([0; 4], 80, "80")]);
    all.apply(&admit(2, web), &mut delta).expect("free");
    all.apply(&Change::Dismiss(id(2)), &mut delta).expect("known");
    assert!(delta.is_empty());
    all.apply(&Change::Dismiss(id(2)), &mut delta).expect("nothing to do");
    assert!(delta.is_empty());
}

#[test]
fn a_link_opens_while_both_ends_are_there() {
    let mut all = Elements::none(&options());
    let (source, target) = (linked(endpoint(3, vec![]), &[2]), exposing(endpoint(2, vec![]), &["80-81/tcp"]));
    let (a, b) = (source.address, target.address);
    let closed = Closed::Link { source: a, target: b, ports: target.exposed[0] };

    assert_eq!(made(&mut all, &admit(3, source.clone())).1, 1, "the endpoint alone: no target yet");
    assert_eq!(made(&mut all, &admit(2, target.clone())).1, 3, "the endpoint, the link and its ports");
    assert_eq!(made(&mut all, &Change::Dismiss(id(2))).0, [Closed::Endpoint(b), closed]);
    // The target comes back elsewhere, and the link with it.
    let moved = Endpoint { address: Ipv4Addr::new(172, 17, 0, 200), ..target };
    assert_eq!(made(&mut all, &admit(2, moved.clone())), (vec![], 3));
    // Unlinked, which ends the link only.
    let closed = Closed::Link { source: a, target: moved.address, ports: moved.exposed[0] };
    assert_eq!(made(&mut all, &admit(3, endpoint(3, vec![]))), (vec![closed], 0));
    assert_eq!(
        made(&mut all, &admit(3, linked(endpoint(3, vec![]), &[2, 2, 3]))),
        (vec![], 2),
        "several aliases, itself"
    );
    assert_eq!(made(&mut all, &Change::Dismiss(id(3))).0, [Closed::Endpoint(a), closed]);
    assert_eq!(all.facts(), [Fact::endpoint(&moved)]);
    assert!(all.sources.is_empty());
}

#[test]
fn with_icc_links_open_nothing() {
    let mut all = Elements::none(&NetworkOptions::usual());
    all.apply(&admit(3, linked(endpoint(3, vec![]), &[2])), &mut Delta::default()).expect("free");
    all.apply(&admit(2, exposing(endpoint(2, vec![]), &["80-81/tcp"])), &mut Delta::default()).expect("free");
    assert_eq!(all.facts().len(), 2);
}

#[test]
fn an_end_is_noticed_even_if_the_address_has_a_new_owner() {
    let mut all = Elements::none(&options());
    all.apply(&admit(2, endpoint(2, vec![])), &mut Delta::default()).expect("free");
    let mut delta = Delta::default();
    all.apply(&Change::Dismiss(id(2)), &mut delta).expect("known");
    all.apply(&admit(3, endpoint(2, vec![])), &mut delta).expect("free again");
    assert!(delta.is_empty(), "the kernel holds what it should");
    assert_eq!(delta.closed(), [Closed::Endpoint(Ipv4Addr::new(172, 17, 0, 2))]);
}

#[test]
fn only_udp_has_flows_that_bypass_what_came() {
    let mut all = Elements::none(&options());
    let web = endpoint(2, vec![publish([0; 4], 80, "80"), publish([0; 4], 53, "53/udp")]);
    let (closed, _) = made(&mut all, &admit(2, web));
    assert!(matches!(closed[..], [Closed::Published(Row { to_first: 53, .. })]), "{closed:?}");
}

/// Few containers, addresses and ports, so that changes meet.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let published = proptest::collection::vec((0..2u8, 1..4u16, 1..3u16, 1..3u16), 0..3).prop_map(|ports| {
        let row = |(host, host_port, to, count): (u8, u16, u16, u16)| {
            // Now and then a row that is long enough to be an interval.
            let count = if count == 2 && host_port == to { 100 } else { count };
            Published { count, ..publish([host, 0, 0, host], host_port, &to.to_string()) }
        };
        ports.into_iter().map(row).collect::<Vec<_>>()
    });
    let links = proptest::collection::vec(1..5u8, 0..3);
    let exposed = proptest::sample::subsequence(vec!["80-81/tcp", "80-80/udp", "1000-2000/udp"], 0..=3);
    let change = (1..5u8, any::<bool>(), 0..2u8, published, links, exposed).prop_map(
        |(n, admit, home, published, links, exposed)| {
            let endpoint = exposing(linked(endpoint(n + home * 4, published), &links), &exposed);
            if admit { Change::Admit(id(n), Box::new(endpoint)) } else { Change::Dismiss(id(n)) }
        },
    );
    proptest::collection::vec(change, 0..24)
}

/// The kernel's sets and maps, as text: what is added must not be there, and what is deleted must.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kernel(BTreeMap<String, String>);

impl Kernel {
    fn take(&mut self, transaction: &Transaction) -> Result<(), String> {
        let transaction = serde_json::to_value(transaction).expect("plain data");
        for object in transaction["nftables"].as_array().expect("a list") {
            for (command, add) in [("add", true), ("delete", false)] {
                let Some(element) = object[command].get("element") else { continue };
                for one in element["elem"].as_array().expect("a list") {
                    let (key, value) = match one.as_array() {
                        Some(pair) => (&pair[0], pair[1].to_string()),
                        None => (one, String::new()),
                    };
                    let key = format!("{} {} {key}", element["family"], element["name"]);
                    let done = match add {
                        true => self.0.insert(key, value).is_none(),
                        false => self.0.remove(&key).is_some_and(|held| held == value),
                    };
                    done.then_some(()).ok_or_else(|| format!("nft refuses to {command} {one}"))?;
                }
            }
        }
        Ok(())
    }
}

proptest! {
    /// Whatever batches the changes are cut into, their deltas lead the kernel to the final intent's elements.
    #[test]
    fn deltas_lead_to_the_final_intent(changes in changes(), cut in 1..6usize, icc in any::<bool>()) {
        let options = NetworkOptions { icc, ..NetworkOptions::usual() };
        let (mut all, mut kernel) = (Elements::none(&options), Kernel::default());
        for batch in changes.chunks(cut) {
            let mut delta = Delta::default();
            let (untouched, mut undo) = (all.clone(), Vec::new());
            for change in batch {
                undo.extend(all.apply(change, &mut Delta::default()));
            }
            undo.into_iter().rev().for_each(|before| all.revert(before));
            prop_assert_eq!(&all, &untouched);
            for change in batch {
                let _refused = all.apply(change, &mut delta);
            }
            kernel.take(&ruleset::change(&options, &delta)).map_err(TestCaseError::fail)?;
        }
        let mut fresh = Kernel::default();
        let again = Elements::of(&options, &all.endpoints).expect("consistent");
        fresh.take(&ruleset::replace(&options, &again)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&kernel, &fresh);
        prop_assert_eq!(again, all);
    }
}
