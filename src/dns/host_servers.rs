//! The host's servers, as its `/etc/resolv.conf` names them at the moment.

use std::fs::{self, Metadata};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::resolv::{self, NamedServer};

/// The file is looked at when somebody asks, and not more often than this.
const LOOK: Duration = Duration::from_millis(250);
/// What libraries read of the file (resolv.conf(5), MAXNS).
const MOST: usize = 3;
const PORT: u16 = 53;

/// The servers that a file names, followed as it changes.
pub(super) struct HostServers {
    file: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    state: Option<State>,
    servers: Arc<[SocketAddr]>,
}

/// What changes whenever a file is written or replaced.
#[derive(PartialEq, Eq)]
struct State {
    file: (u64, u64),
    changed: (i64, i64),
    size: u64,
}

impl HostServers {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, seen: Mutex::default() }
    }

    /// The servers; none if the file names none, or is not there.
    pub(super) fn now(&self) -> Arc<[SocketAddr]> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            let first = seen.looked.replace(Instant::now()).is_none();
            let state = fs::metadata(&self.file).ok().as_ref().map(State::of);
            if seen.state != state || state.is_none() {
                let servers = self.read();
                if servers != seen.servers && !first {
                    tracing::info!(?servers, "{} has changed: other servers are asked for names", self.file.display());
                }
                (seen.state, seen.servers) = (state, servers);
            }
        }
        seen.servers.clone()
    }

    fn read(&self) -> Arc<[SocketAddr]> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        resolv::servers(&text).into_iter().filter_map(address).take(MOST).collect()
    }
}

impl State {
    fn of(file: &Metadata) -> Self {
        Self { file: (file.dev(), file.ino()), changed: (file.ctime(), file.ctime_nsec()), size: file.size() }
    }
}

/// Where to ask; a link-local server is behind its interface.
fn address(server: NamedServer) -> Option<SocketAddr> {
    match (server.address, server.zone) {
        (std::net::IpAddr::V6(address), Some(zone)) => {
            let scope = zone.parse().ok().or_else(|| nix::net::if_::if_nametoindex(zone.as_str()).ok())?;
            Some(SocketAddrV6::new(address, PORT, 0, scope).into())
        }
        (address, _) => Some((address, PORT).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_file() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("resolv.conf");
        let servers = HostServers::new(file.clone());
        assert!(servers.now().is_empty());
        let becomes = |want: &[SocketAddr]| {
            let begun = Instant::now();
            while *servers.now() != *want {
                assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", servers.now());
                std::thread::yield_now();
            }
        };
        fs::write(&file, "nameserver 127.0.0.53\nnameserver fe80::1%lo\nnameserver fe80::1%7\n").expect("written");
        let local = |scope| SocketAddrV6::new("fe80::1".parse().expect("address"), 53, 0, scope).into();
        becomes(&[([127, 0, 0, 53], 53).into(), local(1), local(7)]);
        // Replaced, as programs do it, by one that is as long.
        fs::write(dir.path().join("new"), "nameserver 127.0.0.54\nnameserver fe80::1%lo\nnameserver fe80::1%7\n")
            .expect("written");
        fs::rename(dir.path().join("new"), &file).expect("renamed");
        becomes(&[([127, 0, 0, 54], 53).into(), local(1), local(7)]);
        fs::remove_file(&file).expect("removed");
        becomes(&[]);
    }
}
