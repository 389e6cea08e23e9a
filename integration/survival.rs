//! The daemon may die at any moment; containers do not notice.

use crate::harness::{Cli, Host, until};

#[test]
fn killing_the_daemon_loses_no_container_no_line_and_no_exit_code() {
    let host = Host::new();
    let web = host.run("busybox").name("web").publish("8080:80").serving().start();
    let talker = "i=0; while [ ! -e /stop ]; do echo line $i; i=$((i+1)); sleep 0.01; done; echo last $i; exit 17";
    let counter = host.run("busybox").name("counter").sh(talker).start();
    let lasting = host.run("busybox").name("lasting").sh(&talker.replace("exit 17", "exit 18")).start();
    counter.says("line 3");
    let root = host.path(&format!("/proc/{}/root", counter.pid()));

    host.kill_daemon();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "while no daemon runs");
    // It ends while nobody looks.
    std::fs::write(root.join("stop"), "").unwrap();
    until("the container has ended", || !root.exists());
    host.restart_daemon();

    assert_eq!(counter.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 17");
    assert_eq!(counter.wait(), 17);
    whole(&counter.logs().ok());
    assert_eq!(host.docker(&["ps", "--format", "{{.Names}}"]).ok(), "lasting\nweb");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");

    // What lives on is controlled as before.
    web.exec(&["true"]).ok();
    lasting.sh("touch /stop").ok();
    assert_eq!(lasting.wait(), 18);
    whole(&lasting.logs().ok());
    web.verb(&["stop", "--time", "0"]).ok();
    assert_eq!(web.inspect("{{.State.Status}}"), "exited");
    host.lan().cannot_get("http://192.0.2.1:8080/");
    web.verb(&["start"]).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

/// `line 0`, `line 1`, … and `last n`, with no gap.
#[track_caller]
fn whole(log: &str) {
    let lines: Vec<_> = log.lines().collect();
    let (last, lines) = lines.split_last().expect("it wrote something");
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {at}"));
    }
    assert_eq!(*last, format!("last {}", lines.len()));
}

#[test]
fn a_stopped_daemon_leaves_containers_alone() {
    let host = Host::new();
    let container = host.run("busybox").sh("trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done").start();
    container.says("ready");
    let pid = container.pid();
    host.stop_daemon();
    host.sh(&format!("kill -0 {pid}")).ok();
    host.restart_daemon();
    assert_eq!(container.pid(), pid);
    container.verb(&["stop"]).ok();
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "3");
}

#[test]
fn rm_and_names_and_leases_survive() {
    let host = Host::new();
    let kept = host.run("busybox").name("kept").cmd(&["sleep", "1000"]).start();
    let gone = host.run("busybox").flags(&["--rm"]).sh("while [ ! -e /stop ]; do sleep 0.05; done").start();
    let (address, root) = (kept.address(), host.path(&format!("/proc/{}/root", gone.pid())));
    host.kill_daemon();
    std::fs::write(root.join("stop"), "").unwrap();
    until("the container has ended", || !root.exists());
    host.restart_daemon();
    until("--rm is remembered", || host.docker(&["ps", "-aq", "--no-trunc"]).ok() == kept.id);
    assert_eq!(kept.address(), address);
    assert_ne!(host.run("busybox").cmd(&["sleep", "1000"]).start().address(), address);
    host.run("busybox").name("kept").cmd(&["true"]).attempt().complains("is already in use").ends_with(125);
}

