//! Rules of others that change what containers can do.
//!
//! Any host has tables of others, and most of what they hold is nobody's business here. So it is not looked at *what they
//! say* but at what they *do*: packets that matter to containers are evaluated twice, with all that the kernel holds and
//! with the daemon's own tables and the usual routing rules alone. Where the two end differently, what decided is named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::difference::theirs;
use crate::containers::Container;
use crate::firewall::audit::bytecode::{Family, Ruleset};
use crate::firewall::audit::network::{Interface, Network, RoutingAction, RoutingRule};
use crate::firewall::audit::{Content, Entry, Explanation, Fate, Flow, Kernel, Packet, Step, Transport, Tuple};
use crate::model::audit::{Difference, Subject};
use crate::model::{Endpoint, NetworkOptions, Port, Protocol};

/// What is evaluated.
struct Trial {
    packet: Packet,
    /// `web's link to db on 5432/tcp`.
    what: String,
    containers: Vec<String>,
}

/// Rows of published ports of one container that are tried; the others meet the same rules mostly.
const ROWS: usize = 8;
/// An address somewhere outside (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const SYN: u8 = 2;
const CLIENTS_PORT: u16 = 40_321;

/// What others' rules change, and what cannot be said of them.
pub(super) fn differences(
    options: &NetworkOptions,
    containers: &[&Container],
    kernel: &Kernel,
) -> (Vec<Difference>, Vec<String>) {
    let (ruleset, network) = (kernel.ruleset(), kernel.network());
    let own_name = crate::firewall::table_name(options);
    let is_own =
        |family: Family, name: &str| name == own_name && matches!(family, Family::Inet | Family::Arp | Family::Bridge);
    let mut found = impostors(ruleset, &own_name, is_own);
    let strangers = ruleset.tables.iter().any(|table| {
        !is_own(table.family, &table.name) && !table.dormant && table.chains.iter().any(|chain| chain.base.is_some())
    });
    if !strangers && network.rules.iter().filter(|rule| rule.v4).all(is_usual) && has_usual(network) {
        return (found, Vec::new());
    }
    let alone = Kernel::new(
        Ruleset {
            generation: ruleset.generation,
            tables: ruleset.tables.iter().filter(|table| is_own(table.family, &table.name)).cloned().collect(),
        },
        Network { rules: usual_rules(network), ..network.clone() },
    );
    let trials = trials(options, containers, network);
    let mut culprits: BTreeMap<(&'static str, Culprit), Vec<&Trial>> = BTreeMap::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for trial in &trials {
        match compare(kernel, &alone, trial) {
            Compared::Alike => {}
            Compared::Open(what) => _ = open.insert(what),
            Compared::Differs(kind, packet, flow) => {
                let explanation = match &flow {
                    Some(flow) => kernel.explain_in(&packet, flow),
                    None => kernel.explain(&packet),
                };
                let culprit = culprit(&explanation, network, |family, table| {
                    let family = ruleset.tables.iter().find(|it| it.family.word() == family && it.name == table);
                    family.is_some_and(|it| is_own(it.family, &it.name))
                });
                // Who takes another way leaves by another interface, in another name: that is one thing.
                let kind = if matches!(culprit, Culprit::Routing(_)) { "foreign-route" } else { kind };
                culprits.entry((kind, culprit)).or_default().push(trial);
            }
        }
    }
    found.extend(culprits.into_iter().map(|((kind, culprit), trials)| tell(kind, &culprit, &trials)));
    let unchecked = open.into_iter().map(|what| format!("whether others' rules change what containers can do: {what}"));
    (found, unchecked.collect())
}

/// Tables that are called like ours and are none.
fn impostors(ruleset: &Ruleset, own: &str, is_own: impl Fn(Family, &str) -> bool) -> Vec<Difference> {
    let impostors = ruleset.tables.iter().filter(|table| table.name == own && !is_own(table.family, &table.name));
    impostors
        .map(|table| {
            let table = format!("{} {}", table.family.word(), table.name);
            let what = format!("table {table} is called like pontoon's, and is not pontoon's");
            theirs(Subject::Foreign, "table-impostor", what, format!("`nft delete table {table}`"))
        })
        .collect()
}

const USUAL: [(u32, u32); 3] = [(0, 255), (32_766, 254), (32_767, 253)];

fn is_usual(rule: &RoutingRule) -> bool {
    let RoutingAction::Table(table) = rule.action else { return false };
    USUAL.contains(&(rule.priority, table))
}

