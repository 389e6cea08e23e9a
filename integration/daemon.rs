//! The daemon itself: its sockets, its files, its log.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use crate::harness::{Host, eventually, until};

#[test]
fn sockets_and_pidfile() {
    let host = Host::with(&["--host", "unix:///run/other.sock"]);
    for socket in ["/run/pontoon/pontoon.sock", "/run/other.sock"] {
        let found = host.path(socket).metadata().unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, 0o660, "{socket}");
        host.sh(&format!("DOCKER_HOST=unix://{socket} docker ps")).ok();
    }
    let pid = host.sh("cat /run/pontoon/pontoon.pid").ok();
    assert!(host.sh(&format!("tr '\\0' ' ' </proc/{pid}/cmdline")).ok().contains("daemon --data-root"));
    host.stop_daemon();
    for file in ["/run/pontoon/pontoon.sock", "/run/other.sock", "/run/pontoon/pontoon.pid"] {
        assert!(!host.path(file).exists(), "{file} is left");
    }
    host.restart_daemon();
}

#[test]
fn only_the_database_and_the_images_are_kept_on_disk_by_an_idle_daemon() {
    let host = Host::new();
    host.run("busybox").flags(&["-v", "/scratch"]).sh("echo x >/scratch/file; echo x >/file").once().ok();
    let found = host
        .sh(&format!("cd {}; find containers volumes -type f 2>/dev/null; true", host.daemon().data_root.display()));
    assert_eq!(found.ok(), "", "a removed container's files");
    let database = host.daemon().data_root.join("pontoon.db");
    let begin = std::fs::read(&database).unwrap();
    assert!(begin.starts_with(b"SQLite format 3"), "an operator can open it");
}

#[test]
fn debug_prints_a_timeline_of_each_start() {
    let host = Host::with(&["--debug"]);
    host.run("busybox").name("timed").cmd(&["true"]).once().ok();
    until("the timeline is in the log", || {
        let log = host.daemon().log();
        ["sandbox", "connected", "created", "running"].iter().all(|step| log.contains(step)) && log.contains("timed")
    });
}

#[test]
fn a_failed_start_is_one_line_that_explains_itself() {
    let host = Host::new();
    host.run("busybox").name("doomed").cmd(&["no-such-program"]).attempt().ends_with(127);
    let log = host.daemon().log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    let about: Vec<_> = lines.iter().filter(|line| line.contains("no-such-program")).collect();
    assert!(!about.is_empty() && about[0].contains("doomed"), "{log}");
}

#[test]
fn nothing_of_the_daemons_is_handed_to_containers() {
    let host = Host::bare();
    // A daemon that was started with more than it needs: descriptors, and a service manager's variables.
    let mut command = host.command("bash");
    let data = host.dir().join("data");
    let script = format!(
        "exec 7</etc/passwd 8>/run/leak; LISTEN_FDS=1 SECRET=1 exec {} daemon --data-root {} --cgroup-parent /pontoon-test-handed",
        crate::harness::pontoon_binary().display(),
        data.display()
    );
    let mut daemon = command.args(["-c", &script]).spawn().unwrap();
    host.sh("until docker version; do sleep 0.05; done").ok();
    let tar = crate::harness::image::busybox().display().to_string();
    host.sh(&format!("docker import {tar} busybox")).ok();
    let open = host.sh("docker run --rm busybox sh -c 'ls /proc/self/fd; env'").ok();
    assert!(open.starts_with("0\n1\n2\n3\n") && !open.contains("\n4\n"), "{open}");
    assert!(!open.contains("LISTEN_FDS") && !open.contains("SECRET"), "{open}");
    host.sh("kill $(cat /run/pontoon/pontoon.pid)").ok();
    daemon.wait().unwrap();
    host.sh("find /sys/fs/cgroup -depth -type d -path '*/pontoon-test-handed*' -exec rmdir {} \\;").ok();
}

/// Each connection is a descriptor, and what puts the firewall right needs some, too.
#[test]
fn connections_do_not_take_what_the_daemon_needs_for_its_work() {
    let host = Host::new();
    let _web = host.run("busybox").publish("8080:80").cmd(&["sleep", "1000"]).start();
    let pid = host.daemon().pid(&host.namespaces);
    host.sh(&format!("prlimit --pid {pid} --nofile=500")).ok();
    // Half of them have said a part of what they want.
    let crowd = "use Socket; use IO::Handle; use Fcntl;
        for (1..2000) {
            socket(my $s, PF_UNIX, SOCK_STREAM, 0) or last;
            fcntl($s, F_SETFL, O_NONBLOCK);
            connect($s, sockaddr_un('/run/pontoon/pontoon.sock')) or next;
            syswrite($s, qq{GET /v1.41/info HTTP/1.1\\r\\nHost: x\\r\\n}) if $_ % 2;
            push @all, $s;
        }
        sleep 1000";
    let crowd = host.itself().background(&["bash", "-c", "ulimit -n 4096; exec perl -e \"$0\"", crowd]);
    let open = || host.sh(&format!("ls /proc/{pid}/fd | wc -l")).ok().parse::<u32>().unwrap();
    until("all that clients may have is taken", || open() > 350);
    until("the log says so", || host.daemon().log().contains("further clients have to wait"));
    let ruleset = || host.sh("nft list tables | sort").stdout;
    let before = ruleset();
    assert!(before.contains("pontoon-pontoon0"), "{before}");
    for _ in 0..3 {
        let log = host.daemon().log().len();
        host.sh("nft flush ruleset").ok();
        eventually("it is restored", || {
            let said = host.daemon().log()[log..].to_owned();
            if said.contains("restored") && ruleset() == before { Ok(()) } else { Err(said) }
        });
    }
    assert!(open() < 450, "{}", open());
    assert_eq!(host.daemon().log().matches("further clients have to wait").count(), 1);
    drop(crowd);
    host.docker(&["ps"]).ok();
    host.pontoon(&["ps"]).ok();
}
