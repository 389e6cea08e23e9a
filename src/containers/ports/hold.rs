//! Sockets that keep host ports from other programs.
//!
//! A socket that is bound and does not listen: every other program gets "address already in use", no packet ever reaches
//! it (the firewall's map comes first), and the kernel releases it with the daemon. TCP, UDP and SCTP each have their own
//! ports.
//!
//! A socket is a descriptor, and the daemon has other uses for these: when they run short, ports are still looked at, but
//! no longer held. (Sockets under way through a unix socket need no descriptor, but count against every process of
//! root's, in containers too.)

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto};

use super::PortsError;
use crate::containers::descriptors;
use crate::model::{Protocol, Published};

/// Sockets of one container's ports.
#[derive(Default)]
pub struct Sockets {
    held: Vec<OwnedFd>,
    /// Ports that were free, but for which there was no descriptor to spare.
    pub(super) unheld: usize,
}

impl Sockets {
    /// Binds each of the row's host ports; on failure those before it stay bound until this is dropped.
    pub(super) fn hold(&mut self, row: &Published) -> Result<(), PortsError> {
        let first_kept = descriptors::first_kept();
        self.held.reserve(row.count.into());
        for one in row.each() {
            let address = SocketAddr::new(one.host_ip, one.host_port);
            match bind(address, one.container.protocol) {
                Ok(Some(socket)) if i64::from(socket.as_raw_fd()) < first_kept => self.held.push(socket),
                Ok(Some(_)) | Err(Errno::MFILE | Errno::NFILE) => self.unheld += 1,
                Ok(None) => {}
                Err(errno) => return Err(refusal(address, one.container.protocol, errno)),
            }
        }
        Ok(())
    }
}

fn refusal(address: SocketAddr, protocol: Protocol, errno: Errno) -> PortsError {
    let reason = match errno {
        Errno::ADDRINUSE => "address already in use".to_owned(),
        Errno::ADDRNOTAVAIL => {
            format!("cannot assign requested address: {} is no address of this host", address.ip())
        }
        _ => std::io::Error::from(errno).to_string(),
    };
    PortsError::Bind { address, protocol, taken: errno == Errno::ADDRINUSE, reason }
}

/// `None`: this kernel has no such protocol for local sockets, so nobody else can take the port either.
fn bind(address: SocketAddr, protocol: Protocol) -> Result<Option<OwnedFd>, Errno> {
    let socket = match open(address, protocol) {
        Err(Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp => return Ok(None),
        opened => opened?,
    };
    // Without SO_REUSEADDR: with it, another program could bind beside us.
    match rustix::net::bind(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => bind_beside_the_dead(address).map(Some),
        Err(errno) => Err(errno),
    }
}

/// The port of a server that has gone is still in use by its last connections, for a minute (TIME_WAIT). Servers bind
/// beside these with SO_REUSEADDR, and listening tells whether there are others; the kernel looks again at whoever binds
/// after the option is gone.
fn bind_beside_the_dead(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(address, Protocol::Tcp)?;
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 0)?;
    rustix::net::shutdown(&socket, Shutdown::Both)?;
    set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

fn open(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    /// The server closes first: its side of the connection is the one that lingers.
    #[test]
    fn a_port_whose_server_has_gone_can_be_had_and_is_kept() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        drop(server.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        assert_eq!(bind_beside_the_dead(address).err(), Some(Errno::ADDRINUSE), "the server still listens");
        drop(server);
        let socket = bind(address, Protocol::Tcp).unwrap();
        // The standard library binds with SO_REUSEADDR.
        assert!(TcpListener::bind(address).is_err(), "others are kept out");
        assert!(TcpStream::connect(address).is_err(), "nobody answers");
        drop(socket);
        TcpListener::bind(address).unwrap();
    }
}
