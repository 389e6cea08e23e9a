//! The creator: a short-lived child of the shim that makes the container, by libcontainer or an OCI command.
//!
//! It is a process of its own so that what libcontainer does to a process (memory, dumpable flag, working directory)
//! ends with it. The container's init, an orphan then, becomes the shim's child.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::syscall::syscall::SyscallType;
use nix::unistd::{ForkResult, Pid};
use oci_spec::runtime::{Process, Spec};

use super::device_filter;
use super::overlay::make_working_directory;
use super::report::{self, Report};
use super::stdio::ContainerEnds;
use super::workload::Workload;
use crate::runner::launch::{Launch, LaunchKind, RuntimeKind};
use crate::runner::{NETNS_FD, cgroup, files};
use crate::sys;

/// What the creator is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Make the container, or the exec's process (which runs at once).
    Create,
    /// Let a created container run: OCI commands only.
    Start,
}

/// Forks a creator for `task`, waits for its end, and answers the process's id, or in docker's words why there is none.
/// `ends` become the process's standard streams. The working directory is the shim's.
///
/// An integrated runtime finds `netns`, the network namespace to enter, as descriptor [`NETNS_FD`].
pub(super) fn run(launch: &Launch, task: Task, ends: ContainerEnds, netns: Option<&OwnedFd>) -> Result<i32, String> {
    let cannot = |error: io::Error| format!("cannot fork a creator: {error}");
    let (reports, pipe) = report::pipe().map_err(cannot)?;
    match sys::process::fork().map_err(cannot)? {
        ForkResult::Child => {
            let done = take_over(ends, pipe, netns)
                .map_err(|error| format!("cannot set up a creator: {error}"))
                .and_then(|()| seed_volumes(launch, task))
                .and_then(|()| match &launch.runtime {
                    RuntimeKind::Integrated => integrated(launch).map(Some),
                    RuntimeKind::Command(command) => super::command::run(command, launch, task),
                });
            match done {
                Ok(pid) => report::send(&Report::Created(pid.unwrap_or(0))),
                Err(message) => report::failed(&message),
            }
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            drop((ends, pipe));
            let result = report::end_of(child).map_err(cannot).and_then(|end| report::receive(reports, &end));
            // Its zombie must be gone before the shim counts its children; an error would mean that it is.
            let _ = nix::sys::wait::waitpid(child, None);
            result
        }
    }
}

/// In the creator: the streams become 0, 1 and 2, the report pipe 3, and nothing else of the shim stays open.
fn take_over(ends: ContainerEnds, pipe: OwnedFd, netns: Option<&OwnedFd>) -> io::Result<()> {
    let ContainerEnds([stdin, stdout, stderr]) = ends;
    rustix::stdio::dup2_stdin(&stdin)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    drop((stdin, stdout, stderr));
    // A copy beyond the low numbers, which may be taken by what is moved there.
    let netns = netns.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, NETNS_FD + 1)).transpose()?;
    report::install(pipe)?;
    if let Some(netns) = netns {
        // Open until the process it is for is executed.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(sys::process::move_fd(netns, NETNS_FD)?);
        return sys::process::close_from(NETNS_FD + 1).map(|()| tell_panics());
    }
    sys::process::close_from(report::FD + 1).map(|()| tell_panics())
}

fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| report::failed(&panic.to_string())));
}

fn seed_volumes(launch: &Launch, task: Task) -> Result<(), String> {
    match &launch.kind {
        LaunchKind::Container { overlay, seeds, .. } if task == Task::Create => {
            super::seed::seed(&overlay.target, seeds)
        }
        LaunchKind::Container { .. } | LaunchKind::Exec { .. } => Ok(()),
    }
}

/// Makes the container, or the exec's process, by libcontainer.
fn integrated(launch: &Launch) -> Result<i32, String> {
    // Fails only if there is a subscriber already, which the shim has not.
    let _ = tracing::subscriber::set_global_default(report::Details);
    match &launch.kind {
        LaunchKind::Container { overlay, .. } => create(launch, &overlay.target),
        LaunchKind::Exec { process, container_dir, .. } => exec(launch, process, container_dir),
    }
}

