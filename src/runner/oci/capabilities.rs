//! Which capabilities a container keeps (capabilities(7)).

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use super::OciError;
use crate::model::Security;

use Capability::*;

/// Docker's fourteen.
const DEFAULT: [Capability; 14] = [
    Chown,
    DacOverride,
    Fsetid,
    Fowner,
    Mknod,
    NetRaw,
    Setgid,
    Setuid,
    Setfcap,
    Setpcap,
    NetBindService,
    SysChroot,
    Kill,
    AuditWrite,
];

/// All that Linux has.
const ALL: [Capability; 41] = [
    AuditControl,
    AuditRead,
    AuditWrite,
    BlockSuspend,
    Bpf,
    CheckpointRestore,
    Chown,
    DacOverride,
    DacReadSearch,
    Fowner,
    Fsetid,
    IpcLock,
    IpcOwner,
    Kill,
    Lease,
    LinuxImmutable,
    MacAdmin,
    MacOverride,
    Mknod,
    NetAdmin,
    NetBindService,
    NetBroadcast,
    NetRaw,
    Perfmon,
    Setgid,
    Setfcap,
    Setpcap,
    Setuid,
    SysAdmin,
    SysBoot,
    SysChroot,
    SysModule,
    SysNice,
    SysPacct,
    SysPtrace,
    SysRawio,
    SysResource,
    SysTime,
    SysTtyConfig,
    Syslog,
    WakeAlarm,
];

/// Every capability.
pub(super) fn all() -> Capabilities {
    ALL.into()
}

/// What `--cap-add` and `--cap-drop` leave of the default: drops first, unless all is dropped and some are added back.
pub(super) fn kept(security: &Security) -> Result<Capabilities, OciError> {
    if security.privileged {
        return Ok(all());
    }
    let (add_all, add) = parse(&security.cap_add)?;
    let (drop_all, drop) = parse(&security.cap_drop)?;
    let mut kept: Capabilities = match (add_all, drop_all) {
        (true, _) => all(),
        (false, true) => Capabilities::new(),
        (false, false) => DEFAULT.into(),
    };
    kept.retain(|capability| !drop.contains(capability));
    kept.extend(add.iter().filter(|capability| !(add_all && drop.contains(capability))));
    Ok(kept)
}

/// The names, and whether `ALL` was among them.
fn parse(names: &[String]) -> Result<(bool, Capabilities), OciError> {
    let mut all = false;
    let mut set = Capabilities::new();
    for name in names {
        if name == "ALL" {
            all = true;
        } else {
            set.insert(name.parse().map_err(|_| OciError::Capability(format!("CAP_{name}")))?);
        }
    }
    Ok((all, set))
}

/// The sets of a process of user `uid`: like execve, nobody but root gets any of them at once.
pub(super) fn sets(kept: &Capabilities, uid: u32) -> LinuxCapabilities {
    let bounding = kept.clone();
    let held = if uid == 0 { bounding.clone() } else { Capabilities::new() };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(bounding))
        .set_effective(Some(held.clone()))
        .set_permitted(Some(held))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    sets
}
