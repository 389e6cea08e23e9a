//! Restart, kill, rename and remove where they meet each other.

use crate::harness::{Host, until};

const FOREVER: &[&str] = &["sleep", "1000"];

#[test]
fn restarting_is_not_the_end_that_rm_waits_for() {
    let host = Host::new();
    let container = host.run("busybox").flags(&["--rm"]).cmd(FOREVER).start();
    let pid = container.pid();
    container.verb(&["restart", "--time", "0"]).ok();
    assert_ne!(container.pid(), pid);
    container.verb(&["stop", "--time", "0"]).ok();
    until("--rm has removed it", || host.docker(&["ps", "-aq"]).ok().is_empty());
}

#[test]
fn a_paused_container_can_be_killed() {
    let host = Host::new();
    let container = host.run("busybox").cmd(FOREVER).start();
    container.verb(&["pause"]).ok();
    container.verb(&["kill"]).ok();
    assert_eq!(container.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
}

#[test]
fn a_container_that_is_paused_while_it_is_stopped_ends() {
    let host = Host::new();
    let container = host.run("busybox").sh("trap '' TERM; echo ready; while :; do sleep 1; done").start();
    container.says("ready");
    let mut stop =
        host.daemon().client(&host.namespaces, crate::harness::Cli::Docker, &["stop", "--time", "2", &container.id]);
    let mut stop = stop.stdout(std::process::Stdio::null()).spawn().unwrap();
    let kills = || host.docker(&["events", "--since", "1h", "--until", "0s", "--filter", "event=kill"]).ok();
    until("it was told to stop", || !kills().is_empty());
    container.verb(&["pause"]).ok();
    assert!(stop.wait().unwrap().success());
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "137");
}

#[test]
fn a_start_by_the_user_gives_all_retries_again() {
    let host = Host::new();
    let failing = host.run("busybox").flags(&["--restart", "on-failure:1"]).sh("exit 3").start();
    failing.becomes("{{.State.Status}} {{.RestartCount}}", "exited 1");
    failing.verb(&["start"]).ok();
    let starts = || host.docker(&["events", "--since", "1h", "--until", "0s", "--filter", "event=start"]).ok();
    until("it was restarted once more", || starts().lines().count() == 4);
    failing.becomes("{{.State.Status}} {{.RestartCount}}", "exited 1");
}

#[test]
fn killing_a_container_between_two_lives_ends_it() {
    let host = Host::new();
    let failing = host.run("busybox").flags(&["--restart", "always"]).sh("exit 3").start();
    // Its pauses double: after five lives it spends seconds between them, more than a slow machine needs to kill it.
    until("it has lived a few times", || failing.inspect("{{.RestartCount}}").parse::<u32>().unwrap() > 4);
    failing.becomes("{{.State.Status}}", "restarting");
    failing.verb(&["kill"]).ok();
    failing.becomes("{{.State.Status}}", "exited");
}

#[test]
fn removing_by_force_tells_of_no_stop() {
    let host = Host::new();
    let container = host.run("busybox").cmd(FOREVER).start();
    container.verb(&["rm", "--force"]).ok();
    let events = host.docker(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let last: Vec<_> = events.lines().filter(|line| *line != "import").collect();
    assert_eq!(last, ["create", "connect", "start", "kill", "disconnect", "die", "destroy"]);
}

#[test]
fn a_name_asked_for_too_late_stays_free() {
    let host = Host::new();
    // The renaming waits behind the removal's kill, and finds nobody.
    for _ in 0..5 {
        let container = host.run("busybox").name("first").cmd(FOREVER).start();
        let mut removal =
            host.daemon().client(&host.namespaces, crate::harness::Cli::Docker, &["rm", "-f", &container.id]);
        let mut removal = removal.stdout(std::process::Stdio::null()).spawn().unwrap();
        host.docker(&["rename", &container.id, "second"]);
        removal.wait().unwrap();
        let again = host.run("busybox").name("second").cmd(FOREVER).create();
        again.verb(&["rm"]).ok();
    }
}
