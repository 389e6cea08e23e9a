//! Bind mounts, volumes and tmpfs: `-v`, `--mount`, `--tmpfs`, VOLUME.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bollard_stubs::models::{ContainerCreateBody, HostConfig, Mount as WireMount, MountType};

use super::config::no_nul;
use crate::api::error::ApiError;
use crate::model::{Mount, MountKind};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// What a request mounts.
pub(super) struct Mounts {
    /// In the order given.
    pub(super) mounts: Vec<Mount>,
    /// Targets that get a new volume each.
    pub(super) anonymous: Vec<String>,
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(message)
}

/// Reads Binds, Mounts, Tmpfs and Volumes; two mounts on one target are an error.
pub(super) fn mounts(config: &ContainerCreateBody, host: &HostConfig) -> Result<Mounts, ApiError> {
    let mut all = Mounts { mounts: Vec::new(), anonymous: Vec::new() };
    for bind in host.binds.iter().flatten() {
        parse_bind(bind, &mut all)?;
    }
    for mount in host.mounts.iter().flatten() {
        parse_mount(mount, &mut all)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let kind = MountKind::Tmpfs { options: tmpfs_options(options)? };
        let read_only = options.split(',').any(|option| option == "ro");
        all.mounts.push(Mount { kind, target: clean_target(target)?, read_only, propagation: None });
    }
    let mut targets = BTreeSet::new();
    for target in all.mounts.iter().map(|mount| &mount.target).chain(&all.anonymous) {
        if !targets.insert(target.clone()) {
            return Err(bad(format!("Duplicate mount point: {target}")));
        }
    }
    // `-v name:/data` beside the same path in Volumes is how clients send one volume: the named one wins.
    for target in config.volumes.iter().flatten() {
        let target = clean_target(target)?;
        if targets.insert(target.clone()) {
            all.anonymous.push(target);
        }
    }
    all.anonymous.sort();
    Ok(all)
}

/// `source:target[:options]`, or a target alone.
fn parse_bind(text: &str, all: &mut Mounts) -> Result<(), ApiError> {
    no_nul("volume specification", text)?;
    let invalid = || bad(format!("invalid volume specification: '{text}'"));
    let mut parts = text.split(':');
    let (first, target, options) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(invalid());
    }
    let Some(target) = target else {
        all.anonymous.push(clean_target(first)?);
        return Ok(());
    };
    if first.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    let target = clean_target(target)?;
    let kind = if first.starts_with('/') {
        MountKind::Bind { source: PathBuf::from(first), create: true }
    } else {
        MountKind::Volume { name: volume_name(first)?, anonymous: false }
    };
    let mut mount = Mount { kind, target, read_only: false, propagation: None };
    for option in options.unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        bind_option(&mut mount, option, options.unwrap_or_default())?;
    }
    all.mounts.push(mount);
    Ok(())
}

fn bind_option(mount: &mut Mount, option: &str, all: &str) -> Result<(), ApiError> {
    let is_bind = matches!(mount.kind, MountKind::Bind { .. });
    match option {
        "ro" => mount.read_only = true,
        "rw" => mount.read_only = false,
        // Labels of SELinux, which nothing here uses, and hints for Docker Desktop.
        "z" | "Z" | "cached" | "delegated" | "consistent" => {}
        "nocopy" if !is_bind => return Err(ApiError::not_served("pontoon does not support the volume option nocopy")),
        propagation if is_bind && PROPAGATIONS.contains(&propagation) => {
            mount.propagation = Some(propagation.to_owned());
        }
        _ => return Err(bad(format!("invalid mode: {all}"))),
    }
    Ok(())
}

