//! The bridge as its options say; and options that cannot be.

use crate::harness::{Host, Outcome, until};

#[test]
fn bip_fixed_cidr_and_mtu_show_inside() {
    let host = Host::with(&["--bip", "192.168.0.128/25", "--fixed-cidr", "192.168.0.192/26", "--mtu", "1200"]);
    for _ in 0..2 {
        let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
        let address: std::net::Ipv4Addr = container.address().parse().unwrap();
        assert!(address.octets()[..3] == [192, 168, 0] && address.octets()[3] >= 192, "{address}");
        let inside = container.sh("ip -o -4 addr show eth0; cat /sys/class/net/eth0/mtu; ip route").ok();
        assert!(inside.contains(&format!("{address}/25")), "{inside}");
        assert!(inside.contains("\n1200\n"), "{inside}");
        let gateway = container.inspect("{{.NetworkSettings.Networks.bridge.Gateway}}");
        assert!(inside.contains(&format!("default via {gateway} ")), "{inside}");
        container.exec(&["ping", "-c1", "-W2", &gateway]).ok();
        container.exec(&["ping", "-c1", "-W2", "192.0.2.2"]).ok();
        // The path's MTU holds: what is larger does not fit.
        container.exec(&["ping", "-c1", "-W2", "-s", "1172", &gateway]).ok();
    }
    let bridge = host.sh("ip -o -4 addr show pontoon0; ip -o link show pontoon0").ok();
    assert!(bridge.contains("192.168.0.129/25") && bridge.contains("mtu 1200"), "{bridge}");
    assert!(
        host.sh("ip -o link show type veth")
            .ok()
            .lines()
            .filter(|it| it.contains("pontoon0"))
            .all(|it| it.contains("mtu 1200"))
    );
}

/// Below 1280 the kernel takes IPv6 from an interface, and gives it anew with an MTU above that.
#[test]
fn a_larger_mtu_is_no_change_by_another_program() {
    let mut host = Host::bare();
    let file = host.dir().join("daemon.json");
    let write = |mtu: u32| std::fs::write(&file, format!("{{\"mtu\": {mtu}}}")).unwrap();
    write(1200);
    host.start_daemon(&["--config-file", &file.display().to_string()]);
    host.stop_daemon();
    write(1500);
    host.restart_daemon();
    assert!(host.sh("ip -o link show pontoon0").ok().contains("mtu 1500"));
    let parameters = "sysctl -n net.ipv6.conf.pontoon0.disable_ipv6 net.ipv6.conf.pontoon0.accept_ra";
    assert_eq!(host.sh(parameters).ok(), "1\n0");
    // The watch has looked at all there is once it has heard of something that was really changed.
    host.sh("sysctl -w net.ipv4.conf.pontoon0.accept_local=1").ok();
    until("the watch looks", || host.daemon().log().contains("set net.ipv4.conf.pontoon0.accept_local to 1"));
    let log = host.daemon().log();
    assert_eq!(log.matches("by another program").count(), 1, "{log}");
    assert!(host.sh("ip -6 address show dev pontoon0").ok().is_empty());
}

#[test]
fn addresses_come_back_only_when_all_were_used() {
    let host = Host::with(&["--bip", "10.9.0.1/24", "--fixed-cidr", "10.9.0.8/29"]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
        seen.push(container.address());
        container.verb(&["rm", "--force"]).ok();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "a released address was used again while others were free: {seen:?}");
}

#[test]
fn an_exhausted_subnet_says_so_and_recovers() {
    let host = Host::with(&["--bip", "10.9.0.1/30"]);
    let only = host.run("busybox").cmd(&["sleep", "1000"]).start();
    assert_eq!(only.address(), "10.9.0.2");
    let before = host.traces();
    let next = host.run("busybox").flags(&["--rm"]).cmd(&["true"]).attempt();
    next.complains("no available IPv4 addresses").ends_with(125);
    host.assert_as(&before);
    only.verb(&["rm", "--force"]).ok();
    host.run("busybox").sh("ip -o -4 addr show eth0").once().ok();
}

