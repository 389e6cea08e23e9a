//! Options → the daemon's table. Pure: the number of rules depends on the options only.

use nftables::expr::MetaKey;
use nftables::schema::{Chain, Map, NfCmd, NfListObject, NfObject, Nftables, Rule, Set, SetType, SetTypeValue, Table};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

use super::elements::{Delta, Elements};
use super::syntax::*;
use crate::model::{NetworkOptions, Protocol};

pub(super) const FAMILY: NfFamily = NfFamily::INet;

/// Priorities by nft's names (nft(8), "Standard priority names").
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// What the table and its sets are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// `pontoon-` and the bridge's name, which consists of characters that nft allows in a name.
    pub(super) table: String,
}

impl Names {
    /// The addresses of admitted containers.
    pub(super) const ENDPOINTS: &str = "endpoints";
    /// Ports published on one address of the host, to the container's address and to its port.
    pub(super) const PUBLISHED: (&str, &str) = ("published_address", "published_port");
    /// Ports published on all addresses of the host.
    pub(super) const PUBLISHED_ANY: (&str, &str) = ("published_any_address", "published_any_port");

    pub(super) fn of(options: &NetworkOptions) -> Self {
        Self { table: format!("pontoon-{}", options.bridge) }
    }
}

/// The transaction that replaces whatever the table held. It exists afterwards, whether it did before or not.
pub(super) fn replace(options: &NetworkOptions, elements: &Elements) -> Nftables<'static> {
    let names = Names::of(options);
    let table = || NfListObject::Table(Table { family: FAMILY, name: names.table.clone().into(), handle: None });
    // Deleting what may not be there is an error, so it is made first.
    let fresh = [NfCmd::Add(table()), NfCmd::Delete(table()), NfCmd::Add(table())];
    let objects = fresh.into_iter().chain(Plan::of(options, &names).into_iter().map(NfCmd::Add));
    let mut objects: Vec<NfObject<'static>> = objects.map(NfObject::CmdObject).collect();
    objects.extend(elements.commands(&names));
    Nftables { objects: objects.into() }
}

/// The transaction that makes a difference.
pub(super) fn change(options: &NetworkOptions, delta: &Delta) -> Nftables<'static> {
    Nftables { objects: delta.commands(&Names::of(options)).into() }
}

/// Collects the table's objects in the order that nft needs: sets and chains before the rules that name them.
struct Plan<'a> {
    options: &'a NetworkOptions,
    names: &'a Names,
    objects: Vec<NfListObject<'static>>,
}

