//! What is there: `ps`, `inspect`, `events`, `version`, `info`; and what the API does not serve.

use crate::harness::{Cli, Host, until};

#[test]
fn ps_and_its_filters() {
    let host = Host::new();
    let web = host
        .run("busybox")
        .name("web")
        .publish("8080:80")
        .flags(&["--label", "tier=front", "--label", "x"])
        .serving()
        .start();
    let db = host.run("busybox").name("db").flags(&["--label", "tier=back"]).cmd(&["sleep", "1000"]).start();
    let old = host.run("busybox").name("old").sh("exit 3").start();
    old.wait();
    old.becomes("{{.State.Status}}", "exited");
    host.run("busybox").name("new").cmd(&["true"]).create();
    for cli in Cli::BOTH {
        let names = |flags: &[&str]| {
            let outcome = host.cli(cli, &[&["ps", "--format", "{{.Names}}"], flags].concat());
            outcome.ok().replace('\n', " ")
        };
        assert_eq!(names(&[]), "db web");
        assert_eq!(names(&["-a"]), "new old db web");
        assert_eq!(names(&["-n", "2"]), "new old");
        assert_eq!(names(&["-l"]), "new");
        assert_eq!(names(&["--filter", "name=we"]), "web");
        assert_eq!(names(&["-a", "--filter", "status=exited"]), "old");
        assert_eq!(names(&["-a", "--filter", "status=exited", "--filter", "status=created"]), "new old");
        assert_eq!(names(&["-a", "--filter", "exited=3"]), "old");
        assert_eq!(names(&["--filter", "label=tier"]), "db web");
        assert_eq!(names(&["--filter", "label=tier=front"]), "web");
        assert_eq!(names(&["-a", "--filter", &format!("id={}", &db.id[..12])]), "db");
        assert_eq!(names(&["-a", "--filter", "ancestor=busybox"]), "new old db web");
        assert_eq!(host.cli(cli, &["ps", "-q"]).ok(), format!("{}\n{}", &db.id[..12], &web.id[..12]));
        assert_eq!(host.cli(cli, &["ps", "-q", "--no-trunc", "-l"]).ok().len(), 64);
        host.cli(cli, &["ps", "--filter", "no-such-filter=1"]).ends_with(1);

        let table = host.cli(cli, &["ps", "-a"]);
        let lines = table.lines();
        assert!(lines[0].starts_with("CONTAINER ID   IMAGE") && lines[0].ends_with("NAMES"), "{table}");
        assert!(lines[4].contains("Up ") && lines[4].contains("0.0.0.0:8080->80/tcp"), "{table}");
        assert!(lines[2].contains("Exited (3)") && lines[1].contains("Created"), "{table}");
    }
}

