//! What is not as it should be, from what the kernel says of an interface. Pure.

use rtnetlink::packet_route::link::{
    BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};

use super::port::controller;
use super::{own_address, own_settings};
use crate::model::NetworkOptions;

/// What somebody did to a port that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortFault {
    /// Off the bridge, whether on another or on none.
    Detached,
    /// Down.
    Down,
    /// Up and connected, and the bridge passes nothing through it.
    Held,
    /// It has this MTU, and was made with another.
    Mtu(u32),
    /// A flag is not as we set it.
    Flag(&'static str),
}

/// What is wrong with a port, by a message that the kernel sent of it. `spans`: the bridge may run a spanning tree, which
/// gives its ports their states.
pub(super) fn of_port(link: &LinkMessage, bridge: u32, flags: &[InfoBridgePort], spans: bool) -> Vec<PortFault> {
    if controller(link) != Some(bridge) {
        return vec![PortFault::Detached];
    }
    let held = (!spans && is_held(link)).then_some(PortFault::Held);
    let down = (!link.header.flags.contains(LinkFlags::Up)).then_some(PortFault::Down);
    let found = port_data(link);
    let differs = |wanted: &&InfoBridgePort| found.iter().any(|it| it.is_same_kind(wanted) && it != *wanted);
    let flags = flags.iter().filter(differs).map(|flag| PortFault::Flag(flag_name(flag)));
    down.into_iter().chain(held).chain(flags).collect()
}

/// An interface's MTU.
pub(super) fn mtu(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

/// A port without a carrier (its other end is down) has the state *disabled* by right.
fn is_held(link: &LinkMessage) -> bool {
    let connected = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let forwards = |it: &InfoBridgePort| *it == InfoBridgePort::State(BridgePortState::Forwarding);
    let states = || port_data(link).iter().filter(|it| matches!(it, InfoBridgePort::State(_)));
    connected && states().next().is_some() && !states().any(forwards)
}

fn port_data(link: &LinkMessage) -> &[InfoBridgePort] {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data.as_slice()),
        _ => None,
    });
    data.unwrap_or_default()
}

trait SameKind {
    fn is_same_kind(&self, other: &Self) -> bool;
}

impl SameKind for InfoBridgePort {
    fn is_same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// As bridge(8) and ip-link(8) call it.
fn flag_name(flag: &InfoBridgePort) -> &'static str {
    match flag {
        InfoBridgePort::Isolated(_) => "isolated",
        InfoBridgePort::HairpinMode(_) => "hairpin",
        InfoBridgePort::Learning(_) => "learning",
        InfoBridgePort::UnicastFlood(_) => "flood",
        InfoBridgePort::GroupFwdMask(_) => "group_fwd_mask",
        InfoBridgePort::MulticastFlood(_) => "mcast_flood",
        InfoBridgePort::BroadcastFlood(_) => "bcast_flood",
        InfoBridgePort::MulticastToUnicast(_) => "mcast_to_unicast",
        InfoBridgePort::NeighSupress(_) => "neigh_suppress",
        InfoBridgePort::ProxyARP(_) => "proxy_arp",
        InfoBridgePort::ProxyARPWifi(_) => "proxy_arp_wifi",
        InfoBridgePort::Guard(_) => "guard",
        InfoBridgePort::Protect(_) => "root_block",
        InfoBridgePort::FastLeave(_) => "fastleave",
        InfoBridgePort::VlanTunnel(_) => "vlan_tunnel",
        InfoBridgePort::Locked(_) => "locked",
        InfoBridgePort::MulticastRouter(_) => "mcast_router",
        _ => "a flag",
    }
}

impl PortFault {
    pub(super) fn words(&self, port: &str) -> String {
        match self {
            Self::Detached => format!("took port {port} off the bridge"),
            Self::Down => format!("set port {port} down"),
            Self::Held => format!("changed the state of port {port}"),
            Self::Mtu(mtu) => format!("set the MTU of port {port} to {mtu}"),
            Self::Flag(name) => format!("changed {name} of port {port}"),
        }
    }
}

/// What is wrong with our own bridge itself, in words.
pub(super) fn of_bridge(link: &LinkMessage, options: &NetworkOptions) -> Vec<String> {
    let bridge = &options.bridge;
    let mut words = Vec::new();
    if !link.header.flags.contains(LinkFlags::Up) {
        words.push(format!("set bridge {bridge} down"));
    }
    if link.header.flags.contains(LinkFlags::Noarp) {
        words.push(format!("switched ARP off on bridge {bridge}"));
    }
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) if *mtu != options.mtu => {
                words.push(format!("set the MTU of bridge {bridge} to {mtu}"));
            }
            LinkAttribute::Address(mac) if *mac != own_address(options) => {
                let mac: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                words.push(format!("set the hardware address of bridge {bridge} to {}", mac.join(":")));
            }
            LinkAttribute::Controller(_) => words.push(format!("made bridge {bridge} a port of another")),
            _ => {}
        }
    }
    let changed = changed_settings(link);
    words.extend(changed.iter().map(|setting| format!("changed {} of bridge {bridge}", setting_name(setting))));
    words
}

