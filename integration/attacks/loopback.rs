//! The host's loopback services, which think that only the host can talk to them.

use std::net::Ipv4Addr;

use crate::harness::Host;
use crate::harness::packets::frame::{IPV4, Ipv4, UDP, VLAN, ethernet, tagged};
use crate::harness::packets::{Attack, Station, attack, volley, volley_at};

/// Where they listen. 127.0.0.53 is systemd's resolver.
const LOOPBACK: [&str; 4] = ["127.0.0.1:5000", "127.0.0.53:5000", "127.1.2.3:5000", "127.255.255.254:5000"];

/// Addresses of 127/8 in the target, the source, or both.
#[test]
fn they_hear_nothing_of_containers() {
    for flags in [[].as_slice(), &["--icc=false"], &["--host-access=false"]] {
        let host = Host::with(flags);
        let lax = || {
            host.sh("for key in accept_source_route=1 rp_filter=0 accept_local=1 route_localnet=1; do
                for where in all lan0 pontoon0; do sysctl -qw net.ipv4.conf.$where.$key; done; done")
                .ok();
        };
        lax();
        let mallory = host.run("busybox").cmd(&["sleep", "1000"]).start();
        let mallory = host.station(&mallory);
        let gateway = host.station_at("pontoon0");
        let services = LOOPBACK.map(|address| host.service(address));
        let services: Vec<_> = services.iter().collect();
        let attacks = || to_loopback(&mallory, &gateway);
        volley_at(&mallory, &services, &attacks()).nothing();
        host.without_defences(|| {
            // The bridge's own ones are among the defences.
            lax();
            let seen = volley_at(&mallory, &services, &attacks());
            seen.everything_of(
                &LOOPBACK.map(|to| format!("UDP to {to} from {}", mallory.ip)).each_ref().map(String::as_str),
            );
            seen.everything_of(&["a service on 127.0.0.1, by source route", "on VLAN 0"]);
        });
        volley_at(&mallory, &services, &attacks()).nothing();
    }
}

fn to_loopback(from: &Station<'_>, gateway: &Station<'_>) -> Vec<Attack> {
    let frame = |packet: &[u8]| ethernet(from.mac, gateway.mac, IPV4, packet);
    let localhost = Ipv4Addr::LOCALHOST;
    let mut all = Vec::new();
    for to in LOOPBACK {
        let address: std::net::SocketAddrV4 = to.parse().expect("an address");
        for source in
            [from.ip, localhost, [127, 0, 0, 99].into(), gateway.ip, [192, 0, 2, 1].into(), [8, 8, 8, 8].into()]
        {
            let ip = Ipv4::new(source, *address.ip());
            all.push(attack(&format!("UDP to {to} from {source}"), |t| frame(&ip.udp(40_000, address.port(), &t.0))));
        }
    }
    let ip = Ipv4::new(from.ip, localhost);
    all.push(attack("on VLAN 0", |t| tagged(&frame(&ip.udp(40_000, 5000, &t.0)), VLAN, 0)));
    all.push(attack("a service on 127.0.0.1, by source route", |t| {
        let hops = [&[131, 7, 4][..], &localhost.octets()].concat();
        // The checksum is that of the last hop.
        frame(&Ipv4::new(from.ip, gateway.ip).options(&hops).carrying(UDP, &ip.datagram(40_000, 5000, &t.0)))
    }));
    all
}

/// A program, rather than frames: root in a container that gives itself what routes and addresses it likes.
#[test]
fn no_route_leads_there() {
    let host = Host::new();
    host.itself().sh("cd /run && echo secret > index.html").ok();
    let _secret = host.itself().background(&["busybox", "httpd", "-f", "-p", "127.0.0.1:5000", "-h", "/run"]);
    assert_eq!(host.itself().get("http://127.0.0.1:5000/"), "secret");
    let capabilities = ["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
    let mallory = host.run("busybox").flags(&capabilities).cmd(&["sleep", "1000"]).start();
    let mallory = host.station(&mallory);
    let routes = "sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1
        ip rule add priority 1 lookup local && ip rule del priority 0
        ip route add 127.0.0.0/8 via 172.17.0.1 dev eth0 table 77 && ip rule add priority 0 to 127.0.0.0/8 lookup 77";
    mallory.sh(routes).ok();
    let ask = |from: &str| mallory.sh(&format!("curl -s --noproxy '*' --max-time 1 {from} http://127.0.0.1:5000/"));
    for from in [format!("--interface {}", mallory.ip), String::new()] {
        assert!(ask(&from).code != 0, "the host's secret was told to {from}: {}", ask(&from));
    }
    host.without_defences(|| {
        assert_eq!(ask(&format!("--interface {}", mallory.ip)).stdout, "secret\n", "the control");
    });
}

/// Ports published on 127.0.0.1 are for the host: not for containers, by whatever address they ask.
#[test]
fn ports_published_there_are_not_for_containers() {
    let host = Host::new();
    let victim =
        host.run("busybox").publish("127.0.0.1:8080:80/udp").publish("8081:80/udp").cmd(&["sleep", "1000"]).start();
    let mallory = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let (victim, mallory) = (host.station(&victim), host.station(&mallory));
    let gateway = host.station_at("pontoon0");
    let to = |address: [u8; 4], port| {
        attack(&format!("to {}:{port}", Ipv4Addr::from(address)), |t| {
            let packet = Ipv4::new(mallory.ip, address.into()).udp(40_000, port, &t.0);
            ethernet(mallory.mac, gateway.mac, IPV4, &packet)
        })
    };
    let addresses = [[127, 0, 0, 1], [127, 0, 0, 53], [172, 17, 0, 1], [192, 0, 2, 1]];
    volley(&mallory, &[&victim], &addresses.map(|address| to(address, 8080))).nothing();
    // The control: what is published on all addresses is for all, by those that lead to the host.
    volley(&mallory, &[&victim], &[to([172, 17, 0, 1], 8081), to([192, 0, 2, 1], 8081)]).everything();
}
