//! Reading a network namespace, once and consistently.
//!
//! Everything is read over netlink by the calling thread, thus of the namespace that it is in. The ruleset's generation
//! is compared before and after; where it changed, or the kernel says that a listing was interrupted, all is read
//! again.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network};
use nix::sys::socket::SockProtocol;

use super::Kernel;
use super::attributes::push;
use super::bytecode::{Expression, Family, Ruleset, Table, Verdict};
use super::links::{self, Known};
use super::netlink::Netlink;
use super::network::{Interface, InterfaceSysctls, Network, SOCKET_LOOKUP, Sysctls};
use super::{decode, legacy, routes, sockets};
use crate::sys::{bpf, socket};

/// What went wrong while reading.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel's answer.
    #[error("cannot read {what} from the kernel: {source}")]
    Read {
        /// What was read.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody keeps changing it.
    #[error("the firewall's rules changed during each of {TRIES} readings; try again when it is quiet")]
    Restless,
}

const TRIES: usize = 20;

/// Reads the calling thread's network namespace, this machine's. Blocking, a few milliseconds for some thousand elements.
/// `lookups`: with programs that choose sockets for what arrives.
pub fn read(lookups: bool) -> Result<Kernel, SnapshotError> {
    let mut kernel = read_inside(lookups)?;
    kernel.network.unmodelled.extend(netfilter_programs());
    Ok(kernel)
}

/// The same of a container's, without programs of which the kernel does not tell the namespace.
pub fn read_inside(lookups: bool) -> Result<Kernel, SnapshotError> {
    let mut kernel = of_thread()?;
    let namespace = std::fs::File::open("/proc/thread-self/ns/net");
    if lookups && namespace.and_then(bpf::socket_lookups).is_ok_and(|count| count > 0) {
        kernel.network.unmodelled.push(SOCKET_LOOKUP.to_owned());
    }
    Ok(kernel)
}

fn of_thread() -> Result<Kernel, SnapshotError> {
    for _ in 0..TRIES {
        match once() {
            Ok(Some(kernel)) => return Ok(kernel),
            Ok(None) => {}
            Err(SnapshotError::Read { source, .. }) if again(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SnapshotError::Restless)
}

/// A table or set that was deleted between two questions answers ENOENT; an interrupted listing EINTR.
fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::NotFound)
}

/// `None` where the rules changed meanwhile.
fn once() -> Result<Option<Kernel>, SnapshotError> {
    let mut nft = Netlink::new(SockProtocol::NetlinkNetFilter).map_err(failed("rules"))?;
    let mut route = Netlink::new(SockProtocol::NetlinkRoute).map_err(failed("interfaces"))?;
    let before = generation(&mut nft).map_err(failed("the rules' generation"))?;
    let ruleset = ruleset(&mut nft, before).map_err(failed("rules"))?;
    let mut network = network(&mut route)?;
    network.unmodelled.extend(arp_tables(&ruleset));
    if has_tproxy(&ruleset) {
        network.listeners = sockets::and_transparent().ok();
    }
    network.unmodelled.extend(transformations(&network));
    let after = generation(&mut nft).map_err(failed("the rules' generation"))?;
    Ok((before == after).then(|| Kernel::new(ruleset, network)))
}

fn has_tproxy(ruleset: &Ruleset) -> bool {
    let rules = ruleset.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| &rule.expressions).any(|it| matches!(it, Expression::Tproxy { .. }))
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> SnapshotError {
    move |source| SnapshotError::Read { what, source }
}

/// `NFNL_SUBSYS_NFTABLES`, and its messages.
const NFT: u16 = 10 << 8;
const GET_TABLE: u16 = NFT | 1;
const GET_CHAIN: u16 = NFT | 4;
const GET_RULE: u16 = NFT | 7;
const GET_SET: u16 = NFT | 10;
const GET_ELEMENTS: u16 = NFT | 13;
const GET_GENERATION: u16 = NFT | 16;
const GET_OBJECT: u16 = NFT | 19;

fn generation(nft: &mut Netlink) -> io::Result<u32> {
    let answer = nft.get(GET_GENERATION, &[0; 4])?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let attributes = super::attributes::Attributes(answer.body.get(4..).unwrap_or_default());
    attributes.be32(1).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The kernel's number of a family, for requests.
fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Arp => 3,
        Family::Netdev => 5,
        Family::Bridge => 7,
        Family::Ip6 => 10,
    }
}

