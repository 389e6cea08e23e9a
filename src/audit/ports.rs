//! The ports that matter at a party: exposed, published, listened on; in rows that matter for the same reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::firewall::audit::sockets::Socket;
use crate::model::audit::{Listener, PartyPort};
use crate::model::{Port, PortRange, Protocol, Published};

/// Rows of ports in order.
pub(super) fn rows(exposed: &[PortRange], published: &[Published], sockets: &[(Socket, Listener)]) -> Vec<PartyPort> {
    let led_to = |row: &Published| PortRange {
        protocol: row.container.protocol,
        first: row.container.number,
        last: row.container.number + (row.count - 1),
    };
    let listened = listened(sockets);
    let all = exposed.iter().copied().chain(published.iter().map(led_to)).chain(listened.keys().map(|port| one(*port)));
    let all: Vec<PortRange> = all.collect();
    pieces(&all)
        .into_iter()
        .map(|ports| {
            let within = |range: &PortRange| range.contains(Port { protocol: ports.protocol, number: ports.first });
            PartyPort {
                ports,
                exposed: exposed.iter().any(within),
                published: published.iter().filter(|row| within(&led_to(row))).map(|row| cut(row, ports)).collect(),
                listeners: listened
                    .get(&Port { protocol: ports.protocol, number: ports.first })
                    .cloned()
                    .unwrap_or_default(),
            }
        })
        .collect()
}

fn one(port: Port) -> PortRange {
    PortRange { protocol: port.protocol, first: port.number, last: port.number }
}

/// By port; what only this machine itself can reach, on loopback, matters to nobody else.
fn listened(sockets: &[(Socket, Listener)]) -> BTreeMap<Port, Vec<Listener>> {
    let mut by_port: BTreeMap<Port, Vec<Listener>> = BTreeMap::new();
    for (socket, listener) in sockets.iter().filter(|(socket, _)| !socket.address.to_canonical().is_loopback()) {
        let protocol = if socket.tcp { Protocol::Tcp } else { Protocol::Udp };
        let listeners = by_port.entry(Port { protocol, number: socket.port }).or_default();
        if !listeners.contains(listener) {
            listeners.push(listener.clone());
        }
    }
    by_port
}

/// Cuts ranges so that those which overlap share whole pieces.
fn pieces(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut pieces = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let of: Vec<&PortRange> = ranges.iter().filter(|range| range.protocol == protocol).collect();
        // As wide numbers: the port after the last may be 65536.
        let starts = of.iter().flat_map(|range| [u32::from(range.first), u32::from(range.last) + 1]);
        let starts: Vec<u32> = starts.collect::<BTreeSet<u32>>().into_iter().collect();
        for ends in starts.windows(2) {
            let (Ok(first), Ok(last)) = (u16::try_from(ends[0]), u16::try_from(ends[1] - 1)) else { continue };
            if of.iter().any(|range| (range.first..=range.last).contains(&first)) {
                pieces.push(PortRange { protocol, first, last });
            }
        }
    }
    pieces
}

/// The part of a row that leads to these of its container's ports.
fn cut(row: &Published, ports: PortRange) -> Published {
    let before = ports.first - row.container.number;
    Published {
        host_port: row.host_port + before,
        container: Port { number: ports.first, ..row.container },
        count: ports.last - ports.first + 1,
        ..*row
    }
}

/// The part of some rows that a question is about, and what of the question is in none of them, in order.
pub(super) fn within(rows: &[PartyPort], wanted: PortRange) -> Vec<PartyPort> {
    let ranges: Vec<PortRange> = rows.iter().map(|row| row.ports).chain([wanted]).collect();
    let inside = |piece: &PortRange| wanted.contains(Port { protocol: piece.protocol, number: piece.first });
    let row = |ports: PortRange| {
        let first = Port { protocol: ports.protocol, number: ports.first };
        let nothing = PartyPort { ports, exposed: false, published: vec![], listeners: vec![] };
        rows.iter().find(|row| row.ports.contains(first)).map_or(nothing, |row| PartyPort {
            ports,
            published: row.published.iter().map(|published| cut(published, ports)).collect(),
            ..row.clone()
        })
    };
    pieces(&ranges).into_iter().filter(inside).map(row).collect()
}

