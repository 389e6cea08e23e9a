//! The intent: everything the network should be, as one pure value.
//!
//! The bridge's plan, the firewall's plan, the names that containers ask for and the files in them are functions of it; a
//! start or a stop is the difference of two intents: a [`Change`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use super::{ContainerId, ContainerName, MacAddr, PortRange, Published};

/// Everything the network should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// What holds for all containers.
    pub options: NetworkOptions,
    /// Running bridged containers. Closed, open and joined ones have no endpoint.
    pub endpoints: BTreeMap<ContainerId, Endpoint>,
}

/// The mark of ARP requests that come by a port of an operator's bridge that is no container's (`icc=false`): the firewall
/// sets it, and a routing rule of the bridge's has no route for it. ("pont")
pub const STRANGERS_REQUEST: u32 = 0x706f_6e74;

/// The daemon's network options, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    /// The bridge's interface name, at most 15 bytes.
    pub bridge: String,
    /// The daemon made the bridge: whoever is on it is there by the daemon. `false`: it is the operator's (`-b`), and
    /// what else hangs off it is, too.
    pub own_bridge: bool,
    /// The gateway's address and the subnet's prefix length.
    pub bip: Ipv4Network,
    /// Addresses for containers come from here; inside the subnet of `bip`.
    pub fixed_cidr: Option<Ipv4Network>,
    /// Bytes, bridge and both ends of each veth pair.
    pub mtu: u32,
    /// Containers may talk to each other.
    pub icc: bool,
    /// Turn on `net.ipv4.ip_forward`.
    pub ip_forward: bool,
    /// Masquerade what leaves the bridge for the outside.
    pub ip_masq: bool,
    /// Host address for `-p` that names none.
    pub default_ip: IpAddr,
    /// Containers reach what listens on the gateway's or on all of the host's addresses. `false`: names, echo and
    /// published ports only.
    pub host_access: bool,
    /// The gateway's port (UDP and TCP) where the daemon answers names: what containers send to port 53 is led there.
    /// `None`: containers ask the host's servers themselves.
    pub dns_port: Option<u16>,
}

impl NetworkOptions {
    /// The gateway: the bridge's own address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.bip.ip()
    }

    /// dockerd's defaults, with the first of its default subnets.
    pub fn usual() -> Self {
        Self {
            bridge: "pontoon0".to_owned(),
            own_bridge: true,
            bip: Ipv4Network::new(Ipv4Addr::new(172, 17, 0, 1), 16).expect("16 is a prefix length"),
            fixed_cidr: None,
            mtu: 1500,
            icc: true,
            ip_forward: true,
            ip_masq: true,
            default_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host_access: true,
            dns_port: None,
        }
    }
}

/// A bridged container's place in the network while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's name, for logs, names and the audit.
    pub name: ContainerName,
    /// Address of `eth0`.
    pub address: Ipv4Addr,
    /// MAC of `eth0`.
    pub mac: MacAddr,
    /// The host's side of the veth pair: a port of the bridge. At most 15 bytes.
    pub port: String,
    /// Host ports that lead here.
    pub published: Vec<Published>,
    /// What a link to this container opens: its exposed ports, as disjoint runs in order.
    #[serde(default)]
    pub exposed: Vec<PortRange>,
    /// Links from here to others.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What it is called, and what it calls others.
    #[serde(default)]
    pub names: Names,
}

/// A link, as it is held: from the endpoint that has it to another container, by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// The container that is linked to. It may run or not: without an endpoint the link opens nothing.
    pub target: ContainerId,
    /// What the source calls it. Unique in its source, letter case aside.
    pub alias: String,
}

/// Names as a container sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Its hostname.
    pub hostname: String,
    /// `--domainname`.
    pub domain: Option<String>,
    /// `--add-host`, with `host-gateway` resolved.
    pub extra: Vec<(String, IpAddr)>,
    /// `--dns`, of the container or else of the daemon; empty: the host's servers.
    pub upstreams: Vec<IpAddr>,
}

/// One change between two intents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The endpoint comes into force, or replaces what the container had.
    Admit(ContainerId, Box<Endpoint>),
    /// What the container had goes.
    Dismiss(ContainerId),
}
