//! Interfaces in the host's network that a container makes: without a user namespace, `NET_ADMIN` reaches the namespace of
//! the other end of its `eth0` by rtnetlink's `IFLA_TARGET_NETNSID`: it makes interfaces there, and deletes them. (It cannot change them.)

use std::os::fd::AsRawFd;

use rtnetlink::packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::harness::packets::frame::{ARP, Arp, BROADCAST, IPV4, Ipv4, arp, ethernet};
use crate::harness::packets::{Attack, Station, attack, volley, volley_at};
use crate::harness::{Container, Host, until};

/// `IFLA_TARGET_NETNSID` (linux/if_link.h).
const TARGET_NETNSID: u16 = 46;
const WAITS: [&str; 2] = ["sleep", "1000"];
const ADMIN: [&str; 4] = ["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
/// In the host, and in the container.
const PAIR: [&str; 2] = ["evil0", "mine0"];

/// Sends one request from a container's namespace; the kernel's answer.
fn asks(from: &Station<'_>, message: RouteNetlinkMessage, flags: u16) -> std::io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.header.sequence_number = 1;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    from.within(|| {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&bytes, 0)?;
        let (answer, _) = socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).expect("the kernel speaks netlink");
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(()),
        }
    })
}

/// By which number the container's namespace knows the host's.
fn number_of_the_host(container: &Station<'_>) -> LinkAttribute {
    let words = container.sh("ip -o link show dev eth0").ok();
    let number = words.split("link-netnsid ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a number");
    let number: u32 = number.parse().expect("a number");
    LinkAttribute::Other(DefaultNla::new(TARGET_NETNSID, number.to_ne_bytes().to_vec()))
}

/// Makes a pair: one end a port of the host's bridge, the other its own.
fn intrudes(host: &Host, container: &Station<'_>) {
    let bridge: u32 = host.sh("ip -json link show pontoon0 | jq .[0].ifindex").ok().parse().expect("a number");
    let own = container.file();
    let mut inside = LinkMessage::default();
    inside.attributes = vec![LinkAttribute::IfName(PAIR[1].to_owned()), LinkAttribute::NetNsFd(own.as_raw_fd())];
    let mut message = LinkMessage::default();
    (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside)));
    message.attributes = vec![
        number_of_the_host(container),
        LinkAttribute::IfName(PAIR[0].to_owned()),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]),
    ];
    asks(container, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).expect("the kernel allows it");
    container.sh(&format!("ip link set {} up", PAIR[1])).ok();
}

fn deletes(container: &Station<'_>, name: &str) {
    let mut message = LinkMessage::default();
    message.attributes = vec![number_of_the_host(container), LinkAttribute::IfName(name.to_owned())];
    asks(container, RouteNetlinkMessage::DelLink(message), 0).expect("the kernel allows it");
}

/// What enters by that port, to a container and to the host; in one's own name, in another's and in nobody's.
struct Volleys {
    to_container: Vec<Attack>,
    to_host: Vec<Attack>,
}

fn volleys(from: &Station<'_>, victim: &Station<'_>, other: &Station<'_>, gateway: &Station<'_>) -> Volleys {
    let (mut to_container, mut to_host) = (Vec::new(), Vec::new());
    let port = from.entry_mac();
    for (who, mac, ip) in [
        ("another", other.mac, other.ip),
        ("nobody", from.mac, [172, 17, 99, 99].into()),
        ("its own MAC, another's address", from.mac, other.ip),
    ] {
        let frame = |to, packet: &[u8]| ethernet(mac, to, IPV4, packet);
        let says = (mac, ip);
        to_container.extend([
            attack(&format!("UDP as {who}"), |t| frame(victim.mac, &Ipv4::new(ip, victim.ip).udp(1, 80, &t.0))),
            attack(&format!("to all as {who}"), |t| frame(BROADCAST, &Ipv4::new(ip, victim.ip).udp(1, 80, &t.0))),
            attack(&format!("ARP as {who}"), |t| {
                ethernet(mac, victim.mac, ARP, &arp(Arp::Reply, says, (victim.mac, victim.ip), t))
            }),
        ]);
        let udp = |t: &[u8]| Ipv4::new(ip, gateway.ip).udp(1, 5000, t);
        to_host.extend([
            attack(&format!("to the gateway as {who}"), |t| frame(gateway.mac, &udp(&t.0))),
            attack(&format!("to the port's own MAC as {who}"), |t| frame(port, &udp(&t.0))),
            attack(&format!("to the host, to all, as {who}"), |t| frame(BROADCAST, &udp(&t.0))),
        ]);
    }
    Volleys { to_container, to_host }
}

