//! Elements that are holes count who uses them: `audit why` tells it, and `audit lint` which were never used.

use crate::harness::{Container, Host, until};

/// `database` serves on 5432; `front` has a link to it and a published port, and so has `idle`.
struct Shop<'h> {
    host: &'h Host,
    front: Container<'h>,
}

impl<'h> Shop<'h> {
    fn open(host: &'h Host) -> Self {
        host.run("busybox").name("database").flags(&["--expose", "5432"]).sh("httpd -f -h /www -p 5432").start();
        let linked = |name: &str, port: &str| {
            let run = host.run("busybox").name(name).flags(&["--link", "database:store"]);
            run.publish(port).serving().start()
        };
        let front = linked("front", "8080:80");
        linked("idle", "9090:80");
        Self { host, front }
    }

    /// A connection by the link, and one by the published port.
    fn is_used(&self) {
        until("the database answers", || self.front.sh("nc -w 1 store 5432 </dev/null").code == 0);
        assert_eq!(self.host.lan().get("http://192.0.2.1:8080/"), "hello");
    }

    /// What was never used, for at least this long: the exit code, and what it is, by its first words.
    fn unused(&self, age: &str) -> (i32, Vec<String>) {
        let lint = self.host.pontoon(&["audit", "lint", "--json", "--unused-for", age]);
        let json: serde_json::Value = serde_json::from_str(&lint.stdout).expect("it speaks JSON");
        let findings = json["findings"].as_array().expect("a list").iter();
        let told = findings.map(|finding| {
            assert_eq!(finding["kind"], "never-used", "{lint}");
            let what = finding["what"].as_str().expect("words");
            what.split(", and ").next().unwrap_or_default().to_owned()
        });
        let mut told: Vec<String> = told.collect();
        told.sort_unstable();
        (lint.code, told)
    }

    /// The element and what it counted, as `why` has them in JSON.
    fn hits(&self, from: &str, to: &str, port: &str) -> (String, u64) {
        let why = self.host.pontoon(&["audit", "why", from, to, port, "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&why.ok()).expect("it speaks JSON");
        let ways = json["ways"].as_array().expect("a list").iter();
        let mut counting = ways.filter(|way| way["cell"]["kernel"] == "allow").map(|way| &way["decider"]);
        let decider = counting.next().expect("it may");
        let element = decider["element"].as_str().expect("an element").to_owned();
        let hits = decider["hits"].as_u64().unwrap_or_else(|| panic!("{element} does not count"));
        (element, hits)
    }
}

const LINK: &str = "idle has a link to database (store)";
const ROW: &str = "idle publishes 80/tcp on 0.0.0.0:9090";

/// What was counted is no difference either, and a daemon that comes back leaves it.
#[test]
fn what_is_used_is_counted_whatever_becomes_of_the_daemon() {
    let host = Host::with(&["--icc=false"]);
    let shop = Shop::open(&host);
    assert_eq!(shop.hits("front", "database", "5432").1, 0);
    shop.is_used();
    let (link, row) = (shop.hits("front", "database", "5432"), shop.hits("lan", "front", "80"));
    assert!(link.0.starts_with("@linked { ") && link.1 > 0, "{link:?}");
    assert!(row.0 == "@published_any_address { tcp . 8080 }" && row.1 > 0, "{row:?}");
    assert_eq!(shop.hits("idle", "database", "5432").1, 0);
    assert_eq!(shop.hits("lan", "idle", "80").1, 0);
    let words = host.pontoon(&["audit", "why", "front", "database", "5432"]).ok();
    assert!(words.contains(&format!("  hits     {} connection attempt", link.1)), "{words}");
    let words = host.pontoon(&["audit", "why", "lan", "idle", "80"]).ok();
    assert!(words.contains("  hits     none: nobody has used it"), "{words}");
    for restarted in [false, true] {
        if restarted {
            host.kill_daemon();
            host.restart_daemon();
        }
        assert_eq!(shop.hits("front", "database", "5432"), link);
        assert_eq!(shop.hits("lan", "front", "80"), row);
        let drift = host.pontoon(&["audit", "drift"]);
        assert_eq!(drift.code, 0, "{drift}");
    }
}

#[test]
fn holes_that_are_used_are_told_from_those_that_never_were() {
    let host = Host::with(&["--icc=false"]);
    let shop = Shop::open(&host);
    let all = ["front has a link to database (store)", "front publishes 80/tcp on 0.0.0.0:8080", LINK, ROW];
    assert_eq!(shop.unused("0s"), (1, all.map(str::to_owned).to_vec()));
    shop.is_used();
    let idle = || (1, vec![LINK.to_owned(), ROW.to_owned()]);
    assert_eq!(shop.unused("0s"), idle());
    assert_eq!(shop.unused("24h"), (0, vec![]), "they are too young to tell");
    assert_eq!(host.pontoon(&["audit", "lint"]).code, 0, "as by default");
    let wrong = host.pontoon(&["audit", "lint", "--unused-for", "soon"]);
    assert!(wrong.code != 0 && wrong.stderr.contains("invalid unused-for \"soon\""), "{wrong}");
    host.kill_daemon();
    host.restart_daemon();
    assert_eq!(shop.unused("0s"), idle());
}

/// They begin at nothing then, and so does the time for which nobody has used them.
#[test]
fn tables_that_are_written_anew_count_anew() {
    let host = Host::with(&["--icc=false"]);
    let shop = Shop::open(&host);
    shop.is_used();
    let since = || -> String {
        let lint = host.pontoon(&["audit", "lint", "--unused-for", "0s"]);
        let line = lint.stdout.lines().find(|line| line.contains(ROW)).expect("it is told").to_owned();
        line.rsplit_once("since ").expect("since when").1.to_owned()
    };
    let before = since();
    host.kill_daemon();
    host.restart_daemon();
    assert_eq!(since(), before, "a daemon that finds them as they were left knows since when");
    until("a second goes by", || host.sh("date -u +%FT%TZ.").ok() > before);
    host.sh("nft flush set inet pontoon-pontoon0 linked").ok();
    until("all is written anew", || shop.unused("0s").1.len() == 4);
    assert!(since() > before, "{} {before}", since());
    assert_eq!(shop.hits("front", "database", "5432").1, 0);
    shop.is_used();
    assert_eq!(shop.unused("0s").1, [LINK, ROW]);
}

#[test]
fn with_icc_links_open_nothing_and_are_not_told() {
    let host = Host::with(&["--icc=true"]);
    let shop = Shop::open(&host);
    let lint = host.pontoon(&["audit", "lint", "--unused-for", "0s"]);
    let told: Vec<&str> = lint.stdout.lines().filter(|line| line.contains("never-used")).collect();
    assert!(told.len() == 2 && told.iter().all(|line| line.contains("publishes 80/tcp")), "{lint}");
    shop.is_used();
    let lint = host.pontoon(&["audit", "lint", "--unused-for", "0s"]).stdout;
    assert!(lint.contains(ROW) && lint.matches("never-used").count() == 1, "{lint}");
}
