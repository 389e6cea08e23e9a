//! The shim's process: single-threaded, one poll loop. See [the room's page](super) for what it does.
//!
//! Its standard input is the socket that it listens on, bound by the daemon, so that nobody ever waits for it to be
//! ready. Its working directory is its directory: every path in it is short. It stays small: what needs memory is done
//! by the [creator], a child.

mod command;
mod conn;
mod container;
mod creator;
mod device_filter;
mod log;
mod mounts;
mod overlay;
mod report;
mod seed;
mod serve;
mod stdio;
mod tidy;
mod workload;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::files;
use super::launch::Launch;
use crate::sys;
use container::Container;
use log::Log;
use serve::Server;

/// Entry point of `pontoon shim <dir>`: called from `main` before any thread or runtime exists.
pub fn main(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pontoon shim {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path) -> io::Result<()> {
    // Nothing of the daemon's but the three standard descriptors.
    sys::process::close_from(3)?;
    let listener = take_listener()?;
    std::env::set_current_dir(dir)?;
    let children = become_a_shim()?;
    let launch: Launch = files::read_json(Path::new(files::LAUNCH))?;
    let log = match &launch.log_path {
        Some(path) => Some(Log::open(path, &launch.log)?),
        None => None,
    };
    Server::new(listener, children, Container::new(launch), log).run()?;
    // Whoever comes too late finds exit.json instead.
    match std::fs::remove_file(files::SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Standard input is the listening socket: it moves elsewhere, and standard input becomes empty.
fn take_listener() -> io::Result<UnixListener> {
    let listener: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let listener = UnixListener::from(listener);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Leaves the daemon's session, takes orphans of the container in, and hears of signals only through a descriptor: a
/// signal meant for the daemon's group, or a terminal's end, must not end containers.
fn become_a_shim() -> io::Result<SignalFd> {
    // Fails only for the leader of a process group, which has a session of its own or needs none.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"pontoon-shim")?;
    // What containers start with, whatever the daemon was started with.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    SigSet::all().thread_set_mask()?;
    let mut wanted = SigSet::empty();
    wanted.add(nix::sys::signal::Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}
