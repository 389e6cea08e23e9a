//! What is inside of containers' own network namespaces: whoever has `NET_ADMIN` there, or entered from the host, may
//! have changed it, and it decides about each packet as the host's does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ipnetwork::IpNetwork;

use super::probe;
use crate::firewall::audit::Kernel;
use crate::firewall::audit::network::{Interface, RouteKind, RoutingRule};
use crate::firewall::audit::snapshot;
use crate::firewall::audit::sockets::{self, Socket};
use crate::model::{ContainerId, Endpoint};
use crate::netns::NetNs;

/// One namespace.
#[derive(Debug)]
pub struct Inside {
    /// Its rules, routes and interfaces.
    pub kernel: Kernel,
    /// Who listens.
    pub sockets: Vec<Socket>,
}

/// Reads namespaces by their pins, several at once. One that cannot be read, for it has just ended, is not in the answer.
pub(super) fn read(pins: &[(ContainerId, NetNs)]) -> BTreeMap<ContainerId, Inside> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((id, pin)) = pins.get(next.fetch_add(1, Ordering::Relaxed)) {
            let read = pin.enter(|| {
                Some(Inside { kernel: probe::beside(snapshot::read_inside).ok()?, sockets: sockets::listening().ok()? })
            });
            if let Ok(Some(inside)) = read {
                found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id.clone(), inside);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Inside {
    /// Interfaces that packets could come and go by.
    pub(super) fn ways_out(&self) -> impl Iterator<Item = &Interface> {
        self.kernel.network().interfaces.iter().filter(|interface| interface.up && !interface.loopback)
    }

    /// What is sent from here passes no router.
    pub(super) fn ends_at_a_router(&self) -> bool {
        self.kernel.network().sysctls.ip_default_ttl.is_some_and(|hops| hops <= 1)
    }

    /// Whether it is as the daemon made it, as far as packets are concerned: no rules, one interface with one address,
    /// and all that is not on its link goes to the gateway. Then nothing inside stops any.
    pub(super) fn is_plain(&self, endpoint: &Endpoint, gateway: IpAddr) -> bool {
        let network = self.kernel.network();
        let mut ways = self.ways_out();
        let (Some(eth0), None) = (ways.next(), ways.next()) else { return false };
        let here = |address: &IpNetwork| address.ip() == IpAddr::V4(endpoint.address) && address.contains(gateway);
        let routes = network.routes.iter().filter(|route| route.destination.is_ipv4() && route.table != LOCAL);
        let plain = |route: &crate::firewall::audit::network::Route| {
            let by = match route.ways.as_slice() {
                [way] if way.interface == eth0.index => way.gateway,
                _ => return false,
            };
            let on_link = eth0.addresses.iter().any(|address| same_network(*address, route.destination));
            let right = match by {
                None => on_link,
                Some(by) => by == gateway && route.destination.prefix() == 0,
            };
            right && route.kind == RouteKind::Unicast && !route.opaque && route.tos == 0
        };
        let mut leads_out = false;
        for route in routes {
            if !plain(route) {
                return false;
            }
            leads_out |= route.destination.prefix() == 0;
        }
        let mut rules = network.rules.iter().filter(|rule| rule.v4);
        leads_out
            && self.kernel.ruleset().tables.is_empty()
            && network.unmodelled.is_empty()
            && !network.sysctls.icmp_echo_ignore_all
            && !self.ends_at_a_router()
            && !eth0.sysctls.is_mute()
            && eth0.addresses.iter().filter(|address| address.is_ipv4()).all(here)
            && eth0.addresses.iter().any(here)
            && eth0.mac == Some(endpoint.mac.0)
            && rules.clone().count() == RoutingRule::USUAL.len()
            && rules.all(RoutingRule::is_usual)
    }
}

const LOCAL: u32 = 255;

fn same_network(a: IpNetwork, b: IpNetwork) -> bool {
    a.network() == b.network() && a.prefix() == b.prefix()
}
