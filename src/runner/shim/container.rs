//! The shim's one process: made, started, ended, or undone.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::wait::waitpid;
use rustix::process::{Pid, Signal, kill_process};

use super::creator::{self, Task};
use super::mounts;
use super::overlay;
use super::stdio::Stdio;
use crate::runner::cgroup;
use crate::runner::files::{self, PidRecord};
use crate::runner::launch::{Launch, LaunchKind, RuntimeKind};

/// A container, or an exec in one.
pub(super) struct Container {
    launch: Launch,
    /// Why the root could not be mounted.
    root: Result<(), String>,
    /// Its streams, once it is made.
    pub(super) stdio: Stdio,
    pid: Option<i32>,
    /// It was let run.
    released: bool,
    /// `/<parent>/<id>`, for a container.
    cgroup: Option<PathBuf>,
    /// The first client that sent stdin is done.
    input_over: bool,
    /// The network namespace to enter: its pin is out of sight once the shim has mounts of its own.
    netns: Option<OwnedFd>,
}

/// Mounts of the shim's own, with the root in them and without the pins; the network namespace is opened before.
fn prepare(launch: &Launch) -> Result<Option<OwnedFd>, String> {
    let LaunchKind::Container { overlay, netns, pins, .. } = &launch.kind else { return Ok(None) };
    let open = |path: &PathBuf| {
        std::fs::File::open(path)
            .map(OwnedFd::from)
            .map_err(|error| format!("cannot open the network namespace {}: {error}", path.display()))
    };
    // An OCI command finds the namespace by its path, so it keeps the pins.
    let integrated = launch.runtime == RuntimeKind::Integrated;
    let netns = netns.as_ref().filter(|_| integrated).map(open).transpose()?;
    mounts::own_namespace().map_err(|error| format!("cannot make a mount namespace: {error}"))?;
    if integrated {
        mounts::leave_out(pins);
    }
    overlay::mount_overlay(overlay)
        .map_err(|error| format!("cannot mount overlay at {}: {error}", overlay.target.display()))?;
    Ok(netns)
}

impl Container {
    /// Mounts the root, if there is one to mount; a failure is told when the container is to be created.
    pub(super) fn new(launch: Launch) -> Self {
        let (root, netns) = match prepare(&launch) {
            Ok(netns) => (Ok(()), netns),
            Err(message) => (Err(message), None),
        };
        let stdio = Stdio::default();
        Self { launch, root, stdio, pid: None, released: false, cgroup: None, input_over: false, netns }
    }

    /// The process, while it lives.
    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// A terminal instead of pipes.
    pub(super) fn has_terminal(&self) -> bool {
        self.launch.tty
    }

    /// Makes the container. An exec has no such half-way state: it is made when it starts, and its answer is 0.
    pub(super) fn create(&mut self) -> Result<i32, String> {
        match (&self.launch.kind, self.pid) {
            (_, Some(_)) => Err("the container exists already".to_owned()),
            (LaunchKind::Exec { .. }, None) => Ok(0),
            (LaunchKind::Container { .. }, None) => {
                self.make().map_err(|message| format!("failed to create task for container: {}", with_sysctl(message)))
            }
        }
    }

    /// Lets the process run. Asked twice it does nothing: a daemon that takes over finishes starts without knowing how far
    /// the last one came.
    pub(super) fn start(&mut self) -> Result<i32, String> {
        match (&self.launch.kind, self.pid) {
            (LaunchKind::Exec { .. }, None) => {
                // runc says so itself.
                let said = |message: &str| message.starts_with("exec failed: ");
                self.make().map_err(|message| match said(&message) {
                    true => message,
                    false => format!("exec failed: unable to start container process: {message}"),
                })
            }
            (_, Some(pid)) if self.released => Ok(pid),
            (LaunchKind::Container { .. }, Some(pid)) => {
                self.release()?;
                self.released = true;
                Ok(pid)
            }
            (LaunchKind::Container { .. }, None) => Err("the container has not been created".to_owned()),
            (LaunchKind::Exec { .. }, Some(_)) => Err("the exec runs already".to_owned()),
        }
    }

