//! Programs (BPF) that see packets before the firewall does. Each is attached, and really drops; `drift` names it, and what
//! it can see is `unknown` to `why`.
//!
//! Programs at netfilter's hooks are not tried here: every namespace of the machine sees them, those of other tests, too.

use super::Bite::{Quiet, Unpublishes};
use super::Cure::By;
use super::{Bite, Scene, Tampering, daemon, of_kind};
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

/// Where the LAN comes in, programs and filters decide about each published port.
#[test]
fn at_the_interface_to_the_lan() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    for (hook, kind, words) in [
        (Hook::Xdp("lan0"), "xdp-program", "an XDP program at lan0 sees frames before the firewall does"),
        (Hook::TcxIngress("lan0"), "tcx-program", "a tcx program at lan0 sees frames before the firewall does"),
    ] {
        assert!(!scene.bitten(Unpublishes), "before {hook:?}");
        let program = drops_all(&host.netns(), hook);
        eventually(&format!("{hook:?} is found"), || {
            let (answer, code) = scene.drift(&[]);
            let what = answer["differences"][0]["what"].as_str().unwrap_or_default();
            if of_kind(&answer) == [kind] && what.contains(words) && code == 3 {
                Ok(())
            } else {
                Err(format!("{answer:#}"))
            }
        });
        assert!(scene.bitten(Unpublishes), "{hook:?} drops");
        drop(program);
        scene.clean(&format!("after {hook:?}"));
    }
    scene.suffers_all(&[
        Tampering {
            command: "tc qdisc add dev lan0 root tbf rate 8bit burst 10 latency 1ms",
            kinds: &["tc-queue"],
            words: "lan0 has a tc queue tbf, which may delay or drop what passes",
            bite: Unpublishes,
            cure: By("tc qdisc del dev lan0 root"),
        },
        // Which filters there are depends on the kernel's modules.
        Tampering {
            command: "tc qdisc add dev lan0 clsact",
            kinds: &["tc-queue"],
            words: "lan0 has a tc clsact: its filters see frames before the firewall does",
            bite: Quiet,
            cure: By("tc qdisc del dev lan0 clsact"),
        },
    ]);
    // What was there before the daemon is the operator's, and is said.
    host.sh("tc qdisc add dev lan0 clsact").ok();
    host.stop_daemon();
    host.restart_daemon();
    scene.clean("with the operator's own filters");
    let said = scene.drift(&[]).0["unchecked"].to_string();
    assert!(said.contains("what tc's clsact at lan0 does: it was there when the daemon began"), "{said}");
    // Interfaces that lead nowhere are nobody's business here.
    host.sh("ip link add other type veth peer name another; ip link set other up; tc qdisc add dev other clsact").ok();
    scene.clean("beside what is at an interface without addresses");
    host.sh("ip link del other").ok();
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
