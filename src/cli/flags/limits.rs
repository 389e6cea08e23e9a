//! Numbers: sizes, CPUs, process limits, restart policies, devices.

use bollard::models::{DeviceMapping, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum};

use super::invalid;
use crate::cli::error::CliError;
use crate::model::{parse_size, parse_ulimit};

/// Bytes.
pub(super) fn size(flag: &str, text: &Option<String>) -> Result<Option<i64>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let bytes = parse_size(text).map_err(|error| invalid(format!("--{flag}: {error}")))?;
    i64::try_from(bytes).map(Some).map_err(|_| invalid(format!("--{flag}: {text} is too much")))
}

/// Bytes, or -1.
pub(super) fn size_or_unlimited(flag: &str, text: &Option<String>) -> Result<Option<i64>, CliError> {
    if text.as_deref() == Some("-1") { Ok(Some(-1)) } else { size(flag, text) }
}

/// `1.5` CPUs → billionths.
pub(super) fn nano_cpus(text: &str) -> Result<i64, CliError> {
    let wrong = || invalid(format!("--cpus: {text:?} is not a number of CPUs with at most nine decimals"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if fraction.len() > 9 || !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    format!("{whole}{fraction:0<9}").parse().map_err(|_| wrong())
}

/// `nofile=1024:2048`.
pub(super) fn ulimit(text: &str) -> Result<ResourcesUlimits, CliError> {
    let (name, soft, hard) = parse_ulimit(text).map_err(|error| invalid(error.to_string()))?;
    let signed = |value: u64| i64::try_from(value).unwrap_or(-1);
    Ok(ResourcesUlimits { name: Some(name), soft: Some(signed(soft)), hard: Some(signed(hard)) })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:times]`.
pub(super) fn restart(text: &str) -> Result<RestartPolicy, CliError> {
    let (name, times) = text.split_once(':').map_or((text, None), |(name, times)| (name, Some(times)));
    let policy = match name {
        "no" | "" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => return Err(invalid(format!("invalid restart policy: unknown policy '{name}'"))),
    };
    let times = match times {
        None => 0,
        Some(_) if policy != RestartPolicyNameEnum::ON_FAILURE => {
            return Err(invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'"));
        }
        Some(times) => times
            .parse()
            .map_err(|_| invalid("invalid restart policy format: maximum retry count must be an integer"))?,
    };
    Ok(RestartPolicy { name: Some(policy), maximum_retry_count: Some(times) })
}

/// `host[:container[:rwm]]`, or `host:rwm`.
pub(super) fn device(text: &str) -> Result<DeviceMapping, CliError> {
    let permissions = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (host, container, access) = match text.split(':').collect::<Vec<_>>()[..] {
        [host] => (host, host, "rwm"),
        [host, access] if permissions(access) => (host, host, access),
        [host, container] => (host, container, "rwm"),
        [host, container, access] if permissions(access) => (host, container, access),
        _ => return Err(invalid(format!("invalid device specification: {text}"))),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(invalid(format!("invalid device specification: {text}: paths must be absolute")));
    }
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(container.to_owned()),
        cgroup_permissions: Some(access.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact() {
        for (text, expected) in
            [("1", 1_000_000_000), ("1.5", 1_500_000_000), (".25", 250_000_000), ("0.001", 1_000_000)]
        {
            assert_eq!(nano_cpus(text).expect("a number"), expected, "{text}");
        }
        for bad in ["", ".", "-1", "1e3", "x", "0.0000000001"] {
            assert!(nano_cpus(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn restart_policies() {
        let read = |text: &str| restart(text).map(|policy| policy.maximum_retry_count).map_err(|e| e.to_string());
        assert_eq!(read("on-failure:3"), Ok(Some(3)));
        assert_eq!(read("always"), Ok(Some(0)));
        for bad in ["sometimes", "always:3", "on-failure:x"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn devices() {
        let read = |text: &str| device(text).map(|d| (d.path_in_container, d.cgroup_permissions));
        assert_eq!(read("/dev/a").ok(), Some((Some("/dev/a".into()), Some("rwm".into()))));
        assert_eq!(read("/dev/a:r").ok(), Some((Some("/dev/a".into()), Some("r".into()))));
        assert_eq!(read("/dev/a:/dev/b:rw").ok(), Some((Some("/dev/b".into()), Some("rw".into()))));
        for bad in ["a", "/dev/a:b:rw:x", "/dev/a:/dev/b:x", ""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
