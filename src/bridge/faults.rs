//! What is not as it should be, from what the kernel says of an interface. Pure.

use rtnetlink::packet_route::link::{InfoBridgePort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::port::controller;

/// What somebody did to a port that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortFault {
    /// Off the bridge, whether on another or on none.
    Detached,
    /// Down.
    Down,
    /// A flag is not as we set it.
    Flag(&'static str),
}

/// What is wrong with a port, by a message that the kernel sent of it.
pub(super) fn of_port(link: &LinkMessage, bridge: u32, flags: &[InfoBridgePort]) -> Vec<PortFault> {
    if controller(link) != Some(bridge) {
        return vec![PortFault::Detached];
    }
    let down = (!link.header.flags.contains(LinkFlags::Up)).then_some(PortFault::Down);
    let found = port_data(link);
    let differs = |wanted: &&InfoBridgePort| found.iter().any(|it| it.is_same_kind(wanted) && it != *wanted);
    let flags = flags.iter().filter(differs).map(|flag| PortFault::Flag(flag_name(flag)));
    down.into_iter().chain(flags).collect()
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

/// As `bridge link set` calls it.
fn flag_name(flag: &InfoBridgePort) -> &'static str {
    match flag {
        InfoBridgePort::Isolated(_) => "isolated",
        InfoBridgePort::HairpinMode(_) => "hairpin",
        InfoBridgePort::Learning(_) => "learning",
        InfoBridgePort::UnicastFlood(_) => "flood",
        _ => "a flag",
    }
}

impl PortFault {
    pub(super) fn words(&self, port: &str) -> String {
        match self {
            Self::Detached => format!("took port {port} off the bridge"),
            Self::Down => format!("set port {port} down"),
            Self::Flag(name) => format!("changed {name} of port {port}"),
        }
    }
}

/// What is wrong with the bridge itself, in words.
pub(super) fn of_bridge(link: &LinkMessage, name: &str, mtu: u32) -> Vec<String> {
    let down = (!link.header.flags.contains(LinkFlags::Up)).then(|| format!("set bridge {name} down"));
    let found = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    let other = found.filter(|found| *found != mtu).map(|found| format!("set the MTU of bridge {name} to {found}"));
    down.into_iter().chain(other).collect()
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::InfoPortKind;

    use super::*;
    use crate::bridge::port::flags;
    use crate::model::NetworkOptions;

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
        of_port(link, 7, &flags(&options)).iter().map(|fault| fault.words("veth1")).collect()
    }

    #[test]
    fn a_port_as_it_should_be_has_no_fault() {
        let [isolated, hairpin, learning, flood] = flags(&NetworkOptions { icc: false, ..NetworkOptions::usual() });
        let other = InfoBridgePort::MulticastFlood(true);
        assert_eq!(words(&port(Some(7), true, &[isolated, hairpin, learning, flood, other])), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        let lax = [InfoBridgePort::Isolated(false), InfoBridgePort::Learning(true)];
        let found = words(&port(Some(7), false, &lax));
        assert_eq!(found, ["set port veth1 down", "changed isolated of port veth1", "changed learning of port veth1"]);
        for elsewhere in [None, Some(8)] {
            assert_eq!(words(&port(elsewhere, true, &[])), ["took port veth1 off the bridge"]);
        }
    }

    #[test]
    fn a_bridge_is_up_and_has_its_mtu() {
        let mut link = port(None, true, &[]);
        link.attributes.push(LinkAttribute::Mtu(1500));
        assert_eq!(of_bridge(&link, "br0", 1500), Vec::<String>::new());
        link.header.flags = LinkFlags::empty();
        assert_eq!(of_bridge(&link, "br0", 1400), ["set bridge br0 down", "set the MTU of bridge br0 to 1500"]);
    }
}
