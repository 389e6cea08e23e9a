//! What is done to a whole container from outside, through its cgroup: freeze it, list its processes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::RunnerError;
use crate::model::ContainerId;

/// The container's cgroup in the v1 hierarchy of `controller`, or in the unified one.
fn cgroup(controller: &str, parent: &str, id: &ContainerId) -> PathBuf {
    let below = Path::new(parent.trim_start_matches('/')).join(id.as_str());
    let root = Path::new("/sys/fs/cgroup");
    let v1 = root.join(controller).join(&below);
    if v1.is_dir() { v1 } else { root.join(below) }
}

/// Stops (`true`) or continues every process of a container, and answers when the kernel has done so
/// (freezer-subsystem.rst in v1, `cgroup.freeze` in cgroup-v2.rst).
pub fn freeze(parent: &str, id: &ContainerId, frozen: bool) -> Result<(), RunnerError> {
    let dir = cgroup("freezer", parent, id);
    let v1 = dir.join("freezer.state");
    // v1 says FREEZING until the last process has stopped; v2 tells the end in another file than the one it is asked by.
    let (order, text, report, done) = match (v1.exists(), frozen) {
        (true, true) => (v1.clone(), "FROZEN", v1, "FROZEN"),
        (true, false) => (v1.clone(), "THAWED", v1, "THAWED"),
        (false, true) => (dir.join("cgroup.freeze"), "1", dir.join("cgroup.events"), "frozen 1"),
        (false, false) => (dir.join("cgroup.freeze"), "0", dir.join("cgroup.events"), "frozen 0"),
    };
    let failed = |source: io::Error| RunnerError::Io { step: "freeze or thaw", path: order.clone(), source };
    std::fs::write(&order, text).map_err(failed)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !std::fs::read_to_string(&report).map_err(failed)?.lines().any(|line| line == done) {
        if Instant::now() > deadline {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// The processes of a container, as the host numbers them, wherever in its cgroup it put them.
pub fn processes(parent: &str, id: &ContainerId) -> Result<Vec<i32>, RunnerError> {
    let dir = cgroup("pids", parent, id);
    let mut found = Vec::new();
    collect(&dir, &mut found).map_err(|source| RunnerError::Io { step: "list the processes of", path: dir, source })?;
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<i32>) -> io::Result<()> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs"))?;
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            // It may be gone already, or hold threads only.
            let _ = collect(&entry.path(), found);
        }
    }
    Ok(())
}
