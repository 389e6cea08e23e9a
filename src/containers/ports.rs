//! Host ports: chosen, and kept from other programs by bound sockets.
//!
//! A port is reserved by a socket that is bound but does not listen: every other program gets "address already in use",
//! no packet ever reaches it (the firewall's map comes first), and the kernel releases it with the daemon. TCP, UDP and
//! SCTP each have their own ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use crate::model::{HostBinding, Port, Protocol, Published};

/// Why host ports cannot be had. The words are docker's.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// Another container has it.
    #[error("Bind for {0} failed: port is already allocated")]
    Allocated(SocketAddr),
    /// Another program has it.
    #[error("failed to bind host port {address}/{protocol}: {reason}")]
    InUse {
        /// Which.
        address: SocketAddr,
        /// Of which protocol.
        protocol: Protocol,
        /// The kernel's answer, in its usual words.
        reason: String,
    },
    /// Every port of the range is taken.
    #[error("all ports are allocated")]
    Exhausted,
    /// An address that is not this host's, or of a family that is not served.
    #[error("cannot publish on {0}: {1}")]
    Address(IpAddr, &'static str),
}

type Key = (Protocol, u16, IpAddr);

/// The host's ports as this daemon's containers use them.
#[derive(Default)]
pub struct PortTable {
    taken: Arc<Mutex<BTreeMap<Key, ()>>>,
    last_ephemeral: Mutex<u16>,
}

/// Ports of one container, held until dropped.
pub struct Reservation {
    /// In force.
    pub published: Vec<Published>,
    sockets: Vec<OwnedFd>,
    taken: Arc<Mutex<BTreeMap<Key, ()>>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.sockets.clear();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for port in &self.published {
            for port in port.each() {
                taken.remove(&(port.container.protocol, port.host_port, port.host_ip));
            }
        }
    }
}

impl PortTable {
    /// Reserves a host port for each binding, all or none. `ephemeral`: first and last port to choose from.
    pub fn reserve(
        &self,
        bindings: &[HostBinding],
        default_ip: IpAddr,
        ephemeral: (u16, u16),
    ) -> Result<Reservation, PortsError> {
        let mut reservation = Reservation { published: Vec::new(), sockets: Vec::new(), taken: self.taken.clone() };
        for binding in bindings {
            let host_ip = binding.host_ip.unwrap_or(default_ip);
            match binding.host_ports {
                Some((first, last)) if first == last => {
                    self.take(&mut reservation, host_ip, first, binding.container)?;
                }
                Some((first, last)) => self.take_first(&mut reservation, host_ip, first..=last, binding.container)?,
                None => {
                    let ports = self.ephemeral_order(ephemeral);
                    self.take_first(&mut reservation, host_ip, ports, binding.container)?;
                    if let Some(port) = reservation.published.last() {
                        *self.last_ephemeral.lock().unwrap_or_else(PoisonError::into_inner) = port.host_port;
                    }
                }
            }
        }
        Ok(reservation)
    }

    /// Reserves again what a container held when the last daemon ended. A port that another program took meanwhile is
    /// held without a socket: the container keeps it.
    pub fn resume(&self, published: &[Published]) -> Reservation {
        let mut reservation = Reservation { published: Vec::new(), sockets: Vec::new(), taken: self.taken.clone() };
        for port in published.iter().flat_map(|row| row.each()) {
            if let Err(error) = self.take(&mut reservation, port.host_ip, port.host_port, port.container) {
                tracing::warn!(%error, "a published port could not be reserved again; it stays published");
                self.lock().insert((port.container.protocol, port.host_port, port.host_ip), ());
                reservation.published.push(port);
            }
        }
        reservation
    }

    /// The ports of the range, beginning behind the one given last.
    fn ephemeral_order(&self, (first, last): (u16, u16)) -> impl Iterator<Item = u16> + use<> {
        let previous = *self.last_ephemeral.lock().unwrap_or_else(PoisonError::into_inner);
        let start = if (first..last).contains(&previous) { previous + 1 } else { first };
        (start..=last).chain(first..start)
    }

    fn take_first(
        &self,
        reservation: &mut Reservation,
        host_ip: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        container: Port,
    ) -> Result<(), PortsError> {
        for port in ports {
            match self.take(reservation, host_ip, port, container) {
                Err(PortsError::Allocated(_) | PortsError::InUse { .. }) => {}
                done => return done,
            }
        }
        Err(PortsError::Exhausted)
    }

