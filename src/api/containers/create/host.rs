//! The rest of HostConfig: restart policy, log, and everything that is refused by name.

use std::collections::BTreeMap;

use bollard_stubs::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigIsolationEnum, RestartPolicyNameEnum,
};

use super::Daemon;
use crate::api::error::ApiError;
use crate::model::RestartPolicy;
use crate::model::spec::LogSpec;

/// Refuses what pontoon cannot do, unless it is what clients send by default.
pub(super) fn refuse_unserved(
    config: &ContainerCreateBody,
    host: &HostConfig,
    daemon: &Daemon<'_>,
) -> Result<(), ApiError> {
    for (asked, what) in unserved(config, host) {
        if asked {
            return Err(ApiError::not_served(format!("pontoon does not support {what}")));
        }
    }
    if host.cgroupns_mode == Some(HostConfigCgroupnsModeEnum::PRIVATE) && !daemon.cgroup_namespaces {
        let what = "a cgroup namespace of the container's own (--cgroupns private) on a machine with cgroup version 1";
        return Err(ApiError::not_served(format!("pontoon does not support {what}")));
    }
    if matches!(host.isolation, Some(HostConfigIsolationEnum::PROCESS | HostConfigIsolationEnum::HYPERV)) {
        return Err(ApiError::bad_request("invalid isolation mode: there is only \"default\" on Linux"));
    }
    Ok(())
}

/// Each wish beside its name.
fn unserved(config: &ContainerCreateBody, host: &HostConfig) -> Vec<(bool, &'static str)> {
    let probe = config.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    let probes = probe.is_some_and(|test| !matches!(test.first().map(String::as_str), None | Some("NONE" | "")));
    let unmasked = |paths: &Option<Vec<String>>| paths.is_some() && host.privileged != Some(true);
    vec![
        (probes, "health checks"),
        (yes(config.network_disabled), "NetworkDisabled: use --net none"),
        (some(&config.on_build) || some(&config.shell), "OnBuild and Shell: they mean something in images only"),
        (nonzero(host.blkio_weight.map(i64::from)) || some(&host.blkio_weight_device), "block I/O weights"),
        (
            some(&host.blkio_device_read_bps)
                || some(&host.blkio_device_write_bps)
                || some(&host.blkio_device_read_iops)
                || some(&host.blkio_device_write_iops),
            "block I/O limits",
        ),
        (nonzero(host.cpu_realtime_period) || nonzero(host.cpu_realtime_runtime), "real-time CPU limits"),
        (text(&host.cpuset_mems), "cpuset memory nodes (--cpuset-mems)"),
        (text(&host.cgroup_parent), "a cgroup parent of the container's own (--cgroup-parent)"),
        (text(&host.cgroup), "joining another container's cgroup"),
        (some(&host.device_cgroup_rules), "device cgroup rules"),
        (some(&host.device_requests), "device requests (--gpus)"),
        (host.memory_swappiness.is_some_and(|value| value != -1), "memory swappiness"),
        (yes(host.oom_kill_disable), "switching off the OOM killer (--oom-kill-disable)"),
        (yes(host.init), "an init process in the container (--init)"),
        (
            nonzero(host.cpu_count)
                || nonzero(host.cpu_percent)
                || nonzero(host.io_maximum_iops)
                || nonzero(host.io_maximum_bandwidth),
            "the limits of Windows containers",
        ),
        (!matches!(host.volume_driver.as_deref(), None | Some("" | "local")), "volume drivers other than local"),
        (some(&host.volumes_from), "volumes from other containers (--volumes-from)"),
        (host.annotations.as_ref().is_some_and(|map| !map.is_empty()), "annotations"),
        (host.cgroupns_mode == Some(HostConfigCgroupnsModeEnum::HOST), "the host's cgroup namespace"),
        (host.storage_opt.as_ref().is_some_and(|map| !map.is_empty()), "storage options"),
        (!matches!(host.uts_mode.as_deref(), None | Some("")), "the host's UTS namespace (--uts)"),
        (!matches!(host.userns_mode.as_deref(), None | Some("" | "host")), "user namespaces"),
        (
            unmasked(&host.masked_paths) || unmasked(&host.readonly_paths),
            "other masked and read-only paths (--security-opt systempaths)",
        ),
    ]
}

