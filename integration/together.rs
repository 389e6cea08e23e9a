//! Many at once, and what must hold at every moment in between.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::harness::{Cli, Host, Outcome};

#[test]
fn many_starts_at_once() {
    let host = Host::new();
    let runs: Vec<_> = (0..20)
        .map(|at| {
            let (name, port) = (format!("web{at}"), format!("{}:80", 8000 + at));
            let words = [
                "run",
                "-d",
                "--name",
                &name,
                "--hostname",
                &name,
                "-p",
                &port,
                "busybox",
                "httpd",
                "-f",
                "-h",
                "/www",
            ];
            let cli = Cli::BOTH[at % 2];
            let mut run = host.daemon().client(&host.namespaces, cli, &words);
            run.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    let mut addresses = BTreeSet::new();
    for at in 0..20 {
        let address = host
            .docker(&["inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", &format!("web{at}")])
            .ok();
        assert!(addresses.insert(address.clone()), "{address} twice");
        let answer = host.lan().get(&format!("http://192.0.2.1:{}/cgi-bin/whoami", 8000 + at));
        assert_eq!(answer, format!("web{at} asked by 192.0.2.2"));
    }
}

#[test]
fn starts_and_stops_of_one_container_at_once_end_well() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").serving().create();
    let verbs = [
        ["start"].as_slice(),
        &["stop", "--time", "0"],
        &["start"],
        &["restart", "--time", "0"],
        &["kill"],
        &["start"],
    ];
    let rounds: Vec<_> = verbs
        .iter()
        .map(|verb| {
            let words = [verb, [web.id.as_str()].as_slice()].concat();
            let mut command = host.daemon().client(&host.namespaces, Cli::Docker, &words);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut round in rounds {
        round.wait().unwrap();
    }
    host.docker(&["start", &web.id]).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

#[test]
fn a_container_is_never_open_before_its_rules_are_in_force() {
    let host = Host::new();
    // The neighbour tries the next addresses all the time, at a port that is served and not published.
    let knock = "for i in 2 3 4 5 6 7; do
        while :; do (exec 3<>/dev/tcp/172.17.0.$i/80) 2>/dev/null && echo open >>/run/open; done & done; wait";
    let knocking = host.lan().background(&["bash", "-c", knock]);
    let mut started = Vec::new();
    for _ in 0..6 {
        let web = host.run("busybox").serving().start();
        host.itself().get(&format!("http://{}/", web.address()));
        started.push(web);
    }
    drop(knocking);
    assert!(!host.path("/run/open").exists(), "the neighbour got in");
    // The control: the neighbour's way does lead there, if the firewall lets it.
    let address = started[0].address();
    host.kill_daemon();
    host.sh("nft flush ruleset").ok();
    assert_eq!(host.lan().get(&format!("http://{address}/")), "hello");
    // Whoever flushes the tables gets them back with the next daemon.
    host.restart_daemon();
    host.lan().cannot_get(&format!("http://{address}/"));
}

#[test]
fn many_followers_of_one_log() {
    let host = Host::new();
    let script = "while [ ! -e /go ]; do sleep 0.02; done; seq 1 20000";
    let container = host.run("busybox").sh(script).start();
    let followers: Vec<_> = (0..6)
        .map(|at| {
            let words = ["logs", "--follow", &container.id];
            let mut command = host.daemon().client(&host.namespaces, Cli::BOTH[at % 2], &words);
            std::thread::spawn(move || Outcome::of(&mut command, b""))
        })
        .collect();
    container.exec(&["touch", "/go"]).ok();
    let whole: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    for follower in followers {
        let outcome = follower.join().unwrap();
        assert!(outcome.stdout == whole, "{} of {} bytes: {}", outcome.stdout.len(), whole.len(), outcome.command);
    }
}

#[test]
fn targets_and_sources_that_restart_at_once_end_with_the_right_lines() {
    let host = Host::new();
    let db = host.run("busybox").name("db").cmd(&["sleep", "1000"]).start();
    let sources: Vec<_> = (0..3)
        .map(|at| {
            let run = host.run("busybox").name(&format!("web{at}")).flags(&["--link", "db:store"]);
            run.cmd(&["sleep", "1000"]).start()
        })
        .collect();
    for _ in 0..4 {
        let mut verbs: Vec<_> = ["db", "web0", "web1", "db", "web2", "db"]
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let words = ["restart", "--time", "0", name];
                let mut verb = host.daemon().client(&host.namespaces, Cli::BOTH[at % 2], &words);
                verb.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for verb in &mut verbs {
            // A source whose target was between two lives has not started.
            verb.wait().unwrap();
        }
        host.docker(&["start", "db", "web0", "web1", "web2"]).ok();
        let line = format!("{}\tstore {} db", db.address(), &db.id[..12]);
        for source in &sources {
            let hosts = source.exec(&["cat", "/etc/hosts"]).ok();
            let found: Vec<_> = hosts.lines().filter(|line| line.contains("store")).collect();
            assert_eq!(found, [&line], "{hosts}");
        }
    }
}
