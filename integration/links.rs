//! Links: what the source of one is given, how it follows its target, and how it ends.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::harness::{Cli, Container, Host, image, until};

/// An image with an environment and a port of its own, as servers' images have them.
#[track_caller]
fn import_server(host: &Host) {
    let tar = image::busybox().to_string_lossy();
    let changes = ["ENV VERSION=1.0", "ENV HOME=/root PATH=/bin", "EXPOSE 80"];
    let flags = changes.iter().flat_map(|change| ["--change", change]);
    let words: Vec<&str> = ["import"].into_iter().chain(flags).chain([&*tar, "server"]).collect();
    host.docker(&words).ok();
}

/// Lines of an environment that begin with `prefix`, in order.
fn vars<'t>(env: &'t str, prefix: &str) -> Vec<&'t str> {
    env.lines().filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn the_environment_word_by_word() {
    let host = Host::new();
    import_server(&host);
    let flags = ["--expose", "6379-6381", "--expose", "53/udp", "--env", "PASSWORD=s3cret word"];
    let target = host.run("server").name("db").flags(&flags).serving().start();
    let at = target.address();
    let port = |number: u16, protocol: &str| {
        let key = format!("MY_STORE_PORT_{number}_{}", protocol.to_uppercase());
        [
            format!("{key}={protocol}://{at}:{number}"),
            format!("{key}_ADDR={at}"),
            format!("{key}_PORT={number}"),
            format!("{key}_PROTO={protocol}"),
        ]
    };
    for cli in Cli::BOTH {
        let mut expected = vec![format!("MY_STORE_PORT=tcp://{at}:80")];
        for number in [80, 6379, 6380, 6381] {
            expected.extend(port(number, "tcp"));
        }
        expected.push(format!("MY_STORE_PORT_6379_TCP_START=tcp://{at}:6379"));
        expected.push("MY_STORE_PORT_6379_TCP_PORT_START=6379".into());
        expected.push(format!("MY_STORE_PORT_6379_TCP_END=tcp://{at}:6381"));
        expected.push("MY_STORE_PORT_6379_TCP_PORT_END=6381".into());
        expected.extend(port(53, "udp"));
        expected.push("MY_STORE_NAME=/web/my-store".into());
        expected.push("MY_STORE_ENV_VERSION=1.0".into());
        expected.push("MY_STORE_ENV_PASSWORD=s3cret word".into());

        let source = host.run("busybox").by(cli).name("web").flags(&["--link", "db:my-store"]);
        let container = source.clone().cmd(&["sleep", "1000"]).start();
        let init = host.sh(&format!("tr '\\0' '\\n' </proc/{}/environ", container.pid())).ok();
        assert_eq!(vars(&init, "MY_STORE_"), expected, "{cli:?}");
        let exec = container.exec(&["env"]).ok();
        assert_eq!(vars(&exec, "MY_STORE_"), expected, "exec sees what the container sees");
        container.verb(&["rm", "--force"]).ok();

        // What the user says himself, wins, in the place where it stood.
        let env = source.flags(&["--env", "MY_STORE_NAME=mine"]).cmd(&["env"]).once().ok();
        let name = expected.iter_mut().find(|var| var.starts_with("MY_STORE_NAME=")).unwrap();
        *name = "MY_STORE_NAME=mine".into();
        assert_eq!(vars(&env, "MY_STORE_"), expected);
    }
}

