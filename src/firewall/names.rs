//! What the daemon's tables, their sets and their causes of dropping are called.

use std::fmt;

use nftables::types::NfFamily;

use crate::model::NetworkOptions;

/// The daemon's tables. They have one name, in several families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// What is routed: publishing, links, masquerading, the host's side.
    Inet,
    /// What the host hears of who has which address: nothing from strangers on the daemon's bridge.
    Arp,
    /// What enters by containers' ports on the bridge: the guard against spoofing.
    Bridge,
}

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Inet, Self::Arp, Self::Bridge];

    /// Those that a daemon with these options has a table in.
    pub(super) fn of(options: &NetworkOptions) -> impl Iterator<Item = Self> {
        let own = options.own_bridge;
        Self::ALL.into_iter().filter(move |family| family.is_used(own))
    }

    pub(super) fn is_used(self, own_bridge: bool) -> bool {
        own_bridge || self != Self::Arp
    }

    pub(super) fn nft(self) -> NfFamily {
        match self {
            Self::Inet => NfFamily::INet,
            Self::Arp => NfFamily::ARP,
            Self::Bridge => NfFamily::Bridge,
        }
    }
}

impl fmt::Display for Family {
    /// As `nft list table` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
        })
    }
}

/// The tables' name: `pontoon-` and the bridge's, which consists of characters that nft allows in a name. Daemons side by
/// side share no table.
pub(super) fn table(options: &NetworkOptions) -> String {
    format!("pontoon-{}", options.bridge)
}

/// A set or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetName {
    pub(super) family: Family,
    pub(super) name: &'static str,
}

const fn inet(name: &'static str) -> SetName {
    SetName { family: Family::Inet, name }
}

const fn bridge(name: &'static str) -> SetName {
    SetName { family: Family::Bridge, name }
}

impl SetName {
    /// The addresses of admitted containers.
    pub(super) const ENDPOINTS: Self = inet("endpoints");
    /// Who may open what: source, target, protocol, port.
    pub(super) const LINKED: Self = inet("linked");
    /// The same with many ports in a row.
    pub(super) const LINKED_RUNS: Self = inet("linked_runs");
    /// Source and target of each link.
    pub(super) const LINKED_PAIRS: Self = inet("linked_pairs");
    /// Ports published on one address of the host, to the container's address...
    pub(super) const PUBLISHED_ADDRESS: Self = inet("published_address");
    /// ... and to its port.
    pub(super) const PUBLISHED_PORT: Self = inet("published_port");
    /// The same with many ports in a row, each of which keeps its number: to the container's address.
    pub(super) const PUBLISHED_RUNS: Self = inet("published_runs");
    /// Ports published on all addresses of the host, likewise.
    pub(super) const PUBLISHED_ANY_ADDRESS: Self = inet("published_any_address");
    pub(super) const PUBLISHED_ANY_PORT: Self = inet("published_any_port");
    pub(super) const PUBLISHED_ANY_RUNS: Self = inet("published_any_runs");
    /// To what the former lead: the container's address, protocol and port; that of the host before it for those published
    /// on one.
    pub(super) const ADMITTED: Self = inet("admitted");
    pub(super) const ADMITTED_RUNS: Self = inet("admitted_runs");
    pub(super) const ADMITTED_ADDRESS: Self = inet("admitted_address");
    pub(super) const ADMITTED_ADDRESS_RUNS: Self = inet("admitted_address_runs");
    /// The bridge's ports that are containers'.
    pub(super) const PORTS: Self = bridge("ports");
    /// Port and MAC that belong together.
    pub(super) const MACS: Self = bridge("macs");
    /// Port, MAC and address that belong together.
    pub(super) const SOURCES: Self = bridge("sources");

    /// Those whose elements are holes, and count the packets that find them. Of the two maps of a published port, the one
    /// that every row has.
    const COUNTING: [Self; 6] = [
        Self::LINKED,
        Self::LINKED_RUNS,
        Self::PUBLISHED_ADDRESS,
        Self::PUBLISHED_RUNS,
        Self::PUBLISHED_ANY_ADDRESS,
        Self::PUBLISHED_ANY_RUNS,
    ];

