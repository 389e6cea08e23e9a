//! `GET /containers/{name}/json`.

use std::collections::{BTreeMap, BTreeSet};

use bollard_stubs::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, DriverData, HostConfig, NetworkSettings,
};
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::{mounts, network};
use crate::api::Api;
use crate::api::body::{self, Response};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::system::{has_cgroup_2, plain_map};
use crate::containers::{Container, HealthlessState, Status};
use crate::model::{HostBinding, Mount, MountKind, NetworkMode, NetworkOptions, Port};

/// Everything that is known of a container; with `size=1` also what it takes on disk.
pub(in crate::api) async fn inspect(api: &Api, name: &str, query: &Query) -> Result<Response, ApiError> {
    let container = api.engine.get(name)?;
    let mut response = describe(api, &container);
    if query.flag("size") {
        let (own, all) = api.engine.size(&container).await?;
        response.size_rw = i64::try_from(own).ok();
        response.size_root_fs = i64::try_from(all).ok();
    }
    let mut value = serde_json::to_value(&response).map_err(|error| ApiError::internal(error.to_string()))?;
    let daemon = api.engine.info().id;
    value["NetworkSettings"] = network_settings(&container, api.engine.network(), &daemon)?;
    value["HostConfig"] = host_config(&container, &api.engine.shown_links(&container));
    // Removed from the newest specification, and still what scripts read.
    if let Some(mac) = container.spec.network.mac {
        value["Config"]["MacAddress"] = mac.to_string().into();
    }
    Ok(body::json(StatusCode::OK, &value))
}

fn describe(api: &Api, container: &Container) -> ContainerInspectResponse {
    let (files, process) = (api.engine.files(&container.id), &container.spec.process);
    let execs: Vec<String> = container.execs.iter().map(ToString::to_string).collect();
    let path = |path: std::path::PathBuf| Some(path.display().to_string());
    ContainerInspectResponse {
        id: Some(container.id.to_string()),
        created: Some(container.created.clone()),
        path: process.args.first().cloned(),
        args: Some(process.args.iter().skip(1).cloned().collect()),
        state: Some(state(&container.state)),
        image: Some(container.image.to_string()),
        resolv_conf_path: path(files.resolv_conf),
        hostname_path: path(files.hostname),
        hosts_path: path(files.hosts),
        log_path: path(files.log),
        name: Some(format!("/{}", container.name)),
        restart_count: Some(container.state.restart_count.into()),
        driver: Some("overlay2".into()),
        platform: Some("linux".into()),
        mount_label: Some(String::new()),
        process_label: Some(String::new()),
        app_armor_profile: Some(String::new()),
        exec_ids: Some(execs),
        graph_driver: Some(DriverData { name: "overlay2".into(), data: Default::default() }),
        mounts: Some(mounts::mount_points(&container.spec.mounts, &api.engine.volume_paths(container))),
        config: Some(config(container)),
        ..ContainerInspectResponse::default()
    }
}

fn state(state: &HealthlessState) -> ContainerState {
    let status = state.status;
    ContainerState {
        status: status.as_str().parse().ok(),
        running: Some(status.is_running() || status == Status::Restarting),
        paused: Some(status == Status::Paused),
        restarting: Some(status == Status::Restarting),
        oom_killed: Some(state.oom_killed),
        dead: Some(status == Status::Dead),
        pid: Some(state.pid.into()),
        exit_code: Some(state.exit_code),
        error: Some(state.error.clone()),
        started_at: Some(state.started_at.clone()),
        finished_at: Some(state.finished_at.clone()),
        health: None,
    }
}

/// `Config`: what was asked for with the image's defaults merged in.
fn config(container: &Container) -> ContainerConfig {
    let (spec, request) = (&container.spec, &container.request);
    let asked = |key: &str| request[key].as_bool();
    let process = &spec.process;
    let (entrypoint, cmd) = process.args.split_at(process.entrypoint_len.min(process.args.len()));
    let env = process.env.iter().map(|var| format!("{}={}", var.name, var.value));
    let expose: Vec<String> = spec.network.expose.iter().map(ToString::to_string).collect();
    let hostname = spec.network.hostname.clone().unwrap_or_else(|| match spec.network.mode {
        NetworkMode::Bridge | NetworkMode::None => container.id.short().to_owned(),
        NetworkMode::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        NetworkMode::Container(_) => String::new(),
    });
    ContainerConfig {
        hostname: Some(hostname),
        domainname: Some(spec.network.domainname.clone().unwrap_or_default()),
        user: Some(process.user.clone()),
        attach_stdin: asked("AttachStdin"),
        attach_stdout: asked("AttachStdout"),
        attach_stderr: asked("AttachStderr"),
        exposed_ports: (!expose.is_empty()).then_some(expose),
        tty: Some(process.tty),
        open_stdin: Some(process.open_stdin),
        stdin_once: Some(process.stdin_once),
        env: Some(env.collect()),
        cmd: (!cmd.is_empty()).then(|| cmd.to_vec()),
        image: Some(container.image_name.clone()),
        volumes: Some(volumes(container)),
        working_dir: Some(process.workdir.clone()),
        entrypoint: (!entrypoint.is_empty()).then(|| entrypoint.to_vec()),
        labels: Some(plain_map(&spec.labels)),
        stop_signal: request["StopSignal"].as_str().map(str::to_owned).or_else(|| stop_signal(process.stop_signal)),
        stop_timeout: process.stop_timeout,
        ..ContainerConfig::default()
    }
}

