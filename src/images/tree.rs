//! Removing a directory tree that an attacker shaped.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

/// Removes `name` in `parent`, whatever it is and however deep: no recursion and a few open descriptors, because a tree can
/// be deeper than a stack or a path can name. A subdirectory that is not empty is moved up to the top and taken there.
/// Symbolic links are removed, never followed. Something that is not there is no error.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    if unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    let top = open(parent, name)?;
    let mut lifted = 0;
    loop {
        let directories = remove_files(&top)?;
        if directories.is_empty() {
            return unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
        for directory in directories {
            let inner = open(top.as_fd(), &directory)?;
            for below in remove_files(&inner)? {
                lift(&inner, &below, &top, &mut lifted)?;
            }
            unlinkat(&top, &directory, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes all but the directories that hold something, and answers those.
fn remove_files(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut full = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            // Some file systems do not say in the listing.
            FileType::Unknown => {
                let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => kind == FileType::Directory,
        };
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match unlinkat(directory, name, flags) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if is_directory => full.push(name.to_owned()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(full)
}

/// Moves a directory to the top, under a name that is free there.
fn lift(from: &OwnedFd, name: &OsStr, top: &OwnedFd, lifted: &mut u64) -> Result<(), Errno> {
    loop {
        *lifted += 1;
        match renameat_with(from, name, top, format!("lifted-{lifted}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn trees_deeper_than_any_path_go_and_link_targets_stay() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("kept")).unwrap();
        fs::write(home.path().join("kept/file"), "x").unwrap();
        let top = home.path().join("top");
        fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink("../kept", top.join("link")).unwrap();
        fs::create_dir(top.join("lifted-1")).unwrap();
        fs::write(top.join("lifted-1/in the way"), "x").unwrap();
        let mut at: OwnedFd = File::open(&top).unwrap().into();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::symlinkat("/", &at, "l").unwrap();
            at = open(at.as_fd(), OsStr::new("d")).unwrap();
        }
        let parent = File::open(home.path()).unwrap();
        remove(parent.as_fd(), OsStr::new("top")).unwrap();
        assert!(!top.exists());
        assert!(home.path().join("kept/file").exists());
        remove(parent.as_fd(), OsStr::new("top")).unwrap();
    }
}
