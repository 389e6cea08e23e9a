//! Who says to be another is not heard, whether containers may talk to each other or not.

use super::honest;
use super::lies::Cast;
use crate::harness::Host;
use crate::harness::packets::frame::{IPV4, Ipv4, ethernet};
use crate::harness::packets::{Attack, attack, volley, volley_at};

const MODES: [&[&str]; 2] = [&[], &["--icc=false"]];
const WAITS: [&str; 2] = ["sleep", "1000"];

/// By a neighbour on the bridge.
#[test]
fn by_neighbours() {
    for flags in MODES {
        let host = Host::with(flags);
        let [liar, victim, other] = [(); 3].map(|()| host.run("busybox").cmd(&WAITS).start());
        let [liar, victim, other] = [&liar, &victim, &other].map(|it| host.station(it));
        let gateway = host.station_at("pontoon0");
        let cast = Cast { liar: &liar, victim: &victim, other: &other, gateway: &gateway };
        let attacks = || -> Vec<Attack> {
            let all = [cast.arp(), cast.mac(), cast.ip(victim.ip, victim.mac), cast.impossible_ip(), cast.offices()];
            all.into_iter().flatten().collect()
        };
        volley(&liar, &[&victim], &attacks()).nothing();
        host.without_defences(|| volley(&liar, &[&victim], &attacks()).everything());
        volley(&liar, &[&victim], &attacks()).nothing();
        // Who tells the truth is heard.
        if flags.is_empty() {
            volley(&liar, &[&victim], &honest::ipv4(&liar, &victim, victim.mac)).everything();
            volley(&liar, &[&victim], &honest::ipv4(&liar, &victim, gateway.mac)).everything();
        }
    }
}

/// By a neighbour, by way of the gateway.
#[test]
fn by_neighbours_that_are_routed_to() {
    for flags in MODES {
        let host = Host::with(flags);
        host.sh("for where in all pontoon0; do sysctl -qw net.ipv4.conf.$where.rp_filter=0
            sysctl -qw net.ipv4.conf.$where.accept_local=1; done")
            .ok();
        let [liar, victim, other] = [(); 3].map(|()| host.run("busybox").cmd(&WAITS).start());
        let [liar, victim, other] = [&liar, &victim, &other].map(|it| host.station(it));
        let gateway = host.station_at("pontoon0");
        let cast = Cast { liar: &liar, victim: &victim, other: &other, gateway: &gateway };
        let attacks = || cast.ip(victim.ip, gateway.mac);
        volley(&liar, &[&victim], &attacks()).nothing();
        host.without_defences(|| volley(&liar, &[&victim], &attacks()).everything());
    }
}

/// By the host, and by the LAN behind it.
#[test]
fn by_the_host_and_its_lan() {
    for flags in MODES {
        let host = Host::with(flags);
        host.sh("for where in all pontoon0 lan0; do sysctl -qw net.ipv4.conf.$where.rp_filter=0
            sysctl -qw net.ipv4.conf.$where.accept_local=1; done")
            .ok();
        let [liar, other] = [(); 2].map(|()| host.run("busybox").cmd(&WAITS).start());
        let [liar, other] = [&liar, &other].map(|it| host.station(it));
        let (gateway, lan) = (host.station_at("pontoon0"), host.lan_station());
        let service = host.service("0.0.0.0:5000");
        let cast = Cast { liar: &liar, victim: &lan, other: &other, gateway: &gateway };
        let udp = |attacks: Vec<Attack>| -> Vec<Attack> {
            attacks.into_iter().filter(|it| !it.name.contains("TCP") && !it.name.contains("echo")).collect()
        };
        let to_host = || udp(cast.ip(gateway.ip, gateway.mac));
        let to_lan = || cast.ip(lan.ip, gateway.mac);
        let truth = || {
            let frame =
                |to, t: &[u8]| ethernet(liar.mac, gateway.mac, IPV4, &Ipv4::new(liar.ip, to).udp(40_009, 5000, t));
            [attack("the truth", |t| frame(gateway.ip, &t.0)), attack("the truth", |t| frame(lan.ip, &t.0))]
        };
        volley_at(&liar, &[&service], &to_host()).nothing();
        volley(&liar, &[&lan], &to_lan()).nothing();
        let [to_the_host, to_the_lan] = truth();
        volley_at(&liar, &[&service], &[to_the_host]).everything();
        volley(&liar, &[&lan], &[to_the_lan]).everything();
        host.without_defences(|| {
            volley_at(&liar, &[&service], &to_host()).everything();
            volley(&liar, &[&lan], &to_lan()).everything();
        });
    }
}
