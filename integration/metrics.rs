//! Metrics for Prometheus: on the API's socket, and where `--metrics-addr` says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::packets::frame::{BROADCAST, IPV4, Ipv4, ethernet};
use crate::harness::{Host, not_run, until};

const DOCUMENT: &str = include_str!("../docs/metrics.md");
const WAITS: [&str; 2] = ["sleep", "1000"];

/// The page on the API's socket.
#[track_caller]
fn scrape(host: &Host) -> String {
    let (status, page) = host.api("GET", "/metrics", "");
    assert_eq!(status, 200, "{page}");
    page.as_str().expect("text").to_owned()
}

/// A sample's value; 0 if it is not there.
fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Samples without their values: what the page tells of.
fn samples(page: &str) -> BTreeSet<&str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(sample, _)| sample).collect()
}

#[test]
fn numbers_move_on_both_ways() {
    let host = Host::with(&["--icc=false", "--metrics-addr", ":9323"]);
    let by_http = || host.itself().get("http://127.0.0.1:9323/metrics");
    let before = scrape(&host);
    for name in ["pontoon_containers{state=\"running\"}", "pontoon_endpoints", "pontoon_dns_queries_total"] {
        assert!(before.contains(&format!("\n{name} 0\n")), "{name}: {before}");
    }
    let starts = "pontoon_container_start_duration_seconds_count{result=\"success\"}";
    let failures = "pontoon_container_start_duration_seconds_count{result=\"failure\"}";
    let commits = "pontoon_firewall_commit_duration_seconds_count{result=\"success\"}";
    let mallory = host.run("busybox").name("mallory").publish("8080:80").cmd(&WAITS).start();
    let linked = host.run("busybox").flags(&["--link", "mallory"]).cmd(&WAITS).start();
    assert_ne!(host.run("busybox").cmd(&["/nothing/there"]).attempt().code, 0);
    linked.exec(&["nslookup", "mallory"]);

    let station = host.station(&mallory);
    let lie = ethernet(station.mac, BROADCAST, IPV4, &Ipv4::new([172, 17, 0, 99].into(), station.ip).udp(9, 9, b""));
    (0..3).for_each(|_| station.sends(&lie));
    let denied = "pontoon_container_denied_packets_total{container=\"mallory\",cause=\"spoofed-ip\"}";
    until("three lies are counted", || value(&scrape(&host), denied) == 3.0);
    for page in [scrape(&host), by_http()] {
        assert_eq!(value(&page, starts), 2.0, "{page}");
        assert_eq!(value(&page, failures), 1.0, "{page}");
        assert!(value(&page, commits) > value(&before, commits), "{page}");
        assert_eq!(value(&page, "pontoon_endpoints"), 2.0);
        assert_eq!(value(&page, "pontoon_containers{state=\"running\"}"), 2.0);
        assert_eq!(value(&page, "pontoon_denied_packets_total{cause=\"spoofed-ip\"}"), 3.0);
        assert_eq!(value(&page, "pontoon_firewall_elements{family=\"inet\",set=\"endpoints\"}"), 2.0);
        assert_eq!(value(&page, "pontoon_firewall_elements{family=\"inet\",set=\"published_any_port\"}"), 1.0);
        assert!(value(&page, "pontoon_firewall_elements{family=\"inet\",set=\"linked_pairs\"}") >= 1.0, "{page}");
        assert!(value(&page, "pontoon_dns_queries_total") >= 1.0, "{page}");
        assert!(value(&page, "pontoon_dns_answers_total{source=\"local\"}") >= 1.0, "{page}");
        assert_eq!(value(&page, "pontoon_denied_packets_listening"), 1.0);
    }
    assert_eq!(samples(&scrape(&host)), samples(&by_http()), "both ways tell the same");
    assert!(host.itself().sh("curl -s --noproxy '*' http://127.0.0.1:9323/info").ok().contains("nothing here"));

    // What somebody else changes is drift, and put right.
    host.sh("nft delete table inet pontoon-pontoon0").ok();
    until("it was found and put right", || {
        let page = scrape(&host);
        value(&page, "pontoon_drift_found_total{subject=\"rule\"}") >= 1.0
            && value(&page, "pontoon_drift_repaired_total{subject=\"rule\"}") >= 1.0
    });
    checked(&by_http());
}

/// By the document, and by Prometheus' own tool where it is installed.
fn checked(page: &str) {
    let told: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let explained: Vec<String> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `pontoon_"))
        .filter_map(|row| row.split_once("` | "))
        .map(|(name, rest)| format!("pontoon_{name} {}", rest.split(' ').next().unwrap_or_default()))
        .collect();
    assert_eq!(told, explained.iter().map(String::as_str).collect(), "the page and docs/metrics.md");
    #[expect(clippy::disallowed_methods, reason = "tests type commands, as people do")]
    let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        return not_run("promtool check metrics: promtool (Debian's package prometheus) is not installed");
    };
    let mut stdin = promtool.stdin.take().expect("it is piped");
    writeln!(stdin, "{page}").expect("it reads");
    drop(stdin);
    assert!(promtool.wait().expect("it ends").success(), "promtool does not like the page");
}

#[test]
fn they_are_for_the_host_alone_unless_said() {
    let url = "http://192.0.2.1:9323/metrics";
    let host = Host::with(&["--metrics-addr", ":9323"]);
    assert!(host.itself().get("http://127.0.0.1:9323/metrics").contains("pontoon_build_info"));
    host.lan().cannot_get(url);
    host.itself().cannot_get(url);
    let container = host.run("busybox").cmd(&WAITS).start();
    for address in ["172.17.0.1", "192.0.2.1"] {
        assert_ne!(container.exec(&["wget", "-qO-", "-T", "2", &format!("http://{address}:9323/metrics")]).code, 0);
    }
    // The control: where it is said, they are there for all.
    let host = Host::with(&["--metrics-addr", "0.0.0.0:9323"]);
    assert!(host.lan().get(url).contains("pontoon_build_info"));
    // And by default there is no such place.
    let host = Host::new();
    host.itself().cannot_get("http://127.0.0.1:9323/metrics");
    assert!(scrape(&host).contains("pontoon_build_info"));
}

#[test]
fn a_place_that_is_taken_is_named() {
    let host = Host::bare();
    let _other = host.itself().listens("127.0.0.1:9323");
    let refused = host.refused_daemon(&["--metrics-addr", "127.0.0.1:9323"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("cannot serve metrics at 127.0.0.1:9323 (--metrics-addr)"), "{refused}");
}
