//! What was denied: packets that the daemon's own rules dropped, who really sent them, and how much of it was not seen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::ContainerId;

/// Packets that were denied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenialLog {
    /// Of the JSON.
    pub version: u32,
    /// When it was asked for: RFC 3339, UTC.
    pub taken: String,
    /// The nflog group that the rules log to.
    pub group: u16,
    /// Since when this daemon listens: RFC 3339, UTC; `None` while it does not.
    pub listening_since: Option<String>,
    /// Why it does not listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What was denied, by when it was last seen: the latest last.
    pub denials: Vec<Denial>,
    /// All of it.
    pub total: Counts,
    /// By cause; a cause is missing whose rules are not there.
    pub causes: Vec<CauseCounts>,
    /// By container and cause.
    pub containers: Vec<ContainerCounts>,
}

/// What is the same of some packets that were denied: cause, sender, receiver, and what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Why, in the word that names the rules' counter and chain: `icc`, `lan`, `host`, `loopback`, `spoofed-mac`,
    /// `spoofed-ip`, `spoofed-arp`, `dhcp`, `ipv6`, `ethertype`, `control`.
    pub cause: String,
    /// Who really sent them, whatever they say: known by the port on the bridge where they came in.
    pub from: Correspondent,
    /// Whom they say to be from, where that is not the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Correspondent>,
    /// To whom.
    pub to: Correspondent,
    /// What they were: `tcp/5432`, `icmp echo-request`, `arp reply`, `ethertype 0x88b5 on vlan 7`.
    pub what: String,
    /// The destination port of TCP, UDP and SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Packets that were seen. More may have been denied: see the counts.
    pub packets: u64,
    /// When the first of them came: RFC 3339, UTC.
    pub first: String,
    /// When the latest came.
    pub last: String,
}

/// An end of a packet's way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Correspondent {
    /// A container's name, `host`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A container's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// The host's interface where packets came in: a container's port on the bridge, or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its address, as the packets have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its MAC, where that is what matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Numbers of packets. What the kernel counted is the truth: `denied` = `shown` + `forgotten` + `unlogged` + `lost` +
/// `unheard` + `earlier`, save for packets that come while the numbers are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Dropped, by the kernel's counters since the rules were made.
    pub denied: u64,
    /// Among the denials that are shown (without any filter).
    pub shown: u64,
    /// Seen, but pushed out of the table by later ones of the same container.
    pub forgotten: u64,
    /// Not logged, for there were too many of this cause and container at once.
    pub unlogged: u64,
    /// Logged, and lost on the way to the daemon. (If somebody else's rules log to this group too, so many at most.)
    pub lost: u64,
    /// Dropped while no daemon listened.
    pub unheard: u64,
    /// Told to the daemon before this one, which has taken it along.
    pub earlier: u64,
}

/// The counts of a cause. What was lost cannot be told by cause: it is among the unlogged here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCounts {
    /// The cause.
    pub cause: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What was denied of a container's since this daemon started: what it sent, and of the cause `lan` what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCounts {
    /// Its name.
    pub name: String,
    /// Its id.
    pub container: ContainerId,
    /// The cause.
    pub cause: String,
    /// Dropped, by the kernel's counters.
    pub denied: u64,
    /// Of these, told to this daemon.
    pub logged: u64,
}

/// One line of the log as it is followed. It has one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Of the JSON.
    pub version: u32,
    /// A packet was denied; `packets` are those like it so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<Denial>,
    /// The counts have changed by more than what was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Counts>,
    /// So many lines are missing: this client reads too slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}