#[test]
fn targets_by_name_and_id_and_several_aliases() {
    let host = Host::new();
    let db = host.run("busybox").name("db").hostname("dbhost").serving().start();
    let cache = host.run("busybox").name("cache").serving().start();
    let (at, short) = (db.address(), &db.id[..12]);
    for cli in Cli::BOTH {
        let line = |flag: &str| {
            let hosts = host.run("busybox").by(cli).name("web").flags(&["--link", flag]).cmd(&["cat", "/etc/hosts"]);
            let hosts = hosts.once().ok();
            hosts.lines().find(|line| line.starts_with(&format!("{at}\t"))).unwrap_or_default().to_owned()
        };
        assert_eq!(line("db"), format!("{at}\tdb dbhost"));
        assert_eq!(line("/db"), format!("{at}\tdb dbhost"));
        assert_eq!(line("db:store"), format!("{at}\tstore dbhost db"));
        assert_eq!(line(short), format!("{at}\t{short} dbhost db"));
        assert_eq!(line(&format!("{}:store", &db.id[..7])), format!("{at}\tstore dbhost db"));
        // As in `--link $(docker run -d …)`.
        assert_eq!(line(&db.id), format!("{at}\t{} dbhost db", db.id));
    }
    let links = ["--link", "db:one", "--link", "cache", "--link", "db:two", "--link", "db:one"];
    let web = host.run("busybox").name("web").hostname("me").flags(&links).cmd(&["sleep", "1000"]).start();
    let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
    let expected = [
        format!("{at}\tone dbhost db"),
        format!("{}\tcache {}", cache.address(), &cache.id[..12]),
        format!("{at}\ttwo dbhost db"),
        format!("{}\tme", web.address()),
    ];
    assert!(hosts.ends_with(&expected.join("\n")), "{hosts}");
    for name in ["one", "two", "cache"] {
        let page = format!("wget -q -O - http://{name}/");
        until("the link's name leads there", || web.sh(&page).stdout == "hello\n");
    }
    assert_eq!(web.inspect("{{json .HostConfig.Links}}"), r#"["/db:/web/one","/cache:/web/cache","/db:/web/two"]"#);
    for cli in Cli::BOTH {
        let names = |flags: &[&str]| host.cli(cli, &[&["ps", "--format", "{{.Names}}"], flags].concat()).ok();
        assert_eq!(names(&[]), "web\ncache\ndb");
        assert_eq!(names(&["--no-trunc"]), "web\ncache,web/cache\ndb,web/one,web/two");
    }
}

#[test]
fn a_target_that_comes_back_elsewhere_is_followed() {
    let host = Host::new();
    let db = host.run("busybox").name("db").hostname("h").serving().start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).cmd(&["sleep", "1000"]).start();
    let joined = host.run("busybox").net("container:web").cmd(&["sleep", "1000"]).start();
    let file = host.path(&web.inspect("{{.HostsPath}}"));
    let inode = file.metadata().unwrap().ino();
    // The user's own line stays where he wrote it.
    web.sh("sed 's/^ff02::2/10.1.1.1\\tmine\\n&/' /etc/hosts >/tmp/hosts && cat /tmp/hosts >/etc/hosts").ok();
    web.sh("echo '10.1.1.2 also' >>/etc/hosts").ok();
    let before = web.exec(&["cat", "/etc/hosts"]).ok();
    let old = db.address();
    assert!(before.contains(&format!("\n{old}\tstore h db\n")), "{before}");

    db.verb(&["stop", "--time", "0"]).ok();
    let gone = web.exec(&["cat", "/etc/hosts"]).ok();
    assert_eq!(
        gone,
        before.replace(&format!("{old}\tstore h db\n"), ""),
        "no name leads to what somebody else may get"
    );

    // Somebody else has its address now, and whoever comes next gets another.
    host.kill_daemon();
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    store.execute("DELETE FROM meta WHERE key = 'last lease'", []).unwrap();
    drop(store);
    host.restart_daemon();
    let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
    assert_eq!(other.address(), old);
    db.verb(&["start"]).ok();
    let new = db.address();
    assert_ne!(new, old);
    let after = web.exec(&["cat", "/etc/hosts"]).ok();
    assert_eq!(after, before.replace(&old, &new));
    assert_eq!(joined.exec(&["cat", "/etc/hosts"]).ok(), after);
    assert_eq!(file.metadata().unwrap().ino(), inode);
    until("the name leads to the new address", || web.sh("wget -q -O - http://store/").stdout == "hello\n");

    // A restart is a stop and a start.
    db.verb(&["restart", "--time", "0"]).ok();
    assert_eq!(web.exec(&["cat", "/etc/hosts"]).ok(), before.replace(&old, &db.address()));
}

