//! Options → what is judged and rewritten on its way through the host: the table of the family inet.

use nftables::expr::MetaKey;
use nftables::schema::{SetFlag, SetType};
use nftables::types::{NfChainType, NfHook};

use super::names::{Cause, Family, SetName};
use super::plan::{Plan, condemn};
use super::strangers;
use super::syntax::*;
use super::transaction::Object;
use crate::model::{NetworkOptions, PortRange, Protocol};

/// Priorities by nft's names (nft(8), "Standard priority names").
pub(super) const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// RFC 1035.
const DNS: u16 = 53;

pub(super) fn objects(options: &NetworkOptions) -> Vec<Object> {
    let mut plan = Plan::new(options, Family::Inet);
    sets(&mut plan);
    causes(&mut plan);
    strangers::first(&mut plan);
    loopback(&mut plan);
    publish(&mut plan);
    destinations(&mut plan);
    source_addresses(&mut plan);
    forward(&mut plan);
    input(&mut plan);
    output(&mut plan);
    plan.objects()
}

fn sets(plan: &mut Plan<'_>) {
    use SetType::{InetProto, InetService, Ipv4Addr};
    plan.set(SetName::ENDPOINTS, &[Ipv4Addr]);
    if !plan.options.icc {
        let link = [Ipv4Addr, Ipv4Addr, InetProto, InetService];
        plan.set(SetName::LINKED, &link);
        plan.runs(SetName::LINKED_RUNS, &link);
        plan.set(SetName::LINKED_PAIRS, &[Ipv4Addr, Ipv4Addr]);
    }
    let on_address = [Ipv4Addr, InetProto, InetService];
    plan.map(SetName::PUBLISHED_ADDRESS, &on_address, Ipv4Addr, None);
    plan.map(SetName::PUBLISHED_PORT, &on_address, InetService, None);
    plan.map(SetName::PUBLISHED_RUNS, &on_address, Ipv4Addr, Some(SetFlag::Interval));
    let anywhere = [InetProto, InetService];
    plan.map(SetName::PUBLISHED_ANY_ADDRESS, &anywhere, Ipv4Addr, None);
    plan.map(SetName::PUBLISHED_ANY_PORT, &anywhere, InetService, None);
    plan.map(SetName::PUBLISHED_ANY_RUNS, &anywhere, Ipv4Addr, Some(SetFlag::Interval));
    let led = [Ipv4Addr, InetProto, InetService];
    plan.set(SetName::ADMITTED, &led);
    plan.runs(SetName::ADMITTED_RUNS, &led);
    let led_from = [Ipv4Addr, Ipv4Addr, InetProto, InetService];
    plan.set(SetName::ADMITTED_ADDRESS, &led_from);
    plan.runs(SetName::ADMITTED_ADDRESS_RUNS, &led_from);
}

fn causes(plan: &mut Plan<'_>) {
    plan.cause(Cause::Loopback);
    plan.cause(Cause::Lan);
    if !plan.options.icc {
        plan.cause(Cause::Icc);
    }
    if !plan.options.host_access {
        plan.cause(Cause::Host);
    }
}

/// The bridge lets the host's own 127/8 packets out and their replies in (`route_localnet`); nothing else may use that
/// way. Before conntrack, where replies to masqueraded packets still carry the bridge's address.
fn loopback(plan: &mut Plan<'_>) {
    for side in [destination(), source()] {
        let rule = vec![plan.in_by_bridge(), equal(side, loopback_network()), condemn(Cause::Loopback)];
        plan.rule("raw_prerouting", rule, "the host's loopback is out of reach");
    }
    // A source route (RFC 791) names its last destination in an option, which the kernel follows after prerouting. What
    // comes back to 127/8 legitimately belongs to a flow that began there.
    plan.base("raw_input", NfChainType::Filter, NfHook::Input, RAW);
    let by_bridge = || vec![plan.in_by_bridge(), equal(destination(), loopback_network())];
    let back = [by_bridge(), vec![equal(original("ip saddr"), loopback_network()), accept()]].concat();
    let forth = [by_bridge(), vec![condemn(Cause::Loopback)]].concat();
    plan.rule("raw_input", back, "replies from ports published on loopback");
    plan.rule("raw_input", forth, "by no way that the sender chooses");
}

/// Where published ports lead: first those of one address, then those of all.
fn publish(plan: &mut Plan<'_>) {
    let port = || vec![meta(MetaKey::L4proto), destination_port()];
    let on_address = concat([vec![destination()], port()].concat());
    let anywhere = concat(port());
    plan.chain("publish");
    let mut lead = |to: Stmt| plan.rule("publish", vec![has_ports(), to], "published ports");
    lead(redirect_to(&on_address, SetName::PUBLISHED_ADDRESS, Some(SetName::PUBLISHED_PORT)));
    lead(redirect_to(&on_address, SetName::PUBLISHED_RUNS, None));
    lead(redirect_to(&anywhere, SetName::PUBLISHED_ANY_ADDRESS, Some(SetName::PUBLISHED_ANY_PORT)));
    lead(redirect_to(&anywhere, SetName::PUBLISHED_ANY_RUNS, None));
}

