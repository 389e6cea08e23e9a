//! Neighbour tables of the host and of containers: which MAC they believe an address to have.

use std::net::Ipv4Addr;

use super::lies::Cast;

use crate::harness::packets::frame::{IPV4, Ipv4, Mac, ethernet};
use crate::harness::packets::{Attack, attack, volley};
use crate::harness::{Host, until};

const MODES: [&[&str]; 2] = [&[], &["--icc=false"]];
const WAITS: [&str; 2] = ["sleep", "1000"];

/// A container that is said to be somewhere else stays where it is, for its neighbours and for the host.
#[test]
fn nobody_believes_lies_about_addresses() {
    for flags in MODES {
        let host = Host::with(flags);
        let [liar, victim, other] = [(); 3].map(|()| host.run("busybox").cmd(&WAITS).start());
        let [liar, victim, other] = [&liar, &victim, &other].map(|it| host.station(it));
        let gateway = host.station_at("pontoon0");
        let victims = Cast { liar: &liar, victim: &victim, other: &other, gateway: &gateway };
        let hosts = Cast { victim: &gateway, ..victims };
        let lies = || [victims.arp(), hosts.arp()].concat();
        let believed = || {
            let places = [(&victim, other.ip), (&victim, gateway.ip), (&gateway, other.ip), (&gateway, victim.ip)];
            places.map(|(who, address)| who.neighbour(address))
        };
        // Everybody knows everybody by now: with icc=false, containers by the MAC of the bridge.
        for address in [gateway.ip, other.ip] {
            let _ = victim.sh(&format!("busybox ping -c 1 -W 1 {address}"));
        }
        gateway.sh(&format!("busybox ping -c 1 -W 1 {} && busybox ping -c 1 -W 1 {}", victim.ip, other.ip)).ok();
        let before = believed();
        assert!(before.iter().all(Option::is_some), "{before:?}");

        for _ in 0..3 {
            volley(&liar, &[&victim], &lies());
            assert_eq!(believed(), before, "after lies, with {flags:?}");
        }
        host.without_defences(|| {
            let mine = Some(text(liar.mac));
            until("the control: lies are believed", || {
                volley(&liar, &[&liar], &lies());
                let now = believed();
                [0, 1, 2].iter().all(|&at| now[at] != before[at]) && now.contains(&mine)
            });
        });
    }
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The neighbour's address on one's own interface, while the neighbour is silent.
#[test]
fn an_address_taken_is_of_no_use() {
    for flags in MODES {
        let host = Host::with(flags);
        let thief = host.run("busybox").flags(&["--cap-add", "NET_ADMIN"]).cmd(&WAITS).start();
        let victim = host.run("busybox").publish("8080:80").serving().start();
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
        let (thief, victim) = (host.station(&thief), host.station(&victim));
        let gateway = host.station_at("pontoon0");
        victim.sh("ip link set eth0 down").ok();
        for address in [format!("{}/16", victim.ip), "172.17.88.88/16".to_owned()] {
            thief.sh(&format!("ip address add {address} dev eth0")).ok();
        }
        let asked = || {
            host.sh("ip neigh flush dev pontoon0").ok();
            for address in [victim.ip, [172, 17, 88, 88].into()] {
                host.sh(&format!("busybox ping -c 1 -W 1 {address}"));
            }
            [victim.ip, [172, 17, 88, 88].into()].map(|address| gateway.neighbour(address))
        };
        let thiefs = Some(text(thief.mac));
        assert!(!asked().contains(&thiefs), "the host takes the thief for another");
        host.without_defences(|| assert_eq!(asked(), [thiefs.clone(), thiefs.clone()], "the control"));
        victim.sh("ip link set eth0 up && ip route add default via 172.17.0.1").ok();
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    }
}

/// The kernel knows only so many neighbours (`gc_thresh3`), in all namespaces together: who makes it look for some that
/// are not there can keep it from finding those that are.
#[test]
fn nobody_fills_the_hosts_table() {
    for flags in MODES {
        let host = Host::with(flags);
        let mallory = host.run("busybox").cmd(&WAITS).start();
        let (mallory, gateway) = (host.station(&mallory), host.station_at("pontoon0"));
        let flood = || -> Vec<Attack> {
            let anywhere = (0..200).map(|last| Ipv4Addr::new(172, 17, 200, last));
            anywhere
                .map(|to| {
                    attack("somewhere", |t| {
                        ethernet(mallory.mac, gateway.mac, IPV4, &Ipv4::new(mallory.ip, to).udp(40_000, 80, &t.0))
                    })
                })
                .collect()
        };
        let known = || {
            host.sh("ip neigh show dev pontoon0 nud all").ok().lines().filter(|it| it.contains("172.17.200.")).count()
        };
        volley(&mallory, &[&mallory], &flood());
        assert_eq!(known(), 0, "the host looks for who is not there, with {flags:?}");
        host.without_defences(|| {
            volley(&mallory, &[&mallory], &flood());
            assert!(known() > 100, "the control: {}", known());
        });
    }
}
