//! Input that nobody can mean: 400 with the reason, and nothing of it reaches a file or a ruleset.

use crate::harness::{Cli, Host};

/// What could start a line, end a quotation, match more than itself, or be run.
const POISON: &[&str] = &[
    "evil\nx",
    "evil\r\nx",
    "evil\n",
    "\nevil",
    "evil\tx",
    "evil x",
    "evil\"x",
    "evil'x",
    "evil*",
    "*",
    "evil;x",
    "evil|x",
    "evil&x",
    "evil$x",
    "$(evil)",
    "`evil`",
    "evil{x}",
    "evil}",
    "evil\\x",
    "evil#x",
    "evil,x",
    "evil/x",
    "evil<x",
    "evil!",
    "evil(x)",
    "@evil",
    "evil\u{0}x",
    "evil\u{1b}[2J",
    "évil",
    "日本",
    "evil\u{2028}x",
    "..",
];

/// Percent-encoded for a query or a path.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Everything that could hold a trace of it.
fn state(host: &Host) -> String {
    let root = host.daemon().data_root.display().to_string();
    let script =
        format!("nft list ruleset; ls -R {root}/containers /run/pontoon/containers /run/pontoon/netns; ip -o link");
    host.sh(&script).stdout
}

#[track_caller]
fn refused((status, body): &(u16, serde_json::Value), what: &str) {
    let message = body["message"].as_str().unwrap_or_default();
    assert_eq!(*status, 400, "{what}: {body}");
    assert!(message.len() > 10 && !message.chars().any(char::is_control), "{what}: a reason in one line: {body}");
}

#[test]
fn names_hosts_links_and_dns_in_a_create() {
    let host = Host::new();
    host.run("busybox").name("db").serving().start();
    let before = state(&host);
    let overlong = "x".repeat(300);
    let create = |query: &str, fields: &serde_json::Value| {
        let mut body = serde_json::json!({ "Image": "busybox", "Cmd": ["true"] });
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        host.api("POST", &format!("/containers/create{query}"), &body.to_string())
    };
    let in_host = |key: &str, value: String| serde_json::json!({ "HostConfig": { key: [value] } });
    for poison in POISON.iter().copied().chain([overlong.as_str()]) {
        let bodies = [
            serde_json::json!({ "Hostname": poison }),
            serde_json::json!({ "Domainname": poison }),
            serde_json::json!({ "MacAddress": poison }),
            serde_json::json!({ "HostConfig": { "NetworkMode": poison } }),
            serde_json::json!({ "HostConfig": { "NetworkMode": format!("container:{poison}") } }),
            in_host("Links", format!("db:{poison}")),
            in_host("Links", format!("{poison}:db")),
            in_host("Links", format!("/db:/web/{poison}")),
            in_host("Links", poison.to_owned()),
            in_host("ExtraHosts", format!("{poison}:10.0.0.1")),
            in_host("ExtraHosts", format!("name:{poison}")),
            in_host("ExtraHosts", format!("name:10.0.0.1{poison}")),
            in_host("Dns", poison.to_owned()),
            in_host("Dns", format!("10.0.0.1{poison}")),
            in_host("DnsSearch", poison.to_owned()),
            in_host("DnsOptions", format!("ndots:1{poison}")),
        ];
        for body in bodies {
            // Of nested names the last one counts, as inspect shows them; a word of resolv.conf may be anything.
            let harmless = (poison == "evil/x" && body["HostConfig"]["Links"][0] == "/db:/web/evil/x")
                || ((poison == ".." || poison == overlong) && body["HostConfig"]["DnsOptions"].is_array());
            if !harmless {
                refused(&create("", &body), &body.to_string());
            }
        }
        let named = format!("?name={}", escaped(poison));
        refused(&create(&named, &serde_json::json!({})), &named);
        let rename = host.api("POST", &format!("/containers/db/rename?name={}", escaped(poison)), "");
        refused(&rename, poison);
        let (status, _) = host.api("DELETE", &format!("/containers/db%2F{}?link=1", escaped(poison)), "");
        assert_eq!(status, 404, "{poison:?}");
    }
    assert_eq!(state(&host), before);
    host.docker(&["ps", "-a", "--format", "{{.Names}}"]).says("db");
    // The control: what can be meant is made, and seen.
    let fine =
        serde_json::json!({ "Hostname": "evil", "HostConfig": { "Links": ["db:evil.db"], "DnsSearch": ["evil"] } });
    assert_eq!(create("?name=evil", &fine).0, 201);
    assert_ne!(state(&host), before);
    assert!(!host.daemon().log().contains("evil\nx"), "no line of the log is of their making");
}