#[test]
fn a_link_is_taken_away() {
    let host = Host::new();
    let db = host.run("busybox").name("db").hostname("h").flags(&["--expose", "80"]).serving().start();
    for cli in Cli::BOTH {
        let links = ["--link", "db:one", "--link", "db:two"];
        let web = host.run("busybox").name("web").flags(&links).cmd(&["sleep", "1000"]).start();
        let at = db.address();
        let rm = |words: &[&str]| host.cli(cli, &[&["rm", "--link"], words].concat());

        rm(&["/web/none"]).complains("No such container: ").ends_with(1);
        rm(&["nobody/one"]).complains("No such container: ").ends_with(1);
        rm(&["web"]).complains("Conflict, cannot remove the default link name of the container").ends_with(1);
        rm(&["nobody"]).complains("No such container: nobody").ends_with(1);
        assert_eq!(web.inspect("{{len .HostConfig.Links}}"), "2");

        rm(&["/web/one"]).ok();
        let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
        assert!(!hosts.contains("one") && hosts.contains(&format!("{at}\ttwo h db\n")), "{hosts}");
        assert_eq!(web.inspect("{{json .HostConfig.Links}}"), r#"["/db:/web/two"]"#);
        rm(&["/web/one"]).complains("No such container: ").ends_with(1);

        web.verb(&["restart", "--time", "0"]).ok();
        let env = web.exec(&["env"]).ok();
        assert_eq!((vars(&env, "ONE_").len(), vars(&env, "TWO_PORT_80_TCP_ADDR").len()), (0, 1), "{env}");

        // Of a container that does not run, too.
        web.verb(&["stop", "--time", "0"]).ok();
        rm(&["web/two"]).ok();
        assert_eq!(web.inspect("{{json .HostConfig.Links}}"), "null");
        web.verb(&["rm"]).ok();
        assert_eq!(host.docker(&["ps", "--no-trunc", "--format", "{{.Names}}"]).ok(), "db");
    }
}

#[test]
fn what_cannot_be_linked() {
    let host = Host::new();
    host.run("busybox").name("db").serving().start();
    host.run("busybox").name("host").net("host").cmd(&["sleep", "1000"]).start();
    host.run("busybox").name("none").net("none").cmd(&["sleep", "1000"]).start();
    host.run("busybox").name("onhost").net("container:host").cmd(&["sleep", "1000"]).start();
    host.run("busybox").name("indb").net("container:db").cmd(&["sleep", "1000"]).start();
    let before = host.traces();
    let undefined = "can't be used with links. This would result in undefined behavior";
    let networks = [
        ("host", format!("conflicting options: host type networking {undefined}")),
        ("container:db", format!("conflicting options: container type network {undefined}")),
        ("none", "conflicting options: links need the default network, not none".to_owned()),
    ];
    for (network, why) in &networks {
        let body = json!({"Image": "busybox", "HostConfig": {"NetworkMode": network, "Links": ["db"]}});
        assert_eq!(host.api("POST", "/containers/create", &body.to_string()), (400, json!({"message": why})));
    }
    for cli in Cli::BOTH {
        let refused_as = |flags: &[&str], why: &str, older: &str| {
            let outcome = host.run("busybox").by(cli).name("web").flags(flags).cmd(&["true"]).attempt();
            outcome.complains_as(cli, why, older).ends_with(125);
            assert!(!outcome.stderr.contains("Unable to find image"), "the client pulls: {outcome}");
            host.docker(&["ps", "-aq", "--filter", "name=web"]).says("");
        };
        let refused = |flags: &[&str], why: &str| refused_as(flags, why, why);
        refused(&["--link", "nobody"], "could not get container for nobody: No such container: nobody");
        refused(&["--link", "web"], "could not get container for web: No such container: web");
        refused(&["--link", "host"], &networks[0].1);
        refused(&["--link", "onhost"], &networks[0].1);
        refused(&["--link", "none"], "Cannot link to /none, as it does not belong to the default network");
        for (network, why) in &networks {
            refused_as(&["--net", network, "--link", "db"], why, "links are only supported for user-defined networks");
        }
        refused(&["--link", "db:x", "--link", "indb:X"], "the alias \"X\" of container db is also the alias \"x\"");
        refused(&["--add-host", "db:10.0.0.1", "--link", "db"], "\"db\" is both the alias of a link");
        refused(&["--link", "db:localhost"], "\"localhost\" of a link to container db is what the container itself");
        refused(
            &["--hostname", "me", "--link", "db:Me"],
            "\"Me\" of a link to container db is what the container itself",
        );
        for bad in ["db:", "db:a:b", "db:a b", "db:*", "db:x$(id)", "db:x\ny", "db:\"x\"", "db:-x", "db:é", ":x", ""] {
            refused(&["--link", bad], "for links");
        }
        refused(&["--link", &format!("db:{}", "x".repeat(65))], "for links");
    }
    host.assert_as(&before);
    // Who joined another container's network is found there.
    let web = host.run("busybox").name("web").flags(&["--link", "indb:db2"]).cmd(&["sleep", "1000"]).start();
    assert_eq!(web.inspect("{{json .HostConfig.Links}}"), r#"["/db:/web/db2"]"#);
}

#[test]
fn a_source_starts_behind_its_target() {
    let host = Host::new();
    let before = host.traces();
    let db = host.run("busybox").name("db").serving().start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).publish("8080:80").serving().create();
    db.verb(&["stop", "--time", "0"]).ok();
    web.verb(&["start"]).complains("Cannot link to a non running container: /db AS /web/store").ends_with(1);
    assert_eq!(web.inspect("{{.State.Status}}"), "created");
    host.assert_as(&before);
    db.verb(&["start"]).ok();
    web.verb(&["start"]).ok();

    // Names change, the link does not.
    host.docker(&["rename", "db", "postgres"]).ok();
    host.docker(&["rename", "web", "shop"]).ok();
    assert_eq!(web.inspect("{{json .HostConfig.Links}}"), r#"["/postgres:/shop/store"]"#);
    let line = format!("{}\tstore {} postgres\n", db.address(), &db.id[..12]);
    let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
    assert!(hosts.contains(&line), "{hosts}");

    let answer = |name: &str| web.sh(&format!("nslookup {name}")).stdout;
    assert!(answer("postgres").contains(&format!("Address: {}\n", db.address())), "{}", answer("postgres"));
    assert!(!answer("db").contains(&db.address()), "{}", answer("db"));

    // The target goes for good: the source is not what it was promised to be, until the link is taken away.
    db.verb(&["rm", "--force"]).ok();
    let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
    assert!(!hosts.contains("store"), "{hosts}");
    host.run("busybox").name("postgres").serving().start();
    web.verb(&["stop", "--time", "0"]).ok();
    web.verb(&["start"]).complains("Cannot link to a non running container: /db AS /shop/store").ends_with(1);
    host.docker(&["rm", "--link", "/shop/store"]).ok();
    web.verb(&["start"]).ok();
}

/// What would not come back goes on.
#[test]
fn a_source_whose_target_does_not_run_is_not_restarted() {
    let host = Host::new();
    let db = host.run("busybox").name("db").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).cmd(&["sleep", "1000"]).start();
    let pid = web.pid();
    db.verb(&["stop", "--time", "0"]).ok();
    for cli in Cli::BOTH {
        let said = host.cli(cli, &["restart", "--time", "0", "web"]);
        said.complains("Cannot link to a non running container: /db AS /web/store");
        assert_eq!(web.pid(), pid, "it runs on");
    }
    db.verb(&["start"]).ok();
    web.verb(&["restart", "--time", "0"]).ok();
    assert_ne!(web.pid(), pid);
}

#[test]
fn a_container_is_inspected_by_a_link_to_it() {
    let host = Host::new();
    let db = host.run("busybox").name("db").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).cmd(&["sleep", "1000"]).start();
    let id = |cli, name: &str| host.cli(cli, &["inspect", "--type", "container", "--format", "{{.Id}}", name]);
    for cli in Cli::BOTH {
        for name in ["web/store", "/web/store"] {
            assert_eq!(id(cli, name).ok(), db.id);
        }
        assert_eq!(id(cli, "web").ok(), web.id);
        for name in ["web/other", "db/store", "nobody/store"] {
            id(cli, name).complains("No such container");
        }
        // Without --link it is no name by which a container could be lost.
        host.cli(cli, &["rm", "--force", "web/store"]).complains("No such container");
    }
    db.becomes("{{.State.Running}}", "true");
}

