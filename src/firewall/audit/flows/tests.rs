use super::super::bytecode::{
    Base, Between, Chain, ChainKind, Comparison, Expression, Hook, Layer, Reject, Rule, Ruleset, Table, Translation,
    Verdict,
};
use super::super::network::{Interface, Network, Route, RouteKind, RoutingRule, Way as Hop};
use super::*;

const ETH0: u32 = 2;

/// A machine 192.0.2.1 with one link, and the rules of two base chains.
fn kernel(prerouting: Vec<Vec<Expression>>, output: Vec<Vec<Expression>>) -> Kernel {
    with(vec![
        chain(Hook::Prerouting, -300, ChainKind::Filter, prerouting),
        chain(Hook::Output, -300, ChainKind::Filter, output),
    ])
}

fn chain(hook: Hook, priority: i32, kind: ChainKind, rules: Vec<Vec<Expression>>) -> Chain {
    Chain {
        name: "c".to_owned(),
        handle: 1,
        base: Some(Base { hook, priority, kind, accepts: true, devices: vec![] }),
        rules: (2..).zip(rules).map(|(handle, expressions)| Rule { handle, comment: None, expressions }).collect(),
    }
}

fn route(table: u32, to: &str, kind: RouteKind, interface: u32) -> Route {
    Route {
        table,
        destination: to.parse().expect("network"),
        source: None,
        metric: 0,
        tos: 0,
        kind,
        ways: vec![Hop { interface, gateway: None }],
        preferred_source: None,
        opaque: false,
    }
}

fn with(chains: Vec<Chain>) -> Kernel {
    let table =
        Table { family: Family::Ip, name: "t".to_owned(), dormant: false, chains, sets: vec![], objects: vec![] };
    Kernel::new(Ruleset { generation: 1, tables: vec![table] }, network())
}

fn network() -> Network {
    let addresses = vec!["192.0.2.1/24".parse().expect("address")];
    let eth0 = Interface { index: ETH0, name: "eth0".to_owned(), up: true, addresses, ..Interface::default() };
    Network {
        interfaces: vec![eth0],
        routes: vec![
            route(255, "192.0.2.1/32", RouteKind::Local, ETH0),
            route(254, "192.0.2.0/24", RouteKind::Unicast, ETH0),
        ],
        rules: vec![RoutingRule::usual(0, 255), RoutingRule::usual(32_766, 254)],
        ..Network::default()
    }
}

fn port(destination: bool, number: u16, then: Expression) -> Vec<Expression> {
    let offset = if destination { 2 } else { 0 };
    let with = number.to_be_bytes().to_vec();
    vec![
        Expression::Payload { to: 16, layer: Layer::Transport, offset, length: 2 },
        Expression::Compare { from: 16, how: Comparison::Equal, with },
        then,
    ]
}

fn drop() -> Expression {
    Expression::Verdict(Verdict::Drop)
}

fn packet(source: Option<u16>, destination: Option<u16>) -> Packet {
    let transport = Transport::Tcp { source, destination, flags: 2 };
    let (from, to) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    let content = Content::Ip { source: from, destination: to, transport };
    Packet { entry: Entry::Interface(ETH0), source_mac: None, destination_mac: None, vlan: None, content }
}

#[test]
fn the_rule_that_stops_is_of_the_way_that_assumes_least() {
    let kernel = kernel(vec![port(false, 68, drop()), port(true, 443, drop())], vec![]);
    let Outcome::Stopped { by: Stop::Rule(place), .. } = kernel.flow(&packet(None, Some(443))) else {
        panic!("it is stopped");
    };
    assert_eq!(kernel.named(place).handle, Some(3));
}

