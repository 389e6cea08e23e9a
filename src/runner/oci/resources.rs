//! Limits: cgroup resources, devices, rlimits.

use oci_spec::runtime::{
    LinuxCpu, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxPids, LinuxResources, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType,
};

use super::{OciError, OciInput};
use crate::model::Resources;

/// Cgroup limits. Sections that limit nothing are left out: the runtime then leaves those controllers alone.
pub(super) fn resources(input: &OciInput<'_>) -> Result<LinuxResources, OciError> {
    let wishes = &input.spec.resources;
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(device_rules(input))).set_memory(memory(wishes)).set_cpu(cpu(wishes));
    if let Some(limit) = wishes.pids_limit.filter(|&limit| limit > 0) {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    Ok(resources)
}

fn memory(wishes: &Resources) -> Option<LinuxMemory> {
    let limit = wishes.memory.filter(|&bytes| bytes > 0);
    // Docker's default: as much swap as memory.
    let swap = match wishes.memory_swap {
        None | Some(0) => limit.map(|bytes| bytes.saturating_mul(2)),
        other => other,
    };
    let reservation = wishes.memory_reservation.filter(|&bytes| bytes > 0);
    if limit.is_none() && swap.is_none() && reservation.is_none() {
        return None;
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(limit).set_swap(swap).set_reservation(reservation);
    Some(memory)
}

fn cpu(wishes: &Resources) -> Option<LinuxCpu> {
    let shares = wishes.cpu_shares.filter(|&shares| shares > 0);
    let quota = wishes.cpu_quota.filter(|&quota| quota != 0);
    let period = wishes.cpu_period.filter(|&period| period > 0);
    let cpus = wishes.cpuset_cpus.clone().filter(|cpus| !cpus.is_empty());
    if shares.is_none() && quota.is_none() && period.is_none() && cpus.is_none() {
        return None;
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(shares).set_quota(quota).set_period(period).set_cpus(cpus);
    Some(cpu)
}

/// Devices that every container may use: type, major, minor (kernel: Documentation/admin-guide/devices.txt).
const COMMON: [(i64, i64); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];

fn device_rules(input: &OciInput<'_>) -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C};
    if input.spec.security.privileged {
        return vec![device_rule(true, A, None, None, "rwm")];
    }
    let mut rules = vec![
        device_rule(false, A, None, None, "rwm"),
        // A node of any device may be made, but not opened.
        device_rule(true, C, None, None, "m"),
        device_rule(true, B, None, None, "m"),
        // Unix98 terminals.
        device_rule(true, C, Some(136), None, "rwm"),
    ];
    rules.extend(COMMON.map(|(major, minor)| device_rule(true, C, Some(major), Some(minor), "rwm")));
    rules.extend(
        input.devices.iter().map(|(device, access)| {
            device_rule(true, device.typ(), Some(device.major()), Some(device.minor()), access)
        }),
    );
    rules
}

fn device_rule(
    allow: bool,
    typ: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(Some(typ)).set_major(major).set_minor(minor).set_access(Some(access.to_owned()));
    rule
}

/// Device nodes to be made.
pub(super) fn devices(input: &OciInput<'_>) -> Option<Vec<LinuxDevice>> {
    let devices: Vec<_> = input.devices.iter().map(|(device, _)| device.clone()).collect();
    (!devices.is_empty()).then_some(devices)
}

/// `--ulimit` (getrlimit(2)).
pub(in crate::runner) fn rlimits(wishes: &Resources) -> Result<Option<Vec<PosixRlimit>>, OciError> {
    let mut limits = Vec::new();
    for (name, soft, hard) in &wishes.ulimits {
        if soft > hard {
            return Err(OciError::Invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        let limit = PosixRlimitBuilder::default().typ(rlimit_type(name)?).soft(*soft).hard(*hard);
        limits.push(limit.build().map_err(|error| OciError::Invalid(error.to_string()))?);
    }
    Ok((!limits.is_empty()).then_some(limits))
}

fn rlimit_type(name: &str) -> Result<PosixRlimitType, OciError> {
    use PosixRlimitType::*;
    Ok(match name {
        "cpu" => RlimitCpu,
        "fsize" => RlimitFsize,
        "data" => RlimitData,
        "stack" => RlimitStack,
        "core" => RlimitCore,
        "rss" => RlimitRss,
        "nproc" => RlimitNproc,
        "nofile" => RlimitNofile,
        "memlock" => RlimitMemlock,
        "as" => RlimitAs,
        "locks" => RlimitLocks,
        "sigpending" => RlimitSigpending,
        "msgqueue" => RlimitMsgqueue,
        "nice" => RlimitNice,
        "rtprio" => RlimitRtprio,
        "rttime" => RlimitRttime,
        _ => return Err(OciError::Invalid(format!("invalid ulimit type: {name}"))),
    })
}
