//! The bridge, its ports, its forwarding table, tampered with by ip, bridge and tc.

use super::Bite::{Closes, Opens, Quiet, Unpublishes};
use super::Cure::{By, Repair};
use super::{Scene, Tampering, daemon};

const WIRE: &[Tampering] = &[
    Tampering {
        command: "bridge link set dev DBPORT isolated off",
        kinds: &["port-not-isolated"],
        words: "port DBPORT of db is not isolated",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "bridge link set dev DBPORT learning on",
        kinds: &["port-learning"],
        words: "learning of port DBPORT of db is on, and should be off",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip link set DBPORT type bridge_slave flood on",
        kinds: &["port-flood"],
        words: "flood of port DBPORT of db is on",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "bridge link set dev DBPORT hairpin on",
        kinds: &["port-hairpin"],
        words: "hairpin of port DBPORT of db is on",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip link set DBPORT down",
        kinds: &["port-down"],
        words: "port DBPORT of db is down",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "ip link set DBPORT nomaster",
        kinds: &["port-detached"],
        words: "port DBPORT of db is on no bridge, and should be on pontoon0",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "ip link add br9 type bridge && ip link set DBPORT master br9",
        kinds: &["port-detached"],
        words: "port DBPORT of db is on br9, and should be on pontoon0",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "ip link del br9; ip link set DBPORT mtu 1400",
        // The bridge's follows the least of its ports'.
        kinds: &["bridge-mtu", "port-mtu"],
        words: "the MTU of port DBPORT of db is 1400, and should be 1500",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip link add evil0 type veth peer name evil1 && ip link set evil0 master pontoon0 up",
        kinds: &["port-foreign"],
        words: "evil0 is a port of bridge pontoon0 and no container's",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip link del evil0 2>/dev/null; bridge fdb del DBMAC dev DBPORT master",
        kinds: &["forwarding-missing"],
        words: "the forwarding table does not know that DBMAC of db is behind DBPORT",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "bridge fdb replace DBMAC dev WEBPORT master static",
        kinds: &["forwarding-moved"],
        words: "bridge pontoon0 takes DBMAC of db for being behind WEBPORT, and it is behind DBPORT",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "bridge fdb add 02:00:00:00:00:99 dev DBPORT master static",
        kinds: &["forwarding-added"],
        words: "the forwarding table has 02:00:00:00:00:99 behind DBPORT",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip neigh replace DBAT lladdr WEBMAC nud permanent dev pontoon0",
        kinds: &["neighbour-stolen"],
        words: "the host sends what is for db (DBAT) to WEBMAC, and its address is DBMAC",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "ip neigh replace DBAT lladdr DBMAC nud reachable dev pontoon0",
        kinds: &["neighbour-loose"],
        words: "what the host believes of who has DBAT (db) can be changed by who answers to ARP",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip neigh del DBAT dev pontoon0",
        kinds: &["neighbour-missing"],
        words: "the host has no entry of who has DBAT (db)",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip neigh replace 172.17.0.99 lladdr WEBMAC nud permanent dev pontoon0",
        kinds: &["neighbour-added"],
        words: "permanent entry for 172.17.0.99 at WEBMAC",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip link set pontoon0 down",
        kinds: &["bridge-down"],
        words: "bridge pontoon0 is down",
        bite: Unpublishes,
        cure: Repair,
    },
    Tampering {
        command: "ip link set pontoon0 mtu 1300",
        kinds: &["bridge-mtu"],
        words: "the MTU of bridge pontoon0 is 1300, and should be 1500",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "ip address flush dev pontoon0",
        kinds: &["bridge-address-missing"],
        words: "bridge pontoon0 lacks its address 172.17.0.1/16",
        bite: Unpublishes,
        cure: Repair,
    },
    Tampering {
        command: "ip link set pontoon0 arp off",
        kinds: &["bridge-noarp"],
        words: "bridge pontoon0 does not do ARP",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "tc qdisc add dev DBPORT clsact",
        kinds: &["tc-queue"],
        words: "DBPORT has a tc clsact: its filters see frames before the firewall does",
        bite: Quiet,
        cure: By("tc qdisc del dev DBPORT clsact"),
    },
    Tampering {
        command: "ip link set DBPORT down && ip link set DBPORT name mine0 && ip link set mine0 up",
        kinds: &["port-renamed"],
        words: "port DBPORT of db is called mine0 by now",
        bite: Closes,
        cure: Repair,
    },
];

#[test]
fn what_ip_and_bridge_do_to_the_wire() {
    let host = daemon(&["--repair=false"]);
    Scene::on(&host).suffers_all(WIRE);
}

/// Who only listens changes nothing, and is no drift: the bridge and its ports may hear everything, as with tcpdump.
#[test]
fn who_listens_to_everything() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    for device in ["pontoon0", "DBPORT", "WEBPORT"] {
        let device = scene.spell(device);
        host.sh(&format!("ip link set {device} promisc on")).ok();
        assert!(host.sh(&format!("ip link show {device}")).ok().contains("PROMISC"));
        scene.clean(&format!("with {device} promiscuous"));
        assert!(!scene.bitten(Opens) && !scene.bitten(Closes), "with {device} promiscuous");
        host.sh(&format!("ip link set {device} promisc off")).ok();
    }
    scene.clean("afterwards");
}
