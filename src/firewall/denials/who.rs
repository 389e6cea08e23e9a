//! A logged packet → who really sent it, as whom, and to whom. Pure.
//!
//! The guard at containers' ports has looked at each frame before anything else: what it let through to be dropped later
//! is from whom it says. What it dropped itself is known by its port, whatever it says.

use std::net::IpAddr;

use super::directory::{Directory, Known};
use super::frame::{Frame, Mac};
use crate::firewall::names::Cause;
use crate::model::audit::Correspondent;
use crate::model::{ContainerId, MacAddr};

/// What is the same of packets that are counted as one denial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) cause: Cause,
    pub(super) from: Correspondent,
    pub(super) claims: Option<Correspondent>,
    pub(super) to: Correspondent,
    pub(super) what: String,
    pub(super) port: Option<u16>,
}

/// Where a packet was dropped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) cause: Cause,
    /// By the rules of the bridge.
    pub(super) bridged: bool,
    /// The interface where it came in.
    pub(super) interface: Option<String>,
}

/// Whom it concerns, and what it was. Of what no container sent, it concerns the container that it was for.
pub(super) fn judge(directory: &Directory, place: &Place, frame: Frame) -> (Option<ContainerId>, Key) {
    let sender = sender(directory, place, &frame);
    let from = match sender {
        Some(known) => Correspondent {
            interface: Some(known.port.clone()),
            address: Some(known.address.into()),
            ..container(known)
        },
        None => stranger(place, &frame),
    };
    let claims = sender.and_then(|known| claims(directory, place.cause, known, &frame));
    let to = receiver(directory, place.cause, &frame);
    let whose = from.container.clone().or_else(|| to.container.clone());
    (whose, Key { cause: place.cause, from, claims, to, what: frame.what, port: frame.port })
}

/// The container that really sent it.
fn sender<'a>(directory: &'a Directory, place: &Place, frame: &Frame) -> Option<&'a Known> {
    let interface = place.interface.as_deref();
    if place.bridged {
        // A port that is gone: of these two causes the guard has compared the MAC before.
        let by_mac = || frame.source_mac.filter(|_| matches!(place.cause, Cause::SpoofedIp | Cause::SpoofedArp));
        return interface
            .and_then(|port| directory.by_port(port))
            .or_else(|| by_mac().and_then(|mac| directory.by_mac(mac)));
    }
    // Strangers call themselves what they like.
    if matches!(place.cause, Cause::Lan | Cause::Stranger) || interface != Some(&directory.bridge) {
        return None;
    }
    frame.source.and_then(|source| directory.by_address(source))
}

/// Somebody who is no container.
fn stranger(place: &Place, frame: &Frame) -> Correspondent {
    Correspondent {
        interface: place.interface.clone(),
        address: frame.source,
        mac: frame.source_mac.filter(|_| place.bridged).map(text),
        ..Correspondent::default()
    }
}

/// Whom a container says to be that it is not.
fn claims(directory: &Directory, cause: Cause, sender: &Known, frame: &Frame) -> Option<Correspondent> {
    let spoofed = matches!(cause, Cause::SpoofedIp | Cause::SpoofedArp | Cause::SpoofedMac);
    let address = frame
        .source
        .filter(|source| source.is_ipv4() && *source != sender.address && (spoofed || !source.is_unspecified()));
    let macs = [frame.source_mac, frame.arp_mac];
    let mac = macs.into_iter().flatten().find(|mac| *mac != sender.mac && *mac != [0; 6]);
    if address.is_none() && mac.is_none() {
        return None;
    }
    let by_address = address.map(|address| named(directory, address));
    let by_mac = || mac.and_then(|mac| directory.by_mac(mac)).map(container).unwrap_or_default();
    let who = by_address.filter(|who| who.name.is_some()).unwrap_or_else(by_mac);
    Some(Correspondent { address, mac: mac.map(text), ..who })
}

fn receiver(directory: &Directory, cause: Cause, frame: &Frame) -> Correspondent {
    let Some(address) = frame.target else {
        let mac = frame.target_mac;
        let who = mac.and_then(|mac| directory.by_mac(mac)).map(container).unwrap_or_default();
        return Correspondent { mac: mac.map(text), ..who };
    };
    let who = match cause {
        Cause::Host | Cause::Loopback => Correspondent { name: Some("host".to_owned()), ..Correspondent::default() },
        _ => named(directory, address),
    };
    Correspondent { address: Some(address), ..who }
}

fn named(directory: &Directory, address: IpAddr) -> Correspondent {
    match directory.by_address(address) {
        Some(known) => container(known),
        None if directory.is_gateway(address) => {
            Correspondent { name: Some("host".to_owned()), ..Correspondent::default() }
        }
        None => Correspondent::default(),
    }
}

fn container(known: &Known) -> Correspondent {
    Correspondent { name: Some(known.name.to_string()), container: Some(known.id.clone()), ..Correspondent::default() }
}

