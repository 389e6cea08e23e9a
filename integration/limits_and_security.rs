//! What a container may not: capabilities, system calls, files, memory, processes.

use std::time::{Duration, Instant};

use crate::harness::{Cli, Container, Host, until};

/// Docker's default capabilities: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
/// net_raw, sys_chroot, mknod, audit_write, setfcap (capabilities(7)).
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

#[test]
fn the_default_box() {
    let host = Host::new();
    for runtime in ["integrated", "runc"] {
        let flags = if runtime == "runc" { ["--runtime", "runc"].as_slice() } else { &[] };
        let read = |script: &str| host.run("busybox").flags(flags).sh(script).once().ok();
        let status = read("grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status");
        for line in [
            &format!("CapEff:\t{DEFAULT_CAPABILITIES}"),
            &format!("CapBnd:\t{DEFAULT_CAPABILITIES}"),
            "CapInh:\t0000000000000000",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "{runtime}: no {line:?} in:\n{status}");
        }
        // Nothing open but 0, 1 and 2 (the fourth is the shell's own look at the directory).
        let open = read("ls /proc/self/fd | tr '\\n' ' '");
        assert_eq!(open.trim(), "0 1 2 3", "{runtime}");
        let own = read("cd /proc/1/fd && echo *");
        assert!(own.split(' ').all(|fd| ["0", "1", "2", "3", "10"].contains(&fd)), "{runtime}: {own}");

        // Masked, and read-only.
        assert_eq!(read("cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c"), "0", "{runtime}");
        assert_eq!(read("ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | tr -d '\\n'"), "", "{runtime}");
        for path in ["/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/proc/irq/x", "/sys/x"] {
            let outcome = host.run("busybox").flags(flags).sh(&format!("echo 1 > {path}")).once();
            assert!(
                outcome.code != 0
                    && (outcome.stderr.contains("Read-only")
                        || outcome.stderr.contains("nonexistent")
                        || outcome.stderr.contains("Permission")),
                "{runtime}: {path}: {outcome}"
            );
        }
        // Its own pids, hostname, ipc and mounts; no sight of the host's.
        let processes = read("ls /proc | grep -c '^[0-9]'");
        assert!(processes.parse::<u32>().is_ok_and(|count| count <= 4), "{runtime}: sh, ls, grep: {processes}");
        let devices = read("ls /dev | tr '\\n' ' '");
        for device in
            ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "ptmx", "fd", "stdin"]
        {
            assert!(devices.split(' ').any(|it| it == device), "{runtime}: no {device} in {devices}");
        }
        for script in [
            "mount -t tmpfs x /tmp",
            "hostname other",
            "mknod /tmp/d b 8 0 && head -c1 /tmp/d",
            "ip link set lo mtu 1400",
            "unshare -n true",
        ] {
            let outcome = host.run("busybox").flags(flags).sh(script).once();
            assert!(outcome.code != 0, "{runtime}: {script}: {outcome}");
        }
    }
}

#[test]
fn namespaces_are_its_own_but_for_the_shared_ones() {
    let host = Host::new();
    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    for kind in ["net", "mnt", "pid", "ipc", "uts"] {
        let inside = container.exec(&["readlink", &format!("/proc/self/ns/{kind}")]).ok();
        let outside = host.sh(&format!("readlink /proc/1/ns/{kind}")).ok();
        assert_ne!(inside, outside, "{kind}");
    }
    // An exec is as confined as the container.
    let status = container.sh("grep -E '^(CapEff|Seccomp):' /proc/self/status").ok();
    assert!(status.contains(DEFAULT_CAPABILITIES) && status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn more_and_fewer_rights() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let effective = |flags: &[&str]| {
            let text = host.run("busybox").by(cli).flags(flags).sh("grep CapEff /proc/self/status").once().ok();
            u64::from_str_radix(text.trim_start_matches("CapEff:\t"), 16).unwrap()
        };
        let default = u64::from_str_radix(DEFAULT_CAPABILITIES, 16).unwrap();
        assert_eq!(effective(&["--cap-drop", "ALL"]), 0);
        assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "NET_RAW"]), 1 << 13);
        assert_eq!(effective(&["--cap-add", "NET_ADMIN"]), default | 1 << 12);
        assert_eq!(effective(&["--cap-drop", "CHOWN"]), default & !1);
        assert_eq!(effective(&["--user", "app"]), 0);
        host.run("busybox")
            .by(cli)
            .flags(&["--cap-add", "NET_ADMIN"])
            .cmd(&["ip", "link", "set", "lo", "mtu", "1400"])
            .once()
            .ok();
        let seccomp = |flags: &[&str]| {
            host.run("busybox")
                .by(cli)
                .flags(flags)
                .sh("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | cut -f2 | tr '\\n' ' '")
                .once()
                .ok()
        };
        assert_eq!(seccomp(&["--security-opt", "seccomp=unconfined"]).trim(), "0 0");
        assert_eq!(seccomp(&["--security-opt", "no-new-privileges"]).trim(), "1 2");
    }
}

