//! Host ports: chosen, claimed against other containers, and kept from other programs.
//!
//! - `taken`: which ports containers have, as runs
//! - `hold`: bound sockets that keep other programs out
//! - `ephemeral`: ports for those who name none
//!
//! Ports in a row are one row everywhere, whatever the client made of its range: docker's sends a thousand bindings.

mod ephemeral;
mod hold;
mod taken;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{HostBinding, Port, Protocol, Published};
pub use ephemeral::Ephemeral;
pub use hold::Sockets;
use taken::Taken;

/// Why host ports cannot be had. The words are docker's.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// Another container has it, or this one by another of its bindings.
    #[error("Bind for {0} failed: port is already allocated")]
    Allocated(SocketAddr),
    /// The kernel does not give it.
    #[error("failed to bind host port {address}/{protocol}: {reason}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Of which protocol.
        protocol: Protocol,
        /// Another program has it.
        taken: bool,
        /// The kernel's answer, in its usual words.
        reason: String,
    },
    /// Every port of the range is taken.
    #[error("all ports are allocated")]
    Exhausted,
}

/// The host's ports as this daemon's containers use them. Clones share them.
#[derive(Clone, Default)]
pub struct PortTable(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    taken: Taken,
    /// The ephemeral port that was given last.
    last: BTreeMap<(IpAddr, Protocol), u16>,
}

/// Ports of one container, held until dropped.
pub struct Reservation {
    /// In force: as few rows as there can be.
    pub published: Vec<Published>,
    sockets: Sockets,
    table: PortTable,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // The sockets first: who gets the port from the table wants to bind it.
        self.sockets = Sockets::default();
        let mut table = self.table.lock();
        self.published.iter().for_each(|row| table.taken.release(row));
    }
}

impl PortTable {
    /// Reserves a host port for each binding, all or none. Blocks for some microseconds a port.
    pub fn reserve(
        &self,
        bindings: &[HostBinding],
        default_ip: IpAddr,
        ephemeral: &Ephemeral,
    ) -> Result<Reservation, PortsError> {
        let mut reservation = self.nothing();
        let (fixed, open) = sort(bindings, default_ip);
        // Those that must have this port and no other come first.
        for row in Published::rows(fixed) {
            reservation.take(row)?;
        }
        for binding in open {
            let host_ip = binding.host_ip.unwrap_or(default_ip);
            match binding.host_ports {
                Some((first, last)) => reservation.take_one(host_ip, first..=last, binding.container)?,
                None => {
                    let which = (host_ip, binding.container.protocol);
                    let last = self.lock().last.get(&which).copied();
                    let chosen = reservation.take_one(host_ip, ephemeral.after(last), binding.container)?;
                    self.lock().last.insert(which, chosen);
                    chosen
                }
            };
        }
        reservation.settle();
        Ok(reservation)
    }

    /// Reserves again what a container held when the last daemon ended. A port that another program took meanwhile is
    /// held without a socket: the container keeps it.
    pub fn resume(&self, published: &[Published]) -> Reservation {
        let mut reservation = self.nothing();
        for row in published {
            if let Err(address) = self.lock().taken.claim(row) {
                tracing::error!(%address, "two containers have one host port: this is a bug in pontoon");
                continue;
            }
            reservation.published.push(*row);
            for one in row.each() {
                if let Err(error) = reservation.sockets.hold(&one) {
                    tracing::warn!(%error, "a published port could not be reserved again; it stays published");
                }
            }
        }
        reservation.settle();
        reservation
    }

