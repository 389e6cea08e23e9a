//! The sockets on the gateway's address, which the bridge need not have yet.
//!
//! Datagrams come to one port and wait in many queues, by the last bits of who sent them: a flood fills the queue of the one
//! that floods, and those of the few that share it ([`QUEUES`] apart in the subnet), however slowly it is read.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::sys::socket::{Instruction, share_out};

/// The ports that are tried first: above those that Linux gives to connections and to published ports without a number of
/// their own (`ip_local_port_range`), and below those of nobody's.
const PORTS: std::ops::Range<u16> = 61053..61085;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Queues of datagrams; a power of two.
const QUEUES: u32 = 64;
/// Bytes of questions that wait in one queue, as the kernel counts them (about 1 KiB a question).
const WAITING: usize = 512 << 10;

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

/// One port of the gateway, UDP (a socket a queue) and TCP. What comes before [`super::NameServer::serve`] waits.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: Vec<UdpSocket>,
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
        // The first one alone does not share: it finds whoever has the port, another daemon too.
        let first: UdpSocket = bound(SocketType::DGRAM, gateway, port, Sharing::No)?.into();
        let port = first.local_addr()?.port();
        sockopt::set_socket_reuseport(&first, true)?;
        let mut udp = vec![first];
        for _ in 1..QUEUES {
            udp.push(bound(SocketType::DGRAM, gateway, port, Sharing::Datagrams)?.into());
        }
        share_out(&udp[0], &BY_SOURCE)?;
        for queue in &udp {
            // More than the system allows to others; without, there is less room.
            let _ = sockopt::set_socket_recv_buffer_size_force(queue, WAITING);
        }
        // Connections of the last daemon that are still ending must not keep its port from the next one.
        let tcp: TcpListener = bound(SocketType::STREAM, gateway, port, Sharing::EndedConnections)?.into();
        listen(&tcp, BACKLOG)?;
        Ok(Self { udp, tcp, port })
    }
}

/// The last bits of an IPv4 packet's source address.
const BY_SOURCE: [Instruction; 3] = {
    /// Offsets below this one are counted from the IP header (`SKF_NET_OFF`).
    const IP_HEADER: i32 = -0x10_0000;
    const SOURCE: i32 = 12;
    const LOAD_WORD: u16 = 0x20;
    const AND: u16 = 0x54;
    const RETURN_IT: u16 = 0x16;
    [
        Instruction { code: LOAD_WORD, yes: 0, no: 0, value: (IP_HEADER + SOURCE).cast_unsigned() },
        Instruction { code: AND, yes: 0, no: 0, value: QUEUES - 1 },
        Instruction { code: RETURN_IT, yes: 0, no: 0, value: 0 },
    ]
};

/// With whom a socket shares its port.
#[derive(Clone, Copy)]
enum Sharing {
    No,
    Datagrams,
    EndedConnections,
}

fn bound(kind: SocketType, gateway: Ipv4Addr, port: u16, sharing: Sharing) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_ip_freebind(&socket, true)?;
    match sharing {
        Sharing::No => {}
        Sharing::Datagrams => sockopt::set_socket_reuseport(&socket, true)?,
        Sharing::EndedConnections => sockopt::set_socket_reuseaddr(&socket, true)?,
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
        let _udp: UdpSocket = bound(SocketType::DGRAM, gateway, last, Sharing::No).expect("free").into();
        assert_ne!(Sockets::bind(gateway, Some(last)).expect("another port is free").port(), last);
    }
}
