//! What is in force, fact by fact, and the elements that say it to the kernel. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use nftables::expr::Expression;
use nftables::schema::{Element, NfCmd, NfListObject, NfObject};

use super::conntrack::Row;
use super::names::SetName;
use super::syntax::{Expr, address, concat, mac, port, ports, protocol, text};
use crate::model::{Endpoint, MacAddr, PortRange, Published};

/// Longer runs of ports are one interval. The kernel copies a set of intervals whole for each transaction that touches it,
/// while a hash takes an element at a time: so what is usual goes into the hash, and what is large into the intervals.
const SHORT: u16 = 16;

/// One consequence of the intent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// The endpoint may be reached, by what admits it; and by its port it speaks for itself only.
    Endpoint {
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: MacAddr,
        /// Its port on the bridge.
        port: String,
    },
    /// A link: the target may report errors to the source.
    Linked {
        /// Who has the link.
        source: Ipv4Addr,
        /// To whom.
        target: Ipv4Addr,
    },
    /// By a link, the source may open flows to the target's ports.
    Link {
        /// Who.
        source: Ipv4Addr,
        /// To whom.
        target: Ipv4Addr,
        /// To what.
        ports: PortRange,
    },
    /// Host ports lead to a container.
    Published(Row),
    /// Who was led to a container's ports, because they are published, may open flows to them. Whom somebody else's rules led
    /// there may not.
    Admitted {
        /// The address of the host that he spoke to; `None`: whichever.
        host: Option<Ipv4Addr>,
        /// To whom.
        to: Ipv4Addr,
        /// To what.
        ports: PortRange,
    },
}

impl Fact {
    /// That the endpoint exists.
    pub(super) fn endpoint(endpoint: &Endpoint) -> Self {
        Self::Endpoint { address: endpoint.address, mac: endpoint.mac, port: endpoint.port.clone() }
    }

    /// The elements that say it.
    pub(super) fn elements(&self) -> Vec<(SetName, Expr)> {
        match self {
            Self::Endpoint { address: ip, mac: ether, port } => {
                let (ip, ether, port) = (address(*ip), mac(*ether), text(port.clone()));
                vec![
                    (SetName::ENDPOINTS, ip.clone()),
                    (SetName::PORTS, port.clone()),
                    (SetName::MACS, concat(vec![port.clone(), ether.clone()])),
                    (SetName::SOURCES, concat(vec![port, ether, ip])),
                ]
            }
            Self::Linked { source, target } => {
                vec![(SetName::LINKED_PAIRS, concat(vec![address(*source), address(*target)]))]
            }
            Self::Link { source, target, ports: run } => {
                let key = |ports| concat(vec![address(*source), address(*target), protocol(run.protocol), ports]);
                match is_short(*run) {
                    true => run.ports().map(|one| (SetName::LINKED, key(port(one.number)))).collect(),
                    false => vec![(SetName::LINKED_RUNS, key(ports(*run)))],
                }
            }
            Self::Published(row) => published(row),
            Self::Admitted { host, to, ports: run } => {
                let key = |ports| {
                    let host = host.map(address);
                    concat(host.into_iter().chain([address(*to), protocol(run.protocol), ports]).collect())
                };
                let (single, runs) = match host {
                    Some(_) => (SetName::ADMITTED_ADDRESS, SetName::ADMITTED_ADDRESS_RUNS),
                    None => (SetName::ADMITTED, SetName::ADMITTED_RUNS),
                };
                match is_short(*run) {
                    true => run.ports().map(|one| (single, key(port(one.number)))).collect(),
                    false => vec![(runs, key(ports(*run)))],
                }
            }
        }
    }
}

/// Of an endpoint's rows, what each admits to; by 127/8 the host alone comes, which nobody has to admit. Several rows may
/// lead to one port; that is admitted to once.
pub(super) fn admitted(rows: impl Iterator<Item = Row>) -> Vec<Fact> {
    let mut by_host: BTreeMap<(Option<Ipv4Addr>, Ipv4Addr), Vec<PortRange>> = BTreeMap::new();
    let from_elsewhere = |row: &Row| row.host.is_none_or(|host| !host.is_loopback());
    for Row { host, ports, to, to_first } in rows.filter(from_elsewhere) {
        let inside = PortRange { first: to_first, last: to_first + (ports.last - ports.first), ..ports };
        by_host.entry((host, to)).or_default().push(inside);
    }
    let fact = |(host, to), ports| Fact::Admitted { host, to, ports };
    by_host.into_iter().flat_map(|(key, runs)| joined(runs).into_iter().map(move |ports| fact(key, ports))).collect()
}

/// The same ports in as few runs as can be.
fn joined(mut runs: Vec<PortRange>) -> Vec<PortRange> {
    runs.sort_unstable();
    let mut joined: Vec<PortRange> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.protocol == run.protocol && run.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(run.last);
            }
            _ => joined.push(run),
        }
    }
    joined
}

fn is_short(run: PortRange) -> bool {
    run.last - run.first < SHORT
}

/// Published ports, as the kernel's maps see them.
pub(super) fn row(published: &Published, to: Ipv4Addr) -> Row {
    let host = match published.host_ip {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    };
    let protocol = published.container.protocol;
    let ports = PortRange { protocol, first: published.host_port, last: published.last_host_port() };
    Row { host, ports, to, to_first: published.container.number }
}

/// A port is an element of two maps, one for the address and one for the port: nft 1.0.6 cannot read a map to both at once
/// from JSON. Ports that keep their numbers need only the address, and so can be an interval; ports that change them
/// cannot: an interval leads to one value.
fn published(row: &Row) -> Vec<(SetName, Expr)> {
    let key = |ports: Expr| {
        let host = row.host.map(address);
        concat(host.into_iter().chain([protocol(row.ports.protocol), ports]).collect())
    };
    let pair = |key: Expr, value: Expr| Expression::List(vec![key, value]);
    let (to_address, to_port, runs) = match row.host {
        Some(_) => (SetName::PUBLISHED_ADDRESS, SetName::PUBLISHED_PORT, SetName::PUBLISHED_RUNS),
        None => (SetName::PUBLISHED_ANY_ADDRESS, SetName::PUBLISHED_ANY_PORT, SetName::PUBLISHED_ANY_RUNS),
    };
    if row.to_first == row.ports.first && !is_short(row.ports) {
        return vec![(runs, pair(key(ports(row.ports)), address(row.to)))];
    }
    let each = row.ports.ports().zip(row.to_first..=u16::MAX);
    each.flat_map(|(host, to)| {
        let key = key(port(host.number));
        [(to_address, pair(key.clone(), address(row.to))), (to_port, pair(key, port(to)))]
    })
    .collect()
}

/// At most one command a set, with all the facts' elements in it.
pub(super) fn commands<'a>(
    table: &str,
    facts: impl IntoIterator<Item = &'a Fact>,
    command: fn(NfListObject<'static>) -> NfCmd<'static>,
) -> Vec<NfObject<'static>> {
    let mut sets: BTreeMap<SetName, Vec<Expr>> = BTreeMap::new();
    for (set, element) in facts.into_iter().flat_map(Fact::elements) {
        sets.entry(set).or_default().push(element);
    }
    let in_set = |(set, elem): (SetName, Vec<Expr>)| {
        let table = table.to_owned().into();
        let element = Element { family: set.family.nft(), table, name: set.name.into(), elem: Cow::Owned(elem) };
        NfObject::CmdObject(command(NfListObject::Element(element)))
    };
    sets.into_iter().map(in_set).collect()
}
