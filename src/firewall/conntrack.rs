//! Conntrack entries of what was closed. A rule judges a flow's first packet only; what it let through goes on until its
//! entry is gone.

use std::net::Ipv4Addr;

use crate::model::{PortRange, Protocol};

/// Published ports in a row, as a flow's entry shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// The original direction's destination; `None`: any address of the host.
    pub(super) host: Option<Ipv4Addr>,
    /// The original direction's destination ports.
    pub(super) ports: PortRange,
    /// The reply direction's source: the container.
    pub(super) to: Ipv4Addr,
    /// The container's port that the first of `ports` leads to; the others follow in step.
    pub(super) to_first: u16,
}

/// Something that a committed transaction has ended: the kernel no longer holds the elements, and no element lets the
/// same flows through in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closed {
    /// An endpoint: all flows from and to its address.
    Endpoint(Ipv4Addr),
    /// A link: flows that `source` opened to `target`'s ports.
    Link {
        /// Who opened them.
        source: Ipv4Addr,
        /// To whom.
        target: Ipv4Addr,
        /// To which ports.
        ports: PortRange,
    },
    /// A row of published ports: flows to the host's ports that lead to the container.
    Unpublished(Row),
    /// A row of published UDP ports that *came*: flows to the host's ports that do not lead to the container bypass it.
    Published(Row),
}

impl Closed {
    /// Whether a row that came has anything to end: only UDP clients go on sending to who has gone.
    pub(super) fn by_coming(protocol: Protocol) -> bool {
        protocol == Protocol::Udp
    }
}

/// Ends the flows. Called after the commit and before its callers hear of it, with at least one entry; best effort: what
/// fails is logged.
#[expect(clippy::unused_async, reason = "to be filled in")]
pub(super) async fn forget(closed: Vec<Closed>) {
    tracing::debug!(?closed, "flows of what was closed may go on");
}
