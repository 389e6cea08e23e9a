//! What besides rules decides a packet's way: interfaces, bridges and their ports, routes, neighbours, parameters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::packet::Mac;
use super::sockets::Socket;

/// A network namespace's network, but for its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Interfaces by rising index.
    pub interfaces: Vec<Interface>,
    /// Routes of all tables, as the kernel lists them.
    pub routes: Vec<Route>,
    /// Routing rules by rising priority, of both families.
    pub rules: Vec<RoutingRule>,
    /// Who has which hardware address.
    pub neighbours: Vec<Neighbour>,
    /// Behind which port of a bridge a hardware address is.
    pub forwarding: Vec<ForwardingEntry>,
    /// Queueing disciplines (tc(8)), whose filters may see packets before anything else.
    pub queues: Vec<Queue>,
    /// Who listens, and whether it takes what is for others (`IP_TRANSPARENT`), where a rule asks for that and it is known.
    pub listeners: Option<Vec<(Socket, Option<bool>)>>,
    /// Parameters of the namespace as a whole.
    pub sysctls: Sysctls,
    /// What is here and is not modelled: tables of the legacy iptables, programs, transformations.
    pub unmodelled: Vec<String>,
    /// Of these, those that see what passes one interface only.
    pub unmodelled_at: Vec<(u32, String)>,
}

/// Of [`Network::unmodelled`], what sees only what arrives at this machine.
pub const SOCKET_LOOKUP: &str = "a BPF program that chooses sockets for what arrives (sk_lookup)";

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Whose.
    pub interface: u32,
    /// `noqueue`, `clsact`, `netem`, …
    pub kind: String,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// `ARPHRD_…`.
    pub hardware: u16,
    /// Its kind (`bridge`, `veth`, …), empty for physical ones.
    pub kind: String,
    /// Its group.
    pub group: u32,
    /// The bridge (or bond, or VRF) that it belongs to.
    pub master: Option<u32>,
    /// Its flags as a port of a bridge.
    pub port: Option<Port>,
    /// What it is as a bridge.
    pub bridge: Option<Bridge>,
    /// Everything that it is told as a port or as a bridge, by the number of its attribute (linux/if_link.h,
    /// `IFLA_BRPORT_…` or `IFLA_BR_…`), where that is a number of at most four bytes.
    pub settings: BTreeMap<u16, u32>,
    /// `IFF_NOARP`.
    pub noarp: bool,
    /// Bytes.
    pub mtu: u32,
    /// The index of the other end of a pair, which may be in another namespace.
    pub peer: Option<u32>,
    /// An XDP program sees packets before anything else does.
    pub xdp: bool,
    /// Programs (tcx) see packets before anything else does, or last.
    pub tcx: bool,
    /// Its addresses with their prefixes.
    pub addresses: Vec<IpNetwork>,
    /// Its parameters.
    pub sysctls: InterfaceSysctls,
}

/// A port's flags (linux/if_link.h, `IFLA_BRPORT_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "ip-link(8) documents each")]
pub struct Port {
    pub forwarding: bool,
    pub isolated: bool,
    pub hairpin: bool,
    pub learning: bool,
    pub flood: bool,
    pub broadcast_flood: bool,
    pub multicast_flood: bool,
    pub locked: bool,
    /// `IFLA_BRPORT_PROXYARP`: the bridge answers for hosts behind other ports.
    pub proxy_arp: bool,
}

/// A bridge's own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "ip-link(8) documents each")]
pub struct Bridge {
    pub vlan_filtering: bool,
    /// Bridged packets go through ip's, ip6's and arp's hooks, by this bridge's own switch.
    pub call_iptables: bool,
    pub call_ip6tables: bool,
    pub call_arptables: bool,
}

/// Parameters of an interface that decide a packet's way, already combined with `all` as the kernel combines each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's ip-sysctl.rst documents each")]
pub struct InterfaceSysctls {
    pub forwarding_v4: bool,
    pub route_localnet: bool,
    pub rp_filter: u8,
    pub accept_local: bool,
    pub proxy_arp: bool,
    pub proxy_arp_pvlan: bool,
    pub src_valid_mark: bool,
    pub arp_ignore: u8,
    pub drop_unicast_in_l2_multicast: bool,
    pub disable_ipv6: bool,
}

impl InterfaceSysctls {
    /// Nobody is told the hardware address of what this machine has there.
    pub fn is_mute(&self) -> bool {
        self.arp_ignore == 8
    }
}

/// Parameters of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's ip-sysctl.rst documents each")]
pub struct Sysctls {
    pub forwarding_v6: bool,
    pub icmp_echo_ignore_all: bool,
    /// `None`: as usual, 64.
    pub ip_default_ttl: Option<u8>,
    /// `None`: there is no connection tracking.
    pub nf_conntrack_tcp_loose: Option<bool>,
    /// There are as many flows as `nf_conntrack_max`.
    pub conntrack_is_full: bool,
    /// Whether br_netfilter is loaded and its switch for all bridges is on.
    pub bridge_call_iptables: bool,
    pub bridge_call_ip6tables: bool,
    pub bridge_call_arptables: bool,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "ip-route(8) documents each")]
