//! The parties, and where each sits. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::neighbourhood::{self, Stranger};
use super::reading::{Reading, owner};
use super::{AuditError, ports};
use crate::containers::Container;
use crate::firewall::audit::Mac;
use crate::firewall::audit::network::Network;
use crate::firewall::audit::sockets::Socket;
use crate::model::audit::{Listener, Party, PartyKind};
use crate::model::{ContainerId, Endpoint, PortRange};

/// Who there is.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Containers by name, then host, LAN, the bridge's other ports, outside.
    pub parties: Vec<Party>,
    /// Where each of them sits, in the same order.
    pub seats: Vec<Seat>,
}

/// Where a party sits.
#[derive(Clone, Debug, PartialEq)]
pub enum Seat {
    /// At a port of the bridge.
    Bridged {
        /// Its place in the network.
        endpoint: Box<Endpoint>,
        /// The port's index; `None` where there is no such interface.
        port: Option<u32>,
    },
    /// In a namespace of its own with no way out.
    Closed,
    /// At this machine.
    Host,
    /// On a link of this machine, behind a port of the bridge, or behind the gateway.
    Beyond {
        /// The link, or the bridge's port, that its packets come in by.
        interface: u32,
        /// The link, or the bridge.
        above: u32,
        /// This machine's address there.
        own: Ipv4Addr,
        /// The party's.
        address: Ipv4Addr,
        /// The party's, where it is known.
        mac: Option<Mac>,
        /// Other interfaces by which what is for it may leave.
        others: Vec<u32>,
    },
    /// In another party's namespace, by its place.
    Shares(usize),
}

impl Cast {
    /// Everybody.
    pub fn of(reading: &Reading) -> Self {
        let mut cast = Self { parties: Vec::new(), seats: Vec::new() };
        let places: HashMap<&ContainerId, usize> =
            reading.containers.iter().enumerate().map(|(place, container)| (&container.id, place)).collect();
        let host = reading.containers.len();
        let free = |name: &str| reading.containers.iter().all(|container| container.name.as_str() != name);
        // Names of containers have no colon.
        let named = |name: &str| if free(name) { name.to_owned() } else { format!(":{name}") };
        for container in &reading.containers {
            let place = match owner(container) {
                None => Some(host),
                Some(_) if reading.left_behind.contains(&container.id) => None,
                // Its target has ended, or is not known any more, and the namespace lives on: it is its own.
                Some(owner) => {
                    places.get(&owner).copied().filter(|place| reading.containers[*place].id != container.id)
                }
            };
            let shares = place.map(|place| match reading.containers.get(place) {
                Some(owner) => owner.name.to_string(),
                None => named("host"),
            });
            cast.seat(container_party(reading, container, shares), container_seat(reading, container, place));
        }
        cast.seat(host_party(reading, named("host")), Seat::Host);
        cast.strangers(reading, named);
        cast
    }

    fn seat(&mut self, party: Party, seat: Seat) {
        self.parties.push(party);
        self.seats.push(seat);
    }

    fn strangers(&mut self, reading: &Reading, named: impl Fn(&str) -> String) {
        let network = reading.kernel.network();
        let bridge = reading.intent.as_ref().map(|intent| intent.options.bridge.as_str());
        let links = neighbourhood::links(network, bridge);
        let alone = links.len() == 1;
        for link in links {
            let name = if alone { named("lan") } else { format!("lan:{}", link.link) };
            self.seat(stranger(name, PartyKind::Lan, &link), beyond(&link));
        }
        for guest in &reading.guests {
            self.seat(stranger(format!("bridge:{}", guest.link), PartyKind::Bridge, guest), beyond(guest));
        }
        if let Some(outside) = neighbourhood::outside(network, &reading.guests) {
            self.seat(stranger(named("outside"), PartyKind::Outside, &outside), beyond(&outside));
        }
    }

    /// Whose namespace a party is in, by its place: mostly its own.
    pub fn space(&self, place: usize) -> usize {
        match self.seats[place] {
            Seat::Shares(of) => of,
            _ => place,
        }
    }

    /// A party's place by its name, a container's id or a unique beginning of it, or an address.
    pub fn find(&self, who: &str) -> Result<usize, AuditError> {
        let named = self.parties.iter().position(|party| party.name == who);
        let starts =
            |party: &&Party| !who.is_empty() && party.id.as_ref().is_some_and(|id| id.as_str().starts_with(who));
        let by_id = || {
            let mut found = self.parties.iter().enumerate().filter(|(_, party)| starts(party)).map(|(place, _)| place);
            found.next().filter(|_| found.next().is_none())
        };
        let by_address = || {
            let address: IpAddr = who.parse().ok()?;
            self.parties.iter().position(|party| party.shares.is_none() && party.addresses.contains(&address))
        };
        named.or_else(by_id).or_else(by_address).ok_or_else(|| AuditError::NoParty {
            who: who.to_owned(),
            known: self.parties.iter().map(|party| party.name.clone()).collect(),
        })
    }
}

