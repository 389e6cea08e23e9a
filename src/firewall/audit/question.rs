//! `src=172.17.0.2 dst=172.17.0.3 proto=tcp dport=80`: a packet in words.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::network::{Network, RouteKind};
use super::packet::{Content, Entry, Mac, Packet, Transport};
use super::routing::{self, Answer, Question};

/// What is wrong with a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// A word that is no `key=value`.
    #[error("{0:?} is not KEY=VALUE; the keys are {KEYS}")]
    Word(String),
    /// A key that means nothing.
    #[error("there is no key {0:?}; the keys are {KEYS}")]
    Key(String),
    /// A key twice.
    #[error("{0} is said twice")]
    Twice(String),
    /// A value that means nothing.
    #[error("{key}={value}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was said.
        value: String,
        /// What may be said.
        expected: &'static str,
    },
    /// A key that must be there.
    #[error("{key} is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// A key that this protocol does not have.
    #[error("{key} says nothing about a packet of this protocol")]
    Superfluous {
        /// The key.
        key: String,
    },
    /// Addresses of two families.
    #[error("src and dst must both be IPv4 or both IPv6")]
    Families,
    /// An interface that is not here.
    #[error("iif={0}: there is no such interface; `ip link` lists them, and `local` is this machine itself")]
    Interface(String),
    /// Where it comes in cannot be told.
    #[error(
        "where a packet from {0} comes in cannot be told; say it: iif=INTERFACE, or iif=local for this machine itself"
    )]
    Whence(IpAddr),
}

const KEYS: &str = "src dst proto sport dport flags type code iif vlan smac dmac";

/// The words still to be read.
struct Words(BTreeMap<String, String>);

impl Words {
    fn of(text: &str) -> Result<Self, QuestionError> {
        let mut words = BTreeMap::new();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| QuestionError::Word(word.to_owned()))?;
            if !KEYS.split(' ').any(|known| known == key) {
                return Err(QuestionError::Key(key.to_owned()));
            }
            if words.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(QuestionError::Twice(key.to_owned()));
            }
        }
        Ok(Self(words))
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QuestionError> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        read(&value).map(Some).ok_or(QuestionError::Value { key, value, expected })
    }

    fn address(&mut self, key: &'static str) -> Result<IpAddr, QuestionError> {
        let address = self.take(key, "an IP address", |text| text.parse().ok())?;
        address.ok_or(QuestionError::Missing { key, why: "a packet has both addresses" })
    }

    fn port(&mut self, key: &'static str) -> Result<Option<u16>, QuestionError> {
        self.take(key, "a port, 0 to 65535", |text| text.parse().ok())
    }

    fn byte(&mut self, key: &'static str) -> Result<Option<u8>, QuestionError> {
        self.take(key, "a number, 0 to 255", |text| text.parse().ok())
    }
}

/// Reads a question. Without `iif`, the packet comes from where its source is: this machine, a neighbour behind a port
/// of a bridge, or the interface that the route to it leaves by.
pub fn parse(text: &str, network: &Network) -> Result<Packet, QuestionError> {
    let mut words = Words::of(text)?;
    let (source, destination) = (words.address("src")?, words.address("dst")?);
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(QuestionError::Families);
    }
    let transport = transport(&mut words)?;
    let entry = match words.0.remove("iif") {
        Some(name) if name == "local" => Entry::Local,
        Some(name) => {
            Entry::Interface(network.named(&name).ok_or_else(|| QuestionError::Interface(name.clone()))?.index)
        }
        None => whence(network, source)?,
    };
    let vlan = words.take("vlan", "a VLAN, 1 to 4094", |text| text.parse().ok().filter(|id| (1..4095).contains(id)))?;
    let said = words.take("smac", "a hardware address", mac)?;
    let known = network.neighbours.iter().find(|neighbour| neighbour.address == source).map(|neighbour| neighbour.mac);
    let destination_mac = words.take("dmac", "a hardware address", mac)?;
    if let Some((key, _)) = words.0.pop_first() {
        return Err(QuestionError::Superfluous { key });
    }
    let content = Content::Ip { source, destination, transport };
    Ok(Packet { entry, source_mac: said.or(known), destination_mac, vlan, content })
}

