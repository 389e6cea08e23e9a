//! What is left to do on a container's cgroup after its end: read the OOM counter, kill stragglers, remove.
//!
//! A container's cgroup has the same path in every hierarchy, v1 controllers and v2 alike (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where.
    pub(super) mount: PathBuf,
    /// Its controllers in version 1; `None` is version 2.
    pub(super) controllers: Option<Vec<String>>,
}

/// Controllers in which a runtime gives a container a cgroup of its own. A named hierarchy (`name=systemd`) is none.
const LIMITING: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

impl Hierarchy {
    /// It is a version 1 hierarchy of `controller`.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().flatten().any(|one| one == controller)
    }

    /// Containers have a cgroup of their own in it.
    pub(super) fn is_limiting(&self) -> bool {
        LIMITING.iter().any(|controller| self.has(controller))
    }
}

/// This machine's hierarchies. They are mounted when it starts and do not change.
pub(super) fn hierarchies() -> &'static [Hierarchy] {
    static FOUND: OnceLock<Vec<Hierarchy>> = OnceLock::new();
    FOUND.get_or_init(|| fs::read_to_string("/proc/self/mountinfo").map(|text| parse(&text)).unwrap_or_default())
}

/// Where version 2 is mounted, on a machine that has nothing else.
pub(super) fn unified_mount() -> Option<&'static Path> {
    match hierarchies() {
        [Hierarchy { mount, controllers: None }] => Some(mount),
        _ => None,
    }
}

/// From the text of `/proc/self/mountinfo` (kernel: Documentation/filesystems/proc.rst, 3.5).
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mount = PathBuf::from(before.split(' ').nth(4)?);
            let mut after = after.split(' ');
            let controllers = match after.next()? {
                "cgroup" => Some(after.nth(1)?.split(',').filter(|name| *name != "rw").map(str::to_owned).collect()),
                "cgroup2" => None,
                _ => return None,
            };
            Some(Hierarchy { mount, controllers })
        })
        .collect()
}

/// The directories of `cgroup` (`/<parent>/<id>`) that exist, one a hierarchy.
pub(super) fn directories(cgroup: &Path) -> Vec<PathBuf> {
    let relative = cgroup.strip_prefix("/").unwrap_or(cgroup);
    // An empty path would be the hierarchy's root.
    if relative.as_os_str().is_empty() {
        return Vec::new();
    }
    hierarchies().iter().map(|hierarchy| hierarchy.mount.join(relative)).filter(|dir| dir.is_dir()).collect()
}

/// The kernel's OOM killer was at work in `cgroup`: `memory.events` (v2) or `memory.oom_control` (v1, Linux 4.13).
pub(super) fn oom_killed(cgroup: &Path) -> bool {
    directories(cgroup).iter().any(|dir| {
        ["memory.events", "memory.oom_control"]
            .iter()
            .filter_map(|file| fs::read_to_string(dir.join(file)).ok())
            .any(|text| oom_kills(&text) > 0)
    })
}

fn oom_kills(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.strip_prefix("oom_kill "))
        .find_map(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Kills every process in `cgroup`.
pub(super) fn kill_all(cgroup: &Path) {
    for dir in directories(cgroup) {
        // v2 does it in one stroke, forks included.
        if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
            continue;
        }
        for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                // Gone already is as good.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Removes `cgroup` from every hierarchy, with what the container made below it. `false`: processes are still in it.
pub(super) fn remove(cgroup: &Path) -> io::Result<bool> {
    let mut empty = true;
    for dir in directories(cgroup) {
        empty &= remove_tree(&dir)?;
    }
    Ok(empty)
}

/// cgroupfs has no files to delete: children first, then rmdir.
fn remove_tree(dir: &Path) -> io::Result<bool> {
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        other => return other.map(|()| true),
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !remove_tree(&entry.path())? {
            return Ok(false);
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let text = "\
22 1 0:21 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
";
        let found = parse(text);
        assert_eq!(found[0].mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(found[0].has("cpuacct") && found[0].is_limiting() && !found[0].has("rw"));
        assert_eq!(found[1], Hierarchy { mount: "/sys/fs/cgroup/unified".into(), controllers: None });
    }

    #[test]
    fn the_oom_counter_is_read_in_both_formats() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }

    #[test]
    fn the_root_of_a_hierarchy_is_never_meant() {
        assert!(directories(Path::new("/")).is_empty());
        assert!(directories(Path::new("")).is_empty());
    }
}
