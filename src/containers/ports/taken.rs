//! Which host ports containers have. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::model::{Protocol, Published};

/// Runs of host ports by their first port, disjoint: `first → last`.
type Runs = BTreeMap<u16, u16>;

/// Host ports in use, as runs: a range costs what a port costs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken(BTreeMap<(Protocol, IpAddr), Runs>);

impl Taken {
    /// Takes the row's host ports, all or none; `Err` names the first that somebody has. The unspecified address means
    /// every address.
    pub(super) fn claim(&mut self, row: &Published) -> Result<(), SocketAddr> {
        if let Some(port) = self.conflict(row) {
            return Err(SocketAddr::new(row.host_ip, port));
        }
        let runs = self.0.entry((row.container.protocol, row.host_ip)).or_default();
        runs.insert(row.host_port, row.last_host_port());
        Ok(())
    }

    /// Gives the row's host ports back, in whatever pieces they were claimed.
    pub(super) fn release(&mut self, row: &Published) {
        let key = (row.container.protocol, row.host_ip);
        let Some(runs) = self.0.get_mut(&key) else { return };
        let within: Vec<u16> = runs.range(row.host_port..=row.last_host_port()).map(|(first, _)| *first).collect();
        for first in within {
            runs.remove(&first);
        }
        if runs.is_empty() {
            self.0.remove(&key);
        }
    }

    fn conflict(&self, row: &Published) -> Option<u16> {
        // As many as the host has addresses that somebody publishes on.
        let rivals = self.0.iter().filter(|((protocol, ip), _)| {
            *protocol == row.container.protocol
                && (*ip == row.host_ip || ip.is_unspecified() || row.host_ip.is_unspecified())
        });
        rivals.filter_map(|(_, runs)| overlap(runs, row.host_port, row.last_host_port())).min()
    }
}

/// The first port from `first` to `last` that is in a run.
fn overlap(runs: &Runs, first: u16, last: u16) -> Option<u16> {
    let around = runs.range(..=first).next_back().filter(|(_, end)| **end >= first);
    match around {
        Some(_) => Some(first),
        None => runs.range(first..=last).next().map(|(begin, _)| *begin),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Port;

    fn row(ip: u8, first: u16, count: u16) -> Published {
        let host_ip = if ip == 0 { IpAddr::from([0, 0, 0, 0]) } else { IpAddr::from([192, 0, 2, ip]) };
        let container = Port { protocol: Protocol::Tcp, number: 1 };
        Published { host_ip, host_port: first, container, count }
    }

    #[test]
    fn the_first_port_in_the_way_is_named() {
        let mut taken = Taken::default();
        taken.claim(&row(0, 8005, 3)).unwrap();
        assert_eq!(taken.claim(&row(1, 8000, 10)), Err("192.0.2.1:8005".parse().unwrap()));
        assert_eq!(taken.claim(&row(1, 8006, 1)), Err("192.0.2.1:8006".parse().unwrap()));
        taken.claim(&row(1, 8000, 5)).unwrap();
        taken.claim(&row(2, 8000, 5)).unwrap();
        assert_eq!(taken.claim(&row(0, 7999, 2)), Err("0.0.0.0:8000".parse().unwrap()));
        let udp = Published { container: Port { protocol: Protocol::Udp, number: 1 }, ..row(0, 8000, 10) };
        taken.claim(&udp).unwrap();
    }

    #[test]
    fn nothing_is_left_of_what_was_released() {
        let mut taken = Taken::default();
        taken.claim(&row(0, 8000, 1)).unwrap();
        taken.claim(&row(0, 8001, 1)).unwrap();
        taken.claim(&row(0, 65535, 1)).unwrap();
        taken.release(&row(0, 8000, 2));
        taken.release(&row(0, 65535, 1));
        assert_eq!(taken, Taken::default());
    }

    proptest! {
        /// It agrees with a set of single ports.
        #[test]
        fn runs_are_sets_of_ports(claims in proptest::collection::vec((0..3u8, 1..40u16, 1..9u16, any::<bool>()), 0..30)) {
            let (mut taken, mut model) = (Taken::default(), BTreeSet::new());
            let mut held: Vec<Published> = Vec::new();
            for (ip, first, count, release) in claims {
                if release && !held.is_empty() {
                    let gone = held.remove(usize::from(first) % held.len());
                    taken.release(&gone);
                    gone.each().for_each(|one| { model.remove(&(one.host_ip, one.host_port)); });
                    continue;
                }
                let row = row(ip, first, count);
                let clash = row.each().find(|one| model.iter().any(|(ip, port): &(IpAddr, u16)| {
                    *port == one.host_port && (*ip == one.host_ip || ip.is_unspecified() || one.host_ip.is_unspecified())
                }));
                let expected = match clash {
                    Some(one) => Err(SocketAddr::new(one.host_ip, one.host_port)),
                    None => Ok(()),
                };
                prop_assert_eq!(taken.claim(&row), expected);
                if expected.is_ok() {
                    model.extend(row.each().map(|one| (one.host_ip, one.host_port)));
                    held.push(row);
                }
            }
        }
    }
}
