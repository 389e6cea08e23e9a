//! Small files of a container's root filesystem, as its layers have them.

use std::path::Path;

/// A small text file of a root filesystem, uppermost layer first; links are followed inside their layer only.
pub(super) fn read_in(roots: &[&Path], path: &str) -> Option<String> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    use std::io::Read;
    // Larger than any passwd file that is meant.
    const LIMIT: u64 = 1 << 20;
    roots.iter().find_map(|root| {
        let dir = rustix::fs::openat(CWD, *root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat2(dir, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let file = std::fs::File::from(file);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    })
}
