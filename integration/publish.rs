//! Published ports: who reaches them, and who does not.

use crate::harness::packets::frame::{IPV4, Ipv4, Token, ethernet};
use crate::harness::{Cli, Host, not_run, until};

#[test]
fn reached_from_every_side() {
    let host = Host::new();
    for (cli, port) in [(Cli::Docker, 8080), (Cli::Pontoon, 8081)] {
        let web = host.run("busybox").by(cli).hostname("web").publish(&format!("{port}:80")).serving().start();

        // A neighbour on the LAN, seen under its own address.
        assert_eq!(host.lan().get(&format!("http://192.0.2.1:{port}/cgi-bin/whoami")), "web asked by 192.0.2.2");
        // The host, by each of its addresses.
        for address in ["192.0.2.1", "127.0.0.1", "172.17.0.1", "127.0.0.77"] {
            assert_eq!(host.itself().get(&format!("http://{address}:{port}/")), "hello", "{address}");
        }
        // Another container, and the container itself, by the host's address (hairpin).
        for address in ["192.0.2.1", "172.17.0.1"] {
            let url = format!("http://{address}:{port}/");
            host.run("busybox").cmd(&["wget", "-qO-", &url]).once().says("hello");
            web.exec(&["wget", "-qO-", &url]).says("hello");
        }
        assert_eq!(host.docker(&["port", &web.id]).lines()[0], format!("80/tcp -> 0.0.0.0:{port}"));
    }
}

#[test]
fn one_address_only() {
    let host = Host::new();
    let _web = host.run("busybox").publish("192.0.2.1:8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert_eq!(host.itself().get("http://192.0.2.1:8080/"), "hello");
    host.itself().cannot_get("http://127.0.0.1:8080/");
    host.itself().cannot_get("http://172.17.0.1:8080/");
}

#[test]
fn udp_is_answered_from_the_address_that_was_asked() {
    let host = Host::new();
    // A host with two addresses on one network, and one on another.
    host.sh("ip address add 192.0.2.3/24 dev lan0 && ip address add 198.51.100.1/32 dev lan0").ok();
    let web = host.run("busybox").publish("5353:53/udp").cmd(&["sleep", "1000"]).start();
    let _answers = host.answers_udp(&web, [53]);
    for address in ["192.0.2.1", "192.0.2.3", "198.51.100.1"] {
        assert_eq!(host.lan().asks_udp(&format!("{address}:5353")), "53 192.0.2.2 ping", "{address}");
    }
    for address in ["192.0.2.1", "192.0.2.3", "127.0.0.1", "172.17.0.1"] {
        assert!(host.itself().asks_udp(&format!("{address}:5353")).ends_with(" ping"), "{address}");
    }
}

/// This kernel may have no SCTP of its own: rules and packets need none.
#[test]
fn sctp() {
    not_run("an SCTP association between two kernels' own sockets: its first packet was tried, made by hand");
    let host = Host::new();
    let web = host.run("busybox").publish("3868:3000/sctp").cmd(&["sleep", "1000"]).start();
    assert_eq!(host.docker(&["port", &web.id]).ok(), "3000/sctp -> 0.0.0.0:3868");
    let (client, server) = (host.lan_station(), host.station(&web));
    let mut ear = server.listens();
    let gateway = host.station_at("lan0").mac;
    let token = Token::new();
    let mut source = 40_000;
    let mut ask = |port: u16| {
        source += 1;
        let packet = Ipv4::new(client.ip, [192, 0, 2, 1].into()).carrying(SCTP, &sctp_init(source, port, token));
        client.sends(&ethernet(client.mac, gateway, IPV4, &packet));
    };
    ask(3869);
    ask(3000);
    ear.until_heard(token, || ask(3868));
    for frame in ear.heard().iter().filter(|frame| token.is_in(frame)) {
        let segment = &frame[34..];
        assert_eq!(&segment[2..4], 3000u16.to_be_bytes(), "nothing but what was sent to 3868 arrives, at 3000");
        let mut blank = segment.to_vec();
        blank[8..12].fill(0);
        assert_eq!(segment[8..12], crc32c(&blank).to_le_bytes(), "and its checksum fits");
    }
}

/// IANA's number.
const SCTP: u8 = 132;

/// The first packet of an association (RFC 9260, 3.3.2), with the token as a parameter that servers pass over.
fn sctp_init(source: u16, target: u16, token: Token) -> Vec<u8> {
    let mut packet = [source.to_be_bytes(), target.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 40, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0x80, 1, 0, 20]);
    packet.extend(token.0);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn ports_that_are_not_published_cannot_be_reached_by_routing() {
    let host = Host::new();
    let web = host
        .run("busybox")
        .publish("8080:80")
        .cmd(&["sh", "-c", "httpd -p 81 -h /www; httpd -f -p 80 -h /www"])
        .start();
    let address = web.address();
    // The controls: it serves both ports, the neighbour has a route and reaches what is published.
    assert_eq!(host.itself().get(&format!("http://{address}/")), "hello");
    assert_eq!(host.itself().get(&format!("http://{address}:81/")), "hello");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert!(host.lan().pings("172.17.0.1"), "the neighbour's route leads to the bridge");

    host.lan().cannot_get(&format!("http://{address}:81/"));
    host.lan().cannot_get("http://192.0.2.1:81/");
    host.lan().cannot_get("http://192.0.2.1:80/");
}

#[test]
fn published_on_loopback_stays_on_the_host() {
    let host = Host::new();
    let _web = host.run("busybox").publish("127.0.0.1:8080:80").serving().start();
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello");
    host.lan().cannot_get("http://192.0.2.1:8080/");

    // A neighbour that routes 127/8 here. The capture is the control: its packets do arrive.
    host.lan()
        .sh("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1 &&
             ip route del local 127.0.0.0/8 dev lo table local && ip route del local 127.0.0.1 dev lo table local &&
             ip route add 127.0.0.0/8 via 192.0.2.1 dev eth0 src 192.0.2.2")
        .ok();
    let filter = ["tcpdump", "-i", "lan0", "-w", "/run/capture", "-U", "tcp", "and", "dst", "127.0.0.1"];
    let capture = host.itself().background(&filter);
    until("the neighbour's packets arrive", || {
        host.lan().cannot_get("http://127.0.0.1:8080/");
        host.path("/run/capture").metadata().is_ok_and(|file| file.len() > 24)
    });
    drop(capture);
    host.lan().cannot_get("http://127.0.0.1:8080/");
}

#[test]
fn the_hosts_loopback_is_no_way_for_containers() {
    let host = Host::new();
    let web = host.run("busybox").publish("127.0.0.1:8080:80").publish("8081:80").serving().start();
    let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello");
    for container in [&web, &other] {
        let get = |url: &str| container.exec(&["timeout", "2", "wget", "-qO-", url]);
        get("http://172.17.0.1:8081/").says("hello");
        for address in ["172.17.0.1", "192.0.2.1", "127.0.0.1"] {
            assert_ne!(get(&format!("http://{address}:8080/")).code, 0, "{address}");
        }
    }
}

#[test]
fn the_daemons_default_address() {
    let host = Host::with(&["--ip", "127.0.0.1"]);
    let web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello");
    host.lan().cannot_get("http://192.0.2.1:8080/");
    assert_eq!(host.docker(&["port", &web.id]).ok(), "80/tcp -> 127.0.0.1:8080");
}