fn yes(flag: Option<bool>) -> bool {
    flag == Some(true)
}

fn nonzero(number: Option<i64>) -> bool {
    number.is_some_and(|number| number != 0)
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn text(value: &Option<String>) -> bool {
    value.as_ref().is_some_and(|value| !value.is_empty())
}

/// `--restart`.
pub(super) fn restart(host: &HostConfig) -> Result<RestartPolicy, ApiError> {
    let Some(policy) = &host.restart_policy else { return Ok(RestartPolicy::No) };
    let retries = policy.maximum_retry_count.unwrap_or(0);
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::EMPTY);
    let parsed = match name {
        RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO => RestartPolicy::No,
        RestartPolicyNameEnum::ALWAYS => RestartPolicy::Always,
        RestartPolicyNameEnum::UNLESS_STOPPED => RestartPolicy::UnlessStopped,
        RestartPolicyNameEnum::ON_FAILURE => {
            let negative = |_| ApiError::bad_request("invalid restart policy: maximum retry count cannot be negative");
            RestartPolicy::OnFailure { max_retries: u32::try_from(retries).map_err(negative)? }
        }
    };
    if retries != 0 && name != RestartPolicyNameEnum::ON_FAILURE {
        let rule = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
        return Err(ApiError::bad_request(rule));
    }
    if parsed != RestartPolicy::No && yes(host.auto_remove) {
        return Err(ApiError::bad_request("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(parsed)
}

/// `--log-driver` and `--log-opt`.
pub(super) fn log(host: &HostConfig, daemon: &Daemon<'_>) -> Result<LogSpec, ApiError> {
    let asked = host.log_config.clone().unwrap_or_default();
    let driver = asked.typ.filter(|driver| !driver.is_empty());
    let own: BTreeMap<String, String> = asked.config.unwrap_or_default().into_iter().collect();
    // The daemon's options belong to the daemon's driver.
    let inherits = driver.as_deref().is_none_or(|driver| driver == daemon.log_driver);
    let mut options = if inherits { daemon.log_opts.clone() } else { BTreeMap::new() };
    options.extend(own);
    let driver = driver.unwrap_or_else(|| daemon.log_driver.to_owned());
    if !matches!(driver.as_str(), "json-file" | "none") {
        let known = "there are json-file and none";
        return Err(ApiError::bad_request(format!("logger: no log driver named '{driver}' is registered: {known}")));
    }
    let mut log = LogSpec { driver, ..LogSpec::default() };
    for (key, value) in &options {
        log_option(&mut log, key, value)?;
    }
    if log.max_file > 1 && log.max_size.is_none() {
        return Err(ApiError::bad_request("max-file cannot be set without max-size"));
    }
    Ok(log)
}

fn log_option(log: &mut LogSpec, key: &str, value: &str) -> Result<(), ApiError> {
    let bad = || ApiError::bad_request(format!("invalid value {value:?} for log opt '{key}'"));
    match key {
        "max-size" if value == "-1" => log.max_size = None,
        "max-size" => log.max_size = Some(bytes(value).filter(|size| *size > 0).ok_or_else(bad)?),
        "max-file" => log.max_file = value.parse().ok().filter(|files| *files > 0).ok_or_else(bad)?,
        _ => {
            return Err(ApiError::bad_request(format!("unknown log opt '{key}' for {} log driver", log.driver)));
        }
    }
    Ok(())
}

/// `10`, `10k`, `10m`, `1g`, also with `b` behind; powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, shift) = match bare.char_indices().last()? {
        (at, 'k') => (&bare[..at], 10),
        (at, 'm') => (&bare[..at], 20),
        (at, 'g') => (&bare[..at], 30),
        (at, 't') => (&bare[..at], 40),
        _ => (bare, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        for (text, size) in [("10", Some(10)), ("10k", Some(10 << 10)), ("3MB", Some(3 << 20)), ("1g", Some(1 << 30))] {
            assert_eq!(bytes(text), size, "{text}");
        }
        for bad in ["", "m", "-1", "1x", "99999999999t"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
