//! `_ping`, `version`, `info` and `events`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

use bollard_stubs::models::{
    EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum, FirewallInfo, LocalNodeState, PluginsInfo,
    RegistryServiceConfig, Runtime, SwarmInfo, SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum,
    SystemVersion, SystemVersionComponents, SystemVersionPlatform,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::broadcast;

use super::Api;
use super::body::{self, Response, json, json_line};
use super::error::ApiError;
use super::filters::Filters;
use super::query::Query;
use super::router::{NEWEST, OLDEST};
use crate::config::LogLevel;
use crate::containers::{Event, EventFilter};

/// The filters of `events`.
const EVENT_FILTERS: [&str; 8] = ["type", "event", "container", "image", "label", "network", "volume", "daemon"];

/// `GET` and `HEAD /_ping`: what a client negotiates by.
pub(super) fn ping() -> Response {
    let mut response = body::full(StatusCode::OK, "text/plain; charset=utf-8", "OK");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(HeaderName::from_static("pragma"), HeaderValue::from_static("no-cache"));
    // There is no builder; 1 keeps clients from trying BuildKit sessions.
    headers.insert(HeaderName::from_static("builder-version"), HeaderValue::from_static("1"));
    headers.insert(HeaderName::from_static("swarm"), HeaderValue::from_static("inactive"));
    response
}

/// `GET /version`.
pub(super) fn version() -> Response {
    let kernel = kernel_release();
    let commit = option_env!("PONTOON_COMMIT").unwrap_or("unknown");
    let details = [
        ("ApiVersion", NEWEST.to_string()),
        ("MinAPIVersion", OLDEST.to_string()),
        ("GoVersion", "none (Rust)".into()),
        ("GitCommit", commit.into()),
        ("BuildTime", String::new()),
        ("Os", "linux".into()),
        ("Arch", architecture().into()),
        ("KernelVersion", kernel.clone()),
        ("Experimental", "false".into()),
    ];
    let engine = SystemVersionComponents {
        name: "Engine".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        details: Some(details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
    };
    let version = SystemVersion {
        platform: Some(SystemVersionPlatform { name: "Pontoon".into() }),
        components: Some(vec![engine]),
        version: Some(env!("CARGO_PKG_VERSION").into()),
        api_version: Some(NEWEST.to_string()),
        min_api_version: Some(OLDEST.to_string()),
        git_commit: Some(commit.into()),
        go_version: Some("none (Rust)".into()),
        os: Some("linux".into()),
        arch: Some(architecture().into()),
        kernel_version: Some(kernel),
        experimental: Some(false),
        build_time: Some(String::new()),
    };
    json(StatusCode::OK, &version)
}

/// `GET /info`.
pub(super) fn info(api: &Api) -> Response {
    let (numbers, config) = (api.engine.info(), api.engine.config());
    let count = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let host = HostFacts::read();
    let runtimes = ["integrated", config.runtime.as_str()].map(|name| (name.to_owned(), runtime_path(name)));
    let info = SystemInfo {
        id: Some(numbers.id),
        containers: count(numbers.running + numbers.paused + numbers.stopped),
        containers_running: count(numbers.running),
        containers_paused: count(numbers.paused),
        containers_stopped: count(numbers.stopped),
        images: count(numbers.images),
        driver: Some("overlay2".into()),
        driver_status: Some(vec![vec!["Backing".into(), "overlayfs, mounted by each container's shim".into()]]),
        docker_root_dir: Some(config.data_root.display().to_string()),
        plugins: Some(PluginsInfo {
            volume: names(&["local"]),
            network: names(&["bridge", "host", "null"]),
            authorization: None,
            log: names(&["json-file", "none"]),
        }),
        memory_limit: Some(true),
        swap_limit: Some(true),
        cpu_cfs_period: Some(true),
        cpu_cfs_quota: Some(true),
        cpu_shares: Some(true),
        cpu_set: Some(true),
        pids_limit: Some(true),
        oom_kill_disable: Some(false),
        ipv4_forwarding: Some(host.forwards),
        debug: Some(config.log_level == LogLevel::Debug),
        nfd: fs::read_dir("/proc/self/fd").ok().and_then(|entries| count(entries.count())),
        n_goroutines: Some(0),
        n_events_listener: Some(0),
        system_time: Some(jiff::Timestamp::now().to_string()),
        logging_driver: Some(config.log_driver.clone()),
        cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
        cgroup_version: Some(host.cgroup_version),
        kernel_version: Some(kernel_release()),
        operating_system: Some(host.name),
        os_version: Some(host.version),
        os_type: Some("linux".into()),
        architecture: Some(std::env::consts::ARCH.into()),
        ncpu: count(cpus()),
        mem_total: Some(host.memory),
        index_server_address: Some(String::new()),
        registry_config: Some(RegistryServiceConfig {
            insecure_registry_cidrs: Some(vec![]),
            index_configs: Some(HashMap::new()),
            mirrors: Some(vec![]),
        }),
        name: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        labels: Some(vec![]),
        experimental_build: Some(false),
        server_version: Some(env!("CARGO_PKG_VERSION").into()),
        runtimes: Some(runtimes.into()),
        default_runtime: Some(config.runtime.clone()),
        swarm: Some(SwarmInfo { local_node_state: Some(LocalNodeState::INACTIVE), ..SwarmInfo::default() }),
        // Containers always outlive the daemon.
        live_restore_enabled: Some(true),
        init_binary: Some(String::new()),
        security_options: names(&["name=seccomp,profile=builtin"]),
        firewall_backend: Some(FirewallInfo { driver: Some("nftables".into()), info: None }),
        warnings: Some(numbers.warnings),
        ..SystemInfo::default()
    };
    json(StatusCode::OK, &info)
}

fn runtime_path(name: &str) -> Runtime {
    let path = if name == "integrated" { "libcontainer" } else { name };
    Runtime { path: Some(path.to_owned()), ..Runtime::default() }
}

/// What `info` tells about the machine.
struct HostFacts {
    name: String,
    version: String,
    memory: i64,
    forwards: bool,
    cgroup_version: SystemInfoCgroupVersionEnum,
}

impl HostFacts {
    fn read() -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let system = rustix::system::sysinfo();
        // The field is as wide as the machine's words.
        let memory = u128::from(system.totalram as u64) * u128::from(system.mem_unit);
        let unified = has_cgroup_2();
        Self {
            name: field("PRETTY_NAME").unwrap_or_else(|| "Linux".into()),
            version: field("VERSION_ID").unwrap_or_default(),
            memory: i64::try_from(memory).unwrap_or(i64::MAX),
            forwards: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1"),
            cgroup_version: if unified { SystemInfoCgroupVersionEnum::_2 } else { SystemInfoCgroupVersionEnum::_1 },
        }
    }
}

/// CPUs that this process may use.
pub(super) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The machine's architecture in Go's words, which images use.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// `GET /events`: a line of JSON an event, from the past that is still known to `until` or the client's end.
pub(super) fn events(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filter = EventFilter {
        since: query.timestamp("since")?,
        until: query.timestamp("until")?,
        filters: Filters::parse(query, &EVENT_FILTERS)?.into_inner(),
    };
    let (past, coming) = api.engine.events(&filter);
    let left = filter.until.map(|until| {
        let now = jiff::Timestamp::now().as_nanosecond();
        Duration::from_nanos(u64::try_from(i128::from(until) - now).unwrap_or(0))
    });
    let end = async move {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => future::pending().await,
        }
    };
    let live = live_events(coming, filter).take_until(end);
    let lines = stream::iter(past).chain(live).map(|event| event_line(&event));
    Ok(body::stream("application/json", api.until_shutdown(lines)))
}

