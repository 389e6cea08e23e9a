//! Profiles: our default, equal in effect to Docker's, and Docker's own JSON format.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

/// flags of clone(2) that make a namespace.
const NEW_NAMESPACE: u64 = 0x7e02_0000;
/// Address family of virtual machine sockets, by which a guest reaches its hypervisor past every network rule.
const AF_VSOCK: u64 = 40;
/// personality(2): Linux, 32-bit, with and without UNAME26; and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What every container may do, by purpose. Not in it: what changes the kernel, the clock or the machine for others,
/// what makes or enters namespaces, keyrings, io_uring, kernel introspection.
const EVERYONE: [&str; 15] = [
    FILES,
    ATTRIBUTES,
    MOVING,
    DESCRIPTORS,
    WAITING,
    MEMORY,
    PROCESSES,
    IDENTITY,
    SIGNALS,
    SCHEDULING,
    TIME,
    SOCKETS,
    IPC,
    SYNCHRONISING,
    SYSTEM,
];

const FILES: &str = "\
    open openat openat2 creat close close_range access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 \
    fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount getcwd chdir fchdir mkdir \
    mkdirat rmdir link linkat symlink symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2 mknod \
    mknodat getdents getdents64 truncate truncate64 ftruncate ftruncate64 fallocate umask name_to_handle_at \
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark";
const ATTRIBUTES: &str = "\
    chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes futimesat \
    utimensat utimensat_time64 getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat \
    listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat";
const MOVING: &str = "\
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek sendfile sendfile64 \
    splice tee vmsplice copy_file_range readahead fadvise64 fadvise64_64 arm_fadvise64_64 sync syncfs fsync \
    fdatasync sync_file_range sync_file_range2 arm_sync_file_range io_setup io_submit io_getevents io_pgetevents \
    io_pgetevents_time64 io_cancel io_destroy";
const DESCRIPTORS: &str = "\
    dup dup2 dup3 fcntl fcntl64 flock ioctl pipe pipe2 eventfd eventfd2 signalfd signalfd4 timerfd_create \
    timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 memfd_create memfd_secret pidfd_open \
    pidfd_send_signal";
const WAITING: &str = "\
    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl \
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2";
const MEMORY: &str = "\
    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 munlock mlockall munlockall mseal \
    remap_file_pages pkey_alloc pkey_free pkey_mprotect membarrier map_shadow_stack cachestat process_mrelease";
const PROCESSES: &str = "\
    fork vfork execve execveat exit exit_group wait4 waitid waitpid prctl set_tid_address set_thread_area \
    get_thread_area rseq uretprobe restart_syscall getpid getppid gettid getpgid getpgrp setpgid getsid setsid \
    getrusage times getrlimit ugetrlimit setrlimit prlimit64 seccomp landlock_create_ruleset landlock_add_rule \
    landlock_restrict_self";
const IDENTITY: &str = "\
    getuid getuid32 geteuid geteuid32 getresuid getresuid32 setuid setuid32 setreuid setreuid32 setresuid \
    setresuid32 setfsuid setfsuid32 getgid getgid32 getegid getegid32 getresgid getresgid32 setgid setgid32 setregid \
    setregid32 setresgid setresgid32 setfsgid setfsgid32 getgroups getgroups32 setgroups setgroups32 capget capset";
const SIGNALS: &str = "\
    kill tkill tgkill pause sigaltstack sigprocmask sigreturn rt_sigaction rt_sigprocmask rt_sigpending \
    rt_sigsuspend rt_sigreturn rt_sigqueueinfo rt_tgsigqueueinfo rt_sigtimedwait rt_sigtimedwait_time64";
const SCHEDULING: &str = "\
    sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam \
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval \
    sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu";
/// Setting the clock needs CAP_SYS_TIME besides: adjtimex also asks.
const TIME: &str = "\
    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep \
    clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 alarm getitimer setitimer timer_create \
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64";
const SOCKETS: &str = "\
    socketpair socketcall bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt send \
    sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown";