#[test]
fn where_some_answers_come_back_a_range_is_told_port_by_port() {
    const STATE: u32 = 0;
    const UNTRACKED: u32 = 1 << 6;
    let untracked = vec![
        Expression::Ct { to: 16, key: STATE, reply: None },
        Expression::Compare { from: 16, how: Comparison::Equal, with: UNTRACKED.to_ne_bytes().to_vec() },
        drop(),
    ];
    // Answers to what was not tracked are not either: as raw's output chain of the same rule has it.
    let back = port(false, 5432, Expression::Notrack);
    let kernel = kernel(vec![port(true, 5432, Expression::Notrack)], vec![back, untracked]);
    let rows = kernel.flows(1, 65_535, packet);
    let ends: Vec<_> =
        rows.iter().map(|(first, last, it)| (*first, *last, matches!(it, Outcome::Passes { .. }))).collect();
    assert!(ends.contains(&(5432, 5432, false)), "{ends:?}");
    assert!(ends.iter().all(|(first, last, passes)| *passes != (*first..=*last).contains(&5432)), "{ends:?}");
}

/// A rule for packets of which something is so (or is not) that nobody knows.
fn open(name: &str, how: Comparison, then: Expression) -> Vec<Expression> {
    let value = Expression::UnknownValue { to: 16, name: name.to_owned() };
    vec![value, Expression::Compare { from: 16, how, with: vec![1] }, then]
}

#[test]
fn ways_that_come_to_the_same_are_gone_once() {
    let names: Vec<String> = (10..50).map(|number| format!("rt {number}")).collect();
    let rules = names.iter().map(|name| open(name, Comparison::Equal, drop())).collect();
    let kernel = kernel(rules, vec![]);
    let ways = kernel.outcome(&packet(Some(4000), Some(443)), None).ways;
    assert_eq!(ways.len(), 41, "by each rule one, and past all of them");
    let Outcome::Unknown { because, .. } = kernel.flow(&packet(Some(4000), Some(443))) else { panic!("unknown") };
    let last = "rt 49: whether there is a value".to_owned();
    assert_eq!(because, names.into_iter().chain([last]).collect::<Vec<_>>());
    let rows = kernel.flows(1, 65_535, packet);
    assert_eq!(rows.len(), 1, "no port matters");
}

#[test]
fn what_changes_nothing_is_not_what_it_depends_on() {
    let one = Expression::Immediate { to: 16, value: vec![1, 0, 0, 0] };
    let mark = [open("rt a", Comparison::Equal, one), vec![Expression::SetMeta { from: 16, key: 3 }]].concat();
    let rules = || vec![mark.clone(), open("rt b", Comparison::Equal, drop())];
    let Outcome::Unknown { because, .. } = kernel(rules(), vec![]).flow(&packet(Some(4000), Some(443))) else {
        panic!("unknown");
    };
    assert_eq!(because, ["rt b", "rt b: whether there is a value"]);
    let marks = kernel(rules()[..1].to_vec(), vec![]);
    assert!(matches!(marks.flow(&packet(Some(4000), Some(443))), Outcome::Passes { .. }));
}

#[test]
fn where_all_ways_are_stopped_it_is_by_the_rule_for_usual_packets() {
    let rules = vec![open("rt a", Comparison::NotEqual, drop()), vec![Expression::Reject { how: Reject::TcpReset }]];
    let Outcome::Stopped { by: Stop::Rule(place), .. } = kernel(rules, vec![]).flow(&packet(Some(4000), Some(443)))
    else {
        panic!("it is stopped");
    };
    assert_eq!(place.rule, Some(0));
}

#[test]
fn of_a_range_each_answer_is_from_its_own_port() {
    let kernel = kernel(vec![], vec![port(false, 67, drop())]);
    let rows = kernel.flows(60, 70, packet);
    let passes: Vec<_> =
        rows.iter().map(|(first, last, it)| (*first, *last, matches!(it, Outcome::Passes { .. }))).collect();
    assert_eq!(passes, [(60, 66, true), (67, 67, false), (68, 70, true)]);
}

#[test]
fn of_a_range_each_row_names_its_rule() {
    let from = |port: u16| Expression::Compare {
        from: 16,
        how: Comparison::GreaterOrEqual,
        with: port.to_be_bytes().to_vec(),
    };
    let load = Expression::Payload { to: 16, layer: Layer::Transport, offset: 2, length: 2 };
    let kernel = kernel(vec![vec![load, from(100), drop()], vec![drop()]], vec![]);
    let rules = kernel.flows(1, 200, packet).into_iter().map(|(first, _, outcome)| match outcome {
        Outcome::Stopped { by: Stop::Rule(place), .. } => (first, place.rule),
        other => panic!("{other:?}"),
    });
    assert_eq!(rules.collect::<Vec<_>>(), [(1, Some(1)), (100, Some(0)), (101, Some(0))]);
}