#[test]
fn both_command_lines_say_why() {
    let host = Host::new();
    host.run("busybox").name("db").serving().start();
    let before = host.traces();
    for cli in Cli::BOTH {
        for (flags, why) in [
            (["--name", "a\nb"], "Invalid container name (a\\nb)"),
            (["--hostname", "a\"b"], "invalid hostname"),
            (["--hostname", &"x".repeat(65)], "65 bytes"),
            (["--domainname", "a b"], "invalid domainname"),
            (["--add-host", "a*:10.0.0.1"], "bad format for add-host"),
            (["--add-host", "a:10.0.0.1\n10.0.0.2 b"], "invalid IP address in add-host"),
            (["--link", "db:a;b"], "bad format for links"),
            (["--dns", "10.0.0.1\nsearch evil"], "IP address"),
            (["--dns-search", "a\nnameserver 10.0.0.1"], "is not a valid domain"),
            (["--dns-option", "ndots:1 rotate"], "invalid dns option"),
            (["--net", "container:a b"], "invalid container to join"),
        ] {
            let outcome = host.run("busybox").by(cli).flags(&flags).cmd(&["true"]).attempt();
            assert_eq!(outcome.code, 125, "{outcome}");
            let said = outcome.stderr.to_lowercase();
            assert!(said.contains(&why.to_lowercase()), "should have said {why:?}: {outcome}");
        }
    }
    host.assert_as(&before);
    host.docker(&["ps", "-a", "--format", "{{.Names}}"]).says("db");
}

#[test]
fn flags_of_the_daemon() {
    let host = Host::bare();
    let look = "ip -o link; nft list ruleset; ls /run";
    let before = host.sh(look).ok();
    for poison in POISON.iter().copied().filter(|text| !text.contains('\0') && *text != "..") {
        for flag in ["--bridge", "--bip", "--fixed-cidr", "--ip", "--dns", "--dns-search", "--dns-opt"] {
            let refused = host.refused_daemon(&[flag, poison]);
            assert_eq!(refused.code, 1, "{flag} {poison:?}: {refused}");
            assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{flag} {poison:?}: {refused}");
            assert!(refused.stderr.contains(flag.trim_start_matches('-')), "{flag} {poison:?}: {refused}");
        }
    }
    assert_eq!(host.sh(look).ok(), before);
}

#[test]
fn what_cannot_be_made_is_said_in_words() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let refused = |flags: &[&str]| host.run("busybox").by(cli).flags(flags).cmd(&["true"]).once();
        refused(&["--link", "t:a;b"]).ends_with(125).complains("the alias \"a;b\" is no host name");
        refused(&["--sysctl", "net.ipv4.bogus=1"])
            .ends_with(125)
            .complains("cannot set sysctl net.ipv4.bogus: there is no such kernel parameter here");
        let file = refused(&["-v", "/etc/passwd:/etc"]);
        file.ends_with(125).complains("error mounting \"/etc/passwd\" to \"/etc\": ");
        file.complains("Are you trying to mount a directory onto a file (or vice-versa)?");
        assert!(!file.stderr.contains("Mount {"), "{file}");
    }
    let (code, said) =
        host.api("POST", "/containers/create", r#"{"Image":"busybox","HostConfig":{"CgroupnsMode":"private"}}"#);
    match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => assert_eq!(code, 201, "{said}"),
        false => {
            assert_eq!(code, 501, "{said}");
            assert!(said["message"].as_str().unwrap().contains("--cgroupns private"), "{said}");
        }
    }
}
