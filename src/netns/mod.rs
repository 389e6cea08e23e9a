//! Network namespaces: created, pinned to a file, entered, let go.
//!
//! A namespace lives as long as something holds it: a process in it, or a *pin*, a bind mount of its
//! `/proc/…/ns/net` onto a file. Pins under the exec root are how a namespace outlives the daemon and how the shim, and
//! later `exec` and joined containers, find it. A thread that enters a namespace is made for it and ends afterwards,
//! so that no pool thread is ever left in the wrong one.
//!
//! IPv6: a namespace starts with `lo` complete, `::1` included, so that programs which talk to themselves by either
//! address work. Interfaces that come later have no IPv6 in a [`BRIDGED`] namespace: the bridge carries none.

mod link;
mod pin;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};

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
        /// create, set up, pin, open, enter, unpin
        step: &'static str,
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The file is there, but what was pinned on it is not (a reboot or an unmount by hand).
    #[error("{path} is not a network namespace: its mount is gone")]
    NotPinned {
        /// The pin.
        path: PathBuf,
    },
}

/// Parameters written inside a fresh namespace (`net.…` sysctls, dotted name and value).
pub type Sysctls = [(&'static str, &'static str)];

/// What Docker sets in each namespace that a container has for itself: unprivileged ping and low ports.
pub const CLOSED: &Sysctls =
    &[("net.ipv4.ping_group_range", "0 2147483647"), ("net.ipv4.ip_unprivileged_port_start", "0")];

/// [`CLOSED`], and no IPv6 on interfaces to come (`lo` exists already and keeps its own).
pub const BRIDGED: &Sysctls = &[CLOSED[0], CLOSED[1], ("net.ipv6.conf.default.disable_ipv6", "1")];

/// Whether namespaces of this kernel have IPv6 at all (and thus `::1` on `lo`).
pub fn kernel_has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// Makes the directory for pins: a mount of its own, private to this mount namespace, so that a process that gives itself
/// mounts of its own can leave all pins behind by unmounting one place, and no pin is copied to where nobody wants it.
pub fn make_directory(path: &Path) -> Result<(), NetNsError> {
    pin::make_directory(path).map_err(|source| NetNsError::Step {
        step: "make the directory for pins of",
        path: path.to_owned(),
        source,
    })
}

impl NetNs {
    /// Creates a namespace with `lo` up and `sysctls` set, pinned at `path` (whose parent must exist). A pin left there
    /// by an earlier life is replaced. On error nothing is left.
    pub fn create(path: &Path, sysctls: &Sysctls) -> Result<Self, NetNsError> {
        let ns = Self { path: path.to_owned() };
        pin::remove(path).map_err(ns.failed("replace the pin of"))?;
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| ns.failed("create")(e.into()))?;
            // Sysctls first: they are to hold before any interface is up.
            write_sysctls(sysctls).and_then(|()| link::up_loopback()).map_err(ns.failed("set up"))?;
            pin::place(path).map_err(ns.failed("pin"))
        })?;
        Ok(ns)
    }

    /// A namespace pinned before, for example by a daemon that is gone.
    pub fn open(path: &Path) -> Result<Self, NetNsError> {
        let ns = Self { path: path.to_owned() };
        ns.file()?;
        Ok(ns)
    }

    /// A place for a pin, whatever is there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Removes a pin of nobody, or the empty file that is left of one.
    pub fn sweep(path: &Path) -> Result<(), NetNsError> {
        Self { path: path.to_owned() }.unpin()
    }

    /// The pin.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The namespace itself: as long as this is open, it exists, pinned or not.
    pub fn file(&self) -> Result<File, NetNsError> {
        let file = File::open(&self.path).map_err(self.failed("open"))?;
        match pin::is_namespace(&file).map_err(self.failed("open"))? {
            true => Ok(file),
            false => Err(NetNsError::NotPinned { path: self.path.clone() }),
        }
    }

    /// Runs `work` in the namespace, on a thread made for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        let file = self.file()?;
        on_own_thread(|| {
            setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| self.failed("enter")(e.into()))?;
            Ok(work())
        })
    }

    /// Which namespace is pinned: its device and number, the same for all handles of one namespace.
    pub fn identity(&self) -> Result<Identity, NetNsError> {
        self.file().and_then(|file| identity(&file).map_err(self.failed("look at")))
    }

    /// Pins `namespace` in the place of whatever is there.
    pub fn repin(&self, namespace: &File) -> Result<(), NetNsError> {
        pin::remove(&self.path).map_err(self.failed("replace the pin of"))?;
        pin::place_open(namespace, &self.path).map_err(self.failed("pin"))
    }

    /// Removes the pin; the kernel ends the namespace, and its veth, when the last process leaves it. A pin that is
    /// gone already is no error.
    pub fn unpin(&self) -> Result<(), NetNsError> {
        pin::remove(&self.path).map_err(self.failed("unpin"))
    }

    fn failed(&self, step: &'static str) -> impl Fn(io::Error) -> NetNsError {
        let path = self.path.clone();
        move |source| NetNsError::Step { step, path: path.clone(), source }
    }
}

/// A namespace's device and number.
pub type Identity = (u64, u64);

/// Which namespace an open file is.
pub fn identity(namespace: &File) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let meta = namespace.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

/// The network namespace that a process is in.
pub fn of_process(pid: i32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/ns/net"))
}

/// Runs `work` in an open namespace, on a thread made for it.
pub fn enter<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        Ok::<_, io::Error>(work())
    })
}

/// Runs `work` in a fresh namespace, which ends with it.
pub fn in_fresh<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok::<_, io::Error>(work())
    })
}

/// Threads change namespaces one by one; one that did must never serve anybody else.
fn on_own_thread<T: Send, E: Send>(work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Writes sysctls of the calling thread's namespace: `/proc/sys/net` shows each thread its own.
fn write_sysctls(sysctls: &Sysctls) -> io::Result<()> {
    for (name, value) in sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        match std::fs::write(&path, value) {
            Ok(()) => {}
            // A kernel without IPv6 has nothing to switch off.
            Err(e) if e.kind() == io::ErrorKind::NotFound && name.starts_with("net.ipv6.") => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("{name}: {e}"))),
        }
    }
    Ok(())
}
