//! What the integrated runtime does not leave to libcontainer: capabilities, seccomp, and how many files may be open.
//!
//! libcontainer compiles the seccomp profile anew in every container's init, which costs more than everything else it
//! does, and runs an exec without any. Both are therefore taken out of the OCI description, kept beside it, and applied
//! by our own [workload](super::shim) in the moment before the program runs. The filter is compiled once for many
//! containers, in the daemon. The limit of open files would be in force while the container is made, which takes more of
//! them than some programs shall have.

use oci_spec::runtime::{LinuxCapabilities, PosixRlimitType, Process};
use serde::{Deserialize, Serialize};

/// Applied by the workload, in the container, before the program runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Privileges {
    /// `None` keeps all.
    pub(super) capabilities: Option<LinuxCapabilities>,
    /// Set by libcontainer; decides when the filter can be installed.
    pub(super) no_new_privileges: bool,
    /// Soft and hard limit of open files; `None` leaves it as it is.
    #[serde(default)]
    pub(super) open_files: Option<(u64, u64)>,
}

impl Privileges {
    /// Takes the capabilities and the limit of open files out of `process`.
    pub(super) fn take(process: &mut Process) -> Self {
        let capabilities = process.capabilities().clone();
        process.set_capabilities(None);
        let limits = process.rlimits().clone().unwrap_or_default();
        let (files, others): (Vec<_>, Vec<_>) =
            limits.into_iter().partition(|limit| limit.typ() == PosixRlimitType::RlimitNofile);
        process.set_rlimits((!others.is_empty()).then_some(others));
        Self {
            capabilities,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            // Of several the last would be in force.
            open_files: files.last().map(|limit| (limit.soft(), limit.hard())),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::PosixRlimitBuilder;

    use super::*;

    #[test]
    fn the_limit_of_open_files_is_taken_and_others_stay() {
        let limit = |typ, soft: u64, hard: u64| {
            PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build().expect("whole")
        };
        let (files, core) = (PosixRlimitType::RlimitNofile, PosixRlimitType::RlimitCore);
        let mut process = Process::default();
        process.set_rlimits(Some(vec![limit(files, 5, 6), limit(core, 0, 0)]));
        assert_eq!(Privileges::take(&mut process).open_files, Some((5, 6)));
        assert_eq!(process.rlimits().as_deref(), Some(&[limit(core, 0, 0)][..]));
        assert_eq!(Privileges::take(&mut process).open_files, None);
    }
}
