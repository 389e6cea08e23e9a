//! The bridge, its ports and its forwarding table: as they should be, and as the kernel has them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::difference::{mac_words, of, ours, theirs};
use crate::firewall::audit::network::{Interface, Network};
use crate::model::audit::{Difference, Subject};
use crate::model::{Endpoint, NetworkOptions};

/// What the bridge should be.
pub(super) struct Wire<'a> {
    pub(super) options: &'a NetworkOptions,
    /// Made by us: an operator's bridge has the address, the settings and the ports that the operator gave it.
    pub(super) own: bool,
    /// The hardware address that it had when the daemon began.
    pub(super) mac: Option<[u8; 6]>,
    /// What each port of a container's is told, by attribute (`IFLA_BRPORT_…`).
    pub(super) flags: Vec<(u16, u32)>,
    /// Containers that run and that nobody changes at this moment, with the index of their port where that is known.
    pub(super) endpoints: Vec<(&'a Endpoint, Option<u32>)>,
    /// Ports of containers that come or go at this moment begin so.
    pub(super) in_flux: BTreeSet<String>,
}

/// `IFLA_BRPORT_…`, as `bridge link set` calls them, and what a fresh port has.
const PORT_FLAGS: &[(u16, &str, u32)] = &[
    (4, "hairpin", 0),
    (5, "guard", 0),
    (6, "root_block", 0),
    (7, "fastleave", 0),
    (8, "learning", 1),
    (9, "flood", 1),
    (10, "proxy_arp", 0),
    (12, "proxy_arp_wifi", 0),
    (25, "mcast_router", 1),
    (27, "mcast_flood", 1),
    (28, "mcast_to_unicast", 0),
    (29, "vlan_tunnel", 0),
    (30, "bcast_flood", 1),
    (31, "group_fwd_mask", 0),
    (32, "neigh_suppress", 0),
    (33, "isolated", 0),
    (39, "locked", 0),
    (40, "mab", 0),
    (43, "neigh_vlan_suppress", 0),
];
const ISOLATED: u16 = 33;

/// `IFLA_BR_…`, as `ip link set type bridge` calls them, and what a bridge of ours has.
const BRIDGE_SETTINGS: &[(u16, &str, u32)] = &[
    (5, "stp_state", 0),
    (7, "vlan_filtering", 0),
    (9, "group_fwd_mask", 0),
    (23, "mcast_snooping", 1),
    (36, "nf_call_iptables", 0),
    (37, "nf_call_ip6tables", 0),
    (38, "nf_call_arptables", 0),
];