const IPC: &str = "\
    ipc shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl \
    mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive \
    mq_timedreceive_time64";
const SYNCHRONISING: &str = "\
    futex futex_time64 futex_wait futex_wake futex_waitv futex_requeue set_robust_list get_robust_list";
/// The machine, and what single architectures add. Tracing is in it: since Linux 4.8 a traced process meets its tracer's
/// own filter.
const SYSTEM: &str = "\
    uname sysinfo getrandom arch_prctl modify_ldt breakpoint cacheflush set_tls riscv_flush_icache riscv_hwprobe \
    swapcontext ptrace process_vm_readv process_vm_writev";

/// What a capability adds. `clone` and `clone3` are told of apart.
const WITH_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (Capability::SysAdmin, SYS_ADMIN),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];
const SYS_ADMIN: &str = "\
    bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
    perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare";

/// Our profile for a container that keeps `capabilities`.
pub(crate) fn default(capabilities: &Capabilities) -> LinuxSeccomp {
    let names: BTreeSet<&str> = EVERYONE
        .into_iter()
        .chain(WITH_CAPABILITY.iter().filter(|(needs, _)| capabilities.contains(needs)).map(|&(_, names)| names))
        .flat_map(str::split_ascii_whitespace)
        .collect();
    let mut rules = vec![allow(names, None)];
    rules.extend(PERSONALITIES.map(|value| allow(["personality"], Some(equal(value)))));
    rules.push(allow(["socket"], Some(compare(LinuxSeccompOperator::ScmpCmpNe, AF_VSOCK, None))));
    if capabilities.contains(&Capability::SysAdmin) {
        rules.push(allow(["clone", "clone3"], None));
    } else {
        rules.push(allow(["clone"], Some(compare(LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACE, Some(0)))));
        // Its flags lie in memory, where no filter can look: libc then falls back to clone.
        rules.push(rule(["clone3"], LinuxSeccompAction::ScmpActErrno, Some(libc::ENOSYS.cast_unsigned()), None));
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(libc::EPERM.cast_unsigned()))
        .set_architectures(Some(architectures()))
        .set_flags(None)
        .set_syscalls(Some(rules));
    profile
}

/// This machine's architecture and those whose programs it runs too.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn allow<'a>(names: impl IntoIterator<Item = &'a str>, arg: Option<LinuxSeccompArg>) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow, None, arg)
}

fn rule<'a>(
    names: impl IntoIterator<Item = &'a str>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    arg: Option<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect())
        .set_action(action)
        .set_errno_ret(errno)
        .set_args(arg.map(|arg| vec![arg]));
    rule
}

fn equal(value: u64) -> LinuxSeccompArg {
    compare(LinuxSeccompOperator::ScmpCmpEq, value, None)
}

/// A comparison of the call's first argument.
fn compare(op: LinuxSeccompOperator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(op);
    let arg = match value_two {
        Some(value) => arg.value_two(value),
        None => arg,
    };
    arg.build().expect("every field without a default is set")
}

