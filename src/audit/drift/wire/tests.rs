use super::*;
use crate::firewall::audit::network::{Bridge, Port, Queue};
use crate::model::{MacAddr, Names};

const BRIDGE: u32 = 7;
const PORT: u32 = 8;
const MAC: [u8; 6] = [2, 0x42, 172, 17, 0, 2];

fn endpoint() -> Endpoint {
    Endpoint {
        name: "web".parse().expect("name"),
        address: [172, 17, 0, 2].into(),
        mac: MacAddr(MAC),
        port: "veth00000000002".to_owned(),
        published: vec![],
        exposed: vec![],
        links: vec![],
        names: Names::default(),
    }
}

/// A host with one container, all as it should be.
fn network() -> Network {
    let port = Port {
        forwarding: true,
        isolated: true,
        hairpin: false,
        learning: false,
        flood: false,
        broadcast_flood: true,
        multicast_flood: true,
        locked: false,
        proxy_arp: false,
    };
    let bridge = Interface {
        index: BRIDGE,
        name: "pontoon0".to_owned(),
        mac: Some([2; 6]),
        up: true,
        bridge: Some(Bridge::default()),
        settings: [(5, 0), (7, 0)].into(),
        mtu: 1500,
        addresses: vec!["172.17.0.1/16".parse().expect("network")],
        ..Interface::default()
    };
    let port = Interface {
        index: PORT,
        name: endpoint().port,
        mac: Some([6; 6]),
        up: true,
        master: Some(BRIDGE),
        port: Some(port),
        settings: [(1, 3), (2, 32), (8, 0), (9, 0), (27, 1), (33, 1), (39, 0)].into(),
        mtu: 1500,
        ..Interface::default()
    };
    let entry = |mac, local| ForwardingEntry { mac, port: PORT, local, fixed: !local, sticky: !local, own: false };
    let neighbour = Neighbour { address: endpoint().address.into(), mac: MAC, interface: BRIDGE, permanent: true };
    Network {
        interfaces: vec![bridge, port],
        forwarding: vec![entry(MAC, false), entry([6; 6], true)],
        neighbours: vec![neighbour],
        queues: vec![Queue { interface: PORT, kind: "noqueue".to_owned() }],
        ..Network::default()
    }
}

fn kinds(own: bool, change: impl FnOnce(&mut Network)) -> Vec<String> {
    let mut network = network();
    change(&mut network);
    let (options, endpoint) = (NetworkOptions { icc: false, ..NetworkOptions::usual() }, endpoint());
    let wire = Wire {
        options: &options,
        own,
        mac: Some([2; 6]),
        flags: vec![(33, 1), (8, 0), (9, 0)],
        endpoints: vec![(&endpoint, Some(PORT))],
        in_flux: ["veth1111111".to_owned()].into(),
    };
    let seen = super::super::programs::differences(&options, &network, &[endpoint.port.as_str()].into(), &[]).0;
    let found = wire.differences(&network).into_iter().chain(seen);
    found.map(|difference| difference.kind).collect()
}

#[test]
fn what_is_as_it_should_be_differs_in_nothing() {
    assert_eq!(kinds(true, |_| {}), Vec::<String>::new());
    // Who comes at this moment, and who has gone and is about to be deleted, are no strangers.
    let newcomer = |name: &str, up| Interface {
        index: 9,
        name: name.to_owned(),
        up,
        master: Some(BRIDGE),
        ..Interface::default()
    };
    assert_eq!(kinds(true, |it| it.interfaces.push(newcomer("veth11111110003", true))), Vec::<String>::new());
    assert_eq!(kinds(true, |it| it.interfaces.push(newcomer("veth22222220003", false))), Vec::<String>::new());
    let known = |mac| Neighbour { address: [172, 17, 0, 3].into(), mac, interface: BRIDGE, permanent: true };
    let one_that_comes = |it: &mut Network| {
        it.interfaces.push(newcomer("veth11111110003", true));
        it.forwarding.push(ForwardingEntry { mac: [3; 6], port: 9, ..it.forwarding[0] });
        it.neighbours.push(known([3; 6]));
    };
    assert_eq!(kinds(true, one_that_comes), Vec::<String>::new());
    assert_eq!(kinds(true, |it| it.neighbours.push(known([3; 6]))), ["neighbour-added"]);
    assert_eq!(kinds(false, |it| it.neighbours.push(known([3; 6]))), Vec::<String>::new());
    // An operator's bridge is the operator's.
    let theirs = |it: &mut Network| {
        it.interfaces.push(newcomer("eth1", true));
        it.interfaces[0].mtu = 9000;
        it.interfaces[0].addresses.push("10.0.0.1/8".parse().expect("network"));
    };
    assert_eq!(kinds(false, theirs), Vec::<String>::new());
    assert_eq!(kinds(true, theirs), ["bridge-mtu", "bridge-address-added", "port-foreign"]);
}

#[test]
fn each_fault_has_its_kind() {
    let entry = |mac, port| ForwardingEntry { mac, port, local: false, fixed: true, sticky: false, own: false };
    assert_eq!(kinds(true, |it| it.interfaces.clear()), ["bridge-missing"]);
    assert_eq!(kinds(true, |it| it.interfaces[0].mac = Some([4; 6])), ["bridge-mac"]);
    assert_eq!(kinds(true, |it| _ = it.interfaces[0].settings.insert(5, 1)), ["bridge-stp-state"]);
    assert_eq!(kinds(true, |it| it.interfaces[0].up = false), ["bridge-down"]);
    assert_eq!(kinds(true, |it| _ = it.interfaces[1].settings.insert(33, 0)), ["port-not-isolated"]);
    assert_eq!(kinds(true, |it| _ = it.interfaces[1].settings.insert(39, 1)), ["port-locked"]);
    assert_eq!(kinds(true, |it| it.interfaces[1].master = None), ["port-detached"]);
    assert_eq!(kinds(true, |it| it.interfaces[1].name = "mine".to_owned()), ["port-renamed"]);
    assert_eq!(kinds(true, |it| it.interfaces.truncate(1)), ["port-missing"]);
    assert_eq!(kinds(true, |it| it.forwarding.truncate(0)), ["forwarding-missing"]);
    assert_eq!(kinds(true, |it| it.forwarding[0].sticky = false), ["forwarding-loose"]);
    assert_eq!(kinds(true, |it| it.forwarding.push(entry([9; 6], PORT))), ["forwarding-added"]);
    assert_eq!(kinds(true, |it| it.forwarding[0].port = BRIDGE), ["forwarding-moved"]);
    assert_eq!(kinds(true, |it| it.neighbours[0].mac = [9; 6]), ["neighbour-stolen"]);
    assert_eq!(kinds(true, |it| it.neighbours[0].permanent = false), ["neighbour-loose"]);
    assert_eq!(kinds(true, |it| it.neighbours.clear()), ["neighbour-missing"]);
    assert_eq!(kinds(true, |it| it.queues[0].kind = "clsact".to_owned()), ["tc-queue"]);
    assert_eq!(kinds(true, |it| it.interfaces[1].xdp = true), ["xdp-program"]);
    assert_eq!(kinds(true, |it| it.interfaces[1].tcx = true), ["tcx-program"]);
}