fn transport(words: &mut Words) -> Result<Transport, QuestionError> {
    const PROTOCOLS: &str = "tcp, udp, icmp, icmpv6 or a number";
    const SYN: u8 = 2;
    const ECHO: [(&str, u8); 2] = [("icmp", 8), ("icmpv6", 128)];
    let protocol = words.take("proto", PROTOCOLS, |text| {
        let numbered = text.parse::<u8>().is_ok();
        (numbered || ["tcp", "udp", "icmp", "icmpv6"].contains(&text)).then(|| text.to_owned())
    })?;
    let protocol = protocol.ok_or(QuestionError::Missing { key: "proto", why: PROTOCOLS })?;
    Ok(match protocol.as_str() {
        "tcp" | "6" => Transport::Tcp {
            source: words.port("sport")?,
            destination: words.port("dport")?,
            flags: words.take("flags", "of fin,syn,rst,psh,ack,urg", tcp_flags)?.unwrap_or(SYN),
        },
        "udp" | "17" => Transport::Udp { source: words.port("sport")?, destination: words.port("dport")? },
        name if let Some((_, echo)) = ECHO.iter().find(|(known, _)| *known == name) => {
            Transport::Icmp { kind: words.byte("type")?.unwrap_or(*echo), code: words.byte("code")?.unwrap_or(0) }
        }
        number => Transport::Other(number.parse().expect("it was read before")),
    })
}

fn tcp_flags(text: &str) -> Option<u8> {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg"];
    text.split(',').try_fold(0, |flags, word| Some(flags | 1 << names.iter().position(|name| *name == word)?))
}

fn mac(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

/// Where a packet from this address comes in.
fn whence(network: &Network, source: IpAddr) -> Result<Entry, QuestionError> {
    if routing::kind_of(network, source, None) == Ok(RouteKind::Local) {
        return Ok(Entry::Local);
    }
    if let Some(neighbour) = network.neighbours.iter().find(|neighbour| neighbour.address == source) {
        let behind = network.forwarding.iter().find(|entry| entry.mac == neighbour.mac && !entry.local);
        let is_bridge = network.interface(neighbour.interface).is_some_and(|i| i.bridge.is_some());
        return match (behind, is_bridge) {
            (Some(entry), true) => Ok(Entry::Interface(entry.port)),
            (None, true) => Err(QuestionError::Whence(source)),
            _ => Ok(Entry::Interface(neighbour.interface)),
        };
    }
    match routing::route(network, &Question::to(source)) {
        Answer::Route { kind: RouteKind::Unicast, way: Some(way), .. }
            if network.interface(way.interface).is_some_and(|interface| interface.bridge.is_none()) =>
        {
            Ok(Entry::Interface(way.interface))
        }
        _ => Err(QuestionError::Whence(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::Interface;
    use super::*;

    fn network() -> Network {
        let eth0 = Interface { index: 2, name: "eth0".to_owned(), ..Interface::default() };
        Network { interfaces: vec![eth0], ..Network::default() }
    }

    fn refused(text: &str) -> String {
        parse(text, &network()).expect_err("it means nothing").to_string()
    }

    #[test]
    fn a_packet_in_words() {
        let packet =
            parse("src=192.0.2.1 dst=192.0.2.2 proto=tcp dport=80 iif=eth0 smac=02:00:00:00:00:0a", &network());
        let packet = packet.expect("it is well put");
        assert_eq!(packet.entry, Entry::Interface(2));
        assert_eq!(packet.source_mac, Some([2, 0, 0, 0, 0, 10]));
        let Content::Ip { transport, .. } = packet.content else { panic!("IP") };
        assert_eq!(transport, Transport::Tcp { source: None, destination: Some(80), flags: 2 });
        let echo = parse("src=::1 dst=::2 proto=icmpv6 iif=local", &network()).expect("it is well put");
        assert!(matches!(echo.content, Content::Ip { transport: Transport::Icmp { kind: 128, code: 0 }, .. }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let base = "src=192.0.2.1 dst=192.0.2.2 proto=udp iif=local";
        assert!(refused("src").contains("KEY=VALUE"));
        assert!(refused("port=1").contains("no key \"port\""));
        assert!(refused("src=1 dst=192.0.2.2").contains("expected an IP address"));
        assert!(refused("dst=192.0.2.2 proto=tcp").contains("src is missing"));
        assert!(refused("src=192.0.2.1 dst=::1 proto=tcp").contains("both be IPv4"));
        assert!(refused("src=192.0.2.1 dst=192.0.2.2").contains("proto is missing"));
        assert!(refused(&format!("{base} dport=70000")).contains("0 to 65535"));
        assert!(refused(&format!("{base} type=8")).contains("type says nothing"));
        assert!(refused(&format!("{base} src=192.0.2.9")).contains("twice"));
        assert!(refused("src=192.0.2.1 dst=192.0.2.2 proto=udp iif=eth9").contains("no such interface"));
        assert!(refused("src=192.0.2.1 dst=192.0.2.2 proto=udp").contains("iif=INTERFACE"));
    }
}
