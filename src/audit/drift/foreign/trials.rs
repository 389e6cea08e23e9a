//! Packets that matter to containers: those that the intent admits, and some that it does not.
//!
//! Which ports are tried follows from the rules: one of each row of ports that no rule of others tells apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::audit::neighbourhood::{OUTSIDE, Stranger};
use crate::containers::Container;
use crate::firewall::audit::network::{Interface, Network};
use crate::firewall::audit::{Content, Entry, Packet, Transport};
use crate::model::{Endpoint, NetworkOptions, Port, Protocol};

/// What is evaluated.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) packet: Packet,
    /// The same to somebody else of those whom it is about: it fares otherwise only if all do.
    pub(super) others: Vec<Packet>,
    /// `web's link to db on 5432/tcp`.
    pub(super) what: String,
    pub(super) containers: Vec<String>,
}

/// Trials in all, about: each is evaluated four times.
const MOST: usize = 6000;
const SYN: u8 = 2;
const CLIENTS_PORT: u16 = 40_321;

/// Somebody beyond an interface of the host's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Outside {
    interface: u32,
    /// The host's address there.
    host: Ipv4Addr,
    client: Ipv4Addr,
    /// Known of who is at a port of an operator's bridge.
    mac: Option<[u8; 6]>,
    /// Speaks to containers on the bridge, too.
    at_bridge: bool,
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
        found.push(Outside { interface: interface.index, host: net.ip(), client, mac: None, at_bridge: false });
    }
    found
}

/// Where there is one: the first ports of rows that rules of others do not tell apart.
pub(super) type Rows<'a> = Option<&'a [u16]>;

/// What trials depend on, besides containers and network.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) rows: Rows<'a>,
    /// Who is at the other ports of an operator's bridge.
    pub(super) guests: &'a [Stranger],
    /// Addresses that rules of others name.
    pub(super) named: &'a BTreeSet<Ipv4Addr>,
}

