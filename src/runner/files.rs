//! What lies in a shim's directory, and how it is read and written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the shim is told: [`super::launch::Launch`].
pub(super) const LAUNCH: &str = "launch.json";
/// The OCI bundle's configuration.
pub(super) const CONFIG: &str = "config.json";
/// The OCI process of an exec.
pub(super) const PROCESS: &str = "process.json";
/// What our workload takes care of itself: [`super::privileges::Privileges`].
pub(super) const PRIVILEGES: &str = "privileges.json";
/// The compiled seccomp filter; there is none if the container is unconfined.
pub(super) const SECCOMP: &str = "seccomp.bpf";
/// How the process ended: [`super::Exit`].
pub(super) const EXIT: &str = "exit.json";
/// Which process is the container's init, so that it can be found if the shim dies: [`PidRecord`].
pub(super) const PID: &str = "pid.json";
/// Where the shim listens.
pub(super) const SOCKET: &str = "shim.sock";
/// Where the OCI runtime sends the terminal's master.
pub(super) const CONSOLE: &str = "console.sock";
/// The OCI runtime's own state.
pub(super) const RUNTIME: &str = "runtime";
/// The shim's standard error: empty unless something went very wrong.
pub(super) const SHIM_LOG: &str = "shim.log";

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PidRecord {
    /// As the host sees it.
    pub(super) pid: i32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22).
    pub(super) start_time: u64,
}

impl PidRecord {
    /// Of a process that runs, or has not been reaped yet.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let start_time = start_time(&stat)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/<pid>/stat"))?;
        Ok(Self { pid, start_time })
    }

    /// The recorded process still exists, perhaps as a zombie.
    pub(super) fn is_there(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == *self)
    }
}

/// Field 22 of `/proc/<pid>/stat`; the second field may hold any bytes, so it is skipped from its last parenthesis.
fn start_time(stat: &str) -> Option<u64> {
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Writes aside and renames, so that a reader sees all or nothing.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, bytes)?;
    fs::rename(&aside, path)
}

/// The cgroup that a bundle's `config.json` names. Nothing else of it is kept: its environment may have megabytes.
pub(super) fn cgroup(config: &Path) -> io::Result<Option<PathBuf>> {
    Ok(read_json::<Bundle>(config)?.linux.and_then(|linux| linux.cgroups_path))
}

/// The names of the kernel parameters that a bundle's `config.json` sets.
pub(super) fn sysctls(config: &Path) -> io::Result<Vec<String>> {
    let linux = read_json::<Bundle>(config)?.linux;
    Ok(linux.and_then(|linux| linux.sysctl).unwrap_or_default().into_keys().collect())
}

#[derive(Deserialize)]
struct Bundle {
    linux: Option<BundleLinux>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleLinux {
    cgroups_path: Option<PathBuf>,
    sysctl: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

/// Reads a JSON file.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

/// Calls `with` with a path of the socket `name` in `dir` that fits into a socket address (108 bytes), however long
/// `dir` is: unix(7) has no connectat, but `/proc/self/fd/<n>/<name>` does the same.
pub(super) fn socket_in<T>(dir: &Path, name: &str, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let dir = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(dir)?;
    with(&PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_hide_the_start_time() {
        let fields = "S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(start_time(&format!("7 (a) b) ( c) {fields}")), Some(4711));
        assert_eq!(start_time("7 (short) S 1"), None);
    }

    #[test]
    fn this_process_is_there_and_an_older_one_of_its_number_is_not() {
        let me = PidRecord::of(std::process::id().cast_signed()).unwrap();
        assert!(me.is_there());
        assert!(!PidRecord { start_time: me.start_time - 1, ..me }.is_there());
    }

    #[test]
    fn sockets_in_long_directories_can_be_bound_and_connected() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d".repeat(200));
        fs::create_dir(&dir).unwrap();
        let listener = socket_in(&dir, SOCKET, |path| std::os::unix::net::UnixListener::bind(path)).unwrap();
        socket_in(&dir, SOCKET, |path| std::os::unix::net::UnixStream::connect(path)).unwrap();
        listener.accept().unwrap();
    }
}