#[test]
fn a_rule_that_leads_all_ports_to_one_leads_each_row_there() {
    let led = vec![
        Expression::Immediate { to: 16, value: 5432_u16.to_be_bytes().to_vec() },
        Expression::Nat {
            what: Translation::Destination,
            addresses: None,
            ports: Some(Between { min: 16, max: 16 }),
            netmap: false,
        },
    ];
    let kernel = with(vec![chain(Hook::Prerouting, -100, ChainKind::Nat, vec![led])]);
    let rows = kernel.flows(5000, 6000, packet).into_iter().map(|(first, last, outcome)| match outcome {
        Outcome::Passes { arrival, .. } => (first, last, arrival.destination.1),
        other => panic!("{other:?}"),
    });
    let all = [(5000, 5431, Some(5432)), (5432, 5432, Some(5432)), (5433, 6000, Some(5432))];
    assert_eq!(rows.collect::<Vec<_>>(), all);
}

#[test]
fn an_answer_must_come_to_where_the_first_packet_came_from() {
    const ETH1: u32 = 3;
    let mut network = network();
    let eth1 = Interface { index: ETH1, name: "eth1".to_owned(), up: true, ..Interface::default() };
    network.interfaces.push(eth1);
    network.routes.push(route(254, "192.0.2.2/32", RouteKind::Unicast, ETH1));
    let outcome = |network: &Network| {
        Kernel::new(Ruleset { generation: 1, tables: vec![] }, network.clone()).flow(&packet(Some(4000), Some(80)))
    };
    let because = vec!["whether an answer that leaves by eth1 comes to eth0".to_owned()];
    assert_eq!(outcome(&network), Outcome::Unknown { because, answer: true });
    network.routes.pop();
    assert!(matches!(outcome(&network), Outcome::Passes { .. }));
    // It is this machine's own address as well.
    network.routes.push(route(255, "192.0.2.2/32", RouteKind::Local, ETH1));
    network.interfaces[0].sysctls.accept_local = true;
    assert!(matches!(outcome(&network), Outcome::Stopped { by: Stop::Kernel(_), answer: true }));
}

#[test]
fn nobody_need_have_the_address_that_a_source_becomes() {
    let given = |address: [u8; 4]| {
        let rule = vec![
            Expression::Immediate { to: 16, value: address.to_vec() },
            Expression::Nat {
                what: Translation::Source,
                addresses: Some(Between { min: 16, max: 16 }),
                ports: None,
                netmap: false,
            },
        ];
        let transport = Transport::Tcp { source: Some(4000), destination: Some(80), flags: 2 };
        let (source, destination) = ([0, 0, 0, 0].into(), [192, 0, 2, 2].into());
        let content = Content::Ip { source, destination, transport };
        let packet = Packet { entry: Entry::Local, content, ..packet(None, None) };
        with(vec![chain(Hook::Postrouting, 100, ChainKind::Nat, vec![rule])]).flow(&packet)
    };
    let Outcome::Unknown { because, answer: true } = given([198, 51, 100, 77]) else { panic!("unknown") };
    assert_eq!(because, ["who has 198.51.100.77, which the source becomes"]);
    assert!(matches!(given([192, 0, 2, 1]), Outcome::Passes { .. }));
}

#[test]
fn a_packet_of_no_port_is_from_a_programs() {
    let kernel = kernel(vec![port(false, 67, drop())], vec![]);
    assert!(matches!(kernel.judge(&packet(None, Some(443))), Judgement::Unknown { .. }));
    let (explanation, from) = kernel.explain_usual(&packet(None, Some(443)));
    assert_eq!((explanation.judgement, from), (Judgement::Accept, Some(EPHEMERAL)));
    let (explanation, from) = kernel.explain_usual(&packet(Some(67), Some(443)));
    assert_eq!((explanation.judgement, from), (Judgement::Drop, None));
}
