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
    // By port 53, from where they are led to the daemon's own port, and not there.
    let port = host.sh("nft list chain inet pontoon-pontoon0 nat_prerouting | grep -o 'dnat ip to [^ ]*'").ok();
    let port = port.rsplit(':').next().expect("a port").to_owned();
    let station = host.station(&client);
    let asks = |port: &str| station.sh(&format!("timeout 2 bash -c '</dev/tcp/172.17.0.1/{port}'")).code == 0;
    assert!(!asks(&port), "port {port} is open");
    assert!(asks("53"));
    let _frozen = host.freeze_daemon();
    host.sh("nft flush chain inet pontoon-pontoon0 input").ok();
    assert!(asks(&port), "the control");
}

/// The kernel hands frames to LLDP's address to the port's own IP layer, past the bridge and all that judges what comes by
/// it; so they carry what they like, in whoever's name.
#[test]
fn frames_for_the_bridge_itself_carry_nothing_to_the_host() {
    let host = Host::with(&["--host-access=false"]);
    let service = host.service("0.0.0.0:5000");
    let mallory = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let victim = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (station, victim) = (host.station(&mallory), host.station(&victim));
    let attacks = || {
        let mut all = Vec::new();
        for last in [0u8, 1, 2, 3, 0xd, 0xe, 0xf] {
            for (whose, ip) in [("its own", station.ip), ("another's", victim.ip)] {
                all.push(attack(&format!("01:80:c2:00:00:{last:02x} from {whose} address"), |t| {
                    let packet = Ipv4::new(ip, [172, 17, 0, 1].into()).udp(40_000, 5000, &t.0);
                    ethernet(station.mac, [1, 0x80, 0xc2, 0, 0, last], IPV4, &packet)
                }));
            }
        }
        all
    };
    volley_at(&station, &[&service], &attacks()).nothing();
    {
        // The control: as a port is by itself, and with all our tables.
        let _frozen = host.freeze_daemon();
        host.sh(&format!("ip link set {} type bridge_slave group_fwd_mask 0", station.interface_on_the_host())).ok();
        let lldp = ["its own", "another's"].map(|whose| format!("01:80:c2:00:00:0e from {whose} address"));
        volley_at(&station, &[&service], &attacks()).nothing_but(&lldp.each_ref().map(String::as_str));
    }
}
