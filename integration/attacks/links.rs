//! A link with `--icc=false`: the target's exposed ports, from the source, and the replies. Nothing else.

use super::honest;
use crate::harness::Host;
use crate::harness::packets::frame::{ACK, IPV4, Ipv4, SYN, ethernet};
use crate::harness::packets::{Attack, Station, attack, volley};

const WAITS: [&str; 2] = ["sleep", "1000"];

/// A lenient host: that it asks nobody where packets come from does not open anything.
const CREDULOUS: &str = "for key in accept_source_route=1 rp_filter=0 accept_local=1; do
    for where in all lan0 pontoon0; do sysctl -qw net.ipv4.conf.$where.$key; done; done";

#[test]
fn only_exposed_ports_and_only_from_the_source() {
    let host = Host::with(&["--icc=false"]);
    host.sh(CREDULOUS).ok();
    let target = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    let source = host.run("busybox").name("web").flags(&["--link", "db"]).cmd(&WAITS).start();
    let mallory = host.run("busybox").cmd(&WAITS).start();
    // Who shares the source's network shares its links.
    host.run("busybox")
        .net("container:web")
        .cmd(&["wget", "-qO-", &format!("http://{}/", target.address())])
        .once()
        .says("hello");
    source.exec(&["wget", "-qO-", "http://db/"]).says("hello");

    let [target, source, mallory] = [&target, &source, &mallory].map(|it| host.station(it));
    let (gateway, lan, door) = (host.station_at("pontoon0"), host.lan_station(), host.station_at("lan0"));
    // The exposed port is TCP 80. Fragments are put together before they are judged.
    let open = ["TCP SYN", "a tiny first fragment"];
    let by_source = || honest::ipv4(&source, &target, gateway.mac);
    let back = || honest::ipv4(&target, &source, gateway.mac);
    let by_others = || honest::ipv4(&mallory, &target, gateway.mac);
    let under_its_name = || {
        let inside = as_source("a container", &mallory, gateway.mac, &source, &target);
        [inside, back_as_target(&mallory, gateway.mac, &source, &target)].concat()
    };
    let from_lan = || as_source("the neighbour", &lan, door.mac, &source, &target);

    volley(&source, &[&target], &by_source()).nothing_but(&open);
    volley(&target, &[&source], &back()).nothing();
    volley(&mallory, &[&target], &by_others()).nothing();
    volley(&mallory, &[&target, &source], &under_its_name()).nothing();
    volley(&lan, &[&target], &from_lan()).nothing();
    // Not bridged either: a link opens nothing on the way that the firewall does not see.
    volley(&source, &[&target], &honest::link_layer(&source, &target)).nothing();
    volley(&source, &[&target], &honest::ipv4(&source, &target, target.mac)).nothing();

    host.without_defences(|| {
        volley(&source, &[&target], &by_source()).everything();
        volley(&target, &[&source], &back()).everything();
        volley(&mallory, &[&target], &by_others()).everything();
        volley(&mallory, &[&target, &source], &under_its_name()).everything();
        volley(&lan, &[&target], &from_lan()).everything();
    });
    // As it was.
    volley(&source, &[&target], &by_source()).nothing_but(&open);
}

/// To the exposed port, under the source's address.
fn as_source(who: &str, liar: &Station<'_>, by: [u8; 6], source: &Station<'_>, target: &Station<'_>) -> Vec<Attack> {
    let ip = Ipv4::new(source.ip, target.ip);
    [("opens", 40_100, SYN), ("goes on", 40_101, ACK), ("answers", 40_102, SYN | ACK)]
        .map(|(what, port, flags)| {
            attack(&format!("{who} {what} as the source"), |t| {
                ethernet(liar.mac, by, IPV4, &ip.tcp(port, 80, flags, &t.0))
            })
        })
        .into()
}

/// From the exposed port, as if the source had asked.
fn back_as_target(liar: &Station<'_>, by: [u8; 6], source: &Station<'_>, target: &Station<'_>) -> Vec<Attack> {
    let ip = Ipv4::new(target.ip, source.ip);
    [("answers", SYN | ACK), ("goes on", ACK), ("opens", SYN)]
        .map(|(what, flags)| {
            attack(&format!("somebody {what} as the target"), |t| {
                ethernet(liar.mac, by, IPV4, &ip.tcp(80, 40_103, flags, &t.0))
            })
        })
        .into()
}

/// Errors about flows are let in, for they belong to these. But who may tell of them?
#[test]
fn errors_are_not_made_up_by_neighbours() {
    let host = Host::with(&["--icc=false"]);
    host.sh(CREDULOUS).ok();
    let target = host.run("busybox").name("db").flags(&["--expose", "53/udp"]).cmd(&WAITS).start();
    let source = host.run("busybox").flags(&["--link", "db"]).cmd(&WAITS).start();
    let mallory = host.run("busybox").cmd(&WAITS).start();
    let [target, source, mallory] = [&target, &source, &mallory].map(|it| host.station(it));
    let (gateway, lan, door) = (host.station_at("pontoon0"), host.lan_station(), host.station_at("lan0"));
    // Two flows of the source: to its link's target, and to the neighbour on the LAN.
    let begin = || {
        for (port, to) in [(41_000, target.ip), (41_001, lan.ip)] {
            source.sends(&ethernet(source.mac, gateway.mac, IPV4, &Ipv4::new(source.ip, to).udp(port, 53, b"begin")));
        }
        volley(&source, &[&source], &[]);
    };
    // Port unreachable (RFC 792), with what it complains about.
    let error = |from: &Station<'_>, by, to, quoted: &dyn Fn(&[u8]) -> Vec<u8>| {
        attack("an error", |t| ethernet(from.mac, by, IPV4, &Ipv4::new(from.ip, to).icmp(3, 3, [0; 4], &quoted(&t.0))))
    };
    let about_link = |t: &[u8]| Ipv4::new(source.ip, target.ip).udp(41_000, 53, t);
    let about_lan = |t: &[u8]| Ipv4::new(source.ip, lan.ip).udp(41_001, 53, t);
    let masqueraded = |t: &[u8]| Ipv4::new(door.ip, lan.ip).udp(41_001, 53, t);
    begin();
    for made_up in [
        error(&mallory, gateway.mac, source.ip, &about_link),
        error(&mallory, gateway.mac, source.ip, &about_lan),
        error(&mallory, gateway.mac, door.ip, &masqueraded),
    ] {
        volley(&mallory, &[&source], &[made_up]).nothing();
    }
    // Those whom it concerns are heard.
    volley(&target, &[&source], &[error(&target, gateway.mac, source.ip, &about_link)]).everything();
    volley(&lan, &[&source], &[error(&lan, door.mac, door.ip, &masqueraded)]).everything();
    host.without_defences(|| {
        begin();
        volley(&mallory, &[&source], &[error(&mallory, gateway.mac, source.ip, &about_link)]).everything();
    });
}
