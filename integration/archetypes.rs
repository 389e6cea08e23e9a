//! The four ways of a container to its network: none, bridge, host, another container's.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Cli, Host, until};

/// Answers who asked.
const WHO: &str = "#!/bin/sh\nprintf '\\r\\n'\nwho=${REMOTE_ADDR#[[]::ffff:}\necho ${who%]}\n";

#[test]
fn none_has_only_its_loopback_and_reaches_nothing() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let inside = host.run("busybox").by(cli).net("none").sh("ls /sys/class/net; ip -o -4 addr; ip route").once();
        let text = inside.ok();
        assert_eq!(text.lines().next(), Some("lo"), "{inside}");
        assert!(text.contains("127.0.0.1/8") && !text.contains("eth0"), "{inside}");
        assert!(!text.contains("default"), "{inside}");
    }
    host.run("busybox").net("none").cmd(&["ping", "-c1", "-W1", "127.0.0.1"]).once().ok();
    host.run("busybox").net("none").cmd(&["ping", "-c1", "-W1", "172.17.0.1"]).once().fails(1);
    host.run("busybox").net("none").cmd(&["ping", "-c1", "-W1", "192.0.2.1"]).once().fails(1);
}

#[test]
fn bridge_is_the_default_and_reaches_the_lan() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let container = host.run("busybox").by(cli).cmd(&["sleep", "1000"]).start();
        let address = container.address();
        assert!(address.starts_with("172.17."), "{address}");
        let inside = container.sh("ip -o -4 addr show eth0; ip route; ip link show eth0");
        let text = inside.ok();
        assert!(text.contains(&format!("inet {address}/16")), "{inside}");
        assert!(text.contains("default via 172.17.0.1 dev eth0"), "{inside}");
        assert!(text.contains("mtu 1500"), "{inside}");
        assert!(text.contains(&container.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}")), "{inside}");
        assert_eq!(container.inspect("{{.HostConfig.NetworkMode}}").replace("default", "bridge"), "bridge");

        container.exec(&["ping", "-c1", "-W2", "172.17.0.1"]).ok();
        container.exec(&["ping", "-c1", "-W2", "192.0.2.2"]).ok();
        assert!(host.itself().pings(&address));
    }
}