#[test]
fn a_bridge_that_exists_is_used_as_it_is() {
    let mut host = Host::bare();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.start_daemon(&["--bridge", "br7"]);
    let container = host.run("busybox").publish("8080:80").serving().start();
    assert!(container.address().starts_with("10.7.0."), "{}", container.address());
    assert!(host.sh("ip -o link show master br7").ok().contains("veth"));
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    host.sh("! ip link show pontoon0").ok();
    // Neighbours know it by its hardware address, which must not come and go with a port's.
    let mac = |bridge: &str| host.sh(&format!("ip -brief link show {bridge} | tr -s ' ' | cut -d' ' -f3")).ok();
    let low = |bridge: &str, name: &str| {
        let make = format!("ip link add {name} address 02:00:00:00:00:01 type veth peer name {name}-peer");
        host.sh(&format!("{make} && ip link set {name} master {bridge}")).ok();
    };
    let before = mac("br7");
    low("br7", "low7");
    assert_eq!(mac("br7"), before);
    host.sh("ip link add br8 type bridge").ok();
    low("br8", "low8");
    assert_eq!(mac("br8"), "02:00:00:00:00:01", "a bridge that was left alone");
    host.sh("ip link del low7 && ip link del low8 && ip link del br8").ok();
}

/// With `--icc=false` the host answers ARP for containers to containers, and not to a whole LAN behind another port.
#[test]
fn neighbours_on_an_operators_bridge_are_answered_for_by_themselves() {
    let mut host = Host::bare();
    host.bridge_the_lan();
    host.start_daemon(&["--bridge", "br7", "--fixed-cidr", "192.0.2.128/25", "--icc=false", "--repair=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    let web = host.run("busybox").flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    assert_eq!(web.exec(&["wget", "-qO-", "http://db/"]).ok(), "hello", "containers are answered");
    let answers = |address: &str| {
        let asked = host.lan().sh(&format!("busybox arping -c 1 -w 2 -I eth0 {address}")).stdout;
        asked.lines().filter(|line| line.contains("reply from")).map(str::to_owned).collect::<Vec<_>>()
    };
    const NOBODY: &str = "192.0.2.77";
    assert_eq!(answers(NOBODY), Vec::<String>::new());
    let of_db = answers(&db.address());
    assert!(of_db.iter().all(|it| it.contains("[02:42:")) && of_db.len() == 1, "by itself: {of_db:?}");
    host.sh("ip address add 192.0.2.50/24 dev br7").ok();
    assert_eq!((answers("192.0.2.1").len(), answers("192.0.2.50").len()), (1, 1), "the host answers for itself");

    host.sh("ip rule del priority 1").ok();
    assert_eq!(answers(NOBODY).len(), 1, "control: it is the rule that keeps it from that");
    let drift = host.pontoon(&["audit", "drift"]);
    assert!(drift.code == 3 && drift.stdout.contains("bridge-rule-missing"), "{drift}");
    host.pontoon(&["audit", "drift", "--repair"]).ok();
    assert_eq!(answers(NOBODY), Vec::<String>::new());
}

#[test]
fn the_rule_for_strangers_requests_comes_back_and_goes_with_its_option() {
    let mut host = Host::bare();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.start_daemon(&["--bridge", "br7", "--icc=false"]);
    let rule = || host.sh("ip rule").ok().contains("iif br7 unreachable");
    assert!(rule());
    host.sh("ip rule del priority 1").ok();
    until("the rule is back", rule);
    host.stop_daemon();
    assert!(rule(), "containers live on");
    host.start_second_daemon(&["--bridge", "br7"]);
    assert!(!host.sh("ip rule").ok().contains("iif br7"), "with --icc=true there is no need for it");
}

#[test]
fn our_bridge_is_adopted_if_it_stands_already() {
    let host = Host::new();
    let container = host.run("busybox").publish("8080:80").serving().start();
    let link = host.sh("ip -o link show pontoon0 | cut -d: -f1").ok();
    host.stop_daemon();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "while no daemon runs");
    host.restart_daemon();
    assert_eq!(host.sh("ip -o link show pontoon0 | cut -d: -f1").ok(), link);
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    container.exec(&["ping", "-c1", "-W2", "172.17.0.1"]).ok();
}

#[test]
fn the_default_subnet_avoids_the_hosts_routes() {
    let mut host = Host::bare();
    host.sh("ip route add 172.17.0.0/16 via 192.0.2.2 && ip route add 172.18.5.0/24 via 192.0.2.2").ok();
    host.start_daemon(&[]);
    let address = host.run("busybox").cmd(&["sleep", "1000"]).start().address();
    assert!(address.starts_with("172.19."), "{address}");
}

#[test]
fn two_daemons_side_by_side() {
    let mut host = Host::new();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.start_second_daemon(&["--bridge", "br7"]);

    let first = host.run("busybox").name("web").hostname("first").publish("8080:80").serving().start();
    let words =
        ["run", "-d", "--name", "web", "--hostname", "second", "-p", "8081:80", "busybox", "httpd", "-f", "-h", "/www"];
    let second = host.docker_second(&words).ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/cgi-bin/whoami"), "first asked by 192.0.2.2");
    assert_eq!(host.lan().get("http://192.0.2.1:8081/cgi-bin/whoami"), "second asked by 192.0.2.2");
    // Each knows its own only.
    assert_eq!(host.docker(&["ps", "-aq", "--no-trunc"]).ok(), first.id);
    assert_eq!(host.docker_second(&["ps", "-aq", "--no-trunc"]).ok(), second);
    // Ports are the host's: who comes second is told.
    let taken = ["run", "-d", "--rm", "-p", "8080:80", "busybox", "true"];
    assert!(host.docker_second(&taken).fails(125).contains("8080"));
    // The end of one is none of the other's business.
    host.stop_daemon();
    assert_eq!(host.lan().get("http://192.0.2.1:8081/"), "hello");
    host.restart_daemon();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}

#[test]
fn without_a_bridge_other_archetypes_work() {
    let host = Host::with(&["--bridge", "none"]);
    host.sh("! ip link show pontoon0").ok();
    host.run("busybox").net("none").cmd(&["true"]).once().ok();
    host.run("busybox").net("host").cmd(&["true"]).once().ok();
    host.run("busybox").net("bridge").cmd(&["true"]).once().ends_with(125);
}

/// One line on stderr that names the option, exit code 1.
#[track_caller]
fn refused(outcome: &Outcome, words: &[&str]) {
    let line = outcome.fails(1);
    assert_eq!(line.lines().count(), 1, "one line: {outcome}");
    for word in words {
        assert!(line.contains(word), "should name {word:?}: {outcome}");
    }
}

#[test]
fn options_that_cannot_be_are_refused_before_anything_is_made() {
    let host = Host::bare();
    // Whether a carrier is there yet is the kernel's business.
    let made = || host.sh("ip -o link | cut -d: -f1,2; ip -o -4 address; nft list ruleset; ls /run").ok();
    let before = made();
    let file = |name: &str, text: &str| {
        let path = host.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let unknown = file("unknown.json", r#"{"bip": "10.9.0.1/24", "no-such-key": 1}"#);
    let conflict = file("conflict.json", r#"{"mtu": 1300}"#);
    let broken = file("broken.json", r#"{"mtu": 1300"#);
    let wrong = file("wrong.json", r#"{"mtu": "large"}"#);

    for (flags, words) in [
        (
            ["--bridge", "br7", "--bip", "10.9.0.1/24"].as_slice(),
            ["You specified -b & --bip, mutually exclusive options. Please specify only one"].as_slice(),
        ),
        (&["--bip", "10.9.0.1"], &["bip", "10.9.0.1"]),
        (&["--bip", "10.9.0.300/24"], &["bip", "10.9.0.300/24"]),
        (&["--bip", "10.9.0.1/24", "--fixed-cidr", "10.8.0.0/25"], &["fixed-cidr", "10.8.0.0/25"]),
        (&["--mtu", "20"], &["mtu", "20"]),
        (&["--mtu", "many"], &["mtu", "many"]),
        (&["--ip", "here"], &["ip", "here"]),
        (&["--dns", "not-an-address"], &["dns", "not-an-address"]),
        (&["--log-level", "loud"], &["log-level", "loud"]),
        (&["--icc=perhaps"], &["icc", "perhaps"]),
        (&["--no-such-option"], &["--no-such-option"]),
        (&["--bridge", "br-that-is-not-there"], &["br-that-is-not-there"]),
        (&["--config-file", &unknown], &["no-such-key"]),
        (&["--config-file", &conflict, "--mtu", "1400"], &["mtu", "1300", "1400"]),
        (&["--config-file", &broken], &["broken.json"]),
        (&["--config-file", &wrong], &["mtu"]),
        (&["--config-file", "/no/such/file.json"], &["/no/such/file.json"]),
        (&["--host", "tcp://0.0.0.0:2375"], &["tcp://0.0.0.0:2375"]),
        (&["--group", "nosuchgroup"], &["nosuchgroup"]),
        (&["--mtu", "-5"], &["mtu"]),
    ] {
        refused(&host.refused_daemon(flags), words);
        assert_eq!(made(), before, "{flags:?}");
    }
}

#[test]
fn the_file_says_what_flags_can_say() {
    let mut host = Host::bare();
    let path = host.dir().join("daemon.json");
    std::fs::write(&path, r#"{"bip": "10.9.0.1/24", "mtu": 1300, "dns": ["192.0.2.2"], "icc": true}"#).unwrap();
    host.start_daemon(&["--config-file", &path.display().to_string()]);
    let text = host.run("busybox").sh("cat /sys/class/net/eth0/mtu; ip route; cat /etc/resolv.conf").once().ok();
    assert!(text.contains("1300") && text.contains("via 10.9.0.1") && text.contains("nameserver 10.9.0.1"), "{text}");
}

#[test]
fn a_second_daemon_on_the_same_roots_is_refused() {
    let host = Host::new();
    let again = host.daemon().attempt(&host.namespaces);
    assert_eq!(again.code, 1, "{again}");
    host.run("busybox").cmd(&["true"]).once().ok();
}

/// Its containers would be leftovers to the other.
#[test]
fn a_second_daemon_on_the_same_bridge_is_refused() {
    let host = Host::new();
    host.run("busybox").name("web").hostname("first").publish("8080:80").serving().start();
    for bridge in [&[][..], &["--bridge", "pontoon0"]] {
        let refused = host.refused_daemon(bridge);
        refused.ends_with(1).complains("another pontoon daemon uses the bridge pontoon0: stop it, or");
        assert_eq!(host.lan().get("http://192.0.2.1:8080/cgi-bin/whoami"), "first asked by 192.0.2.2");
    }
}

#[test]
fn check_says_what_the_machine_has() {
    let host = Host::bare();
    let report = host.sh(&format!("{} check", crate::harness::pontoon_binary().display()));
    let text = report.ok();
    for word in ["nft", "overlay", "control groups", "bridge"] {
        assert!(text.to_lowercase().contains(word), "nothing about {word}: {report}");
    }
    // Without nft the daemon could not run.
    let without = host.sh(&format!(
        "mount --bind /dev/null /usr/sbin/nft; {} check; code=$?; umount /usr/sbin/nft; exit $code",
        crate::harness::pontoon_binary().display()
    ));
    assert_eq!(without.code, 1, "{without}");
    assert!(without.stdout.contains("nft"), "{without}");
}
