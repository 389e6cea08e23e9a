//! Which process changed something on the bridge. The kernel tells of some changes (an interface made, deleted, set down; an
//! address) the netlink port of who asked for them, which is the asking process's id unless it has several sockets or chose
//! another. Of others (a port's flags, its bridge, the forwarding table) it tells nothing, nor of kernel parameters.
//!
//! The id is that of the asker's own pid namespace, and anybody may choose a port. So a process is named only if it has
//! such a socket in this network namespace, or has just ended, as commands do once they have their answer.

use std::fs;

use crate::model::Process;

/// A kernel thread, in the flags of `/proc/<pid>/stat` (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The process behind a netlink port. Asked at once: a command lives for a millisecond after its request.
pub(super) fn process(port: u32) -> Option<Process> {
    if port == 0 || port == std::process::id() {
        return None;
    }
    let directory = format!("/proc/{port}");
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    let (name, ended) = name_of(&stat)?;
    let process = Process { pid: port, name: name.to_owned() };
    if ended {
        return Some(process);
    }
    let sockets = fs::read_to_string("/proc/self/net/netlink").ok()?;
    let held = |socket: u64| {
        let wanted = format!("socket:[{socket}]");
        let entries = fs::read_dir(format!("{directory}/fd")).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target.as_os_str() == &*wanted)
    };
    let has_socket = socket_of(&sockets, port).is_some_and(held);
    let has_ended = || match fs::read_to_string(format!("{directory}/stat")) {
        Ok(stat) => name_of(&stat).is_some_and(|(_, ended)| ended),
        Err(_) => true,
    };
    (has_socket || has_ended()).then_some(process)
}

/// The name in `/proc/<pid>/stat` (proc_pid_stat(5)), and whether the process has ended. `None`: a thread of the kernel.
fn name_of(stat: &str) -> Option<(&str, bool)> {
    let (before, after) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split(' ');
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    (flags & KERNEL_THREAD == 0).then_some((name, matches!(state, "Z" | "X")))
}

/// The inode of the rtnetlink socket with this port, in `/proc/net/netlink`: columns sk, protocol, port, …, inode.
fn socket_of(sockets: &str, port: u32) -> Option<u64> {
    let mut rows = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&"0") && row.get(2).and_then(|it| it.parse().ok()) == Some(port))?;
    row.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_as_the_kernel_writes_it() {
        let stat = "812 (a ) b) S 1 812 812 0 -1 4194560 150 0";
        assert_eq!(name_of(stat), Some(("a ) b", false)));
        assert_eq!(name_of("812 (ip) Z 1 812 812 0 -1 4227084 150 0"), Some(("ip", true)));
        assert_eq!(name_of("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"), None);
    }

    #[test]
    fn a_socket_is_found_by_its_port() {
        let sockets = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            0000000000000000 0   812        00000551 0        0        0     2        0        7001\n\
            0000000000000000 12  813        00000000 0        0        0     2        0        7002\n";
        assert_eq!((socket_of(sockets, 812), socket_of(sockets, 813), socket_of(sockets, 1)), (Some(7001), None, None));
    }

    #[test]
    fn nobody_is_behind_no_port() {
        assert_eq!(process(0), None);
        // Kernel threads, and processes without such a socket.
        assert_eq!((process(2), process(1)), (None, None));
    }
}
