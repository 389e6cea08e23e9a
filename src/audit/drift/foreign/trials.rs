//! Packets that matter to containers: those that the intent admits, and some that it does not.
//!
//! Which ports are tried follows from the rules: one of each row of ports that no rule of others tells apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::containers::Container;
use crate::firewall::audit::network::{Interface, Network};
use crate::firewall::audit::{Content, Entry, Packet, Transport};
use crate::model::{Endpoint, NetworkOptions, Port, Protocol};

/// What is evaluated.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) packet: Packet,
    /// `web's link to db on 5432/tcp`.
    pub(super) what: String,
    pub(super) containers: Vec<String>,
}

/// Trials in all, about: each is evaluated four times.
const MOST: usize = 6000;
/// An address somewhere outside (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const SYN: u8 = 2;
const CLIENTS_PORT: u16 = 40_321;

/// Somebody beyond an interface of the host's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Outside {
    interface: u32,
    /// The host's address there.
    host: Ipv4Addr,
    client: Ipv4Addr,
}

/// Others' bridges whose ports are all of guests' are their guests' and their owner's business, not a LAN.
fn outside(options: &NetworkOptions, network: &Network) -> Vec<Outside> {
    const GUESTS: [&str; 3] = ["veth", "tun", "macvtap"];
    let of_guests = |it: &Interface| {
        let mut ports = network.interfaces.iter().filter(|port| port.master == Some(it.index));
        it.bridge.is_some() && ports.all(|port| GUESTS.contains(&port.kind.as_str()))
    };
    let leads =
        |it: &&Interface| it.up && !it.loopback && it.name != options.bridge && it.master.is_none() && !of_guests(it);
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

/// Where there is one: the first ports of rows that rules of others do not tell apart.
pub(super) type Rows<'a> = Option<&'a [u16]>;

/// All, and what was left out.
pub(super) fn trials(
    options: &NetworkOptions,
    containers: &[&Container],
    network: &Network,
    rows: Rows<'_>,
) -> (Vec<Trial>, Vec<String>) {
    let at = |it: &Endpoint| network.named(&it.port).map(|port| port.index);
    let endpoints: BTreeMap<_, (&Endpoint, u32)> = containers
        .iter()
        .filter_map(|it| Some((&it.id, it.attached.as_ref()?)))
        .filter_map(|(id, it)| Some((id, (it, at(it)?))))
        .collect();
    let order: Vec<(&Endpoint, u32)> = endpoints.values().copied().collect();
    let share = MOST / order.len().max(1);
    let told_apart = rows.unwrap_or_default();
    let mut left_out = Vec::new();
    match rows {
        None => left_out.push("other ports than those that were tried: they calculate with ports".to_owned()),
        Some(rows) if rows.len() > share / 2 => {
            left_out.push(format!("other ports than those that were tried: they tell {} apart", rows.len()));
        }
        Some(_) => {}
    }
    if options.icc && order.len() > share {
        left_out.push("other pairs of containers than those that were tried".to_owned());
    }
    let told_apart = &told_apart[..told_apart.len().min(share / 2)];
    let from_outside = outside(options, network);
    let bridge_mac = network.named(&options.bridge).and_then(|bridge| bridge.mac);
    let mut made = Made { trials: Vec::new(), options, rows: told_apart, outsides: &from_outside, bridge_mac };
    for (place, (endpoint, port)) in order.iter().enumerate() {
        let sender = Sender { endpoint, port: *port };
        for (target, _) in endpoint.links.iter().filter_map(|link| endpoints.get(&link.target)) {
            made.link(&sender, target);
        }
        made.published(endpoint);
        // All pairs where that is not too many, else round the circle.
        let neighbours = if options.icc { order.len().min(share) } else { 1 };
        for next in (1..=neighbours).map(|step| order[(place + step) % order.len()].0) {
            if next.name != endpoint.name {
                let on = first_port(next).unwrap_or(tcp(22));
                made.push(&sender, next.address, on, &format!("sends to {} on {on}", next.name), Some(next));
            }
        }
    }
    for (endpoint, port) in &order {
        made.past_the_bridge(&Sender { endpoint, port: *port });
    }
    (made.trials, left_out)
}

fn tcp(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}

fn udp(number: u16) -> Port {
    Port { protocol: Protocol::Udp, number }
}

fn first_port(endpoint: &Endpoint) -> Option<Port> {
    endpoint.exposed.first().map(|run| Port { protocol: run.protocol, number: run.first })
}

struct Sender<'a> {
    endpoint: &'a Endpoint,
    port: u32,
}

