use clap::Parser;

use super::*;

#[derive(Parser)]
struct Daemon {
    #[command(flatten)]
    args: DaemonArgs,
}

/// Flags as a shell would split them, and the text of daemon.json.
fn load(flags: &str, file: &str) -> Result<Config, String> {
    let words = std::iter::once("daemon").chain(flags.split_whitespace());
    let daemon = Daemon::try_parse_from(words).map_err(|error| error.to_string())?;
    Config::from_parts(&daemon.args.options, file).map_err(|error| error.to_string())
}

fn config(flags: &str, file: &str) -> Config {
    load(flags, file).expect("a valid configuration")
}

fn error(flags: &str, file: &str) -> String {
    let error = load(flags, file).expect_err("an error");
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    error
}

#[test]
fn defaults() {
    let c = config("", "{}");
    assert_eq!(c.data_root, Path::new("/var/lib/pontoon"));
    assert_eq!(c.hosts, [Path::new("/run/pontoon/pontoon.sock")]);
    assert_eq!(c.pidfile, Path::new("/run/pontoon/pontoon.pid"));
    assert_eq!(c.bridge, BridgeChoice::Own("pontoon0".into()));
    assert_eq!((c.mtu, c.icc, c.ip_forward, c.ip_masq), (1500, true, true, true));
    assert_eq!(c.default_ip.to_string(), "0.0.0.0");
    assert_eq!((c.runtime.as_str(), c.log_driver.as_str(), c.log_level), ("integrated", "json-file", LogLevel::Info));
    assert!(c.warnings.is_empty());
}

#[test]
fn a_daemon_with_its_own_roots_has_its_own_socket_and_pidfile() {
    let c = config("--exec-root /run/two//", "{}");
    assert_eq!(c.hosts, [Path::new("/run/two/pontoon.sock")]);
    assert_eq!(c.pidfile, Path::new("/run/two/pontoon.pid"));
}

#[test]
fn flags_and_file_mean_the_same() {
    let flags = config(
        "--data-root /d --exec-root /e -H unix:///a -H unix:///b -p /p -G docker -D --bip 10.1.0.1/16 \
         --fixed-cidr 10.1.2.0/24 --mtu 1200 --ip 127.0.0.1 --ip-forward=false --ip-masq=0 --icc=false --dns 1.1.1.1 \
         --dns 8.8.8.8 --dns-search example.org --dns-opt ndots:2 --default-runtime runc --cgroup-parent park \
         --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 --default-ulimit nofile=10:20 \
         --default-address-pool base=172.30.0.0/16,size=24 --live-restore=false --userland-proxy",
        "{}",
    );
    let file = config(
        "",
        r#"{
            "data-root": "/d", "exec-root": "/e", "hosts": ["unix:///a", "unix:///b"], "pidfile": "/p",
            "group": "docker", "debug": true, "bip": "10.1.0.1/16", "fixed-cidr": "10.1.2.0/24", "mtu": 1200,
            "ip": "127.0.0.1", "ip-forward": false, "ip-masq": false, "icc": false, "dns": ["1.1.1.1", "8.8.8.8"],
            "dns-search": ["example.org"], "dns-opts": ["ndots:2"], "default-runtime": "runc",
            "cgroup-parent": "park", "log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"},
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}},
            "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
            "live-restore": false, "userland-proxy": true
        }"#,
    );
    assert_eq!(flags, file);
    assert_eq!(flags.log_level, LogLevel::Debug);
    assert_eq!(flags.default_ulimits, [("nofile".to_owned(), 10, 20)]);
    assert_eq!(flags.warnings.len(), 2);
}

#[test]
fn empty_strings_and_a_zero_mtu_are_the_defaults() {
    let file = r#"{"bip": "", "bridge": "", "fixed-cidr": "", "mtu": 0, "dns": [], "group": "", "log-level": ""}"#;
    assert_eq!(config("", file), config("", "{}"));
}

#[test]
fn booleans_as_go_takes_them() {
    for (flag, value) in [("--icc", true), ("--icc=true", true), ("--icc=T", true), ("--icc=false", false)] {
        assert_eq!(config(flag, "{}").icc, value, "{flag}");
    }
    assert!(load("--icc=maybe", "{}").expect_err("no boolean").contains("--icc"));
    assert!(load("--icc false", "{}").is_err(), "a value must be joined by =");
}