#[test]
fn inspect_tells_what_was_asked_and_what_is() {
    let host = Host::new();
    let web = host
        .run("busybox")
        .name("web")
        .publish("8080:80")
        .flags(&["--memory", "64m", "--cpu-shares", "512", "--env", "A=b", "--restart", "no"])
        .serving()
        .start();
    for (format, value) in [
        ("{{.Id}}", web.id.as_str()),
        ("{{.Name}}", "/web"),
        ("{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}", "running true 0"),
        ("{{.Config.Image}}", "busybox"),
        ("{{json .Config.Cmd}}", r#"["httpd","-f","-h","/www"]"#),
        ("{{.Path}} {{.Args}}", "httpd [-f -h /www]"),
        ("{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}", "67108864 512"),
        ("{{json .HostConfig.PortBindings}}", r#"{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#),
        ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{.NetworkSettings.Networks.bridge.Gateway}}", "172.17.0.1"),
        ("{{.NetworkSettings.Networks.bridge.IPPrefixLen}}", "16"),
        ("{{.Driver}}", "overlay2"),
    ] {
        for cli in Cli::BOTH {
            assert_eq!(host.cli(cli, &["inspect", "--format", format, "web"]).ok(), value, "{cli:?} {format}");
        }
    }
    assert!(web.inspect("{{.Config.Env}}").contains("A=b"));
    let pid = web.pid();
    host.sh(&format!("tr '\\0' ' ' </proc/{pid}/cmdline")).says("httpd -f -h /www ");
    assert!(host.path(&web.inspect("{{.NetworkSettings.SandboxKey}}")).exists());
    assert!(web.inspect("{{.Created}}").ends_with('Z'));

    web.sh("head -c 100000 /dev/zero > /big").ok();
    let sizes = host.docker(&["inspect", "--size", "--format", "{{.SizeRw}} {{.SizeRootFs}}", "web"]).ok();
    let sizes: Vec<u64> = sizes.split(' ').map(|it| it.parse().unwrap()).collect();
    assert!((100_000..300_000).contains(&sizes[0]) && sizes[1] > 1_000_000, "{sizes:?}");
}

#[test]
fn prefixes_of_ids() {
    let host = Host::new();
    // Seventeen containers: two share their first digit.
    let all: Vec<_> = (0..17).map(|_| host.run("busybox").cmd(&["true"]).create()).collect();
    let shared =
        all.iter().enumerate().find_map(|(at, one)| all[..at].iter().find(|two| two.id[..1] == one.id[..1])).unwrap();
    for cli in Cli::BOTH {
        host.cli(cli, &["inspect", "--type", "container", "--format", "{{.Id}}", &all[0].id[..12]]).says(&all[0].id);
        let ambiguous = host.cli(cli, &["start", &shared.id[..1]]);
        ambiguous.ends_with(1).complains("ultiple IDs found with provided prefix");
        host.cli(cli, &["start", "zzz"]).ends_with(1).complains("No such container: zzz");
    }
}

#[test]
fn events_as_they_happen() {
    let host = Host::new();
    let mut events =
        host.terminal(Cli::Docker, &["events", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"]);
    until("the listener listens", || {
        host.docker(&["tag", "busybox", "sync"]).ok();
        events.screen().contains("image tag")
    });
    host.run("busybox").name("short").sh("exit 2").once().ends_with(2);
    for event in ["create short", "start short", "die short", "destroy short"] {
        events.shows(&format!("container {event}"));
    }
    let past = host.docker(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "container=short",
        "--filter",
        "event=die",
        "--format",
        "{{.Actor.Attributes.exitCode}}",
    ]);
    past.says("2");
    host.docker(&["rmi", "sync"]).ok();
    events.shows("image untag");
    host.sh("kill $(pgrep -x docker)").ok();
    events.ends();
}

#[test]
fn version_and_info() {
    let host = Host::new();
    assert_eq!(host.docker(&["version", "--format", "{{.Server.Version}}"]).ok(), env!("CARGO_PKG_VERSION"));
    assert!(host.docker(&["version"]).ok().to_lowercase().contains("pontoon"));
    let info = host.docker(&["info"]).ok();
    for word in ["Images: 1", "Storage Driver: overlay", "Operating System", "CPUs: "] {
        assert!(info.contains(word), "no {word:?} in:\n{info}");
    }
    for cli in Cli::BOTH {
        host.cli(cli, &["version"]).ok();
        host.cli(cli, &["info"]).ok();
    }
    host.pontoon(&["--version"]).says(&format!("pontoon {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_not_served_says_so() {
    let host = Host::new();
    for (method, path) in [("GET", "/v1.50/swarm"), ("POST", "/v1.50/nonsense"), ("GET", "/v1.50/services")] {
        let (status, body) = host.api(method, path, "");
        assert!(status == 404 || status == 501, "{method} {path}: {status} {body}");
        assert!(body["message"].as_str().is_some_and(|words| !words.is_empty()), "{body}");
    }
    // A client that is still writing hears the answer, not that its pipe broke.
    host.docker(&["volume", "create", "x"]).complains("pontoon does not serve POST");
    let megabytes = host.dir().join("megabytes");
    std::fs::write(&megabytes, vec![0u8; 8 << 20]).unwrap();
    let upload = format!("docker cp {} box:/x", megabytes.display());
    host.run("busybox").name("box").cmd(&["true"]).create();
    let outcome = host.sh(&upload);
    assert!(outcome.code != 0 && !outcome.stderr.contains("broken pipe"), "{outcome}");
    let (status, body) = host.api("POST", "/v1.50/containers/create", "not json");
    assert!(status == 400 && body["message"].is_string(), "{status} {body}");
    let (status, _) = host.api("GET", "/containers/nobody/json", "");
    assert_eq!(status, 404);
    let (status, body) = host.api("GET", "/v1.99/containers/json", "");
    assert!(status == 400 && body["message"].as_str().is_some_and(|words| words.contains("1.99")), "{status} {body}");
}

#[test]
fn errors_are_one_line_and_helpful() {
    let host = Host::new();
    for words in [
        ["inspect", "nobody"].as_slice(),
        &["rm", "nobody"],
        &["start", "nobody"],
        &["logs", "nobody"],
        &["wait", "nobody"],
        &["rmi", "nothing"],
    ] {
        let outcome = host.pontoon(words);
        outcome.ends_with(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    }
    let gone =
        host.sh(&format!("PONTOON_HOST=unix:///run/nothing.sock {} ps", crate::harness::pontoon_binary().display()));
    gone.ends_with(1).complains("/run/nothing.sock");
    for help in [["--help"].as_slice(), &["run", "--help"], &["daemon", "--help"], &["help"]] {
        assert!(host.pontoon(help).ok().contains("Usage"), "{help:?}");
    }
}

#[test]
fn renaming_pausing_and_top() {
    let host = Host::new();
    let container = host.run("busybox").name("first").sh("while :; do date +%s%N > /tmp/now; done").start();
    host.docker(&["rename", "first", "second"]).ok();
    host.docker(&["ps", "--format", "{{.Names}}"]).says("second");
    assert!(host.docker(&["top", "second"]).ok().contains("date +%s%N > /tmp/now"));
    host.docker(&["pause", "second"]).ok();
    container.becomes("{{.State.Status}} {{.State.Paused}}", "paused true");
    host.docker(&["unpause", "second"]).ok();
    container.becomes("{{.State.Status}}", "running");
}
