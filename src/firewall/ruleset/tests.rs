use std::collections::BTreeMap;

use super::super::elements::tests::{endpoint, exposing, id, linked, publish};
use super::render::lines;
use super::*;
use crate::model::{Change, Published};

fn options() -> NetworkOptions {
    NetworkOptions::usual()
}

fn ruleset(options: &NetworkOptions) -> Vec<String> {
    lines(&replace(options, &Elements::none(options)))
}

/// What one ruleset has that the other has not, marked as `diff` does.
fn difference(from: &[String], to: &[String]) -> String {
    let only = |mark: char, a: &[String], b: &[String]| {
        let lines: Vec<String> = a.iter().filter(|line| !b.contains(line)).map(|l| format!("{mark} {l}\n")).collect();
        lines.concat()
    };
    only('-', from, to) + &only('+', to, from)
}

#[test]
fn the_ruleset_with_default_options() {
    insta::assert_snapshot!(ruleset(&options()).join("\n"));
}

/// Every combination of the options that change anything, by what it changes.
#[test]
fn what_options_change() {
    let usual = ruleset(&options());
    let mut all = String::new();
    for combination in 1..32u8 {
        let given = |bit: u8| combination & (1 << bit) != 0;
        let options = NetworkOptions {
            icc: !given(0),
            ip_masq: !given(1),
            host_access: !given(2),
            dns_port: given(3).then_some(1053),
            own_bridge: !given(4),
            ..options()
        };
        let names = ["icc=false", "ip_masq=false", "host_access=false", "dns_port=1053", "own_bridge=false"];
        let names: Vec<&str> = (0..5).filter(|bit| given(*bit)).map(|bit| names[usize::from(bit)]).collect();
        all += &format!("== {}\n{}\n", names.join(" "), difference(&usual, &ruleset(&options)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_options_leave_alone() {
    // These are the bridge's business, or an endpoint's.
    let others = NetworkOptions {
        mtu: 1200,
        ip_forward: false,
        fixed_cidr: Some("172.17.1.0/24".parse().expect("network")),
        default_ip: [192, 0, 2, 1].into(),
        ..options()
    };
    assert_eq!(ruleset(&others), ruleset(&options()));
}

#[test]
fn endpoints_are_elements_and_never_rules() {
    let options = NetworkOptions { icc: false, ..options() };
    let many = Published { count: 10_000, ..publish([0; 4], 20_000, "20000") };
    let moved = Published { count: 2, ..publish([192, 0, 2, 1], 90, "190/udp") };
    let published = vec![publish([0; 4], 8080, "80"), publish([127, 0, 0, 1], 53, "53/udp"), many, moved];
    let endpoints = BTreeMap::from([
        (id(2), exposing(endpoint(2, published), &["80-81/tcp", "1-65535/udp"])),
        (id(3), linked(endpoint(3, vec![]), &[2, 9])),
    ]);
    let elements = Elements::of(&options, &endpoints).expect("distinct");
    let with = lines(&replace(&options, &elements));
    insta::assert_snapshot!("elements", difference(&ruleset(&options), &with));
    let rules = |lines: &[String]| lines.iter().filter(|line| line.contains("  # ")).count();
    assert_eq!(rules(&with), rules(&ruleset(&options)));
}

#[test]
fn a_change_deletes_before_it_adds() {
    let mut elements = Elements::none(&options());
    let first = Change::Admit(id(2), Box::new(endpoint(2, vec![publish([0; 4], 8080, "80")])));
    elements.apply(&first, &mut Delta::default()).expect("free");
    let mut delta = Delta::default();
    let again = Change::Admit(id(2), Box::new(endpoint(2, vec![publish([0; 4], 8080, "81")])));
    elements.apply(&again, &mut delta).expect("its own");
    insta::assert_snapshot!("change", lines(&change(&options(), &delta)).join("\n"));
}