#[test]
fn flags_and_file_may_agree_but_not_differ() {
    assert_eq!(config("--mtu 1400", r#"{"mtu": 1400}"#).mtu, 1400);
    let same = config("--dns 1.1.1.1", r#"{"dns": ["1.1.1.1"], "mtu": 1400}"#);
    assert_eq!((same.dns.len(), same.mtu), (1, 1400));
    assert_eq!(
        error("--mtu 1200 --icc=false --dns 1.1.1.1", r#"{"mtu": 1400, "icc": true, "dns": ["8.8.8.8", "9.9.9.9"]}"#),
        "the following directives are specified both as a flag and in the configuration file: \
         mtu: (from flag: 1200, from file: 1400), icc: (from flag: false, from file: true), \
         dns: (from flag: [1.1.1.1], from file: [8.8.8.8 9.9.9.9])"
    );
}

#[test]
fn errors_in_the_file_name_the_key() {
    for (file, words) in [
        (r#"{"mtuu": 1, "mtu": 1200, "foo": 2}"#, "don't match any configuration option: foo, mtuu"),
        (r#"{"mtu": "1200"}"#, "mtu: invalid type"),
        (r#"{"dns": "1.1.1.1"}"#, "dns: invalid type"),
        (r#"{"icc": "false"}"#, "icc: invalid type"),
        (r#"{"default-ulimits": {"nofile": {"Soft": 1}}}"#, "default-ulimits: missing field `Hard`"),
        (r#"{"log-opts": {"max-file": 3}}"#, "log-opts: invalid type"),
        ("[]", "not a JSON object"),
        ("{", "not a JSON object"),
    ] {
        let error = error("", file);
        assert!(error.contains(words), "{file}: {error}");
    }
}

#[test]
fn values_that_cannot_be_meant() {
    for (flags, words) in [
        ("-b br0 --bip 10.0.0.1/24", "You specified -b & --bip, mutually exclusive options. Please specify only one"),
        ("-b none --bip 10.0.0.1/24", "You specified -b & --bip"),
        ("--bip 10.0.0.255/24", "bip: "),
        ("--bip 10.0.0.1", "bip: invalid CIDR"),
        ("--bip 10.0.0.1/33", "bip: invalid CIDR"),
        ("--bip 10.0.0.1/31", "bip: "),
        ("--bip 127.0.0.1/8", "bip: "),
        ("--bip fd00::1/64", "bip: invalid CIDR address \"fd00::1/64\": only IPv4"),
        ("--bip 10.0.0.1/24 --fixed-cidr 10.0.1.0/25", "fixed-cidr: "),
        ("--bip 10.0.0.1/24 --fixed-cidr 10.0.0.0/23", "fixed-cidr: "),
        ("--fixed-cidr 10.0.0.0", "fixed-cidr: "),
        ("--mtu 67", "mtu: 67"),
        ("--history-entries 99", "history-entries: 99"),
        ("--history-entries -1", "history-entries: -1"),
        ("--mtu 65536", "mtu: 65536"),
        ("-b a-name-of-16-byte", "bridge: "),
        ("-b br*", "bridge: "),
        ("-b a/b", "bridge: "),
        ("-b ..", "bridge: "),
        ("--data-root var", "data-root: "),
        ("--data-root /x --exec-root /x/", "exec-root: "),
        ("--pidfile p", "pidfile: "),
        ("-H tcp://0.0.0.0:2375", "host: \"tcp://0.0.0.0:2375\": the API is served on unix sockets only"),
        ("-H fd://", "host: "),
        ("-H /run/x.sock", "host: "),
        ("-H unix://run/x.sock", "host: "),
        ("--ip nowhere", "ip: "),
        ("--dns example.org", "dns: "),
        ("--dns-search a..b", "dns-search: "),
        ("--dns-opt=", "dns-opt: "),
        ("--dns-opt a#b", "dns-opt: "),
        ("--cgroup-parent a/../b", "cgroup-parent: "),
        ("--cgroup-parent a*", "cgroup-parent: "),
        ("--log-level loud", "log-level: "),
        ("--metrics-addr 127.0.0.1", "metrics-addr: \"127.0.0.1\": expected ADDRESS:PORT"),
        ("--metrics-addr :0", "metrics-addr: "),
        ("--metrics-addr nowhere:9323", "metrics-addr: "),
        ("--metrics-addr ::1:9323", "metrics-addr: "),
        ("--log-driver syslog", "log-driver: "),
        ("--log-opt size=1", "log-opt: unknown log opt"),
        ("--log-opt max-size=big", "log-opt: max-size"),
        ("--log-opt max-file=0", "log-opt: max-file"),
        ("--default-ulimit nofile=2:1", "default-ulimit: "),
        ("--default-address-pool base=10.0.0.0/16", "default-address-pool: "),
        ("--default-address-pool base=10.0.0.0/16,size=8", "default-address-pool: "),
    ] {
        let error = error(flags, "{}");
        assert!(error.starts_with(words) || error.contains(words), "{flags}: {error}");
    }
}

#[test]
fn metrics_are_for_the_host_alone_unless_said() {
    assert_eq!(config("", "{}").metrics_addr, None);
    for (text, address) in [
        (":9323", "127.0.0.1:9323"),
        ("9323", "127.0.0.1:9323"),
        ("localhost:9323", "127.0.0.1:9323"),
        ("0.0.0.0:9323", "0.0.0.0:9323"),
        ("[::1]:9323", "[::1]:9323"),
    ] {
        let expected = Some(address.parse().expect("an address"));
        assert_eq!(config(&format!("--metrics-addr {text}"), "{}").metrics_addr, expected, "{text}");
        assert_eq!(config("", &format!("{{\"metrics-addr\": \"{text}\"}}")).metrics_addr, expected, "{text}");
    }
}

#[test]
fn a_bip_that_is_the_subnet_itself_makes_the_first_host_the_gateway() {
    let c = config("--bip 192.168.0.128/25 --fixed-cidr 192.168.0.192/26 --mtu 1200", "{}");
    assert_eq!(c.bip.map(|n| n.to_string()), Some("192.168.0.129/25".into()));
    assert_eq!(c.fixed_cidr.map(|n| n.to_string()), Some("192.168.0.192/26".into()));
    assert_eq!(config("--bip 10.0.0.7/24", "{}").bip.map(|n| n.to_string()), Some("10.0.0.7/24".into()));
}

#[test]
fn the_file_may_be_missing_only_where_nobody_named_it() {
    let args = DaemonArgs { config_file: "/nonexistent/daemon.json".into(), ..DaemonArgs::default() };
    let error = Config::load(&args).expect_err("no such file").to_string();
    assert!(error.starts_with("config-file: cannot read /nonexistent/daemon.json"), "{error}");

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("daemon.json");
    std::fs::write(&file, r#"{"nope": 1}"#).expect("a file");
    let error = Config::load(&DaemonArgs { config_file: file.clone(), ..args }).expect_err("a bad key").to_string();
    assert!(error.starts_with(&format!("unable to configure the daemon with file {}: ", file.display())), "{error}");
}
