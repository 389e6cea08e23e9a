//! What root with `NET_ADMIN` makes in its own container: other MACs, more addresses, interfaces on top of `eth0`.

use crate::harness::packets::Station;
use crate::harness::{Host, Outcome, not_run};

const ADMIN: [&str; 4] = ["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];

/// Gets a second place on the bridge for itself, and tries it. `$address` is free.
const PLACES: [(&str, &str); 5] = [
    ("macvlan", "ip link add top link eth0 type macvlan mode bridge"),
    ("macvlan, private", "ip link add top link eth0 type macvlan mode private"),
    ("ipvlan", "ip link add top link eth0 type ipvlan mode l2"),
    ("a VLAN", "ip link add top link eth0 type vlan id 5"),
    ("a bridge", "ip link add top type bridge && ip link set eth0 master top"),
];

fn has(station: &Station<'_>, words: &str) -> bool {
    let made = station.sh(words).code == 0;
    undo(station);
    made
}

fn undo(station: &Station<'_>) -> Outcome {
    station.sh("ip link set eth0 nomaster; ip link del top; true")
}

/// Whether the gateway answers somebody who has this address at that interface.
fn answers(station: &Station<'_>, make: &str) -> bool {
    station
        .sh(&format!(
            "{make} && ip address add 172.17.77.77/16 dev top && ip link set top up &&
             ip route replace 172.17.0.1/32 dev top src 172.17.77.77 && busybox ping -c 1 -W 1 172.17.0.1"
        ))
        .code
        == 0
}

#[test]
fn interfaces_on_top_of_its_own_lead_nowhere() {
    let host = Host::new();
    let mallory = host.run("busybox").flags(&ADMIN).cmd(&["sleep", "1000"]).start();
    let station = host.station(&mallory);
    for (name, make) in PLACES {
        if !has(&station, make) {
            not_run(&format!("attack by {name}: this kernel cannot make one"));
            continue;
        }
        assert!(!answers(&station, make), "{name} has a place on the bridge");
        undo(&station);
        // A VLAN is another network, which the host does not have.
        if name != "a VLAN" {
            host.without_defences(|| assert!(answers(&station, make), "the control: {name}"));
            undo(&station);
        }
    }
    // None of this has harmed the container itself.
    mallory.exec(&["ping", "-c", "1", "-W", "2", "172.17.0.1"]).ok();
}

#[test]
fn another_mac_or_address_of_its_own_leads_nowhere() {
    let host = Host::new();
    let mallory = host.run("busybox").flags(&ADMIN).cmd(&["sleep", "1000"]).start();
    let victim = host.run("busybox").serving().start();
    let (mac, address) = (host.station(&mallory).mac, victim.address());
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let pings = |from: &str| mallory.exec(&["ping", "-c", "1", "-W", "1", "-I", from, "172.17.0.1"]).code == 0;
    let victims = host.station(&victim).mac.map(|byte| format!("{byte:02x}")).join(":");

    let wears = |mac: &str| {
        let change = format!(
            "ip link set eth0 down && ip link set eth0 address {mac} && ip link set eth0 up &&
             ip route replace default via 172.17.0.1"
        );
        mallory.sh(&change).ok();
    };
    let masks = ["02:0b:ad:00:00:07", &victims];
    for mask in masks {
        wears(mask);
        assert!(!pings("eth0"), "under {mask}");
    }
    wears(&mac);
    assert!(pings("eth0"), "under its own MAC");
    mallory.sh(&format!("ip address add 172.17.66.66/32 dev eth0 && ip address add {address}/32 dev eth0")).ok();
    for other in ["172.17.66.66", &address] {
        assert!(!pings(other), "from {other}");
    }
    let station = host.station(&mallory);
    host.without_defences(|| {
        station.sh("busybox ping -c 1 -W 1 -I 172.17.66.66 172.17.0.1").ok();
    });
    // The victim has not suffered.
    assert_eq!(host.itself().get(&format!("http://{address}/")), "hello");
}

/// Who takes its own interface away, harms itself.
#[test]
fn its_own_interface_is_its_own_to_lose() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").serving().start();
    for harm in [
        "ip link del eth0",
        "ip link set eth0 down",
        "ip link set eth0 down && ip link set eth0 name eth7",
        "ip address flush eth0",
    ] {
        let fool = host.run("busybox").flags(&ADMIN).publish("8081:80").serving().start();
        assert_eq!(host.lan().get("http://192.0.2.1:8081/"), "hello");
        host.station(&fool).sh(harm).ok();
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "after `{harm}` elsewhere");
        fool.verb(&["restart", "--time", "0"]).ok();
        assert_eq!(host.lan().get("http://192.0.2.1:8081/"), "hello", "after `{harm}` and a restart");
        fool.verb(&["rm", "--force"]).ok();
    }
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    web.verb(&["rm", "--force"]).ok();
}