fn ruleset(nft: &mut Netlink, generation: u32) -> io::Result<Ruleset> {
    let mut ruleset = Ruleset { generation, tables: Vec::new() };
    for message in nft.dump(GET_TABLE, &[0; 4])? {
        ruleset.tables.extend(decode::message(&message.body).and_then(|(family, from)| decode::table(family, from)));
    }
    for message in nft.dump(GET_CHAIN, &[0; 4])? {
        let Some((family, from)) = decode::message(&message.body) else { continue };
        let Some((table, chain)) = decode::chain(family, from) else { continue };
        if let Some(table) = table_of(&mut ruleset, family, &table) {
            table.chains.push(chain);
        }
    }
    for message in nft.dump(GET_RULE, &[0; 4])? {
        let Some((family, from)) = decode::message(&message.body) else { continue };
        let Some((table, name, rule)) = decode::rule(from) else { continue };
        let table = table_of(&mut ruleset, family, &table);
        if let Some(chain) = table.and_then(|table| table.chains.iter_mut().find(|chain| chain.name == name)) {
            chain.rules.push(rule);
        }
    }
    for message in nft.dump(GET_SET, &[0; 4])? {
        let Some((family, from)) = decode::message(&message.body) else { continue };
        let Some((table, mut set)) = decode::set(from) else { continue };
        for message in nft.dump(GET_ELEMENTS, &elements_request(family, &table, &set.name))? {
            if let Some((_, from)) = decode::message(&message.body) {
                set.elements.extend(decode::elements(from));
            }
        }
        if let Some(table) = table_of(&mut ruleset, family, &table) {
            table.sets.push(set);
        }
    }
    for message in nft.dump(GET_OBJECT, &[0; 4])? {
        let Some((family, from)) = decode::message(&message.body) else { continue };
        let Some((table, object)) = decode::object(from) else { continue };
        if let Some(table) = table_of(&mut ruleset, family, &table) {
            table.objects.push(object);
        }
    }
    Ok(ruleset)
}

fn table_of<'a>(ruleset: &'a mut Ruleset, family: Family, name: &str) -> Option<&'a mut Table> {
    ruleset.tables.iter_mut().find(|table| table.family == family && table.name == name)
}

fn elements_request(family: Family, table: &str, set: &str) -> Vec<u8> {
    let mut request = vec![family_number(family), 0, 0, 0];
    push(&mut request, 1, &[table.as_bytes(), &[0]].concat());
    push(&mut request, 2, &[set.as_bytes(), &[0]].concat());
    request
}

const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;
const GET_RULES: u16 = 34;
const GET_QUEUES: u16 = 38;
/// Any family; of neighbours, addresses'.
const ANY: [u8; 16] = [0; 16];
const AF_BRIDGE: u8 = 7;

fn network(route: &mut Netlink) -> Result<Network, SnapshotError> {
    let mut network = Network { sysctls: sysctls(), unmodelled: legacy::tables(), ..Network::default() };
    let all = for_all();
    for message in route.dump(GET_LINK, &ANY).map_err(failed("interfaces"))? {
        let Some(mut interface) = links::interface(&message.body) else { continue };
        if interface.xdp {
            network.add_unmodelled_at(interface.index, format!("an XDP program at {}", interface.name));
        }
        // Older kernels have none.
        interface.tcx = bpf::tcx_programs(interface.index).is_ok_and(|count| count > 0);
        if interface.tcx {
            network.add_unmodelled_at(interface.index, format!("a tcx program at {}", interface.name));
        }
        interface.sysctls = combined(interface.sysctls, all);
        network.interfaces.push(interface);
    }
    network.interfaces.sort_by_key(|interface| interface.index);
    for message in route.dump(GET_ADDRESS, &ANY[..8]).map_err(failed("addresses"))? {
        let Some((index, address)) = links::interface_address(&message.body) else { continue };
        let owner = network.interfaces.iter_mut().find(|interface: &&mut Interface| interface.index == index);
        if let Some(interface) = owner {
            interface.addresses.push(address);
        }
    }
    let all = route.dump(GET_ROUTE, &ANY[..12]).map_err(failed("routes"))?;
    network.routes.extend(all.iter().filter_map(|message| routes::route(&message.body)));
    let rules = route.dump(GET_RULES, &ANY[..12]).map_err(failed("routing rules"))?;
    network.rules.extend(rules.iter().filter_map(|message| routes::rule(&message.body)));
    network.rules.sort_by_key(|rule| rule.priority);
    // A kernel without tc has none.
    for message in route.dump(GET_QUEUES, &[0; 20]).unwrap_or_default() {
        network.queues.extend(links::queue(&message.body));
    }
    for queue in network.queues.clone().iter().filter(|queue| !queue.passes_all()) {
        let Some(name) = network.interface(queue.interface).map(|it| it.name.clone()) else { continue };
        network.add_unmodelled_at(queue.interface, format!("tc's {} at {name}", queue.kind));
    }
    let of_bridges = [&[AF_BRIDGE][..], &ANY[..15]].concat();
    for request in [&ANY[..12], &of_bridges] {
        for message in route.dump(GET_NEIGHBOUR, request).map_err(failed("neighbours"))? {
            match links::neighbour(&message.body) {
                Some(Known::Neighbour(neighbour)) => network.neighbours.push(neighbour),
                Some(Known::Forwarding(entry)) => network.forwarding.push(entry),
                None => {}
            }
        }
    }
    Ok(network)
}