/// What containers ask the gateway is led to where the daemon answers.
fn names(plan: &mut Plan<'_>, port: u16) {
    let gateway = plan.options.gateway();
    let question = vec![
        plan.in_by_bridge(),
        equal(destination(), address(gateway)),
        dns_protocol(),
        equal(destination_port(), super::syntax::port(DNS)),
        redirect_to_port(gateway, port),
    ];
    plan.rule("nat_prerouting", question, "names");
}

/// Published ports: from outside and from containers (prerouting), and from the host itself (output).
fn destinations(plan: &mut Plan<'_>) {
    plan.base("nat_prerouting", NfChainType::NAT, NfHook::Prerouting, DSTNAT);
    if let Some(port) = plan.options.dns_port {
        names(plan, port);
    }
    // Routing would refuse 127/8 from outside, but would no longer see it once the destination is rewritten.
    let from_outside = vec![equal(destination(), loopback_network()), leave()];
    plan.rule("nat_prerouting", from_outside, "ports published on 127/8 are the host's alone");
    plan.base("nat_output", NfChainType::NAT, NfHook::Output, DSTNAT);
    for chain in ["nat_prerouting", "nat_output"] {
        plan.rule(chain, vec![to_this_host(), jump("publish")], "to an address of the host");
    }
}

/// Whose address a container sees, and the outside.
fn source_addresses(plan: &mut Plan<'_>) {
    let subnet = plan.options.bip;
    plan.base("nat_postrouting", NfChainType::NAT, NfHook::Postrouting, SRCNAT);
    // Replies must come back through here: a neighbour would send them straight to the asking container, and 127.0.0.1 is
    // each container's own.
    let near = any_of([loopback_network(), prefix(subnet)]);
    let hairpin = vec![equal(source(), near), plan.out_by_bridge(), redirected()];
    plan.rule(
        "nat_postrouting",
        [hairpin, masquerade_ports()].concat(),
        "published ports, by the host and by containers",
    );
    if plan.options.ip_masq {
        let inside = || any_of([text("lo"), text(plan.options.bridge.clone())]);
        let outward = || vec![equal(source(), prefix(subnet)), unequal(meta(MetaKey::Oifname), inside())];
        plan.rule("nat_postrouting", [outward(), masquerade_ports()].concat(), "containers to the outside");
        let rest = [outward(), vec![masquerade()]].concat();
        plan.rule("nat_postrouting", rest, "containers to the outside, what has no ports");
    }
}

/// A source port below these is a service's. A container that kept it in the host's name would be sent what comes to that
/// service from whomever it spoke to before: of the gateway's names, of a published port (CVE-2021-3773).
const CLIENTS: PortRange = PortRange { protocol: Protocol::Tcp, first: 32_768, last: 60_999 };

fn masquerade_ports() -> Vec<Stmt> {
    vec![has_ports(), masquerade_to(ports(CLIENTS))]
}

/// What may pass to containers. What they send elsewhere is none of ours to judge: the host's own tables do. Out of an
/// operator's bridge goes what is for others, too, whose addresses are none of ours.
fn forward(plan: &mut Plan<'_>) {
    plan.base("forward", NfChainType::Filter, NfHook::Forward, FILTER);
    plan.chain("to_containers");
    let others = (!plan.options.own_bridge).then(|| equal(destination(), held_in(SetName::ENDPOINTS)));
    let to_containers = [plan.out_by_bridge()].into_iter().chain(others).chain([goto("to_containers")]);
    plan.rule("forward", to_containers.collect(), "to containers");
    plan.rule("to_containers", vec![in_state(&["established"]), accept()], "replies");
    if plan.options.icc {
        // To those that are there: to look for others, the kernel would fill its table of neighbours, the host's only one.
        let between = vec![plan.in_by_bridge(), equal(destination(), held_in(SetName::ENDPOINTS)), accept()];
        plan.rule("to_containers", between, "between containers");
    }
    published(plan);
    if !plan.options.icc {
        links(plan);
    }
    plan.rule("to_containers", vec![in_state(&["related"]), accept()], "ICMP errors about flows, and their helpers'");
    plan.rule("to_containers", vec![condemn(Cause::Lan)], "no way in but these");
}

/// Who was led to a container. Somebody else's rules, too, lead where they like; what nobody published stays closed to those.
fn published(plan: &mut Plan<'_>) {
    let to = || vec![destination(), meta(MetaKey::L4proto), destination_port()];
    let from = || [vec![original("ip daddr")], to()].concat();
    for (set, key) in [
        (SetName::ADMITTED, to()),
        (SetName::ADMITTED_RUNS, to()),
        (SetName::ADMITTED_ADDRESS, from()),
        (SetName::ADMITTED_ADDRESS_RUNS, from()),
    ] {
        let led = vec![redirected(), in_state(&["new"]), equal(concat(key), held_in(set)), accept()];
        plan.rule("to_containers", led, "published ports");
    }
}

