//! Frames that no flow has: of types that nobody speaks here, in others' names, past the host. None may arrive anywhere.
//!
//! Each is made so that it does no harm should it arrive all the same. Who speaks in the name of an address that
//! somebody has, says of it what everybody believes already; where something else is said, it is about an address that
//! nobody has. What carries datagrams carries them to ports that nobody has open.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ipnetwork::Ipv4Network;

use super::heard::Sign;
use super::packet::{
    ARP, BROADCAST, EXPERIMENTAL, IPV4, IPV6, arp, ethernet, link_local, solicitation, solicited_mac, tagged, udp,
};
use super::station::{Seat, Where};
use super::token::Token;
use super::volley::Hearings;
use crate::firewall::audit::Mac;
use crate::model::audit::Verdict;

/// What is known of the network that strays are sent in.
#[derive(Clone, Debug)]
pub(super) struct Lay {
    /// The gateway's address, and the containers' subnet.
    pub(super) bip: Ipv4Network,
    /// The bridge's MAC.
    pub(super) gateway: Mac,
    /// Containers may talk to each other.
    pub(super) icc: bool,
    /// An address of the subnet that nobody has.
    pub(super) free: Option<Ipv4Addr>,
    /// A UDP port that no program has open, neither on the host nor in a container.
    pub(super) port: u16,
    /// Each container on the bridge: the place of its station, its name and its seat.
    pub(super) seats: Vec<(usize, String, Seat)>,
}

/// One kind of frame, from one container.
#[derive(Clone, Debug)]
pub(super) struct Stray {
    /// The place of the sender's station.
    pub(super) from: usize,
    /// To whom, by name.
    pub(super) to: String,
    /// What it is, in words.
    pub(super) what: String,
    /// It is lost only once the host's own stack has taken it: that it arrives at the bridge is no harm.
    at_host: bool,
    make: Make,
}

#[derive(Clone, Debug)]
enum Make {
    /// A frame with the token in it, made when the token is known.
    Experiment {
        vlan: Option<u16>,
    },
    Solicitation,
    Arp {
        operation: u8,
        sender: (Mac, Ipv4Addr),
        target: Ipv4Addr,
    },
    Datagram {
        frame: (Mac, Mac),
        from: SocketAddrV4,
        to: SocketAddrV4,
    },
}

/// Whose MAC nobody has: locally administered.
const NOBODY: Mac = [0x06, 0x70, 0x72, 0x6f, 0x62, 0x65];
/// An address of IPv6 that nobody has.
const NOBODY_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x470, 0x726f, 0x6265, 1);
/// The place of the host's station.
const HOST: usize = 0;
/// Any VLAN but the default one.
const SOME_VLAN: u16 = 2;
/// Of DHCP servers.
const DHCP: u16 = 67;