fn parse_mount(mount: &WireMount, all: &mut Mounts) -> Result<(), ApiError> {
    let source = mount.source.clone().unwrap_or_default();
    no_nul("mount source", &source)?;
    let target = mount.target.as_deref().filter(|target| !target.is_empty());
    let target = clean_target(target.ok_or_else(|| bad("invalid mount config: field Target must not be empty"))?)?;
    let read_only = mount.read_only.unwrap_or(false);
    let (kind, propagation) = match mount.typ {
        Some(MountType::BIND) => bind_mount(mount, source)?,
        Some(MountType::VOLUME) => {
            refuse_volume_options(mount)?;
            if source.is_empty() {
                if read_only {
                    return Err(bad(
                        "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
                    ));
                }
                all.anonymous.push(target);
                return Ok(());
            }
            (MountKind::Volume { name: volume_name(&source)?, anonymous: false }, None)
        }
        Some(MountType::TMPFS) => (tmpfs_mount(mount, &source)?, None),
        Some(other) => return Err(ApiError::not_served(format!("pontoon does not support mounts of type {other}"))),
        None => return Err(bad("invalid mount config: mount type unknown")),
    };
    all.mounts.push(Mount { kind, target, read_only, propagation });
    Ok(())
}

fn bind_mount(mount: &WireMount, source: String) -> Result<(MountKind, Option<String>), ApiError> {
    if !source.starts_with('/') {
        let reason = format!("invalid mount path: '{source}' mount path must be absolute");
        return Err(bad(format!("invalid mount config for type \"bind\": {reason}")));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    let recursive = [options.non_recursive, options.read_only_non_recursive, options.read_only_force_recursive];
    if recursive.contains(&Some(true)) {
        return Err(ApiError::not_served("pontoon does not support bind-recursive"));
    }
    let propagation = options.propagation.map(|propagation| propagation.to_string()).filter(|text| !text.is_empty());
    let create = options.create_mountpoint.unwrap_or(false);
    Ok((MountKind::Bind { source: source.into(), create }, propagation))
}

fn refuse_volume_options(mount: &WireMount) -> Result<(), ApiError> {
    let Some(options) = &mount.volume_options else { return Ok(()) };
    let driver = options.driver_config.clone().unwrap_or_default();
    for (asked, what) in [
        (options.no_copy == Some(true), "the volume option nocopy"),
        (options.subpath.as_ref().is_some_and(|path| !path.is_empty()), "subpaths of volumes"),
        (options.labels.as_ref().is_some_and(|labels| !labels.is_empty()), "labels on volumes"),
        (!matches!(driver.name.as_deref(), None | Some("" | "local")), "volume drivers other than local"),
        (driver.options.is_some_and(|options| !options.is_empty()), "volume driver options"),
    ] {
        if asked {
            return Err(ApiError::not_served(format!("pontoon does not support {what}")));
        }
    }
    Ok(())
}

fn tmpfs_mount(mount: &WireMount, source: &str) -> Result<MountKind, ApiError> {
    if !source.is_empty() {
        return Err(bad("invalid mount config for type \"tmpfs\": field Source must not be specified"));
    }
    let asked = mount.tmpfs_options.clone().unwrap_or_default();
    let mut options = Vec::new();
    if let Some(size) = asked.size_bytes.filter(|size| *size != 0) {
        options.push(format!("size={size}"));
    }
    if let Some(mode) = asked.mode.filter(|mode| *mode != 0) {
        options.push(format!("mode={mode:o}"));
    }
    options.extend(asked.options.iter().flatten().map(|option| option.join("=")));
    Ok(MountKind::Tmpfs { options: tmpfs_options(&options.join(","))? })
}

/// Options that tmpfs or every mount knows (tmpfs(5), mount(8)).
fn tmpfs_options(text: &str) -> Result<String, ApiError> {
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        let flag =
            ["ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "atime", "noatime"];
        let setting = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
        let plain = |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b':' | b'-'));
        let known = match value {
            None => flag.contains(&key),
            Some(value) => setting.contains(&key) && !value.is_empty() && plain(value),
        };
        if !known {
            return Err(bad(format!("invalid tmpfs option [{option:?}]")));
        }
    }
    Ok(text.to_owned())
}

/// An absolute path without `.`, `..` and doubled slashes; never the root.
fn clean_target(text: &str) -> Result<String, ApiError> {
    no_nul("mount path", text)?;
    if !text.starts_with('/') {
        return Err(bad(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(bad(format!(
            "invalid volume specification: '{text}': invalid mount config: destination can't be '/'"
        )));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn volume_name(text: &str) -> Result<String, ApiError> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && (2..=255).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(bad(format!(
        "create {text}: {text:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" \
         are allowed. If you intended to pass a host directory, use absolute path"
    )))
}