impl Cast {
    /// The same, or somebody of whom only the address is known: on a link, or behind the gateway.
    pub(super) fn find_or_seat(&mut self, who: &str, reading: &Reading) -> Result<usize, AuditError> {
        let found = self.find(who);
        let (Err(_), Ok(address)) = (&found, who.parse::<Ipv4Addr>()) else { return found };
        if address.is_loopback() {
            return self.seats.iter().position(|seat| *seat == Seat::Host).map_or(found, Ok);
        }
        let network = reading.kernel.network();
        let Some(link) = neighbourhood::towards(network, address) else { return found };
        let mac = neighbourhood::neighbours(network, link).find(|(known, _)| *known == address).map(|(_, mac)| mac);
        let place = match reading.is_at_bridge(address) {
            true => self.guest(network, mac).ok_or_else(|| self.whereabouts(who))?,
            false => match self.beyond_by(link) {
                Some(place) => place,
                None => return found,
            },
        };
        let Seat::Beyond { interface, above, own, .. } = self.seats[place] else { return found };
        let party = Party { name: who.to_owned(), addresses: vec![address.into()], ..self.parties[place].clone() };
        let on_link =
            network.interface(link).is_some_and(|it| it.addresses.iter().any(|net| net.contains(address.into())));
        let others = if on_link { Vec::new() } else { neighbourhood::interfaces_out(network) };
        self.seat(party, Seat::Beyond { interface, above, own, address, mac, others });
        Ok(self.parties.len() - 1)
    }

    /// On a link, or behind the gateway there.
    fn beyond_by(&self, link: u32) -> Option<usize> {
        let mut seats = self.seats.iter().zip(&self.parties);
        seats.position(|(seat, party)| {
            party.kind != PartyKind::Bridge && matches!(seat, Seat::Beyond { above, .. } if *above == link)
        })
    }

    /// The places of those who stand for the bridge's other ports.
    fn guests(&self) -> impl Iterator<Item = usize> {
        let at_bridge = |place: &usize| self.parties[*place].kind == PartyKind::Bridge;
        (0..self.parties.len()).filter(at_bridge)
    }

    /// Who stands for all that are behind the port where this hardware address is, or behind the only one.
    fn guest(&self, network: &Network, mac: Option<Mac>) -> Option<usize> {
        let is_behind =
            |port: u32| network.forwarding.iter().any(|it| Some(it.mac) == mac && it.port == port && !it.local);
        let at = |place: &usize| matches!(self.seats[*place], Seat::Beyond { interface, .. } if is_behind(interface));
        self.guests().find(at).or_else(|| {
            let mut guests = self.guests();
            guests.next().filter(|_| guests.next().is_none())
        })
    }

    fn whereabouts(&self, who: &str) -> AuditError {
        let ports = self.guests().map(|place| self.parties[place].name.clone()).collect();
        AuditError::Whereabouts { who: who.to_owned(), ports }
    }
}

fn container_seat(reading: &Reading, container: &Container, shares: Option<usize>) -> Seat {
    match (shares, &container.attached) {
        (Some(place), _) => Seat::Shares(place),
        (None, Some(endpoint)) => Seat::Bridged {
            endpoint: Box::new(endpoint.clone()),
            port: reading.kernel.network().named(&endpoint.port).map(|port| port.index),
        },
        (None, None) => Seat::Closed,
    }
}

fn container_party(reading: &Reading, container: &Container, shares: Option<String>) -> Party {
    let spec = &container.spec.network;
    let exposed = PortRange::runs(&spec.expose);
    let joined = owner(container).filter(|_| !reading.left_behind.contains(&container.id));
    let inside = joined.and_then(|owner| reading.insides.get(&owner));
    let sockets = listeners(reading, inside.map_or(&[], |inside| inside.sockets.as_slice()));
    let published = container.attached.as_ref().map_or(&[][..], |endpoint| endpoint.published.as_slice());
    let address = container.attached.as_ref().map(|endpoint| IpAddr::V4(endpoint.address));
    Party {
        name: container.name.to_string(),
        kind: PartyKind::Container,
        id: Some(container.id.clone()),
        mode: Some(spec.mode.to_string()),
        addresses: address.into_iter().collect(),
        shares,
        labels: container.spec.labels.clone(),
        ports: ports::rows(&exposed, published, &sockets),
    }
}

fn listeners(reading: &Reading, sockets: &[Socket]) -> Vec<(Socket, Listener)> {
    let with_process = |socket: &Socket| {
        let listener = Listener { address: socket.address, process: reading.holders.get(&socket.inode).cloned() };
        (*socket, listener)
    };
    sockets.iter().map(with_process).collect()
}

fn host_party(reading: &Reading, name: String) -> Party {
    let interfaces = reading.kernel.network().interfaces.iter().filter(|interface| !interface.loopback);
    let addresses = interfaces.flat_map(|interface| &interface.addresses).map(ipnetwork::IpNetwork::ip);
    let sockets: Vec<Socket> = reading.sockets.iter().filter(|socket| !keeps_free(reading, socket)).copied().collect();
    Party {
        name,
        kind: PartyKind::Host,
        id: None,
        mode: None,
        addresses: addresses.collect(),
        shares: None,
        labels: BTreeMap::new(),
        ports: ports::rows(&[], &[], &listeners(reading, &sockets)),
    }
}

/// The daemon holds published ports so that nobody else takes them; it never listens there.
fn keeps_free(reading: &Reading, socket: &Socket) -> bool {
    let Some(intent) = &reading.intent else { return false };
    let mut published = intent.endpoints.values().flat_map(|endpoint| &endpoint.published);
    reading.own_sockets.contains(&socket.inode)
        && intent.options.dns_port != Some(socket.port)
        && published.any(|row| (row.host_port..=row.last_host_port()).contains(&socket.port))
}

fn stranger(name: String, kind: PartyKind, stranger: &Stranger) -> Party {
    Party {
        name,
        kind,
        id: None,
        mode: None,
        addresses: vec![stranger.address.into()],
        shares: None,
        labels: BTreeMap::new(),
        ports: Vec::new(),
    }
}

fn beyond(stranger: &Stranger) -> Seat {
    let Stranger { interface, above, own, address, mac, .. } = *stranger;
    Seat::Beyond { interface, above, own, address, mac, others: stranger.others.clone() }
}
