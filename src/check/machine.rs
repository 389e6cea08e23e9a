//! What can be told without trying: privileges, the kernel's version, control groups, seccomp.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::Item;

/// Name and bit number (capabilities(7), linux/capability.h).
type Capability = (&'static str, u32);

const NEEDED: [Capability; 11] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SYS_ADMIN", 21),
];

/// What only some containers need, and what fails then.
const WANTED: [(Capability, &str); 2] = [
    (
        ("CAP_SYS_RESOURCE", 24),
        "--ulimit cannot raise limits above the daemon's own, nor --oom-score-adj lower a score",
    ),
    (("CAP_MKNOD", 27), "images with device files cannot be unpacked"),
];

/// inet NAT came with 5.2, pidfd_open with 5.3; the oldest kernel with long-term support that has both.
const OLDEST: (u32, u32) = (5, 4);

/// The process's effective capabilities.
pub(super) fn capabilities() -> Item {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    match field.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) {
        Some(mask) => judge_capabilities(mask),
        None => Item::missing("privileges", "/proc/self/status does not tell", "mount /proc"),
    }
}

fn judge_capabilities(mask: u64) -> Item {
    let lacks = |bit: u32| mask >> bit & 1 == 0;
    let needed: Vec<&str> = NEEDED.iter().filter(|(_, bit)| lacks(*bit)).map(|(name, _)| *name).collect();
    if !needed.is_empty() {
        let detail = format!("without {}", needed.join(", "));
        return Item::missing("privileges", detail, "run as root, with these capabilities");
    }
    let (names, consequences): (Vec<&str>, Vec<&str>) =
        WANTED.iter().filter(|((_, bit), _)| lacks(*bit)).map(|((name, _), consequence)| (*name, *consequence)).unzip();
    if names.is_empty() {
        return Item::found("privileges", "all that are needed");
    }
    Item::limited("privileges", format!("without {}", names.join(", ")), consequences.join("; "))
}

/// The running kernel.
pub(super) fn kernel() -> Item {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    judge_kernel(release.trim())
}

fn judge_kernel(release: &str) -> Item {
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version >= OLDEST {
        Item::found("kernel", format!("Linux {release}"))
    } else {
        let (major, minor) = OLDEST;
        Item::missing("kernel", format!("Linux {release}"), format!("boot Linux {major}.{minor} or newer"))
    }
}

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Controllers behind `--memory`, `--cpu-shares` and `--pids-limit`.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Control groups: the unified hierarchy, or the older ones.
pub(super) fn cgroups() -> Item {
    let root = Path::new(CGROUP_ROOT);
    let Ok(root_fs) = statfs(root) else {
        return Item::missing("control groups", format!("nothing at {CGROUP_ROOT}"), "mount cgroup2 there");
    };
    let unified = root_fs.filesystem_type() == CGROUP2_SUPER_MAGIC;
    let layout = if unified {
        "v2"
    } else if root.join("unified").is_dir() {
        "v1 with an unused v2 beside (hybrid)"
    } else {
        "v1"
    };
    let listed = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let available = |name: &&str| {
        if unified { listed.split_whitespace().any(|listed| listed == *name) } else { root.join(name).is_dir() }
    };
    let lacking: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !available(name)).collect();
    match lacking.as_slice() {
        [] => Item::found("control groups", layout),
        _ if lacking.len() == CONTROLLERS.len() && !unified => {
            Item::missing("control groups", format!("{CGROUP_ROOT} holds no controllers"), "mount cgroup2 there")
        }
        some => Item::limited(
            "control groups",
            format!("{layout}, without {}", some.join(", ")),
            "these limits will not be enforced; enable the controllers (cgroup_enable=… on the kernel's command line)",
        ),
    }
}

/// System call filters.
pub(super) fn seccomp() -> Item {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Item::found("seccomp", "filters with errno")
        }
        _ => Item::missing(
            "seccomp",
            "the kernel has no system call filters",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn capabilities_are_judged_by_need() {
        assert_eq!(judge_capabilities(u64::MAX).outcome, Outcome::Found);
        let without_resource = judge_capabilities(!(1 << 24));
        assert_eq!(
            (without_resource.outcome, without_resource.detail.as_str()),
            (Outcome::Limited, "without CAP_SYS_RESOURCE")
        );
        let without_admin = judge_capabilities(!(1 << 24 | 1 << 12));
        assert_eq!((without_admin.outcome, without_admin.detail.as_str()), (Outcome::Missing, "without CAP_NET_ADMIN"));
        assert_eq!(judge_capabilities(0).outcome, Outcome::Missing);
    }

    #[test]
    fn kernels_are_judged_by_number() {
        for good in ["5.4.0", "5.15.0-91-generic", "6.18.5+deb13-amd64", "10.0"] {
            assert_eq!(judge_kernel(good).outcome, Outcome::Found, "{good}");
        }
        for bad in ["5.3.18", "4.19.0-26-amd64", "", "new"] {
            assert_eq!(judge_kernel(bad).outcome, Outcome::Missing, "{bad:?}");
        }
    }
}
