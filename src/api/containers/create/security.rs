//! Capabilities, seccomp, devices and shared namespaces.

use std::path::PathBuf;
use std::str::FromStr;

use bollard_stubs::models::HostConfig;
use oci_spec::runtime::Capability;

use super::config::no_nul;
use crate::api::error::ApiError;
use crate::model::{SeccompProfile, Security};

/// Everything that decides what the container may do to the kernel.
pub(super) fn security(host: &HostConfig) -> Result<Security, ApiError> {
    let (host_pid, host_ipc) = (pid_mode(host)?, ipc_mode(host)?);
    let mut security = Security {
        privileged: host.privileged.unwrap_or(false),
        cap_add: capabilities("CapAdd", host.cap_add.as_deref())?,
        cap_drop: capabilities("CapDrop", host.cap_drop.as_deref())?,
        readonly_rootfs: host.readonly_rootfs.unwrap_or(false),
        no_new_privileges: false,
        seccomp: SeccompProfile::Default,
        host_pid,
        host_ipc,
        devices: devices(host)?,
    };
    for (index, option) in host.security_opt.iter().flatten().enumerate() {
        security_option(&mut security, index + 1, option)?;
    }
    Ok(security)
}

/// Names without `CAP_`, upper case.
fn capabilities(what: &str, names: Option<&[String]>) -> Result<Vec<String>, ApiError> {
    let mut parsed = Vec::new();
    for name in names.unwrap_or_default() {
        let upper = name.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare != "ALL" && Capability::from_str(bare).is_err() {
            return Err(ApiError::bad_request(format!("invalid {what}: unknown capability: \"CAP_{bare}\"")));
        }
        parsed.push(bare.to_owned());
    }
    Ok(parsed)
}

/// One `--security-opt`.
fn security_option(security: &mut Security, number: usize, option: &str) -> Result<(), ApiError> {
    let bad = || ApiError::bad_request(format!("invalid --security-opt {number}: {option:?}"));
    if option == "no-new-privileges" {
        security.no_new_privileges = true;
        return Ok(());
    }
    // `key=value`; the separator was a colon once.
    let (key, value) = option.split_once('=').or_else(|| option.split_once(':')).ok_or_else(bad)?;
    match (key, value) {
        ("no-new-privileges", "true" | "false") => security.no_new_privileges = value == "true",
        ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
        ("seccomp", "builtin") => security.seccomp = SeccompProfile::Default,
        ("seccomp", profile) => {
            let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(profile);
            parsed.map_err(|error| ApiError::bad_request(format!("decoding seccomp profile failed: {error}")))?;
            security.seccomp = SeccompProfile::Custom(profile.to_owned());
        }
        // Neither AppArmor nor SELinux confines containers here: switching them off is what is the case.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        ("apparmor", _) => return Err(ApiError::not_served("pontoon does not support AppArmor profiles")),
        ("label", _) => return Err(ApiError::not_served("pontoon does not support SELinux labels")),
        ("systempaths" | "writable-cgroups" | "credentialspec", _) => {
            return Err(ApiError::not_served(format!("pontoon does not support --security-opt {key}")));
        }
        _ => return Err(bad()),
    }
    Ok(())
}

/// `--pid`: private or the host's.
fn pid_mode(host: &HostConfig) -> Result<bool, ApiError> {
    match host.pid_mode.as_deref().unwrap_or_default() {
        "" | "private" => Ok(false),
        "host" => Ok(true),
        mode if mode.starts_with("container:") => {
            Err(ApiError::not_served("pontoon does not support another container's PID namespace (--pid container:…)"))
        }
        mode => Err(ApiError::bad_request(format!("invalid PID mode: {mode}"))),
    }
}

/// `--ipc`: private or the host's. A private one can be shared by nobody, so "shareable" promises nothing.
fn ipc_mode(host: &HostConfig) -> Result<bool, ApiError> {
    match host.ipc_mode.as_deref().unwrap_or_default() {
        "" | "private" | "shareable" => Ok(false),
        "host" => Ok(true),
        "none" => Err(ApiError::not_served("pontoon does not support containers without /dev/shm (--ipc none)")),
        mode if mode.starts_with("container:") => {
            Err(ApiError::not_served("pontoon does not support another container's IPC namespace (--ipc container:…)"))
        }
        mode => Err(ApiError::bad_request(format!("invalid IPC mode: {mode}"))),
    }
}

/// `--device`.
fn devices(host: &HostConfig) -> Result<Vec<(PathBuf, PathBuf, String)>, ApiError> {
    let mut parsed = Vec::new();
    for device in host.devices.iter().flatten() {
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let on_host = text(&device.path_on_host).unwrap_or_default();
        let inside = text(&device.path_in_container).unwrap_or_else(|| on_host.clone());
        let permissions = text(&device.cgroup_permissions).unwrap_or_else(|| "rwm".into());
        no_nul("device", &on_host)?;
        no_nul("device", &inside)?;
        if !on_host.starts_with('/') || !inside.starts_with('/') {
            return Err(ApiError::bad_request(format!("{on_host:?} is not an absolute path to a device")));
        }
        if !permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'm')) {
            return Err(ApiError::bad_request(format!("invalid device mode: {permissions}")));
        }
        parsed.push((on_host.into(), inside.into(), permissions));
    }
    Ok(parsed)
}
