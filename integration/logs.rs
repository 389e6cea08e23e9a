//! `logs`: what containers wrote, as docker keeps it.

use crate::harness::{Cli, Host, until};

#[test]
fn both_streams_in_their_order() {
    let host = Host::new();
    let container = host.run("busybox").sh("echo one; echo two >&2; echo three; printf 'no end'").start();
    container.wait();
    for cli in Cli::BOTH {
        let logs = host.cli(cli, &["logs", &container.id]);
        assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("one\nthree\nno end", "two\n"), "{logs}");
    }
    host.run("busybox").name("tty").flags(&["-t"]).sh("echo one; echo two >&2").start().wait();
    host.docker(&["logs", "tty"]).says("one\r\ntwo\r");
}

#[test]
fn tail_since_and_timestamps() {
    let host = Host::new();
    let container = host.run("busybox").sh("for i in 1 2 3 4 5; do echo $i; sleep 0.02; done").start();
    container.wait();
    for cli in Cli::BOTH {
        let logs = |flags: &[&str]| host.cli(cli, &[&["logs"], flags, &[&container.id]].concat());
        logs(&["--tail", "2"]).says("4\n5");
        logs(&["--tail", "0"]).says("");
        logs(&["--tail", "all"]).says("1\n2\n3\n4\n5");
        let stamped = logs(&["--timestamps"]);
        let stamps: Vec<_> =
            stamped.lines().iter().map(|line| line.split(' ').next().unwrap()).map(str::to_owned).collect();
        assert!(stamps.is_sorted() && stamps.iter().all(|it| it.len() == 30 && it.ends_with('Z')), "{stamped}");
        logs(&["--since", &stamps[3]]).says("4\n5");
        logs(&["--until", &stamps[1]]).says("1\n2");
        logs(&["--since", "1h"]).says("1\n2\n3\n4\n5");
        logs(&["--since", "2100-01-01T00:00:00"]).says("");
    }
}

#[test]
fn followers_see_lines_as_they_come_and_the_end() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let container = host
            .run("busybox")
            .name("talker")
            .cmd(&["sh", "-c", "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last"])
            .start();
        let mut follower = host.terminal(cli, &["logs", "--follow", "talker"]);
        follower.shows("first");
        container.exec(&["touch", "/go"]).ok();
        follower.shows("last");
        assert_eq!(follower.ends(), 0, "the follower ends with the container");
        container.verb(&["rm", "--force"]).ok();
    }
}

#[test]
fn the_file_is_dockers_json() {
    let host = Host::new();
    let container = host.run("busybox").sh("echo 'quotes \" and \\ and ü'; printf '\\377x\\n'; echo err >&2").start();
    container.wait();
    let path = container.inspect("{{.LogPath}}");
    assert_eq!(container.inspect("{{.HostConfig.LogConfig.Type}}"), "json-file");
    let text = std::fs::read_to_string(host.path(&path)).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0]["log"], "quotes \" and \\ and ü\n");
    assert_eq!(lines[1]["log"], "\u{fffd}x\n");
    assert_eq!((&lines[2]["stream"], &lines[2]["log"]), (&"stderr".into(), &"err\n".into()));
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 3, "log, stream, time: {keys:?}");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }
}

#[test]
fn rotation_keeps_the_newest() {
    let host = Host::new();
    let container = host
        .run("busybox")
        .flags(&["--log-opt", "max-size=10k", "--log-opt", "max-file=2"])
        .sh("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done")
        .start();
    container.wait();
    let logs = container.logs();
    assert_eq!(logs.lines().last(), Some(&"line 999"), "{logs}");
    assert!(logs.lines().len() < 1000, "the oldest lines went");
    let log = host.path(&container.inspect("{{.LogPath}}"));
    assert!(log.metadata().unwrap().len() <= 10_240);
    let mut second = log.into_os_string();
    second.push(".1");
    assert!(std::path::Path::new(&second).exists());
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_the_container() {
    let host = Host::new();
    let container = host.run("busybox").sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end").start();
    assert_eq!(container.wait(), 0);
    until("all of it is in the log", || container.logs().stdout.ends_with("\nend\n"));
    assert_eq!(container.logs().stdout.len(), 3_000_005);
}
