//! The networks of a daemon, as clients know them: bridge, host and none. And the news of who comes and goes.

use sha2::{Digest, Sha256};

use super::engine::Engine;
use super::event::Event;
use super::record::Container;
use crate::model::NetworkMode;

/// One of the networks that are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownNetwork {
    /// As `--network` takes it.
    pub name: &'static str,
    /// Docker's name of the driver.
    pub driver: &'static str,
}

const BRIDGE: KnownNetwork = KnownNetwork { name: "bridge", driver: "bridge" };
const HOST: KnownNetwork = KnownNetwork { name: "host", driver: "host" };
const NONE: KnownNetwork = KnownNetwork { name: "none", driver: "null" };

impl KnownNetwork {
    /// The one that a container is on; none for a joined one, which is where its target is.
    pub fn of(mode: &NetworkMode) -> Option<Self> {
        match mode {
            NetworkMode::Bridge => Some(BRIDGE),
            NetworkMode::Host => Some(HOST),
            NetworkMode::None => Some(NONE),
            NetworkMode::Container(_) => None,
        }
    }

    /// Its id in the daemon of this id: stable, and different in another daemon. 64 hexadecimal digits.
    pub fn id(self, daemon: &str) -> String {
        let mut hash = Sha256::new();
        for part in [daemon, "network", self.name] {
            hash.update(part);
            hash.update([0]);
        }
        hex::encode(hash.finalize())
    }
}

impl Engine {
    /// The networks that there are: with `-b none` there is no bridge.
    pub fn networks(&self) -> Vec<KnownNetwork> {
        let bridge = self.network().map(|_| BRIDGE);
        bridge.into_iter().chain([HOST, NONE]).collect()
    }

    /// `connect` or `disconnect`: the container comes to its network, or has left it.
    pub(super) fn membership_event(&self, container: &Container, action: &str) {
        if let Some(network) = KnownNetwork::of(&container.spec.network.mode) {
            self.network_event(network, action, vec![("container", container.id.to_string())]);
        }
    }

    /// Something about the bridge.
    pub(super) fn bridge_event(&self, action: &str, more: Vec<(&str, String)>) {
        self.network_event(BRIDGE, action, more);
    }

    /// An event of a network, with docker's attributes: name, type, and what the caller adds.
    fn network_event(&self, network: KnownNetwork, action: &str, more: Vec<(&str, String)>) {
        let own = [("name", network.name.to_owned()), ("type", network.driver.to_owned())];
        let attributes = own.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)).collect();
        self.publish(Event::now("network", action, &network.id(&self.inner.parts.id), attributes));
    }
}
