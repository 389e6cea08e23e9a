//! Who listens in a network namespace: of the calling thread's, over netlink (linux/inet_diag.h), which goes to the
//! listening sockets at once; where the kernel has no `inet_diag`, by `/proc`, which goes through all connections.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::SockProtocol;

use super::attributes::Attributes;
use super::netlink::Netlink;

/// A socket that waits for others: TCP that listens, UDP that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket {
    /// TCP, or else UDP.
    pub tcp: bool,
    /// Its address; unspecified is all of the namespace's.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// An IPv6 socket that takes no IPv4.
    pub only_v6: bool,
    /// By which processes name it: `socket:[…]` in `/proc/…/fd`.
    pub inode: u32,
}

impl Socket {
    /// Whether it takes what is sent to an IPv4 address: which it must be, or all of them.
    pub fn takes_v4(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if !self.only_v6 => Some(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(address) => address.to_ipv4_mapped(),
        }
    }
}

/// The calling thread's namespace's, in order.
pub fn listening() -> io::Result<Vec<Socket>> {
    let mut sockets = match and_transparent() {
        Ok(sockets) => sockets.into_iter().map(|(socket, _)| socket).collect(),
        Err(_) => by_proc()?,
    };
    sockets.sort();
    sockets.dedup();
    Ok(sockets)
}

/// A TCP connection of the calling thread's network namespace: its own end, and the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// Address and port here.
    pub own: (Ipv4Addr, u16),
    /// Address and port there.
    pub peer: (Ipv4Addr, u16),
}

/// Ends connections: both ends hear of it (`SOCK_DESTROY`; a kernel may be without). Those that are not there are no error.
pub fn reset(connections: &BTreeSet<Connection>) -> io::Result<()> {
    if connections.is_empty() {
        return Ok(());
    }
    let mut diag = Netlink::new(SockProtocol::NetlinkSockDiag)?;
    for family in [AF_INET, AF_INET6] {
        let mut request = vec![family, IPPROTO_TCP, 0, 0];
        request.extend((!LISTEN).to_ne_bytes());
        request.resize(56, 0);
        let Ok(found) = diag.dump(BY_FAMILY, &request) else { continue };
        for message in found.iter().filter(|it| connected(&it.body).is_some_and(|it| connections.contains(&it))) {
            // By the id that the kernel gave it: by addresses, a listener could be meant.
            let mut order = vec![family, IPPROTO_TCP, 0, 0];
            order.extend((!0_u32).to_ne_bytes());
            order.extend(message.body.get(4..52).unwrap_or_default());
            match diag.order(DESTROY, &order) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// `struct inet_diag_msg` of a connection.
fn connected(body: &[u8]) -> Option<Connection> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| match *body.first()? {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?)),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?).to_ipv4_mapped(),
    };
    Some(Connection { own: (address(8)?, port(4)?), peer: (address(24)?, port(6)?) })
}

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// `TCP_LISTEN`, and `TCP_CLOSE`, which is what UDP calls unconnected.
const LISTEN: u32 = 1 << 10;
const CLOSE: u32 = 1 << 7;
const ONLY_V6: u16 = 11;
/// `INET_DIAG_SOCKOPT`: `struct inet_diag_sockopt`, whose first byte are eight flags.
const OPTIONS: u16 = 22;
const TRANSPARENT: u8 = if cfg!(target_endian = "little") { 1 << 5 } else { 1 << 2 };