    fn nothing(&self) -> Reservation {
        Reservation { published: Vec::new(), sockets: Sockets::default(), table: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bindings to one certain port, and the others; two that are the same to the letter are two.
fn sort(bindings: &[HostBinding], default_ip: IpAddr) -> (Vec<Published>, Vec<&HostBinding>) {
    let (mut fixed, mut open) = (Vec::new(), Vec::new());
    for binding in bindings {
        match binding.host_ports {
            Some((first, last)) if first == last => fixed.push(Published {
                host_ip: binding.host_ip.unwrap_or(default_ip),
                host_port: first,
                container: binding.container,
                count: 1,
            }),
            _ => open.push(binding),
        }
    }
    (fixed, open)
}

impl Reservation {
    /// What keeps other programs out, to be dropped; other containers are kept out until this reservation is.
    pub fn take_sockets(&mut self) -> Sockets {
        std::mem::take(&mut self.sockets)
    }

    fn take(&mut self, row: Published) -> Result<(), PortsError> {
        self.table.lock().taken.claim(&row).map_err(PortsError::Allocated)?;
        self.published.push(row);
        // Outside the lock: ten thousand take a while.
        self.sockets.hold(&row)
    }

    /// The first of the ports that is free.
    fn take_one(
        &mut self,
        host_ip: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        container: Port,
    ) -> Result<u16, PortsError> {
        for host_port in ports {
            match self.take(Published { host_ip, host_port, container, count: 1 }) {
                Ok(()) => return Ok(host_port),
                Err(PortsError::Allocated(_)) => {}
                Err(PortsError::Bind { taken: true, .. }) => {
                    if let Some(row) = self.published.pop() {
                        self.table.lock().taken.release(&row);
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(PortsError::Exhausted)
    }

    /// All is taken: the fewest rows, and a word on what is not held.
    fn settle(&mut self) {
        self.published = Published::rows(std::mem::take(&mut self.published));
        if self.sockets.unheld > 0 {
            tracing::warn!(
                ports = self.sockets.unheld,
                "published ports that other programs could still bind: there are not enough file descriptors to hold \
                 them; raise the daemon's limit (LimitNOFILE=, ulimit -n)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    fn web(host_ip: Option<IpAddr>, host_ports: Option<(u16, u16)>) -> HostBinding {
        HostBinding { container: "80".parse().unwrap(), host_ip, host_ports }
    }

    fn reserve(table: &PortTable, bindings: &[HostBinding]) -> Result<Reservation, PortsError> {
        table.reserve(bindings, ANY, &Ephemeral::parse("1 2", ""))
    }

    /// A port that nobody uses at the moment.
    fn free_port() -> u16 {
        std::net::TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_port_is_given_once_and_again_after_release() {
        let table = PortTable::default();
        let port = free_port();
        let first = reserve(&table, &[web(Some(LOOPBACK), Some((port, port)))]).unwrap();
        let error = reserve(&table, &[web(None, Some((port, port)))]).err().unwrap();
        assert_eq!(error.to_string(), format!("Bind for 0.0.0.0:{port} failed: port is already allocated"));
        drop(first);
        reserve(&table, &[web(Some(LOOPBACK), Some((port, port)))]).unwrap();
    }

    #[test]
    fn other_programs_are_kept_out_and_noticed() {
        let table = PortTable::default();
        let listener = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = reserve(&table, &[web(Some(LOOPBACK), Some((port, port)))]).err().unwrap();
        assert_eq!(error.to_string(), format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use"));
        drop(listener);
        let _held = reserve(&table, &[web(Some(LOOPBACK), Some((port, port)))]).unwrap();
        assert!(std::net::TcpListener::bind((LOOPBACK, port)).is_err());
    }

    #[test]
    fn all_or_none() {
        let table = PortTable::default();
        let port = free_port();
        let twice = [web(Some(LOOPBACK), Some((port, port))), web(Some(LOOPBACK), Some((port, port)))];
        let error = reserve(&table, &twice).err().unwrap();
        assert_eq!(error.to_string(), format!("Bind for 127.0.0.1:{port} failed: port is already allocated"));
        reserve(&table, &twice[..1]).unwrap();
    }

    #[test]
    fn a_range_for_one_port_gives_the_first_that_is_free() {
        let table = PortTable::default();
        // An address that no other test binds to.
        let alone = IpAddr::from([127, 77, 0, 1]);
        let listener = std::net::TcpListener::bind((alone, 8001)).unwrap();
        let range = [web(Some(alone), Some((8000, 8001)))];
        let first = reserve(&table, &range).unwrap();
        assert_eq!(first.published[0].host_port, 8000);
        assert_eq!(reserve(&table, &range).err().unwrap().to_string(), "all ports are allocated");
        drop((first, listener));
        let both = [range[0].clone(), web(Some(alone), Some((8000, 8000)))];
        let both = reserve(&table, &both).unwrap();
        let ports: Vec<u16> = both.published.iter().map(|row| row.host_port).collect();
        assert_eq!(ports, [8000, 8001], "nothing was left behind, and who wants one port only comes first");
    }

    #[test]
    fn bindings_in_step_are_one_row() {
        let table = PortTable::default();
        let alone = IpAddr::from([127, 77, 0, 2]);
        let bindings: Vec<HostBinding> = (0..1000)
            .map(|step| HostBinding {
                container: Port { protocol: Protocol::Udp, number: 7000 + step },
                host_ip: Some(alone),
                host_ports: Some((8000 + step, 8000 + step)),
            })
            .collect();
        let held = reserve(&table, &bindings).unwrap();
        assert_eq!((held.published.len(), held.published[0].count, held.sockets.unheld), (1, 1000, 0));
        assert!(std::net::UdpSocket::bind((alone, 8999)).is_err());
        drop(held);
        std::net::UdpSocket::bind((alone, 8999)).unwrap();
        assert_eq!(table.lock().taken, Taken::default());
    }

    #[test]
    fn ephemeral_ports_are_those_behind_the_last() {
        let table = PortTable::default();
        let alone = IpAddr::from([127, 77, 0, 3]);
        let some = Ephemeral::parse("8000 8004", "8001");
        let three = [web(None, None), web(None, None), web(None, None)];
        let ports = |held: &Reservation| held.published.iter().map(|row| row.host_port).collect::<Vec<_>>();
        let first = table.reserve(&three, alone, &some).unwrap();
        assert_eq!(ports(&first), [8000, 8002, 8003]);
        drop(first);
        let then = table.reserve(&three[..2], alone, &some).unwrap();
        assert_eq!(ports(&then), [8000, 8004], "8004, and round");
        assert_eq!(table.reserve(&three, alone, &some).err().unwrap().to_string(), "all ports are allocated");
    }

    #[test]
    fn a_foreign_address_is_named() {
        let table = PortTable::default();
        let foreign = web(Some("203.0.113.1".parse().unwrap()), Some((80, 80)));
        assert_eq!(
            reserve(&table, &[foreign]).err().unwrap().to_string(),
            "failed to bind host port 203.0.113.1:80/tcp: cannot assign requested address: \
             203.0.113.1 is no address of this host"
        );
    }
}