/// A link opens flows; that their replies pass is theirs, not the link's. ICMP errors about somebody's flow can be made
/// up by a neighbour, so that they pass from a link's target only.
fn links(plan: &mut Plan<'_>) {
    let opens = concat(vec![source(), destination(), meta(MetaKey::L4proto), destination_port()]);
    for set in [SetName::LINKED, SetName::LINKED_RUNS] {
        let link = vec![plan.in_by_bridge(), in_state(&["new"]), equal(opens.clone(), held_in(set)), accept()];
        plan.rule("to_containers", link, "links");
    }
    let by_target = equal(concat(vec![destination(), source()]), held_in(SetName::LINKED_PAIRS));
    let report = vec![plan.in_by_bridge(), in_state(&["related"]), by_target, accept()];
    plan.rule("to_containers", report, "ICMP errors by a link's target");
    plan.rule("to_containers", vec![plan.in_by_bridge(), condemn(Cause::Icc)], "between containers, nothing else");
}

/// What the host itself may be asked.
fn input(plan: &mut Plan<'_>) {
    if plan.options.host_access && plan.options.dns_port.is_none() {
        return;
    }
    plan.base("input", NfChainType::Filter, NfHook::Input, FILTER);
    if !plan.options.host_access {
        host(plan);
    }
    if let Some(dns) = plan.options.dns_port {
        // The gateway's address is the host's, so that a neighbour can ask there what is for containers alone.
        let near = any_of([text("lo"), text(plan.options.bridge.clone())]);
        let from_outside = vec![unequal(meta(MetaKey::Iifname), near)];
        let question = [from_outside, names_are_asked(plan.options, dns), vec![condemn(Cause::Lan)]].concat();
        plan.rule("input", question, "names are for containers");
    }
}

/// On the gateway's port where the daemon answers.
fn names_are_asked(options: &NetworkOptions, dns: u16) -> Vec<Stmt> {
    vec![equal(destination(), address(options.gateway())), dns_protocol(), equal(destination_port(), port(dns))]
}

/// What containers may say to the host.
fn host(plan: &mut Plan<'_>) {
    plan.chain("from_containers");
    plan.rule("input", vec![plan.in_by_bridge(), goto("from_containers")], "from containers");
    plan.rule("from_containers", vec![in_state(&["established", "related"]), accept()], "what the host began");
    let echo = vec![equal(field("icmp", "type"), text("echo-request")), accept()];
    plan.rule("from_containers", echo, "ping");
    if let Some(dns) = plan.options.dns_port {
        // By the port that everybody knows, from which it is led there.
        let question = [names_are_asked(plan.options, dns), vec![redirected(), accept()]].concat();
        plan.rule("from_containers", question, "names");
    }
    plan.rule("from_containers", vec![condemn(Cause::Host)], "the host's services are out of reach");
}

/// What the kernel itself must not tell containers.
fn output(plan: &mut Plan<'_>) {
    if plan.options.icc && plan.options.dns_port.is_none() {
        return;
    }
    plan.base("output", NfChainType::Filter, NfHook::Output, FILTER);
    if !plan.options.icc {
        // What containers send to each other is routed back out of the bridge it came from; the kernel would advise them
        // of the direct way, which is closed.
        let redirects = vec![plan.out_by_bridge(), equal(field("icmp", "type"), text("redirect")), drop()];
        plan.rule("output", redirects, "there is no direct way between containers");
    }
    if let Some(dns) = plan.options.dns_port {
        // A client that hears "nobody there" gives up; one that hears nothing asks again, and by then a daemon that was
        // replaced answers.
        let asked = || equal(original("proto-dst"), port(DNS));
        let unreachable = equal(field("icmp", "type"), text("destination-unreachable"));
        let error = vec![plan.out_by_bridge(), unreachable, asked(), drop()];
        plan.rule("output", error, "a daemon that is away does not refuse questions");
        // Sequence 0 is how a connection is refused (RFC 9293, 3.10.7.1); one that is reset later has another.
        let refusal = vec![equal(field("tcp", "sport"), port(dns)), resets(), equal(field("tcp", "sequence"), port(0))];
        let reset = [vec![plan.out_by_bridge()], refusal, vec![asked(), drop()]].concat();
        plan.rule("output", reset, "nor connections");
    }
}

fn loopback_network() -> Expr {
    prefix("127.0.0.0/8".parse().expect("a network"))
}

/// Ports can be rewritten only where nft knows that there are any.
fn has_ports() -> Stmt {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    equal(meta(MetaKey::L4proto), any_of(protocols.map(protocol)))
}

/// RFC 1035 and RFC 7766.
fn dns_protocol() -> Stmt {
    equal(meta(MetaKey::L4proto), any_of([Protocol::Tcp, Protocol::Udp].map(protocol)))
}