#[test]
fn a_killed_daemon_in_the_middle_of_many_starts_leaves_a_clean_host() {
    let host = Host::new();
    let before = host.traces();
    let mut runs: Vec<_> = (0..6)
        .map(|at| {
            let port = format!("{}:80", 8000 + at);
            let mut run = host.daemon().client(
                &host.namespaces,
                Cli::Docker,
                &["run", "-d", "-p", &port, "busybox", "sleep", "1000"],
            );
            run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    until("some have started", || !host.docker(&["ps", "-q"]).ok().is_empty());
    host.kill_daemon();
    for run in &mut runs {
        run.wait().unwrap();
    }
    host.restart_daemon();
    for id in host.docker(&["ps", "-aq"]).ok().lines() {
        host.docker(&["rm", "--force", id]).ok();
    }
    host.assert_as(&before);
    host.run("busybox").publish("8000:80").cmd(&["true"]).once().ok();
}

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    let host = Host::new();
    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let shim = host.sh(&format!("ps -o ppid= -p {}", container.pid())).ok();
    host.sh(&format!("kill -9 {}", shim.trim())).ok();
    container.becomes("{{.State.Status}} {{.State.ExitCode}}", "exited 137");
    container.verb(&["start"]).ok();
    container.exec(&["true"]).ok();
}

#[test]
fn after_a_reboot_who_joins_a_network_is_started_behind_it() {
    let host = Host::new();
    let always: &[&str] = &["--restart", "always"];
    // Names and ids are in no order that would help.
    let target = host.run("busybox").name("target").flags(always).cmd(&["sleep", "1000"]).start();
    let joined = host.run("busybox").flags(always).net("container:target").cmd(&["sleep", "1000"]).start();
    let chained =
        host.run("busybox").flags(always).net(&format!("container:{}", joined.id)).cmd(&["sleep", "1000"]).start();
    let all = [&target, &joined, &chained].map(|container| (container.id.clone(), container.pid()));
    host.kill_daemon();
    for (id, pid) in all {
        // As a machine that goes down: neither shims nor processes nor the exec root are left.
        host.sh(&format!("pkill -9 -f '[p]ontoon shim .*{id}'; kill -9 {pid}"));
        host.sh(&format!("rm -r /run/pontoon/containers/{id}")).ok();
    }
    host.restart_daemon();
    for container in [&target, &joined, &chained] {
        container.becomes("{{.State.Status}}", "running");
    }
    assert!(chained.exec(&["ip", "-4", "addr", "show", "eth0"]).ok().contains(&target.address()));
}

#[test]
fn a_removal_that_was_cut_short_is_finished() {
    let host = Host::new();
    let [removed, ended] = ["--rm=false", "--rm"].map(|rm| host.run("busybox").flags(&[rm]).cmd(&["true"]).create());
    host.kill_daemon();
    // As the last daemon writes them.
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    for (id, status) in [(&removed.id, "removing"), (&ended.id, "exited")] {
        let set = "UPDATE containers SET body = json_set(body, '$.state.status', ?2) WHERE id = ?1";
        store.execute(set, [id.as_str(), status]).unwrap();
    }
    drop(store);
    host.restart_daemon();
    assert_eq!(host.docker(&["ps", "-aq"]).ok(), "");
}

/// A daemon that is killed in the middle of a start leaves a shim that was told nothing; when the next daemon has removed
/// its directory, nobody can tell it anything any more.
#[test]
fn a_shim_of_nobody_ends() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    let host = Host::new();
    let model = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let dir = host.dir().join("shim");
    let socket = dir.join("shim.sock");
    std::fs::create_dir(&dir).unwrap();
    let launch = host.path(&format!("/run/pontoon/containers/{}/launch.json", model.inspect("{{.Id}}")));
    std::fs::copy(launch, dir.join("launch.json")).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut shim = std::process::Command::new(crate::harness::pontoon_binary());
    let mut shim = shim.arg("shim").arg(&dir).stdin(OwnedFd::from(listener)).spawn().unwrap();

    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(b"a question that it does not know\n").unwrap();
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).unwrap();
    assert!(answer.contains("failed"), "{answer}");
    assert!(shim.try_wait().unwrap().is_none(), "it waits to be asked");

    std::fs::remove_dir_all(&dir).unwrap();
    until("the shim has ended", || shim.try_wait().unwrap().is_some());
}

/// A daemon that does not know them would take their ports, rules and shims for leftovers.
#[test]
fn containers_of_a_daemon_that_is_gone_are_not_anothers_to_clean_up() {
    let mut host = Host::new();
    let web = host.run("busybox").name("web").publish("8080:80").serving().start();
    let closed = host.run("busybox").name("closed").net("none").cmd(&["sleep", "1000"]).start();
    let pids = [web.pid(), closed.pid()];
    host.kill_daemon();
    host.refused_daemon(&[]).ends_with(1).complains("the bridge pontoon0 carries running containers that ");
    // Without a bridge, but with the same shims.
    let attempt = host.sh(&format!(
        "{} daemon --bridge none --exec-root /run/pontoon --data-root /run/other --host unix:///run/other.sock",
        crate::harness::pontoon_binary().display()
    ));
    attempt.ends_with(1).complains("/run/pontoon holds running containers that /run/other knows nothing of (");
    assert!(!host.path("/run/other").exists());
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert!(pids.iter().all(|pid| host.path(&format!("/proc/{pid}")).exists()));

    // Their own daemon may come back; and when they are gone, another may have the bridge.
    host.restart_daemon();
    assert_eq!(host.docker(&["ps", "--format", "{{.Names}}"]).ok(), "closed\nweb");
    host.docker(&["rm", "--force", "web", "closed"]).ok();
    host.stop_daemon();
    host.start_second_daemon(&[]);
    host.docker_second(&["run", "--rm", "busybox", "true"]).ok();
}

/// It was killed between the end of a container and the end of its flows.
#[test]
fn flows_that_the_last_daemon_left_lead_to_nobody_else() {
    let host = Host::new();
    let stays = host.run("busybox").publish("5353:53/udp").cmd(&["sleep", "1000"]).start();
    let address = stays.address();
    let gone = format!("{}.200", address.rsplit_once('.').unwrap().0);
    host.kill_daemon();
    let flow = |container: &str, port: u16| {
        host.sh(&format!(
            "conntrack -I -p udp -s 192.0.2.2 -d 192.0.2.1 --sport {port} --dport 5353 -r {container} -q 192.0.2.2 \
             --reply-port-src 53 --reply-port-dst {port} -t 1000"
        ))
        .ok();
    };
    flow(&address, 1001);
    flow(&gone, 1002);
    let leads_to = |container: &str| host.sh("conntrack -L 2>/dev/null").ok().contains(&format!("src={container} "));
    assert!(leads_to(&address) && leads_to(&gone));
    host.restart_daemon();
    assert!(!leads_to(&gone));
    assert!(leads_to(&address), "who is there keeps his flows");
}