/// To which address one speaks to reach whoever listens here: the usual one, unless they listen on others only. `None`:
/// they have IPv6 only.
pub(super) fn spoken_to(listeners: &[Listener], usual: Ipv4Addr) -> Option<Ipv4Addr> {
    let v4 = |listener: &Listener| match listener.address.to_canonical() {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(address) => address.is_unspecified().then_some(Ipv4Addr::UNSPECIFIED),
    };
    let addresses: BTreeSet<Ipv4Addr> = listeners.iter().filter_map(v4).collect();
    if listeners.is_empty() || addresses.contains(&Ipv4Addr::UNSPECIFIED) || addresses.contains(&usual) {
        return Some(usual);
    }
    addresses.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> PortRange {
        let crate::model::audit::Service::Ports(range) = text.parse().expect("ports") else { panic!("ports") };
        range
    }

    fn listening(address: &str, port: u16) -> (Socket, Listener) {
        let address = address.parse().expect("address");
        (Socket { tcp: true, address, port, only_v6: false, inode: 1 }, Listener { address, process: None })
    }

    #[test]
    fn rows_matter_for_the_same_reasons() {
        let published = Published {
            host_ip: [0, 0, 0, 0].into(),
            host_port: 8000,
            container: "85".parse().expect("port"),
            count: 10,
        };
        let sockets = [listening("0.0.0.0", 90), listening("127.0.0.1", 91), listening("::", 7)];
        let rows = rows(&[range("80-99/tcp"), range("80/udp")], &[published], &sockets);
        let words: Vec<String> = rows
            .iter()
            .map(|row| {
                let published: Vec<String> =
                    row.published.iter().map(|p| format!("{}x{}", p.host_port, p.count)).collect();
                let ports = crate::model::audit::Service::Ports(row.ports);
                format!("{ports} {} {} {}", row.exposed, published.join(","), row.listeners.len())
            })
            .collect();
        assert_eq!(
            words,
            [
                "7/tcp false  1",
                "80-84/tcp true  0",
                "85-89/tcp true 8000x5 0",
                "90/tcp true 8005x1 1",
                "91-94/tcp true 8006x4 0",
                "95-99/tcp true  0",
                "80/udp true  0",
            ]
        );
    }

    #[test]
    fn a_question_is_about_parts_of_rows_and_what_is_in_none() {
        let published = Published {
            host_ip: [0, 0, 0, 0].into(),
            host_port: 8000,
            container: "80".parse().expect("port"),
            count: 10,
        };
        let rows = rows(&[range("80-89/tcp")], &[published], &[]);
        let parts = within(&rows, range("85-95/tcp"));
        let words: Vec<_> = parts.iter().map(|row| (row.ports.first, row.ports.last, row.exposed)).collect();
        assert_eq!(words, [(85, 89, true), (90, 95, false)]);
        assert_eq!((parts[0].published[0].host_port, parts[0].published[0].count), (8005, 5));
        assert_eq!(within(&rows, range("85/udp")).len(), 1);
    }

    #[test]
    fn the_last_port_there_is() {
        assert_eq!(pieces(&[range("1-65535/tcp")]), [range("1-65535/tcp")]);
    }

    #[test]
    fn who_listens_on_one_address_is_spoken_to_there() {
        let usual = Ipv4Addr::new(172, 17, 0, 1);
        let listener = |address: &str| Listener { address: address.parse().expect("address"), process: None };
        assert_eq!(spoken_to(&[listener("192.0.2.1")], usual), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(spoken_to(&[listener("192.0.2.1"), listener("::")], usual), Some(usual));
        assert_eq!(spoken_to(&[listener("2001:db8::1")], usual), None);
    }
}
