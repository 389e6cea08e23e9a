use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{Link, Names, NetworkOptions};

fn id(number: u8) -> ContainerId {
    format!("{number:02x}").repeat(32).parse().expect("id")
}

fn endpoint(number: u8) -> Endpoint {
    Endpoint {
        name: format!("name{number}").parse().expect("name"),
        address: address(number),
        mac: "02:42:ac:11:00:02".parse().expect("mac"),
        port: format!("ve{number}"),
        published: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
        names: Names { hostname: format!("host{number}"), ..Names::default() },
    }
}

fn linked(from: u8, links: &[(u8, &str)]) -> Endpoint {
    let links = links.iter().map(|(target, alias)| Link { target: id(*target), alias: (*alias).to_owned() });
    Endpoint { links: links.collect(), ..endpoint(from) }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 17, 0, number)
}

fn zones(endpoints: impl IntoIterator<Item = (u8, Endpoint)>) -> Zones {
    let endpoints = endpoints.into_iter().map(|(number, endpoint)| (id(number), endpoint)).collect();
    Zones::new(&Intent { options: NetworkOptions::usual(), endpoints })
}

fn asks(zones: &Zones, asker: u8, name: &str) -> Known {
    zones.asker(address(asker).into()).expect("asker").addresses(name)
}

fn asks_back(zones: &Zones, asker: u8, address: &str) -> Known {
    zones.asker(self::address(asker).into()).expect("asker").names(address.parse().expect("address"))
}

fn at(numbers: &[u8]) -> Known {
    Known::Addresses(numbers.iter().map(|number| address(*number).into()).collect())
}