#[test]
fn links_outlive_the_daemon() {
    let host = Host::new();
    let db = host.run("busybox").name("db").hostname("h").flags(&["--rm=false"]).serving().start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).cmd(&["sleep", "1000"]).start();
    let line = format!("{}\tstore h db\n", db.address());
    let pid = db.pid();
    host.kill_daemon();
    // The target ends while nobody looks.
    host.sh(&format!("kill -9 {pid}")).ok();
    until("the target has ended", || !host.path(&format!("/proc/{pid}")).exists());
    let file = host.dir().join(format!("pontoon/containers/{}/hosts", web.id));
    assert!(std::fs::read_to_string(file).unwrap().contains(&line), "nobody has seen it end");
    host.restart_daemon();
    let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
    assert!(!hosts.contains("store"), "{hosts}");
    assert_eq!(web.inspect("{{json .HostConfig.Links}}"), r#"["/db:/web/store"]"#);
    db.verb(&["start"]).ok();
    let hosts = web.exec(&["cat", "/etc/hosts"]).ok();
    assert!(hosts.contains(&format!("{}\tstore h db\n", db.address())), "{hosts}");
    host.docker(&["rm", "--link", "web/store"]).ok();
    host.stop_daemon();
    host.restart_daemon();
    assert_eq!(web.inspect("{{json .HostConfig.Links}}"), "null");
}