/// The same by netlink alone, and whether each takes what is sent to others (`IP_TRANSPARENT`; older kernels do not say it).
pub(super) fn and_transparent() -> io::Result<Vec<(Socket, Option<bool>)>> {
    let mut diag = Netlink::new(SockProtocol::NetlinkSockDiag)?;
    let mut sockets = Vec::new();
    for (protocol, states) in [(IPPROTO_TCP, LISTEN), (IPPROTO_UDP, CLOSE)] {
        for family in [AF_INET, AF_INET6] {
            let mut request = vec![family, protocol, 0, 0];
            request.extend(states.to_ne_bytes());
            request.resize(56, 0);
            match diag.dump(BY_FAMILY, &request) {
                Ok(messages) => sockets.extend(messages.iter().filter_map(|m| diagnosed(&m.body, protocol))),
                Err(_) if family == AF_INET6 && !has_ipv6() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sockets)
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/thread-self/net/if_inet6").exists()
}

/// `struct inet_diag_msg`.
fn diagnosed(body: &[u8], protocol: u8) -> Option<(Socket, Option<bool>)> {
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let address = match *body.first()? {
        AF_INET => IpAddr::from(<[u8; 4]>::try_from(body.get(8..12)?).ok()?),
        AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(body.get(68..72)?.try_into().ok()?);
    let more = Attributes(body.get(72..)?);
    let only_v6 = more.byte(ONLY_V6) == Some(1);
    let transparent = more.byte(OPTIONS).map(|options| options & TRANSPARENT != 0);
    (port != 0).then_some((Socket { tcp: protocol == IPPROTO_TCP, address, port, only_v6, inode }, transparent))
}

fn by_proc() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for (file, tcp) in [("tcp", true), ("tcp6", true), ("udp", false), ("udp6", false)] {
        match std::fs::read_to_string(format!("/proc/thread-self/net/{file}")) {
            Ok(text) => sockets.extend(text.lines().skip(1).filter_map(|line| listed(line, tcp))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.ends_with('6') => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

/// A line of `/proc/net/tcp` and its like: hexadecimal words of an address are in the machine's order.
fn listed(line: &str, tcp: bool) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let wanted = if tcp { "0A" } else { "07" };
    let (address, port) = words.get(1).filter(|_| words.get(3) == Some(&wanted))?.split_once(':')?;
    let bytes: Vec<u8> = (0..address.len() / 8)
        .map(|at| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<Vec<_>>>()?
        .concat();
    let address = super::packet::address(&bytes)?;
    let (port, inode) = (u16::from_str_radix(port, 16).ok()?, words.get(9)?.parse().ok()?);
    (port != 0).then_some(Socket { tcp, address, port, only_v6: false, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_what_listens() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let wanted = [(true, tcp.local_addr()), (false, udp.local_addr())];
        let by_netlink = and_transparent().map(|all| all.into_iter().map(|(socket, _)| socket).collect());
        for found in [by_netlink, by_proc()] {
            // Without inet_diag there is but one way.
            let Ok(found) = found else { continue };
            for (tcp, at) in &wanted {
                let at = at.as_ref().expect("it is bound");
                let is_it = |socket: &&Socket| (socket.tcp, socket.address, socket.port) == (*tcp, at.ip(), at.port());
                assert_ne!(found.iter().find(is_it).expect("it is there").inode, 0);
            }
        }
    }

    #[test]
    fn a_connection_is_ended_and_its_listener_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("it is bound");
        let client = std::net::TcpStream::connect(at).expect("it listens");
        let (_server, from) = listener.accept().expect("somebody has connected");
        let (IpAddr::V4(own), IpAddr::V4(peer)) = (at.ip(), from.ip()) else { panic!("{at} and {from} are IPv4") };
        let connection = Connection { own: (own, at.port()), peer: (peer, from.port()) };
        // A kernel may be without, and an unprivileged test too.
        if reset(&[connection].into()).is_err() {
            return;
        }
        let error = client.peek(&mut [0]).expect_err("it is reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(std::net::TcpStream::connect(at).is_ok());
    }

    #[test]
    fn lines_of_proc() {
        let line = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1 f 100";
        let socket = listed(line, true).expect("it listens");
        assert_eq!((socket.address, socket.port, socket.inode), ([127, 0, 0, 1].into(), 8080, 4711));
        assert_eq!(listed(line, false), None, "of UDP, what is unconnected has another state");
    }

    #[test]
    fn what_takes_ipv4() {
        let socket = |address: &str, only_v6| Socket {
            tcp: true,
            address: address.parse().expect("address"),
            port: 1,
            only_v6,
            inode: 1,
        };
        assert_eq!(socket("::", false).takes_v4(), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(socket("::", true).takes_v4(), None);
        assert_eq!(socket("::1", false).takes_v4(), None);
        assert_eq!(socket("::ffff:127.0.0.1", false).takes_v4(), Some(Ipv4Addr::LOCALHOST));
    }
}