fn called(names: &[&str]) -> Known {
    Known::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_container_knows_itself_by_its_hostname() {
    let mut web = endpoint(2);
    web.names = Names { hostname: "web".to_owned(), domain: Some("example.org".to_owned()), ..Names::default() };
    let mut dotted = endpoint(3);
    dotted.names.hostname = "db.example.net".to_owned();
    let zones = zones([(2, web), (3, dotted)]);
    for name in ["web", "WEB", "web.", "Web.Example.Org"] {
        assert_eq!(asks(&zones, 2, name), at(&[2]), "{name}");
    }
    for name in ["db", "db.example.net"] {
        assert_eq!(asks(&zones, 3, name), at(&[3]), "{name}");
    }
    assert_eq!(asks_back(&zones, 2, "172.17.0.2"), called(&["web.example.org"]));
    for other in ["db", "name2", "example.org", "", ".", "localhost", "web.web"] {
        assert_eq!(asks(&zones, 2, other), Known::Elsewhere, "{other}");
    }
    assert_eq!(zones.asker([172, 17, 0, 4].into()).map(|asker| asker.id), None);
    assert_eq!(zones.asker("::1".parse().expect("address")).map(|asker| asker.id), None);
}

#[test]
fn a_link_s_names_are_its_source_s_only() {
    let zones = zones([(2, linked(2, &[(3, "db"), (3, "my_store")])), (3, endpoint(3)), (4, endpoint(4))]);
    for name in ["db", "DB.", "my_store", "host3", "name3"] {
        assert_eq!(asks(&zones, 2, name), at(&[3]), "{name}");
        assert_eq!(asks(&zones, 4, name), Known::Elsewhere, "{name}");
    }
    assert_eq!(asks(&zones, 3, "host2"), Known::Elsewhere, "a link leads one way");
    assert_eq!(asks_back(&zones, 2, "172.17.0.3"), called(&["db", "my_store"]));
    assert_eq!(asks_back(&zones, 3, "172.17.0.2"), Known::Nobody);
    assert_eq!(asks_back(&zones, 2, "172.17.0.4"), Known::Nobody);
    assert_eq!(asks_back(&zones, 2, "172.17.0.1"), Known::Nobody, "the gateway has no name");
    assert_eq!(asks_back(&zones, 2, "192.0.2.1"), Known::Elsewhere);
    assert_eq!(asks_back(&zones, 2, "2001:db8::1"), Known::Elsewhere);
}

#[test]
fn a_target_that_comes_back_is_where_it_is() {
    let mut zones = zones([(2, linked(2, &[(3, "db")])), (3, endpoint(3))]);
    zones.apply(&Change::Dismiss(id(3)));
    assert_eq!(asks(&zones, 2, "db"), Known::Nobody, "not asked of others, who may know another");
    assert_eq!(asks(&zones, 2, "host3"), Known::Elsewhere);
    assert_eq!(asks_back(&zones, 2, "172.17.0.3"), Known::Nobody);
    // Another container has its address meanwhile.
    zones.apply(&Change::Admit(id(4), Box::new(Endpoint { address: address(3), ..endpoint(4) })));
    zones.apply(&Change::Admit(id(3), Box::new(Endpoint { address: address(9), ..endpoint(3) })));
    assert_eq!(asks(&zones, 2, "db"), at(&[9]));
    assert_eq!(asks(&zones, 3, "host4"), at(&[3]));
    // Unlinked.
    zones.apply(&Change::Admit(id(2), Box::new(endpoint(2))));
    assert_eq!(asks(&zones, 2, "db"), Known::Elsewhere);
}

#[test]
fn the_late_end_of_a_container_does_not_silence_who_has_its_address() {
    let mut zones = zones([(2, endpoint(2))]);
    zones.apply(&Change::Admit(id(3), Box::new(Endpoint { address: address(2), ..endpoint(3) })));
    zones.apply(&Change::Dismiss(id(2)));
    assert_eq!(asks(&zones, 2, "host3"), at(&[2]));
}

#[test]
fn added_hosts_come_first() {
    let mut web = linked(2, &[(3, "db"), (4, "host3")]);
    let six: IpAddr = "2001:db8::7".parse().expect("address");
    let four = IpAddr::from([192, 0, 2, 7]);
    let gateway = IpAddr::from([172, 17, 0, 1]);
    let extra = [("api.example.org", four), ("api.example.org", six), ("gate", gateway), ("host2", four)];
    web.names.extra = extra.map(|(name, address)| (name.to_owned(), address)).into();
    let zones = zones([(2, web), (3, endpoint(3)), (4, endpoint(4))]);
    assert_eq!(asks(&zones, 2, "API.example.org"), Known::Addresses(vec![four, six]));
    assert_eq!(asks(&zones, 2, "gate"), Known::Addresses(vec![gateway]));
    assert_eq!(asks(&zones, 2, "host2"), Known::Addresses(vec![four]), "before the own name, as in /etc/hosts");
    assert_eq!(asks(&zones, 2, "host3"), at(&[4]), "an alias before another target's hostname");
    assert_eq!(asks_back(&zones, 2, "172.17.0.1"), called(&["gate"]));
    assert_eq!(asks_back(&zones, 2, "2001:db8::7"), called(&["api.example.org"]));
    assert_eq!(asks_back(&zones, 2, "192.0.2.7"), called(&["api.example.org", "host2"]));
    assert_eq!(asks(&zones, 3, "gate"), Known::Elsewhere);
}

#[test]
fn only_our_part_of_a_shared_subnet_is_ours() {
    let options = NetworkOptions { fixed_cidr: Some("172.17.0.0/28".parse().expect("net")), ..NetworkOptions::usual() };
    let zones = Zones::new(&Intent { options, endpoints: BTreeMap::from([(id(2), endpoint(2))]) });
    assert_eq!(asks_back(&zones, 2, "172.17.0.9"), Known::Nobody);
    assert_eq!(asks_back(&zones, 2, "172.17.0.77"), Known::Elsewhere, "a neighbour on the operator's bridge");
}

fn some_endpoint() -> impl Strategy<Value = (u8, Endpoint)> {
    let links = proptest::collection::vec((2u8..8, "[a-c]"), 0..3);
    (2u8..8, links).prop_map(|(number, links)| {
        let links: Vec<(u8, &str)> = links.iter().map(|(target, alias)| (*target, alias.as_str())).collect();
        (number, linked(number, &links))
    })
}

proptest! {
    /// Whatever came before, the names are those of the endpoints that are there.
    #[test]
    fn changes_lead_where_the_intent_is(changes in proptest::collection::vec((some_endpoint(), any::<bool>()), 0..20)) {
        let (mut followed, mut present) = (zones([]), BTreeMap::new());
        for ((number, endpoint), stays) in changes {
            followed.apply(&if stays {
                present.insert(number, endpoint.clone());
                Change::Admit(id(number), Box::new(endpoint))
            } else {
                present.remove(&number);
                Change::Dismiss(id(number))
            });
        }
        prop_assert_eq!(followed, zones(present));
    }

    /// Nobody hears of a container but itself and those that are linked to it.
    #[test]
    fn nobody_hears_of_others(
        endpoints in proptest::collection::btree_map(2u8..8, some_endpoint(), 0..6),
        name in "(host|name)[2-8]|[a-d]",
        back in 1u8..9,
    ) {
        let endpoints: BTreeMap<u8, Endpoint> = endpoints.into_values().collect();
        let zones = zones(endpoints.clone());
        for (number, endpoint) in &endpoints {
            let asker = zones.asker(endpoint.address.into()).expect("asker");
            let mut may: BTreeSet<IpAddr> = [endpoint.address.into()].into();
            let targets = endpoint.links.iter().flat_map(|link| endpoints.values().filter(|it| link.target == id(it.address.octets()[3])));
            may.extend(targets.map(|target| IpAddr::from(target.address)));
            if let Known::Addresses(found) = asker.addresses(&name) {
                prop_assert!(found.iter().all(|address| may.contains(address)), "{} hears of {:?}", number, found);
            }
            let back = IpAddr::from(address(back));
            prop_assert_eq!(matches!(asker.names(back), Known::Names(_)), may.contains(&back));
        }
    }
}
