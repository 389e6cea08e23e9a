//! Frames that lie: about who sends them, or about what the sender is.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::harness::packets::frame::{
    ARP, Arp, BROADCAST, EXPERIMENTAL, IPV4, IPV6, Ipv4, Mac, SYN, UDP, VLAN, arp, ethernet, icmpv6, ipv6, link_local,
    multicast_mac, tagged,
};
use crate::harness::packets::{Attack, Station, attack};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Nobody's MAC: locally administered.
const STRANGER: Mac = [0x02, 0x0b, 0xad, 0, 0, 1];

/// The liar, whom it lies to, who it says to be, and the gateway.
#[derive(Clone, Copy)]
pub(super) struct Cast<'s, 'h> {
    pub(super) liar: &'s Station<'h>,
    pub(super) victim: &'s Station<'h>,
    pub(super) other: &'s Station<'h>,
    pub(super) gateway: &'s Station<'h>,
}

impl Cast<'_, '_> {
    /// Whom the liar could say to be: name, MAC, address.
    fn masks(&self) -> [(&'static str, Mac, Ipv4Addr); 3] {
        let nobody = Ipv4Addr::new(172, 17, 99, 99);
        [
            ("another", self.other.mac, self.other.ip),
            ("the gateway", self.gateway.mac, self.gateway.ip),
            ("nobody", STRANGER, nobody),
        ]
    }

    /// "The address of this one is at my MAC", in every way to say that.
    pub(super) fn arp(&self) -> Vec<Attack> {
        let (liar, victim) = (self.liar, self.victim);
        let mut all = Vec::new();
        for (who, mac, ip) in self.masks() {
            let mine = (liar.mac, ip);
            let you = (victim.mac, victim.ip);
            let mut say = |what: &str, to: Mac, what_arp, sender, target| {
                let name = format!("ARP {what} as {who}");
                all.push(attack(&name, |t| ethernet(liar.mac, to, ARP, &arp(what_arp, sender, target, t))));
            };
            say("reply", victim.mac, Arp::Reply, mine, you);
            say("reply to all", BROADCAST, Arp::Reply, mine, you);
            say("question", victim.mac, Arp::Request, mine, you);
            say("question to all", BROADCAST, Arp::Request, mine, you);
            say("announcement", BROADCAST, Arp::Request, mine, ([0; 6], ip));
            say("announcement by reply", BROADCAST, Arp::Reply, mine, (BROADCAST, ip));
            // The frame's sender is true, what is in it is not: "my address is at that MAC".
            say("other MAC", victim.mac, Arp::Reply, (mac, liar.ip), you);
            say("both", victim.mac, Arp::Reply, (mac, ip), you);
            all.push(attack(&format!("ARP under the MAC of {who}"), |t| {
                ethernet(mac, victim.mac, ARP, &arp(Arp::Reply, (mac, ip), you, t))
            }));
            all.push(attack(&format!("ARP on VLAN 0 as {who}"), |t| {
                tagged(&ethernet(liar.mac, victim.mac, ARP, &arp(Arp::Reply, mine, you, t)), VLAN, 0)
            }));
            all.push(attack(&format!("RARP reply as {who}"), |t| {
                let mut packet = arp(Arp::Reply, mine, you, t);
                packet[7] = 4;
                ethernet(liar.mac, victim.mac, 0x8035, &packet)
            }));
        }
        all
    }

    /// Frames under the MAC of others.
    pub(super) fn mac(&self) -> Vec<Attack> {
        let (liar, victim) = (self.liar, self.victim);
        let mut all = Vec::new();
        for (who, mac, ip) in self.masks() {
            for (whose, source) in [("its own", liar.ip), ("that one's", ip)] {
                let packet = Ipv4::new(source, victim.ip);
                all.push(attack(&format!("MAC of {who}, {whose} address"), |t| {
                    ethernet(mac, victim.mac, IPV4, &packet.udp(40_000, 80, &t.0))
                }));
            }
            all.push(attack(&format!("MAC of {who}, no IP"), |t| ethernet(mac, victim.mac, EXPERIMENTAL, &t.0)));
            all.push(attack(&format!("MAC of {who}, to all"), |t| ethernet(mac, BROADCAST, EXPERIMENTAL, &t.0)));
            all.push(attack(&format!("MAC of {who}, IPv6"), |t| {
                ethernet(mac, victim.mac, IPV6, &icmpv6(link_local(mac), link_local(victim.mac), 128, [0; 4], &t.0))
            }));
        }
        all
    }

    /// IPv4 from the addresses of others, to `to` by way of `by`.
    pub(super) fn ip(&self, to: Ipv4Addr, by: Mac) -> Vec<Attack> {
        let others = [
            ("another", self.other.ip),
            ("the gateway", self.gateway.ip),
            ("nobody", [172, 17, 99, 99].into()),
            ("the LAN", [192, 0, 2, 2].into()),
            ("the host", [192, 0, 2, 1].into()),
            ("the outside", [198, 51, 100, 7].into()),
        ];
        let mut all = Vec::new();
        for (who, source) in others {
            let ip = Ipv4::new(source, to);
            let frame = |packet: &[u8]| ethernet(self.liar.mac, by, IPV4, packet);
            all.push(attack(&format!("TCP from the address of {who}"), |t| frame(&ip.tcp(40_000, 80, SYN, &t.0))));
            all.push(attack(&format!("UDP from the address of {who}"), |t| frame(&ip.udp(40_000, 5000, &t.0))));
            all.push(attack(&format!("echo from the address of {who}"), |t| frame(&ip.icmp(8, 0, [0, 1, 0, 1], &t.0))));
            all.push(attack(&format!("on VLAN 0 from the address of {who}"), |t| {
                tagged(&frame(&ip.udp(40_001, 5000, &t.0)), VLAN, 0)
            }));
        }
        all
    }

    /// Addresses that are nobody's. A router forwards none of these, so they are of use on the link alone.
    pub(super) fn impossible_ip(&self) -> Vec<Attack> {
        [[127, 0, 0, 1], [0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1]]
            .map(|source| {
                let ip = Ipv4::new(source.into(), self.victim.ip);
                attack(&format!("UDP from {}", Ipv4Addr::from(source)), |t| {
                    ethernet(self.liar.mac, self.victim.mac, IPV4, &ip.udp(40_000, 5000, &t.0))
                })
            })
            .into()
    }

    /// "I am the router", "I am the DHCP server", "go that way": under the sender's true addresses.
    pub(super) fn offices(&self) -> Vec<Attack> {
        let (liar, victim) = (self.liar, self.victim);
        let me = link_local(liar.mac);
        let many = |packet: &[u8]| ethernet(liar.mac, multicast_mac(ALL_NODES), IPV6, packet);
        let one = |packet: &[u8]| ethernet(liar.mac, victim.mac, IPV6, packet);
        // A lifetime of half an hour; then the sender's MAC as an option (RFC 4861).
        let router = [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1].as_slice(), &liar.mac].concat();
        let whose = |of: Ipv6Addr| [&of.octets()[..], &[2, 1], &liar.mac].concat();
        let dhcp6 = [2_u16.to_be_bytes(), 2_u16.to_be_bytes()];
        vec![
            attack("router advertisement", |t| {
                many(&icmpv6(me, ALL_NODES, 134, [64, 0, 7, 8], &[&router[..], &t.0].concat()))
            }),
            attack("router advertisement to one", |t| {
                one(&icmpv6(me, link_local(victim.mac), 134, [64, 0, 7, 8], &[&router[..], &t.0].concat()))
            }),
            attack("router advertisement as the gateway", |t| {
                many(&icmpv6(
                    link_local(self.gateway.mac),
                    ALL_NODES,
                    134,
                    [64, 0, 7, 8],
                    &[&router[..], &t.0].concat(),
                ))
            }),
            attack("router advertisement behind a header", |t| {
                // Hop-by-hop options, padding only: a filter that looks at the next header alone misses what follows.
                let inner = icmpv6(me, ALL_NODES, 134, [64, 0, 7, 8], &[&router[..], &t.0].concat()).split_off(40);
                many(&ipv6(me, ALL_NODES, 0, &[&[58, 0, 1, 4, 0, 0, 0, 0][..], &inner].concat()))
            }),
            attack("router advertisement in a fragment", |t| {
                let inner = icmpv6(me, ALL_NODES, 134, [64, 0, 7, 8], &[&router[..], &t.0].concat()).split_off(40);
                many(&ipv6(me, ALL_NODES, 44, &[&[58, 0, 0, 0, 0, 0, 0, 9][..], &inner].concat()))
            }),
            attack("router advertisement on VLAN 0", |t| {
                tagged(&many(&icmpv6(me, ALL_NODES, 134, [64, 0, 7, 8], &[&router[..], &t.0].concat())), VLAN, 0)
            }),
            attack("IPv6 redirect", |t| {
                let way = [link_local(self.gateway.mac).octets(), link_local(self.other.mac).octets()].concat();
                one(&icmpv6(me, link_local(victim.mac), 137, [0; 4], &[&way[..], &t.0].concat()))
            }),
            attack("neighbour advertisement for another", |t| {
                let other = link_local(self.other.mac);
                one(&icmpv6(other, link_local(victim.mac), 136, [0x20, 0, 0, 0], &[&whose(other)[..], &t.0].concat()))
            }),
            attack("DHCPv6 server", |t| {
                let head =
                    [&547_u16.to_be_bytes()[..], &546_u16.to_be_bytes(), &24_u16.to_be_bytes(), &[0, 0]].concat();
                one(&ipv6(me, link_local(victim.mac), UDP, &[&head[..], &t.0, &dhcp6.concat()].concat()))
            }),
            attack("DHCP offer", |t| self.offer(liar.ip, Ipv4Addr::BROADCAST, BROADCAST, &t.0)),
            attack("DHCP offer to one", |t| self.offer(liar.ip, victim.ip, victim.mac, &t.0)),
            attack("DHCP offer as the gateway", |t| self.offer(self.gateway.ip, Ipv4Addr::BROADCAST, BROADCAST, &t.0)),
            attack("DHCP offer on VLAN 0", |t| {
                tagged(&self.offer(liar.ip, Ipv4Addr::BROADCAST, BROADCAST, &t.0), VLAN, 0)
            }),
            attack("ICMP redirect as the gateway", |t| {
                let ip = Ipv4::new(self.gateway.ip, victim.ip);
                let quoted = Ipv4::new(victim.ip, self.other.ip).udp(40_000, 80, &t.0);
                ethernet(liar.mac, victim.mac, IPV4, &ip.icmp(5, 1, liar.ip.octets(), &quoted))
            }),
        ]
    }

    /// RFC 2131: a BOOTREPLY that offers an address, and who offers it as the router.
    fn offer(&self, source: Ipv4Addr, to: Ipv4Addr, mac: Mac, token: &[u8]) -> Vec<u8> {
        let mut message = vec![2, 1, 6, 0, 0, 0, 0, 9];
        message.resize(28, 0);
        message.extend(self.victim.mac);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, 2, 3, 4]);
        message.extend(self.liar.ip.octets());
        message.push(255);
        message.extend(token);
        ethernet(self.liar.mac, mac, IPV4, &Ipv4::new(source, to).udp(67, 68, &message))
    }
}
