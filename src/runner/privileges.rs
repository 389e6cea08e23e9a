//! What the integrated runtime does not leave to libcontainer: capabilities and seccomp.
//!
//! libcontainer compiles the seccomp profile anew in every container's init, which costs more than everything else it
//! does, and runs an exec without any. Both are therefore taken out of the OCI description, kept beside it, and applied
//! by our own [workload](super::shim) in the moment before the program runs. The filter is compiled once for many
//! containers, in the daemon.

use oci_spec::runtime::{LinuxCapabilities, Process};
use serde::{Deserialize, Serialize};

/// Applied by the workload, in the container, before the program runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Privileges {
    /// `None` keeps all.
    pub(super) capabilities: Option<LinuxCapabilities>,
    /// Set by libcontainer; decides when the filter can be installed.
    pub(super) no_new_privileges: bool,
}

impl Privileges {
    /// Takes the capabilities out of `process`.
    pub(super) fn take(process: &mut Process) -> Self {
        let capabilities = process.capabilities().clone();
        process.set_capabilities(None);
        Self { capabilities, no_new_privileges: process.no_new_privileges().unwrap_or(false) }
    }
}