    fn take(
        &self,
        reservation: &mut Reservation,
        host_ip: IpAddr,
        host_port: u16,
        container: Port,
    ) -> Result<(), PortsError> {
        let address = SocketAddr::new(host_ip, host_port);
        let mut taken = self.lock();
        let mut others = taken
            .range((container.protocol, host_port, IpAddr::from([0, 0, 0, 0]))..)
            .take_while(|((protocol, port, _), ())| (*protocol, *port) == (container.protocol, host_port));
        if others.any(|((_, _, ip), ())| *ip == host_ip || ip.is_unspecified() || host_ip.is_unspecified()) {
            return Err(PortsError::Allocated(address));
        }
        if let Some(socket) = bind(address, container.protocol)? {
            reservation.sockets.push(socket);
        }
        taken.insert((container.protocol, host_port, host_ip), ());
        reservation.published.push(Published { host_ip, host_port, container, count: 1 });
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, ()>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds without listening and without SO_REUSEADDR: with it, another program could bind beside us.
/// `None`: this kernel has no such protocol for local sockets, so nobody can take the port either.
fn bind(address: SocketAddr, protocol: Protocol) -> Result<Option<OwnedFd>, PortsError> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let in_use = |errno: rustix::io::Errno| {
        if errno == rustix::io::Errno::ADDRNOTAVAIL {
            return PortsError::Address(address.ip(), "it is no address of this host");
        }
        let reason = if errno == rustix::io::Errno::ADDRINUSE {
            "address already in use".to_owned()
        } else {
            std::io::Error::from(errno).to_string()
        };
        PortsError::InUse { address, protocol, reason }
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        Err(rustix::io::Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp => return Ok(None),
        other => other.map_err(in_use)?,
    };
    rustix::net::bind(&socket, &address).map_err(in_use)?;
    Ok(Some(socket))
}

/// The range that ephemeral ports come from (`net.ipv4.ip_local_port_range`), without what is reserved there.
pub fn ephemeral_range() -> (u16, u16) {
    let read = || -> Option<(u16, u16)> {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        match (numbers.next()?, numbers.next()?) {
            (Ok(first), Ok(last)) if first <= last => Some((first, last)),
            _ => None,
        }
    };
    // 49153-60999 is Docker's own fall-back.
    read().unwrap_or((49_153, 60_999))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    fn web(host_ip: Option<IpAddr>, host_ports: Option<(u16, u16)>) -> HostBinding {
        HostBinding { container: "80".parse().unwrap(), host_ip, host_ports }
    }

    /// A port that nobody uses at the moment.
    fn free_port() -> u16 {
        std::net::TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_port_is_given_once_and_again_after_release() {
        let table = PortTable::default();
        let port = free_port();
        let first = table.reserve(&[web(Some(LOOPBACK), Some((port, port)))], ANY, (1, 2)).unwrap();
        let error = table.reserve(&[web(None, Some((port, port)))], ANY, (1, 2)).err().unwrap();
        assert_eq!(error.to_string(), format!("Bind for 0.0.0.0:{port} failed: port is already allocated"));
        drop(first);
        table.reserve(&[web(Some(LOOPBACK), Some((port, port)))], ANY, (1, 2)).unwrap();
    }

    #[test]
    fn other_programs_are_kept_out_and_noticed() {
        let table = PortTable::default();
        let listener = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = table.reserve(&[web(Some(LOOPBACK), Some((port, port)))], ANY, (1, 2)).err().unwrap();
        assert_eq!(error.to_string(), format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use"));
        drop(listener);
        let _held = table.reserve(&[web(Some(LOOPBACK), Some((port, port)))], ANY, (1, 2)).unwrap();
        assert!(std::net::TcpListener::bind((LOOPBACK, port)).is_err());
    }

    #[test]
    fn all_or_none() {
        let table = PortTable::default();
        let port = free_port();
        let twice = [web(Some(LOOPBACK), Some((port, port))), web(Some(LOOPBACK), Some((port, port)))];
        assert!(table.reserve(&twice, ANY, (1, 2)).is_err());
        table.reserve(&twice[..1], ANY, (1, 2)).unwrap();
    }

    #[test]
    fn ephemeral_ports_go_round() {
        let table = PortTable::default();
        *table.last_ephemeral.lock().unwrap() = 11;
        assert_eq!(table.ephemeral_order((10, 13)).collect::<Vec<_>>(), [12, 13, 10, 11]);
        *table.last_ephemeral.lock().unwrap() = 13;
        assert_eq!(table.ephemeral_order((10, 13)).collect::<Vec<_>>(), [10, 11, 12, 13]);
    }

    #[test]
    fn a_foreign_address_is_named() {
        let table = PortTable::default();
        let foreign = web(Some("203.0.113.1".parse().unwrap()), Some((80, 80)));
        let error = table.reserve(&[foreign], ANY, (1, 2)).err().unwrap();
        assert!(error.to_string().contains("no address of this host"), "{error}");
    }
}
