use std::collections::BTreeMap;

use super::*;
use crate::model::audit::{Party, Reason};

fn party(name: &str, kind: PartyKind, label: &str) -> Party {
    let labels = BTreeMap::from([("tier".to_owned(), label.to_owned())]);
    let (addresses, ports) = (Vec::new(), Vec::new());
    Party { name: name.to_owned(), kind, id: None, mode: None, addresses, shares: None, labels, ports }
}

fn cell(from: usize, to: usize, service: &str, intent: Intended, kernel: Verdict) -> Cell {
    let service = service.parse().expect("service");
    let (by, reason, decider, probe) = (Way::Direct, 0, None, None);
    Cell { from, to, service, by, intent, reason, kernel, decider, probe, listening: None, hits: None }
}

/// web (0) reaches db (1) on 5432; vault (2) is reached by nobody; side (3) sits in web's namespace; 4 is the LAN.
fn matrix() -> Matrix {
    let mut side = party("side", PartyKind::Container, "front");
    side.shares = Some("web".to_owned());
    let parties = vec![
        party("web", PartyKind::Container, "front"),
        party("db", PartyKind::Container, "back"),
        party("vault", PartyKind::Container, "back"),
        side,
        party("lan", PartyKind::Lan, ""),
    ];
    let (yes, no) = ((Intended::Allow, Verdict::Allow), (Intended::Deny, Verdict::Deny));
    let with = |(intent, kernel), from, to, service| cell(from, to, service, intent, kernel);
    let cells = vec![
        with(yes, 0, 1, "5432/tcp"),
        with(no, 0, 2, "8200/tcp"),
        with(no, 1, 0, "80/tcp"),
        with(no, 1, 2, "8200/tcp"),
        with(yes, 4, 0, "80/tcp"),
        with(no, 4, 1, "5432/tcp"),
    ];
    Matrix { parties, cells, reasons: vec![Reason::NoLink], ..Matrix::empty() }
}

struct Nothing;

impl Evaluate for Nothing {
    fn cells(&self, from: usize, to: usize, service: Service) -> Vec<Cell> {
        vec![cell(from, to, &service.to_string(), Intended::Deny, Verdict::Deny)]
    }
}

fn checked(text: &str, matrix: &Matrix) -> Vec<(Outcome, Vec<String>)> {
    let expectations = Expectations::parse(text).expect("a file");
    let checked = check(&expectations, matrix, &Nothing);
    checked.expectations.into_iter().map(|it| (it.outcome, it.flows)).collect()
}

fn one(text: &str) -> (Outcome, Vec<String>) {
    checked(text, &matrix()).remove(0)
}

#[test]
fn what_is_as_expected() {
    assert_eq!(one("[[allow]]\nfrom='web'\nto='db'\nports='5432'").0, Outcome::Ok);
    assert_eq!(one("[[allow]]\nfrom='label:tier=front'\nto='db'").0, Outcome::Ok);
    assert_eq!(one("[[deny]]\nfrom='*'\nto='vault'").0, Outcome::Ok);
    assert_eq!(one("[[deny]]\nfrom='web'\nto='db'\nports='22'").0, Outcome::Ok);
}

#[test]
fn what_is_not() {
    let (outcome, flows) = one("[[deny]]\nfrom='web'\nto='db'");
    assert_eq!(
        (outcome, flows.as_slice()),
        (Outcome::Violated, ["web to db on 5432/tcp passes: --icc=false, and no link opens it".to_owned()].as_slice())
    );
    assert_eq!(one("[[allow]]\nfrom='db'\nto='web'").0, Outcome::Violated);
    assert_eq!(one("[[allow]]\nfrom='web'\nto='db'\nports=['5432','22']").0, Outcome::Violated);
}