fn live_events(coming: broadcast::Receiver<Event>, filter: EventFilter) -> impl Stream<Item = Event> + Send {
    stream::unfold((coming, filter), async |(mut coming, filter)| {
        loop {
            match coming.recv().await {
                Ok(event) if filter.matches(&event) => return Some((event, (coming, filter))),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a client of events reads too slowly: it misses some");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// An event with the fields of before API 1.22, which some clients still read.
#[derive(Serialize)]
struct EventLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(flatten)]
    message: EventMessage,
}

fn event_line(event: &Event) -> Bytes {
    let legacy = matches!(event.kind, "container" | "image");
    let message = EventMessage {
        typ: event.kind.parse::<EventMessageTypeEnum>().ok(),
        action: Some(event.action.clone()),
        actor: Some(EventActor {
            id: Some(event.id.clone()),
            attributes: Some(event.attributes.clone().into_iter().collect()),
        }),
        scope: Some(EventMessageScopeEnum::LOCAL),
        time: Some(event.time_nano.div_euclid(1_000_000_000)),
        time_nano: Some(event.time_nano),
    };
    json_line(&EventLine {
        status: legacy.then(|| event.action.clone()),
        id: legacy.then(|| event.id.clone()),
        from: event.attributes.get("image").filter(|_| event.kind == "container").cloned(),
        message,
    })
}

/// A map of docker's `map[string]string`.
pub(super) fn plain_map(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether the machine's cgroups are of version 2 alone.
pub(super) fn has_cgroup_2() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_old_and_new_fields() {
        let event = Event {
            kind: "container",
            action: "start".into(),
            id: "ab".repeat(32),
            attributes: [("image".to_owned(), "busybox".to_owned())].into(),
            time_nano: 1_700_000_000_123_456_789,
        };
        let line = event_line(&event);
        assert!(line.ends_with(b"\r\n"));
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(value["Type"], "container");
        assert_eq!(value["Action"], "start");
        assert_eq!((&value["status"], &value["from"]), (&"start".into(), &"busybox".into()));
        assert_eq!(value["time"], 1_700_000_000);
        assert_eq!(value["timeNano"], 1_700_000_000_123_456_789i64);
        assert_eq!(value["scope"], "local");
    }
}