fn has_usual(network: &Network) -> bool {
    let has = |(priority, table): &(u32, u32)| {
        network.rules.iter().any(|it| it.v4 && it.priority == *priority && it.action == RoutingAction::Table(*table))
    };
    USUAL.iter().all(has)
}

fn usual_rules(network: &Network) -> Vec<RoutingRule> {
    let usual = USUAL.map(|(priority, table)| RoutingRule::usual(priority, table));
    let others = network.rules.iter().filter(|rule| !rule.v4).cloned();
    usual.into_iter().chain(others).collect()
}

enum Compared {
    Alike,
    /// It cannot be said, for want of this.
    Open(String),
    /// How, and by which packet of the flow it shows.
    Differs(&'static str, Packet, Option<Flow>),
}

fn compare(kernel: &Kernel, alone: &Kernel, trial: &Trial) -> Compared {
    let (is, should) = (kernel.outcome(&trial.packet, None), alone.outcome(&trial.packet, None));
    if let Some(what) = unknown(&is) {
        return if unknown(&should).is_some() { Compared::Alike } else { Compared::Open(what) };
    }
    if let Some(kind) = kind(&is, &should) {
        return Compared::Differs(kind, trial.packet.clone(), None);
    }
    // The way there is the same; the way back may not be.
    let (Some((packet, flow)), Some((alike, of))) = (is.answer(), should.answer()) else { return Compared::Alike };
    let (is, should) = (kernel.outcome(&packet, Some(&flow)), alone.outcome(&alike, Some(&of)));
    match (unknown(&is), unknown(&should), kind(&is, &should)) {
        (Some(what), None, _) => Compared::Open(what),
        (None, None, Some(kind)) => Compared::Differs(kind, packet, Some(flow)),
        _ => Compared::Alike,
    }
}

fn unknown(explanation: &Explanation) -> Option<String> {
    explanation.ways.iter().find_map(|way| match &way.fate {
        Fate::Unknown(what) => Some(what.clone()),
        _ => None,
    })
}

fn arrives(fate: &Fate) -> bool {
    matches!(fate, Fate::Delivered | Fate::Sent { .. } | Fate::Flooded { .. })
}

/// How two outcomes differ.
fn kind(is: &Explanation, should: &Explanation) -> Option<&'static str> {
    let ways = |explanation: &Explanation| {
        let tuples = |flow: &Flow| -> (Tuple, Tuple) { (flow.original, flow.answer) };
        explanation.ways.iter().map(|way| (way.fate.clone(), way.flow.as_ref().map(tuples))).collect::<Vec<_>>()
    };
    let passes = |explanation: &Explanation| explanation.ways.iter().filter(|way| arrives(&way.fate)).count();
    let (now, before) = (passes(is), passes(should));
    let all = |count: usize, explanation: &Explanation| count == explanation.ways.len();
    match () {
        () if all(before, should) && !all(now, is) => Some("foreign-drop"),
        () if before == 0 && now > 0 => {
            // What has nowhere to go was not kept from going there.
            let lost = should.ways.iter().any(|way| matches!(way.fate, Fate::Lost(_)));
            Some(if lost { "foreign-nat" } else { "foreign-accept" })
        }
        // That what is dropped is dropped otherwise changes nothing.
        () if now == 0 => None,
        () => {
            let (is, should) = (ways(is), ways(should));
            let flows =
                |ways: &[(Fate, Option<(Tuple, Tuple)>)]| ways.iter().map(|(_, flow)| *flow).collect::<Vec<_>>();
            let differ = is.iter().any(|way| !should.contains(way)) || should.iter().any(|way| !is.contains(way));
            match differ {
                false => None,
                true if flows(&is).iter().any(Option::is_none) && !flows(&should).iter().any(Option::is_none) => {
                    Some("foreign-notrack")
                }
                true if flows(&is) != flows(&should) => Some("foreign-nat"),
                true => Some("foreign-route"),
            }
        }
    }
}

/// What made the difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Culprit {
    Rule {
        family: String,
        table: String,
        chain: String,
        handle: u64,
        comment: Option<String>,
    },
    Policy {
        family: String,
        table: String,
        chain: String,
    },
    /// Routing rules of others.
    Routing(Vec<u32>),
}

