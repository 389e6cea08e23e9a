//! Programs and queues that see frames before the firewall does, or after it: at containers' ports and the bridge, and at the
//! interfaces by which this host reaches others. Pure.
//!
//! At the daemon's own bridge nobody has any business. Elsewhere, what was there when the daemon began is the operator's:
//! it is said that it is there; what came since is a difference.

use std::collections::BTreeSet;

use super::difference::theirs;
use crate::firewall::audit::network::{Interface, Network};
use crate::model::NetworkOptions;
use crate::model::audit::{Difference, Subject};

/// Kinds of interfaces by which guests are connected.
const GUESTS: [&str; 3] = ["veth", "tun", "macvtap"];

/// All of them, and what was there before. `own`: ports of containers'.
pub(super) fn differences(
    options: &NetworkOptions,
    network: &Network,
    own: &BTreeSet<&str>,
    began: &[String],
) -> (Vec<Difference>, Vec<String>) {
    let bridge = network.named(&options.bridge).map(|bridge| bridge.index);
    let is_ours = |it: &Interface| {
        let at_bridge = bridge.is_some() && (Some(it.index) == bridge || it.master == bridge);
        at_bridge && (options.own_bridge || own.contains(it.name.as_str()))
    };
    let mut found = (Vec::new(), Vec::new());
    for interface in network.interfaces.iter().filter(|it| is_ours(it)) {
        found.0.extend(at(interface, network).into_iter().map(|it| it.difference));
    }
    let others = ways_out(options, network).into_iter().filter(|it| !is_ours(it));
    for seen in others.flat_map(|interface| at(interface, network)).filter(|seen| seen.matters) {
        match began.contains(&seen.name) {
            true => found.1.push(seen.name),
            false => found.0.push(seen.difference),
        }
    }
    found
}

/// Interfaces by which this host reaches others: those with addresses, what they consist of, and what they are upon. Others'
/// bridges whose ports are all of guests' are their guests' business, and so are guests' ports.
fn ways_out<'n>(options: &NetworkOptions, network: &'n Network) -> Vec<&'n Interface> {
    let ports = |of: u32| network.interfaces.iter().filter(move |port| port.master == Some(of));
    let of_guest = |it: &Interface| GUESTS.contains(&it.kind.as_str());
    let of_guests = |it: &Interface| it.bridge.is_some() && it.name != options.bridge && ports(it.index).all(of_guest);
    let has_address = |it: &&Interface| it.addresses.iter().any(|address| address.is_ipv4());
    let leads = |it: &&Interface| !it.loopback && !of_guests(it);
    let mut next: Vec<&Interface> = network.interfaces.iter().filter(has_address).filter(leads).collect();
    let mut found: Vec<&Interface> = Vec::new();
    while let Some(interface) = next.pop() {
        if found.iter().any(|it| it.index == interface.index) {
            continue;
        }
        next.extend(ports(interface.index).filter(|port| interface.bridge.is_none() || !of_guest(port)));
        // The other end of a pair is not beneath it.
        let beneath = interface.peer.filter(|_| interface.kind != "veth").and_then(|it| network.interface(it));
        next.extend(beneath);
        found.push(interface);
    }
    found.sort_by_key(|it| it.index);
    found
}

/// A program or a queue.
struct Seen {
    /// As [`Network::unmodelled`] calls it.
    name: String,
    difference: Difference,
    /// It is none of the queues that pass on whatever they get, of which a network card has one.
    matters: bool,
}

