//! `pontoon audit assert`, `lint` and `preview`: what should be, what is wider than it need be, what would be.

use crate::harness::{Host, Outcome};

fn shop(flags: &[&str]) -> Host {
    let host = Host::with(flags);
    host.run("busybox").name("db").flags(&["--expose", "5432", "--label", "tier=back"]).sh("httpd -f -p 5432").start();
    host.run("busybox").name("web").flags(&["--link", "db"]).publish("8080:80").serving().start();
    host.run("busybox").name("stranger").cmd(&["sleep", "1000"]).start();
    host
}

fn assert_file(host: &Host, more: &[&str], text: &str) -> Outcome {
    let file = host.dir().join("expected.toml");
    std::fs::write(&file, text).unwrap();
    host.pontoon(&[&["audit", "assert", file.to_str().unwrap()], more].concat())
}

const KEPT: &str = r#"
default = "deny"

[[allow]]
from = "web"
to = "label:tier=back"
ports = ["5432/tcp"]
because = "the shop reads its orders"

[[allow]]
from = ["lan", "outside", "*"]
to = "web"
ports = "80/tcp"

[[deny]]
from = "stranger"
to = "db"
"#;

#[test]
fn expectations_that_hold_and_that_do_not() {
    let host = shop(&["--icc=false"]);
    let kept = assert_file(&host, &[], KEPT);
    assert_eq!(kept.code, 0, "{kept}");
    assert!(kept.stdout.contains("4 of 4 expectations hold"), "{kept}");

    let wrong = assert_file(&host, &[], &KEPT.replace("from = \"stranger\"", "from = \"web\""));
    assert_eq!(wrong.code, 1, "{wrong}");
    assert!(wrong.stdout.contains("web to db on 5432/tcp passes by the link db"), "{wrong}");

    // Real packets say the same.
    let probed = assert_file(&host, &["--probe"], KEPT);
    assert_eq!(probed.code, 0, "{probed}");

    // A port that nobody exposes, asked for by name.
    let other = assert_file(&host, &[], "[[allow]]\nfrom = 'web'\nto = 'db'\nports = '22'\n");
    assert_eq!(other.code, 1, "{other}");
    let nobody = assert_file(&host, &[], "[[deny]]\nfrom = 'wbe'\nto = 'db'\n");
    assert_eq!(nobody.code, 2, "{nobody}");

    // The intent is as before; the kernel is not.
    host.sh("nft 'table ip other { chain f { type filter hook forward priority 10; policy accept; tcp dport 5432 drop; }; }'")
        .ok();
    let drifted = assert_file(&host, &[], KEPT);
    assert_eq!(drifted.code, 3, "{drifted}");
    assert!(drifted.stdout.contains("ip other f"), "{drifted}");
    host.sh("nft delete table ip other").ok();
    assert_eq!(assert_file(&host, &[], KEPT).code, 0);
}

#[test]
fn for_ci() {
    let host = shop(&["--icc=false"]);
    let broken = format!("{KEPT}\n[[deny]]\nfrom = 'lan'\nto = 'web'\n");
    let tap = assert_file(&host, &["--format", "tap"], &broken);
    assert_eq!(tap.code, 1, "{tap}");
    assert!(tap.stdout.starts_with("TAP version 13\n1..5\n") && tap.stdout.contains("\nnot ok 4 - "), "{tap}");
    let junit = assert_file(&host, &["--format", "junit"], &broken).stdout;
    assert!(junit.contains("tests=\"5\" failures=\"1\" errors=\"0\""), "{junit}");
    let sarif = assert_file(&host, &["--format", "sarif"], &broken).stdout;
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 1);
}

#[test]
fn a_file_that_says_nothing_clear_is_refused() {
    let host = Host::new();
    for (text, words) in [
        ("", "line 1: nothing is expected"),
        ("[[alow]]\nfrom = 'a'\nto = 'b'\n", "unknown field `alow`"),
        ("[[allow]]\nfrom = 'a'\nto = 'b'\nports = 'http'\n", "line 1: ports: \"http\""),
    ] {
        let refused = assert_file(&host, &[], text);
        assert_eq!(refused.code, 2, "{refused}");
        assert!(refused.stderr.contains("expected.toml: ") && refused.stderr.contains(words), "{refused}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused}");
    }
    let absent = host.pontoon(&["audit", "assert", "/no/such/file"]);
    assert!(absent.code == 2 && absent.stderr.contains("cannot read /no/such/file"), "{absent}");
}

