//! The daemon's side: spawning shims, finding them again, talking to them.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::event::{PollFd, PollFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::adapt::{Host, adapt, adapt_process};
use super::files::{self, PidRecord};
use super::launch::{Launch, LaunchKind, RuntimeKind};
use super::privileges::Privileges;
use super::{Exit, Found, NETNS_FD, Reply, Request, Runner, RunnerError, Shim, cgroup};

/// What a process killed by SIGKILL exits with.
const KILLED: i32 = 137;

/// How long to wait before a shim that could not be reached is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Adds step and path to an error of the system.
fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunnerError {
    let path = path.to_owned();
    move |source| RunnerError::Io { step, path, source }
}

impl Runner {
    /// Makes `dir`, writes `config.json` and `launch.json` there and spawns a shim, which waits for [`Shim::create`].
    ///
    /// # Errors
    /// [`RunnerError::Io`] with the step that failed; [`RunnerError::Runtime`] for a seccomp profile that cannot be
    /// compiled. What was made is left for [`Runner::clean`].
    pub async fn spawn(&self, dir: &Path, spec: Option<Spec>, launch: &Launch) -> Result<Shim, RunnerError> {
        let make = || fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        make().map_err(io_error("create directory", dir))?;
        for stale in [files::EXIT, files::PID, files::SOCKET] {
            remove_file(&dir.join(stale))?;
        }
        self.describe(dir, spec, launch)?;
        write_json(&dir.join(files::LAUNCH), launch)?;
        let listener = files::socket_in(dir, files::SOCKET, |path| UnixListener::bind(path))
            .map_err(io_error("listen in", dir))?;
        let child = spawn_shim(dir, listener).map_err(io_error("spawn a shim for", dir))?;
        tokio::spawn(reap(child));
        Ok(Shim { dir: dir.to_owned() })
    }

    /// Writes the OCI description, and beside it what our own workload applies.
    fn describe(&self, dir: &Path, spec: Option<Spec>, launch: &Launch) -> Result<(), RunnerError> {
        let integrated = launch.runtime == RuntimeKind::Integrated;
        let host = self.host.get_or_init(Host::this);
        if let LaunchKind::Exec { process, .. } = &launch.kind {
            let mut process = process.as_ref().clone();
            let mut warnings = Vec::new();
            adapt_process(&mut process, host, &mut warnings);
            warn(launch, &warnings);
            if integrated {
                write_json(&dir.join(files::PRIVILEGES), &Privileges::take(&mut process))?;
            }
            write_json(&dir.join(files::PROCESS), &process)?;
        }
        let Some(mut spec) = spec else { return Ok(()) };
        warn(launch, &adapt(&mut spec, host, integrated));
        if !integrated {
            return write_json(&dir.join(files::CONFIG), &spec);
        }
        let mut privileges = Privileges::default();
        if let Some(process) = spec.process_mut() {
            privileges = Privileges::take(process);
        }
        write_json(&dir.join(files::PRIVILEGES), &privileges)?;
        enter_by_descriptor(&mut spec);
        let profile = spec.linux_mut().as_mut().and_then(|linux| {
            let profile = linux.seccomp().clone();
            linux.set_seccomp(None);
            profile
        });
        match profile {
            Some(profile) => {
                let path = dir.join(files::SECCOMP);
                let filter = self.filters.compile(&profile).map_err(|error| RunnerError::Runtime {
                    message: format!("failed to create task for container: {error}"),
                    exit_code: 125,
                })?;
                fs::write(&path, &*filter).map_err(io_error("write", &path))?;
            }
            None => remove_file(&dir.join(files::SECCOMP))?,
        }
        write_json(&dir.join(files::CONFIG), &spec)
    }

    /// After a daemon's restart: the shim that serves `dir`, or how its process ended. `Gone` if neither is known (the
    /// machine restarted).
    ///
    /// # Errors
    /// [`RunnerError::Io`] if what is there cannot be read.
    pub async fn reconnect(&self, dir: &Path) -> Result<Found, RunnerError> {
        let shim = Shim { dir: dir.to_owned() };
        if !shim.is_gone() {
            return Ok(Found::Alive(shim));
        }
        Ok(match shim.aftermath().await? {
            Some(exit) => Found::Ended(exit),
            None => Found::Gone,
        })
    }

    /// Removes what a container that has ended left: cgroup, runtime state, directory. Idempotent.
    ///
    /// # Errors
    /// [`RunnerError::Io`] with the first step that failed; the others have been tried too.
    pub async fn clean(&self, dir: &Path) -> Result<(), RunnerError> {
        if !dir.exists() {
            return Ok(());
        }
        if let Ok(record) = files::read_json::<PidRecord>(&dir.join(files::PID)) {
            kill(record).await.map_err(io_error("kill the process of", dir))?;
        }
        let launch = files::read_json::<Launch>(&dir.join(files::LAUNCH)).ok();
        let mut results = Vec::new();
        if let Some(Launch { runtime: RuntimeKind::Command(command), kind: LaunchKind::Container { .. }, id, .. }) =
            &launch
        {
            results.push(delete_by_command(command, dir, id).await);
        }
        results.push(remove_cgroup(dir).await);
        results.push(remove_directory(dir, launch.as_ref()));
        results.into_iter().collect()
    }
}