impl<'a> Plan<'a> {
    fn of(options: &'a NetworkOptions, names: &'a Names) -> Vec<NfListObject<'static>> {
        let mut plan = Self { options, names, objects: Vec::new() };
        plan.sets();
        plan.loopback();
        plan.publish();
        plan.source_addresses();
        plan.forward();
        if !options.icc {
            plan.no_redirects();
        }
        plan.objects
    }

    fn sets(&mut self) {
        let host_port = vec![SetType::InetProto, SetType::InetService];
        let host_address_and_port = vec![SetType::Ipv4Addr, SetType::InetProto, SetType::InetService];
        self.objects.push(NfListObject::Set(Box::new(Set {
            family: FAMILY,
            table: self.table(),
            name: Names::ENDPOINTS.into(),
            set_type: SetTypeValue::Single(SetType::Ipv4Addr),
            ..Set::default()
        })));
        for (maps, key) in [(Names::PUBLISHED, host_address_and_port), (Names::PUBLISHED_ANY, host_port)] {
            for (name, value) in [(maps.0, SetType::Ipv4Addr), (maps.1, SetType::InetService)] {
                self.objects.push(NfListObject::Map(Box::new(Map {
                    family: FAMILY,
                    table: self.table(),
                    name: name.into(),
                    set_type: SetTypeValue::Concatenated(key.clone().into()),
                    map: SetTypeValue::Single(value),
                    ..Map::default()
                })));
            }
        }
    }

    /// The bridge lets the host's own 127/8 packets out and their replies in (`route_localnet`); nothing else may use
    /// that way. Before conntrack, where replies to masqueraded packets still carry the bridge's address.
    fn loopback(&mut self) {
        let loopback = || prefix("127.0.0.0/8".parse().expect("a network"));
        self.base("raw_prerouting", NfChainType::Filter, NfHook::Prerouting, RAW);
        for side in [destination(), source()] {
            let rule = vec![self.in_by_bridge(), equal(side, loopback()), counted(), drop()];
            self.rule("raw_prerouting", rule, "the host's loopback is out of reach");
        }
    }

    /// Published ports: from outside and from containers (prerouting), and from the host itself (output).
    fn publish(&mut self) {
        let loopback = prefix("127.0.0.0/8".parse().expect("a network"));
        let port = || vec![meta(MetaKey::L4proto), destination_port()];
        let on_address = concat([vec![destination()], port()].concat());
        self.chain("publish");
        for (key, maps) in [(on_address, Names::PUBLISHED), (concat(port()), Names::PUBLISHED_ANY)] {
            self.rule("publish", vec![has_ports(), redirect_to(&key, maps.0, maps.1)], "published ports");
        }
        self.base("nat_prerouting", NfChainType::NAT, NfHook::Prerouting, DSTNAT);
        // Routing would refuse 127/8 from outside, but would no longer see it once the destination is rewritten.
        let from_outside = vec![equal(destination(), loopback), leave()];
        self.rule("nat_prerouting", from_outside, "ports published on 127/8 are the host's alone");
        self.base("nat_output", NfChainType::NAT, NfHook::Output, DSTNAT);
        for chain in ["nat_prerouting", "nat_output"] {
            self.rule(chain, vec![to_this_host(), jump("publish")], "to an address of the host");
        }
    }

    /// Whose address a container sees, and the outside.
    fn source_addresses(&mut self) {
        let subnet = self.options.bip;
        self.base("nat_postrouting", NfChainType::NAT, NfHook::Postrouting, SRCNAT);
        // Replies must come back through here: a neighbour would send them straight to the asking container, and
        // 127.0.0.1 is each container's own.
        let near = any_of([prefix("127.0.0.0/8".parse().expect("a network")), prefix(subnet)]);
        let hairpin = vec![equal(source(), near), self.out_by_bridge(), redirected(), masquerade()];
        self.rule("nat_postrouting", hairpin, "published ports, by the host and by containers");
        if self.options.ip_masq {
            let inside = any_of([text("lo"), text(self.options.bridge.clone())]);
            let outward = vec![equal(source(), prefix(subnet)), unequal(meta(MetaKey::Oifname), inside), masquerade()];
            self.rule("nat_postrouting", outward, "containers to the outside");
        }
    }

    /// What may pass to containers. What they send elsewhere is none of ours to judge: the host's own tables do.
    fn forward(&mut self) {
        self.base("forward", NfChainType::Filter, NfHook::Forward, FILTER);
        self.chain("to_containers");
        self.rule("forward", vec![self.out_by_bridge(), goto("to_containers")], "to containers");
        self.rule("to_containers", vec![known_flow(), accept()], "replies");
        let published = vec![redirected(), equal(destination(), text(format!("@{}", Names::ENDPOINTS))), accept()];
        self.rule("to_containers", published, "published ports");
        if self.options.icc {
            self.rule("to_containers", vec![self.in_by_bridge(), accept()], "between containers");
        }
        self.rule("to_containers", vec![counted(), drop()], "no way in but these");
    }

    /// With `icc=false`, what containers send to each other is routed back out of the bridge it came from; the kernel
    /// would advise them of the direct way, which is closed.
    fn no_redirects(&mut self) {
        self.base("output", NfChainType::Filter, NfHook::Output, FILTER);
        let redirects = vec![self.out_by_bridge(), equal(field("icmp", "type"), text("redirect")), drop()];
        self.rule("output", redirects, "there is no direct way between containers");
    }

    fn in_by_bridge(&self) -> Stmt {
        in_by(&self.options.bridge)
    }

    fn out_by_bridge(&self) -> Stmt {
        out_by(&self.options.bridge)
    }

    fn table(&self) -> std::borrow::Cow<'static, str> {
        self.names.table.clone().into()
    }

    fn chain(&mut self, name: &'static str) {
        let chain = Chain { family: FAMILY, table: self.table(), name: name.into(), ..Chain::default() };
        self.objects.push(NfListObject::Chain(chain));
    }

    fn base(&mut self, name: &'static str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.objects.push(NfListObject::Chain(Chain {
            family: FAMILY,
            table: self.table(),
            name: name.into(),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        }));
    }

    fn rule(&mut self, chain: &'static str, statements: Vec<Stmt>, comment: &'static str) {
        self.objects.push(NfListObject::Rule(Rule {
            family: FAMILY,
            table: self.table(),
            chain: chain.into(),
            expr: statements.into(),
            comment: Some(comment.into()),
            ..Rule::default()
        }));
    }
}

