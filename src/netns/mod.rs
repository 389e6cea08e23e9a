//! Network namespaces: created, pinned to a file, entered, let go.
//!
//! A namespace lives as long as something holds it: a process in it, or a *pin*, a bind mount of its
//! `/proc/…/ns/net` onto a file. Pins under the exec root are how a namespace outlives the daemon and how the shim, and
//! later `exec` and joined containers, find it. A thread that enters a namespace is made for it and ends afterwards,
//! so that no pool thread is ever left in the wrong one.

use std::path::{Path, PathBuf};

/// A pinned network namespace. Dropping the handle does not remove the pin.
#[derive(Clone, Debug)]
pub struct NetNs {
    path: PathBuf,
}

/// What went wrong with a namespace, and where.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// A step failed.
    #[error("cannot {step} network namespace {path}: {source}")]
    Step {
        /// create, pin, open, enter, unpin
        step: &'static str,
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Parameters written inside a fresh namespace (`net.…` sysctls, dotted name and value).
pub type Sysctls = [(&'static str, &'static str)];

impl NetNs {
    /// Creates a namespace with `lo` up and Docker's sysctls set, pinned at `path` (whose parent must exist).
    pub fn create(path: &Path, sysctls: &Sysctls) -> Result<Self, NetNsError> {
        let _ = (path, sysctls);
        todo!()
    }

    /// A namespace pinned before, for example by a daemon that is gone.
    pub fn open(path: &Path) -> Result<Self, NetNsError> {
        let _ = path;
        todo!()
    }

    /// The pin.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in the namespace, on a thread made for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        let _ = work;
        todo!()
    }

    /// Removes the pin; the kernel ends the namespace, and its veth, when the last process leaves it. A pin that is
    /// gone already is no error.
    pub fn unpin(&self) -> Result<(), NetNsError> {
        todo!()
    }
}
