use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::model::spec::LogSpec;
use crate::model::{ContainerId, Mount, MountKind, ProcessSpec, Security};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:\n1000:x:7:7::/odd:\nbroken\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nweb:x:33:\nlogs:x:44:web\n";

fn container() -> ContainerSpec {
    ContainerSpec {
        runtime: String::new(),
        process: ProcessSpec {
            args: vec!["httpd".to_owned(), "-f".to_owned()],
            workdir: "/".to_owned(),
            stop_signal: 15,
            ..ProcessSpec::default()
        },
        network: Default::default(),
        resources: Default::default(),
        security: Security::default(),
        mounts: Vec::new(),
        sysctls: BTreeMap::new(),
        labels: BTreeMap::new(),
        restart: Default::default(),
        auto_remove: false,
        log: LogSpec::default(),
    }
}

fn id() -> ContainerId {
    ContainerId::from_bytes([0xab; 32])
}

fn input<'a>(id: &'a ContainerId, spec: &'a ContainerSpec) -> OciInput<'a> {
    OciInput {
        id,
        spec,
        hostname: Some("web".to_owned()),
        netns: Some("/run/pontoon/netns/abab".into()),
        rootfs: "/run/pontoon/containers/abab/rootfs".into(),
        files: vec![("/var/lib/pontoon/containers/abab/hosts".into(), "/etc/hosts".to_owned())],
        volumes: BTreeMap::from([("data".to_owned(), "/var/lib/pontoon/volumes/data/_data".into())]),
        extra_env: vec![var("DB_PORT", "tcp://172.17.0.2:5432"), var("FOO", "link")],
        cgroup_parent: "pontoon",
        passwd: Some(PASSWD.to_owned()),
        group: Some(GROUP.to_owned()),
        devices: Vec::new(),
    }
}

fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: value.to_owned() }
}

/// JSON with sets in order, and the seccomp profile, which has tests of its own, as the number of its rules.
fn shown(spec: &impl serde::Serialize) -> String {
    let mut value = serde_json::to_value(spec).unwrap();
    sort_capabilities(&mut value);
    if let Some(rules) = value.pointer("/linux/seccomp/syscalls").and_then(Value::as_array).map(Vec::len) {
        value["linux"]["seccomp"] = Value::from(format!("{rules} rules"));
    }
    serde_json::to_string_pretty(&value).unwrap()
}

fn sort_capabilities(value: &mut Value) {
    match value {
        Value::Array(items) if items.iter().all(|item| item.as_str().is_some_and(|text| text.starts_with("CAP_"))) => {
            items.sort_by_key(ToString::to_string);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_capabilities),
        Value::Object(fields) => fields.values_mut().for_each(sort_capabilities),
        _ => {}
    }
}

#[test]
fn a_plain_container() {
    let (id, container) = (id(), container());
    insta::assert_snapshot!(shown(&spec(&input(&id, &container)).unwrap()));
}

#[test]
fn a_container_with_everything() {
    let (id, mut container) = (id(), container());
    container.process.tty = true;
    container.process.user = "web".to_owned();
    container.process.workdir = "/srv/app".to_owned();
    container.process.env = vec![var("FOO", "own"), var("HOME", "/own")];
    container.network.domainname = Some("example.net".to_owned());
    container.resources.memory = Some(64 << 20);
    container.resources.cpu_shares = Some(512);
    container.resources.cpuset_cpus = Some("0-1".to_owned());
    container.resources.pids_limit = Some(50);
    container.resources.shm_size = Some(1 << 20);
    container.resources.oom_score_adj = Some(200);
    container.resources.ulimits = vec![("nofile".to_owned(), 512, 1024)];
    container.security.readonly_rootfs = true;
    container.security.no_new_privileges = true;
    container.security.cap_drop = vec!["ALL".to_owned()];
    container.security.cap_add = vec!["NET_ADMIN".to_owned()];
    container.sysctls = BTreeMap::from([("net.core.somaxconn".to_owned(), "99".to_owned())]);
    container.mounts = vec![
        mount(MountKind::Bind { source: "/srv/deep".into(), create: true }, "/mnt/a/b", true, Some("rslave")),
        mount(MountKind::Volume { name: "data".to_owned(), anonymous: false }, "/mnt", false, None),
        mount(MountKind::Tmpfs { options: "size=1m,exec".to_owned() }, "/dev/shm", false, None),
    ];
    insta::assert_snapshot!(shown(&spec(&input(&id, &container)).unwrap()));
}