impl Wire<'_> {
    /// Everything that differs.
    pub(super) fn differences(&self, network: &Network) -> Vec<Difference> {
        let name = &self.options.bridge;
        let Some(bridge) = network.named(name).filter(|it| it.bridge.is_some()) else {
            let what = format!("bridge {name} is missing: no container reaches anything");
            return vec![ours(Subject::Bridge, "bridge-missing", what)];
        };
        let mut differences = if self.own { self.bridge(bridge) } else { Vec::new() };
        if !bridge.up {
            differences.push(ours(Subject::Bridge, "bridge-down", format!("bridge {name} is down")));
        }
        for (endpoint, index) in &self.endpoints {
            let found = self.port(network, bridge, endpoint, *index);
            differences.extend(found.into_iter().map(|it| of(endpoint.name.as_str(), it)));
        }
        differences.extend(self.strangers(network, bridge));
        differences.extend(self.forwarding(network, bridge));
        differences.extend(self.neighbours(network, bridge));
        differences
    }

    fn bridge(&self, bridge: &Interface) -> Vec<Difference> {
        let (name, bip) = (&self.options.bridge, IpNetwork::V4(self.options.bip));
        let mut found = Vec::new();
        let mut tell = |kind: &str, what: String| found.push(ours(Subject::Bridge, kind, what));
        if bridge.mtu != self.options.mtu {
            tell(
                "bridge-mtu",
                format!("the MTU of bridge {name} is {}, and should be {}", bridge.mtu, self.options.mtu),
            );
        }
        if let (Some(mac), Some(wanted)) = (bridge.mac, self.mac)
            && mac != wanted
        {
            let (is, should) = (mac_words(mac), mac_words(wanted));
            tell("bridge-mac", format!("the hardware address of bridge {name} is {is}, and should be {should}"));
        }
        if bridge.noarp {
            tell("bridge-noarp", format!("bridge {name} does not do ARP: its containers do not find it"));
        }
        if let Some(master) = bridge.master {
            tell("bridge-enslaved", format!("bridge {name} itself is a port of interface {master}"));
        }
        if !bridge.addresses.contains(&bip) {
            tell(
                "bridge-address-missing",
                format!("bridge {name} lacks its address {bip}: containers have no gateway"),
            );
        }
        for other in bridge.addresses.iter().filter(|it| it.is_ipv4() && **it != bip) {
            tell("bridge-address-added", format!("bridge {name} has the address {other} besides its own {bip}"));
        }
        for (kind, setting, wanted) in BRIDGE_SETTINGS {
            if let Some(is) = bridge.settings.get(kind).filter(|is| *is != wanted) {
                let kind = format!("bridge-{}", setting.replace('_', "-"));
                tell(&kind, format!("{setting} of bridge {name} is {is}, and should be {wanted}"));
            }
        }
        found
    }

    /// What a port's flag should be: what we tell each port, else what a fresh one has.
    fn wanted(&self, kind: u16, fresh: u32) -> u32 {
        self.flags.iter().find(|(flag, _)| *flag == kind).map_or(fresh, |(_, value)| *value)
    }

    fn port(&self, network: &Network, bridge: &Interface, endpoint: &Endpoint, index: Option<u32>) -> Vec<Difference> {
        let (port, name) = (&endpoint.port, &endpoint.name);
        let tell = |kind: &str, what: String| ours(Subject::Port, kind, what);
        let Some(found) = network.named(port) else {
            let renamed = index.and_then(|index| network.interface(index));
            return vec![match renamed {
                Some(other) => {
                    let what =
                        format!("port {port} of {name} is called {} by now: no rule is meant for that", other.name);
                    tell("port-renamed", what)
                }
                None => tell("port-missing", format!("port {port} of {name} is gone from this host")),
            }];
        };
        let mut differences = Vec::new();
        if index.is_some_and(|index| index != found.index) {
            let what = format!("port {port} of {name} is another interface than the one that was made for it");
            differences.push(tell("port-replaced", what));
        }
        if found.master != Some(bridge.index) {
            let master = found.master.and_then(|master| network.interface(master));
            let place = master.map_or("on no bridge".to_owned(), |master| format!("on {}", master.name));
            let what = format!("port {port} of {name} is {place}, and should be on {}", bridge.name);
            differences.push(tell("port-detached", what));
            return differences;
        }
        if !found.up {
            differences.push(tell("port-down", format!("port {port} of {name} is down")));
        } else if found.port.is_some_and(|port| !port.forwarding) {
            differences.push(tell(
                "port-blocked",
                format!("port {port} of {name} passes nothing: its state is not forwarding"),
            ));
        }
        if found.mtu != self.options.mtu && self.own {
            let what = format!("the MTU of port {port} of {name} is {}, and should be {}", found.mtu, self.options.mtu);
            differences.push(tell("port-mtu", what));
        }
        for (kind, flag, fresh) in PORT_FLAGS {
            let wanted = self.wanted(*kind, *fresh);
            if let Some(is) = found.settings.get(kind).filter(|is| **is != wanted) {
                differences.push(flag_differs(*kind, flag, *is, endpoint));
            }
        }
        differences
    }

    /// Ports of nobody. On an operator's bridge they are the operator's.
    fn strangers(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let known: BTreeSet<&str> = self.endpoints.iter().map(|(endpoint, _)| endpoint.port.as_str()).collect();
        let indices: BTreeSet<u32> = self.endpoints.iter().filter_map(|(_, index)| *index).collect();
        let ports = network.interfaces.iter().filter(|it| it.master == Some(bridge.index));
        let strangers = ports.filter(|it| {
            let named_like_ours = crate::bridge::is_port_name(&it.name);
            let comes_or_goes = self.in_flux.iter().any(|prefix| it.name.starts_with(prefix));
            // Closed, and about to be deleted.
            let dead = named_like_ours && !(it.up && it.port.is_some_and(|port| port.forwarding));
            let tolerated = !self.own && !named_like_ours;
            !known.contains(it.name.as_str()) && !indices.contains(&it.index) && !comes_or_goes && !dead && !tolerated
        });
        let tell = |it: &Interface| {
            let what = format!("{} is a port of bridge {} and no container's", it.name, bridge.name);
            ours(Subject::Port, "port-foreign", what)
        };
        strangers.map(tell).collect()
    }

    /// Who is behind which port is written by us alone.
    fn forwarding(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let mut differences = Vec::new();
        let ports: BTreeMap<u32, &Endpoint> = self
            .endpoints
            .iter()
            .filter_map(|(endpoint, _)| Some((network.named(&endpoint.port)?, endpoint)))
            .filter(|(port, _)| port.master == Some(bridge.index))
            .map(|(port, endpoint)| (port.index, *endpoint))
            .collect();
        let place = |index: u32| network.interface(index).map_or_else(|| index.to_string(), |it| it.name.clone());
        // The kernel writes down the bridge's and the ports' own addresses.
        let kernels = |mac: [u8; 6]| network.interfaces.iter().any(|it| it.mac == Some(mac));
        let of_bridge = |index: u32| {
            index == bridge.index || network.interface(index).is_some_and(|it| it.master == Some(bridge.index))
        };
        for (index, endpoint) in &ports {
            let mac = endpoint.mac.0;
            let entries = || network.forwarding.iter().filter(|it| it.mac == mac && !it.own && of_bridge(it.port));
            let tell = |kind: &str, what: String| of(endpoint.name.as_str(), ours(Subject::Forwarding, kind, what));
            for elsewhere in entries().filter(|it| it.port != *index) {
                let what = format!(
                    "bridge {} takes {mac} of {} for being behind {}, and it is behind {}",
                    bridge.name,
                    endpoint.name,
                    place(elsewhere.port),
                    endpoint.port,
                    mac = endpoint.mac
                );
                differences.push(tell("forwarding-moved", what));
            }
            match entries().find(|it| it.port == *index) {
                Some(entry) if entry.fixed && entry.sticky => {}
                Some(_) => {
                    let what = format!(
                        "the entry of {} ({}) in the forwarding table can be moved by whoever says so",
                        endpoint.mac, endpoint.name
                    );
                    differences.push(tell("forwarding-loose", what));
                }
                None if entries().next().is_some() => {}
                None => {
                    let what = format!(
                        "the forwarding table does not know that {} of {} is behind {}",
                        endpoint.mac, endpoint.name, endpoint.port
                    );
                    differences.push(tell("forwarding-missing", what));
                }
            }
        }
        let known: BTreeSet<[u8; 6]> = self.endpoints.iter().map(|(endpoint, _)| endpoint.mac.0).collect();
        let foreign = network.forwarding.iter().filter(|it| {
            let judged = ports.contains_key(&it.port) || it.port == bridge.index && self.own;
            judged && !it.own && !known.contains(&it.mac) && !kernels(it.mac)
        });
        for entry in foreign {
            let what = format!(
                "the forwarding table has {} behind {}, where it does not belong",
                mac_words(entry.mac),
                place(entry.port)
            );
            differences.push(ours(Subject::Forwarding, "forwarding-added", what));
        }
        // A port's frames come in two VLANs' entries where there are VLANs.
        differences.dedup();
        differences
    }

    /// Who has which hardware address, as the host believes.
    fn neighbours(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let mut differences = Vec::new();
        for entry in network.neighbours.iter().filter(|it| it.interface == bridge.index) {
            let IpAddr::V4(address) = entry.address else { continue };
            let endpoint = self.endpoints.iter().map(|(it, _)| it).find(|it| it.address == address);
            let believed = mac_words(entry.mac);
            match endpoint {
                Some(endpoint) if endpoint.mac.0 != entry.mac => {
                    let what = format!(
                        "the host sends what is for {} ({address}) to {believed}, and its address is {}",
                        endpoint.name, endpoint.mac
                    );
                    differences.push(of(endpoint.name.as_str(), ours(Subject::Forwarding, "neighbour-stolen", what)));
                }
                None if entry.permanent && self.own => {
                    let what = format!(
                        "the host has a permanent entry for {address} at {believed} on {}, which is no container's",
                        bridge.name
                    );
                    differences.push(ours(Subject::Forwarding, "neighbour-added", what));
                }
                _ => {}
            }
        }
        differences
    }
}