/// Those of the request, and the image's.
fn volumes(container: &Container) -> Vec<String> {
    let asked = container.request["Volumes"].as_object().into_iter().flat_map(Map::keys).cloned();
    let anonymous = |mount: &&Mount| matches!(mount.kind, MountKind::Volume { anonymous: true, .. });
    let made = container.spec.mounts.iter().filter(anonymous).map(|mount| mount.target.clone());
    asked.chain(made).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The image's, if it is not the usual one.
fn stop_signal(number: i32) -> Option<String> {
    let signal = nix::sys::signal::Signal::try_from(number).ok().filter(|_| number != libc::SIGTERM);
    signal.map(|signal| signal.as_str().to_owned())
}

/// `HostConfig` as it was sent, with what docker fills in.
/// `links` are `/target:/source/alias`.
fn host_config(container: &Container, links: &[String]) -> Value {
    let mut config: Map<String, Value> = container.request["HostConfig"].as_object().cloned().unwrap_or_default();
    let mode = container.spec.network.mode.to_string();
    let shm = container.spec.resources.shm_size.unwrap_or(64 << 20);
    for (key, value) in [
        ("NetworkMode", json!(mode)),
        ("LogConfig", json!({ "Type": container.spec.log.driver, "Config": log_options(container) })),
        ("ShmSize", json!(shm)),
        ("Links", if links.is_empty() { Value::Null } else { json!(links) }),
        ("PortBindings", port_bindings(&container.spec.network.publish)),
    ] {
        config.insert(key.to_owned(), value);
    }
    let cgroupns = if has_cgroup_2() { "private" } else { "host" };
    for (key, default) in
        [("Runtime", container.spec.runtime.as_str()), ("IpcMode", "private"), ("CgroupnsMode", cgroupns)]
    {
        if config.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
            config.insert(key.to_owned(), default.into());
        }
    }
    // Whatever the client left out, in docker's order of things: null and zero rather than missing.
    let defaults = serde_json::to_value(HostConfig {
        cpu_shares: Some(0),
        memory: Some(0),
        nano_cpus: Some(0),
        auto_remove: Some(false),
        privileged: Some(false),
        publish_all_ports: Some(false),
        readonly_rootfs: Some(false),
        restart_policy: Some(Default::default()),
        ..HostConfig::default()
    });
    if let Ok(Value::Object(defaults)) = defaults {
        for (key, value) in defaults {
            config.entry(key).or_insert(value);
        }
    }
    config.into()
}

/// `-p`, by container port, as clients write it.
fn port_bindings(publish: &[HostBinding]) -> Value {
    let mut ports: BTreeMap<Port, Vec<Value>> = BTreeMap::new();
    for binding in publish {
        let host_port = match binding.host_ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let host_ip = binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        ports.entry(binding.container).or_default().push(json!({ "HostIp": host_ip, "HostPort": host_port }));
    }
    ports.into_iter().map(|(port, bindings)| (port.to_string(), Value::from(bindings))).collect()
}

fn log_options(container: &Container) -> Value {
    let log = &container.spec.log;
    let mut options = Map::new();
    if let Some(size) = log.max_size {
        options.insert("max-size".into(), size.to_string().into());
        options.insert("max-file".into(), log.max_file.to_string().into());
    }
    options.into()
}