#[test]
fn after_a_reboot_targets_come_before_their_sources() {
    let host = Host::new();
    let always: &[&str] = &["--restart", "always"];
    let sleeper = |name: &str| host.run("busybox").name(name).flags(always).cmd(&["sleep", "1000"]);
    // Names and ids are in no order that would help.
    let db = sleeper("db").start();
    let beside = sleeper("beside").net("container:db").start();
    let middle = sleeper("middle").flags(&["--link", "beside:d"]).start();
    let web = sleeper("web").flags(&["--link", "middle:m", "--link", "db:d"]).start();
    let with_web = sleeper("withweb").net("container:web").start();
    let all = [&with_web, &web, &middle, &beside, &db];
    let pids = all.map(|container| (container.id.clone(), container.pid()));
    host.kill_daemon();
    for (id, pid) in pids {
        // As a machine that goes down: neither shims nor processes nor the exec root are left.
        host.sh(&format!("pkill -9 -f '[p]ontoon shim .*{id}'; kill -9 {pid}"));
        host.sh(&format!("rm -r /run/pontoon/containers/{id}")).ok();
    }
    host.restart_daemon();
    for container in all {
        container.becomes("{{.State.Status}}", "running");
    }
    let hosts = with_web.exec(&["cat", "/etc/hosts"]).ok();
    for line in [format!("{}\tm ", middle.address()), format!("{}\td ", db.address())] {
        assert!(hosts.contains(&line), "{hosts}");
    }
}

#[test]
fn a_source_between_two_lives_waits_for_its_target() {
    let host = Host::new();
    let always: &[&str] = &["--restart", "always"];
    let db = host.run("busybox").name("db").flags(always).cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").name("web").flags(always).flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    let fall = |containers: &[&Container<'_>]| {
        let pids: Vec<_> = containers.iter().map(|container| container.pid().to_string()).collect();
        host.sh(&format!("kill -9 {}", pids.join(" "))).ok();
        for (container, pid) in containers.iter().zip(pids) {
            until("it runs again", || {
                let now = container.inspect("{{.State.Status}} {{.State.Pid}}");
                now.starts_with("running ") && now != format!("running {pid}")
            });
        }
    };
    // The target falls again and again, so that its pause gets longer than its source's.
    (0..3).for_each(|_| fall(&[&db]));
    fall(&[&db, &web]);
    assert!(web.exec(&["cat", "/etc/hosts"]).ok().contains(&format!("{}\tdb ", db.address())));
}

/// Serves on 80 and 81.
const TWO_PORTS: &str = "httpd -p 81 -h /www; httpd -f -h /www";

/// Whether a container gets a page.
fn gets(container: &Container<'_>, url: &str) -> bool {
    container.sh(&format!("timeout 1 wget -q -O - {url}")).stdout == "hello\n"
}