#[test]
fn memory() {
    let host = Host::new();
    for runtime in [[].as_slice(), &["--runtime", "runc"]] {
        let flags = [runtime, &["--memory", "32m", "--memory-swap", "32m"]].concat();
        let hungry = host.run("busybox").flags(&flags).cmd(&["sh", "-c", "x=x; while :; do x=$x$x; done"]).start();
        assert_eq!(hungry.wait(), 137);
        assert_eq!(hungry.inspect("{{.State.OOMKilled}}"), "true");
        let modest = host.run("busybox").flags(&flags).cmd(&["true"]).start();
        assert_eq!(modest.wait(), 0);
        assert_eq!(modest.inspect("{{.State.OOMKilled}}"), "false");
    }
}

#[test]
fn processes() {
    let host = Host::new();
    let outcome = host
        .run("busybox")
        .flags(&["--pids-limit", "5"])
        .sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait")
        .once();
    assert!(outcome.code != 0 && outcome.stderr.contains("fork"), "{outcome}");
    host.run("busybox")
        .flags(&["--pids-limit", "50"])
        .sh("for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait")
        .once()
        .ok();
}

#[test]
fn limits_are_in_the_containers_cgroup() {
    let host = Host::new();
    let container = host
        .run("busybox")
        .flags(&["--memory", "64m", "--cpu-shares", "512", "--pids-limit", "77"])
        .cmd(&["sleep", "1000"])
        .start();
    let found = host.sh(&format!(
        "for it in $(find /sys/fs/cgroup -path '*{}*{}*' \\( -name memory.limit_in_bytes -o -name memory.max -o -name cpu.shares -o -name cpu.weight -o -name pids.max \\)); do echo $(basename $it) $(cat $it); done",
        host.daemon().cgroup, container.id
    ));
    let text = found.ok();
    assert!(text.contains("67108864"), "{found}");
    assert!(text.contains("pids.max 77"), "{found}");
    assert!(text.contains("cpu.shares 512") || text.contains("cpu.weight"), "{found}");
    // Its own cgroup is all that it sees.
    assert!(!container.exec(&["cat", "/proc/self/mountinfo"]).ok().contains("upperdir=/dev"));
}

#[test]
fn files() {
    let host = Host::new();
    let shared = host.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("greeting"), "hello from outside\n").unwrap();
    let shared = shared.display().to_string();
    for cli in Cli::BOTH {
        let run = |flags: &[&str], script: &str| host.run("busybox").by(cli).flags(flags).sh(script).once();
        run(&["-v", &format!("{shared}:/in")], "cat /in/greeting; echo more > /in/made").says("hello from outside");
        assert_eq!(std::fs::read_to_string(host.dir().join("shared/made")).unwrap(), "more\n");
        let refused = run(&["-v", &format!("{shared}:/in:ro")], "echo no > /in/made");
        assert!(refused.code != 0 && refused.stderr.contains("Read-only"), "{refused}");
        run(&["--mount", &format!("type=bind,source={shared},target=/in,readonly")], "cat /in/greeting")
            .says("hello from outside");
        // One file over another.
        run(&["-v", &format!("{shared}/greeting:/etc/passwd:ro")], "cat /etc/passwd").says("hello from outside");

        let refused = run(&["--read-only"], "echo x > /file");
        assert!(refused.code != 0 && refused.stderr.contains("Read-only"), "{refused}");
        run(&["--read-only", "--tmpfs", "/run"], "echo x > /run/file && cat /run/file").says("x");
        // Paths that a container makes are its own.
        run(&[], "echo x > /only-here && cat /only-here").says("x");
        run(&[], "ls /only-here").ends_with(1);
        // A source that is not there is made (docker's habit with -v), or an error (with --mount).
        let fresh = format!("{shared}/fresh-{cli:?}");
        run(&["-v", &format!("{fresh}:/in")], "echo x > /in/y").ok();
        assert!(std::path::Path::new(&fresh).join("y").exists());
    }
}

