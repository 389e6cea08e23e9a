//! Cgroup limits, ulimits and sysctls.

use std::collections::BTreeMap;

use bollard_stubs::models::HostConfig;

use crate::api::error::ApiError;
use crate::model::{NetworkMode, Resources, ulimit};

/// Less memory than this and the runtime itself does not fit.
const MINIMUM_MEMORY: i64 = 6 << 20;

/// Microseconds; the kernel's default.
const CPU_PERIOD: i64 = 100_000;

/// Kernel parameters that belong to the IPC namespace (sysctl/kernel.rst, ipc_namespaces(7)).
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(message)
}

/// Zero is how clients say nothing.
fn said(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}

/// `--memory`, `--cpus`, `--pids-limit` and their like.
pub(super) fn resources(host: &HostConfig, cpus: usize, warnings: &mut Vec<String>) -> Result<Resources, ApiError> {
    let memory = memory(host)?;
    let (cpu_quota, cpu_period) = cpu(host, cpus)?;
    let shares = said(host.cpu_shares).map(|shares| shares.clamp(2, 262_144));
    if shares != said(host.cpu_shares) {
        warnings.push("CPU shares were brought into the kernel's range of 2 to 262144".into());
    }
    let score = said(host.oom_score_adj);
    if score.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        let score = score.unwrap_or_default();
        return Err(bad(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")));
    }
    if host.shm_size.is_some_and(|size| size < 0) {
        return Err(bad("SHM size can not be less than 0"));
    }
    Ok(Resources {
        memory: memory.limit,
        memory_swap: memory.with_swap,
        memory_reservation: memory.reservation,
        cpu_shares: shares.and_then(|shares| u64::try_from(shares).ok()),
        cpu_quota,
        cpu_period: cpu_period.and_then(|period| u64::try_from(period).ok()),
        cpuset_cpus: cpuset(host.cpuset_cpus.as_deref().unwrap_or_default(), cpus)?,
        pids_limit: said(host.pids_limit).filter(|limit| *limit > 0),
        oom_score_adj: score.and_then(|score| i32::try_from(score).ok()),
        ulimits: ulimits(host)?,
        shm_size: said(host.shm_size),
    })
}

/// Bytes.
struct Memory {
    limit: Option<i64>,
    with_swap: Option<i64>,
    reservation: Option<i64>,
}

fn memory(host: &HostConfig) -> Result<Memory, ApiError> {
    let (memory, swap) = (said(host.memory), said(host.memory_swap));
    let reservation = said(host.memory_reservation);
    if memory.is_some_and(|memory| memory < MINIMUM_MEMORY) {
        return Err(bad("Minimum memory limit allowed is 6MB"));
    }
    if let Some(swap) = swap.filter(|swap| *swap > 0) {
        let memory = memory
            .ok_or_else(|| bad("You should always set the Memory limit when using Memoryswap limit, see usage"))?;
        if swap < memory {
            return Err(bad("Minimum memoryswap limit should be larger than memory limit, see usage"));
        }
    }
    if swap.is_some_and(|swap| swap < -1) {
        return Err(bad("invalid MemorySwap: -1 is unlimited, other negative values mean nothing"));
    }
    if let Some(reservation) = reservation {
        if reservation < MINIMUM_MEMORY {
            return Err(bad("Minimum memory reservation allowed is 6MB"));
        }
        if memory.is_some_and(|memory| memory < reservation) {
            return Err(bad("Minimum memory limit can not be less than memory reservation limit, see usage"));
        }
    }
    Ok(Memory { limit: memory, with_swap: swap, reservation })
}

/// Quota and period, from `--cpus` or as given.
fn cpu(host: &HostConfig, cpus: usize) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let (quota, period) = (said(host.cpu_quota), said(host.cpu_period));
    if let Some(nano) = said(host.nano_cpus) {
        if period.is_some() {
            return Err(bad("Conflicting options: Nano CPUs and CPU Period cannot both be set"));
        }
        if quota.is_some() {
            return Err(bad("Conflicting options: Nano CPUs and CPU Quota cannot both be set"));
        }
        let all = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        if !(10_000_000..=all).contains(&nano) {
            return Err(bad(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            )));
        }
        return Ok((Some(nano / (1_000_000_000 / CPU_PERIOD)), Some(CPU_PERIOD)));
    }
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return Err(bad("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"));
    }
    if quota.is_some_and(|quota| quota > 0 && quota < 1000) {
        return Err(bad("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    Ok((quota.filter(|quota| *quota > 0), period))
}

/// `0-1,3`.
fn cpuset(text: &str, cpus: usize) -> Result<Option<String>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number =
            |text: &str| text.parse::<usize>().map_err(|_| bad(format!("Invalid value {text:?} for cpuset cpus")));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad(format!("Invalid value {part:?} for cpuset cpus")));
        }
        if last >= cpus {
            let available = format!("0-{}", cpus.saturating_sub(1));
            return Err(bad(format!("Requested CPUs are not available - requested {text}, available: {available}")));
        }
    }
    Ok(Some(text.to_owned()))
}

fn ulimits(host: &HostConfig) -> Result<Vec<(String, u64, u64)>, ApiError> {
    let mut parsed = Vec::new();
    for ulimit in host.ulimits.iter().flatten() {
        let name = ulimit.name.clone().unwrap_or_default().to_ascii_lowercase();
        if !ulimit::NAMES.contains(&name.as_str()) {
            return Err(bad(format!("invalid ulimit type: {name}")));
        }
        // -1 is how clients write "unlimited".
        let value = |number: Option<i64>| match number.unwrap_or(0) {
            -1 => Ok(u64::MAX),
            number => u64::try_from(number).map_err(|_| bad(format!("invalid ulimit {name}: {number}"))),
        };
        let (soft, hard) = (value(ulimit.soft)?, value(ulimit.hard)?);
        if soft > hard {
            return Err(bad(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")));
        }
        parsed.push((name, soft, hard));
    }
    Ok(parsed)
}

/// Parameters of the container's own namespaces, and no others.
pub(super) fn sysctls(host: &HostConfig, mode: &NetworkMode) -> Result<BTreeMap<String, String>, ApiError> {
    let host_ipc = host.ipc_mode.as_deref() == Some("host");
    let mut parsed = BTreeMap::new();
    for (name, value) in host.sysctls.iter().flatten() {
        let well_formed = name.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'))
        });
        if !well_formed || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(bad(format!("invalid sysctl {name:?}={value:?}")));
        }
        if name.starts_with("net.") {
            if matches!(mode, NetworkMode::Host) {
                return Err(bad(format!("sysctl {name:?} not allowed in host network namespace")));
            }
        } else if IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            if host_ipc {
                return Err(bad(format!("sysctl {name:?} not allowed in host ipc namespace")));
            }
        } else {
            return Err(bad(format!("sysctl {name:?} is not in a separate kernel namespace")));
        }
        parsed.insert(name.clone(), value.clone());
    }
    Ok(parsed)
}
