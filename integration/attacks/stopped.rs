//! A stranger on the host stops what the daemon has started.

use crate::harness::{Host, until};

/// Stops the next nft of the daemon's as soon as it is there, and leaves its number.
const STOPPER: &str = r#"my $daemon = shift; open(my $ready, ">", "/run/ready");
    while (1) { for my $children (glob "/proc/$daemon/task/*/children") {
        open(my $f, "<", $children) or next; my $line = <$f> // "";
        for my $pid (split " ", $line) {
            open(my $c, "<", "/proc/$pid/comm") or next; (<$c> // "") eq "nft\n" or next;
            kill STOP => $pid; open(my $out, ">", "/run/stopped.new"); print $out $pid; close $out;
            rename "/run/stopped.new", "/run/stopped"; exit
        }
    } }"#;

/// Its transaction waits for ever; those after it do not, and above all not the one that repairs the tables.
#[test]
fn an_nft_that_does_not_end_is_not_waited_for() {
    let host = Host::with(&["--icc=false"]);
    let daemon = host.daemon().pid(&host.namespaces).to_string();
    let _stopper = host.itself().background(&["perl", "-e", STOPPER, &daemon]);
    until("it looks", || host.path("/run/ready").exists());
    // Where the machine has much to do, one is over before it is seen: so several, until one is caught.
    let run = "export DOCKER_HOST=unix:///run/pontoon/pontoon.sock
        for time in {1..100}; do
            docker run --detach --name web --publish 8080:80 busybox httpd -f -h /www; code=$?
            [ ! -e /run/stopped ] || break
            docker rm --force web
        done
        echo $code >/run/code";
    let _run = host.itself().background(&["bash", "-c", run]);
    until("nft is stopped", || host.path("/run/stopped").exists());
    let pid = std::fs::read_to_string(host.path("/run/stopped")).expect("it was written");
    host.sh("nft flush ruleset").ok();
    until("it is said", || host.daemon().log().contains("nft does not end"));
    until("it is killed", || !host.path(&format!("/proc/{pid}")).exists());
    let tables = || host.sh("nft list tables").ok().matches("pontoon-pontoon0").count();
    until("the tables are back", || tables() == 3);
    // The start has only taken longer.
    until("the container runs", || host.path("/run/code").exists());
    let code = std::fs::read_to_string(host.path("/run/code")).expect("it was written");
    assert_eq!(code.trim(), "0");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}