fn at(interface: &Interface, network: &Network) -> Vec<Seen> {
    let name = &interface.name;
    let mut found = Vec::new();
    let mut tell = |kind: &str, called: String, matters: bool, what: String, remedy: String| {
        found.push(Seen { name: called, difference: theirs(Subject::Foreign, kind, what, remedy), matters });
    };
    if interface.xdp {
        let what = format!("an XDP program at {name} sees frames before the firewall does");
        let remedy = format!("look at it with `bpftool net`, take it off with `ip link set {name} xdp off`");
        tell("xdp-program", format!("an XDP program at {name}"), true, what, remedy);
    }
    if interface.tcx {
        let what = format!("a tcx program at {name} sees frames before the firewall does, or last");
        let remedy = "look at it with `bpftool net` and `bpftool link`, and end the program that holds it".to_owned();
        tell("tcx-program", format!("a tcx program at {name}"), true, what, remedy);
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
        tell("tc-queue", format!("tc's {} at {name}", queue.kind), !queue.passes_all(), what, remedy);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::audit::network::{Bridge, Queue};

    fn interface(index: u32, name: &str, kind: &str, address: Option<&str>) -> Interface {
        let addresses = address.into_iter().map(|it| it.parse().expect("network")).collect();
        let bridge = (kind == "bridge").then(Bridge::default);
        Interface {
            index,
            name: name.to_owned(),
            kind: kind.to_owned(),
            addresses,
            bridge,
            xdp: true,
            ..Interface::default()
        }
    }

    fn port_of(master: u32, interface: Interface) -> Interface {
        Interface { master: Some(master), ..interface }
    }

    fn network() -> Network {
        let interfaces = vec![
            Interface { loopback: true, ..interface(1, "lo", "", Some("127.0.0.1/8")) },
            port_of(4, interface(2, "eth0", "", None)),
            interface(3, "eth1", "", None),
            interface(4, "bond0", "bond", None),
            Interface { peer: Some(4), ..interface(5, "bond0.7", "vlan", Some("192.0.2.1/24")) },
            interface(6, "docker0", "bridge", Some("172.18.0.1/16")),
            port_of(6, interface(7, "vethD", "veth", None)),
            interface(8, "pontoon0", "bridge", Some("172.17.0.1/16")),
            port_of(8, interface(9, "vethP", "veth", None)),
        ];
        Network { interfaces, ..Network::default() }
    }

    #[test]
    fn at_ports_and_where_the_host_reaches_others() {
        let own: BTreeSet<&str> = ["vethP"].into();
        let at = |network: &Network, options: &NetworkOptions, began: &[String]| {
            let (found, before) = differences(options, network, &own, began);
            let places: Vec<String> =
                found.iter().map(|it| it.what[18..].split(' ').next().expect("a name").to_owned()).collect();
            (places, before)
        };
        let all = ["pontoon0", "vethP", "eth0", "bond0", "bond0.7"].map(str::to_owned);
        assert_eq!(at(&network(), &NetworkOptions::usual(), &[]), (all.to_vec(), vec![]));
        let before = vec!["an XDP program at eth0".to_owned(), "an XDP program at vethP".to_owned()];
        let (found, told) = at(&network(), &NetworkOptions::usual(), &before);
        assert_eq!((found.len(), told), (4, vec![before[0].clone()]), "at a container's port nobody has any business");
        // On an operator's bridge, its other ports are the operator's.
        let shared = NetworkOptions { own_bridge: false, ..NetworkOptions::usual() };
        let mut network = network();
        network.interfaces.push(port_of(8, interface(10, "eth2", "", None)));
        let before = vec!["an XDP program at eth2".to_owned()];
        assert_eq!(at(&network, &shared, &before).1, before);
        assert!(at(&network, &shared, &[]).0.contains(&"eth2".to_owned()));
    }

    #[test]
    fn a_network_cards_own_queue_is_none_of_ours() {
        let mut network = network();
        network.interfaces.iter_mut().for_each(|it| it.xdp = false);
        let queue = |interface, kind: &str| Queue { interface, kind: kind.to_owned() };
        network.queues = vec![queue(2, "fq_codel"), queue(2, "clsact"), queue(3, "clsact"), queue(9, "fq_codel")];
        let (found, _) = differences(&NetworkOptions::usual(), &network, &["vethP"].into(), &[]);
        let told: Vec<&str> = found.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "vethP has a tc queue fq_codel, which may delay or drop what passes",
                "eth0 has a tc clsact: its filters see frames before the firewall does",
            ]
        );
    }
}