/// Rules of others that may drop what asks for hardware addresses, without which nothing arrives. The daemon's own tables let
/// through what those ask for who may speak.
fn arp_tables(ruleset: &Ruleset) -> Vec<String> {
    let is_own = |table: &&Table| table.name.starts_with("pontoon-");
    let acts = |table: &&Table| table.chains.iter().any(|chain| chain.base.is_some()) && !table.dormant;
    let drops = |table: &&Table| {
        let policy = table.chains.iter().any(|chain| chain.base.as_ref().is_some_and(|base| !base.accepts));
        let silent = |it: &Expression| matches!(it, Expression::Transparent(_) | Expression::Verdict(Verdict::Accept));
        let rules = table.chains.iter().flat_map(|chain| &chain.rules);
        policy || rules.flat_map(|rule| &rule.expressions).any(|it| decides(it) && !silent(it))
    };
    let tables = ruleset.tables.iter().filter(|table| table.family == Family::Arp && !is_own(table));
    tables.filter(acts).filter(drops).map(|table| format!("what table arp {} does to ARP", table.name)).collect()
}

fn decides(expression: &Expression) -> bool {
    matches!(
        expression,
        Expression::Verdict(_)
            | Expression::Lookup { verdicts: true, .. }
            | Expression::SetPayload { .. }
            | Expression::Extension(_)
            | Expression::Unknown(_)
    )
}

/// IPsec's policies that may meet what containers send or get: from or to a subnet of a bridge.
fn transformations(network: &Network) -> Vec<String> {
    const GET_POLICY: u16 = 0x15;
    // A kernel without IPsec has none.
    let Ok(mut xfrm) = socket::netlink_xfrm().and_then(Netlink::of) else { return Vec::new() };
    let policies = xfrm.dump(GET_POLICY, &[]).unwrap_or_default();
    let found: BTreeSet<String> = policies.iter().filter_map(|message| xfrm_policy(&message.body, network)).collect();
    found.into_iter().collect()
}

/// `struct xfrm_userpolicy_info`, whose selector comes first (linux/xfrm.h).
fn xfrm_policy(body: &[u8], network: &Network) -> Option<String> {
    const DIRECTIONS: [&str; 3] = ["in", "out", "fwd"];
    let family = u16::from_ne_bytes(body.get(40..42)?.try_into().ok()?);
    let net = |at: usize, prefix: u8| -> Option<Ipv4Network> {
        let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Ipv4Network::new(octets.into(), prefix.min(32)).ok()
    };
    let (to, from) = (net(0, *body.get(42)?)?, net(16, *body.get(43)?)?);
    // Policies of single sockets have other directions.
    let direction = DIRECTIONS.get(usize::from(*body.get(160)?))?;
    let action = if *body.get(161)? == 1 { "block" } else { "transform" };
    let of_bridges = network.interfaces.iter().filter(|interface| interface.bridge.is_some());
    let mut subnets = of_bridges.flat_map(|bridge| &bridge.addresses).filter_map(|address| match address {
        IpNetwork::V4(v4) => Some(*v4),
        IpNetwork::V6(_) => None,
    });
    let meets = subnets.any(|subnet| subnet.overlaps(to) || subnet.overlaps(from));
    (meets && i32::from(family) == libc::AF_INET)
        .then(|| format!("an IPsec policy ({direction}, {action}) from {from} to {to}"))
}

/// Programs that netfilter calls for IPv4: of this namespace, or of another.
fn netfilter_programs() -> Vec<String> {
    const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
    // Older kernels have none.
    let links: BTreeSet<_> = bpf::netfilter_links().unwrap_or_default().into_iter().collect();
    let of_ipv4 = links.into_iter().filter(|link| link.family == libc::AF_INET.cast_unsigned());
    let tell = |link: bpf::NetfilterLink| {
        let hook = HOOKS.get(link.hook as usize).copied().unwrap_or("some hook");
        format!(
            "a BPF program at {hook} of netfilter, priority {}, of this network namespace or another",
            link.priority
        )
    };
    of_ipv4.map(tell).collect()
}