#[test]
fn ranges_pass_as_a_whole_and_are_closed_as_a_whole() {
    let mut matrix = matrix();
    matrix.cells.push(cell(4, 1, "8000-8009/tcp", Intended::Allow, Verdict::Allow));
    let outcome = |text: &str| checked(text, &matrix)[0].0;
    for (ports, allowed) in [("8000-8009", Outcome::Ok), ("8003", Outcome::Ok), ("8005-8010", Outcome::Violated)] {
        assert_eq!(outcome(&format!("[[allow]]\nfrom='lan'\nto='db'\nports='{ports}'")), allowed, "{ports}");
        assert_eq!(outcome(&format!("[[deny]]\nfrom='lan'\nto='db'\nports='{ports}'")), Outcome::Violated, "{ports}");
    }
    assert_eq!(outcome("[[deny]]\nfrom='lan'\nto='db'\nports='8010-8020'"), Outcome::Ok);
}

#[test]
fn a_joined_container_is_where_the_other_is() {
    assert_eq!(one("[[allow]]\nfrom='side'\nto='db'\nports='5432'").0, Outcome::Ok);
    assert_eq!(one("[[deny]]\nfrom='side'\nto='db'").0, Outcome::Violated);
}

#[test]
fn who_does_not_exist_is_unknown() {
    let (outcome, flows) = one("[[deny]]\nfrom='wbe'\nto='db'");
    assert_eq!((outcome, flows.as_slice()), (Outcome::Unknown, ["there is no wbe that runs".to_owned()].as_slice()));
}

#[test]
fn the_default_wants_every_way_in_named() {
    let text = "default='deny'\n[[allow]]\nfrom='web'\nto='db'\nports='5432'\n";
    let all = checked(text, &matrix());
    assert_eq!(all[1].0, Outcome::Violated);
    assert_eq!(all[1].1, ["lan to web on 80/tcp passes: --icc=false, and no link opens it"]);
    let named = checked(&format!("{text}[[allow]]\nfrom='lan'\nto='web'"), &matrix());
    assert!(named.iter().all(|(outcome, _)| *outcome == Outcome::Ok), "{named:?}");
}

#[test]
fn verdicts_that_disagree_are_drift_and_open_ones_unknown() {
    let mut matrix = matrix();
    matrix.cells[0].kernel = Verdict::Deny;
    let (outcome, flows) = checked("[[allow]]\nfrom='web'\nto='db'", &matrix).remove(0);
    assert_eq!(outcome, Outcome::Drift);
    assert_eq!(flows, ["web to db on 5432/tcp: the intent says it passes, the kernel it does not"]);
    matrix.cells[0].kernel = Verdict::Unknown;
    assert_eq!(checked("[[allow]]\nfrom='web'\nto='db'", &matrix)[0].0, Outcome::Unknown);
    matrix.cells[0].probe = Some(Verdict::Allow);
    assert_eq!(checked("[[allow]]\nfrom='web'\nto='db'", &matrix)[0].0, Outcome::Ok);
}

#[test]
fn the_worst_decides() {
    let matrix = matrix();
    let code = |text: &str| {
        let expectations = Expectations::parse(text).expect("a file");
        check(&expectations, &matrix, &Nothing).outcome().code()
    };
    assert_eq!(code("[[allow]]\nfrom='web'\nto='db'"), 0);
    assert_eq!(code("[[deny]]\nfrom='web'\nto='db'\n[[deny]]\nfrom='x'\nto='db'"), 1);
    assert_eq!(code("[[deny]]\nfrom='x'\nto='db'"), 2);
}

/// What is said of nobody is not kept by anybody.
#[test]
fn who_does_not_run_keeps_no_promise() {
    for who in ["label:tier=none", "label:nothing", "cache-*", "cache"] {
        for (from, to) in [(who, "db"), ("web", who)] {
            let text = format!("[[deny]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
            let (outcome, flows) = one(&text);
            assert_eq!(outcome, Outcome::Unknown, "{text}");
            assert_eq!(flows, [format!("there is no {who} that runs")]);
        }
    }
    assert_eq!(one("[[deny]]\nfrom = \"outside\"\nto = \"db\"\n").0, Outcome::Ok, "there is no way out");
}
