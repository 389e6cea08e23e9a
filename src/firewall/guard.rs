//! Options → the guard at containers' ports: the table of the family bridge. Who enters by a container's port speaks IPv4
//! and ARP, and for that container only. It stands before the bridge learns addresses, and before anything is routed.
//!
//! It is written with what every kernel's bridge family has: neither `meta ibrname` nor bridge conntrack nor `reject`.

use nftables::expr::MetaKey;
use nftables::schema::SetType;
use nftables::types::{NfChainType, NfHook};

use super::names::{ADMITTED, Cause, Family, SetName};
use super::plan::{Plan, condemn};
use super::syntax::*;
use super::transaction::Object;
use crate::model::{NetworkOptions, STRANGERS_REQUEST};

/// Before others' chains (nft(8), "Standard priority names" of the bridge family: dstnat and filter).
const FIRST: i32 = -300;
const FILTER: i32 = -200;

/// RFC 2131.
const DHCP_SERVER: u16 = 67;

pub(super) fn objects(options: &NetworkOptions) -> Vec<Object> {
    use SetType::{EtherAddr, Ifname, Ipv4Addr};
    let mut plan = Plan::new(options, Family::Bridge);
    plan.set(SetName::PORTS, &[Ifname]);
    plan.set(SetName::MACS, &[Ifname, EtherAddr]);
    plan.set(SetName::SOURCES, &[Ifname, EtherAddr, Ipv4Addr]);
    for cause in [Cause::SpoofedMac, Cause::SpoofedIp, Cause::SpoofedArp, Cause::Dhcp, Cause::Ipv6] {
        plan.cause(cause);
    }
    plan.cause(Cause::Ethertype);
    plan.cause(Cause::Control);
    if options.own_bridge {
        plan.cause(Cause::Stranger);
    }
    if !options.icc {
        plan.cause(Cause::Icc);
    }
    ipv4(&mut plan);
    arp(&mut plan);
    entrance(&mut plan);
    apart(&mut plan);
    plan.objects()
}

fn ipv4(plan: &mut Plan<'_>) {
    plan.chain("from_port_ipv4");
    let dhcp = |side| vec![equal(field("udp", side), port(DHCP_SERVER)), condemn(Cause::Dhcp)];
    plan.rule("from_port_ipv4", dhcp("sport"), "nobody plays the DHCP server");
    let own = vec![own_frame(source()), accept()];
    plan.rule("from_port_ipv4", own, "in its own name");
    plan.rule("from_port_ipv4", dhcp("dport"), "addresses are not asked for");
    plan.rule("from_port_ipv4", vec![foreign_mac(), condemn(Cause::SpoofedMac)], "with another's MAC");
    plan.rule("from_port_ipv4", vec![condemn(Cause::SpoofedIp)], "with another's address");
}

/// Frame and message say the same sender, and it is the port's.
fn arp(plan: &mut Plan<'_>) {
    plan.chain("from_port_arp");
    let sender = || field("arp", "saddr ip");
    let message = concat(vec![in_port(), field("arp", "saddr ether"), sender()]);
    let own = vec![own_frame(sender()), equal(message, held_in(SetName::SOURCES)), accept()];
    plan.rule("from_port_arp", own, "in its own name");
    plan.rule("from_port_arp", vec![foreign_mac(), condemn(Cause::SpoofedMac)], "with another's MAC");
    plan.rule("from_port_arp", vec![condemn(Cause::SpoofedArp)], "in another's name");
}

/// Frames are told apart by the type that they carry on the wire, in which a tag is a type of its own. (`meta protocol`
/// looks through tags.)
fn entrance(plan: &mut Plan<'_>) {
    plan.chain("from_port");
    plan.rule("from_port", vec![to_the_bridge(), condemn(Cause::Control)], "to the bridge itself");
    let types = [("ip", "from_port_ipv4"), ("arp", "from_port_arp"), ("ip6", Cause::Ipv6.as_str())];
    let dispatch = choose(field("ether", "type"), types.map(|(kind, chain)| (text(kind), goto(chain))));
    plan.rule("from_port", vec![dispatch], "by what the frame says it carries");
    plan.rule("from_port", vec![condemn(Cause::Ethertype)], "anything else, VLAN tags too");
    plan.base("prerouting", NfChainType::Filter, NfHook::Prerouting, FIRST);
    let by_container = || equal(in_port(), held_in(SetName::PORTS));
    let admitted = plan.options.own_bridge.then(|| mark(ADMITTED));
    let enters = [by_container()].into_iter().chain(admitted).chain([goto("from_port")]);
    plan.rule("prerouting", enters.collect(), "from containers");
    // These go to the bridge itself without passing prerouting, and would teach it addresses. (LLDP does not even pass
    // here, but goes to the port's own IP layer: our ports are told to treat it like any frame.)
    plan.base("input", NfChainType::Filter, NfHook::Input, FIRST);
    let reserved = vec![by_container(), to_the_bridge(), condemn(Cause::Control)];
    plan.rule("input", reserved, "from containers to the bridge");
    if !plan.options.own_bridge && !plan.options.icc {
        let by_others = unequal(in_port(), held_in(SetName::PORTS));
        let asks = equal(field("arp", "operation"), text("request"));
        let marked = vec![by_others, asks, set_whole_mark(STRANGERS_REQUEST)];
        plan.rule("prerouting", marked, "the host answers strangers for itself only");
    }
    if plan.options.own_bridge {
        // Whoever can mark packets shall not mark them so.
        plan.rule("prerouting", vec![unmark(ADMITTED)], "from anywhere else");
        plan.rule("input", vec![to_the_bridge(), unmark(ADMITTED)], "from anywhere else");
    }
}

/// IEEE 802.1D, 7.12.6: reserved addresses.
fn to_the_bridge() -> Stmt {
    equal(masked(field("ether", "daddr"), "ff:ff:ff:ff:ff:f0"), text("01:80:c2:00:00:00"))
}

/// What is bridged. With `icc=false` every port is isolated, so that nothing comes from one to another; should that ever
/// fail, this holds. On the daemon's own bridge there is nobody but containers, whatever else hangs off it.
fn apart(plan: &mut Plan<'_>) {
    let (own, icc) = (plan.options.own_bridge, plan.options.icc);
    if !own && icc {
        return;
    }
    let by = || equal(in_port(), held_in(SetName::PORTS));
    let out = || equal(meta(MetaKey::Oifname), held_in(SetName::PORTS));
    plan.base("forward", NfChainType::Filter, NfHook::Forward, FILTER);
    if !icc {
        plan.rule("forward", vec![by(), out(), condemn(Cause::Icc)], "between containers, nothing is bridged");
    }
    if own {
        let not = |key| unequal(meta(key), held_in(SetName::PORTS));
        let from = vec![out(), not(MetaKey::Iifname), condemn(Cause::Stranger)];
        plan.rule("forward", from, "to containers, from who is none");
        let to = vec![by(), not(MetaKey::Oifname), condemn(Cause::Stranger)];
        plan.rule("forward", to, "from containers, to who is none");
    }
}

fn in_port() -> Expr {
    meta(MetaKey::Iifname)
}

/// The frame's sender, with this address, is the port's.
fn own_frame(address: Expr) -> Stmt {
    equal(concat(vec![in_port(), field("ether", "saddr"), address]), held_in(SetName::SOURCES))
}

fn foreign_mac() -> Stmt {
    unequal(concat(vec![in_port(), field("ether", "saddr")]), held_in(SetName::MACS))
}