#[test]
fn the_lan_sees_the_hosts_address_not_the_containers() {
    let host = Host::new();
    let www = host.dir().join("www/cgi-bin");
    std::fs::create_dir_all(&www).unwrap();
    std::fs::write(www.join("who"), WHO).unwrap();
    std::fs::set_permissions(www.join("who"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = host.dir().join("www").display().to_string();
    let _server = host.lan().background(&["busybox", "httpd", "-f", "-p", "8000", "-h", &root]);
    assert_eq!(host.itself().get("http://192.0.2.2:8000/cgi-bin/who"), "192.0.2.1");

    let seen = host.run("busybox").cmd(&["wget", "-qO-", "http://192.0.2.2:8000/cgi-bin/who"]).once();
    seen.says("192.0.2.1");
}

#[test]
fn without_masquerading_the_lan_sees_the_container() {
    let host = Host::with(&["--ip-masq=false"]);
    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let address = container.address();
    let capture = host.lan().background(&[
        "tcpdump",
        "-i",
        "eth0",
        "-c",
        "1",
        "-w",
        "/run/capture",
        "icmp",
        "and",
        "src",
        &address,
    ]);
    until("the neighbour has seen the container's own address", || {
        container.exec(&["ping", "-c1", "-W1", "192.0.2.2"]);
        host.path("/run/capture").metadata().is_ok_and(|file| file.len() > 24)
    });
    drop(capture);
}

#[test]
fn neighbours_on_the_bridge_reach_each_other() {
    let host = Host::new();
    let web = host.run("busybox").hostname("web").serving().start();
    let url = format!("http://{}/cgi-bin/whoami", web.address());
    host.itself().get(&url);
    let client = host.run("busybox").cmd(&["sleep", "1000"]).start();
    client.exec(&["wget", "-qO-", &url]).says(&format!("web asked by {}", client.address()));
}

#[test]
fn host_is_the_hosts_own_stack() {
    let host = Host::new();
    let links = host.sh("tail -n +3 /proc/net/dev | cut -d: -f1").ok();
    for cli in Cli::BOTH {
        let script = "tail -n +3 /proc/net/dev | cut -d: -f1; ip -o -4 addr show lan0";
        let inside = host.run("busybox").by(cli).net("host").sh(script).once();
        let text = inside.ok();
        assert!(
            text.starts_with(&links),
            "the host has:
{links}
{inside}"
        );
        assert!(text.contains("192.0.2.1/24"), "{inside}");
    }
    let web = host.run("busybox").net("host").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1/"), "hello");
    assert_eq!(web.inspect("{{.NetworkSettings.IPAddress}}"), "");
}

#[test]
fn host_discards_published_ports_and_says_so() {
    let host = Host::new();
    for cli in Cli::BOTH {
        host.run("busybox")
            .by(cli)
            .net("host")
            .publish("8080:80")
            .cmd(&["true"])
            .once()
            .complains("Published ports are discarded when using host network mode")
            .ends_with(0);
    }
}

#[test]
fn joined_containers_share_one_stack() {
    let host = Host::new();
    let web = host.run("busybox").name("web").hostname("front").serving().start();
    host.itself().get(&format!("http://{}/", web.address()));
    for cli in Cli::BOTH {
        let joined = |cmd: &str| host.run("busybox").by(cli).net("container:web").sh(cmd).once();
        joined("wget -qO- http://127.0.0.1/").says("hello");
        joined("hostname").says("front");
        joined("ip -o -4 addr show eth0").says(&web.sh("ip -o -4 addr show eth0").ok());
        joined("cat /etc/hosts").says(&web.sh("cat /etc/hosts").ok());
        joined("cat /etc/resolv.conf").says(&web.sh("cat /etc/resolv.conf").ok());
    }
    // By id, too, and the other way round: a server in the joiner is seen by the joined.
    let joiner = host
        .run("busybox")
        .net(&format!("container:{}", &web.id[..12]))
        .cmd(&["nc", "-ll", "-p", "99", "-e", "echo", "hi"])
        .start();
    until("the joiner serves", || web.sh("nc 127.0.0.1 99 </dev/null").stdout == "hi\n");
    assert_eq!(joiner.inspect("{{.NetworkSettings.IPAddress}}"), "");
}

#[test]
fn joining_says_why_it_cannot() {
    let host = Host::new();
    let ended = host.run("busybox").name("ended").cmd(&["true"]).start();
    ended.becomes("{{.State.Status}}", "exited");
    for cli in Cli::BOTH {
        let attempt = |flags: &[&str]| host.run("busybox").by(cli).flags(flags).cmd(&["true"]).once();
        attempt(&["--network", "container:ended"])
            .complains("cannot join network namespace of a non running container: container ")
            .ends_with(125);
        attempt(&["--network", "container:nobody"]).complains("No such container: nobody").ends_with(125);
        attempt(&["--network", "container:ended", "--hostname", "x"])
            .complains("conflicting options: hostname and the network mode")
            .ends_with(125);
        attempt(&["--network", "container:ended", "--dns", "192.0.2.2"])
            .complains("conflicting options: dns and the network mode")
            .ends_with(125);
        attempt(&["--network", "container:ended", "--add-host", "a:192.0.2.2"])
            .complains("conflicting options: custom host-to-IP mapping and the network mode")
            .ends_with(125);
        attempt(&["--network", "container:ended", "-p", "80:80"])
            .complains("conflicting options: port publishing and the container type network mode")
            .ends_with(125);
        attempt(&["--network", "container:ended", "--expose", "80"])
            .complains("conflicting options: port exposing and the container type network mode")
            .ends_with(125);
    }
    // Older docker command lines do not send it.
    host.pontoon(&["run", "--rm", "--ip", "172.17.0.9", "busybox", "true"])
        .complains("user-specified IP address is supported on user-defined networks only")
        .ends_with(125);
}

#[test]
fn private_namespaces_let_anyone_ping_and_bind() {
    let host = Host::new();
    for network in ["none", "bridge"] {
        let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range";
        let text = host.run("busybox").net(network).sh(read).once().ok();
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "2147483647"], "--net {network}");
    }
    let web = host.run("busybox").flags(&["--user", "1000"]).serving().start();
    assert_eq!(host.itself().get(&format!("http://{}/", web.address())), "hello");
}

#[test]
fn containers_know_their_names() {
    let host = Host::new();
    let plain = host
        .run("busybox")
        .flags(&["--add-host", "db:192.0.2.77", "--add-host", "gate:host-gateway"])
        .cmd(&["sleep", "1000"])
        .start();
    plain.exec(&["hostname"]).says(&plain.id[..12]);
    plain.exec(&["cat", "/etc/hostname"]).says(&plain.id[..12]);
    let hosts = plain.exec(&["cat", "/etc/hosts"]).ok();
    let address = plain.address();
    for line in
        ["127.0.0.1\tlocalhost", "192.0.2.77\tdb", "172.17.0.1\tgate", &format!("{address}\t{}", &plain.id[..12])]
    {
        assert!(hosts.lines().any(|it| it == line), "no {line:?} in:\n{hosts}");
    }
    let named = host
        .run("busybox")
        .flags(&["--hostname", "web", "--domainname", "example.net"])
        .sh("hostname; cat /etc/hosts")
        .once()
        .ok();
    assert!(named.starts_with("web\n") && named.contains("\tweb.example.net web"), "{named}");
}

#[test]
fn resolv_conf_names_the_gateway_and_the_hosts_where_there_is_none() {
    let host = Host::new();
    let flags: &[&str] = &["--dns", "192.0.2.2", "--dns-search", "example.net", "--dns-option", "ndots:3"];
    for cli in Cli::BOTH {
        for (network, server) in [("bridge", "172.17.0.1"), ("none", "192.0.2.2"), ("host", "192.0.2.2")] {
            let run = host.run("busybox").by(cli).net(network).flags(flags);
            let text = run.cmd(&["cat", "/etc/resolv.conf"]).once().ok();
            assert_eq!(text, format!("nameserver {server}\nsearch example.net\noptions ndots:3"), "{network}");
        }
    }
    let none = host.run("busybox").flags(&["--dns-search", "."]).cmd(&["cat", "/etc/resolv.conf"]).once().ok();
    assert!(!none.contains("search"), "{none}");
}
