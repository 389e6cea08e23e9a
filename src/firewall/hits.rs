//! How often the holes were used: the counters of links' and published ports' elements, as the audit read them. Pure.
//!
//! These elements are looked up for the packets that begin something: published ports' by the first packet of a flow (NAT),
//! links' by each packet of a flow that nobody has answered yet (`ct state new`). So a hit is a connection attempt; of UDP a
//! stream, or a packet to who does not answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::audit::bytecode::{self, Element, Ruleset};
use super::names::{self, SetName};
use crate::model::{NetworkOptions, PortRange, Protocol, Published};

/// Whose elements they are, the protocol's number, and an element's first port.
type Key<Of> = (Of, u8, u16);
/// An element's last port, and what it has counted, where it counts.
type Counter = (u16, Option<u64>);
type Counters<Of> = BTreeMap<Key<Of>, Counter>;

/// The counters of the daemon's links and published ports.
#[derive(Debug, Default)]
pub struct Hits {
    /// By source and target.
    links: Counters<(Ipv4Addr, Ipv4Addr)>,
    /// By the host's address; `None` is all.
    ports: Counters<Option<Ipv4Addr>>,
}

impl Hits {
    /// Those of the daemon's table.
    pub fn of(ruleset: &Ruleset, options: &NetworkOptions) -> Self {
        let mut hits = Self::default();
        let table = ruleset.table(bytecode::Family::Inet, &names::table(options));
        let elements = |names: &[SetName]| {
            let sets = table.into_iter().flat_map(|table| &table.sets);
            let sets: Vec<_> = sets.filter(|set| names.iter().any(|name| set.name == name.name)).collect();
            sets.into_iter().flat_map(|set| &set.elements).collect::<Vec<&Element>>()
        };
        for element in elements(&[SetName::LINKED, SetName::LINKED_RUNS]) {
            hits.links.extend(read(element, |key| Some((pair(key)?, key.get(8..)?))));
        }
        for element in elements(&[SetName::PUBLISHED_ADDRESS, SetName::PUBLISHED_RUNS]) {
            hits.ports.extend(read(element, |key| Some((Some(address(key)?), key.get(4..)?))));
        }
        for element in elements(&[SetName::PUBLISHED_ANY_ADDRESS, SetName::PUBLISHED_ANY_RUNS]) {
            hits.ports.extend(read(element, |key| Some((None, key))));
        }
        hits
    }

    /// Of what a source's link opens at a target. `None`: nothing is open, or it does not count.
    pub fn link(&self, source: Ipv4Addr, target: Ipv4Addr, exposed: &[PortRange]) -> Option<u64> {
        total(exposed.iter().flat_map(|ports| within(&self.links, (source, target), *ports)))
    }

    /// Of a published row, likewise.
    pub fn row(&self, row: &Published) -> Option<u64> {
        let host = match row.host_ip {
            IpAddr::V4(address) => Some(address).filter(|address| !address.is_unspecified()),
            IpAddr::V6(_) => return None,
        };
        let protocol = row.container.protocol;
        total(within(&self.ports, host, PortRange { protocol, first: row.host_port, last: row.last_host_port() }))
    }

    /// Of the row that these ports of one of the host's addresses belong to, likewise.
    pub fn published(&self, host: Ipv4Addr, ports: PortRange) -> Option<u64> {
        total(within(&self.ports, Some(host), ports)).or_else(|| total(within(&self.ports, None, ports)))
    }
}

/// An element's key, and its last port and counter. `whose` splits what comes before protocol and port from a key.
fn read<'e, Of>(
    element: &'e Element,
    whose: impl Fn(&'e [u8]) -> Option<(Of, &'e [u8])>,
) -> Option<(Key<Of>, Counter)> {
    let (of, rest) = whose(&element.key)?;
    let last = element.last.as_deref().and_then(|last| port(whose(last)?.1));
    let first = port(rest)?;
    Some(((of, *rest.first()?, first), (last.unwrap_or(first), element.packets)))
}

/// Each field of a concatenation takes four bytes.
fn pair(key: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    Some((address(key)?, address(key.get(4..)?)?))
}