    /// Whether its elements count.
    pub(super) fn counts(self) -> bool {
        Self::COUNTING.contains(&self)
    }

    /// As rules name it.
    pub(super) fn reference(self) -> String {
        format!("@{}", self.name)
    }
}

/// Why a packet is dropped. Each has a counter and a chain of this name, and a word in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cause {
    /// From container to container, with `--icc=false` and without a link.
    Icc,
    /// To a container, from elsewhere, without its being published.
    Lan,
    /// To the host, with `--host-access=false`.
    Host,
    /// To or from the host's 127/8.
    Loopback,
    /// With a MAC that is not the container's own.
    SpoofedMac,
    /// With an IPv4 address that is not the container's own.
    SpoofedIp,
    /// ARP in another's name.
    SpoofedArp,
    /// DHCP, by which a container could play the server, or the host's LAN get to know it.
    Dhcp,
    /// IPv6, which the bridge does not carry.
    Ipv6,
    /// Neither IPv4 nor ARP: VLAN tags are among these.
    Ethertype,
    /// To the bridge itself (802.1D's reserved addresses): spanning tree, LLDP, pause frames.
    Control,
    /// By a port of the daemon's bridge that is no container's.
    Stranger,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Cause {
    pub(super) const ALL: [Self; 12] = [
        Self::Icc,
        Self::Lan,
        Self::Host,
        Self::Loopback,
        Self::SpoofedMac,
        Self::SpoofedIp,
        Self::SpoofedArp,
        Self::Dhcp,
        Self::Ipv6,
        Self::Ethertype,
        Self::Control,
        Self::Stranger,
    ];

    /// By its word.
    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// The word for it in counters, chains and log lines.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Icc => "icc",
            Self::Lan => "lan",
            Self::Host => "host",
            Self::Loopback => "loopback",
            Self::SpoofedMac => "spoofed-mac",
            Self::SpoofedIp => "spoofed-ip",
            Self::SpoofedArp => "spoofed-arp",
            Self::Dhcp => "dhcp",
            Self::Ipv6 => "ipv6",
            Self::Ethertype => "ethertype",
            Self::Control => "control",
            Self::Stranger => "stranger",
        }
    }
}

/// The meter of a cause: packets by container. In the kernel it is a set of this name.
pub(super) fn counts(cause: Cause) -> String {
    format!("{cause}-counts")
}

/// The meter of a cause: how often each container's packets are logged.
pub(super) fn rates(cause: Cause) -> String {
    format!("{cause}-rates")
}

/// What each line of the log begins with; the cause and a blank follow.
pub(super) fn log_prefix(bridge: &str) -> String {
    format!("pontoon:{bridge}:")
}

/// The bit of a packet's mark that tells the host that the packet entered the bridge by a container's port. The host's
/// side sees only that it came by the bridge. It is set where a frame enters, and gone before anybody else's table of the
/// host sees the packet.
pub(super) const ADMITTED: u32 = 0x1000_0000;

/// The nflog group that a daemon's drops are logged to, from 1024 to 65535: FNV-1a (32 bits) of the bridge's name, modulo
/// 64512, plus 1024. So daemons side by side do not meet but by an unlikely chance, in which the log lines' prefix still
/// tells them apart; and the groups that people give out by hand, from 0 on, stay theirs.
pub fn log_group(bridge: &str) -> u16 {
    let hash = bridge.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let group = 1024 + hash % (0x1_0000 - 1024);
    u16::try_from(group).expect("the remainder is below 64512")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_side_by_side_share_neither_table_nor_log() {
        let options = |bridge: &str| NetworkOptions { bridge: bridge.to_owned(), ..NetworkOptions::usual() };
        assert_eq!(table(&options("pontoon0")), "pontoon-pontoon0");
        assert_ne!(table(&options("br1")), table(&options("br2")));
        // A promise to those who configured ulogd with it.
        assert_eq!(log_group("pontoon0"), 38542);
        assert_ne!(log_group("br1"), log_group("br2"));
        assert!(["", "a", "br0", "pontoon1"].iter().all(|bridge| log_group(bridge) >= 1024));
    }
}