pub enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    /// By number.
    Other(u8),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its table.
    pub table: u32,
    /// Where to.
    pub destination: IpNetwork,
    /// From where (IPv6).
    pub source: Option<IpNetwork>,
    /// Of routes to one destination, the lowest goes first.
    pub metric: u32,
    /// Only packets of this service class, where it is not zero.
    pub tos: u8,
    /// What it does.
    pub kind: RouteKind,
    /// Its ways, by interface; several where it has several next hops.
    pub ways: Vec<Way>,
    /// The source address that it prefers.
    pub preferred_source: Option<IpAddr>,
    /// It has next hops that are not read (nexthop objects, encapsulation).
    pub opaque: bool,
}

/// One way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface.
    pub interface: u32,
    /// The next hop, where the destination is not on the link.
    pub gateway: Option<IpAddr>,
}

/// What a routing rule does with a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingAction {
    /// Looks into a table.
    Table(u32),
    /// Ends it.
    Refuse(RouteKind),
    /// What is not modelled, by name.
    Unknown(String),
}

/// A routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    /// Lower goes first.
    pub priority: u32,
    /// Whether it is of IPv4.
    pub v4: bool,
    /// It matches what the rest does not.
    pub inverted: bool,
    /// Only from these addresses.
    pub source: Option<IpNetwork>,
    /// Only to these.
    pub destination: Option<IpNetwork>,
    /// Only what came in here; `lo` is what this machine sends.
    pub incoming: Option<String>,
    /// Only what a socket bound to this interface sends.
    pub outgoing: Option<String>,
    /// Only with this mark, under a mask.
    pub mark: Option<(u32, u32)>,
    /// Only of this protocol.
    pub protocol: Option<u8>,
    /// Only from these ports.
    pub source_ports: Option<(u16, u16)>,
    /// Only to these ports.
    pub destination_ports: Option<(u16, u16)>,
    /// Routes whose prefix is not longer do not count.
    pub suppressed_prefix: Option<u32>,
    /// What it does.
    pub action: RoutingAction,
}

impl RoutingRule {
    /// Those that each network namespace begins with, by priority and table: local, main, default.
    pub const USUAL: [(u32, u32); 3] = [(0, 255), (32_766, 254), (32_767, 253)];

    /// Whether it is one of these, and asks for nothing: a rule at their place that is for some packets only is another.
    pub fn is_usual(&self) -> bool {
        Self::USUAL.iter().any(|(priority, table)| *self == Self::usual(*priority, *table))
    }

    /// One that looks into a table for every packet of IPv4.
    pub fn usual(priority: u32, table: u32) -> Self {
        Self {
            priority,
            v4: true,
            inverted: false,
            source: None,
            destination: None,
            incoming: None,
            outgoing: None,
            mark: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            suppressed_prefix: None,
            action: RoutingAction::Table(table),
        }
    }
}

/// Who has which hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
    /// On which link.
    pub interface: u32,
    /// Somebody wrote it (`nud permanent`), and what is heard does not change it.
    pub permanent: bool,
}

/// Behind which port a hardware address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardingEntry {
    /// The hardware address.
    pub mac: Mac,
    /// The port.
    pub port: u32,
    /// It is the bridge's own (or a port's own): frames to it come up.
    pub local: bool,
    /// Somebody wrote it (`static`): it does not age.
    pub fixed: bool,
    /// What is heard elsewhere does not move it.
    pub sticky: bool,
    /// It is of the port's own list of what it hears (`self`), and none of a bridge's.
    pub own: bool,
}

impl Queue {
    /// Whether it passes on whatever it gets, sooner or later, unless there is too much of it.
    pub fn passes_all(&self) -> bool {
        const THEY_DO: [&str; 14] = [
            "noqueue",
            "pfifo_fast",
            "pfifo",
            "bfifo",
            "fq",
            "fq_codel",
            "fq_pie",
            "codel",
            "pie",
            "sfq",
            "cake",
            "mq",
            "prio",
            "mqprio",
        ];
        THEY_DO.contains(&self.kind.as_str())
    }
}

impl Network {
    /// What is not modelled and may see what passes these interfaces; `arrives`: at this machine, perhaps.
    pub fn unmodelled_for(&self, interfaces: &[u32], arrives: bool) -> Vec<String> {
        if self.unmodelled.is_empty() {
            return Vec::new();
        }
        let elsewhere = |what: &&String| {
            let mut of = self.unmodelled_at.iter().filter(|(_, it)| it == *what).peekable();
            of.peek().is_some() && !of.any(|(at, _)| interfaces.contains(at))
        };
        self.unmodelled.iter().filter(|what| !elsewhere(what) && (arrives || *what != SOCKET_LOOKUP)).cloned().collect()
    }

    /// Notes what is not modelled at an interface.
    pub fn add_unmodelled_at(&mut self, interface: u32, what: String) {
        self.unmodelled.push(what.clone());
        self.unmodelled_at.push((interface, what));
    }

    /// An interface by index.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        let at = self.interfaces.binary_search_by_key(&index, |interface| interface.index).ok()?;
        self.interfaces.get(at)
    }

    /// An interface by name.
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The bridge that an interface is a port of.
    pub fn bridge_of(&self, interface: &Interface) -> Option<&Interface> {
        self.interface(interface.master?).filter(|master| master.bridge.is_some())
    }
}