/// The network namespace by the descriptor that the creator holds: the pin is not in the shim's mount namespace.
fn enter_by_descriptor(spec: &mut Spec) {
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    for namespace in namespaces.into_iter().flatten() {
        if namespace.typ() == LinuxNamespaceType::Network && namespace.path().is_some() {
            namespace.set_path(Some(format!("/proc/self/fd/{NETNS_FD}").into()));
        }
    }
}

fn warn(launch: &Launch, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(container = %launch.id, "{warning}");
    }
}

/// Lets the shim be forgotten when it ends before the daemon does.
async fn reap(mut child: tokio::process::Child) {
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "cannot wait for a shim");
    }
}

/// `pontoon shim <dir>`, with the listening socket as its standard input and nothing else of ours.
fn spawn_shim(dir: &Path, listener: UnixListener) -> io::Result<tokio::process::Child> {
    let log = fs::File::create(dir.join(files::SHIM_LOG))?;
    tokio::process::Command::new("/proc/self/exe")
        .arg0("pontoon")
        .arg("shim")
        .arg(dir)
        .env_clear()
        // For an OCI command and what it calls.
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), RunnerError> {
    serde_json::to_vec(value)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(path, bytes))
        .map_err(io_error("write", path))
}

fn remove_file(path: &Path) -> Result<(), RunnerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Kills a process, if it is still the one that was recorded, and waits for its end.
async fn kill(record: PidRecord) -> io::Result<()> {
    let Some(pid) = rustix::process::Pid::from_raw(record.pid) else { return Ok(()) };
    let end = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(end) => end,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The descriptor stands for one process: if the record matches now, it matches what the descriptor stands for.
    if !record.is_there() {
        return Ok(());
    }
    match rustix::process::pidfd_send_signal(&end, rustix::process::Signal::KILL) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let end_of_process = move || {
        let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        rustix::event::poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&patience))
    };
    tokio::task::spawn_blocking(end_of_process).await?.map(drop).map_err(io::Error::from)
}

/// Removes the container's cgroup. The kernel lets go of dead processes' cgroups a moment after their end.
async fn remove_cgroup(dir: &Path) -> Result<(), RunnerError> {
    let Ok(Some(cgroup)) = files::cgroup(&dir.join(files::CONFIG)) else { return Ok(()) };
    for attempt in 0..100 {
        match cgroup::remove(&cgroup) {
            Ok(true) => return Ok(()),
            Ok(false) if attempt % 10 == 0 => cgroup::kill_all(&cgroup),
            Ok(false) => {}
            Err(error) => return Err(io_error("remove cgroup", &cgroup)(error)),
        }
        tokio::time::sleep(Duration::from_millis(1 + attempt)).await;
    }
    Err(io_error("remove cgroup", &cgroup)(io::Error::other("processes stay in it")))
}

async fn delete_by_command(command: &Path, dir: &Path, id: &str) -> Result<(), RunnerError> {
    let root = dir.join(files::RUNTIME);
    if !root.exists() {
        return Ok(());
    }
    let output = tokio::process::Command::new(command)
        .arg("--root")
        .arg(&root)
        .args(["delete", "--force", id])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(io_error("run", command))?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("{} delete: {}", command.display(), String::from_utf8_lossy(&output.stderr).trim());
    Err(RunnerError::Runtime { message, exit_code: 125 })
}

fn remove_directory(dir: &Path, launch: Option<&Launch>) -> Result<(), RunnerError> {
    if let Some(LaunchKind::Container { overlay, .. }) = launch.map(|launch| &launch.kind) {
        // A mount point without its mount: if it is not empty, something of value is there, and stays.
        match fs::remove_dir(&overlay.target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove mount point", &overlay.target)(error));
            }
            _ => {}
        }
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", dir)(error)),
        _ => Ok(()),
    }
}

impl Shim {
    /// Creates the container: everything is in place, its process waits. The init's pid; 0 for an exec, which has no
    /// such state.
    ///
    /// # Errors
    /// [`RunnerError::Runtime`] in docker's words; the shim has then ended, and [`Runner::clean`] removes the rest.
    pub async fn create(&self) -> Result<i32, RunnerError> {
        self.expect_pid(Request::Create).await
    }

    /// Lets the process run. The pid.
    ///
    /// # Errors
    /// As [`Shim::create`]; an exec's program that is missing is told here.
    pub async fn start(&self) -> Result<i32, RunnerError> {
        self.expect_pid(Request::Start).await
    }

