//! Neighbour tables of the host and of containers: which MAC they believe an address to have.

use std::net::Ipv4Addr;

use super::lies::Cast;

use crate::harness::packets::frame::{ARP, Arp, BROADCAST, IPV4, Ipv4, Mac, Token, arp, ethernet};
use crate::harness::packets::{Attack, Flood, Station, attack, volley};
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

/// "I have that address", to the host, all the time.
fn lies(liar: &Station<'_>, gateway: &Station<'_>, about: Ipv4Addr) -> Flood {
    let says = |what, to, target| ethernet(liar.mac, to, ARP, &arp(what, (liar.mac, about), target, Token::new()));
    liar.floods(vec![
        says(Arp::Reply, gateway.mac, (gateway.mac, gateway.ip)),
        says(Arp::Request, BROADCAST, ([0; 6], gateway.ip)),
        says(Arp::Request, BROADCAST, ([0; 6], about)),
    ])
}

/// Where tables are away for a moment, and those of the family arp with them, the host still knows who has which address.
#[test]
fn who_lies_while_the_tables_are_away_is_sent_nothing() {
    let host = Host::new();
    let [liar, victim] =
        [&[][..], &["--publish", "8080:80/udp"]].map(|flags| host.run("busybox").flags(flags).cmd(&WAITS).start());
    let [liar, victim] = [&liar, &victim].map(|it| host.station(it));
    let (lan, door, gateway) = (host.lan_station(), host.station_at("lan0"), host.station_at("pontoon0"));
    let (published, straight) = (Token::new(), Token::new());
    let (mut liars, mut victims) = (liar.listens(), victim.listens());
    let ask =
        |to, port, token: Token| ethernet(lan.mac, door.mac, IPV4, &Ipv4::new(lan.ip, to).udp(40_000, port, &token.0));
    let (_lies, clients) = (
        lies(&liar, &gateway, victim.ip),
        lan.floods(vec![ask(door.ip, 8080, published), ask(victim.ip, 80, straight)]),
    );
    victims.until_heard(published, || {});
    let mut go_on = |token: Token| {
        let before = victims.count(token);
        until("the victim is asked on", || victims.count(token) > before + 300);
    };
    let tables = || host.sh("nft list tables").ok().matches("pontoon-pontoon0").count();
    for _ in 0..3 {
        host.sh("nft flush ruleset").ok();
        until("the tables are back", || tables() == 3);
        go_on(published);
    }
    {
        let _frozen = host.freeze_daemon();
        host.sh("nft flush ruleset").ok();
        // All comes in now, for longer than the kernel believes the first who answers (`locktime`, one second).
        go_on(straight);
        clients.goes_on(10_000);
        assert_eq!(tables(), 0);
    }
    until("the tables are back", || tables() == 3);
    go_on(published);
    let heard = [published, straight].map(|token| liars.count(token));
    assert_eq!(heard, [0, 0], "the liar was sent what is for the victim");
    // The control: an entry that ARP may change.
    let mac = text(victim.mac);
    let _frozen = host.freeze_daemon();
    host.sh(&format!("nft flush ruleset; ip neigh replace {} lladdr {mac} nud stale dev pontoon0", victim.ip)).ok();
    liars.until_heard(straight, || clients.goes_on(10));
}

/// What the host knows of who has an address comes and goes with its container, whoever sees it go.
#[test]
fn who_has_gone_is_known_to_nobody() {
    let host = Host::new();
    let known = || host.sh("ip neigh show dev pontoon0 nud permanent").ok();
    let [stays, goes] = [(); 2].map(|()| host.run("busybox").cmd(&WAITS).start());
    let line = |station: &Station<'_>| format!("{} lladdr {} PERMANENT", station.ip, text(station.mac));
    let (stays, gone) = (line(&host.station(&stays)), line(&host.station(&goes)));
    let has = |line: &str| known().lines().any(|it| it.trim() == line);
    assert!(has(&stays) && has(&gone), "{}", known());
    let pid = goes.pid();
    host.kill_daemon();
    host.sh(&format!("kill -9 {pid}")).ok();
    host.sh("ip neigh add 172.17.0.99 lladdr 02:00:00:00:00:99 nud permanent dev pontoon0").ok();
    host.restart_daemon();
    until("only who is there is known", || known().lines().count() == 1);
    assert!(has(&stays), "{}", known());
    // A start that fails leaves nothing.
    assert!(host.run("busybox").cmd(&["no-such-program"]).attempt().code != 0);
    assert_eq!(known().lines().count(), 1, "{}", known());
}

/// An operator's bridge: containers are known there as well, and what the operator has told the host is the operator's.
#[test]
fn what_an_operator_told_the_host_stays() {
    let mut host = Host::bare();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.sh("ip neigh add 10.7.0.99 lladdr 02:00:00:00:00:99 nud permanent dev br7").ok();
    host.start_daemon(&["--bridge", "br7"]);
    let web = host.run("busybox").cmd(&WAITS).start();
    let address = web.address();
    let known = || host.sh("ip neigh show dev br7 nud permanent").ok();
    assert!(known().contains(&format!("{address} lladdr")), "{}", known());
    host.sh(&format!("ip neigh del {address} dev br7")).ok();
    until("it is known again", || known().contains(&format!("{address} lladdr")));
    web.verb(&["rm", "--force"]).ok();
    assert!(!known().contains(&format!("{address} lladdr")), "{}", known());
    assert!(known().contains("10.7.0.99 lladdr 02:00:00:00:00:99"), "{}", known());
}