#[test]
fn a_link_opens_the_exposed_ports_one_way() {
    for icc in [true, false] {
        let host = Host::with(&[&format!("--icc={icc}")]);
        let db = host.run("busybox").name("db").flags(&["--expose", "80"]).sh(TWO_PORTS).start();
        let [web, stranger] = [&["--link", "db"][..], &[]]
            .map(|flags| host.run("busybox").flags(&["--expose", "80"]).flags(flags).sh(TWO_PORTS).start());
        until("the target's exposed port answers", || gets(&web, "http://db/"));
        for server in [&db, &web, &stranger] {
            until("all serve", || host.itself().get(&format!("http://{}:81/", server.address())) == "hello");
        }
        // With icc all of it passes: these servers do answer.
        assert_eq!(gets(&web, "http://db:81/"), icc, "a port that is not exposed");
        assert_eq!(gets(&stranger, &format!("http://{}/", db.address())), icc, "no link");
        assert_eq!(gets(&web, &format!("http://{}/", stranger.address())), icc, "no link to this one");
        assert_eq!(gets(&db, &format!("http://{}/", web.address())), icc, "the other way");
    }
}

#[test]
fn holes_follow_the_target_and_end_with_the_link() {
    let host = Host::with(&["--icc=false"]);
    let serving = |name: &str| host.run("busybox").name(name).hostname(name).flags(&["--expose", "80"]).serving();
    let db = serving("db").start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).cmd(&["sleep", "1000"]).start();
    let whoami = |url: &str| web.sh(&format!("timeout 1 wget -q -O - {url}/cgi-bin/whoami")).stdout;
    let expected = format!("db asked by {}\n", web.address());
    until("the link leads there", || whoami("http://store") == expected);

    // The target moves; somebody else has its address.
    let old = db.address();
    db.verb(&["stop", "--time", "0"]).ok();
    host.kill_daemon();
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    store.execute("DELETE FROM meta WHERE key = 'last lease'", []).unwrap();
    drop(store);
    host.restart_daemon();
    let other = serving("other").start();
    assert_eq!(other.address(), old);
    db.verb(&["start"]).ok();
    until("the link leads to the new address", || whoami("http://store") == expected);
    assert_eq!(host.itself().get(&format!("http://{old}/cgi-bin/whoami")), "other asked by 172.17.0.1");
    assert_eq!(whoami(&format!("http://{old}")), "", "the hole was the target's, not the address's");

    host.kill_daemon();
    host.restart_daemon();
    assert_eq!(whoami("http://store"), expected);
    host.docker(&["rm", "--link", "/web/store"]).ok();
    assert_eq!(whoami(&format!("http://{}", db.address())), "", "the link is gone");
    assert_eq!(host.itself().get(&format!("http://{}/", db.address())), "hello", "and the server is not");
}

/// Over TCP, and over UDP from one and the same socket, whose flow lives as long as it sends.
#[test]
fn established_flows_end_with_the_link() {
    let udp = |arguments: &str, script: &str| {
        let perl = format!(
            "use IO::Socket::INET; my $s = IO::Socket::INET->new({arguments}, Proto => \"udp\") or die; {script}"
        );
        format!("chroot /host perl -e '$| = 1; {perl}'")
    };
    let sinks = [
        ("7000/tcp", "sleep 1000 | nc -l -p 7000 >/received; sleep 1000".to_owned()),
        ("7000/udp", udp("LocalPort => 7000", "while ($s->recv(my $m, 99)) { print $m }") + " >/received"),
    ];
    let sources = [
        "while :; do (while :; do echo x; sleep 0.05; done) | nc db 7000; sleep 0.1; done".to_owned(),
        udp(
            "PeerAddr => $ENV{DB_PORT_7000_UDP_ADDR}, PeerPort => 7000",
            "while (1) { $s->send(\"x\\n\"); select undef, undef, undef, 0.05 }",
        ),
    ];
    let host = Host::with(&["--icc=false"]);
    for ((port, sink), source) in sinks.into_iter().zip(sources) {
        let run = host.run("busybox").flags(&["--volume", "/:/host:ro"]);
        let db = run.clone().name("db").flags(&["--expose", port]).sh(&sink).start();
        let web = run.name("web").flags(&["--link", "db"]).sh(&source).start();
        let received = || db.sh("wc -c </received").stdout.trim().parse::<u64>().unwrap_or(0);
        until("something arrives", || received() > 10);
        let now = received();
        until("more arrives", || received() > now);
        host.docker(&["rm", "--link", "/web/db"]).ok();
        // What was under way may still arrive; then nothing does, though the source goes on sending.
        let mut last = received();
        until("nothing arrives any more", || {
            let before = std::mem::replace(&mut last, received());
            web.sh("sleep 0.5").ok();
            received() == before
        });
        assert_ne!(web.sh("ps | grep -c -e '[n]c db' -e '[p]erl'").ok(), "0", "the source still sends");
        host.docker(&["rm", "--force", "db", "web"]).ok();
    }
}

