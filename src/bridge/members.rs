//! Who belongs on the bridge: the ports that the daemon made, by their interfaces' numbers, which nobody can take over (a
//! name can be had by whoever comes first).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::MacAddr;

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Asked for, and not yet known by number.
    making: BTreeMap<String, MacAddr>,
    /// Until they are gone, whether open or not.
    made: BTreeMap<u32, MacAddr>,
}

impl Members {
    /// Before the port is asked for, so that nobody takes it for a stranger.
    pub(super) fn begin(&self, port: &str, mac: MacAddr) {
        self.state().making.insert(port.to_owned(), mac);
    }

    /// What came of it: its number, or nothing.
    pub(super) fn end(&self, port: &str, index: Option<u32>) {
        let mut state = self.state();
        if let (Some(mac), Some(index)) = (state.making.remove(port), index) {
            state.made.insert(index, mac);
        }
    }

    /// A port that a daemon before this one made.
    pub(super) fn adopt(&self, index: u32, mac: MacAddr) {
        self.state().made.insert(index, mac);
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
        let state = self.state();
        state.made.values().chain(state.making.values()).any(|it| it.0 == mac)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_from_its_order_to_its_end() {
        let (members, mac) = (Members::default(), MacAddr([2, 0, 0, 0, 0, 1]));
        members.begin("veth1", mac);
        assert!(members.is_making("veth1") && members.have(&mac.0) && !members.has(7));
        members.clone().end("veth1", Some(7));
        assert!(!members.is_making("veth1") && members.have(&mac.0) && members.has(7));
        members.gone(7);
        assert!(!members.has(7) && !members.have(&mac.0));
        members.begin("veth1", mac);
        members.end("veth1", None);
        assert!(!members.is_making("veth1") && !members.have(&mac.0));
    }
}