fn flag_differs(kind: u16, flag: &str, is: u32, endpoint: &Endpoint) -> Difference {
    let (port, name) = (&endpoint.port, &endpoint.name);
    let what = match (kind, is) {
        (ISOLATED, 0) => {
            let what =
                format!("port {port} of {name} is not isolated: its frames reach other containers past the firewall");
            return ours(Subject::Port, "port-not-isolated", what);
        }
        (_, 0) => format!("{flag} of port {port} of {name} is off, and should be on"),
        (_, 1) => format!("{flag} of port {port} of {name} is on, and should be off"),
        _ => format!("{flag} of port {port} of {name} is {is:#x}"),
    };
    ours(Subject::Port, &format!("port-{}", flag.replace('_', "-")), what)
}

/// Programs and queues at the bridge and its ports, which see frames before the firewall does.
pub(super) fn programs(options: &NetworkOptions, network: &Network) -> Vec<Difference> {
    let Some(bridge) = network.named(&options.bridge) else { return Vec::new() };
    let ours = |it: &&Interface| it.index == bridge.index || it.master == Some(bridge.index);
    let mut differences = Vec::new();
    for interface in network.interfaces.iter().filter(ours) {
        let name = &interface.name;
        if interface.xdp {
            let what = format!("an XDP program at {name} sees frames before the firewall does");
            let remedy = format!("look at it with `bpftool net`, take it off with `ip link set {name} xdp off`");
            differences.push(theirs(Subject::Foreign, "xdp-program", what, remedy));
        }
        let queues = network.queues.iter().filter(|queue| queue.interface == interface.index);
        for queue in queues.filter(|queue| queue.kind != "noqueue") {
            let what = match queue.kind.as_str() {
                "clsact" | "ingress" => {
                    format!("{name} has a tc {}: its filters see frames before the firewall does", queue.kind)
                }
                kind => format!("{name} has a tc queue {kind}, which may delay or drop what passes"),
            };
            let place = if ["clsact", "ingress"].contains(&queue.kind.as_str()) { queue.kind.as_str() } else { "root" };
            let remedy = format!(
                "look at it with `tc filter show dev {name} ingress`, take it off with `tc qdisc del dev {name} {place}`"
            );
            differences.push(theirs(Subject::Foreign, "tc-queue", what, remedy));
        }
    }
    differences
}
