//! The two sockets on the gateway's address, which the bridge need not have yet.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// The ports that are tried first: above those that Linux gives to connections and to published ports without a number of
/// their own (`ip_local_port_range`), and below those of nobody's.
const PORTS: std::ops::Range<u16> = 61053..61085;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Bytes of questions that wait to be read: a flood of one container fills it, and others' questions need a place.
const WAITING: usize = 4 << 20;

/// Why names cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for names on the gateway, {gateway}, on a port of {ports:?} or any other, and containers would have nobody to ask: {source}"
)]
pub struct ListenError {
    gateway: Ipv4Addr,
    ports: std::ops::Range<u16>,
    #[source]
    source: io::Error,
}

/// One port of the gateway, UDP and TCP. What comes before [`super::NameServer::serve`] waits.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    port: u16,
}

impl Sockets {
    /// Takes the port of the last daemon, or another if that is taken.
    pub fn bind(gateway: Ipv4Addr, last: Option<u16>) -> Result<Self, ListenError> {
        // 0 is whatever the kernel finds.
        let ports = last.into_iter().chain(PORTS).chain([0; 8]);
        let mut taken = None;
        for port in ports {
            match Self::bind_port(gateway, port) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => taken = Some(error),
            }
        }
        let source = taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
        Err(ListenError { gateway, ports: PORTS, source })
    }

    /// The port of both.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn bind_port(gateway: Ipv4Addr, port: u16) -> io::Result<Self> {
        let udp: UdpSocket = bound(SocketType::DGRAM, gateway, port)?.into();
        let port = udp.local_addr()?.port();
        // More than the system allows to others; without, there is less room.
        let _ = sockopt::set_socket_recv_buffer_size_force(&udp, WAITING);
        let tcp: TcpListener = bound(SocketType::STREAM, gateway, port)?.into();
        listen(&tcp, BACKLOG)?;
        Ok(Self { udp, tcp, port })
    }
}

fn bound(kind: SocketType, gateway: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_ip_freebind(&socket, true)?;
    if kind == SocketType::STREAM {
        // Connections of the last daemon that are still ending must not keep its port from the next one.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddrV4::new(gateway, port))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_and_a_taken_one_is_left_to_its_owner() {
        // An address of nobody: the bridge comes later.
        let gateway = Ipv4Addr::new(198, 51, 100, 1);
        let first = Sockets::bind(gateway, None).expect("a port is free");
        let last = first.port();
        let second = Sockets::bind(gateway, Some(last)).expect("another port is free");
        assert_ne!(second.port(), last);
        drop(first);
        assert_eq!(Sockets::bind(gateway, Some(last)).expect("it is free again").port(), last);
        // Half of it is not enough.
        let _udp: UdpSocket = bound(SocketType::DGRAM, gateway, last).expect("free").into();
        assert_ne!(Sockets::bind(gateway, Some(last)).expect("another port is free").port(), last);
    }
}
