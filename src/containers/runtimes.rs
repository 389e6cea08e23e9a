//! Who makes containers: the integrated runtime, or an OCI command of the host.

use std::path::Path;

use super::error::EngineError;
use crate::runner::launch::RuntimeKind;

/// The name of the runtime that needs no command.
pub const INTEGRATED: &str = "integrated";

/// Finds a runtime by `integrated`, a command's name in PATH, or its absolute path.
pub fn resolve(name: &str) -> Result<RuntimeKind, EngineError> {
    if name == INTEGRATED {
        return Ok(RuntimeKind::Integrated);
    }
    let path = Path::new(name);
    let found = if path.is_absolute() {
        path.is_file().then(|| path.to_owned())
    } else if name.contains('/') {
        None
    } else {
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
    };
    found.map(RuntimeKind::Command).ok_or_else(|| {
        EngineError::invalid(format!(
            "unknown or invalid runtime name: {name}: use {INTEGRATED}, or install the command (apt install runc)"
        ))
    })
}