/// A parameter of the calling thread's namespace; absent is zero.
fn parameter(path: &str) -> u32 {
    known(path).unwrap_or(0)
}

fn known(path: &str) -> Option<u32> {
    std::fs::read_to_string(Path::new("/proc/sys/net").join(path)).ok()?.trim().parse().ok()
}

/// No limit is 0.
fn conntrack_is_full() -> bool {
    let most = known("netfilter/nf_conntrack_max").filter(|most| *most != 0);
    most.is_some_and(|most| parameter("netfilter/nf_conntrack_count") >= most)
}

fn sysctls() -> Sysctls {
    Sysctls {
        forwarding_v6: parameter("ipv6/conf/all/forwarding") != 0,
        icmp_echo_ignore_all: parameter("ipv4/icmp_echo_ignore_all") != 0,
        ip_default_ttl: known("ipv4/ip_default_ttl").and_then(|value| value.try_into().ok()),
        nf_conntrack_tcp_loose: known("netfilter/nf_conntrack_tcp_loose").map(|value| value != 0),
        conntrack_is_full: conntrack_is_full(),
        bridge_call_iptables: parameter("bridge/bridge-nf-call-iptables") != 0,
        bridge_call_ip6tables: parameter("bridge/bridge-nf-call-ip6tables") != 0,
        bridge_call_arptables: parameter("bridge/bridge-nf-call-arptables") != 0,
    }
}

/// Parameters of IPv4 that are everybody's, besides each interface's own.
fn for_all() -> InterfaceSysctls {
    let all = |key: &str| parameter(&format!("ipv4/conf/all/{key}"));
    InterfaceSysctls {
        route_localnet: all("route_localnet") != 0,
        rp_filter: u8::try_from(all("rp_filter")).unwrap_or(u8::MAX),
        accept_local: all("accept_local") != 0,
        proxy_arp: all("proxy_arp") != 0,
        src_valid_mark: all("src_valid_mark") != 0,
        arp_ignore: u8::try_from(all("arp_ignore")).unwrap_or(u8::MAX),
        drop_unicast_in_l2_multicast: all("drop_unicast_in_l2_multicast") != 0,
        ..InterfaceSysctls::default()
    }
}

/// How `all` and the interface's own value combine is each parameter's own (linux/inetdevice.h, `IN_DEV_…`).
fn combined(own: InterfaceSysctls, all: InterfaceSysctls) -> InterfaceSysctls {
    InterfaceSysctls {
        route_localnet: own.route_localnet || all.route_localnet,
        rp_filter: own.rp_filter.max(all.rp_filter).min(2),
        accept_local: own.accept_local || all.accept_local,
        proxy_arp: own.proxy_arp || all.proxy_arp,
        src_valid_mark: own.src_valid_mark || all.src_valid_mark,
        arp_ignore: own.arp_ignore.max(all.arp_ignore),
        drop_unicast_in_l2_multicast: own.drop_unicast_in_l2_multicast || all.drop_unicast_in_l2_multicast,
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netlink_tells_the_parameters_that_proc_shows() {
        let mut route = Netlink::new(SockProtocol::NetlinkRoute).expect("a socket");
        let links = route.dump(GET_LINK, &ANY).expect("links");
        let interfaces: Vec<Interface> = links.iter().filter_map(|link| links::interface(&link.body)).collect();
        assert!(!interfaces.is_empty());
        for interface in interfaces {
            let own = |key: &str| parameter(&format!("ipv4/conf/{}/{key}", interface.name));
            let expected = InterfaceSysctls {
                forwarding_v4: own("forwarding") != 0,
                route_localnet: own("route_localnet") != 0,
                rp_filter: u8::try_from(own("rp_filter")).expect("small"),
                accept_local: own("accept_local") != 0,
                proxy_arp: own("proxy_arp") != 0,
                proxy_arp_pvlan: own("proxy_arp_pvlan") != 0,
                src_valid_mark: own("src_valid_mark") != 0,
                arp_ignore: u8::try_from(own("arp_ignore")).expect("small"),
                drop_unicast_in_l2_multicast: own("drop_unicast_in_l2_multicast") != 0,
                disable_ipv6: parameter(&format!("ipv6/conf/{}/disable_ipv6", interface.name)) != 0,
            };
            assert_eq!(interface.sysctls, expected, "{}", interface.name);
        }
    }
}
