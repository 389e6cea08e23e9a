//! Who belongs on the bridge: the ports that the daemon made, by their interfaces' numbers, which nobody can take over (a
//! name can be had by whoever comes first).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Endpoint, MacAddr};

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Asked for, and not yet known by number.
    making: BTreeMap<String, Station>,
    /// Until they are gone, whether open or not.
    made: BTreeMap<u32, Station>,
}

/// Who is behind a port.
#[derive(Clone, Copy, Debug)]
struct Station {
    mac: MacAddr,
    address: Ipv4Addr,
}

impl Station {
    fn of(endpoint: &Endpoint) -> Self {
        Self { mac: endpoint.mac, address: endpoint.address }
    }
}

impl Members {
    /// Before the port is asked for, so that nobody takes it for a stranger.
    pub(super) fn begin(&self, endpoint: &Endpoint) {
        self.state().making.insert(endpoint.port.clone(), Station::of(endpoint));
    }

    /// What came of it: its number, or nothing.
    pub(super) fn end(&self, port: &str, index: Option<u32>) {
        let mut state = self.state();
        if let (Some(station), Some(index)) = (state.making.remove(port), index) {
            state.made.insert(index, station);
        }
    }

    /// A port that a daemon before this one made.
    pub(super) fn adopt(&self, index: u32, endpoint: &Endpoint) {
        self.state().made.insert(index, Station::of(endpoint));
    }

    pub(super) fn gone(&self, index: u32) {
        self.state().made.remove(&index);
    }

    pub(super) fn has(&self, index: u32) -> bool {
        self.state().made.contains_key(&index)
    }

    pub(super) fn is_making(&self, port: &str) -> bool {
        self.state().making.contains_key(port)
    }

    /// Whether the forwarding table has reason to hold this address.
    pub(super) fn have(&self, mac: &[u8]) -> bool {
        self.any(|station| station.mac.0 == mac)
    }

    /// Whether the host has reason to know who has this address.
    pub(super) fn have_address(&self, address: Ipv4Addr) -> bool {
        self.any(|station| station.address == address)
    }

    fn any(&self, is_it: impl Fn(&Station) -> bool) -> bool {
        let state = self.state();
        state.made.values().chain(state.making.values()).any(is_it)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Names;

    #[test]
    fn a_port_belongs_from_its_order_to_its_end() {
        let (members, mac) = (Members::default(), MacAddr([2, 0, 0, 0, 0, 1]));
        let endpoint = Endpoint {
            name: "web".parse().expect("name"),
            address: [172, 17, 0, 2].into(),
            mac,
            port: "veth1".to_owned(),
            published: vec![],
            exposed: vec![],
            links: vec![],
            names: Names::default(),
        };
        members.begin(&endpoint);
        assert!(members.is_making("veth1") && members.have(&mac.0) && !members.has(7));
        members.clone().end("veth1", Some(7));
        assert!(!members.is_making("veth1") && members.have(&mac.0) && members.has(7));
        assert!(members.have_address(endpoint.address) && !members.have_address([172, 17, 0, 3].into()));
        members.gone(7);
        assert!(!members.has(7) && !members.have(&mac.0) && !members.have_address(endpoint.address));
        members.begin(&endpoint);
        members.end("veth1", None);
        assert!(!members.is_making("veth1") && !members.have(&mac.0));
    }
}
