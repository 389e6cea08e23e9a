use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::model::{Link, Names, Port};

fn id(n: u8) -> ContainerId {
    ContainerId::from_bytes([n; 32])
}

fn endpoint(n: u8, name: &str) -> Endpoint {
    Endpoint {
        name: name.parse().expect("name"),
        address: Ipv4Addr::new(172, 17, 0, n),
        mac: format!("02:42:ac:11:00:{n:02x}").parse().expect("mac"),
        port: format!("veth{n}"),
        published: vec![],
        exposed: vec![],
        links: vec![],
        names: Names::default(),
    }
}

fn intent(icc: bool, endpoints: Vec<(u8, Endpoint)>) -> Intent {
    let endpoints = endpoints.into_iter().map(|(n, endpoint)| (id(n), endpoint)).collect();
    Intent { options: NetworkOptions { icc, ..NetworkOptions::usual() }, endpoints }
}

fn run(first: u16, last: u16) -> PortRange {
    PortRange { protocol: Protocol::Tcp, first, last }
}

fn row(host: [u8; 4], host_port: u16, container: u16, count: u16) -> Published {
    let container = Port { protocol: Protocol::Tcp, number: container };
    Published { host_ip: host.into(), host_port, container, count }
}

/// `web` is linked to `db`, and publishes a thousand ports.
fn web_and_db() -> Vec<(u8, Endpoint)> {
    let db = Endpoint { exposed: vec![run(5432, 5432), run(6000, 6999)], ..endpoint(2, "db") };
    let links = vec![Link { target: id(2), alias: "store".into() }];
    let published = vec![row([0, 0, 0, 0], 8000, 80, 1000), row([127, 0, 0, 1], 53, 53, 1)];
    vec![(2, db), (3, Endpoint { links, published, ..endpoint(3, "web") })]
}

#[test]
fn a_start_says_what_it_asked_for_and_no_more() {
    let mut all = intent(false, web_and_db());
    let many = (10..250).map(|n| (id(n), endpoint(n, &format!("other{n}"))));
    all.endpoints.extend(many);
    let mut before = all.clone();
    before.endpoints.remove(&id(3));
    insta::assert_snapshot!(serde_json::to_string_pretty(&delta(&before, &all)).expect("plain data"));
    // The other way round it ends.
    let (starts, ends) = (delta(&before, &all), delta(&all, &before));
    assert_eq!((&starts.joined, &starts.opened), (&ends.left, &ends.closed));
}

#[test]
fn a_target_that_ends_takes_the_edges_of_links_with_it() {
    let before = intent(false, web_and_db());
    let delta = Reach::of(&before).apply(&Change::Dismiss(id(2)));
    assert_eq!(delta.left.len(), 1);
    assert_eq!(delta.closed.len(), 2, "one a run of ports");
    assert!(delta.closed.iter().all(|edge| edge.concerns(&id(2)) && edge.concerns(&id(3))));
    assert_eq!(delta.names, [(id(3), "web".parse().expect("name"))].into());
}

#[test]
fn other_options_are_a_few_edges_however_many_containers_there_are() {
    let many: Vec<_> = (10..250).map(|n| (n, endpoint(n, &format!("c{n}")))).collect();
    let delta = delta(&intent(true, many.clone()), &intent(false, many));
    assert_eq!((delta.joined.len(), delta.left.len(), delta.opened.len()), (0, 0, 0));
    let between = Edge { from: End::Containers, to: End::Containers, service: None, by: By::Bridge };
    assert_eq!(delta.closed, [between]);
}

#[test]
fn without_icc_links_open_and_with_it_they_do_not() {
    let delta = delta(&intent(true, web_and_db()), &intent(false, web_and_db()));
    assert_eq!((delta.closed.len(), delta.opened.len()), (1, 2));
    assert_eq!(delta.names.len(), 2);
}

#[test]
fn a_new_name_opens_nothing() {
    let mut reach = Reach::of(&intent(false, web_and_db()));
    let (_, web) = web_and_db().remove(1);
    let www = Endpoint { name: "www".parse().expect("name"), ..web };
    let delta = reach.apply(&Change::Admit(id(3), Box::new(www)));
    assert_eq!(delta.renamed.len(), 1);
    assert_eq!(Delta { renamed: vec![], ..delta }, Delta::default());
}

fn any_endpoint(n: u8) -> impl Strategy<Value = Endpoint> {
    let links = proptest::collection::vec((0..5u8, 0..2u8), 0..3);
    let exposed = proptest::sample::subsequence(vec![run(1, 1), run(80, 90), run(443, 443)], 0..3);
    let published = proptest::collection::vec((0..2u8, 1..3u16, 1..4u16), 0..2);
    (links, exposed, published, 0..2u8, 0..2u8).prop_map(move |(links, exposed, published, name, address)| Endpoint {
        links: links.into_iter().map(|(to, alias)| Link { target: id(to), alias: format!("a{to}{alias}") }).collect(),
        exposed,
        published: published.into_iter().map(|(ip, port, count)| row([127 * ip, 0, 0, 1], port, 80, count)).collect(),
        ..endpoint(n * 2 + address, &format!("c{n}{name}"))
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    (0..5u8).prop_flat_map(|n| {
        prop_oneof![
            2 => any_endpoint(n).prop_map(move |endpoint| Change::Admit(id(n), Box::new(endpoint))),
            1 => Just(Change::Dismiss(id(n))),
        ]
    })
}

/// What a delta makes of a state.
fn follow(state: &mut (BTreeSet<Member>, BTreeSet<Edge>), delta: &Delta) {
    let (members, edges) = state;
    for member in &delta.left {
        assert!(members.remove(member), "{member:?} leaves and was not there");
    }
    for renamed in &delta.renamed {
        let mut member = members.iter().find(|member| member.id == renamed.id).expect("renamed").clone();
        members.remove(&member);
        assert_eq!(member.name, renamed.from);
        member.name = renamed.to.clone();
        members.insert(member);
    }
    for member in &delta.joined {
        assert!(members.insert(member.clone()), "{member:?} joins and was there");
    }
    for edge in &delta.closed {
        assert!(edges.remove(edge), "{edge:?} closes and was not open");
    }
    for edge in &delta.opened {
        assert!(edges.insert(edge.clone()), "{edge:?} opens and was open");
    }
    let named = delta.containers();
    let ends = delta.opened.iter().chain(&delta.closed).flat_map(|edge| [&edge.from, &edge.to]);
    for end in ends {
        assert!(!matches!(end, End::Container(id) if !named.iter().any(|(one, _)| *one == id)), "{end} has no name");
    }
}

proptest! {
    /// One change after another leads where the difference between the first and the last state leads, and what is
    /// worked out a change is what is worked out from the whole.
    #[test]
    fn deltas_add_up(icc in any::<bool>(), changes in proptest::collection::vec(any_change(), 0..20)) {
        let mut now = intent(icc, vec![]);
        let mut reach = Reach::of(&now);
        let start = (reach.members(), reach.edges());
        let mut state = start.clone();
        for change in changes {
            let before = now.clone();
            match &change {
                Change::Admit(id, endpoint) => drop(now.endpoints.insert(id.clone(), (**endpoint).clone())),
                Change::Dismiss(id) => drop(now.endpoints.remove(id)),
            }
            let step = reach.apply(&change);
            prop_assert_eq!(&step, &delta(&before, &now));
            follow(&mut state, &step);
        }
        prop_assert_eq!(&state, &(reach.members(), reach.edges()));
        let mut at_once = start;
        follow(&mut at_once, &delta(&intent(icc, vec![]), &now));
        prop_assert_eq!(at_once, state);
    }
}
