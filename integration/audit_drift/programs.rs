//! Programs (BPF) that see packets before the firewall does. Each is attached, and really drops; `drift` names it, and what
//! it can see is `unknown` to `why`.
//!
//! Programs at netfilter's hooks are not tried here: every namespace of the machine sees them, those of other tests, too.

use super::{Bite, Scene, daemon, of_kind};
use crate::harness::bpf::{Hook, drops_all};
use crate::harness::{Host, eventually, until};

/// A program does it, is found under its name, and its end is the end of it.
#[track_caller]
fn suffers(host: &Host, scene: &Scene<'_>, netns: &std::path::Path, hook: Hook<'_>, kind: &str, words: &str) {
    let (bite, words) = (Bite::Closes, scene.spell(words));
    assert!(!scene.bitten(bite), "before {hook:?}");
    assert_eq!(host.pontoon(&["audit", "why", "web", "db", "80/tcp"]).code, 0, "before {hook:?}");
    let program = drops_all(netns, hook);
    eventually(&format!("{hook:?} is found"), || {
        let (answer, code) = scene.drift(&["--repair"]);
        let told = answer["differences"].as_array().into_iter().flatten();
        let told: Vec<_> = told.filter(|it| it["what"].as_str().is_some_and(|what| what.contains(&words))).collect();
        let remedy = told.iter().all(|it| it["remedy"].is_string());
        if of_kind(&answer) == [kind] && told.len() == 1 && remedy && code == 3 {
            Ok(())
        } else {
            Err(format!("exit code {code}: {answer:#}"))
        }
    });
    assert!(scene.bitten(bite), "{hook:?} drops");
    let why = host.pontoon(&["audit", "why", "web", "db", "80/tcp"]);
    assert_eq!(why.code, 2, "{hook:?}: {why}");
    drop(program);
    scene.clean(&format!("after {hook:?}"));
    assert!(!scene.bitten(bite), "after {hook:?}");
}

#[test]
fn programs_at_ports_and_in_namespaces() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let (here, port) = (host.netns(), scene.spell("DBPORT"));
    let tcx = "a tcx program at DBPORT sees frames before the firewall does";
    suffers(&host, &scene, &here, Hook::TcxIngress(&port), "tcx-program", tcx);
    suffers(&host, &scene, &here, Hook::TcxEgress(&port), "tcx-program", tcx);
    let xdp = "an XDP program at DBPORT sees frames before the firewall does";
    suffers(&host, &scene, &here, Hook::Xdp(&port), "xdp-program", xdp);
    let inside = host.path(&scene.spell("/proc/DBPID/ns/net"));
    let lookup = "inside of db: a BPF program that chooses sockets for what arrives (sk_lookup)";
    suffers(&host, &scene, &inside, Hook::SocketLookup, "inside-program", lookup);
}

/// What chooses the host's sockets sees what is for the host, and nothing else.
#[test]
fn a_program_that_chooses_the_hosts_sockets() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let _listens = host.itself().listens("0.0.0.0:7070");
    let reached = || host.lan().sh("timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/7070'").code == 0;
    assert!(reached());
    let program = drops_all(&host.netns(), Hook::SocketLookup);
    until("nobody is heard", || !reached());
    eventually("it is found", || {
        let (answer, code) = scene.drift(&[]);
        if of_kind(&answer) == ["bpf-program"] && code == 3 { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    let why = |from: &str, to: &str, on: &str| host.pontoon(&["audit", "why", from, to, on]);
    assert_eq!(why("web", "host", "7070/tcp").code, 2);
    assert_eq!(why("web", "db", "80/tcp").code, 0, "it passes no socket of the host's");
    drop(program);
    scene.clean("after it has gone");
    assert_eq!(why("web", "host", "7070/tcp").code, 0);
}
