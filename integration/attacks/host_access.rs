//! The host's services, for containers: as with Docker, or with `--host-access=false` nothing but names, echo and what is
//! published.

use std::net::Ipv4Addr;

use crate::harness::Host;
use crate::harness::packets::frame::{IPV4, Ipv4, VLAN, ethernet, tagged};
use crate::harness::packets::{Attack, Station, attack, attacks, volley_at};

/// Of the host: its gateway address, its address on the LAN, and one that no interface towards containers has.
const ADDRESSES: [[u8; 4]; 3] = [[172, 17, 0, 1], [192, 0, 2, 1], [198, 51, 100, 1]];

fn datagrams(from: &Station<'_>, gateway: &Station<'_>) -> Vec<Attack> {
    let frame = |packet: &[u8]| ethernet(from.mac, gateway.mac, IPV4, packet);
    let mut all = Vec::new();
    for to in ADDRESSES.map(Ipv4Addr::from) {
        let ip = Ipv4::new(from.ip, to);
        all.push(attack(&format!("to {to}"), |t| frame(&ip.udp(40_000, 5000, &t.0))));
        all.push(attack(&format!("to {to} from port 53"), |t| frame(&ip.udp(53, 5000, &t.0))));
        all.push(attack(&format!("to {to} from port 67"), |t| frame(&ip.udp(68, 5000, &t.0))));
        all.push(attacks(&format!("to {to} in fragments"), |t| {
            let whole = ip.datagram(40_001, 5000, &[[0; 32].as_slice(), &t.0].concat());
            let (first, second) = whole.split_at(24);
            let part = |offset, more, bytes: &[u8]| frame(&ip.clone().fragment(7, offset, more).carrying(17, bytes));
            vec![part(0, true, first), part(24, false, second)]
        }));
        all.push(attack(&format!("to {to} with options"), |t| {
            frame(&ip.clone().options(&[148, 4, 0, 0]).udp(40_002, 5000, &t.0))
        }));
    }
    all
}

#[test]
fn is_as_with_docker_or_none() {
    for (flags, open) in [
        (["--icc=true"].as_slice(), true),
        (&["--host-access=false"], false),
        (&["--icc=false", "--host-access=false"], false),
    ] {
        let mut host = Host::bare();
        host.sh("ip address add 198.51.100.1/32 dev lo").ok();
        host.start_daemon(flags);
        let service = host.service("0.0.0.0:5000");
        let mallory = host.run("busybox").cmd(&["sleep", "1000"]).start();
        let _web = host.run("busybox").publish("8080:80").serving().start();
        let _secret = host.itself().background(&["busybox", "httpd", "-f", "-p", "5001", "-h", "/run"]);
        host.itself().sh("until (</dev/tcp/127.0.0.1/5001) 2>/dev/null; do :; done").ok();
        let connects = |to: &str| mallory.sh(&format!("nc -w 1 {to} 5001 </dev/null")).code == 0;

        // Echo, and what is published, in any case.
        mallory.exec(&["ping", "-c", "1", "-W", "2", "172.17.0.1"]).ok();
        mallory.exec(&["wget", "-qO-", "http://172.17.0.1:8080/"]).says("hello");
        mallory.exec(&["wget", "-qO-", "http://192.0.2.1:8080/"]).says("hello");
        for address in ["172.17.0.1", "192.0.2.1", "198.51.100.1"] {
            assert_eq!(connects(address), open, "{address}:5001 with {flags:?}");
        }
        let (gateway, services) = (host.station_at("pontoon0"), [&service]);
        let station = host.station(&mallory);
        let seen = volley_at(&station, &services, &datagrams(&station, &gateway));
        if open {
            seen.everything();
            continue;
        }
        seen.nothing();
        let tag = |t: &[u8]| {
            tagged(
                &ethernet(station.mac, gateway.mac, IPV4, &Ipv4::new(station.ip, gateway.ip).udp(1, 5000, t)),
                VLAN,
                0,
            )
        };
        volley_at(&station, &services, &[attack("on VLAN 0", |t| tag(&t.0))]).nothing();
        host.without_defences(|| {
            volley_at(&station, &services, &datagrams(&station, &gateway)).everything();
            volley_at(&station, &services, &[attack("on VLAN 0", |t| tag(&t.0))]).everything();
        });
        assert!(!connects("172.17.0.1"), "after the daemon's restart");
    }
}

/// Names are asked for at the gateway, and whatever listens beside that is not reached.
#[test]
fn names_are_answered_without_it() {
    let host = Host::with(&["--host-access=false"]);
    let client = host.run("busybox").name("web").hostname("web").cmd(&["sleep", "1000"]).start();
    let answer = client.sh("nslookup web");
    assert!(answer.ok().contains(&client.address()), "{answer}");
}
