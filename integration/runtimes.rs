//! Who makes the containers: the integrated runtime, or an OCI command.

use crate::harness::{Cli, Host};

#[test]
fn runc_on_request() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let run = |words: &[&str]| host.run("busybox").by(cli).flags(&["--runtime", "runc"]).cmd(words).once();
        run(&["echo", "hello"]).says("hello");
        run(&["sh", "-c", "exit 5"]).ends_with(5);
        run(&["no-such-program"]).ends_with(127);
        run(&["/etc/passwd"]).ends_with(126);
    }
    let container = host.run("busybox").flags(&["--runtime", "runc"]).publish("8080:80").serving().start();
    assert_eq!(container.inspect("{{.HostConfig.Runtime}}"), "runc");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    container.sh("exit 4").ends_with(4);
    container.verb(&["stop", "--time", "0"]).ok();
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "137");
}

#[test]
fn runc_for_all() {
    let host = Host::with(&["--default-runtime", "runc"]);
    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    assert_eq!(container.inspect("{{.HostConfig.Runtime}}"), "runc");
    let mut terminal = host.terminal(Cli::Docker, &["run", "--rm", "-it", "busybox", "sh"]);
    terminal.shows("/ #");
    terminal.types("exit 3\r");
    assert_eq!(terminal.ends(), 3);
}

#[test]
fn a_runtime_that_is_not_there() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let outcome = host.run("busybox").by(cli).flags(&["--runtime", "no-such-runtime"]).cmd(&["true"]).once();
        outcome.ends_with(125).complains("no-such-runtime");
    }
}