    fn make(&mut self) -> Result<i32, String> {
        self.root.clone()?;
        let launch = &self.launch;
        let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
        let size = self.stdio.size().or(launch.console_size);
        let (stdio, ends) = Stdio::open(launch.tty, launch.open_stdin, size).map_err(cannot("open the streams"))?;
        self.stdio = stdio;
        let console = if launch.tty { Some(bind_console().map_err(cannot("listen for the terminal"))?) } else { None };
        let pid = creator::run(launch, Task::Create, ends, self.netns.take().as_ref())?;
        self.pid = Some(pid);
        if let Some(console) = console {
            let master = receive_terminal(&console).map_err(cannot("receive the terminal"))?;
            self.stdio.set_terminal(master, launch.open_stdin).map_err(cannot("set up the terminal"))?;
        }
        if self.input_over {
            self.stdio.close_input();
        }
        self.record(pid).map_err(cannot("record the process"))?;
        Ok(pid)
    }

    /// Leaves word of the process for the case that the shim is killed.
    fn record(&mut self, pid: i32) -> io::Result<()> {
        if let LaunchKind::Container { .. } = self.launch.kind {
            self.cgroup = files::cgroup(Path::new(files::CONFIG))?;
        }
        let record = serde_json::to_vec(&PidRecord::of(pid)?)?;
        files::write_whole(Path::new(files::PID), &record)
    }

    fn release(&self) -> Result<(), String> {
        match self.launch.runtime {
            RuntimeKind::Integrated => {
                let socket = Path::new(files::RUNTIME).join(&self.launch.id).join("notify.sock");
                UnixStream::connect(socket)
                    .and_then(|mut socket| socket.write_all(b"start"))
                    .map_err(|error| format!("failed to start container: {error}"))
            }
            RuntimeKind::Command(_) => {
                let (_, ends) = Stdio::open(true, false, None).map_err(|error| error.to_string())?;
                creator::run(&self.launch, Task::Start, ends, None).map(drop)
            }
        }
    }

    /// A client that feeds stdin is done.
    pub(super) fn input_ended(&mut self) {
        if self.launch.stdin_once && !self.input_over {
            self.input_over = true;
            self.stdio.close_input();
        }
    }

    /// The process has been reaped.
    pub(super) fn ended(&mut self) {
        self.pid = None;
        // Without a pid namespace of their own, its children outlive it.
        if let Some(cgroup) = &self.cgroup {
            cgroup::kill_all(cgroup);
        }
    }

    /// The kernel's OOM killer was at work.
    pub(super) fn was_oom_killed(&self) -> bool {
        self.cgroup.as_deref().is_some_and(cgroup::oom_killed)
    }

    /// The root is not needed any more.
    pub(super) fn let_go(&self) {
        if let LaunchKind::Container { overlay, .. } = &self.launch.kind {
            overlay::unmount_overlay(overlay);
        }
    }

    /// Undoes what was made.
    pub(super) fn abort(&mut self) {
        if let Some(pid) = self.pid.take().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get()), None);
        }
        self.stdio.close();
        self.let_go();
    }
}

/// libcontainer does not say which parameter it could not open. One that a kernel does not have, no namespace has.
fn with_sysctl(message: String) -> String {
    if !message.contains("open subpath in procfs failed") {
        return message;
    }
    let exists = |name: &str| Path::new("/proc/sys").join(name.replace('.', "/")).exists();
    let asked = files::sysctls(Path::new(files::CONFIG)).unwrap_or_default();
    let missing: Vec<_> = asked.into_iter().filter(|name| !exists(name)).collect();
    if missing.is_empty() {
        return message;
    }
    format!("cannot set sysctl {}: there is no such kernel parameter here", missing.join(" or "))
}

fn bind_console() -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(files::CONSOLE);
    UnixListener::bind(files::CONSOLE)
}

/// The master that the runtime sent before it reported success: it waits on the socket.
fn receive_terminal(console: &UnixListener) -> io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    console.set_nonblocking(true)?;
    let (socket, _) = console.accept()?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 256];
    recvmsg(&socket, &mut [io::IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::other("no descriptor came with the message"))
}