fn mount(kind: MountKind, target: &str, read_only: bool, propagation: Option<&str>) -> Mount {
    Mount { kind, target: target.to_owned(), read_only, propagation: propagation.map(str::to_owned) }
}

#[test]
fn an_open_privileged_container_of_the_hosts_namespaces() {
    let (id, mut container) = (id(), container());
    container.security.privileged = true;
    container.security.host_pid = true;
    container.security.host_ipc = true;
    let mut input = input(&id, &container);
    input.hostname = None;
    input.netns = None;
    insta::assert_snapshot!(shown(&spec(&input).unwrap()));
}

#[test]
fn an_exec_takes_after_its_container() {
    let (id, mut container) = (id(), container());
    container.process.env = vec![var("FOO", "own")];
    let exec = ExecSpec {
        args: vec!["sh".to_owned()],
        env: vec![var("FOO", "exec")],
        user: Some("web:logs".to_owned()),
        tty: true,
        ..ExecSpec::default()
    };
    insta::assert_snapshot!(shown(&exec_process(&input(&id, &container), &exec).unwrap()));
}

#[test]
fn users_are_resolved_as_docker_does() {
    let (id, mut container) = (id(), container());
    let mut resolved = |text: &str, add: &[&str]| {
        container.process.group_add = add.iter().map(|&name| name.to_owned()).collect();
        user::resolve(&input(&id, &container), text)
            .map(|who| (who.uid, who.gid, who.groups, who.home))
            .map_err(|error| error.to_string())
    };
    let ok = |uid, gid, groups: &[u32], home: &str| Ok((uid, gid, groups.to_vec(), home.to_owned()));
    assert_eq!(resolved("", &[]), ok(0, 0, &[0, 10], "/root"));
    assert_eq!(resolved("web", &[]), ok(33, 33, &[33, 10, 44], "/var/www"));
    assert_eq!(resolved("33:0", &[]), ok(33, 0, &[0], "/var/www"));
    assert_eq!(resolved("4711", &[]), ok(4711, 0, &[0], "/"));
    assert_eq!(resolved("4711:4712", &["logs", "99"]), ok(4711, 4712, &[4712, 44, 99], "/"));
    // A user whose name is a number.
    assert_eq!(resolved("1000", &[]), ok(7, 7, &[7], "/odd"));
    assert_eq!(resolved("who", &[]), Err("unable to find user who: no matching entries in passwd file".to_owned()));
    assert_eq!(resolved("0:who", &[]), Err("unable to find group who: no matching entries in group file".to_owned()));
    assert_eq!(resolved("-1", &[]), Err("uids and gids must be in range 0-2147483647".to_owned()));
}

#[test]
fn capabilities_are_added_and_dropped() {
    let kept = |add: &[&str], drop: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let security = Security { cap_add: names(add), cap_drop: names(drop), ..Security::default() };
        capabilities::kept(&security).map(|set| set.len()).map_err(|error| error.to_string())
    };
    assert_eq!(kept(&[], &[]), Ok(14));
    assert_eq!(kept(&["NET_ADMIN", "CHOWN"], &[]), Ok(15));
    assert_eq!(kept(&[], &["NET_RAW"]), Ok(13));
    assert_eq!(kept(&["ALL"], &["NET_RAW"]), Ok(40));
    assert_eq!(kept(&["NET_RAW"], &["ALL"]), Ok(1));
    assert_eq!(kept(&["FLY"], &[]), Err("invalid capability: unknown capability \"CAP_FLY\"".to_owned()));
}

#[test]
fn a_users_mount_replaces_ours() {
    let (id, mut container) = (id(), container());
    let bind = |target| mount(MountKind::Bind { source: "/x".into(), create: false }, target, false, None);
    container.mounts = vec![bind("/dev"), bind("/etc/hosts")];
    let mounts = mounts::mounts(&input(&id, &container)).unwrap();
    let targets: Vec<_> = mounts.iter().map(|mount| mount.destination().display().to_string()).collect();
    assert_eq!(targets, ["/proc", "/sys", "/sys/fs/cgroup", "/dev", "/etc/hosts"]);
    assert_eq!(mounts[4].source().as_deref(), Some(Path::new("/x")));
}
