//! What is left to do on a container's cgroup after its end: read the OOM counter, kill stragglers, remove.
//!
//! A container's cgroup has the same path in every hierarchy, v1 controllers and v2 alike (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The mount points of all cgroup hierarchies, from the text of `/proc/self/mountinfo`
/// (kernel: Documentation/filesystems/proc.rst, 3.5).
fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let fs_type = after.split(' ').next()?;
            let mount_point = before.split(' ').nth(4)?;
            matches!(fs_type, "cgroup" | "cgroup2").then(|| PathBuf::from(mount_point))
        })
        .collect()
}

/// The directories of `cgroup` (`/<parent>/<id>`) that exist, one a hierarchy.
pub(super) fn directories(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(mountinfo) = fs::read_to_string("/proc/self/mountinfo") else { return Vec::new() };
    let relative = cgroup.strip_prefix("/").unwrap_or(cgroup);
    // An empty path would be the hierarchy's root.
    if relative.as_os_str().is_empty() {
        return Vec::new();
    }
    hierarchies(&mountinfo).into_iter().map(|mount| mount.join(relative)).filter(|dir| dir.is_dir()).collect()
}

/// The mount points of this machine's v1 hierarchies; empty on a pure v2 machine.
pub(super) fn v1_mounts() -> Vec<PathBuf> {
    let Ok(mountinfo) = fs::read_to_string("/proc/self/mountinfo") else { return Vec::new() };
    let v1: String = mountinfo.lines().filter(|line| line.contains(" - cgroup ")).flat_map(|l| [l, "\n"]).collect();
    hierarchies(&v1)
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
        assert_eq!(hierarchies(text), [Path::new("/sys/fs/cgroup/cpu,cpuacct"), Path::new("/sys/fs/cgroup/unified")]);
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
