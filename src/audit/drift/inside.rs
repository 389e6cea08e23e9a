//! What is inside of a container's network namespace: `eth0` as it was given, and nothing else. Pure, but for the reading.
//!
//! A container that has `NET_ADMIN` may change all of this itself, and many do so for good reasons; then it is told
//! apart, and is no drift.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::difference::{mac_words, of, theirs};
use crate::containers::Container;
use crate::firewall::audit::network::{Interface, Network, RoutingRule};
use crate::firewall::audit::snapshot;
use crate::model::audit::{Difference, Subject};
use crate::model::{Endpoint, NetworkOptions};
use crate::netns;

/// A container's namespace, as it was read.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) network: Network,
    /// Tables of rules, by family and name.
    pub(super) tables: Vec<String>,
    pub(super) forwards: bool,
    /// Values of [`harmful`] parameters.
    pub(super) parameters: BTreeMap<String, String>,
}

/// A namespace as this host makes it.
#[derive(Debug)]
pub(super) struct Fresh {
    forwards: bool,
    parameters: BTreeMap<String, String>,
}

impl Fresh {
    /// Makes one, and reads it. Where that fails, nothing is said of containers that route.
    pub(super) fn made() -> Self {
        let read = || Self { forwards: forwards(), parameters: harmful("default") };
        netns::in_fresh(read).unwrap_or(Self { forwards: true, parameters: BTreeMap::new() })
    }
}

/// Parameters of the calling thread's namespace that keep packets from arriving, or let in what should stay out: those
/// that do by their values of now. What else a container finds set (timeouts, sizes) is not judged.
fn harmful(interface: &str) -> BTreeMap<String, String> {
    let number = |value: &str| value.parse::<u64>().ok();
    let few = |least: u64| move |value: &str| number(value).is_some_and(|value| value < least);
    let on = |value: &str| value != "0";
    let mut found = BTreeMap::new();
    let mut look = |name: String, harms: &dyn Fn(&str) -> bool| {
        if let Some(value) = super::parameters::now(&name).filter(|value| harms(value)) {
            found.insert(name, value);
        }
    };
    look("net/ipv4/icmp_echo_ignore_all".to_owned(), &on);
    look("net/ipv4/ip_default_ttl".to_owned(), &few(32));
    for of in ["all", interface] {
        look(format!("net/ipv4/conf/{of}/arp_ignore"), &|value| value == "8");
        look(format!("net/ipv4/conf/{of}/route_localnet"), &on);
    }
    look(format!("net/ipv4/neigh/{interface}/mcast_solicit"), &few(1));
    look(format!("net/ipv4/neigh/{interface}/unres_qlen_bytes"), &few(1536));
    found
}

/// What comes of it.
fn effect(name: &str) -> &'static str {
    match name.rsplit('/').next().unwrap_or_default() {
        "icmp_echo_ignore_all" => "it answers no echo requests",
        "ip_default_ttl" => "what it sends does not get far",
        "arp_ignore" => "nobody is told its hardware address",
        "route_localnet" => "packets to 127/8 may come in there",
        "mcast_solicit" => "it finds nobody",
        _ => "what it first sends to somebody is lost",
    }
}

/// Interfaces that the kernel puts into each namespace where it has such tunnels.
const KERNELS: &[&str] =
    &["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0", "ip6gretap0"];
const MAIN: u32 = 254;

/// Whether a container may change its network namespace.
pub(super) fn may_itself(container: &Container) -> bool {
    let security = &container.spec.security;
    let among = |names: &[String]| names.iter().any(|name| name == "NET_ADMIN" || name == "ALL");
    security.privileged || among(&security.cap_add)
}

/// Reads a namespace.
pub(super) fn read(namespace: &File) -> Result<Inside, snapshot::SnapshotError> {
    let entered = netns::enter(namespace, || {
        let kernel = super::super::probe::beside(snapshot::read_inside)?;
        let tables =
            kernel.ruleset().tables.iter().filter(|table| table.chains.iter().any(|chain| chain.base.is_some()));
        let tables = tables.map(|table| format!("{} {}", table.family.word(), table.name)).collect();
        let (forwards, parameters) = (forwards(), harmful("eth0"));
        Ok(Inside { network: kernel.network().clone(), tables, forwards, parameters })
    });
    entered.unwrap_or_else(|source| Err(snapshot::SnapshotError::Read { what: "a container's namespace", source }))
}

/// Whether the calling thread's namespace routes.
pub(super) fn forwards() -> bool {
    super::parameters::now("net/ipv4/ip_forward").is_some_and(|value| value != "0")
}