#[test]
fn volumes() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let run = |flags: &[&str], script: &str| host.run("busybox").by(cli).flags(flags).sh(script).once();
        run(&["-v", "data:/data"], "echo kept > /data/file").ok();
        run(&["-v", "data:/other:ro"], "cat /other/file").says("kept");
        // An anonymous volume goes with --rm.
        run(&["-v", "/scratch"], "echo x > /scratch/file && cat /scratch/file").says("x");
    }
    let volumes = host.sh(&format!("ls {}/volumes", host.daemon().data_root.display())).ok();
    assert_eq!(volumes, "data");
}

#[test]
fn other_users_of_the_host_see_nothing_of_a_container() {
    let host = Host::new();
    let keeper = host.run("busybox").flags(&["-e", "PASSWORD=secret", "-u", "1000"]).sh("id -u; sleep 1000").start();
    keeper.says("1000");
    keeper.exec(&["id", "-u"]).says("1000");
    let root = host.daemon().data_root.display().to_string();
    let upper = format!("{root}/containers/{}/upper", keeper.inspect("{{.Id}}"));
    let database = format!("{root}/pontoon.db");
    let run = format!("/run/pontoon/containers/{}", keeper.inspect("{{.Id}}"));
    for path in [&database, &upper, &run] {
        host.sh(&format!("test -e {path}")).ok();
        // An ordinary user has no capabilities; directories above the root may be closed to him, too: so look at it from
        // inside.
        host.sh(&format!("cd {root} && setpriv --reuid=4711 --regid=4711 --clear-groups test -e {path}")).fails(1);
    }
    host.sh(&format!("stat -c %a {root}")).says("700");
}

#[test]
fn image_files_cannot_be_changed_through_a_container() {
    let host = Host::new();
    host.run("busybox").sh("echo changed > /www/index.html; rm -r /etc; cat /www/index.html").once().says("changed");
    host.run("busybox").sh("cat /www/index.html; ls /etc/passwd").once().says("hello\n/etc/passwd");
}

/// What a container's shim has in memory, in kB: its share of all (PSS), and what is its own alone.
fn memory_of_shim(host: &Host, container: &Container) -> (u32, u32) {
    let shim = host.sh(&format!("ps -o ppid= -p {}", container.pid())).ok();
    let text = host.sh(&format!("cat /proc/{}/smaps_rollup", shim.trim())).ok();
    let number = |line: &str| line.split_whitespace().next()?.parse().ok();
    let read = |key: &str| text.lines().find_map(|line| number(line.strip_prefix(key)?)).expect("a line for each");
    (read("Pss:"), read("Anonymous:"))
}

/// What is promised holds for what users get: a debug build's program is larger.
fn is_debug_build() -> bool {
    crate::harness::pontoon_binary().components().any(|part| part.as_os_str() == "debug")
}

#[test]
fn the_shim_is_small() {
    if is_debug_build() {
        println!("measured on the release build only");
        return;
    }
    let host = Host::new();
    let container = host.run("busybox").flags(&["-i"]).cmd(&["sleep", "1000"]).start();
    let mut kilobytes = 0;
    until("the shim's memory is at most 3 MB", || {
        kilobytes = memory_of_shim(&host, &container).0;
        kilobytes <= 3 * 1024
    });
    println!("the shim: {kilobytes} kB");
}

#[test]
fn the_shim_of_a_busy_container_is_small_too() {
    let host = Host::new();
    let busy = [
        "yes; exec sleep 1000",
        "while :; do echo a line; done",
        r"while :; do head -c 1000000 /dev/zero | tr '\0' '\n'; done",
        "cat /dev/urandom",
    ];
    for script in busy {
        let container = host.run("busybox").flags(&["--log-opt", "max-size=1m"]).sh(script).start();
        // Memory is given back once soon after the start, and never comes again, at whatever moment it is looked at.
        let (begin, mut most) = (Instant::now(), (0, 0));
        while begin.elapsed() < Duration::from_secs(3) {
            let (all, own) = memory_of_shim(&host, &container);
            let all = if begin.elapsed() < Duration::from_millis(500) { 0 } else { all };
            most = (most.0.max(all), most.1.max(own));
        }
        println!("the shim of {script:?}: at most {} kB, {} kB of them its own", most.0, most.1);
        // What relocation wrote: 1.8 MB of a debug build, 0.7 MB of a release build. The rest are buffers.
        let own = if is_debug_build() { 2600 } else { 1500 };
        assert!(most.1 <= own, "{script:?}: {} kB", most.1);
        assert!(is_debug_build() || most.0 <= 3 * 1024, "{script:?}: {} kB", most.0);
        container.verb(&["rm", "--force"]).ok();
    }
}
