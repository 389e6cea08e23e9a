//! The first and the last moment of a container: whoever floods its address is not let in early, nor kept in.

use crate::harness::packets::frame::{BROADCAST, IPV4, Ipv4, ethernet};
use crate::harness::packets::{Flood, Station};
use crate::harness::{Container, Host, until};

const WAITS: [&str; 2] = ["sleep", "1000"];
/// Four addresses.
const FEW: [&str; 2] = ["--fixed-cidr", "172.17.0.8/30"];

/// All addresses but one are taken, so that each container that starts has the address of the one before.
struct Crowd<'h> {
    host: &'h Host,
    mallory: Station<'h>,
}

impl<'h> Crowd<'h> {
    fn on(host: &'h Host) -> Self {
        let [mallory, ..] = [(); 3].map(|()| host.run("busybox").cmd(&WAITS).start());
        Self { host, mallory: host.station(&mallory) }
    }

    /// Datagrams for who is or will be at `station`'s address: from the neighbour by direct routing and to the port that
    /// was published there, and from a container on every way that there is.
    fn floods(&self, station: &Station<'_>) -> [Flood; 2] {
        let (lan, door) = (self.host.lan_station(), self.host.station_at("lan0"));
        let gateway = self.host.station_at("pontoon0");
        let port = |from: &Station<'_>, to, mac, port| {
            ethernet(from.mac, mac, IPV4, &Ipv4::new(from.ip, to).udp(40_000, port, b"flood"))
        };
        let from_lan = vec![port(&lan, door.ip, door.mac, 8080), port(&lan, station.ip, door.mac, 80)];
        let mallory = &self.mallory;
        let inside = [station.mac, gateway.mac, BROADCAST].map(|mac| port(mallory, station.ip, mac, 80));
        let published = port(mallory, door.ip, gateway.mac, 8080);
        [lan.floods(from_lan), mallory.floods([&inside[..], &[published]].concat())]
    }
}

/// Datagrams that its kernel has received since it started.
fn received(container: &Container<'_>) -> u32 {
    received_in(&container.exec(&["cat", "/proc/net/snmp"]).ok())
}

fn received_in(text: &str) -> u32 {
    let numbers =
        text.lines().filter(|line| line.starts_with("Udp: ")).nth(1).expect("a line of names, one of numbers");
    // InDatagrams and NoPorts.
    numbers.split(' ').skip(1).take(2).map(|number| number.parse::<u32>().expect("a number")).sum()
}

#[test]
fn who_has_an_address_next_inherits_no_traffic() {
    let host = Host::with(&[FEW.as_slice(), &["--icc=false"]].concat());
    let crowd = Crowd::on(&host);
    let publishing = || host.run("busybox").publish("8080:80/udp").cmd(&WAITS).start();
    let mut open = publishing();
    let address = open.address();
    let floods = crowd.floods(&host.station(&open));
    for _ in 0..6 {
        until("the published port is flooded", || received(&open) > 20);
        open.verb(&["rm", "--force"]).ok();

        let closed = host.run("busybox").cmd(&WAITS).start();
        assert_eq!(closed.address(), address);
        // The host has no need to look for it any more, and sends what has waited meanwhile.
        closed.exec(&["ping", "-c", "1", "-W", "5", "172.17.0.1"]).ok();
        for flood in &floods {
            flood.goes_on(500);
        }
        assert_eq!(received(&closed), 0, "datagrams have reached a container that publishes nothing");
        closed.verb(&["rm", "--force"]).ok();
        open = publishing();
    }
    open.verb(&["rm", "--force"]).ok();
    // And the other ways are ways.
    let victim = host.run("busybox").cmd(&WAITS).start();
    let inside = host.station(&victim);
    let datagrams = || received_in(&inside.sh("cat /proc/self/net/snmp").ok());
    host.without_defences(|| until("the control: the flood comes in", || datagrams() > 20));
}

/// A container whose network outlives it (another one has joined it, say) lies on while it is taken off the bridge, and
/// while the daemon dies and comes back.
#[test]
fn who_goes_does_not_lie_on_the_way_out() {
    for flags in [[].as_slice(), &["--icc=false"]] {
        let host = Host::with(flags);
        let [victim, other] = [(); 2].map(|()| host.run("busybox").cmd(&WAITS).start());
        let [victim, other] = [&victim, &other].map(|it| host.station(it));
        let gateway = host.station_at("pontoon0");
        let lies = |from: &Station<'_>| {
            let ip = Ipv4::new(other.ip, victim.ip);
            [(other.mac, victim.mac), (from.mac, victim.mac), (from.mac, gateway.mac), (other.mac, BROADCAST)]
                .map(|(mac, to)| ethernet(mac, to, IPV4, &ip.udp(40_000, 80, LIE)))
                .to_vec()
        };
        let mut ear = victim.listens();
        let mut heard = || ear.heard().iter().filter(|frame| contains(frame, LIE)).count();
        for _ in 0..4 {
            let liar = host.run("busybox").cmd(&WAITS).start();
            let station = host.station(&liar);
            let flood = station.floods(lies(&station));
            flood.goes_on(100);
            host.kill_daemon();
            flood.goes_on(100);
            host.restart_daemon();
            flood.goes_on(100);
            liar.verb(&["rm", "--force"]).ok();
            flood.goes_on(100);
            assert_eq!(heard(), 0, "with {flags:?}");
        }
        let liar = host.run("busybox").cmd(&WAITS).start();
        let station = host.station(&liar);
        let _flood = station.floods(lies(&station));
        host.without_defences(|| until("the control: lies are heard", || heard() > 0));
    }
}

const LIE: &[u8] = b"this is not from me";

fn contains(frame: &[u8], text: &[u8]) -> bool {
    frame.windows(text.len()).any(|window| window == text)
}
