//! One container in memory: its snapshot, what it holds while it runs, and who waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::AttachStreams;
use super::error::EngineError;
use super::ports::Reservation;
use super::record::Container;
use crate::model::ContainerId;
use crate::model::audit::Origin;
use crate::netns::NetNs;
use crate::runner::Shim;

/// Things that happen to a container and that clients wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Milestones {
    /// How often its process has ended.
    pub(super) exits: u64,
    /// Exit code of the last end.
    pub(super) code: i64,
    /// It is gone.
    pub(super) removed: bool,
}

/// What a running container holds. Dropping it lets go of its host ports, and of nothing else.
#[derive(Default)]
pub(super) struct Live {
    /// Its shim, once it exists.
    pub(super) shim: Option<Shim>,
    /// The init's pidfd: signals go to this process and to no other that got its number.
    pub(super) pidfd: Option<Arc<std::os::fd::OwnedFd>>,
    /// Its own namespace (not a joined one).
    pub(super) netns: Option<NetNs>,
    /// Sockets that keep its host ports from other programs.
    pub(super) ports: Option<Reservation>,
    /// When it started, to judge whether a restart was soon.
    pub(super) since: Option<std::time::Instant>,
}

/// A client that attached before the start.
pub(super) struct EarlyAttach {
    /// What it wants.
    pub(super) streams: AttachStreams,
    /// Gets the connection when there is one; dropped when there will be none.
    pub(super) reply: oneshot::Sender<Result<tokio::net::UnixStream, EngineError>>,
}

/// Wishes that wait for the next start.
#[derive(Default)]
pub(super) struct Pending {
    /// Clients.
    pub(super) attach: Vec<EarlyAttach>,
    /// Terminal size.
    pub(super) size: Option<(u16, u16)>,
    /// Generation of a planned restart; another number cancels it.
    pub(super) restart: u64,
    /// Restarts by policy in a row, for the pause between them.
    pub(super) quick_restarts: u32,
    /// A user restarts it: its end is not the end that `--rm` waits for.
    pub(super) comes_back: bool,
    /// Restarts by users that are under way, from before its end until it runs again.
    pub(super) returns: u32,
    /// Who asked for the end of its process.
    pub(super) ended_by: Option<Origin>,
}

/// A restart by a user that is under way.
pub(super) struct Returning(Arc<Cell>);

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.pending().returns -= 1;
    }
}

/// A container in memory.
pub(super) struct Cell {
    pub(super) id: ContainerId,
    /// Held by whoever changes the container's state; `stop` does not hold it while it waits.
    pub(super) operation: tokio::sync::Mutex<()>,
    snapshot: watch::Sender<Arc<Container>>,
    pub(super) milestones: watch::Sender<Milestones>,
    live: Mutex<Live>,
    pending: Mutex<Pending>,
    hosts: Mutex<()>,
}

impl Cell {
    pub(super) fn new(container: Container) -> Arc<Self> {
        Arc::new(Self {
            id: container.id.clone(),
            operation: tokio::sync::Mutex::new(()),
            milestones: watch::Sender::new(Milestones { code: container.state.exit_code, ..Milestones::default() }),
            snapshot: watch::Sender::new(Arc::new(container)),
            live: Mutex::default(),
            pending: Mutex::default(),
            hosts: Mutex::default(),
        })
    }

    /// Until the answer is dropped, others may wait for it to run again.
    pub(super) fn returns(self: &Arc<Self>) -> Returning {
        self.pending().returns += 1;
        Returning(self.clone())
    }

    pub(super) fn snapshot(&self) -> Arc<Container> {
        self.snapshot.borrow().clone()
    }

    pub(super) fn publish(&self, container: Container) -> Arc<Container> {
        let container = Arc::new(container);
        self.snapshot.send_replace(container.clone());
        container
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held by whoever changes the hosts file of a running container.
    pub(super) fn hosts(&self) -> MutexGuard<'_, ()> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was removed while somebody who had found it waited for his turn.
    pub(super) fn is_removed(&self) -> bool {
        self.milestones.borrow().removed
    }

    /// The shim, if there is one.
    pub(super) fn shim(&self) -> Option<Shim> {
        self.live().shim.clone()
    }
}