fn address(key: &[u8]) -> Option<Ipv4Addr> {
    key.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

/// Behind the protocol.
fn port(rest: &[u8]) -> Option<u16> {
    rest.get(4..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The counters of elements with any of these ports. Elements of one owner are disjoint.
fn within<Of: Ord + Copy>(all: &Counters<Of>, of: Of, ports: PortRange) -> impl Iterator<Item = Option<u64>> + '_ {
    let protocol = match ports.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    let before = all.range((of, protocol, 0)..=(of, protocol, ports.last)).rev();
    before.map(|(_, counter)| *counter).take_while(move |(last, _)| *last >= ports.first).map(|(_, packets)| packets)
}

/// `None` unless there is one, and all count.
fn total(counters: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut counters = counters.peekable();
    counters.peek()?;
    counters.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::bytecode::{Set, Table};
    use crate::firewall::elements::tests::publish;

    const WEB: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
    const DB: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn key(addresses: &[Ipv4Addr], protocol: u8, port: u16) -> Vec<u8> {
        let addresses = addresses.iter().flat_map(|address| address.octets());
        let port = port.to_be_bytes();
        addresses.chain([protocol, 0, 0, 0, port[0], port[1], 0, 0]).collect()
    }

    fn set(name: SetName, elements: Vec<Element>) -> Set {
        Set {
            name: name.name.to_owned(),
            handle: 1,
            interval: false,
            dynamic: false,
            key_type: 0,
            fields: vec![4],
            object_kind: None,
            elements,
        }
    }

    fn hits(sets: Vec<Set>) -> Hits {
        let options = NetworkOptions::usual();
        let table = Table {
            family: bytecode::Family::Inet,
            name: names::table(&options),
            dormant: false,
            chains: vec![],
            sets,
            objects: vec![],
        };
        Hits::of(&Ruleset { generation: 1, tables: vec![table] }, &options)
    }

    fn element(key: Vec<u8>, packets: impl Into<Option<u64>>) -> Element {
        Element { key, packets: packets.into(), ..Element::default() }
    }

    fn run(key: Vec<u8>, last: Vec<u8>, packets: u64) -> Element {
        Element { last: Some(last), ..element(key, packets) }
    }

    fn ports(protocol: Protocol, first: u16, last: u16) -> PortRange {
        PortRange { protocol, first, last }
    }

    #[test]
    fn a_link_has_the_hits_of_all_its_ports() {
        let ends = [WEB, DB];
        let linked = vec![
            element(key(&ends, 6, 80), 2),
            element(key(&ends, 6, 81), 3),
            element(key(&ends, 17, 80), 100),
            element(key(&[DB, WEB], 6, 80), 1000),
        ];
        let runs = vec![run(key(&ends, 6, 2000), key(&ends, 6, 2099), 10)];
        let hits = hits(vec![set(SetName::LINKED, linked), set(SetName::LINKED_RUNS, runs)]);
        let tcp = |first, last| ports(Protocol::Tcp, first, last);
        assert_eq!(hits.link(WEB, DB, &[tcp(80, 81), tcp(2000, 2099)]), Some(15));
        assert_eq!(hits.link(WEB, DB, &[tcp(2050, 2050)]), Some(10));
        assert_eq!(hits.link(DB, WEB, &[tcp(80, 80)]), Some(1000));
        assert_eq!(hits.link(WEB, DB, &[tcp(82, 1999)]), None, "nothing is open there");
        assert_eq!(hits.link(WEB, WEB, &[tcp(80, 80)]), None);
        assert_eq!(hits.link(WEB, DB, &[]), None);
    }

    #[test]
    fn a_row_has_its_own_hits_and_no_others() {
        let (here, tcp) = (Ipv4Addr::new(192, 0, 2, 1), 6);
        let one = vec![element(key(&[here], tcp, 8080), 4)];
        let all = vec![element(key(&[], tcp, 8080), 0), element(key(&[], tcp, 8081), None)];
        let runs = vec![run(key(&[], tcp, 9000), key(&[], tcp, 9099), 7)];
        let hits = hits(vec![
            set(SetName::PUBLISHED_ADDRESS, one),
            set(SetName::PUBLISHED_ANY_ADDRESS, all),
            set(SetName::PUBLISHED_ANY_RUNS, runs),
        ]);
        let row = |host, port, count| hits.row(&Published { count, ..publish(host, port, "80") });
        assert_eq!(row(here.octets(), 8080, 1), Some(4));
        assert_eq!(row([0; 4], 8080, 1), Some(0));
        assert_eq!(row([0; 4], 8080, 2), None, "one of them does not count");
        assert_eq!(row([0; 4], 9000, 100), Some(7));
        assert_eq!(row([0; 4], 7000, 1), None, "it is not in force");

        let published = |first, last| hits.published(here, PortRange { protocol: Protocol::Tcp, first, last });
        assert_eq!(published(8080, 8080), Some(4), "that of the address is nearer");
        assert_eq!(published(9050, 9050), Some(7), "that of all addresses holds here, too");
        assert_eq!(published(7000, 7000), None);
    }
}
