//! Signals to a process that is held by a pidfd (pidfd_send_signal(2), Linux 5.1).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Sends a signal, real-time ones included (which no safe wrapper takes).
pub fn send_signal(process: &OwnedFd, signal: i32) -> io::Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open for the call's time, a null siginfo is allowed, and no memory is passed.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
