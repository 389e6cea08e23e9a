//! `exec`: another process in a running container.

use crate::harness::{Cli, Host, until};

#[test]
fn exit_codes_and_streams() {
    let host = Host::new();
    let container = host.run("busybox").name("box").cmd(&["sleep", "1000"]).start();
    for cli in Cli::BOTH {
        let exec = |words: &[&str]| host.cli(cli, &[&["exec", "box"], words].concat());
        exec(&["sh", "-c", "exit 6"]).ends_with(6);
        exec(&["no-such-program"]).ends_with(127);
        exec(&["/etc/passwd"]).ends_with(126);
        let wrong = |options: &[&str]| host.cli(cli, &[&["exec"], options, &["box", "true"]].concat());
        wrong(&["--user", "nosuch"]).ends_with(126);
        wrong(&["--workdir", "/nosuch"]).ends_with(127);
        let both = exec(&["sh", "-c", "echo out; echo err >&2"]);
        assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"), "{both}");
        host.cli_with_input(cli, &["exec", "-i", "box", "sh", "-c", "cat; echo after"], "words\n").says("words\nafter");
        exec(&["cat"]).says("");
    }
    // It is the same container: its processes, its files, its network.
    container.sh("echo mine > /tmp/file").ok();
    container.exec(&["cat", "/tmp/file"]).says("mine");
    container.sh("tr '\\0' ' ' </proc/1/cmdline").says("sleep 1000 ");
    assert!(container.exec(&["ip", "-o", "addr"]).ok().contains(&container.address()));
}

#[test]
fn as_whom_where_and_with_what() {
    let host = Host::new();
    host.run("busybox")
        .name("box")
        .flags(&["--env", "A=container", "--workdir", "/var"])
        .cmd(&["sleep", "1000"])
        .start();
    for cli in Cli::BOTH {
        let exec =
            |flags: &[&str], script: &str| host.cli(cli, &[&["exec"], flags, &["box", "sh", "-c", script]].concat());
        exec(&[], "pwd; echo $A; id -u").says("/var\ncontainer\n0");
        exec(&["-e", "A=exec", "-e", "B=more"], "echo $A $B").says("exec more");
        exec(&["-w", "/tmp"], "pwd").says("/tmp");
        exec(&["-u", "app"], "id -u; id -G; echo $HOME").says("1000\n1000 2000\n/home");
        exec(&["-u", "5:6"], "id -u; id -g").says("5\n6");
    }
}

#[test]
fn on_a_terminal() {
    let host = Host::new();
    host.run("busybox").name("box").cmd(&["sleep", "1000"]).start();
    for cli in Cli::BOTH {
        let mut terminal = host.terminal(cli, &["exec", "-it", "box", "sh"]);
        terminal.shows("/ #");
        terminal.types("stty size; test -t 0 && echo is a ter''minal\r");
        terminal.shows("24 80");
        terminal.shows("is a terminal");
        terminal.resize(30, 90);
        terminal.types("until [ \"$(stty size)\" = '30 90' ]; do :; done; echo re''sized\r");
        terminal.shows("resized");
        terminal.types("exit 3\r");
        assert_eq!(terminal.ends(), 3);
    }
}

#[test]
fn in_the_background() {
    let host = Host::new();
    let container = host.run("busybox").name("box").cmd(&["sleep", "1000"]).start();
    for cli in Cli::BOTH {
        host.cli(cli, &["exec", "-d", "box", "sh", "-c", "echo done > /tmp/note; exec sleep 500"]).says("");
        until("it has run", || container.exec(&["cat", "/tmp/note"]).stdout == "done\n");
        container.exec(&["rm", "/tmp/note"]).ok();
        let (status, inspected) = host.api("GET", &format!("/containers/{}/json", container.id), "");
        assert_eq!(status, 200);
        assert!(inspected["ExecIDs"].as_array().is_some_and(|ids| !ids.is_empty()), "{inspected}");
    }
}

#[test]
fn only_where_something_runs() {
    let host = Host::new();
    let container = host.run("busybox").cmd(&["true"]).start();
    container.becomes("{{.State.Status}}", "exited");
    for cli in Cli::BOTH {
        host.cli(cli, &["exec", &container.id, "true"]).ends_with(1).complains("is not running");
        host.cli(cli, &["exec", "nobody", "true"]).ends_with(1).complains("No such container: nobody");
    }
}

#[test]
fn processes_that_were_executed_end_with_their_container() {
    let host = Host::new();
    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    host.docker(&["exec", "-d", &container.id, "sleep", "500"]).ok();
    container.verb(&["stop", "--time", "0"]).ok();
    container.verb(&["start"]).ok();
    until("the old processes are gone", || !container.sh("ps").ok().contains("sleep 500"));
}

/// Who enters a mount namespace comes out at its root: that must be the container's, not the machine's.
#[test]
fn a_daemon_in_a_chroot_keeps_it_inside() {
    let host = Host::with_daemon_in_chroot();
    let container = host.run("busybox").name("box").cmd(&["sleep", "1000"]).start();
    let inside = host.run("busybox").cmd(&["ls", "/"]).once().ok();
    assert!(!inside.contains("boot"), "{inside}");
    for cli in Cli::BOTH {
        host.cli(cli, &["exec", "box", "ls", "/"]).says(&inside);
    }
    container.exec(&["ls", "/sys/class/net"]).says("eth0\nlo");
}
