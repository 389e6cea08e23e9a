//! A new volume begins with what the image has at its place: files, owners, modes, times and attributes.
//!
//! Copied aside and renamed into place when whole: a volume that is there is never half filled, and of two containers
//! that start at once one fills it. Links of the image are followed inside its root only.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, mkdirat, mknodat, openat, openat2, readlinkat, statat,
    symlinkat,
};
use rustix::io::Errno;

use crate::runner::launch::Seed;

const READ_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Fills the volumes that are empty. `root` is the container's root, mounted.
pub(super) fn seed(root: &Path, seeds: &[Seed]) -> Result<(), String> {
    for wanted in seeds {
        seed_one(root, wanted).map_err(|error| {
            format!("cannot copy the image's {} into the volume {}: {error}", wanted.target, wanted.volume.display())
        })?;
    }
    Ok(())
}

fn seed_one(root: &Path, seed: &Seed) -> io::Result<()> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let target = seed.target.trim_start_matches('/');
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let source = match openat2(&root, target, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        // The image has nothing there, or no directory.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other?,
    };
    if !is_empty(&openat(CWD, &seed.volume, READ_DIRECTORY, Mode::empty())?)? {
        return Ok(());
    }
    let aside = seed.volume.with_extension(format!("seed-{}", std::process::id()));
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir(&aside)?;
    let copied = copy_directory(&source, &openat(CWD, &aside, READ_DIRECTORY, Mode::empty())?);
    // A directory is renamed onto an empty one only: whoever comes second finds it filled.
    match copied.and_then(|()| std::fs::rename(&aside, &seed.volume)) {
        Ok(()) => Ok(()),
        Err(error) => {
            std::fs::remove_dir_all(&aside)?;
            if error.kind() == io::ErrorKind::DirectoryNotEmpty { Ok(()) } else { Err(error) }
        }
    }
}

fn is_empty(directory: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            copy_entry(from.as_fd(), to.as_fd(), name)?;
        }
    }
    copy_attributes(from.as_fd(), to.as_fd())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            let inner = openat(from, name, READ_DIRECTORY, Mode::empty())?;
            copy_directory(&inner, &openat(to, name, READ_DIRECTORY, Mode::empty())?)
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut source = File::from(openat(from, name, flags, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(&mut source, &mut copy)?;
            copy_attributes(source.as_fd(), copy.as_fd())
        }
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
            let (owner, group) = owner(&stat);
            Ok(chownat(to, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        FileType::Fifo => {
            mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(stat.st_mode), 0)?;
            let (owner, group) = owner(&stat);
            Ok(chownat(to, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        // Sockets mean nothing without their server; images hold no device nodes.
        _ => Ok(()),
    }
}

fn owner(stat: &Stat) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    (Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid)))
}

/// Owner, extended attributes, mode and times, in the order in which one does not undo another.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = fstat(from)?;
    let (user, group) = owner(&stat);
    fchown(to, user, group)?;
    copy_extended(from, to)?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(futimens(to, &times)?)
}

fn copy_extended(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // The kernel's limit for the list, and for a value (xattr(7)).
    let mut names = vec![0u8; 65_536];
    let length = match flistxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0u8; 65_536];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // overlayfs's own marks are no content.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let length = fgetxattr(from, name, &mut value)?;
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // A file system without them.
            Err(Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn stage() -> (tempfile::TempDir, Seed) {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = (dir.path().join("root"), dir.path().join("volume/_data"));
        std::fs::create_dir_all(root.join("var/lib/db/inner")).unwrap();
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::write(root.join("var/lib/db/inner/file"), "text").unwrap();
        symlink("/etc/passwd", root.join("var/lib/db/link")).unwrap();
        // As images have it: an absolute link, meant inside the root.
        symlink("/var/lib", root.join("data")).unwrap();
        std::fs::set_permissions(root.join("var/lib/db"), PermissionsExt::from_mode(0o750)).unwrap();
        std::os::unix::fs::chown(root.join("var/lib/db"), Some(101), Some(102)).unwrap();
        (dir, Seed { volume, target: "/data/db".to_owned() })
    }

    #[test]
    fn an_empty_volume_gets_the_images_content_owner_and_mode() {
        let (dir, wanted) = stage();
        seed(&dir.path().join("root"), std::slice::from_ref(&wanted)).unwrap();
        let volume = &wanted.volume;
        assert_eq!(std::fs::read_to_string(volume.join("inner/file")).unwrap(), "text");
        assert_eq!(std::fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/passwd"));
        let meta = volume.metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o750, 101, 102));
        assert_eq!(std::fs::read_dir(volume.parent().unwrap()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_volume_with_content_is_left_alone_and_a_missing_place_is_no_error() {
        let (dir, wanted) = stage();
        std::fs::write(wanted.volume.join("mine"), "").unwrap();
        seed(&dir.path().join("root"), std::slice::from_ref(&wanted)).unwrap();
        assert_eq!(std::fs::read_dir(&wanted.volume).unwrap().count(), 1);
        seed(&dir.path().join("root"), &[Seed { target: "/nowhere".to_owned(), ..wanted }]).unwrap();
    }
}