fn culprit(explanation: &Explanation, network: &Network, is_own: impl Fn(&str, &str) -> bool) -> Culprit {
    let way = explanation.ways.iter().find(|way| !arrives(&way.fate)).or(explanation.ways.first());
    let steps = way.map(|way| way.steps.as_slice()).unwrap_or_default();
    let foreign = |step: &Step| match step {
        Step::Rule { family, table, chain, handle, comment, matched: true, verdict, .. } if !is_own(family, table) => {
            let diverts =
                verdict.as_ref().is_some_and(|it| it.starts_with("jump") || it.starts_with("goto") || it == "return");
            let (family, table, chain) = ((*family).to_owned(), table.clone(), chain.clone());
            Some((diverts, Culprit::Rule { family, table, chain, handle: *handle, comment: comment.clone() }))
        }
        Step::Policy { family, table, chain, verdict: "drop" } if !is_own(family, table) => {
            Some((false, Culprit::Policy { family: (*family).to_owned(), table: table.clone(), chain: chain.clone() }))
        }
        _ => None,
    };
    let met: Vec<(usize, bool, Culprit)> = steps
        .iter()
        .enumerate()
        .filter_map(|(place, step)| foreign(step).map(|(diverts, culprit)| (place, diverts, culprit)))
        .collect();
    // What the kernel did right behind a rule, it did because of it.
    let did = |place: usize| {
        let around = [place.checked_sub(1), Some(place + 1)];
        around
            .into_iter()
            .flatten()
            .any(|at| matches!(steps.get(at), Some(Step::Kernel { what }) if what.contains("becomes")))
    };
    let dropped = way.is_some_and(|way| matches!(way.fate, Fate::Dropped | Fate::Rejected(_)));
    let by_deed = if dropped { None } else { met.iter().find(|(place, ..)| did(*place)) };
    let decided = met.iter().rev().find(|(_, diverts, _)| !diverts);
    match by_deed.or(decided).or(met.last()) {
        Some((.., culprit)) => culprit.clone(),
        None => {
            let rules = network.rules.iter().filter(|rule| rule.v4 && !is_usual(rule));
            Culprit::Routing(rules.map(|rule| rule.priority).collect())
        }
    }
}

fn tell(kind: &'static str, culprit: &Culprit, trials: &[&Trial]) -> Difference {
    let (who, remedy) = match culprit {
        Culprit::Rule { family, table, chain, handle, comment } => {
            let comment = comment.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
            (
                format!("rule {handle}{comment} in chain {chain} of table {family} {table}"),
                format!("if nobody meant it: `nft delete rule {family} {table} {chain} handle {handle}`"),
            )
        }
        Culprit::Policy { family, table, chain } => (
            format!("the policy of chain {chain} of table {family} {table}"),
            format!(
                "accept containers' traffic in that chain, or: `nft chain {family} {table} {chain} '{{ policy accept; }}'`"
            ),
        ),
        Culprit::Routing(priorities) if priorities.is_empty() => (
            "the order of the routing rules".to_owned(),
            "see `ip rule`: local, main and default are missing or moved".to_owned(),
        ),
        Culprit::Routing(priorities) => {
            let all: Vec<String> = priorities.iter().map(u32::to_string).collect();
            (
                format!("routing rule {}", all.join(", ")),
                format!("if nobody meant it: `ip rule del priority {}`", all[0]),
            )
        }
    };
    let does = match kind {
        "foreign-drop" => "keeps from passing",
        "foreign-accept" => "lets pass what nothing admits",
        "foreign-nat" => "rewrites the addresses of",
        "foreign-notrack" => "hides from connection tracking",
        _ => "leads elsewhere",
    };
    let first = trials.first().map(|trial| trial.what.as_str()).unwrap_or_default();
    let more = match trials.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let colon = if kind == "foreign-accept" { ": " } else { " " };
    let containers: BTreeSet<String> = trials.iter().flat_map(|trial| trial.containers.iter().cloned()).collect();
    let difference = theirs(Subject::Foreign, kind, format!("{who} {does}{colon}{first}{more}"), remedy);
    Difference { containers: containers.into_iter().collect(), ..difference }
}

/// Somebody beyond an interface of the host's.
struct Outside {
    interface: u32,
    /// The host's address there.
    host: Ipv4Addr,
    client: Ipv4Addr,
}

fn outside(options: &NetworkOptions, network: &Network) -> Vec<Outside> {
    let leads = |it: &&Interface| it.up && !it.loopback && it.name != options.bridge && it.master.is_none();
    let mut found = Vec::new();
    for interface in network.interfaces.iter().filter(leads) {
        let Some(ipnetwork::IpNetwork::V4(net)) = interface.addresses.iter().find(|it| it.is_ipv4()) else { continue };
        let Some(client) = net.iter().find(|it| *it != net.ip() && *it != net.network() && *it != net.broadcast())
        else {
            continue;
        };
        found.push(Outside { interface: interface.index, host: net.ip(), client });
    }
    found
}