struct Made<'a> {
    trials: Vec<Trial>,
    options: &'a NetworkOptions,
    rows: &'a [u16],
    outsides: &'a [Outside],
    bridge_mac: Option<[u8; 6]>,
}

impl Made<'_> {
    fn push(&mut self, from: &Sender<'_>, to: Ipv4Addr, on: Port, does: &str, other: Option<&Endpoint>) {
        let (endpoint, entry) = (from.endpoint, Entry::Interface(from.port));
        let packet = packet(entry, Some(endpoint.mac.0), endpoint.address, to, on);
        let containers = std::iter::once(endpoint).chain(other).map(|it| it.name.to_string()).collect();
        self.trials.push(Trial { packet, what: format!("what {} {does}", endpoint.name), containers });
    }

    fn past_the_bridge(&mut self, from: &Sender<'_>) {
        let (endpoint, gateway) = (from.endpoint, self.options.gateway());
        let name = &endpoint.name;
        let asks = Content::Arp { operation: 1, sender_mac: endpoint.mac.0, sender: endpoint.address, target: gateway };
        let arp = Packet {
            entry: Entry::Interface(from.port),
            source_mac: Some(endpoint.mac.0),
            destination_mac: self.bridge_mac,
            vlan: None,
            content: asks,
        };
        let what = format!("what {name} asks for the host's hardware address");
        self.trials.push(Trial { packet: arp, what, containers: vec![name.to_string()] });
        if self.options.dns_port.is_some() {
            self.push(from, gateway, udp(53), "asks the host for names", None);
        }
        self.push(from, gateway, tcp(22), "sends to the host", None);
        let mut ports = vec![tcp(443), udp(53)];
        ports.extend(self.rows.iter().flat_map(|row| [tcp(*row), udp(*row)]));
        for on in ports {
            self.push(from, OUTSIDE, on, &format!("sends to the outside on {on}"), None);
        }
        for outside in self.outsides {
            self.push(from, outside.client, tcp(443), "sends to the outside on 443/tcp", None);
            let straight = packet(Entry::Interface(outside.interface), None, outside.client, endpoint.address, tcp(80));
            let what = format!("what comes from outside for {name}'s own address");
            self.trials.push(Trial { packet: straight, what, containers: vec![name.to_string()] });
        }
        let on = first_port(endpoint).unwrap_or(tcp(80));
        let from_host = packet(Entry::Local, None, gateway, endpoint.address, on);
        let what = format!("what the host sends to {name}");
        self.trials.push(Trial { packet: from_host, what, containers: vec![name.to_string()] });
    }

    /// The first port of each row within a run of ports.
    fn within(&self, first: u16, last: u16) -> Vec<u16> {
        let inner = self.rows.iter().copied().filter(|row| (first..=last).contains(row) && *row != first);
        std::iter::once(first).chain(inner).collect()
    }

    fn link(&mut self, from: &Sender<'_>, target: &Endpoint) {
        for run in &target.exposed {
            for number in self.within(run.first, run.last) {
                let on = Port { protocol: run.protocol, number };
                let does = format!("sends to {} on {on}, by its link", target.name);
                self.push(from, target.address, on, &does, Some(target));
            }
        }
    }

    fn published(&mut self, endpoint: &Endpoint) {
        for row in &endpoint.published {
            let inside = row.container.number;
            // Rules tell ports apart before the translation, and after it.
            let mut numbers = self.within(row.host_port, row.last_host_port());
            numbers.extend(
                self.within(inside, inside + (row.count - 1)).iter().map(|number| row.host_port + (number - inside)),
            );
            let each = numbers.into_iter().flat_map(|number| self.outsides.iter().map(move |it| (number, it)));
            for (number, outside) in each.collect::<BTreeSet<_>>() {
                let on = Port { protocol: row.container.protocol, number };
                let host = match row.host_ip {
                    IpAddr::V4(ip) if ip.is_loopback() => continue,
                    IpAddr::V4(ip) if !ip.is_unspecified() => ip,
                    _ => outside.host,
                };
                let packet = packet(Entry::Interface(outside.interface), None, outside.client, host, on);
                let what = format!("what is for {} on the published port {on}", endpoint.name);
                self.trials.push(Trial { packet, what, containers: vec![endpoint.name.to_string()] });
            }
        }
    }
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
