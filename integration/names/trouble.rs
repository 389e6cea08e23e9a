//! Floods, noise, and daemons that come and go.

use super::{Answer, Upstream, dig, host_with, inside, names_port};
use crate::harness::until;

#[test]
fn a_flood_of_one_container_is_not_the_others_trouble() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    // Its own server takes questions and says nothing: each waits as long as any may.
    host.lan()
        .sh("ip address add 192.0.2.5/24 dev eth0 && nft 'add table ip t
             add chain ip t i { type filter hook input priority 0; }; add rule ip t i ip daddr 192.0.2.5 drop'")
        .ok();
    let wild = host.run("busybox").flags(&["--dns", "192.0.2.5"]).cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let question = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05flood\x04test\x00\x00\x01\x00\x01";
    let script = format!(
        "while :; do exec 3<>/dev/udp/172.17.0.1/53; for i in {{1..5000}}; do printf '{question}' >&3; done; done"
    );
    let pid = wild.pid().to_string();
    let _flood: Vec<_> = (0..2)
        .map(|_| host.itself().background(&["nsenter", "--target", &pid, "--net", "bash", "-c", &script]))
        .collect();
    // Connections that say nothing, too.
    let _held = host.itself().background(&[
        "nsenter",
        "--target",
        &pid,
        "--net",
        "bash",
        "-c",
        "for i in {4..200}; do eval \"exec $i<>/dev/tcp/172.17.0.1/53\"; done 2>&-; exec sleep 1000",
    ]);
    // The control: it does drown its own questions.
    until("the flood is there", || {
        let said = host.sh(&inside(&wild, "dig @172.17.0.1 +tries=1 +timeout=1 plain.test"));
        said.code != 0 || said.stdout.contains("SERVFAIL")
    });
    // Each as a library asks: two tries, five seconds each. No answer is second-hand.
    let mut unanswered = 0;
    for at in 0..40 {
        let name = if at % 2 == 0 { "web".to_owned() } else { format!("name{at}.test") };
        let said = host.sh(&inside(&web, &format!("dig @172.17.0.1 +tries=2 +timeout=5 {name}")));
        // Questions wait in one queue of the kernel's: who has no processor to read it, loses some of them, and now and then
        // both tries. On a machine that tests in parallel, the flood may have most of it.
        if said.code == 9 {
            unanswered += 1;
            continue;
        }
        let said = said.ok();
        let status = Answer::read(&said).status;
        assert_eq!(status, if at % 2 == 0 { "NOERROR" } else { "NXDOMAIN" }, "{said}");
        assert!(at % 2 == 0 || upstream.asked(&name) > 0, "{name}");
    }
    assert!(unanswered <= 2, "{unanswered} of 40");
    dig(&host, &web, "plain.test +tcp +tries=2").is("NOERROR", &["plain.test. A 192.0.2.80"]);
}

#[test]
fn bytes_without_meaning_are_no_harm() {
    let host = host_with(&[]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let own = format!("web. A {}", web.address());
    let daemon = host.daemon().pid(&host.namespaces);
    // Any bytes; and bytes with the header of a question, which get further.
    let header = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01";
    let script = format!(
        "for i in {{1..300}}; do
             head -c $((RANDOM % 600)) /dev/urandom >/dev/udp/172.17.0.1/53
             {{ printf '{header}'; head -c $((RANDOM % 300)) /dev/urandom; }} | dd bs=4096 iflag=fullblock of=/dev/fd/3 status=none 3>/dev/udp/172.17.0.1/53
         done
         for i in {{1..20}}; do
             head -c $((RANDOM * 3)) /dev/urandom >/dev/tcp/172.17.0.1/53
             printf '\\x00\\x20{header}' >/dev/tcp/172.17.0.1/53
             printf '\\x00' >/dev/tcp/172.17.0.1/53
         done; true"
    );
    std::fs::write(host.path("/run/noise"), script).unwrap();
    host.sh(&inside(&web, "bash /run/noise 2>&-")).ok();
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    dig(&host, &web, "web +tcp").is("NOERROR", &[&own]);
    // A question that does not end, and an answer that nobody asked for.
    let cut = r"printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05we' >&3; head -c 12 <&3 | od -An -tx1";
    let said = host.sh(&inside(&web, &format!("timeout 10 bash -c \"exec 3<>/dev/udp/172.17.0.1/53; {cut}\""))).ok();
    assert_eq!(said.trim(), "12 34 81 81 00 00 00 00 00 00 00 00", "FORMERR");
    assert_eq!(host.daemon().pid(&host.namespaces), daemon);
    let log = host.daemon().log();
    assert!(!log.contains("panicked") && log.lines().count() < 100, "{log}");
}

#[test]
fn a_restart_of_the_daemon_costs_at_most_one_try() {
    let host = host_with(&[]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let db = host.run("busybox").name("db").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    let port = names_port(&host);
    let resolv_conf = web.inspect("{{.ResolvConfPath}}");
    // One try more than the first, as libraries have it; an answer that says no, or nobody there, would end it at once.
    let script = format!(
        "mount --bind {resolv_conf} /etc/resolv.conf
         while [ ! -e /run/enough ]; do
             for name in db plain.test; do getent ahostsv4 $name >/dev/null && echo ok || echo lost; done
         done >/run/heard"
    );
    std::fs::write(host.path("/run/ask"), script).unwrap();
    let pid = web.pid().to_string();
    let _asking =
        host.itself().background(&["nsenter", "--target", &pid, "--net", "unshare", "--mount", "bash", "/run/ask"]);
    let heard = || std::fs::read_to_string(host.path("/run/heard")).unwrap_or_default();
    for end in ["kill", "stop"] {
        let so_far = heard().lines().count();
        until("names are asked", || heard().lines().count() > so_far + 20);
        if end == "kill" {
            host.kill_daemon();
        } else {
            host.stop_daemon();
        }
        host.restart_daemon();
        let so_far = heard().lines().count();
        until("names are answered again", || heard().lines().count() > so_far + 20);
    }
    std::fs::write(host.path("/run/enough"), "").unwrap();
    let heard = heard();
    assert!(!heard.contains("lost"), "{} of {}", heard.matches("lost").count(), heard.lines().count());
    assert_eq!(names_port(&host), port);
    dig(&host, &web, "db").is("NOERROR", &[&format!("db. A {}", db.address())]);
}

#[test]
fn a_port_that_another_program_has_taken_is_replaced() {
    let host = host_with(&[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let (port, own) = (names_port(&host), format!("web. A {}", web.address()));
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    host.stop_daemon();
    let other = host.itself().background(&["nc", "-l", "-k", "-s", "172.17.0.1", "-p", &port.to_string()]);
    until("the port is taken", || host.sh(&format!("ss -Hltn sport = :{port}")).stdout.contains("LISTEN"));
    host.restart_daemon();
    assert_ne!(names_port(&host), port);
    assert!(host.daemon().log().contains("another program has taken the port for names"));
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    dig(&host, &web, "web +tcp").is("NOERROR", &[&own]);

    // The port is what the store says; so is what the host looks like afterwards.
    host.stop_daemon();
    drop(other);
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    store.execute("UPDATE meta SET value = ?1 WHERE key = 'dns_port'", [port]).unwrap();
    drop(store);
    host.restart_daemon();
    assert_eq!(names_port(&host), port);
    dig(&host, &web, "web").is("NOERROR", &[&own]);
}