#[test]
fn a_real_server_behind_a_link() {
    let tar = image::redis().expect("Debian's redis can be fetched with apt-get, or was before");
    let host = Host::with(&["--icc=false"]);
    let tar = tar.to_string_lossy();
    host.docker(&["import", "--change", "EXPOSE 6379", "--change", "ENV PATH=/usr/bin", &tar, "redis"]).ok();
    let server = ["redis-server", "--save", "", "--protected-mode", "no"];
    let store = host.run("redis").name("store").cmd(&server).start();
    for cli in Cli::BOTH {
        let client = host.run("redis").by(cli).flags(&["--link", "store:db"]);
        let client = client.cmd(&["redis-cli", "-h", "db", "set", "key", "value"]);
        until("the server answers", || client.clone().once().stdout == "OK\n");
        let ping = |host: &str| format!("(echo PING; sleep 1) | timeout 2 nc {host} 6379");
        let linked = host.run("busybox").by(cli).flags(&["--link", "store:db"]).sh(&ping("db")).once();
        assert_eq!(linked.stdout, "+PONG\r\n", "{linked}");
        let stranger = host.run("busybox").by(cli).sh(&ping(&store.address())).once();
        assert_eq!(stranger.stdout, "", "{stranger}");
    }
}

/// Whether a connection comes about.
fn reaches(host: &Host, from: &str, to: &str) -> bool {
    let inspect = |name: &str, format: &str| host.docker(&["inspect", "-f", format, name]).ok();
    let connect = format!("exec 3<>/dev/tcp/{}/80", inspect(to, "{{.NetworkSettings.IPAddress}}"));
    let pid = inspect(from, "{{.State.Pid}}");
    host.sh(&format!("nsenter --target {pid} --net timeout 1 bash -c '{connect}'")).code == 0
}

/// With the other `--icc` than before, containers that know each other ask anew who has which address.
#[test]
fn links_of_running_containers_hold_with_the_other_icc() {
    let mut host = Host::with(&["--icc=true"]);
    host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    host.run("busybox").name("web").flags(&["--link", "db"]).serving().start();
    host.run("busybox").name("other").serving().start();
    let check = |host: &Host, icc: bool| {
        until("web reaches db by its link", || reaches(host, "web", "db"));
        until("other reaches whom it may", || reaches(host, "other", "db") == icc);
        for (from, to) in [("web", "db"), ("other", "db"), ("db", "web")] {
            assert!(!icc || reaches(host, from, to), "they know each other");
        }
    };
    check(&host, true);
    for icc in [false, true] {
        host.kill_daemon();
        host.restart_daemon_with(&[if icc { "--icc=true" } else { "--icc=false" }]);
        let began = std::time::Instant::now();
        check(&host, icc);
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}

/// Who is linked to a container, or has joined it, may be restarted with it, in any order and at once.
#[test]
fn a_source_may_be_restarted_with_its_target() {
    let host = Host::with(&["--icc=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).serving().start();
    host.run("busybox").name("joined").net("container:web").cmd(&["sleep", "1000"]).start();
    for round in 0..4 {
        host.pontoon(&["restart", "-t", "0", "db", "web", "joined"]).ok();
        let at_once = "export DOCKER_HOST=unix:///run/pontoon/pontoon.sock
            docker restart -t 0 db & db=$!
            docker restart -t 0 web & web=$!
            wait $db && wait $web";
        host.sh(at_once).ok();
        assert!(reaches(&host, "web", "db"), "{round}");
    }
    // The control: one whose target does not come back is refused, at once, and goes on.
    db.verb(&["stop", "-t", "0"]).ok();
    let began = std::time::Instant::now();
    host.pontoon(&["restart", "-t", "0", "web"]).complains("Cannot link to a non running container: /db AS /web/store");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(web.inspect("{{.State.Running}}"), "true");
}