/// The settings of our own bridge that somebody changed, as they should be.
pub(super) fn changed_settings(link: &LinkMessage) -> Vec<InfoBridge> {
    let found = bridge_data(link);
    let differs = |wanted: &InfoBridge| {
        found.iter().any(|it| std::mem::discriminant(it) == std::mem::discriminant(wanted) && it != wanted)
    };
    own_settings().into_iter().filter(differs).collect()
}

fn bridge_data(link: &LinkMessage) -> &[InfoBridge] {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Bridge(data)) => Some(data.as_slice()),
        _ => None,
    });
    data.unwrap_or_default()
}

/// As ip-link(8) calls it.
fn setting_name(setting: &InfoBridge) -> &'static str {
    match setting {
        InfoBridge::StpState(_) => "stp_state",
        InfoBridge::VlanFiltering(_) => "vlan_filtering",
        InfoBridge::GroupFwdMask(_) => "group_fwd_mask",
        InfoBridge::NfCallIpTables(_) => "nf_call_iptables",
        InfoBridge::NfCallIp6Tables(_) => "nf_call_ip6tables",
        InfoBridge::NfCallArpTables(_) => "nf_call_arptables",
        _ => "a setting",
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::InfoPortKind;

    use super::*;
    use crate::bridge::port::flags;

    fn port(bridge: Option<u32>, up: bool, data: &[InfoBridgePort]) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        link.attributes.extend(bridge.map(LinkAttribute::Controller));
        let data = LinkInfo::PortData(InfoPortData::BridgePort(data.to_vec()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(InfoPortKind::Bridge), data]));
        link
    }

    fn words(link: &LinkMessage) -> Vec<String> {
        let options = NetworkOptions { icc: false, ..NetworkOptions::usual() };
        of_port(link, 7, &flags(&options), false).iter().map(|fault| fault.words("veth1")).collect()
    }

    #[test]
    fn a_port_as_it_should_be_has_no_fault() {
        let mut flags = flags(&NetworkOptions { icc: false, ..NetworkOptions::usual() });
        flags.push(InfoBridgePort::Cost(2));
        assert_eq!(words(&port(Some(7), true, &flags)), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        let lax = [InfoBridgePort::Isolated(false), InfoBridgePort::Learning(true)];
        let found = words(&port(Some(7), false, &lax));
        assert_eq!(found, ["set port veth1 down", "changed isolated of port veth1", "changed learning of port veth1"]);
        let all = flags(&NetworkOptions { icc: false, ..NetworkOptions::usual() });
        assert!(all.iter().all(|flag| flag_name(flag) != "a flag"));
        for elsewhere in [None, Some(8)] {
            assert_eq!(words(&port(elsewhere, true, &[])), ["took port veth1 off the bridge"]);
        }
    }

    #[test]
    fn a_connected_port_forwards_unless_a_spanning_tree_says_otherwise() {
        let state = |state, flags| {
            let mut link = port(Some(7), true, &[InfoBridgePort::State(state)]);
            link.header.flags = flags;
            link
        };
        let blocked = state(BridgePortState::Blocking, LinkFlags::Up | LinkFlags::LowerUp);
        assert_eq!(words(&blocked), ["changed the state of port veth1"]);
        assert_eq!(of_port(&blocked, 7, &[], true), []);
        assert!(words(&state(BridgePortState::Forwarding, LinkFlags::Up | LinkFlags::LowerUp)).is_empty());
        assert!(words(&state(BridgePortState::Disabled, LinkFlags::Up)).is_empty());
    }

    #[test]
    fn a_bridge_is_as_it_was_made() {
        let options = NetworkOptions { bridge: "br0".to_owned(), ..NetworkOptions::usual() };
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.attributes.extend([LinkAttribute::Mtu(1500), LinkAttribute::Address(own_address(&options))]);
        let data =
            |settings: &[InfoBridge]| LinkAttribute::LinkInfo(vec![LinkInfo::Data(InfoData::Bridge(settings.into()))]);
        let mut fine = link.clone();
        fine.attributes.push(data(&own_settings()));
        assert_eq!(of_bridge(&fine, &options), Vec::<String>::new());
        assert!(own_settings().iter().all(|setting| setting_name(setting) != "a setting"));
        link.header.flags = LinkFlags::empty();
        link.attributes.push(data(&[InfoBridge::VlanFiltering(true), InfoBridge::MulticastSnooping(false)]));
        let other = NetworkOptions { mtu: 1400, bip: "10.0.0.1/8".parse().expect("network"), ..options };
        let words = [
            "set bridge br0 down",
            "set the MTU of bridge br0 to 1500",
            "set the hardware address of bridge br0 to 02:42:ac:11:00:01",
            "changed vlan_filtering of bridge br0",
        ];
        assert_eq!(of_bridge(&link, &other), words);
    }
}
