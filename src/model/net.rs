//! Addresses, ports and network modes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address (IEEE 802), six bytes in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why text is not a port, a protocol, a port binding or an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not `tcp`, `udp` or `sctp`.
    #[error("invalid proto: {}", .0.escape_debug())]
    Protocol(String),
    /// Not a number from 1 to 65535.
    #[error("invalid port: {0:?} is not a number from 1 to 65535")]
    Number(String),
    /// Not six hexadecimal bytes, or a multicast address.
    #[error("invalid MAC address: {0:?}")]
    Mac(String),
}

impl FromStr for MacAddr {
    type Err = PortError;
    fn from_str(text: &str) -> Result<Self, PortError> {
        let bad = || PortError::Mac(text.to_owned());
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        // Bit 0 of the first byte marks a group address, which no interface may carry.
        if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = PortError;
    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl Protocol {
    /// The lower-case name that Docker and nft use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = PortError;
    fn from_str(text: &str) -> Result<Self, PortError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(PortError::Protocol(text.to_owned())),
        }
    }
}

/// A port of a container: `80/tcp`. Orders TCP first, then by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// 1 to 65535.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = PortError;
    /// `80` or `80/tcp`.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = parse_port_number(number)?;
        Ok(Self { protocol: protocol.parse()?, number })
    }
}

impl TryFrom<String> for Port {
    type Error = PortError;
    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<Port> for String {
    fn from(port: Port) -> String {
        port.to_string()
    }
}

/// Reads a port number, 1 to 65535.
pub fn parse_port_number(text: &str) -> Result<u16, PortError> {
    text.parse::<u16>().ok().filter(|n| *n != 0).ok_or_else(|| PortError::Number(text.to_owned()))
}

/// What a user asked for with `-p`: one container port to be bound on the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostBinding {
    /// The container's port.
    pub container: Port,
    /// The host's address; `None` is the daemon's `--ip`.
    pub host_ip: Option<IpAddr>,
    /// The host's port, or the range to choose one free port from (first, last). `None`: an ephemeral port.
    pub host_ports: Option<(u16, u16)>,
}

/// Consecutive ports of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// 1 to 65535.
    pub first: u16,
    /// At least `first`.
    pub last: u16,
}

impl PortRange {
    /// The fewest runs that hold exactly these ports, in order.
    pub fn runs(ports: &BTreeSet<Port>) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for port in ports {
            match runs.last_mut() {
                Some(run) if run.protocol == port.protocol && run.last.checked_add(1) == Some(port.number) => {
                    run.last = port.number;
                }
                _ => runs.push(Self { protocol: port.protocol, first: port.number, last: port.number }),
            }
        }
        runs
    }

    /// Its ports, in order.
    pub fn ports(self) -> impl Iterator<Item = Port> {
        (self.first..=self.last).map(move |number| Port { protocol: self.protocol, number })
    }

    /// Whether the port is one of them.
    pub fn contains(self, port: Port) -> bool {
        self.protocol == port.protocol && (self.first..=self.last).contains(&port.number)
    }
}

/// Published ports as they are in force: host ports in a row that lead, in step, to as many ports of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    /// The host's address; unspecified (`0.0.0.0`) means all of them.
    pub host_ip: IpAddr,
    /// The host's first port.
    pub host_port: u16,
    /// The container's first port.
    pub container: Port,
    /// How many, at least 1; neither row goes beyond 65535.
    #[serde(default = "one")]
    pub count: u16,
}

fn one() -> u16 {
    1
}

impl Published {
    /// The fewest rows that say the same, ordered by the container's ports. No port is lost: what stands there twice stays
    /// there twice.
    pub fn rows(mut published: Vec<Self>) -> Vec<Self> {
        published.sort_by_key(|row| (row.container.protocol, row.host_ip, row.host_port, row.container.number));
        let mut rows: Vec<Self> = Vec::new();
        for next in published {
            match rows.last_mut() {
                Some(row) if row.leads_on_to(next) => row.count += next.count,
                _ => rows.push(next),
            }
        }
        rows.sort_by_key(|row| (row.container, row.host_ip, row.host_port));
        rows
    }

    /// Whether the other row begins where this one ends, on both sides.
    fn leads_on_to(self, next: Self) -> bool {
        let follows = |first: u16, next: u16| first.checked_add(self.count) == Some(next);
        self.host_ip == next.host_ip
            && self.container.protocol == next.container.protocol
            && follows(self.host_port, next.host_port)
            && follows(self.container.number, next.container.number)
    }

    /// One host port and one container port each, in order.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..self.count).map(move |step| Self {
            host_port: self.host_port + step,
            container: Port { number: self.container.number + step, ..self.container },
            count: 1,
            ..self
        })
    }

    /// The host's last port.
    pub fn last_host_port(self) -> u16 {
        self.host_port + (self.count - 1)
    }
}

/// The four archetypes of a container's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// Closed: a namespace of its own with `lo` only.
    None,
    /// Bridged: `eth0` on the daemon's bridge.
    #[default]
    Bridge,
    /// Open: the host's stack.
    Host,
    /// Joined: the namespace of another container, by name or id as the user gave it.
    Container(String),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Bridge => f.write_str("bridge"),
            Self::Host => f.write_str("host"),
            Self::Container(who) => write!(f, "container:{who}"),
        }
    }
}