/// What has come into the namespace of a container that has no network but its own loopback (`--net none`).
pub(super) fn closed(name: &str, inside: &Inside) -> Vec<Difference> {
    let interfaces = inside.network.interfaces.iter();
    let tell = |other: &Interface| {
        // Each interface has one of IPv6's by itself, on its link.
        let chosen =
            other.addresses.iter().filter(|it| !matches!(it.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()));
        let addresses: Vec<String> = chosen.map(ToString::to_string).collect();
        let with = if addresses.is_empty() { String::new() } else { format!(" ({})", addresses.join(", ")) };
        let what = format!("{name} has an interface {}{with}, and should have none but lo: it is closed", other.name);
        of(name, theirs(Subject::Inside, "inside-link-added", what, anew(name)))
    };
    interfaces.filter(|it| !it.loopback && is_added(it)).map(tell).collect()
}

/// Whether somebody put it there, or uses what the kernel puts there.
fn is_added(interface: &Interface) -> bool {
    interface.up || !KERNELS.contains(&interface.name.as_str())
}

/// Everything that differs. `asked`: parameters that it was started with, by their dotted names.
pub(super) fn differences(
    endpoint: &Endpoint,
    options: &NetworkOptions,
    inside: &Inside,
    asked: &BTreeMap<String, String>,
    fresh: &Fresh,
) -> Vec<Difference> {
    let look = Look { endpoint, options, network: &inside.network };
    let mut found = look.links();
    if let Some(eth0) = inside.network.named("eth0") {
        found.extend(look.eth0(eth0));
        found.extend(look.routes(eth0));
    }
    let name = &endpoint.name;
    for table in &inside.tables {
        let what = format!("there is a table {table} with rules inside of {name}, which is none of pontoon's");
        let remedy = format!("if nobody meant it: `nsenter --net=… nft delete table {table}`, or start {name} anew");
        found.push(theirs(Subject::Inside, "inside-table", what, remedy));
    }
    for (parameter, value) in &inside.parameters {
        let dotted = parameter.replace('/', ".");
        let by_default = fresh.parameters.get(&parameter.replace("/eth0/", "/default/"));
        if asked.get(&dotted) == Some(value) || by_default == Some(value) {
            continue;
        }
        let what = format!("{dotted} is {value} inside of {name}: {}", effect(parameter));
        found.push(theirs(Subject::Inside, "inside-parameter", what, anew(name.as_str())));
    }
    if inside.forwards && !fresh.forwards {
        let what = format!("net.ipv4.ip_forward is on inside of {name}: it routes for others");
        found.push(theirs(Subject::Inside, "inside-forwarding", what, anew(name.as_str())));
    }
    for what in &inside.network.unmodelled {
        let program = what.contains(" program ") && !what.starts_with("tables");
        let kind = if program { "inside-program" } else { "inside-table" };
        found.push(theirs(Subject::Inside, kind, format!("inside of {name}: {what}"), anew(name.as_str())));
    }
    found.into_iter().map(|difference| of(name.as_str(), difference)).collect()
}

fn anew(name: &str) -> String {
    format!("start {name} anew, which makes it a fresh network")
}

struct Look<'a> {
    endpoint: &'a Endpoint,
    options: &'a NetworkOptions,
    network: &'a Network,
}