/// Ports can be rewritten only where nft knows that there are any.
fn has_ports() -> Stmt {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    equal(meta(MetaKey::L4proto), any_of(protocols.map(protocol)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::elements::tests::{endpoint, id, publish};
    use super::*;

    fn options() -> NetworkOptions {
        NetworkOptions::usual()
    }

    /// One command a line.
    fn lines(transaction: &Nftables<'_>) -> Vec<String> {
        transaction.objects.iter().map(|object| serde_json::to_string(object).expect("plain data")).collect()
    }

    fn ruleset(options: &NetworkOptions) -> Vec<String> {
        lines(&replace(options, &Elements::default()))
    }

    /// What one ruleset has that the other has not, marked as `diff` does.
    fn difference(from: &[String], to: &[String]) -> String {
        let only = |mark: char, a: &[String], b: &[String]| {
            let lines: Vec<String> =
                a.iter().filter(|line| !b.contains(line)).map(|l| format!("{mark} {l}\n")).collect();
            lines.concat()
        };
        only('-', from, to) + &only('+', to, from)
    }

    #[test]
    fn the_ruleset_with_default_options() {
        insta::assert_snapshot!(ruleset(&options()).join("\n"));
    }

    #[test]
    fn what_each_option_changes() {
        let usual = ruleset(&options());
        let without_icc = ruleset(&NetworkOptions { icc: false, ..options() });
        insta::assert_snapshot!("icc_false", difference(&usual, &without_icc));
        let without_masquerade = ruleset(&NetworkOptions { ip_masq: false, ..options() });
        insta::assert_snapshot!("ip_masq_false", difference(&usual, &without_masquerade));
        // These are the bridge's business, or an endpoint's.
        let others = NetworkOptions {
            mtu: 1200,
            ip_forward: false,
            fixed_cidr: Some("172.17.1.0/24".parse().expect("network")),
            default_ip: [192, 0, 2, 1].into(),
            ..options()
        };
        assert_eq!(ruleset(&others), usual);
    }

    #[test]
    fn daemons_side_by_side_share_no_table() {
        let tables = |bridge: &str| {
            let options = NetworkOptions { bridge: bridge.to_owned(), ..options() };
            Names::of(&options).table
        };
        assert_eq!(tables("pontoon0"), "pontoon-pontoon0");
        assert_ne!(tables("br1"), tables("br2"));
    }

    #[test]
    fn endpoints_are_elements_and_never_rules() {
        let published = vec![publish([0; 4], 8080, "80"), publish([127, 0, 0, 1], 53, "53/udp")];
        let endpoints = BTreeMap::from([(id(2), endpoint(2, published)), (id(3), endpoint(3, vec![]))]);
        let elements = Elements::of(&endpoints).expect("distinct");
        let with = lines(&replace(&options(), &elements));
        insta::assert_snapshot!("elements", difference(&ruleset(&options()), &with));
        let rules = |lines: &[String]| lines.iter().filter(|line| line.contains(r#"{"rule":"#)).count();
        assert_eq!(rules(&with), rules(&ruleset(&options())));
    }

    #[test]
    fn a_change_deletes_before_it_adds() {
        let mut elements = Elements::default();
        let first = crate::model::Change::Admit(id(2), Box::new(endpoint(2, vec![publish([0; 4], 8080, "80")])));
        elements.apply(&first, &mut Delta::default()).expect("free");
        let mut delta = Delta::default();
        let again = crate::model::Change::Admit(id(2), Box::new(endpoint(2, vec![publish([0; 4], 8080, "81")])));
        elements.apply(&again, &mut delta).expect("its own");
        insta::assert_snapshot!("change", lines(&change(&options(), &delta)).join("\n"));
    }
}
