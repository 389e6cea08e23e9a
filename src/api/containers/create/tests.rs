//! Tables of create bodies: what they come to, and what is refused in which words.

use serde_json::json;

use super::*;
use crate::model::{HostBinding, MountKind, NetworkMode, RestartPolicy, SeccompProfile};

fn parsed(body: Value) -> Result<Action, ApiError> {
    let daemon = Daemon { cpus: 4, cgroup_namespaces: false, log_driver: "json-file", log_opts: &BTreeMap::new() };
    parse(Some("web"), body, &daemon)
}

/// What `docker run -d busybox` of CLI 28 sends, with changes on top.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with the literals in place")]
fn body(config: Value, host: Value) -> Value {
    let mut body: Value = serde_json::from_str(include_str!("docker-cli-28.json")).expect("JSON");
    let mode = host.get("NetworkMode").and_then(Value::as_str).map(str::to_owned);
    merge(&mut body["HostConfig"], &host);
    if let Some(mode) = mode {
        let endpoints = &mut body["NetworkingConfig"]["EndpointsConfig"];
        let endpoint = endpoints["default"].take();
        *endpoints = json!({ mode: endpoint });
    }
    merge(&mut body, &config);
    body
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn spec(config: Value, host: Value) -> ContainerSpec {
    parsed(body(config, host)).expect("valid").create.spec.spec
}

#[test]
fn the_docker_clis_defaults_ask_for_nothing() {
    let action = parsed(body(json!({}), json!({}))).expect("valid");
    let SpecRequest { spec, entrypoint, cmd, env, stop_signal, anonymous_volumes, links } = action.create.spec;
    assert_eq!(action.create.name.map(|name| name.to_string()).as_deref(), Some("web"));
    assert_eq!((action.create.image.as_str(), action.warnings.len(), action.console), ("busybox", 0, None));
    assert_eq!((entrypoint, cmd.len(), env.len(), stop_signal, anonymous_volumes.len()), (None, 0, 0, None, 0));
    assert_eq!((spec.network, links.len()), (crate::model::NetworkSpec::default(), 0));
    assert_eq!(spec.resources, crate::model::Resources::default());
    assert_eq!(spec.security, crate::model::Security::default());
    assert!(spec.mounts.is_empty() && spec.sysctls.is_empty() && !spec.auto_remove);
    assert_eq!((spec.restart, spec.log.driver.as_str()), (RestartPolicy::No, "json-file"));
}

#[test]
fn a_body_may_be_as_small_as_an_image() {
    assert!(parsed(json!({ "Image": "busybox", "Cmd": "true" })).is_ok_and(|a| a.create.spec.cmd == ["true"]));
}

#[test]
fn the_process() {
    let config = json!({
        "Cmd": ["-c", "true"], "Entrypoint": ["sh"], "Env": ["A=1", "B"], "User": "1:2", "WorkingDir": "/tmp",
        "Tty": true, "OpenStdin": true, "StdinOnce": true, "StopSignal": "SIGINT", "StopTimeout": 3, "Labels": { "a": "b" }
    });
    let action = parsed(body(config, json!({ "GroupAdd": ["audio"], "ConsoleSize": [24, 80] }))).expect("valid");
    let request = action.create.spec;
    let process = &request.spec.process;
    assert_eq!((request.entrypoint, request.cmd), (Some(vec!["sh".into()]), vec!["-c".into(), "true".into()]));
    assert_eq!((request.env, request.stop_signal.as_deref()), (vec!["A=1".into(), "B".into()], Some("SIGINT")));
    assert_eq!((process.user.as_str(), process.workdir.as_str(), process.stop_timeout), ("1:2", "/tmp", Some(3)));
    assert!(process.tty && process.open_stdin && process.stdin_once);
    assert_eq!((&process.group_add[..], action.console), (&["audio".to_owned()][..], Some((24, 80))));
    assert_eq!(request.spec.labels["a"], "b");
}

#[test]
fn the_network() {
    let config =
        json!({ "Hostname": "h", "Domainname": "d.example", "ExposedPorts": { "8000-8002/udp": {}, "22/tcp": {} } });
    let host = json!({
        "PortBindings": {
            "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }, { "HostIp": "", "HostPort": "" }],
            "53/udp": [{ "HostIp": "", "HostPort": "5000-5010" }]
        },
        "PublishAllPorts": true, "Dns": ["9.9.9.9"], "DnsSearch": ["."], "DnsOptions": ["ndots:1"],
        "ExtraHosts": ["gw:host-gateway", "six:::1", "x=10.0.0.1"], "Links": ["db", "/cache:/web/store"]
    });
    let request = parsed(body(config, host)).expect("valid").create.spec;
    let network = request.spec.network;
    assert_eq!((network.hostname.as_deref(), network.domainname.as_deref()), (Some("h"), Some("d.example")));
    let binding = |port: &str, ip: Option<&str>, host_ports| HostBinding {
        container: port.parse().expect("port"),
        host_ip: ip.map(|ip| ip.parse().expect("address")),
        host_ports,
    };
    let expected = [
        binding("80/tcp", None, None),
        binding("80/tcp", Some("127.0.0.1"), Some((8080, 8080))),
        binding("53/udp", None, Some((5000, 5010))),
    ];
    assert_eq!(network.publish, expected);
    let exposed: Vec<String> = network.expose.iter().map(ToString::to_string).collect();
    assert_eq!(exposed, ["22/tcp", "80/tcp", "53/udp", "8000/udp", "8001/udp", "8002/udp"]);
    let pairs =
        |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(network.extra_hosts, pairs(&[("gw", "host-gateway"), ("six", "::1"), ("x", "10.0.0.1")]));
    assert_eq!(request.links, pairs(&[("db", "db"), ("cache", "store")]));
    assert!(network.publish_all);
}

#[test]
fn the_four_archetypes() {
    for (text, mode) in [
        ("default", NetworkMode::Bridge),
        ("bridge", NetworkMode::Bridge),
        ("none", NetworkMode::None),
        ("host", NetworkMode::Host),
        ("container:db", NetworkMode::Container("db".into())),
    ] {
        assert_eq!(spec(json!({}), json!({ "NetworkMode": text })).network.mode, mode);
    }
}

#[test]
fn a_mac_from_either_place() {
    let mac = "02:42:ac:11:00:09";
    let mut new = body(json!({}), json!({}));
    new["NetworkingConfig"]["EndpointsConfig"]["default"]["MacAddress"] = mac.into();
    for body in [new, body(json!({ "MacAddress": mac }), json!({}))] {
        let parsed = parsed(body).expect("valid").create.spec.spec.network.mac;
        assert_eq!(parsed.map(|mac| mac.to_string()).as_deref(), Some(mac));
    }
}

#[test]
fn mounts_of_every_kind() {
    let host = json!({
        "Binds": ["/src:/a:ro,rslave,z", "data:/b", "/anon"],
        "Mounts": [
            { "Type": "bind", "Source": "/src", "Target": "/c/../d/", "ReadOnly": true },
            { "Type": "volume", "Target": "/e" },
            { "Type": "tmpfs", "Target": "/f", "TmpfsOptions": { "SizeBytes": 1024, "Mode": 448 } }
        ],
        "Tmpfs": { "/g": "ro,size=64m" }
    });
    let action = parsed(body(json!({ "Volumes": { "/h": {}, "/b": {} } }), host)).expect("valid");
    let request = action.create.spec;
    assert_eq!(request.anonymous_volumes, ["/anon", "/e", "/h"]);
    let mounts = request.spec.mounts;
    assert_eq!(mounts[0].kind, MountKind::Bind { source: "/src".into(), create: true });
    assert_eq!((mounts[0].read_only, mounts[0].propagation.as_deref()), (true, Some("rslave")));
    assert_eq!(mounts[1].kind, MountKind::Volume { name: "data".into(), anonymous: false });
    assert_eq!(mounts[2].kind, MountKind::Bind { source: "/src".into(), create: false });
    assert_eq!((mounts[2].target.as_str(), mounts[2].read_only), ("/d", true));
    assert_eq!(mounts[3].kind, MountKind::Tmpfs { options: "size=1024,mode=700".into() });
    assert!(mounts[4].read_only && mounts[4].target == "/g");
}

#[test]
fn limits_and_walls() {
    let host = json!({
        "Memory": 67_108_864, "MemorySwap": -1, "NanoCpus": 1_500_000_000, "PidsLimit": -1, "CpusetCpus": "0-1,3",
        "OomScoreAdj": 500, "ShmSize": 1024, "Ulimits": [{ "Name": "nofile", "Soft": 10, "Hard": -1 }],
        "Sysctls": { "net.ipv4.ip_forward": "1" }, "CapAdd": ["cap_net_admin", "ALL"], "CapDrop": ["chown"],
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label=disable"], "ReadonlyRootfs": true,
        "PidMode": "host", "IpcMode": "host",
        "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "", "CgroupPermissions": "" }],
        "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
        "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m", "max-file": "3" } }
    });
    let spec = spec(json!({}), host);
    let resources = &spec.resources;
    assert_eq!((resources.memory, resources.memory_swap, resources.pids_limit), (Some(67_108_864), Some(-1), None));
    assert_eq!((resources.cpu_quota, resources.cpu_period), (Some(150_000), Some(100_000)));
    assert_eq!((resources.cpuset_cpus.as_deref(), resources.oom_score_adj), (Some("0-1,3"), Some(500)));
    assert_eq!(resources.ulimits, [("nofile".to_owned(), 10, u64::MAX)]);
    assert_eq!(spec.sysctls["net.ipv4.ip_forward"], "1");
    let security = &spec.security;
    assert_eq!(
        (&security.cap_add[..], &security.cap_drop[..]),
        (&["NET_ADMIN".into(), "ALL".into()][..], &["CHOWN".into()][..])
    );
    assert!(security.no_new_privileges && security.readonly_rootfs && security.host_pid && security.host_ipc);
    assert_eq!(security.seccomp, SeccompProfile::Unconfined);
    assert_eq!(security.devices, [("/dev/null".into(), "/dev/null".into(), "rwm".into())]);
    assert_eq!(spec.restart, RestartPolicy::OnFailure { max_retries: 3 });
    assert_eq!((spec.log.max_size, spec.log.max_file), (Some(10 << 20), 3));
}

