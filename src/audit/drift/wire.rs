//! The bridge, its ports and its forwarding table: as they should be, and as the kernel has them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::difference::{mac_words, of, ours};
use crate::bridge::Stranger;
use crate::firewall::audit::network::{ForwardingEntry, Interface, Neighbour, Network};
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
    (HAIRPIN, "hairpin", 0),
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
pub(super) const HAIRPIN: u16 = 4;
const ISOLATED: u16 = 33;

/// `IFLA_BR_…`, as `ip link set type bridge` calls them, and what a bridge of ours has.
const BRIDGE_SETTINGS: &[(u16, &str, u32)] = &[
    (5, "stp_state", 0),
    (7, "vlan_filtering", 0),
    (9, "group_fwd_mask", 0),
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
        if bridge.master.is_some() {
            tell("bridge-enslaved", format!("bridge {name} itself is a port of another interface"));
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
        if bridge.noarp {
            let what = format!("bridge {name} does not do ARP: its containers do not find it");
            found.push(ours(Subject::Bridge, "bridge-noarp", what));
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
        } else if bridge.up && found.port.is_some_and(|port| !port.forwarding) {
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
                differences.push(flag_differs(*kind, flag, (*is, wanted), endpoint));
            }
        }
        differences
    }

    /// Ports of nobody. On an operator's bridge they are the operator's.
    fn stranger_ports<'n>(&self, network: &'n Network, bridge: &Interface) -> Vec<&'n Interface> {
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
        strangers.collect()
    }

    fn strangers(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let tell = |it: &Interface| {
            let what = format!("{} is a port of bridge {} and no container's", it.name, bridge.name);
            ours(Subject::Port, "port-foreign", what)
        };
        self.stranger_ports(network, bridge).into_iter().map(tell).collect()
    }

    /// Containers by the index of their port on the bridge.
    fn by_index(&self, network: &Network, bridge: &Interface) -> BTreeMap<u32, &Endpoint> {
        let ports = self.endpoints.iter().filter_map(|(endpoint, _)| Some((network.named(&endpoint.port)?, *endpoint)));
        ports.filter(|(port, _)| port.master == Some(bridge.index)).map(|(port, it)| (port.index, it)).collect()
    }

    /// Entries of the forwarding table that nobody of ours wrote.
    fn stranger_entries<'n>(&self, network: &'n Network, bridge: &Interface) -> Vec<&'n ForwardingEntry> {
        let ports = self.by_index(network, bridge);
        let known: BTreeMap<[u8; 6], u32> = ports.iter().map(|(index, endpoint)| (endpoint.mac.0, *index)).collect();
        // The kernel writes down the bridge's and the ports' own addresses.
        let kernels = |mac: [u8; 6]| network.interfaces.iter().any(|it| it.mac == Some(mac));
        let of_bridge = |index: u32| {
            index == bridge.index || network.interface(index).is_some_and(|it| it.master == Some(bridge.index))
        };
        let strange = |it: &&ForwardingEntry| match known.get(&it.mac) {
            Some(index) => of_bridge(it.port) && it.port != *index,
            None => (ports.contains_key(&it.port) || it.port == bridge.index && self.own) && !kernels(it.mac),
        };
        network.forwarding.iter().filter(|it| !it.own).filter(strange).collect()
    }

    /// Who is behind which port is written by us alone.
    fn forwarding(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let mut differences = Vec::new();
        let ports = self.by_index(network, bridge);
        let place = |index: u32| network.interface(index).map_or_else(|| index.to_string(), |it| it.name.clone());
        let strange = self.stranger_entries(network, bridge);
        for entry in &strange {
            let tell = |kind: &str, what: String| ours(Subject::Forwarding, kind, what);
            let (mac, behind) = (mac_words(entry.mac), place(entry.port));
            differences.push(match ports.values().find(|endpoint| endpoint.mac.0 == entry.mac) {
                Some(endpoint) => {
                    let what = format!(
                        "bridge {} takes {mac} of {} for being behind {behind}, and it is behind {}",
                        bridge.name, endpoint.name, endpoint.port
                    );
                    of(endpoint.name.as_str(), tell("forwarding-moved", what))
                }
                None => {
                    let what = format!("the forwarding table has {mac} behind {behind}, where it does not belong");
                    tell("forwarding-added", what)
                }
            });
        }
        for (index, endpoint) in &ports {
            let mut entries = network.forwarding.iter().filter(|it| it.mac == endpoint.mac.0 && !it.own);
            let (mac, name) = (endpoint.mac, &endpoint.name);
            let what = match entries.find(|it| it.port == *index) {
                Some(entry) if entry.fixed && entry.sticky => continue,
                Some(_) => {
                    let what =
                        format!("the entry of {mac} ({name}) in the forwarding table can be moved by who says so");
                    ("forwarding-loose", what)
                }
                None if strange.iter().any(|it| it.mac == endpoint.mac.0) => continue,
                None => {
                    let port = &endpoint.port;
                    let what = format!("the forwarding table does not know that {mac} of {name} is behind {port}");
                    ("forwarding-missing", what)
                }
            };
            differences.push(of(name.as_str(), ours(Subject::Forwarding, what.0, what.1)));
        }
        // A bridge with VLANs has an entry in each.
        differences.dedup();
        differences
    }

    /// Who has which hardware address, as the host believes.
    fn neighbours(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        let tell = |(entry, owner): (&Neighbour, Option<&Endpoint>)| {
            let (address, believed) = (entry.address, mac_words(entry.mac));
            match owner {
                Some(endpoint) => {
                    let (name, mac) = (&endpoint.name, endpoint.mac);
                    let what = format!(
                        "the host sends what is for {name} ({address}) to {believed}, and its address is {mac}"
                    );
                    of(name.as_str(), ours(Subject::Forwarding, "neighbour-stolen", what))
                }
                None => {
                    let what = format!(
                        "the host has a permanent entry for {address} at {believed} on {}, which is no container's",
                        bridge.name
                    );
                    ours(Subject::Forwarding, "neighbour-added", what)
                }
            }
        };
        let mut differences: Vec<Difference> = self.false_neighbours(network, bridge).into_iter().map(tell).collect();
        differences.extend(self.unknown_neighbours(network, bridge));
        differences
    }

    fn false_neighbours<'n>(
        &self,
        network: &'n Network,
        bridge: &Interface,
    ) -> Vec<(&'n Neighbour, Option<&Endpoint>)> {
        let of_bridge = network.neighbours.iter().filter(|it| it.interface == bridge.index && it.address.is_ipv4());
        let judged = of_bridge.filter_map(|entry| {
            let owner = self.endpoints.iter().map(|(it, _)| *it).find(|it| IpAddr::V4(it.address) == entry.address);
            match owner {
                Some(endpoint) => (endpoint.mac.0 != entry.mac).then_some((entry, owner)),
                None => {
                    let strange = entry.permanent && self.own && !entry.address.is_multicast();
                    (strange && !self.comes_or_goes(network, entry.mac)).then_some((entry, None))
                }
            }
        });
        judged.collect()
    }

    /// Whether it is behind a port of a container that comes or goes at this moment.
    fn comes_or_goes(&self, network: &Network, mac: [u8; 6]) -> bool {
        let behind = network.forwarding.iter().filter(|it| it.mac == mac && !it.local);
        let ports = behind.filter_map(|it| network.interface(it.port));
        ports.into_iter().any(|port| self.in_flux.iter().any(|prefix| port.name.starts_with(prefix)))
    }

    /// Containers of which the host does not know by us who they are: it would ask by ARP, and believe whoever answers.
    fn unknown_neighbours(&self, network: &Network, bridge: &Interface) -> Vec<Difference> {
        // All go with the bridge's address, when it is set down, and when ARP is turned off: that is told.
        let has_address = bridge.addresses.contains(&IpNetwork::V4(self.options.bip));
        if !bridge.up || bridge.noarp || !has_address && self.own {
            return Vec::new();
        }
        let entry = |endpoint: &Endpoint| {
            let mut entries = network.neighbours.iter().filter(|it| it.interface == bridge.index);
            entries.find(|it| it.address == IpAddr::V4(endpoint.address))
        };
        let tell = |endpoint: &Endpoint| {
            let (name, address) = (&endpoint.name, endpoint.address);
            let (kind, what) = match entry(endpoint) {
                // Another's hardware address is told as such.
                Some(entry) if entry.permanent || entry.mac != endpoint.mac.0 => return None,
                Some(_) => (
                    "neighbour-loose",
                    format!(
                        "what the host believes of who has {address} ({name}) can be changed by who answers to ARP"
                    ),
                ),
                None => (
                    "neighbour-missing",
                    format!("the host has no entry of who has {address} ({name}), and believes who answers to ARP"),
                ),
            };
            Some(of(name.as_str(), ours(Subject::Forwarding, kind, what)))
        };
        self.endpoints.iter().filter_map(|(endpoint, _)| tell(endpoint)).collect()
    }

    /// What is to be taken away.
    pub(super) fn cures(&self, network: &Network) -> Vec<Stranger> {
        let Some(bridge) = network.named(&self.options.bridge) else { return Vec::new() };
        let ports = self.stranger_ports(network, bridge).into_iter().map(|it| Stranger::Port(it.index));
        let entries = self.stranger_entries(network, bridge).into_iter().map(|it| Stranger::Entry(it.port, it.mac));
        let neighbours = self.false_neighbours(network, bridge).into_iter().filter_map(|(it, _)| match it.address {
            IpAddr::V4(address) => Some(Stranger::Neighbour(address)),
            IpAddr::V6(_) => None,
        });
        entries.chain(neighbours).chain(ports).collect()
    }
}

fn flag_differs(kind: u16, flag: &str, (is, wanted): (u32, u32), endpoint: &Endpoint) -> Difference {
    let (port, name) = (&endpoint.port, &endpoint.name);
    let what = match (kind, is, wanted) {
        (ISOLATED, 0, _) => {
            let what =
                format!("port {port} of {name} is not isolated: its frames reach other containers past the firewall");
            return ours(Subject::Port, "port-not-isolated", what);
        }
        (_, 0, 1) => format!("{flag} of port {port} of {name} is off, and should be on"),
        (_, 1, 0) => format!("{flag} of port {port} of {name} is on, and should be off"),
        _ => format!("{flag} of port {port} of {name} is {is:#x}, and should be {wanted:#x}"),
    };
    ours(Subject::Port, &format!("port-{}", flag.replace('_', "-")), what)
}

#[cfg(test)]
mod tests;
