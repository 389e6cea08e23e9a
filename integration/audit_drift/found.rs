//! What others change while no daemon runs is put right by the next one's start, and told; what nobody changed is not.

use super::{Scene, daemon};
use crate::harness::{Host, eventually};
use serde_json::Value;

/// What was put right, and the history's newest entry.
fn told(host: &Host, scene: &Scene<'_>) -> (Vec<String>, Value) {
    let (answer, code) = scene.drift(&[]);
    assert_eq!(code, 0, "{answer:#}");
    let words = |it: &Value| it["what"].as_str().unwrap().to_owned();
    let repaired = answer["repaired"].as_array().unwrap().iter().map(words).collect();
    let history = host.pontoon(&["audit", "history", "--json"]).ok();
    let history: Value = serde_json::from_str(&history).unwrap();
    (repaired, history["entries"].as_array().unwrap().last().unwrap().clone())
}

#[test]
fn what_was_changed_while_no_daemon_ran_is_told() {
    for flags in [&[][..], &["--repair=false"]] {
        let host = daemon(flags);
        let scene = Scene::on(&host);
        let mut entry = told(&host, &scene).1["entry"].clone();
        for (command, words) in [
            // Nobody did anything.
            ("true", &[][..]),
            ("nft insert rule inet TABLE to_containers accept", &["rule `accept` in chain to_containers"]),
            ("true", &[]),
            (
                "nft add element inet TABLE linked '{ DBAT . WEBAT . tcp . 80 }'",
                &["element DBAT . WEBAT . tcp . 80 of linked is not one of ours: db's link to web on 80/tcp"],
            ),
            (
                "nft flush ruleset",
                &["table inet TABLE is missing", "table arp TABLE is missing", "table bridge TABLE is missing"],
            ),
            ("bridge link set dev DBPORT isolated off", &["port DBPORT of db is not isolated"]),
            ("sysctl -qw net.ipv4.ip_forward=0", &["net.ipv4.ip_forward is 0, and should be 1"]),
            (
                "conntrack -I -p tcp -s DBAT -d WEBAT --sport 4000 --dport 22 --state ESTABLISHED --timeout 600 -u SEEN_REPLY",
                &["a flow from db (DBAT) to web (WEBAT) on 22/tcp is in conntrack: no link opens it"],
            ),
            ("true", &[]),
        ] {
            let typed = scene.spell(command);
            host.kill_daemon();
            host.sh(&typed).ok();
            host.restart_daemon();
            scene.clean(&format!("after `{typed}`"));
            let (repaired, newest) = told(&host, &scene);
            for words in words {
                let words = scene.spell(words);
                let is = |what: &&String| what.starts_with("found at the daemon's start: ") && what.contains(&words);
                assert!(repaired.iter().any(|what| is(&what)), "`{typed}`: {words}: {repaired:#?}");
                assert!(newest["change"]["what"].to_string().contains(&words), "`{typed}`: {newest:#}");
                assert_eq!((&newest["origin"]["kind"], &newest["change"]["kind"]), (&"found".into(), &"repair".into()));
            }
            if words.is_empty() {
                assert_eq!((repaired, &newest["entry"]), (Vec::new(), &entry), "{flags:?}");
            }
            entry = newest["entry"].clone();
        }
        let text = host.pontoon(&["audit", "history", "-n", "1"]).ok();
        assert!(text.contains("found at the daemon's start") && text.contains("on 22/tcp"), "{text}");
    }
}

/// Other rules and ports than before, and nobody else's doing.
#[test]
fn what_other_options_or_a_reboot_bring_is_no_tampering() {
    let mut host = daemon(&[]);
    Scene::on(&host);
    for flags in [
        &["--icc=true"][..],
        &["--icc=false", "--host-access=false"],
        &["--icc=false", "--ip-masq=false"],
        &["--icc=false"],
    ] {
        host.kill_daemon();
        host.restart_daemon_with(flags);
        let answer = eventually("nothing differs", || {
            let outcome = host.pontoon(&["audit", "drift", "--json"]);
            if outcome.code == 0 { Ok(outcome.stdout) } else { Err(outcome.stdout) }
        });
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["repaired"], serde_json::json!([]), "{flags:?}: {answer:#}");
    }
    // As the machine is when it has booted anew: another boot, no tables, no bridge.
    host.docker(&["rm", "-f", "db", "web"]).ok();
    host.kill_daemon();
    host.sh("nft flush ruleset; ip link del pontoon0").ok();
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let sql = "UPDATE meta SET value = replace(value, ?1, 'another') WHERE key = 'in force'";
    assert_eq!(store.execute(sql, [boot.trim()]).unwrap(), 1);
    drop(store);
    host.restart_daemon();
    let answer: Value = serde_json::from_str(&host.pontoon(&["audit", "drift", "--json"]).ok()).unwrap();
    assert_eq!(answer["repaired"], serde_json::json!([]), "{answer:#}");
    assert!(!host.daemon().log().contains("while no daemon ran"), "{}", host.daemon().log());
}

/// What came while no daemon ran is not how it should be, and nobody is told to open anything.
#[test]
fn a_parameter_that_was_changed_meanwhile_is_told() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    let parameter = "net.ipv4.conf.all.route_localnet";
    host.sh(&format!("sysctl -qw {parameter}=0")).ok();
    host.kill_daemon();
    host.sh(&format!("sysctl -qw {parameter}=1")).ok();
    host.restart_daemon();
    let (answer, code) = scene.drift(&[]);
    assert_eq!((super::of_kind(&answer), code), (vec!["sysctl-changed"], 3), "{answer:#}");
    let remedy = answer["differences"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("sysctl -w {parameter}=0")), "{remedy}");
    host.sh(&format!("sysctl -qw {parameter}=0")).ok();
    scene.clean("when it is off again");
    // One that was on from the first moment on may be switched off.
    let mut host = Host::bare();
    host.sh(&format!("sysctl -qw {parameter}=1")).ok();
    host.start_daemon(&["--icc=false"]);
    let scene = Scene::on(&host);
    host.sh(&format!("sysctl -qw {parameter}=0")).ok();
    host.kill_daemon();
    host.restart_daemon();
    scene.clean("when what was on is off");
}