/// `NetworkSettings` with the fields of the default bridge that API 1.50 still has on top.
fn network_settings(container: &Container, options: Option<&NetworkOptions>, daemon: &str) -> Result<Value, ApiError> {
    let networks = network::endpoint_settings(container, options, daemon);
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let settings = NetworkSettings {
        sandbox_id: Some(if container.sandbox.is_empty() { String::new() } else { container.id.to_string() }),
        sandbox_key: Some(container.sandbox.clone()),
        ports: Some(network::port_map(container)),
        networks: Some(networks),
    };
    let mut value = serde_json::to_value(&settings).map_err(|error| ApiError::internal(error.to_string()))?;
    let text = |text: Option<String>| Value::from(text.unwrap_or_default());
    for (key, field) in [
        ("Bridge", Value::from("")),
        ("HairpinMode", false.into()),
        ("LinkLocalIPv6Address", "".into()),
        ("LinkLocalIPv6PrefixLen", 0.into()),
        ("SecondaryIPAddresses", Value::Null),
        ("SecondaryIPv6Addresses", Value::Null),
        ("EndpointID", text(bridge.endpoint_id)),
        ("Gateway", text(bridge.gateway)),
        ("GlobalIPv6Address", "".into()),
        ("GlobalIPv6PrefixLen", 0.into()),
        ("IPAddress", text(bridge.ip_address)),
        ("IPPrefixLen", bridge.ip_prefix_len.unwrap_or(0).into()),
        ("IPv6Gateway", "".into()),
        ("MacAddress", text(bridge.mac_address)),
    ] {
        value[key] = field;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::containers::tests::container;
    use crate::model::{Endpoint, Names, Published};

    fn running() -> Container {
        let mut container = container("web", Status::Running, 1);
        container.attached = Some(Endpoint {
            name: "web".parse().expect("name"),
            address: [172, 17, 0, 2].into(),
            mac: "02:42:ac:11:00:02".parse().expect("mac"),
            port: "veth1".into(),
            published: vec![Published {
                host_ip: "0.0.0.0".parse().expect("address"),
                host_port: 8080,
                container: "80/tcp".parse().expect("port"),
                count: 1,
            }],
            exposed: vec![],
            links: vec![],
            names: Names::default(),
        });
        container
    }

    #[test]
    fn addresses_stand_in_the_old_and_in_the_new_place() {
        let settings = network_settings(&running(), Some(&NetworkOptions::usual()), "daemon").expect("JSON");
        for place in [&settings, &settings["Networks"]["bridge"]] {
            assert_eq!(place["IPAddress"], "172.17.0.2");
            assert_eq!(place["Gateway"], "172.17.0.1");
            assert_eq!(place["IPPrefixLen"], 16);
            assert_eq!(place["MacAddress"], "02:42:ac:11:00:02");
        }
        assert_eq!(settings["Ports"]["80/tcp"][0]["HostPort"], "8080");
        let stopped = network_settings(&container("web", Status::Exited, 1), Some(&NetworkOptions::usual()), "daemon")
            .expect("JSON");
        assert_eq!(stopped["IPAddress"], "");
        assert_eq!(stopped["Ports"], json!({}));
    }

    #[test]
    fn host_config_is_what_was_sent_and_dockers_defaults() {
        let mut container = running();
        container.request["HostConfig"] = json!({ "Memory": 7, "NetworkMode": "default", "Unknown": 1 });
        let config = host_config(&container, &["/db:/web/store".into()]);
        assert_eq!((&config["Memory"], &config["NetworkMode"]), (&json!(7), &json!("bridge")));
        assert_eq!(config["Links"], json!(["/db:/web/store"]));
        assert_eq!(host_config(&container, &[])["Links"], Value::Null);
        assert_eq!(config["LogConfig"], json!({ "Type": "json-file", "Config": {} }));
        assert_eq!(config["ShmSize"], 67_108_864);
        assert_eq!(config["PortBindings"], json!({}));
    }

    #[test]
    fn port_bindings_as_clients_write_them() {
        let binding = |container: &str, ip: Option<[u8; 4]>, host_ports| HostBinding {
            container: container.parse().expect("port"),
            host_ip: ip.map(Into::into),
            host_ports,
        };
        let publish = [
            binding("80/tcp", None, Some((8080, 8080))),
            binding("80/tcp", Some([127, 0, 0, 1]), None),
            binding("53/udp", None, Some((5300, 5310))),
        ];
        let expected = json!({
            "80/tcp": [{ "HostIp": "", "HostPort": "8080" }, { "HostIp": "127.0.0.1", "HostPort": "" }],
            "53/udp": [{ "HostIp": "", "HostPort": "5300-5310" }],
        });
        assert_eq!(port_bindings(&publish), expected);
    }

    #[test]
    fn config_tells_entrypoint_and_command_apart() {
        let mut container = running();
        container.spec.process.args = ["sh", "-c", "true"].map(str::to_owned).into();
        container.spec.process.entrypoint_len = 1;
        let config = config(&container);
        assert_eq!(config.entrypoint, Some(vec!["sh".to_owned()]));
        assert_eq!(config.cmd, Some(vec!["-c".to_owned(), "true".to_owned()]));
        assert_eq!(config.hostname.as_deref(), Some(container.id.short()));
    }
}