fn text(mac: Mac) -> String {
    MacAddr(mac).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::directory::tests::directory;
    use super::*;
    use crate::firewall::elements::tests::id;

    fn frame(source: [u8; 4], mac: u8, target: [u8; 4]) -> Frame {
        Frame {
            source_mac: Some([2, 0x42, 172, 17, 0, mac]),
            source: Some(source.into()),
            target: Some(target.into()),
            port: Some(80),
            what: "tcp/80".into(),
            ..Frame::default()
        }
    }

    fn at(cause: Cause, interface: &str) -> Place {
        Place { cause, bridged: interface.starts_with("veth"), interface: Some(interface.to_owned()) }
    }

    fn name(of: &Correspondent) -> &str {
        of.name.as_deref().unwrap_or("-")
    }

    #[test]
    fn the_port_tells_who_it_was_whatever_the_addresses_say() {
        let directory = directory(&[2, 3, 4]);
        let lie = frame([172, 17, 0, 3], 2, [172, 17, 0, 4]);
        let (whose, key) = judge(&directory, &at(Cause::SpoofedIp, "veth2"), lie);
        assert_eq!(whose, Some(id(2)));
        assert_eq!((name(&key.from), key.from.interface.as_deref()), ("c2", Some("veth2")));
        let claims = key.claims.expect("it lies");
        assert_eq!((name(&claims), claims.address, claims.mac.as_deref()), ("c3", Some([172, 17, 0, 3].into()), None));
        assert_eq!(name(&key.to), "c4");

        let other_mac = frame([172, 17, 0, 2], 3, [172, 17, 0, 1]);
        let (_, key) = judge(&directory, &at(Cause::SpoofedMac, "veth2"), other_mac);
        let claims = key.claims.expect("it lies");
        assert_eq!((name(&claims), claims.address, claims.mac.as_deref()), ("c3", None, Some("02:42:ac:11:00:03")));
        assert_eq!(name(&key.to), "host");
    }

    #[test]
    fn an_arp_message_may_lie_where_its_frame_does_not() {
        let directory = directory(&[2, 3]);
        let arp = Frame { arp_mac: Some([2, 0x42, 172, 17, 0, 2]), ..frame([172, 17, 0, 1], 2, [172, 17, 0, 3]) };
        let (_, key) = judge(&directory, &at(Cause::SpoofedArp, "veth2"), arp);
        assert_eq!(key.claims.as_ref().map(name), Some("host"));
        let probe = frame([0, 0, 0, 0], 2, [172, 17, 0, 9]);
        let (_, key) = judge(&directory, &at(Cause::SpoofedArp, "veth2"), probe);
        assert_eq!(key.claims.and_then(|claims| claims.address), Some([0, 0, 0, 0].into()));
    }

    #[test]
    fn what_was_routed_is_known_by_its_address() {
        let directory = directory(&[2, 3]);
        let bridge = directory.bridge.clone();
        let (whose, key) = judge(&directory, &at(Cause::Icc, &bridge), frame([172, 17, 0, 2], 2, [172, 17, 0, 3]));
        assert_eq!((whose, name(&key.from), name(&key.to)), (Some(id(2)), "c2", "c3"));
        assert_eq!(key.claims, None);
        let (_, key) = judge(&directory, &at(Cause::Host, &bridge), frame([172, 17, 0, 2], 2, [192, 0, 2, 1]));
        assert_eq!(name(&key.to), "host");
        // From outside, whoever it says to be; it concerns the one that it is for.
        let (whose, key) = judge(&directory, &at(Cause::Lan, "eth0"), frame([172, 17, 0, 2], 9, [172, 17, 0, 3]));
        assert_eq!((whose, name(&key.from), key.from.interface.as_deref()), (Some(id(3)), "-", Some("eth0")));
    }

    #[test]
    fn a_port_that_is_gone_is_not_guessed() {
        let directory = directory(&[2, 3]);
        let gone = |cause| Place { interface: None, ..at(cause, "veth9") };
        let lie = || frame([172, 17, 0, 3], 2, [172, 17, 0, 4]);
        assert_eq!(judge(&directory, &gone(Cause::SpoofedIp), lie()).0, Some(id(2)));
        let (whose, key) = judge(&directory, &gone(Cause::SpoofedMac), lie());
        assert_eq!((whose, key.from.mac.as_deref()), (None, Some("02:42:ac:11:00:02")));
    }

    #[test]
    fn without_an_address_the_mac_says_to_whom() {
        let directory = directory(&[2, 3]);
        let other = Frame {
            source_mac: Some([2, 0x42, 172, 17, 0, 2]),
            target_mac: Some([2, 0x42, 172, 17, 0, 3]),
            what: "ethertype 0x88b5".into(),
            ..Frame::default()
        };
        let (_, key) = judge(&directory, &at(Cause::Ethertype, "veth2"), other);
        assert_eq!((name(&key.from), name(&key.to), key.claims), ("c2", "c3", None));
    }
}