impl Stray {
    /// What one container tries; `at` is its place among the seats.
    pub(super) fn of(lay: &Lay, at: usize, port: u16) -> Vec<Self> {
        let (from, _, own) = &lay.seats[at];
        let others = lay.seats.len() - 1;
        let other = |step: usize| (step <= others).then(|| &lay.seats[(at + step) % lay.seats.len()]);
        let gateway = lay.bip.ip();
        let host = || "host".to_owned();
        let everybody = || "everybody on the bridge".to_owned();
        let stray = |to: String, what: String, make: Make| Self { from: *from, to, what, at_host: false, make };
        let datagram = |frame: (Mac, Mac), source: Ipv4Addr, source_port: u16, target: Ipv4Addr| {
            let (from, to) = (SocketAddrV4::new(source, source_port), SocketAddrV4::new(target, lay.port));
            Make::Datagram { frame, from, to }
        };
        let (target, whose) = other(1).map_or((gateway, host()), |(_, name, seat)| (seat.address, name.clone()));
        let to = || whose.clone();
        let by_gateway = (own.mac, lay.gateway);

        let mut all = vec![
            stray(everybody(), "a frame of ethertype 0x88b5".to_owned(), Make::Experiment { vlan: None }),
            stray(everybody(), format!("a frame on VLAN {SOME_VLAN}"), Make::Experiment { vlan: Some(SOME_VLAN) }),
            stray(everybody(), "an IPv6 neighbour solicitation".to_owned(), Make::Solicitation),
            stray(
                everybody(),
                format!("ARP reply in the name of the gateway {gateway}, with the gateway's own MAC"),
                Make::Arp { operation: 2, sender: (lay.gateway, gateway), target: gateway },
            ),
            stray(
                to(),
                format!("UDP to {target}:{} with a MAC that nobody has", lay.port),
                datagram((NOBODY, lay.gateway), own.address, port, target),
            ),
            stray(
                to(),
                format!("UDP from port {DHCP} to {target}:{}, as DHCP servers send", lay.port),
                datagram(by_gateway, own.address, DHCP, target),
            ),
            Self {
                at_host: true,
                ..stray(
                    host(),
                    format!("UDP to the host's 127.0.0.1:{}, by the gateway's MAC", lay.port),
                    datagram(by_gateway, own.address, port, Ipv4Addr::LOCALHOST),
                )
            },
        ];
        if let Some(free) = lay.free {
            all.extend([
                stray(
                    everybody(),
                    format!("ARP request in the name of {free}, which nobody has"),
                    Make::Arp { operation: 1, sender: (own.mac, free), target: gateway },
                ),
                stray(
                    to(),
                    format!("UDP to {target}:{} from {free}, which nobody has", lay.port),
                    datagram(by_gateway, free, port, target),
                ),
                stray(
                    host(),
                    format!("UDP to {gateway}:{} from {free}, which nobody has", lay.port),
                    datagram(by_gateway, free, port, gateway),
                ),
            ]);
        }
        if let Some((_, name, seat)) = other(1) {
            // Without `icc` the gateway answers for everybody: believing the neighbour's own MAC would do harm.
            let (whose, mac) = if lay.icc { ("its own", seat.mac) } else { ("the gateway's", lay.gateway) };
            all.push(stray(
                everybody(),
                format!("ARP reply in the name of {name} ({}), with {whose} MAC", seat.address),
                Make::Arp { operation: 2, sender: (mac, seat.address), target: seat.address },
            ));
            if !lay.icc {
                all.push(stray(
                    name.clone(),
                    format!("UDP to {}:{} straight to its MAC, past the host", seat.address, lay.port),
                    datagram((own.mac, seat.mac), own.address, port, seat.address),
                ));
            }
        }
        if let (Some((_, victim, seat)), Some((_, name, other))) = (other(1), other(2)) {
            all.push(stray(
                victim.clone(),
                format!("UDP to {}:{} from {name}'s address {}", seat.address, lay.port, other.address),
                datagram(by_gateway, other.address, port, seat.address),
            ));
        }
        all
    }

    /// The frame.
    pub(super) fn frame(&self, own: Mac, token: Token) -> Vec<u8> {
        match &self.make {
            Make::Experiment { vlan } => {
                let frame = ethernet(own, BROADCAST, EXPERIMENTAL, &token.payload());
                vlan.map_or_else(|| frame.clone(), |vlan| tagged(&frame, vlan))
            }
            Make::Solicitation => {
                ethernet(own, solicited_mac(NOBODY_6), IPV6, &solicitation(link_local(own), NOBODY_6, token))
            }
            Make::Arp { operation, sender, target } => {
                ethernet(own, BROADCAST, ARP, &arp(*operation, *sender, ([0; 6], *target), token))
            }
            Make::Datagram { frame: (source, target), from, to } => {
                ethernet(*source, *target, IPV4, &udp(*from, *to, &token.payload()))
            }
        }
    }

    /// Who heard it that should not, and the words for it. `deaf`: who could not have heard anything.
    pub(super) fn judge(
        &self,
        heard: &Hearings,
        names: &[String],
        deaf: &[&str],
        waited_ms: u128,
    ) -> (Verdict, String) {
        let arrived: BTreeSet<_> = heard
            .iter()
            .filter(|(place, way, sign)| *place != self.from && *sign == Sign::Asked && self.harms(*place, *way))
            .map(|(place, ..)| names[*place].as_str())
            .collect();
        match (arrived.is_empty(), deaf) {
            (false, _) => {
                (Verdict::Allow, format!("it arrived at {}", arrived.into_iter().collect::<Vec<_>>().join(", ")))
            }
            (true, []) => (Verdict::Deny, format!("it arrived nowhere within {waited_ms} ms")),
            (true, deaf) => {
                (Verdict::Unknown, format!("it arrived nowhere, but {} could not have heard it", deaf.join(", ")))
            }
        }
    }

