//! With the guard on, what was changed is as it should be by the time that one asks, and what was done is told.

use super::{Scene, daemon, of_kind};
use crate::harness::{eventually, until};

#[test]
fn what_the_guard_put_right_is_told() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    for (command, words, by) in [
        ("nft delete element inet TABLE linked '{ WEBAT . DBAT . tcp . 80 }'", "deleted 1 element from linked", true),
        ("nft insert rule inet TABLE to_containers accept", "added 1 rule to chain to_containers", true),
        ("nft flush ruleset", "deleted table bridge TABLE", true),
        ("bridge link set dev DBPORT isolated off", "changed isolated of port DBPORT", false),
        ("ip link set DBPORT nomaster", "took port DBPORT off the bridge", false),
        ("bridge fdb del DBMAC dev DBPORT master", "changed the forwarding entry of DBMAC", false),
        (
            "ip neigh replace DBAT lladdr WEBMAC nud permanent dev pontoon0",
            "changed the host's entry of who has DBAT on bridge pontoon0",
            false,
        ),
        ("sysctl -qw net.ipv4.ip_forward=0", "set net.ipv4.ip_forward to 0", false),
    ] {
        let (command, words) = (scene.spell(command), scene.spell(words));
        host.sh(&command).ok();
        let told = eventually(&format!("`{command}` is told"), || {
            let (answer, _) = scene.drift(&[]);
            let repaired = answer["repaired"].as_array().cloned().unwrap_or_default();
            let told = repaired.into_iter().find(|it| it["what"].as_str().is_some_and(|what| what.contains(&words)));
            told.ok_or_else(|| format!("{answer:#}"))
        });
        assert_eq!(told["repaired"], true);
        assert!(told["since"].is_string());
        assert!(!by || told["by"].as_str().is_some_and(|by| by.starts_with("nft (pid ")), "{told:#}");
        scene.clean(&format!("after `{command}`"));
    }
    let text = host.pontoon(&["audit", "drift"]).ok();
    assert!(text.contains("put right:") && text.contains("ago: nft (pid "), "{text}");
}

/// What nobody hears of is put right without being asked as well, some seconds later.
#[test]
fn what_is_looked_at_from_time_to_time() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    for (command, words) in [
        ("umount DBPIN && rm DBPIN", "DBPIN, the pin of db's network namespace, is gone"),
        ("umount DBPIN && mount --bind /proc/WEBPID/ns/net DBPIN", "DBPIN is the pin of another network namespace"),
        ("sysctl -qw net.ipv4.conf.pontoon0.arp_ignore=8", "set net.ipv4.conf.pontoon0.arp_ignore to 8"),
        (
            "conntrack -I -p tcp -s DBAT -d WEBAT --sport 4000 --dport 22 --state ESTABLISHED --timeout 600 -u SEEN_REPLY",
            "a flow from db (DBAT) to web (WEBAT) on 22/tcp is in conntrack: no link opens it",
        ),
    ] {
        let (command, words) = (scene.spell(command), scene.spell(words));
        host.sh(&command).ok();
        eventually(&format!("`{command}` is put right"), || {
            let (answer, code) = scene.drift(&[]);
            let mut repaired = answer["repaired"].as_array().into_iter().flatten();
            let told = repaired.any(|it| it["what"].as_str().is_some_and(|what| what.contains(&words)));
            if told && code == 0 { Ok(()) } else { Err(format!("{answer:#}")) }
        });
    }
    // What is let in is let in.
    host.sh(&scene.spell("conntrack -I -p udp -s WEBAT -d DBAT --sport 4000 --dport 80 --timeout 600")).ok();
    host.sh(
        &scene.spell("conntrack -I -p tcp -s WEBAT -d DBAT --sport 4000 --dport 80 --state ESTABLISHED --timeout 600")
    )
    .ok();
    until("what no link opens is gone", || host.sh("conntrack -L -p udp --sport 4000 | grep -q 4000").code != 0);
    host.sh("conntrack -L -p tcp --sport 4000 | grep -q 4000").ok();
}

/// A table of our name in a family of others is somebody else's: told as such, and nothing is written anew for it.
#[test]
fn an_impostor_is_not_put_right() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    let denied = || host.sh("nft list counter inet pontoon-pontoon0 icc | grep -o 'packets [0-9]*'").ok();
    host.sh(&scene.spell("INDB timeout 1 bash -c 'exec 3<>/dev/tcp/WEBAT/80'")).fails(124);
    let (before, entries) = (denied(), host.pontoon(&["audit", "history"]).ok());
    assert_ne!(before.trim(), "packets 0");
    for family in ["ip", "ip6", "netdev"] {
        host.sh(&format!("nft 'add table {family} pontoon-pontoon0; add chain {family} pontoon-pontoon0 c'")).ok();
        let (answer, _) = scene.drift(&[]);
        assert_eq!(of_kind(&answer), ["table-impostor"], "{answer:#}");
        let by = answer["differences"][0]["by"].as_str().unwrap_or_default();
        assert!(by.starts_with("nft (pid "), "{answer:#}");
        host.sh(&format!("nft delete table {family} pontoon-pontoon0")).ok();
        scene.clean("without it");
        assert_eq!(scene.drift(&[]).0["repaired"], serde_json::json!([]));
    }
    assert_eq!((denied(), host.pontoon(&["audit", "history"]).ok()), (before, entries));
}

/// While containers come and go, nothing is invented, whoever asks how often.
#[test]
fn nothing_is_invented_while_containers_come_and_go() {
    for flags in [&[][..], &["--repair=false"]] {
        let host = daemon(flags);
        let scene = Scene::on(&host);
        let come_and_go = r#"export DOCKER_HOST=unix:///run/pontoon/pontoon.sock
            while [ ! -e /run/stop ]; do
                options="--publish 900$0:80 --link db --expose 1-40 busybox"
                docker run --rm $options sh -c 'nc -w 1 db 80 </dev/null; ping -c1 -W1 172.17.0.1' >/dev/null
                docker rm --force $(docker run --detach $options sh -c 'nc -w 1 db 80 </dev/null; sleep 1000') >/dev/null
                echo round >>/run/rounds
            done
            touch /run/stopped$0"#;
        let _workers: Vec<_> =
            ["1", "2", "3"].map(|worker| host.itself().background(&["bash", "-c", come_and_go, worker])).into();
        let rounds = || std::fs::read_to_string(host.path("/run/rounds")).map_or(0, |text| text.lines().count());
        let mut looks = 0;
        while rounds() < 12 || looks < 12 {
            looks += 1;
            let (answer, code) = scene.drift(&[]);
            assert_eq!((of_kind(&answer), code), (Vec::new(), 0), "{answer:#}");
            assert_eq!(answer["own_doing"].as_array().map_or(0, Vec::len), 0, "{answer:#}");
            assert!(looks < 1000, "{} rounds only", rounds());
        }
        std::fs::write(host.path("/run/stop"), "").unwrap();
        until("the last have gone", || (1..=3).all(|worker| host.path(&format!("/run/stopped{worker}")).exists()));
        scene.clean("when it is quiet again");
        assert!(!host.daemon().log().contains("not as it should be"), "{}", host.daemon().log());
        let (answer, _) = scene.drift(&[]);
        assert_eq!(answer["repaired"], serde_json::json!([]), "{answer:#}");
    }
}
