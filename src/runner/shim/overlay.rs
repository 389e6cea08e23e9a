//! Mounting the container's root: overlayfs, by the mount API that has no limit of one page for its options.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, move_mount, unmount,
};

use crate::runner::launch::Overlay;

/// Mounts the overlay at its target, which is created if it is missing.
pub(super) fn mount_overlay(overlay: &Overlay) -> io::Result<()> {
    std::fs::create_dir_all(&overlay.target)?;
    match mount_layer_by_layer(overlay) {
        // No new mount API (Linux 5.2), or an overlayfs that knows no `lowerdir+` (Linux 6.5).
        Err(Errno::NOSYS | Errno::INVAL) => Ok(mount_at_once(overlay)?),
        other => Ok(other?),
    }
}

/// Lets the overlay go while this process lives on.
pub(super) fn unmount_overlay(overlay: &Overlay) {
    // It ends with the process in any case.
    let _ = unmount(&overlay.target, UnmountFlags::DETACH);
}

fn mount_layer_by_layer(overlay: &Overlay) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    // Held until the mount is made: an option may name a directory by its descriptor.
    let mut held = Vec::new();
    for lower in &overlay.lower {
        set_path(&context, "lowerdir+", lower, &mut held)?;
    }
    set_path(&context, "upperdir", &overlay.upper, &mut held)?;
    set_path(&context, "workdir", &overlay.work, &mut held)?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&root, "", CWD, &overlay.target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// One option. fsconfig(2) takes values of at most 255 bytes: a longer path is named by a descriptor.
fn set_path(context: &OwnedFd, key: &str, path: &Path, held: &mut Vec<OwnedFd>) -> rustix::io::Result<()> {
    if path.as_os_str().len() <= 255 {
        return fsconfig_set_string(context, key, path);
    }
    let directory = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    held.push(directory);
    fsconfig_set_string(context, key, name)
}

/// mount(2): all options in one page.
fn mount_at_once(overlay: &Overlay) -> rustix::io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    for (at, lower) in overlay.lower.iter().enumerate() {
        if at > 0 {
            options.push(b':');
        }
        options.extend(escaped(lower));
    }
    for (key, path) in [("upperdir", &overlay.upper), ("workdir", &overlay.work)] {
        options.extend_from_slice(format!(",{key}=").as_bytes());
        options.extend(escaped(path));
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", &overlay.target, "overlay", MountFlags::empty(), options.as_c_str())
}

/// overlayfs splits its options at commas and colons, unless a backslash stands before them.
fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

/// Creates the working directory `cwd` of the container if it is missing, without ever leaving `root` through a link.
/// A path below a bind mount is created in its source, as it will be seen there.
pub(super) fn make_working_directory(root: &Path, cwd: &Path, binds: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    let below = |target: &Path| cwd.strip_prefix(target).ok().map(Path::to_owned);
    let deepest =
        binds.iter().filter(|(target, _)| cwd.starts_with(target)).max_by_key(|(t, _)| t.components().count());
    let (base, relative) = match deepest {
        Some((target, source)) => (source.as_path(), below(target).unwrap_or_default()),
        None => (root, below(Path::new("/")).unwrap_or_default()),
    };
    if relative.as_os_str().is_empty() || !base.is_dir() {
        return Ok(());
    }
    let mut at: OwnedFd = File::open(base)?.into();
    let base = at.try_clone()?;
    let mut seen = PathBuf::new();
    for component in relative.components() {
        seen.push(component);
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat2(&base, &seen, flags, Mode::empty(), rustix::fs::ResolveFlags::IN_ROOT)
        };
        at = match open() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&at, component.as_os_str(), Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open()?
            }
            other => other?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_layer_paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c\\d")), b"/a\\:b\\,c\\\\d");
    }

    #[test]
    fn a_working_directory_is_made_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let source = dir.path().join("source");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&source).unwrap();
        std::os::unix::fs::symlink(&source, root.join("link")).unwrap();
        make_working_directory(&root, Path::new("/a/b"), &[]).unwrap();
        assert!(root.join("a/b").is_dir());
        // The link points outside; seen from the root it dangles.
        assert!(make_working_directory(&root, Path::new("/link/x"), &[]).is_err());
        assert!(!source.join("x").exists());
        make_working_directory(&root, Path::new("/mnt/y"), &[("/mnt".into(), source.clone())]).unwrap();
        assert!(source.join("y").is_dir());
    }
}