    /// A container that gets what is for another can read it. The host's own stack drops it, and sees everything anyhow.
    fn harms(&self, place: usize, way: Where) -> bool {
        match way {
            Where::Stack => true,
            Where::Arriving => !self.at_host,
            Where::Overheard => !self.at_host && place != HOST,
            Where::Leaving => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::heard::Heard;
    use super::super::token::Run;
    use super::*;

    fn lay(containers: u8, icc: bool) -> Lay {
        let seat = |last: u8| {
            let (address, mac) = (Ipv4Addr::new(172, 17, 0, last), [2, 0x42, 0xac, 0x11, 0, last]);
            (usize::from(last - 1), format!("c{last}"), Seat { address, mac, port: format!("veth{last}") })
        };
        Lay {
            bip: "172.17.0.1/16".parse().unwrap(),
            gateway: [2, 0x42, 0xac, 0x11, 0, 1],
            icc,
            free: Some([172, 17, 255, 254].into()),
            port: 9,
            seats: (2..2 + containers).map(seat).collect(),
        }
    }

    #[test]
    fn what_is_tried() {
        let words = |containers, icc| -> Vec<String> {
            Stray::of(&lay(containers, icc), 0, 40_000)
                .into_iter()
                .map(|it| format!("{}: {}", it.to, it.what))
                .collect()
        };
        insta::assert_snapshot!(words(3, false).join("\n"), @r"
        everybody on the bridge: a frame of ethertype 0x88b5
        everybody on the bridge: a frame on VLAN 2
        everybody on the bridge: an IPv6 neighbour solicitation
        everybody on the bridge: ARP reply in the name of the gateway 172.17.0.1, with the gateway's own MAC
        c3: UDP to 172.17.0.3:9 with a MAC that nobody has
        c3: UDP from port 67 to 172.17.0.3:9, as DHCP servers send
        host: UDP to the host's 127.0.0.1:9, by the gateway's MAC
        everybody on the bridge: ARP request in the name of 172.17.255.254, which nobody has
        c3: UDP to 172.17.0.3:9 from 172.17.255.254, which nobody has
        host: UDP to 172.17.0.1:9 from 172.17.255.254, which nobody has
        everybody on the bridge: ARP reply in the name of c3 (172.17.0.3), with the gateway's MAC
        c3: UDP to 172.17.0.3:9 straight to its MAC, past the host
        c3: UDP to 172.17.0.3:9 from c4's address 172.17.0.4
        ");
        assert!(words(1, false).iter().all(|it| it.starts_with("host:") || it.starts_with("everybody")));
        assert!(words(2, true).iter().all(|it| !it.contains("straight")));
    }

    #[test]
    fn each_is_told_by_its_token_and_harms_nobody() {
        let run = Run::of(0x5151_5151);
        for lay in [lay(3, false), lay(3, true)] {
            for (at, (_, _, own)) in lay.seats.iter().enumerate() {
                for (number, stray) in (0..).zip(Stray::of(&lay, at, 40_000)) {
                    let frame = stray.frame(own.mac, run.token(number));
                    // A tag is taken off on the frame's way.
                    let bare = if stray.what.contains("VLAN") { [&frame[..12], &frame[16..]].concat() } else { frame };
                    assert_eq!(Heard::frame(run, &bare).map(|it| it.number), Some(number), "{}", stray.what);
                    if let Make::Arp { sender: (mac, address), .. } = stray.make {
                        assert!(believed(&lay, address).is_none_or(|it| it == mac), "{} is a lie", stray.what);
                    }
                }
            }
        }
    }

    /// The MAC that everybody has to believe an address to have.
    fn believed(lay: &Lay, address: Ipv4Addr) -> Option<Mac> {
        let seat = lay.seats.iter().find(|(.., seat)| seat.address == address);
        let gateway = (address == lay.bip.ip()).then_some(lay.gateway);
        gateway.or_else(|| seat.map(|(.., seat)| if lay.icc { seat.mac } else { lay.gateway }))
    }

    #[test]
    fn arriving_at_the_bridge_is_no_harm_to_its_loopback() {
        let strays = Stray::of(&lay(2, false), 0, 40_000);
        let names = ["host", "c2", "c3"].map(str::to_owned);
        let judge = |what: &str, heard: (usize, Where)| {
            let stray = strays.iter().find(|it| it.what.contains(what)).unwrap();
            stray.judge(&[(heard.0, heard.1, Sign::Asked)].into(), &names, &[], 300).0
        };
        assert_eq!(judge("127.0.0.1", (0, Where::Arriving)), Verdict::Deny);
        assert_eq!(judge("127.0.0.1", (0, Where::Stack)), Verdict::Allow);
        assert_eq!(judge("0x88b5", (0, Where::Arriving)), Verdict::Allow);
        assert_eq!(judge("0x88b5", (1, Where::Leaving)), Verdict::Deny, "it is the sender itself");
        assert_eq!(judge("0x88b5", (2, Where::Leaving)), Verdict::Deny);
        assert_eq!(judge("straight", (0, Where::Overheard)), Verdict::Deny, "it is not for the host, which drops it");
        assert_eq!(judge("straight", (2, Where::Overheard)), Verdict::Allow, "who it is not for can read it");
        let deaf = strays[0].judge(&Hearings::new(), &names, &["c3"], 300);
        assert_eq!(deaf.0, Verdict::Unknown);
    }
}
