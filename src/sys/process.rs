//! Processes that fork and hand over: fork(2), descriptors, signals.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::unistd::ForkResult;

/// fork(2), refused in a process that has more than one thread: there, a child may find locks taken for ever.
pub fn fork() -> io::Result<ForkResult> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with several threads must not fork"));
    }
    // SAFETY: there is one thread, so the child has all of the parent's state in a consistent form, locks included.
    unsafe { nix::unistd::fork() }.map_err(io::Error::from)
}

/// Closes every descriptor from `first` on (close_range(2)). For a process that is about to become something else, and
/// owns nothing above `first` that it will use again.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes integers only. Callers keep no owner of a descriptor in the range beyond this call.
    match unsafe { libc::close_range(first.cast_unsigned(), libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves a descriptor to number `target`, closing what was there; the new one has close-on-exec set.
pub fn move_fd(fd: OwnedFd, target: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() == target {
        return Ok(fd);
    }
    // SAFETY: dup3 takes integers only; `target` is then owned by the value returned, and by nothing else: callers own
    // nothing at `target`.
    unsafe {
        if libc::dup3(fd.as_raw_fd(), target, libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(target))
    }
}

/// Every signal back to its default action, none blocked: what a new program expects to inherit.
pub fn default_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code of ours; numbers that cannot be set (SIGKILL, SIGSTOP, libc's own) are refused.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // Cannot fail: the mask is valid.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}
