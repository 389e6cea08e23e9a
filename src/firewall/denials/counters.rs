//! The kernel's counters of what was dropped: a named one of each cause, and a meter of each cause by container
//! (`linux/netfilter/nf_tables.h`). What they say is the truth; the log is a part of it.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use crate::firewall::names::{self, Cause, Family};
use crate::firewall::netfilter::{Netfilter, attribute, attributes, find};

/// `NFNL_SUBSYS_NFTABLES`: `NFT_MSG_GETOBJ` and `NFT_MSG_GETSETELEM`.
const OBJECTS: u16 = 10 << 8 | 19;
const ELEMENTS: u16 = 10 << 8 | 13;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;

/// A cause has a counter in each of the tables that drop for it.
pub(super) type Where = (Family, Cause);

/// Whom a meter tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Whose {
    /// The container at a port of the bridge.
    Port(String),
    /// The container at an address.
    Address(Ipv4Addr),
}

/// Packets, as the kernel counted them at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// By cause.
    pub(super) causes: BTreeMap<Where, u64>,
    /// By container, of those causes whose counters differ from those that were known.
    pub(super) meters: BTreeMap<(Where, Whose), u64>,
}

impl Reading {
    /// Asks the kernel. `known`: what its counters said before.
    pub(super) fn now(table: &str, known: &BTreeMap<Where, u64>) -> io::Result<Self> {
        let mut netfilter = Netfilter::open()?;
        let mut reading = Self::default();
        for family in Family::ALL {
            let body = attribute(1, &nul_ended(table));
            netfilter.dump(OBJECTS, number(family), &body, |object| {
                if let Some((cause, packets)) = counter(object) {
                    reading.causes.insert((family, cause), packets);
                }
            })?;
        }
        for (&(family, cause), packets) in &reading.causes {
            if known.get(&(family, cause)) == Some(packets) {
                continue;
            }
            let body = [attribute(1, &nul_ended(table)), attribute(2, &nul_ended(&names::counts(cause)))].concat();
            let meters = &mut reading.meters;
            let asked = netfilter.dump(ELEMENTS, number(family), &body, |list| {
                meters.extend(elements(list, family).map(|(whose, packets)| (((family, cause), whose), packets)));
            });
            match asked {
                // A table of a former version has none.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(reading)
    }
}

/// `NFPROTO_…`.
fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Arp => 3,
        Family::Bridge => 7,
    }
}

fn nul_ended(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A cause's counter.
fn counter(object: &[u8]) -> Option<(Cause, u64)> {
    let kind = u32::from_be_bytes(find(object, 3)?.try_into().ok()?);
    let name = std::str::from_utf8(find(object, 2)?).ok()?;
    let cause = Cause::of(name.trim_end_matches('\0')).filter(|_| kind == COUNTER)?;
    Some((cause, packets(find(object, 4)?)?))
}

/// `NFTA_COUNTER_PACKETS`.
fn packets(counter: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(find(counter, 2)?.try_into().ok()?))
}

/// The keys and counters of a meter.
fn elements(list: &[u8], family: Family) -> impl Iterator<Item = (Whose, u64)> {
    attributes(find(list, 3).unwrap_or_default()).filter_map(move |(_, element)| {
        let key = find(find(element, 1)?, 1)?;
        let expression = find(element, 7)?;
        Some((whose(key, family)?, packets(find(expression, 2)?)?))
    })
}

/// An interface's name is 16 bytes, filled up with zeros.
fn whose(key: &[u8], family: Family) -> Option<Whose> {
    match family {
        Family::Inet => Some(Whose::Address(Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?))),
        // Who sends by no container's port is no container.
        Family::Arp => None,
        Family::Bridge => {
            let name = key.split(|byte| *byte == 0).next()?;
            Some(Whose::Port(String::from_utf8_lossy(name).into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::netfilter::nest;

    fn counted(packets: u64) -> Vec<u8> {
        nest(4, &[attribute(1, &99_u64.to_be_bytes()), attribute(2, &packets.to_be_bytes())])
    }

    #[test]
    fn counters_of_causes_and_no_others() {
        let object = |name: &[u8], kind: u32| {
            [attribute(1, b"t\0"), attribute(2, name), attribute(3, &kind.to_be_bytes()), counted(7)].concat()
        };
        assert_eq!(counter(&object(b"spoofed-ip\0", 1)), Some((Cause::SpoofedIp, 7)));
        assert_eq!(counter(&object(b"spoofed-ip\0", 2)), None);
        assert_eq!(counter(&object(b"mine\0", 1)), None);
    }

    #[test]
    fn meters_by_port_and_by_address() {
        let element = |key: &[u8], packets: u64| {
            let counter = nest(2, &[attribute(1, &99_u64.to_be_bytes()), attribute(2, &packets.to_be_bytes())]);
            nest(1, &[nest(1, &[attribute(1, key)]), nest(7, &[attribute(1, b"counter\0"), counter])])
        };
        let list = |elements: &[Vec<u8>]| nest(3, elements);
        let mut port = b"veth1".to_vec();
        port.resize(16, 0);
        let ports = list(&[element(&port, 3), element(&[], 4)]);
        let found: Vec<_> = elements(&ports, Family::Bridge).collect();
        assert_eq!(found[0], (Whose::Port("veth1".into()), 3));
        let addresses = list(&[element(&[172, 17, 0, 2], 5), element(&[1, 2], 6)]);
        let found: Vec<_> = elements(&addresses, Family::Inet).collect();
        assert_eq!(found, [(Whose::Address([172, 17, 0, 2].into()), 5)]);
    }
}
