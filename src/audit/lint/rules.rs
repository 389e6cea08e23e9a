//! The rules, one a function.

use super::ground::{Ground, Hole, Inhabitant, Opens};
use crate::model::audit::{Finding, PartyKind, Service, Severity, Verdict, Way};
use crate::model::{PortRange, Published};

/// A rule.
pub(super) type Rule = fn(&Ground<'_>) -> Vec<Finding>;

/// All of them.
pub(super) const ALL: &[Rule] = &[
    published_beside_a_link,
    published_to_nobody,
    linked_to_nobody,
    exposed_to_nobody,
    never_used,
    shared_by_a_joined_container,
    powerful,
    open_containers,
    open_among_each_other,
    open_to_the_bridge,
];

fn finding(kind: &str, severity: Severity, what: String, remedy: &str, parties: &[&str]) -> Finding {
    let parties = parties.iter().map(|party| (*party).to_owned()).collect();
    Finding { kind: kind.to_owned(), severity, what, remedy: remedy.to_owned(), parties }
}

/// The container's side of a row.
fn inner(row: &Published) -> PortRange {
    let first = row.container.number;
    PortRange { protocol: row.container.protocol, first, last: first + (row.count - 1) }
}

fn overlap(a: PortRange, b: PortRange) -> bool {
    a.protocol == b.protocol && a.first <= b.last && b.first <= a.last
}

fn list(ports: &[PortRange]) -> String {
    let words: Vec<String> = ports.iter().take(5).map(|ports| Service::Ports(*ports).to_string()).collect();
    let more = if ports.len() > 5 { format!(" and {} more", ports.len() - 5) } else { String::new() };
    format!("{}{more}", words.join(", "))
}

fn host(row: &Published) -> String {
    match row.count {
        1 => format!("{}:{}", row.host_ip, row.host_port),
        _ => format!("{}:{}-{}", row.host_ip, row.host_port, row.last_host_port()),
    }
}

fn published_beside_a_link(ground: &Ground<'_>) -> Vec<Finding> {
    let of = |one: &Inhabitant| {
        let linked: Vec<String> = ground.linked_to(&one.name).map(|(source, _)| source.name.clone()).collect();
        let rows = one.published.iter().filter(|row| !row.host_ip.is_loopback());
        let rows = rows.filter(|row| one.exposed.iter().any(|exposed| overlap(*exposed, inner(row))));
        let tell = |row: &Published| {
            let (name, ports, sources) = (&one.name, Service::Ports(inner(row)), linked.join(", "));
            let what = format!(
                "{name} publishes {ports} on {}, where everybody reaches it, and {sources} has a link to it besides",
                host(row)
            );
            let remedy = "If only linked containers use it, leave out -p, or publish it on 127.0.0.1.";
            finding("published-beside-a-link", Severity::Medium, what, remedy, &[name])
        };
        if linked.is_empty() { Vec::new() } else { rows.map(tell).collect() }
    };
    ground.inhabitants.iter().flat_map(of).collect()
}

fn published_to_nobody(ground: &Ground<'_>) -> Vec<Finding> {
    let of = |one: &Inhabitant| {
        let silent = |row: &&Published| ground.hears(&one.name, inner(row)) == Some(false);
        let tell = |row: &Published| {
            let (name, ports) = (&one.name, Service::Ports(inner(row)));
            let what = format!("{name} publishes {ports} on {}, and nobody listens there", host(row));
            let remedy = "Leave out -p, or see why the program does not listen.";
            finding("published-without-listener", Severity::Low, what, remedy, &[name])
        };
        one.published.iter().filter(silent).map(tell).collect::<Vec<_>>()
    };
    ground.inhabitants.iter().flat_map(of).collect()
}

fn linked_to_nobody(ground: &Ground<'_>) -> Vec<Finding> {
    let target = |name: &str| ground.inhabitants.iter().find(|other| other.name == name);
    let of = |source: &Inhabitant| {
        let tell = |(alias, to): &(String, String)| {
            let exposed = &target(to)?.exposed;
            let parties = [source.name.as_str(), to.as_str()];
            let name = &source.name;
            if exposed.is_empty() && !ground.matrix.icc {
                let what =
                    format!("{name} has a link to {to} ({alias}), which exposes nothing: the link opens nothing");
                let remedy = "Expose the port at the target (--expose, or EXPOSE in its image), or leave out the link.";
                return Some(finding("link-without-ports", Severity::Low, what, remedy, &parties));
            }
            let heard = exposed.iter().any(|ports| ground.hears(to, *ports) != Some(false));
            let what = format!("{name} has a link to {to} ({alias}), and nobody listens there on {}", list(exposed));
            let remedy = "Leave out the link, or expose the port that the program listens on.";
            (!heard && !exposed.is_empty())
                .then(|| finding("link-without-listener", Severity::Low, what, remedy, &parties))
        };
        source.links.iter().filter_map(tell).collect::<Vec<_>>()
    };
    ground.inhabitants.iter().flat_map(of).collect()
}

fn exposed_to_nobody(ground: &Ground<'_>) -> Vec<Finding> {
    if ground.matrix.icc {
        return Vec::new();
    }
    let of = |one: &Inhabitant| {
        let published = |ports: &PortRange| one.published.iter().any(|row| overlap(inner(row), *ports));
        let lost: Vec<PortRange> = one.exposed.iter().filter(|ports| !published(ports)).copied().collect();
        if lost.is_empty() || ground.linked_to(&one.name).next().is_some() {
            return None;
        }
        let what = format!("{} exposes {}, and with --icc=false nobody reaches it", one.name, list(&lost));
        let remedy = "Link whoever needs it (--link), publish it (-p), or do not mind.";
        Some(finding("exposed-unreachable", Severity::Low, what, remedy, &[&one.name]))
    };
    ground.inhabitants.iter().filter_map(of).collect()
}

/// What counts as use is a connection attempt: a hole that nobody answers at is used all the same.
fn never_used(ground: &Ground<'_>) -> Vec<Finding> {
    let unused = ground.holes.iter().filter(|hole| hole.hits == Some(0) && hole.age >= ground.unused_for);
    let tell = |hole: &Hole| {
        let (name, since) = (&hole.of, format!("{:.0}", hole.since));
        let (what, remedy, to) = match &hole.by {
            Opens::Link { to, aliases } => (
                format!("{name} has a link to {to} ({}), and has not used it since {since}", aliases.join(", ")),
                "Leave out the link, unless it is for what happens seldom.",
                Some(to.as_str()),
            ),
            Opens::Publish(row) => (
                format!(
                    "{name} publishes {} on {}, and nobody has used it since {since}",
                    Service::Ports(inner(row)),
                    host(row)
                ),
                "Leave out -p, unless it is for what happens seldom.",
                None,
            ),
        };
        let parties: Vec<&str> = [Some(name.as_str()), to].into_iter().flatten().collect();
        finding("never-used", Severity::Low, what, remedy, &parties)
    };
    unused.map(tell).collect()
}

fn shared_by_a_joined_container(ground: &Ground<'_>) -> Vec<Finding> {
    let of = |party: &crate::model::audit::Party| {
        let owner = party.shares.as_ref()?;
        let one = ground.inhabitants.iter().find(|one| one.name == *owner && one.bridged)?;
        let holes = [
            (!one.published.is_empty()).then_some("its published ports"),
            ground.linked_to(owner).next().map(|_| "links to it"),
            (!one.links.is_empty()).then_some("its links to others"),
        ];
        let holes: Vec<&str> = holes.into_iter().flatten().collect();
        let what = format!("{} is in {owner}'s network namespace: {} are {0}'s, too", party.name, holes.join(" and "));
        let remedy = "Run it with a network of its own and a link, unless both are one thing.";
        let found = || finding("shared-hole", Severity::Medium, what, remedy, &[&party.name, owner]);
        (!holes.is_empty()).then(found)
    };
    ground.matrix.parties.iter().filter_map(of).collect()
}

fn powerful(ground: &Ground<'_>) -> Vec<Finding> {
    let of = |one: &Inhabitant| {
        let name = &one.name;
        if one.privileged {
            let what = format!("{name} is privileged: it can do to this host, and to its network, what root can");
            let remedy = "Give it the capabilities and devices that it needs, and no others.";
            return Some(finding("privileged", Severity::High, what, remedy, &[name]));
        }
        let given = |capability: &str| one.given.iter().any(|it| it == capability || it == "ALL");
        if given("NET_ADMIN") || given("SYS_ADMIN") {
            let what = format!(
                "{name} has NET_ADMIN or SYS_ADMIN: it can change its own network, and by its interface's peer also links of \
                 this host"
            );
            let remedy = "Leave out --cap-add, or watch it with `pontoon audit drift`.";
            return Some(finding("net-admin", Severity::High, what, remedy, &[name]));
        }
        let asked_for_raw = one.given.iter().any(|it| it == "NET_RAW");
        let what = format!("{name} was given NET_RAW: it can send any frame (the guard drops those in others' names)");
        let remedy = "Leave out --cap-add NET_RAW; ping works without.";
        asked_for_raw.then(|| finding("net-raw", Severity::Low, what, remedy, &[name]))
    };
    ground.inhabitants.iter().filter_map(of).collect()
}

fn open_containers(ground: &Ground<'_>) -> Vec<Finding> {
    let open = ground.inhabitants.iter().filter(|one| one.open && !one.privileged);
    let tell = |one: &Inhabitant| {
        let what = format!(
            "{} is at the host's place (--net host): nothing stands between it and the host's services",
            one.name
        );
        let remedy = "Give it a network of its own, and publish what it serves.";
        finding("host-network", Severity::Medium, what, remedy, &[&one.name])
    };
    open.map(tell).collect()
}

fn open_among_each_other(ground: &Ground<'_>) -> Vec<Finding> {
    let bridged = ground.inhabitants.iter().filter(|one| one.bridged).count();
    if !ground.matrix.icc || bridged < 2 {
        return Vec::new();
    }
    let linked = ground.inhabitants.iter().any(|one| !one.links.is_empty());
    let needed = if linked { "links say who needs whom, and close nothing" } else { "no link says who needs whom" };
    let what = format!("{bridged} containers reach each other on every port (--icc=true); {needed}");
    let remedy = "With --icc=false a container reaches another by links and published ports only.";
    vec![finding("icc-open", Severity::Medium, what, remedy, &[])]
}

/// On an operator's bridge whoever is at its other ports is a neighbour like a container with `--icc=true`.
fn open_to_the_bridge(ground: &Ground<'_>) -> Vec<Finding> {
    let (matrix, bridge) = (ground.matrix, ground.matrix.bridge.as_deref().unwrap_or_default());
    let reached = |place: usize| {
        let cells = matrix.cells.iter().filter(|cell| cell.from == place && cell.by == Way::Direct);
        let passes = |to: usize| matrix.parties[to].kind == PartyKind::Container;
        let mut targets: Vec<usize> =
            cells.filter(|cell| cell.kernel == Verdict::Allow && passes(cell.to)).map(|cell| cell.to).collect();
        targets.dedup();
        targets.len()
    };
    let guests = (0..matrix.parties.len()).filter(|place| matrix.parties[*place].kind == PartyKind::Bridge);
    let tell = |place: usize| {
        let (name, count) = (&matrix.parties[place].name, reached(place));
        let port = name.strip_prefix("bridge:").unwrap_or(name);
        let what = format!(
            "who is behind {port}, a port of your bridge {bridge}, reaches {count} containers directly, published or not, \
             and whatever --icc says"
        );
        let remedy = "Without -b they are on a bridge of their own, where others reach published ports only; or let a \
                      table of yours (family bridge, hook forward) drop what is not meant.";
        (count > 0).then(|| finding("bridge-shared", Severity::Medium, what, remedy, &[name]))
    };
    guests.filter_map(tell).collect()
}