#[test]
fn what_excludes_what_in_dockers_words() {
    let joined = |more: &Value| {
        let mut host = json!({ "NetworkMode": "container:db" });
        merge(&mut host, more);
        host
    };
    for (config, host, message) in [
        (json!({ "Hostname": "h" }), joined(&json!({})), "hostname and the network mode"),
        (json!({}), joined(&json!({ "Dns": ["9.9.9.9"] })), "dns and the network mode"),
        (json!({}), joined(&json!({ "ExtraHosts": ["a:1.2.3.4"] })), "custom host-to-IP mapping and the network mode"),
        (
            json!({}),
            joined(&json!({ "PortBindings": { "80/tcp": [] } })),
            "port publishing and the container type network mode",
        ),
        (
            json!({ "ExposedPorts": { "80/tcp": {} } }),
            joined(&json!({})),
            "port exposing and the container type network mode",
        ),
        (
            json!({}),
            joined(&json!({ "Links": ["a:b"] })),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (
            json!({}),
            json!({ "NetworkMode": "host", "Links": ["a:b"] }),
            "host type networking can't be used with links. This would result in undefined behavior",
        ),
        (
            json!({ "MacAddress": "02:42:ac:11:00:09" }),
            json!({ "NetworkMode": "host" }),
            "mac-address and the network mode",
        ),
    ] {
        let error = parsed(body(config, host)).expect_err(message);
        assert_eq!((error.status.as_u16(), error.message), (400, format!("conflicting options: {message}")));
    }
}

#[test]
fn bad_input_is_a_400_that_says_what() {
    for (config, host, message) in [
        (json!({ "Image": "" }), json!({}), "no image"),
        (json!({ "WorkingDir": "tmp" }), json!({}), "the working directory 'tmp' is invalid"),
        (json!({ "Env": ["=1"] }), json!({}), "invalid environment variable: =1"),
        (json!({ "Env": ["A=\u{0}"] }), json!({}), "NUL"),
        (json!({ "Hostname": "a\nb" }), json!({}), "invalid hostname"),
        (json!({ "StopSignal": "SIGNOPE" }), json!({}), "nvalid signal"),
        (json!({ "ExposedPorts": { "0/tcp": {} } }), json!({}), "invalid port specification"),
        (json!({ "ExposedPorts": { "80/icmp": {} } }), json!({}), "invalid proto: icmp"),
        (json!({ "MacAddress": "ff:ff:ff:ff:ff:ff" }), json!({}), "invalid MAC address"),
        (json!({}), json!({ "NetworkMode": "mynet" }), "network mynet not found"),
        (json!({}), json!({ "NetworkMode": "container:" }), "invalid container format"),
        (json!({}), json!({ "PortBindings": { "80/tcp": [{ "HostPort": "x" }] } }), "invalid port specification"),
        (json!({}), json!({ "PortBindings": { "80/tcp": [{ "HostIp": "x" }] } }), "invalid IP address: x"),
        (
            json!({}),
            json!({ "PortBindings": { "80-82/tcp": [{ "HostPort": "80-81" }] } }),
            "invalid ranges specified for container and host Ports",
        ),
        (json!({}), json!({ "Dns": ["x"] }), "x is not an ip address"),
        (json!({}), json!({ "DnsSearch": ["a b"] }), "not a valid domain"),
        (json!({}), json!({ "DnsOptions": ["a\nb"] }), "invalid dns option"),
        (json!({}), json!({ "ExtraHosts": ["a"] }), "bad format for add-host: \"a\""),
        (json!({}), json!({ "ExtraHosts": ["a:b"] }), "invalid IP address in add-host: \"b\""),
        (json!({}), json!({ "ExtraHosts": ["a\nb:1.2.3.4"] }), "bad format for add-host"),
        (json!({}), json!({ "Links": ["a:*"] }), "bad format for links: a:*"),
        (json!({}), json!({ "Binds": ["/a:b"] }), "mount path must be absolute"),
        (json!({}), json!({ "Binds": ["/a:/"] }), "destination can't be '/'"),
        (json!({}), json!({ "Binds": ["/a:/b:odd"] }), "invalid mode: odd"),
        (json!({}), json!({ "Binds": ["/a:/b:ro:x"] }), "invalid volume specification: '/a:/b:ro:x'"),
        (json!({}), json!({ "Binds": ["a*:/b"] }), "invalid characters for a local volume name"),
        (json!({}), json!({ "Binds": ["/a:/b", "/c:/b/"] }), "Duplicate mount point: /b"),
        (
            json!({}),
            json!({ "Mounts": [{ "Type": "bind", "Source": "a", "Target": "/b" }] }),
            "mount path must be absolute",
        ),
        (json!({}), json!({ "Tmpfs": { "/a": "odd" } }), "invalid tmpfs option"),
        (json!({}), json!({ "Memory": 1024 }), "Minimum memory limit allowed is 6MB"),
        (json!({}), json!({ "MemorySwap": 67_108_864 }), "You should always set the Memory limit"),
        (json!({}), json!({ "NanoCpus": 9_000_000_000i64 }), "range of CPUs is from 0.01 to 4.00"),
        (json!({}), json!({ "CpusetCpus": "4" }), "Requested CPUs are not available"),
        (json!({}), json!({ "OomScoreAdj": 1001 }), "Invalid value 1001"),
        (json!({}), json!({ "Ulimits": [{ "Name": "odd", "Soft": 1, "Hard": 1 }] }), "invalid ulimit type: odd"),
        (json!({}), json!({ "Ulimits": [{ "Name": "nofile", "Soft": 2, "Hard": 1 }] }), "2 > 1"),
        (json!({}), json!({ "Sysctls": { "kernel.panic": "1" } }), "not in a separate kernel namespace"),
        (json!({}), json!({ "Sysctls": { "net.../x": "1" } }), "invalid sysctl"),
        (json!({}), json!({ "NetworkMode": "host", "Sysctls": { "net.a": "1" } }), "not allowed in host network"),
        (json!({}), json!({ "CapAdd": ["NOPE"] }), "unknown capability: \"CAP_NOPE\""),
        (json!({}), json!({ "SecurityOpt": ["odd"] }), "invalid --security-opt 1"),
        (json!({}), json!({ "SecurityOpt": ["seccomp={"] }), "decoding seccomp profile failed"),
        (json!({}), json!({ "PidMode": "odd" }), "invalid PID mode: odd"),
        (json!({}), json!({ "Devices": [{ "PathOnHost": "null" }] }), "not an absolute path"),
        (json!({}), json!({ "LogConfig": { "Type": "syslog" } }), "no log driver named 'syslog'"),
        (json!({}), json!({ "LogConfig": { "Type": "", "Config": { "odd": "1" } } }), "unknown log opt 'odd'"),
        (json!({}), json!({ "RestartPolicy": { "Name": "always" }, "AutoRemove": true }), "can't create 'AutoRemove'"),
        (json!({}), json!({ "RestartPolicy": { "Name": "always", "MaximumRetryCount": 2 } }), "maximum retry count"),
        (json!({ "Tty": "yes" }), json!({}), "invalid JSON"),
    ] {
        let error = parsed(body(config, host)).expect_err(message);
        assert!(error.message.contains(message), "{:?} does not say {message:?}", error.message);
        assert_eq!(error.status.as_u16(), 400, "{message}");
    }
}

#[test]
fn what_is_not_served_is_a_501_that_says_so() {
    for (config, host, what) in [
        (json!({ "Healthcheck": { "Test": ["CMD", "true"] } }), json!({}), "health checks"),
        (json!({}), json!({ "Init": true }), "--init"),
        (json!({}), json!({ "VolumesFrom": ["db"] }), "--volumes-from"),
        (json!({}), json!({ "CgroupParent": "/x" }), "--cgroup-parent"),
        (json!({}), json!({ "BlkioWeight": 10 }), "block I/O weights"),
        (json!({}), json!({ "OomKillDisable": true }), "OOM killer"),
        (json!({}), json!({ "DeviceRequests": [{ "Count": -1 }] }), "--gpus"),
        (json!({}), json!({ "UTSMode": "host" }), "--uts"),
        (json!({}), json!({ "UsernsMode": "private" }), "user namespaces"),
        (json!({}), json!({ "PidMode": "container:x" }), "PID namespace"),
        (json!({}), json!({ "IpcMode": "none" }), "--ipc none"),
        (json!({}), json!({ "MaskedPaths": [] }), "systempaths"),
        (json!({}), json!({ "SecurityOpt": ["apparmor=mine"] }), "AppArmor"),
        (json!({}), json!({ "Mounts": [{ "Type": "image", "Source": "x", "Target": "/x" }] }), "type image"),
        (
            json!({}),
            json!({ "Mounts": [{ "Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": { "NoCopy": true } }] }),
            "nocopy",
        ),
        (json!({ "NetworkingConfig": { "EndpointsConfig": { "bridge": {}, "host": {} } } }), json!({}), "two networks"),
    ] {
        let error = parsed(body(config, host)).expect_err(what);
        assert_eq!((error.status.as_u16(), error.message.contains(what)), (501, true), "{what}: {}", error.message);
    }
}

#[test]
fn addresses_and_aliases_belong_to_networks_of_the_users_own() {
    for (endpoint, message) in [
        (
            json!({ "IPAMConfig": { "IPv4Address": "172.17.0.9" } }),
            "user-specified IP address is supported on user-defined networks only",
        ),
        (json!({ "Aliases": ["x"] }), "network-scoped aliases are only supported for user-defined networks"),
    ] {
        let networks = json!({ "NetworkingConfig": { "EndpointsConfig": { "default": endpoint } } });
        let error = parsed(body(networks, json!({}))).expect_err(message);
        assert_eq!((error.status.as_u16(), error.message.as_str()), (400, message));
    }
}

#[test]
fn other_platforms_are_refused() {
    assert!(check_platform(None).is_ok());
    assert!(check_platform(Some("linux")).is_ok());
    assert!(check_platform(Some(&format!("linux/{}", architecture()))).is_ok());
    assert!(check_platform(Some("windows/amd64")).is_err());
    assert!(check_platform(Some("linux/s390x")).is_err());
}