impl Look<'_> {
    fn tell(&self, kind: &str, what: String) -> Difference {
        theirs(Subject::Inside, kind, what, anew(self.endpoint.name.as_str()))
    }

    fn links(&self) -> Vec<Difference> {
        let name = &self.endpoint.name;
        let mut found = Vec::new();
        if self.network.named("lo").is_none_or(|lo| !lo.up) {
            found.push(self.tell("inside-loopback-down", format!("lo is down inside of {name}")));
        }
        if self.network.named("eth0").is_none() {
            let what = format!("{name} has no eth0 any more: nothing leads to it");
            found.push(self.tell("inside-link-missing", what));
        }
        for other in &self.network.interfaces {
            let expected = other.loopback || other.name == "eth0";
            if !expected && is_added(other) {
                let what = format!("{name} has an interface {} besides eth0", other.name);
                found.push(self.tell("inside-link-added", what));
            }
        }
        found
    }

    fn eth0(&self, eth0: &Interface) -> Vec<Difference> {
        let (name, endpoint) = (&self.endpoint.name, self.endpoint);
        let mut found = Vec::new();
        let mut tell = |kind: &str, what: String| found.push(self.tell(kind, what));
        if !eth0.up {
            tell("inside-down", format!("eth0 of {name} is down"));
        }
        if let Some(mac) = eth0.mac.filter(|mac| *mac != endpoint.mac.0) {
            let is = mac_words(mac);
            tell(
                "inside-mac",
                format!("the hardware address of eth0 of {name} is {is}, and should be {}", endpoint.mac),
            );
        }
        if eth0.mtu != self.options.mtu {
            tell(
                "inside-mtu",
                format!("the MTU of eth0 of {name} is {}, and should be {}", eth0.mtu, self.options.mtu),
            );
        }
        if eth0.noarp {
            tell("inside-noarp", format!("eth0 of {name} does not do ARP"));
        }
        let own = IpNetwork::new(endpoint.address.into(), self.options.bip.prefix()).ok();
        if !eth0.addresses.iter().any(|address| Some(*address) == own) {
            let prefix = self.options.bip.prefix();
            tell("inside-address-missing", format!("{name} lacks its address {}/{prefix}", endpoint.address));
        }
        for other in eth0.addresses.iter().filter(|address| Some(**address) != own) {
            tell(
                "inside-address-added",
                format!("{name} has the address {other} besides its own {}", endpoint.address),
            );
        }
        found
    }

    fn routes(&self, eth0: &Interface) -> Vec<Difference> {
        let name = &self.endpoint.name;
        let gateway: IpAddr = self.options.gateway().into();
        let subnet = IpNetwork::V4(self.options.bip);
        let is_subnet = |to: IpNetwork| to.prefix() == subnet.prefix() && to.network() == subnet.network();
        let v4 = || self.network.routes.iter().filter(|route| route.destination.is_ipv4() && route.table != 255);
        let is_default = |route: &&crate::firewall::audit::network::Route| {
            route.destination.prefix() == 0
                && route.table == MAIN
                && route.ways.iter().all(|way| way.interface == eth0.index && way.gateway == Some(gateway))
        };
        let is_own = |route: &&crate::firewall::audit::network::Route| {
            is_subnet(route.destination)
                && route.table == MAIN
                && route.ways.iter().all(|way| way.interface == eth0.index && way.gateway.is_none())
        };
        let mut found = Vec::new();
        // A link that is down has no routes, and no address has none.
        if eth0.up && !eth0.addresses.is_empty() && !v4().any(|route| is_default(&route)) {
            found.push(self.tell("inside-route-missing", format!("{name} lacks its default route, by {gateway}")));
        }
        for route in v4().filter(|route| !is_default(route) && !is_own(route)) {
            let by = route.ways.first().and_then(|way| way.gateway).map(|via| format!(" by {via}")).unwrap_or_default();
            found.push(
                self.tell("inside-route-added", format!("{name} has a route to {}{by} of its own", route.destination)),
            );
        }
        let rules = &self.network.rules;
        for rule in rules.iter().filter(|rule| rule.v4 && !rule.is_usual()) {
            let what = format!("{name} has a routing rule of its own, of priority {}", rule.priority);
            found.push(self.tell("inside-rule-added", what));
        }
        let missing = |(priority, table): &&(u32, u32)| !rules.contains(&RoutingRule::usual(*priority, *table));
        for (priority, table) in RoutingRule::USUAL.iter().filter(missing) {
            let what = format!("{name} lacks the kernel's own routing rule of priority {priority}, to table {table}");
            found.push(self.tell("inside-rule-missing", what));
        }
        for entry in self.network.neighbours.iter().filter(|entry| entry.permanent && entry.interface == eth0.index) {
            let what = format!("{name} has a permanent entry for {} at {}", entry.address, mac_words(entry.mac));
            if entry.address.is_ipv4() && !entry.address.is_multicast() {
                found.push(self.tell("inside-neighbour-added", what));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::network::{Neighbour, Route, RouteKind, Way};
    use crate::model::{MacAddr, Names};

    const MAC: [u8; 6] = [2, 0x42, 172, 17, 0, 2];

    fn route(to: &str, via: Option<&str>) -> Route {
        Route {
            table: MAIN,
            destination: to.parse().expect("network"),
            source: None,
            metric: 0,
            tos: 0,
            kind: RouteKind::Unicast,
            ways: vec![Way { interface: 2, gateway: via.map(|via| via.parse().expect("address")) }],
            preferred_source: None,
            opaque: false,
        }
    }

    fn kinds(change: impl FnOnce(&mut Inside)) -> Vec<String> {
        let interface =
            |index, name: &str| Interface { index, name: name.to_owned(), up: true, ..Interface::default() };
        let eth0 = Interface {
            mac: Some(MAC),
            mtu: 1500,
            addresses: vec!["172.17.0.2/16".parse().expect("network")],
            ..interface(2, "eth0")
        };
        // The kernel's own, unused.
        let tunnel = Interface { up: false, ..interface(3, "tunl0") };
        let network = Network {
            interfaces: vec![Interface { loopback: true, ..interface(1, "lo") }, eth0, tunnel],
            routes: vec![route("0.0.0.0/0", Some("172.17.0.1")), route("172.17.0.0/16", None)],
            rules: RoutingRule::USUAL.map(|(priority, table)| RoutingRule::usual(priority, table)).into(),
            ..Network::default()
        };
        let mut inside = Inside { network, tables: vec![], forwards: true, parameters: BTreeMap::new() };
        change(&mut inside);
        let endpoint = Endpoint {
            name: "web".parse().expect("name"),
            address: [172, 17, 0, 2].into(),
            mac: MacAddr(MAC),
            port: "veth1".to_owned(),
            published: vec![],
            exposed: vec![],
            links: vec![],
            names: Names::default(),
        };
        let fresh =
            Fresh { forwards: true, parameters: [("net/ipv4/conf/all/route_localnet".into(), "1".into())].into() };
        let asked = [("net.ipv4.icmp_echo_ignore_all".to_owned(), "1".to_owned())].into();
        let found = differences(&endpoint, &NetworkOptions::usual(), &inside, &asked, &fresh);
        assert!(found.iter().all(|it| it.remedy.is_some() && it.containers == ["web"]));
        found.into_iter().map(|difference| difference.kind).collect()
    }

    #[test]
    fn a_closed_one_has_its_loopback_alone() {
        let named = |index, name: &str| Interface { index, name: name.to_owned(), ..Interface::default() };
        let lo = Interface { loopback: true, ..named(1, "lo") };
        let inside = |interfaces| Inside {
            network: Network { interfaces, ..Network::default() },
            tables: vec![],
            forwards: true,
            parameters: BTreeMap::new(),
        };
        assert_eq!(closed("vault", &inside(vec![lo.clone(), named(2, "tunl0")])), []);
        let added = Interface { addresses: vec!["192.0.2.77/24".parse().expect("network")], ..named(3, "mvc") };
        let found = closed("vault", &inside(vec![lo, added]));
        let what = "vault has an interface mvc (192.0.2.77/24), and should have none but lo: it is closed";
        assert_eq!(found.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), [what]);
        assert!(found[0].kind == "inside-link-added" && found[0].containers == ["vault"]);
    }

    #[test]
    fn what_was_given_is_there_and_nothing_else() {
        assert_eq!(kinds(|_| {}), Vec::<String>::new());
        assert_eq!(kinds(|it| it.network.interfaces[0].up = false), ["inside-loopback-down"]);
        assert_eq!(kinds(|it| it.network.interfaces[1].up = false), ["inside-down"]);
        assert_eq!(kinds(|it| it.network.interfaces[1].mtu = 1200), ["inside-mtu"]);
        assert_eq!(kinds(|it| it.network.interfaces[1].mac = Some([9; 6])), ["inside-mac"]);
        assert_eq!(
            kinds(|it| it.network.interfaces[1].name = "eth1".to_owned()),
            ["inside-link-missing", "inside-link-added"]
        );
        assert_eq!(kinds(|it| it.network.interfaces[2].up = true), ["inside-link-added"]);
        let second = "10.0.0.1/8".parse().expect("network");
        assert_eq!(kinds(|it| it.network.interfaces[1].addresses.push(second)), ["inside-address-added"]);
        assert_eq!(kinds(|it| it.network.interfaces[1].addresses.clear()), ["inside-address-missing"]);
        assert_eq!(kinds(|it| _ = it.network.routes.remove(0)), ["inside-route-missing"]);
        assert_eq!(kinds(|it| it.network.routes.push(route("10.0.0.0/8", None))), ["inside-route-added"]);
        let set = |name: &str, value: &str| {
            kinds(|it| _ = it.parameters.insert(format!("net/ipv4/{name}"), value.to_owned()))
        };
        assert_eq!(set("ip_default_ttl", "1"), ["inside-parameter"]);
        assert_eq!(set("icmp_echo_ignore_all", "1"), Vec::<String>::new(), "it was started so");
        assert_eq!(set("conf/all/route_localnet", "1"), Vec::<String>::new(), "each namespace of this host is so");
        assert_eq!(kinds(|it| _ = it.network.rules.remove(1)), ["inside-rule-missing"]);
        assert_eq!(kinds(|it| it.network.rules.push(RoutingRule::usual(7, 254))), ["inside-rule-added"]);
        assert_eq!(
            kinds(|it| it.network.rules[1].source = Some("10.0.0.0/8".parse().expect("network"))),
            ["inside-rule-added", "inside-rule-missing"]
        );
        assert_eq!(kinds(|it| it.tables.push("ip mine".to_owned())), ["inside-table"]);
        let address = "172.17.0.1".parse().expect("address");
        let entry = Neighbour { address, mac: [9; 6], interface: 2, permanent: true };
        assert_eq!(kinds(|it| it.network.neighbours.push(entry)), ["inside-neighbour-added"]);
    }
}
