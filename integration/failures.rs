//! Starts that fail leave nothing behind.

use crate::harness::{Cli, Host, until};

#[test]
fn ten_failed_starts_leave_no_trace() {
    let host = Host::with(&["--bip", "10.9.0.1/29"]);
    let _holder = host.run("busybox").name("holder").publish("8000:80").serving().start();
    let _server = host.itself().background(&["busybox", "httpd", "-f", "-p", "8001", "-h", "/run"]);
    host.itself().sh("until (</dev/tcp/127.0.0.1/8001) 2>/dev/null; do :; done").ok();
    let before = host.traces();
    for cli in Cli::BOTH {
        let attempts: [(&str, &[&str], &[&str], i32); 10] = [
            ("a command that is not there", &[], &["no-such-program"], 127),
            ("a command that cannot be run", &[], &["/etc/passwd"], 126),
            ("a published port, then a bad command", &["-p", "9000:80"], &["no-such-program"], 127),
            ("a port of another container", &["-p", "9001:80", "-p", "8000:80"], &["true"], 125),
            ("a port of another program", &["-p", "9002:80", "-p", "8001:80"], &["true"], 125),
            ("a user that is not there", &["--user", "nobody-here"], &["true"], 125),
            ("a bind mount of nothing", &["--mount", "type=bind,source=/no/such/dir,target=/x"], &["true"], 125),
            ("too little memory", &["--memory", "1"], &["true"], 125),
            ("a network namespace of nobody", &["--network", "container:nobody"], &["true"], 125),
            ("a working directory under a file", &["--workdir", "/etc/passwd/x"], &["true"], 125),
        ];
        for (what, flags, cmd, code) in attempts {
            let outcome = host.run("busybox").by(cli).name("doomed").flags(flags).cmd(cmd).attempt();
            let accepted = [code, 125, 126, 127];
            assert!(accepted[..if code == 125 { 4 } else { 1 }].contains(&outcome.code), "{what}: {outcome}");
            assert!(!outcome.stderr.trim().is_empty(), "{what}: says nothing: {outcome}");
            // Either it could not be created, or it stays created, with nothing else.
            let status = host.docker(&["ps", "-a", "--filter", "name=doomed", "--format", "{{.State}}"]).ok();
            assert!(status.is_empty() || status == "created", "{what}: {status}");
            host.docker(&["rm", "--force", "doomed"]);
            host.assert_as(&before);
        }
        host.run("no-such-image").by(cli).cmd(&["true"]).attempt().ends_with(125);
        host.assert_as(&before);
    }
}

#[test]
fn an_exhausted_subnet_fails_cleanly_again_and_again() {
    let host = Host::with(&["--bip", "10.9.0.1/30"]);
    let _only = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let before = host.traces();
    for _ in 0..3 {
        host.run("busybox").name("late").publish("9000:80").serving().attempt().ends_with(125);
        host.assert_as(&before);
        host.docker(&["rm", "late"]).ok();
    }
}

#[test]
fn a_container_that_failed_can_be_started_when_the_cause_is_gone() {
    let host = Host::new();
    let first = host.run("busybox").publish("8000:80").serving().start();
    host.run("busybox").name("second").publish("8000:80").serving().attempt().ends_with(125);
    first.verb(&["rm", "--force"]).ok();
    host.docker(&["start", "second"]).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8000/"), "hello");
}

#[test]
fn foreground_runs_with_rm_leave_nothing_even_when_they_fail() {
    let host = Host::new();
    let before = host.traces();
    for cli in Cli::BOTH {
        for cmd in ["no-such-program", "/etc/passwd", "true", "false"] {
            host.run("busybox").by(cli).publish("9000:80").cmd(&[cmd]).once();
        }
        assert_eq!(host.docker(&["ps", "-aq"]).ok(), "", "{cli:?}");
        host.assert_as(&before);
    }
}

#[test]
fn an_end_that_the_firewall_could_not_be_told_of_stands_in_nobodys_way() {
    let host = Host::new();
    let before = host.traces();
    let web = host.run("busybox").publish("8000:80").serving().start();
    let nft = host.sh("command -v nft").ok();
    host.sh(&format!("mount --bind /bin/false {nft}")).ok();
    web.verb(&["rm", "--force"]).ok();
    host.sh(&format!("umount {nft}")).ok();
    let next = host.run("busybox").publish("8000:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8000/"), "hello");
    next.verb(&["rm", "--force"]).ok();
    host.assert_as(&before);
}

/// What conntrack let through goes on without any rule, and while the rules stay, they let through more.
#[test]
fn an_end_that_the_firewall_could_not_be_told_of_ends_its_flows() {
    let host = Host::new();
    let web = host.run("busybox").publish("8000:80").publish("5353:53/udp").serving().start();
    host.lan().get("http://192.0.2.1:8000/");
    let hold = "exec 3<>/dev/tcp/192.0.2.1/8000; sleep 1000";
    let knock = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "192.0.2.1", PeerPort => 5353,
        Proto => "udp") or die; while (1) { $s->send("?"); select undef, undef, undef, 0.01 }"#;
    let _silent = host.lan().background(&["bash", "-c", hold]);
    let _busy = host.lan().background(&["perl", "-e", knock]);
    let address = web.address();
    let leads_there = |protocol: &str, state: &str| {
        let entries = host.sh(&format!("conntrack -L --proto {protocol} 2>/dev/null")).ok();
        entries.lines().any(|entry| entry.contains(state) && entry.contains(&format!("src={address} ")))
    };
    until("both flows lead to the container", || leads_there("tcp", "ESTABLISHED") && leads_there("udp", ""));
    let nft = host.sh("command -v nft").ok();
    host.sh(&format!("mount --bind /bin/false {nft}")).ok();
    web.verb(&["rm", "--force"]).ok();
    until("the silent flow has ended", || !leads_there("tcp", "ESTABLISHED"));
    // The control: the rules are in force, and who goes on sending is let through.
    until("the busy one goes on", || leads_there("udp", ""));
    host.sh(&format!("umount {nft}")).ok();
    let _next = host.run("busybox").cmd(&["sleep", "1000"]).start();
    until("the busy one has ended with the rules", || !leads_there("udp", ""));
}

#[test]
fn a_container_that_filled_the_disk_can_be_stopped_and_removed() {
    let mut host = Host::bare();
    let root = host.dir().join("pontoon").display().to_string();
    host.sh(&format!("mkdir {root} && mount -t tmpfs -o size=16m none {root}")).ok();
    host.start_daemon(&[]);
    let hog = host.run("busybox").name("hog").sh("yes > /full; yes").start();
    until("the disk is full", || host.sh(&format!("df {root} | grep -q 100%")).code == 0);
    host.docker(&["create", "--name", "other", "busybox", "true"]);
    hog.verb(&["stop", "-t", "0"]).ok();
    host.docker(&["rm", "hog"]).ok();
    host.run("busybox").cmd(&["echo", "room again"]).once().says("room again");
    host.docker(&["rm", "-f", "other"]);
}
