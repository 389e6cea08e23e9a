//! The bridge and what hangs off it: plan (pure) and apply (rtnetlink).

pub mod ipam;

use crate::model::{Endpoint, NetworkOptions};
use crate::netns::NetNs;

/// What went wrong on the bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A netlink request failed.
    #[error("cannot {step} {what}: {source}")]
    Netlink {
        /// What was attempted.
        step: &'static str,
        /// The interface, address or route.
        what: String,
        /// The kernel's answer.
        #[source]
        source: rtnetlink::Error,
    },
}

/// The daemon's bridge.
#[derive(Clone)]
pub struct Bridge {}

impl Bridge {
    /// Creates the bridge, or adopts one that stands (with its ports), and sets address, MTU, forwarding, no router
    /// advertisements, no IPv6.
    pub async fn ensure(options: &NetworkOptions) -> Result<Self, BridgeError> {
        let _ = options;
        todo!()
    }

    /// Creates the veth pair straight into `netns`, with `eth0`'s MAC, address, MTU and default route; the host's side
    /// is enslaved but *down*, so nothing passes yet. On error nothing is left.
    pub async fn attach(&self, endpoint: &Endpoint, netns: &NetNs) -> Result<(), BridgeError> {
        let _ = (endpoint, netns);
        todo!()
    }

    /// Lets traffic pass: the port goes up. Called after the firewall knows the endpoint.
    pub async fn open_port(&self, port: &str) -> Result<(), BridgeError> {
        let _ = port;
        todo!()
    }

    /// Stops traffic at once: the port goes down. The pair itself goes with its namespace. A port that is gone is no
    /// error.
    pub async fn close_port(&self, port: &str) -> Result<(), BridgeError> {
        let _ = port;
        todo!()
    }

    /// Deletes ports of ours on this bridge that belong to no endpoint (`keep` holds the names that do).
    pub async fn sweep(&self, keep: &std::collections::BTreeSet<String>) -> Result<Vec<String>, BridgeError> {
        let _ = keep;
        todo!()
    }
}