/// All, and what was left out.
pub(super) fn trials(
    options: &NetworkOptions,
    containers: &[&Container],
    network: &Network,
    asked: Asked<'_>,
) -> (Vec<Trial>, Vec<String>) {
    let rows = asked.rows;
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
    let told_apart = &told_apart[..told_apart.len().min(share / 2)];
    let from_outside = everywhere(options, network, asked.guests);
    let bridge_mac = network.named(&options.bridge).and_then(|bridge| bridge.mac);
    let mut made = Made { trials: Vec::new(), options, rows: told_apart, outsides: &from_outside, bridge_mac };
    for (endpoint, port) in &order {
        let sender = Sender { endpoint, port: *port };
        for (target, _) in endpoint.links.iter().filter_map(|link| endpoints.get(&link.target)) {
            made.link(&sender, target);
        }
        made.published(endpoint);
    }
    if !made.pairs(&order, asked.named) {
        left_out.push("other pairs of containers than those that were tried".to_owned());
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

/// Somebody beyond each interface, and at each port of an operator's bridge that is no container's.
fn everywhere(options: &NetworkOptions, network: &Network, guests: &[Stranger]) -> Vec<Outside> {
    let guests = guests.iter().map(|it| Outside {
        interface: it.interface,
        host: it.own,
        client: it.address,
        mac: it.mac,
        at_bridge: true,
    });
    outside(options, network).into_iter().chain(guests).collect()
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
        self.trials.push(Trial { packet, others: vec![], what: format!("what {} {does}", endpoint.name), containers });
    }

    /// What containers send to each other without a link. All pairs where these are not too many; else those that rules of
    /// others name, and some round the circle. Whether that were all.
    fn pairs(&mut self, order: &[(&Endpoint, u32)], named: &BTreeSet<Ipv4Addr>) -> bool {
        let most = self.trials.len() + if self.options.icc { MOST } else { MOST / 2 };
        let is_named = |it: &Endpoint| named.contains(&it.address);
        let mut pairs: Vec<(bool, usize, usize, usize)> = Vec::new();
        for (place, (from, _)) in order.iter().enumerate() {
            for step in 1..order.len() {
                let next = (place + step) % order.len();
                let both = is_named(from) && is_named(order[next].0);
                let priority = if both { 0 } else { step };
                pairs.push((!both, priority, place, next));
            }
        }
        pairs.sort_unstable();
        for (_, _, from, to) in pairs {
            if self.trials.len() >= most {
                return false;
            }
            let ((endpoint, port), (target, _)) = (order[from], order[to]);
            self.pair(&Sender { endpoint, port }, target);
        }
        true
    }

    fn pair(&mut self, from: &Sender<'_>, to: &Endpoint) {
        let mut ports: Vec<Port> = Vec::new();
        for run in &to.exposed {
            ports.extend(
                self.within(run.first, run.last).into_iter().map(|number| Port { protocol: run.protocol, number }),
            );
        }
        if ports.is_empty() {
            ports.push(tcp(22));
        }
        for on in ports {
            self.push(from, to.address, on, &format!("sends to {} on {on}", to.name), Some(to));
        }
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
        self.trials.push(Trial { packet: arp, others: vec![], what, containers: vec![name.to_string()] });
        if self.options.dns_port.is_some() {
            self.push(from, gateway, udp(53), "asks the host for names", None);
        }
        self.push(from, gateway, tcp(22), "sends to the host", None);
        let mut ports = vec![tcp(443), udp(53)];
        ports.extend(self.rows.iter().flat_map(|row| [tcp(*row), udp(*row)]));
        for on in ports {
            self.push(from, OUTSIDE[0], on, &format!("sends to the outside on {on}"), None);
            let (entry, mac) = (Entry::Interface(from.port), Some(endpoint.mac.0));
            let others = OUTSIDE[1..].iter().map(|to| packet(entry, mac, endpoint.address, *to, on)).collect();
            self.trials.last_mut().into_iter().for_each(|trial| trial.others.clone_from(&others));
        }
        for outside in self.outsides.iter().filter(|it| !it.at_bridge) {
            self.push(from, outside.client, tcp(443), "sends to the outside on 443/tcp", None);
            let straight = packet(Entry::Interface(outside.interface), None, outside.client, endpoint.address, tcp(80));
            let what = format!("what comes from outside for {name}'s own address");
            self.trials.push(Trial { packet: straight, others: vec![], what, containers: vec![name.to_string()] });
        }
        let on = first_port(endpoint).unwrap_or(tcp(80));
        let from_host = packet(Entry::Local, None, gateway, endpoint.address, on);
        let what = format!("what the host sends to {name}");
        self.trials.push(Trial { packet: from_host, others: vec![], what, containers: vec![name.to_string()] });
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
            let name = &endpoint.name;
            for number in numbers.into_iter().collect::<BTreeSet<_>>() {
                let on = Port { protocol: row.container.protocol, number };
                let asked = match row.host_ip {
                    IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
                    _ => None,
                };
                let outsides = self.outsides.iter().filter(|_| !asked.is_some_and(|ip| ip.is_loopback()));
                for outside in outsides {
                    let (entry, host) = (Entry::Interface(outside.interface), asked.unwrap_or(outside.host));
                    let packet = packet(entry, outside.mac, outside.client, host, on);
                    let what = format!("what is for {name} on the published port {on}");
                    self.trials.push(Trial { packet, others: vec![], what, containers: vec![name.to_string()] });
                }
                // Of the host itself, to each of its addresses there.
                let own = [Ipv4Addr::LOCALHOST].into_iter().chain(self.outsides.iter().map(|it| it.host));
                let own: BTreeSet<Ipv4Addr> = own.filter(|own| asked.is_none_or(|ip| ip == *own)).collect();
                for own in own {
                    let packet = packet(Entry::Local, None, own, own, on);
                    let what = format!("what this host itself sends to {own} for {name} on the published port {on}");
                    self.trials.push(Trial { packet, others: vec![], what, containers: vec![name.to_string()] });
                }
            }
        }
    }
}

/// What nobody published: somebody beyond an interface speaks to the host on a port where only others' rules lead to
/// containers.
pub(super) fn unpublished(
    options: &NetworkOptions,
    containers: &[&Container],
    network: &Network,
    asked: Asked<'_>,
) -> Vec<(Packet, Port)> {
    let rows = || containers.iter().filter_map(|it| it.attached.as_ref()).flat_map(|it| &it.published);
    let published = |on: Port| {
        let mut rows = rows().filter(|row| row.container.protocol == on.protocol);
        rows.any(|row| (row.host_port..=row.last_host_port()).contains(&on.number))
    };
    let ports = asked.rows.unwrap_or_default().iter().take(MOST / 2).flat_map(|row| [tcp(*row), udp(*row)]);
    let ports: Vec<Port> = ports.filter(|on| !published(*on)).collect();
    let outsides = everywhere(options, network, asked.guests);
    let to = |outside: &Outside, on: Port| {
        packet(Entry::Interface(outside.interface), outside.mac, outside.client, outside.host, on)
    };
    outsides.iter().flat_map(|outside| ports.iter().map(move |on| (to(outside, *on), *on))).collect()
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