fn trials(options: &NetworkOptions, containers: &[&Container], network: &Network) -> Vec<Trial> {
    let at = |it: &Endpoint| network.named(&it.port).map(|port| port.index);
    let endpoints: BTreeMap<_, (&Endpoint, u32)> = containers
        .iter()
        .filter_map(|it| Some((&it.id, it.attached.as_ref()?)))
        .filter_map(|(id, it)| Some((id, (it, at(it)?))))
        .collect();
    let outsides = outside(options, network);
    let gateway = options.gateway();
    let mut trials = Vec::new();
    let order: Vec<(&Endpoint, u32)> = endpoints.values().copied().collect();
    for (place, (endpoint, port)) in order.iter().enumerate() {
        let name = endpoint.name.to_string();
        let from = |to: Ipv4Addr, on: Port, what: String, others: &[String]| Trial {
            packet: packet(Entry::Interface(*port), Some(endpoint.mac.0), endpoint.address, to, on),
            what,
            containers: [std::slice::from_ref(&name), others].concat(),
        };
        let tcp = |number| Port { protocol: Protocol::Tcp, number };
        let udp = |number| Port { protocol: Protocol::Udp, number };
        if options.dns_port.is_some() {
            trials.push(from(gateway, udp(53), format!("{name}'s questions for names"), &[]));
        }
        trials.push(from(gateway, tcp(22), format!("what {name} sends to the host"), &[]));
        for on in [tcp(443), udp(53)] {
            trials.push(from(OUTSIDE, on, format!("what {name} sends to the outside on {on}"), &[]));
        }
        for outside in &outsides {
            trials.push(from(outside.client, tcp(443), format!("what {name} sends to the outside on 443/tcp"), &[]));
            let straight = packet(Entry::Interface(outside.interface), None, outside.client, endpoint.address, tcp(80));
            let what = format!("what comes from outside for {name}'s own address");
            trials.push(Trial { packet: straight, what, containers: vec![name.clone()] });
        }
        let on = endpoint.exposed.first().map_or(tcp(80), |run| Port { protocol: run.protocol, number: run.first });
        let from_host = packet(Entry::Local, None, gateway, endpoint.address, on);
        trials.push(Trial {
            packet: from_host,
            what: format!("what the host sends to {name}"),
            containers: vec![name.clone()],
        });
        let next = order[(place + 1) % order.len()].0;
        if next.name != endpoint.name {
            let what = format!("what {name} sends to {} on 22/tcp", next.name);
            trials.push(from(next.address, tcp(22), what, &[next.name.to_string()]));
        }
        for (target, _) in endpoint.links.iter().filter_map(|link| endpoints.get(&link.target)) {
            for run in target.exposed.iter().take(ROWS) {
                let on = Port { protocol: run.protocol, number: run.first };
                let what = format!("{name}'s link to {} on {on}", target.name);
                trials.push(from(target.address, on, what, &[target.name.to_string()]));
            }
        }
        for row in endpoint.published.iter().take(ROWS) {
            let on = Port { protocol: row.container.protocol, number: row.host_port };
            let what = format!("what is for {name} on the published port {on}");
            for outside in &outsides {
                let host = match row.host_ip {
                    IpAddr::V4(ip) if ip.is_loopback() => continue,
                    IpAddr::V4(ip) if !ip.is_unspecified() => ip,
                    _ => outside.host,
                };
                let packet = packet(Entry::Interface(outside.interface), None, outside.client, host, on);
                trials.push(Trial { packet, what: what.clone(), containers: vec![name.clone()] });
            }
        }
    }
    trials
}

fn packet(entry: Entry, mac: Option<[u8; 6]>, from: Ipv4Addr, to: Ipv4Addr, on: Port) -> Packet {
    let (source, destination) = (Some(CLIENTS_PORT), Some(on.number));
    let transport = match on.protocol {
        Protocol::Tcp => Transport::Tcp { source, destination, flags: SYN },
        Protocol::Udp => Transport::Udp { source, destination },
        Protocol::Sctp => Transport::Other(132),
    };
    let content = Content::Ip { source: from.into(), destination: to.into(), transport };
    Packet { entry, source_mac: mac, destination_mac: None, vlan: None, content }
}
