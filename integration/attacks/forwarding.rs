//! The bridge's forwarding table: what the bridge believes to be behind which port.

use crate::harness::packets::frame::{ARP, Arp, BROADCAST, EXPERIMENTAL, IPV4, Ipv4, Mac, VLAN, arp, ethernet, tagged};
use crate::harness::packets::{Attack, Station, attack, volley};
use crate::harness::{Host, until};

const MODES: [&[&str]; 2] = [&[], &["--icc=false"]];
const WAITS: [&str; 2] = ["sleep", "1000"];

/// Frames under another's MAC do not lead the other's traffic away.
#[test]
fn the_bridge_does_not_learn_lies() {
    for flags in MODES {
        let host = Host::with(flags);
        let liar = host.run("busybox").cmd(&WAITS).start();
        let victim = host.run("busybox").publish("8080:80/udp").cmd(&WAITS).start();
        let (liar, victim) = (host.station(&liar), host.station(&victim));
        let (lan, door) = (host.lan_station(), host.station_at("lan0"));
        let traffic = |lie: &Attack| {
            let packet = Ipv4::new(lan.ip, door.ip);
            [attack(&format!("traffic after {}", lie.name), |t| {
                ethernet(lan.mac, door.mac, IPV4, &packet.udp(40_000, 8080, &t.0))
            })]
        };
        // It arrives where it should, and the liar has heard nothing of it.
        let stolen = |lie: &Attack| {
            let mut ear = victim.listens();
            volley(&liar, &[&liar], std::slice::from_ref(lie));
            let traffic = traffic(lie);
            let stolen = volley(&lan, &[&liar], &traffic);
            (stolen, ear.count(traffic[0].token))
        };
        for lie in lies(&liar, &victim) {
            let (stolen, arrived) = stolen(&lie);
            stolen.nothing();
            assert!(arrived > 0, "after {}, nothing arrives any more", lie.name);
        }
        host.without_defences(|| {
            // Our tables have gone, and with them what publishes the port.
            let rule = format!("iifname lan0 udp dport 8080 dnat to {}:80", victim.ip);
            let chain = "add chain ip control prerouting { type nat hook prerouting priority -100; }";
            host.sh(&format!("nft 'add table ip control; {chain}; add rule ip control prerouting {rule}'")).ok();
            for lie in lies(&liar, &victim) {
                // Now and then the victim says something of its own (that it is still there, when it is asked), and the bridge
                // learns the truth again.
                until(&format!("{} steals (the control)", lie.name), || stolen(&lie).0.is_everything());
            }
            host.sh("nft delete table ip control").ok();
        });
    }
}

/// Frames to nobody, to all, and to the addresses that a bridge hears itself (IEEE 802.1D, table 7-10): for these it
/// learns before any rule is asked.
fn lies(liar: &Station<'_>, victim: &Station<'_>) -> Vec<Attack> {
    let link_local = |last: u8| [1, 0x80, 0xc2, 0, 0, last];
    let nobody = [0x02, 0x0b, 0xad, 0, 0, 2];
    let says = |name: &str, to: Mac, kind: u16| attack(name, |t| ethernet(victim.mac, to, kind, &t.0));
    vec![
        says("a frame to nobody", nobody, EXPERIMENTAL),
        says("a frame to all", BROADCAST, EXPERIMENTAL),
        says("a frame to oneself", liar.mac, EXPERIMENTAL),
        says("spanning tree", link_local(0), 38),
        says("LACP", link_local(2), 0x8809),
        says("port authentication", link_local(3), 0x888e),
        says("LLDP", link_local(0xe), 0x88cc),
        attack("IPv4 of the liar's own", |t| {
            ethernet(victim.mac, BROADCAST, IPV4, &Ipv4::new(liar.ip, [255; 4].into()).udp(1, 1, &t.0))
        }),
        attack("a true ARP packet in a false frame", |t| {
            ethernet(
                victim.mac,
                BROADCAST,
                ARP,
                &arp(Arp::Request, (liar.mac, liar.ip), ([0; 6], [172, 17, 99, 99].into()), t),
            )
        }),
        attack("on VLAN 0", |t| tagged(&ethernet(victim.mac, BROADCAST, EXPERIMENTAL, &t.0), VLAN, 0)),
    ]
}
