//! A witness: a port that a program has open, and what the program notices there.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use super::container::Container;
use super::host::Host;
use super::packets::within;

/// TCP and UDP of one port, listened on, and asked only when a test asks.
pub struct Witness(TcpListener, UdpSocket);

/// What a witness noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Connections that were there to be accepted.
    pub connections: usize,
    /// Datagrams that were there to be read.
    pub datagrams: Vec<Vec<u8>>,
}

impl Host {
    /// A program of a container that has this port open.
    pub fn witness(&self, container: &Container<'_>, port: u16) -> Witness {
        let here = self.path(&format!("/proc/{}/ns/net", container.pid()));
        within(&here, || {
            let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap_or_else(|e| panic!("{port}/tcp: {e}"));
            let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap_or_else(|e| panic!("{port}/udp: {e}"));
            tcp.set_nonblocking(true).expect("a socket can be asked not to wait");
            udp.set_nonblocking(true).expect("a socket can be asked not to wait");
            Witness(tcp, udp)
        })
    }
}

impl Witness {
    /// What the program has noticed since the last look.
    pub fn noticed(&self) -> Noticed {
        let mut noticed = Noticed::default();
        loop {
            match self.0.accept() {
                Ok(_) => noticed.connections += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot accept: {error}"),
            }
        }
        let mut bytes = [0; 512];
        while let Ok(length) = self.1.recv(&mut bytes) {
            noticed.datagrams.push(bytes[..length].to_vec());
        }
        noticed
    }
}
