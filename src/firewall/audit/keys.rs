//! An element's key as nft prints it: `172.17.0.3 . 172.17.0.2 . tcp . 5432`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::bytecode::{Element, Set};

/// nft's numbers for types of data (include/datatype.h), six bits each in a concatenation.
const TYPE_BITS: u32 = 6;
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const ETHER_ADDR: u32 = 9;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;
const MARK: u32 = 19;
const IFNAME: u32 = 41;

/// An element's key or range of keys.
pub(super) fn text(set: &Set, element: &Element) -> String {
    if element.catches_all {
        return "*".to_owned();
    }
    let types = types(set);
    let last = match &element.last {
        Some(last) => Some(last.clone()),
        None if set.interval && set.fields.len() == 1 => last_of_range(set, &element.key),
        None => None,
    };
    let mut at = 0;
    // The kernel tells the fields of concatenations only where these are ranges; else their types tell.
    let fields = match types.as_slice() {
        [_, _, ..] if set.fields.len() == 1 => types.iter().map(|kind| padded(*kind)).collect(),
        _ => set.fields.clone(),
    };
    let kinds = types.iter().copied().filter(|_| types.len() == fields.len()).chain(std::iter::repeat(0));
    let fields = fields.iter().zip(kinds).map(|(length, kind)| {
        let range = at..at + length;
        at += length;
        let first = field(kind, element.key.get(range.clone()).unwrap_or_default());
        match last.as_ref().and_then(|last| last.get(range)).map(|last| field(kind, last)) {
            Some(last) if last != first => format!("{first}-{last}"),
            _ => first,
        }
    });
    fields.collect::<Vec<_>>().join(" . ")
}

/// The type of each field.
fn types(set: &Set) -> Vec<u32> {
    let mut types = Vec::new();
    let mut rest = set.key_type;
    while rest != 0 {
        types.push(rest & ((1 << TYPE_BITS) - 1));
        rest >>= TYPE_BITS;
    }
    types.reverse();
    types
}

/// Bytes that a field of this type takes in a concatenation.
fn padded(kind: u32) -> usize {
    match kind {
        IPV6_ADDR | IFNAME => 16,
        ETHER_ADDR => 8,
        _ => 4,
    }
}

/// Ranges of plain keys end before the next end.
fn last_of_range(set: &Set, first: &[u8]) -> Option<Vec<u8>> {
    let ends = set.elements.iter().filter(|element| element.ends && element.key.as_slice() > first);
    let mut last = ends.map(|element| element.key.clone()).min().unwrap_or_else(|| vec![0; first.len()]);
    for byte in last.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != u8::MAX {
            break;
        }
    }
    Some(last)
}

fn field(kind: u32, bytes: &[u8]) -> String {
    let known = match kind {
        IPV4_ADDR => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).to_string()),
        IPV6_ADDR => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_string()),
        ETHER_ADDR => bytes.first_chunk::<6>().map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":")),
        INET_PROTO => bytes.first().map(|number| protocol(*number)),
        INET_SERVICE => bytes.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes).to_string()),
        MARK => bytes.first_chunk::<4>().map(|bytes| format!("{:#010x}", u32::from_ne_bytes(*bytes))),
        IFNAME => Some(format!("\"{}\"", super::attributes::text(bytes))),
        _ => None,
    };
    known.unwrap_or_else(|| format!("0x{}", hex::encode(bytes)))
}

fn protocol(number: u8) -> String {
    let name = match number {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        58 => "ipv6-icmp",
        132 => "sctp",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(types: &[u32], fields: &[usize], interval: bool) -> Set {
        Set {
            name: "s".to_owned(),
            handle: 1,
            interval,
            dynamic: false,
            key_type: types.iter().fold(0, |all, kind| all << TYPE_BITS | kind),
            fields: fields.to_vec(),
            object_kind: None,
            elements: vec![],
        }
    }

    fn element(key: &[u8]) -> Element {
        Element { key: key.to_vec(), ..Element::default() }
    }

    #[test]
    fn keys_as_nft_prints_them() {
        let linked = set(&[IPV4_ADDR, IPV4_ADDR, INET_PROTO, INET_SERVICE], &[4, 4, 4, 4], true);
        let key = [172, 17, 0, 3, 172, 17, 0, 2, 6, 0, 0, 0, 0x15, 0x38, 0, 0];
        let mut last = key;
        last[13] = 0x40;
        assert_eq!(text(&linked, &element(&key)), "172.17.0.3 . 172.17.0.2 . tcp . 5432");
        let range = Element { last: Some(last.to_vec()), ..element(&key) };
        assert_eq!(text(&linked, &range), "172.17.0.3 . 172.17.0.2 . tcp . 5432-5440");
        let macs = set(&[IFNAME, ETHER_ADDR], &[16, 8], false);
        let key = [b"veth1\0\0\0\0\0\0\0\0\0\0\0".as_slice(), &[2, 0, 0, 0, 0, 0xa, 0, 0]].concat();
        assert_eq!(text(&macs, &element(&key)), "\"veth1\" . 02:00:00:00:00:0a");
        assert_eq!(text(&set(&[60], &[2], false), &element(&[1, 2])), "0x0102", "a type that is not known");
    }

    #[test]
    fn plain_ranges_end_before_their_ends() {
        let mut ports = set(&[INET_SERVICE], &[2], true);
        let end = Element { ends: true, ..element(&[1, 0]) };
        ports.elements = vec![element(&[0, 80]), end];
        assert_eq!(text(&ports, &ports.elements[0]), "80-255");
        ports.elements.pop();
        assert_eq!(text(&ports, &ports.elements[0]), "80-65535");
    }
}