/// Text that names no network mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkModeError {
    /// `container:` with nothing behind it.
    #[error("invalid container format container:<name|id>")]
    EmptyContainer,
    /// A network that does not exist.
    #[error("network {} not found", .0.escape_debug())]
    Unknown(String),
}

impl FromStr for NetworkMode {
    type Err = NetworkModeError;
    fn from_str(text: &str) -> Result<Self, NetworkModeError> {
        match text {
            "none" => Ok(Self::None),
            "" | "default" | "bridge" => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some("") => Err(NetworkModeError::EmptyContainer),
                Some(who) => Ok(Self::Container(who.to_owned())),
                None => Err(NetworkModeError::Unknown(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for NetworkMode {
    type Error = NetworkModeError;
    fn try_from(text: String) -> Result<Self, NetworkModeError> {
        text.parse()
    }
}

impl From<NetworkMode> for String {
    fn from(mode: NetworkMode) -> String {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_docker_writes_them() {
        assert_eq!("80".parse(), Ok(Port { protocol: Protocol::Tcp, number: 80 }));
        assert_eq!("53/UDP".parse(), Ok(Port { protocol: Protocol::Udp, number: 53 }));
        for bad in ["", "0", "65536", "80/", "80/icmp", "-1", "80/tcp/udp"] {
            assert!(bad.parse::<Port>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ports_order_tcp_first_then_by_number() {
        let mut ports: Vec<Port> = ["53/udp", "443", "80"].iter().map(|p| p.parse().expect("port")).collect();
        ports.sort();
        let text: Vec<String> = ports.iter().map(Port::to_string).collect();
        assert_eq!(text, ["80/tcp", "443/tcp", "53/udp"]);
    }

    #[test]
    fn ports_in_a_row_are_one_run() {
        let ports = ["7/tcp", "80/tcp", "81/tcp", "82/tcp", "65535/tcp", "1/udp", "2/udp"];
        let ports: BTreeSet<Port> = ports.iter().map(|port| port.parse().expect("port")).collect();
        let runs = PortRange::runs(&ports);
        let text: Vec<String> = runs.iter().map(|run| format!("{}-{}/{}", run.first, run.last, run.protocol)).collect();
        assert_eq!(text, ["7-7/tcp", "80-82/tcp", "65535-65535/tcp", "1-2/udp"]);
        assert_eq!(runs.into_iter().flat_map(PortRange::ports).collect::<BTreeSet<_>>(), ports);
    }

    #[test]
    fn published_ports_lead_in_step() {
        let row = Published {
            host_ip: IpAddr::from([0, 0, 0, 0]),
            host_port: 65534,
            container: "80".parse().expect("port"),
            count: 2,
        };
        let each: Vec<(u16, u16)> = row.each().map(|one| (one.host_port, one.container.number)).collect();
        assert_eq!((each, row.last_host_port()), (vec![(65534, 80), (65535, 81)], 65535));
    }

    #[test]
    fn ports_in_step_are_one_row() {
        let one = |ip: u8, host_port, container: &str| Published {
            host_ip: IpAddr::from([0, 0, 0, ip]),
            host_port,
            container: container.parse().expect("port"),
            count: 1,
        };
        let loose = vec![
            one(0, 8001, "81"),
            one(0, 8000, "80"),
            one(0, 9000, "80"),
            one(0, 8002, "82/udp"),
            one(0, 8003, "83"),
            one(1, 8002, "82"),
            one(0, 9001, "81"),
            one(0, 65535, "65535"),
            one(0, 9001, "81"),
        ];
        let rows = Published::rows(loose.clone());
        let show = |row: &Published| format!("{}:{}+{}>{}", row.host_ip, row.host_port, row.count, row.container);
        let shown: Vec<String> = rows.iter().map(show).collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0:8000+2>80/tcp",
                "0.0.0.0:9000+2>80/tcp",
                "0.0.0.0:9001+1>81/tcp",
                "0.0.0.1:8002+1>82/tcp",
                "0.0.0.0:8003+1>83/tcp",
                "0.0.0.0:65535+1>65535/tcp",
                "0.0.0.0:8002+1>82/udp",
            ]
        );
        assert_eq!(Published::rows(rows.clone()), rows);
        let single = |rows: &[Published]| {
            let mut each: Vec<String> = rows.iter().flat_map(|row| row.each()).map(|row| show(&row)).collect();
            each.sort();
            each
        };
        assert_eq!(single(&rows), single(&loose));
    }

    #[test]
    fn a_mac_is_six_bytes_and_no_group_address() {
        assert_eq!("02:42:ac:11:00:02".parse::<MacAddr>().expect("mac").to_string(), "02:42:ac:11:00:02");
        for bad in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "zz:0:0:0:0:0"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn network_modes() {
        assert_eq!("default".parse(), Ok(NetworkMode::Bridge));
        assert_eq!("container:web".parse(), Ok(NetworkMode::Container("web".into())));
        assert_eq!("container:".parse::<NetworkMode>(), Err(NetworkModeError::EmptyContainer));
        assert_eq!("mynet".parse::<NetworkMode>(), Err(NetworkModeError::Unknown("mynet".into())));
    }
}