/// Docker's profile format: the OCI format, with conditions (`includes`, `excludes`) on capabilities and architectures.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Custom {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Option<Vec<oci_spec::runtime::LinuxSeccompFilterFlag>>,
    #[serde(default)]
    syscalls: Vec<CustomRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomRule {
    #[serde(default)]
    names: Vec<String>,
    /// The format's first version named one call a rule.
    #[serde(default)]
    name: String,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

/// A rule's conditions. `minKernel` is taken as met: what it guards against is older than any kernel we run on.
#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// A profile in Docker's JSON format, for a container that keeps `capabilities`.
pub(crate) fn parse(json: &str, capabilities: &Capabilities) -> Result<LinuxSeccomp, String> {
    let custom: Custom =
        serde_json::from_str(json).map_err(|error| format!("decoding seccomp profile failed: {error}"))?;
    if custom.architectures.as_ref().is_some_and(|list| !list.is_empty()) && !custom.arch_map.is_empty() {
        return Err("both 'architectures' and 'archMap' are specified in the seccomp profile".to_owned());
    }
    let mut rules = Vec::new();
    for mut one in custom.syscalls {
        if !one.name.is_empty() {
            if !one.names.is_empty() {
                return Err("both 'name' and 'names' are specified in a rule of the seccomp profile".to_owned());
            }
            one.names.push(one.name);
        }
        let included = one.includes.caps.iter().all(|name| keeps(capabilities, name))
            && (one.includes.arches.is_empty() || one.includes.arches.iter().any(|arch| is_native(arch)));
        let excluded = one.excludes.caps.iter().any(|name| keeps(capabilities, name))
            || one.excludes.arches.iter().any(|arch| is_native(arch));
        if included && !excluded {
            let mut rule = LinuxSyscall::default();
            rule.set_names(one.names).set_action(one.action).set_errno_ret(one.errno_ret).set_args(one.args);
            rules.push(rule);
        }
    }
    let mapped = custom.arch_map.into_iter().find(|map| architectures().first() == Some(&map.architecture));
    let listed = match mapped {
        Some(map) => Some([vec![map.architecture], map.sub_architectures.unwrap_or_default()].concat()),
        None => custom.architectures,
    };
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(custom.default_action)
        .set_default_errno_ret(custom.default_errno_ret)
        .set_architectures(listed)
        .set_flags(custom.flags)
        .set_syscalls(Some(rules));
    Ok(profile)
}

fn keeps(capabilities: &Capabilities, name: &str) -> bool {
    name.strip_prefix("CAP_").unwrap_or(name).parse().is_ok_and(|capability| capabilities.contains(&capability))
}

/// Docker names architectures as Go does.
fn is_native(arch: &str) -> bool {
    let go = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    arch == go
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(names: &[&str]) -> Capabilities {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn rules_for<'a>(profile: &'a LinuxSeccomp, call: &str) -> Vec<&'a LinuxSyscall> {
        let names = |rule: &&LinuxSyscall| rule.names().iter().any(|name| name == call);
        profile.syscalls().iter().flatten().filter(names).collect()
    }

    #[test]
    fn no_call_is_listed_twice() {
        let profile = default(&Capabilities::new());
        let mut all: Vec<_> = EVERYONE.into_iter().flat_map(str::split_ascii_whitespace).collect();
        let listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed);
        assert!(rules_for(&profile, "mount").is_empty());
    }

    #[test]
    fn capabilities_add_their_calls() {
        let profile = default(&capabilities(&["SYS_ADMIN", "SYS_TIME"]));
        assert_eq!(rules_for(&profile, "mount").len(), 1);
        assert_eq!(rules_for(&profile, "clock_settime").len(), 1);
        assert!(rules_for(&profile, "reboot").is_empty());
        assert!(rules_for(&profile, "clone3")[0].errno_ret().is_none());
    }

    #[test]
    fn dockers_conditions_are_understood() {
        let json = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["s390_runtime_instr"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}}
            ]}"#;
        let plain = parse(json, &Capabilities::new()).unwrap();
        assert_eq!(plain.architectures().as_ref().unwrap()[0], architectures()[0]);
        assert!(rules_for(&plain, "mount").is_empty() && rules_for(&plain, "s390_runtime_instr").is_empty());
        assert_eq!(rules_for(&plain, "clone3")[0].errno_ret(), Some(38));
        assert_eq!(rules_for(&plain, "ptrace").len(), 1);
        let admin = parse(json, &capabilities(&["SYS_ADMIN"])).unwrap();
        assert!(rules_for(&admin, "clone3").is_empty() && rules_for(&admin, "mount").len() == 1);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let error = parse("{", &Capabilities::new()).unwrap_err();
        assert!(error.starts_with("decoding seccomp profile failed"), "{error}");
    }
}
