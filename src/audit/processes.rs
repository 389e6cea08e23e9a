//! Which processes hold which sockets: by `/proc/…/fd`, as far as this process may look.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

/// Name and pid of a process that holds each of the sockets.
pub(super) fn holders(mut wanted: BTreeSet<u32>) -> HashMap<u32, (String, u32)> {
    let mut found = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for (pid, path) in processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))) {
        if wanted.is_empty() {
            break;
        }
        let mut name: Option<String> = None;
        for inode in sockets(&path.join("fd")) {
            if wanted.remove(&inode) {
                let read = || fs::read_to_string(path.join("comm")).map(|name| name.trim_end().to_owned());
                let name = name.get_or_insert_with(|| read().unwrap_or_default());
                found.insert(inode, (name.clone(), pid));
            }
        }
    }
    found
}

/// Sockets that this process itself holds.
pub(super) fn own_sockets() -> BTreeSet<u32> {
    sockets(Path::new("/proc/self/fd")).collect()
}

fn sockets(dir: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| inode(fs::read_link(entry.path()).ok()?.to_str()?))
}

fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_its_sockets() {
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let own = own_sockets();
        assert!(!own.is_empty());
        let held = holders(own);
        assert!(held.values().any(|(_, pid)| *pid == std::process::id()));
        assert_eq!(inode("socket:[12]"), Some(12));
        assert_eq!(inode("pipe:[12]"), None);
    }
}
