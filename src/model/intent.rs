//! The intent: everything the network should be, as one pure value.
//!
//! The bridge's plan, the firewall's plan and the files in the containers are functions of it; a start or a stop is the
//! difference of two intents.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use super::{ContainerId, ContainerName, MacAddr, Published};

/// Everything the network should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// What holds for all containers.
    pub options: NetworkOptions,
    /// Running bridged containers. Closed, open and joined ones have no endpoint.
    pub endpoints: BTreeMap<ContainerId, Endpoint>,
}

/// The daemon's network options, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    /// The bridge's interface name, at most 15 bytes.
    pub bridge: String,
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
}

impl NetworkOptions {
    /// The gateway: the bridge's own address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.bip.ip()
    }
}

/// A bridged container's place in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's name, for logs and the audit.
    pub name: ContainerName,
    /// Address of `eth0`.
    pub address: Ipv4Addr,
    /// MAC of `eth0`.
    pub mac: MacAddr,
    /// The host's side of the veth pair: a port of the bridge. At most 15 bytes.
    pub port: String,
    /// Host ports that lead here.
    pub published: Vec<Published>,
}