    async fn expect_pid(&self, request: Request) -> Result<i32, RunnerError> {
        match self.ask(request).await? {
            Reply::Pid(pid) => Ok(pid),
            other => Err(self.unexpected(&other)),
        }
    }

    /// A connection that carries the streams, from now on: see the module's protocol.
    ///
    /// # Errors
    /// [`RunnerError::Shim`] if the shim has ended.
    pub async fn attach(&self, stdin: bool, stdout: bool, stderr: bool) -> Result<UnixStream, RunnerError> {
        match self.talk(Request::Attach { stdin, stdout, stderr }).await? {
            (Reply::Done, stream) => Ok(stream),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// [`RunnerError::Shim`] if the shim has ended.
    pub async fn resize(&self, rows: u16, cols: u16) -> Result<(), RunnerError> {
        match self.ask(Request::Resize { rows, cols }).await? {
            Reply::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Answers when the process has ended. If the shim itself was killed, its process is killed too and the exit code
    /// is 137.
    ///
    /// # Errors
    /// [`RunnerError::Shim`] if the shim ended before it made a process.
    pub async fn wait(&self) -> Result<Exit, RunnerError> {
        loop {
            match self.ask(Request::Wait).await {
                Ok(Reply::Exited(exit)) => return Ok(exit),
                Ok(other) => return Err(self.unexpected(&other)),
                Err(error) if self.is_gone() => return self.aftermath().await?.ok_or(error),
                // Only we are short of something, such as descriptors.
                Err(error) => tracing::warn!(%error, "cannot reach a shim; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Nobody listens any more. That a connection fails for want of descriptors or memory says nothing about the shim,
    /// and must not cost its container's life.
    fn is_gone(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self.connect(), Err(error) if matches!(error.kind(), ConnectionRefused | NotFound))
    }

    /// Undoes [`Runner::spawn`] and [`Shim::create`] of a container that was not started.
    ///
    /// # Errors
    /// Those of [`Runner::clean`].
    pub async fn abort(&self) -> Result<(), RunnerError> {
        // A shim that has ended already has nothing to undo but what `clean` removes.
        let _ = self.ask(Request::Abort).await;
        Runner::new(&self.dir).clean(&self.dir).await
    }

    /// After the shim's end: what it left word of. A process that outlived its shim is killed: nobody holds its streams
    /// any more, nor would anybody learn its exit code.
    async fn aftermath(&self) -> Result<Option<Exit>, RunnerError> {
        let path = self.dir.join(files::EXIT);
        match files::read_json(&path) {
            Ok(exit) => return Ok(Some(exit)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("read", &path)(error)),
            Err(_) => {}
        }
        let Ok(record) = files::read_json::<PidRecord>(&self.dir.join(files::PID)) else { return Ok(None) };
        tracing::warn!(dir = %self.dir.display(), pid = record.pid, "a shim was killed: its process is killed too");
        kill(record).await.map_err(io_error("kill the process of", &self.dir))?;
        let exit = Exit { code: KILLED, oom_killed: false, at: format!("{:.9}", jiff::Timestamp::now()) };
        let bytes = serde_json::to_vec(&exit).map_err(io::Error::from);
        bytes.and_then(|bytes| files::write_whole(&path, &bytes)).map_err(io_error("write", &path))?;
        Ok(Some(exit))
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = files::socket_in(&self.dir, files::SOCKET, |path| StdUnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    async fn ask(&self, request: Request) -> Result<Reply, RunnerError> {
        self.talk(request).await.map(|(reply, _)| reply)
    }

    /// One question and its answer, on a connection of its own.
    async fn talk(&self, request: Request) -> Result<(Reply, UnixStream), RunnerError> {
        let gone = |error: io::Error| self.nonsense(format!("went away: {error}"));
        let mut stream = self.connect().map_err(gone)?;
        let mut line = serde_json::to_vec(&request).map_err(|error| gone(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(gone)?;
        let line = read_line(&mut stream).await.map_err(gone)?;
        match serde_json::from_slice(&line) {
            Ok(Reply::Failed { message, exit_code }) => Err(RunnerError::Runtime { message, exit_code }),
            Ok(reply) => Ok((reply, stream)),
            Err(_) => Err(self.nonsense(format!("answered {:?}", String::from_utf8_lossy(&line)))),
        }
    }

    fn unexpected(&self, reply: &Reply) -> RunnerError {
        self.nonsense(format!("answered {reply:?}"))
    }

    fn nonsense(&self, what: String) -> RunnerError {
        RunnerError::Shim { path: PathBuf::from(&self.dir), what }
    }
}

/// Up to the newline and no byte further: what follows may be a stream.
async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(line),
            byte => line.push(byte),
        }
    }
}