#[test]
fn a_port_that_a_container_makes_in_the_host_leads_nowhere() {
    for flags in [&["--icc=true"][..], &["--icc=false"]] {
        let host = Host::with(flags);
        let mallory = host.run("busybox").flags(&ADMIN).cmd(&WAITS).start();
        let victim = host.run("busybox").cmd(&WAITS).start();
        let other = host.run("busybox").cmd(&WAITS).start();
        let service = host.service("0.0.0.0:5000");
        let own = host.station(&mallory);
        let (victim, other, gateway) = (host.station(&victim), host.station(&other), host.station_at("pontoon0"));
        let log = {
            // Nobody throws it out.
            let _frozen = host.freeze_daemon();
            intrudes(&host, &own);
            let intruder = own.beside(PAIR[1], PAIR[0]);
            let volleys = volleys(&intruder, &victim, &other, &gateway);
            volley(&intruder, &[&victim], &volleys.to_container).nothing();
            volley_at(&intruder, &[&service], &volleys.to_host).nothing();
            // "I am the victim", to the host, which would send there what is published.
            let lie = |t| {
                ethernet(
                    intruder.mac,
                    gateway.mac,
                    ARP,
                    &arp(Arp::Reply, (intruder.mac, victim.ip), (gateway.mac, gateway.ip), t),
                )
            };
            volley_at(&intruder, &[&service], &[attack("a lie", lie)]).nothing();
            let believed = host.sh(&format!("ip neigh show {} dev pontoon0", victim.ip)).stdout;
            let intruders = intruder.mac.map(|byte| format!("{byte:02x}")).join(":");
            assert!(!believed.contains(&intruders), "{believed}");
            host.daemon().log().len()
        };
        // Somebody does.
        until("it is off the bridge", || !host.sh("ip link show evil0").ok().contains("master"));
        until("it is said", || host.daemon().log()[log..].contains("put a port on bridge pontoon0: evil0"));
        let off = host.sh("ip link show evil0").ok();
        assert!(off.contains("state DOWN"), "{off}");
        deletes(&own, PAIR[0]);
        // The control.
        host.without_defences(|| {
            intrudes(&host, &own);
            let intruder = own.beside(PAIR[1], PAIR[0]);
            let volleys = volleys(&intruder, &victim, &other, &gateway);
            volley(&intruder, &[&victim], &volleys.to_container).everything();
            volley_at(&intruder, &[&service], &volleys.to_host).everything_of(&["to the gateway as nobody"]);
        });
        // The new daemon finds what came meanwhile.
        until("it is off the bridge", || !host.sh("ip link show evil0").ok().contains("master"));
        deletes(&own, PAIR[0]);
    }
}

/// What it deletes is made again, and what takes a name does not get what the name stands for.
#[test]
fn a_port_of_another_that_a_container_deletes_comes_back() {
    let host = Host::with(&["--icc=false"]);
    let mallory = host.run("busybox").flags(&ADMIN).cmd(&WAITS).start();
    let web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    let (own, victim) = (host.station(&mallory), host.station(&web));
    let (port, log) = (port_of(&host, &web), host.daemon().log().len());
    drop(victim);
    deletes(&own, &port);
    until("it is told", || host.daemon().log()[log..].contains(&format!("deleted port {port}")));
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

fn port_of(host: &Host, container: &Container<'_>) -> String {
    let mac = container.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
    host.sh(&format!("bridge fdb show br pontoon0 | awk '/^{mac} /{{print $3}}'")).ok()
}