#[test]
fn holes_that_are_wider_than_their_purpose() {
    let host = shop(&["--icc=false"]);
    let clean = host.pontoon(&["audit", "lint"]);
    assert_eq!((clean.code, clean.stdout.as_str()), (0, "No hole is wider than its purpose.\n"), "{clean}");
    host.run("busybox")
        .name("idle")
        .flags(&["--cap-add", "NET_ADMIN", "--expose", "9"])
        .publish("9000:90")
        .cmd(&["sleep", "1000"])
        .start();
    host.run("busybox").name("side").net("container:web").cmd(&["sleep", "1000"]).start();
    let lint = host.pontoon(&["audit", "lint", "--json"]);
    assert_eq!(lint.code, 1, "{lint}");
    let lint: serde_json::Value = serde_json::from_str(&lint.stdout).unwrap();
    let kinds: Vec<&str> = lint["findings"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["net-admin", "shared-hole", "exposed-unreachable", "published-without-listener"]);
}

#[test]
fn what_a_run_would_change() {
    let host = shop(&["--icc=false"]);
    let before = host.traces();
    let preview = |words: &[&str]| host.pontoon(&[&["audit", "preview"], words].concat());
    let shown = preview(&["--name", "late", "--link", "db:store", "-p", "127.0.0.1:9090:90", "busybox", "sleep", "1"]);
    assert_eq!(shown.code, 0, "{shown}");
    for line in [
        "late (bridge) would change:",
        "+ late -> db: 5432/tcp, by the link \"store\"",
        "-> late: 90/tcp, published at 127.0.0.1:9090",
    ] {
        assert!(shown.stdout.contains(line), "{line:?} in {shown}");
    }
    assert_eq!(host.docker(&["ps", "-aq", "--filter", "name=late"]).ok(), "", "nothing was created");
    host.assert_as(&before);
    // What it said is what comes.
    host.run("busybox")
        .name("late")
        .flags(&["--link", "db:store"])
        .publish("127.0.0.1:9090:90")
        .cmd(&["sleep", "1000"])
        .start();
    let history = host.pontoon(&["audit", "history", "--container", "late"]).ok();
    for line in shown.stdout.lines().skip(1).filter(|line| !line.contains("is on the bridge")) {
        assert!(history.contains(line.trim()), "{line:?} in {history}");
    }

    let joined = preview(&["--net", "container:web", "busybox"]);
    assert!(joined.code == 0 && joined.stdout.contains("at the place of web"), "{joined}");
    assert!(preview(&["--net", "none", "busybox"]).stdout.contains("would have no network"));
    for (words, complaint) in [
        (&["-p", "8080:1", "busybox"][..], "port is already allocated"),
        (&["--name", "web", "busybox"], "is already in use"),
        (&["--link", "nobody", "busybox"], "nobody"),
        (&["nosuchimage"], "nosuchimage"),
    ] {
        let refused = preview(words);
        assert!(refused.code != 0 && refused.stderr.contains(complaint), "{refused}");
    }
    host.assert_as(&host.traces());
}

/// What has no end, or nobody of that name in it, is refused, and not known.
#[test]
fn what_cannot_be_asked_is_not_known() {
    let host = shop(&["--icc=false"]);
    host.pontoon(&["audit", "assert", "/dev/zero"]).complains("neither a file nor a pipe").ends_with(2);
    host.sh("head -c 2000000 /dev/zero | tr '\\0' '#' >/run/long").ok();
    host.pontoon(&["audit", "assert", "/run/long"]).complains("longer than 1 MiB").ends_with(2);
    assert_file(&host, &[], KEPT).ends_with(0);
    host.pontoon(&["audit", "matrix", "--from", "nosuch"]).complains("nosuch").ends_with(2);
    host.pontoon(&["audit", "matrix"]).ends_with(0);
    host.pontoon(&["audit", "probe", "--from", "lan"]).ends_with(2);
}