fn create(launch: &Launch, root: &Path) -> Result<i32, String> {
    let spec: Spec = read(Path::new(files::CONFIG))?;
    let process = spec.process().as_ref().ok_or("the specification has no process")?;
    prepare(&spec, process, root)?;
    let workload = workload(Path::new(files::SECCOMP))?;
    fs::create_dir_all(files::RUNTIME).map_err(|error| format!("cannot create {}: {error}", files::RUNTIME))?;
    let bundle = std::env::current_dir().map_err(|error| error.to_string())?;
    let mut container = ContainerBuilder::new(launch.id.clone(), SyscallType::default())
        .with_executor(workload)
        .with_root_path(bundle.join(files::RUNTIME))
        .map(|builder| builder.with_console_socket(console(launch, &bundle)))
        .and_then(|builder| builder.as_init(&bundle).with_systemd(false).with_detach(true).build())
        .map_err(|error| chain(&error))?;
    let pid = container.pid().ok_or("libcontainer made no process")?.as_raw();
    // The shim itself lets it run; an exec asks libcontainer for a container that is running.
    let ready = filter_devices(&spec).and_then(|()| mark_running(&mut container));
    if ready.is_err() {
        // Nobody would know of it any more.
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    ready.map(|()| pid)
}

/// Version 2 has no device controller, and libcontainer as we build it no filter: without one, a container that may make
/// nodes could open any device. Its process still waits.
fn filter_devices(spec: &Spec) -> Result<(), String> {
    let Some(unified) = cgroup::unified_mount() else { return Ok(()) };
    let Some(linux) = spec.linux() else { return Ok(()) };
    let rules = linux.resources().as_ref().and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
    let path = linux.cgroups_path().as_deref().unwrap_or(Path::new("/"));
    device_filter::attach(rules, &unified.join(path.strip_prefix("/").unwrap_or(path)))
        .map_err(|error| format!("cannot attach the device filter: {error}"))
}

fn mark_running(container: &mut Container) -> Result<(), String> {
    container.set_status(ContainerStatus::Running);
    container.save().map_err(|error| chain(&error))
}

fn exec(launch: &Launch, process: &Process, container_dir: &Path) -> Result<i32, String> {
    own_streams(process);
    let workload = workload(&container_dir.join(files::SECCOMP))?;
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    ContainerBuilder::new(launch.id.clone(), SyscallType::default())
        .with_executor(workload)
        .with_root_path(container_dir.join(files::RUNTIME))
        .map(|builder| builder.with_console_socket(console(launch, &here)))
        .and_then(|builder| builder.as_tenant().with_detach(true).with_process(Some(here.join(files::PROCESS))).build())
        .map(nix_pid)
        .map_err(|error| chain(&error))
}

/// libcontainer's pid is of another version of nix.
fn nix_pid(pid: impl Into<i32>) -> i32 {
    pid.into()
}

fn console(launch: &Launch, dir: &Path) -> Option<PathBuf> {
    launch.tty.then(|| dir.join(files::CONSOLE))
}

/// What Docker does in the root before the container is made.
fn prepare(spec: &Spec, process: &Process, root: &Path) -> Result<(), String> {
    let binds: Vec<_> = spec
        .mounts()
        .iter()
        .flatten()
        .filter(|mount| mount.typ().as_deref() == Some("bind"))
        .filter_map(|mount| Some((mount.destination().clone(), mount.source().clone()?)))
        .collect();
    make_working_directory(root, process.cwd(), &binds)
        .map_err(|error| format!("cannot create the working directory {}: {error}", process.cwd().display()))?;
    own_streams(process);
    Ok(())
}

/// Lets the container's user open `/dev/stdout` and the like: pipes belong to root, who made them.
fn own_streams(process: &Process) {
    use rustix::fs::{Uid, fchown};
    let uid = Some(Uid::from_raw(process.user().uid()));
    if process.user().uid() != 0 {
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let is_pipe = rustix::fs::fstat(stream).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO);
            if is_pipe {
                // Without it only those paths are missing.
                let _ = fchown(stream, uid, None);
            }
        }
    }
}

fn workload(filter: &Path) -> Result<Workload, String> {
    let filter = match fs::read(filter) {
        Ok(filter) => Some(filter),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {}: {error}", filter.display())),
    };
    Ok(Workload { privileges: read(Path::new(files::PRIVILEGES))?, filter })
}

fn read<T: for<'de> serde::Deserialize<'de>>(path: &Path) -> Result<T, String> {
    files::read_json(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// An error with everything behind it, each part said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
