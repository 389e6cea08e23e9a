//! The shim's process: single-threaded, one poll loop. See [the room's page](super) for what it does.

use std::path::Path;
use std::process::ExitCode;

/// Entry point of `pontoon shim <dir>`: called from `main` before any thread or runtime exists.
pub fn main(dir: &Path) -> ExitCode {
    let _ = dir;
    todo!()
}
