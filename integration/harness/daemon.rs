//! A daemon in a host's namespaces, and the two clients that talk to it.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::Outcome;
use super::namespaces::{Namespaces, Place};
use super::wait::{eventually, until};

/// Commands that take longer are hanging.
pub const COMMAND_SECONDS: u32 = 60;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cli {
    /// The docker CLI.
    Docker,
    /// `pontoon <verb>`.
    Pontoon,
}

impl Cli {
    /// One after the other.
    pub const BOTH: [Self; 2] = [Self::Docker, Self::Pontoon];
}

/// The program under test: `PONTOON_BIN`, else the one that cargo built beside these tests.
pub fn pontoon_binary() -> PathBuf {
    std::env::var_os("PONTOON_BIN").map_or_else(|| env!("CARGO_BIN_EXE_pontoon").into(), PathBuf::from)
}

/// One daemon: its roots, its socket, its options.
#[derive(Debug)]
pub struct Daemon {
    /// State, on a real filesystem.
    pub data_root: PathBuf,
    /// As the host sees it.
    pub exec_root: String,
    /// Parent of the containers' cgroups.
    pub cgroup: String,
    socket: String,
    pidfile: String,
    flags: Vec<String>,
    /// The directory that it takes for `/`.
    chroot: Option<String>,
    log: PathBuf,
    process: RefCell<Option<Child>>,
}

impl Daemon {
    /// Not started yet. `name` tells several daemons of one host apart; `dir` is on a real filesystem.
    pub fn new(name: &str, dir: &Path, flags: &[&str]) -> Self {
        let unique = dir.file_name().expect("a directory has a name").to_string_lossy().into_owned();
        Self {
            data_root: dir.join(name),
            exec_root: format!("/run/{name}"),
            cgroup: format!("/pontoon-test-{unique}-{name}"),
            socket: format!("/run/{name}/{name}.sock"),
            pidfile: format!("/run/{name}/{name}.pid"),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            chroot: None,
            log: dir.join(format!("{name}.log")),
            process: RefCell::new(None),
        }
    }

    /// Other options from its next start on.
    pub fn be_told(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// It takes `directory` for `/`. Paths mean the same there: the host's root is mounted on it.
    pub fn in_chroot(mut self, namespaces: &Namespaces, directory: &str) -> Self {
        let mount = format!("mkdir {directory} && mount --rbind / {directory}");
        Outcome::of(namespaces.command(Place::Host, 10, "sh").args(["-c", &mount]), b"").ok();
        self.chroot = Some(directory.to_owned());
        self
    }

    /// Tries to start one that should refuse to: how it ended.
    pub fn attempt(&self, namespaces: &Namespaces) -> Outcome {
        Outcome::of(&mut self.typed(|program| namespaces.command(Place::Host, 10, program)), b"")
    }

    /// Its command line, begun by `command`.
    fn typed(&self, command: impl FnOnce(&str) -> Command) -> Command {
        let binary = pontoon_binary();
        let mut command = match &self.chroot {
            None => command(&binary.to_string_lossy()),
            Some(directory) => {
                let mut chroot = command("chroot");
                chroot.arg(directory).arg(binary);
                chroot
            }
        };
        command
            .args(["daemon", "--data-root"])
            .arg(&self.data_root)
            .args(["--exec-root", &self.exec_root, "--pidfile", &self.pidfile])
            .args(["--host", &format!("unix://{}", self.socket), "--cgroup-parent", &self.cgroup])
            .args(&self.flags);
        command
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(&self, namespaces: &Namespaces) {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let child = self
            .typed(|program| namespaces.lasting_command(program))
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("nsenter (util-linux) runs");
        *self.process.borrow_mut() = Some(child);
        eventually("the daemon answers", || {
            let ended = self.process.borrow_mut().as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "the daemon ended ({ended:?}) and said:\n{}", self.log());
            match self.request(namespaces, "GET", "/_ping", "") {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("{status} {body}")),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Its process id, as the host sees it.
    #[track_caller]
    pub fn pid(&self, namespaces: &Namespaces) -> u32 {
        let path = namespaces.inside(&self.pidfile);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        text.trim().parse().expect("a pidfile holds a number")
    }

    /// `kill -9`.
    #[track_caller]
    pub fn kill(&self, namespaces: &Namespaces) {
        self.signal(namespaces, "KILL");
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn stop(&self, namespaces: &Namespaces) {
        self.signal(namespaces, "TERM");
    }

    fn signal(&self, namespaces: &Namespaces, signal: &str) {
        let Some(mut child) = self.process.borrow_mut().take() else { return };
        let pid = self.pid(namespaces).to_string();
        Outcome::of(namespaces.command(Place::Host, 10, "kill").args(["-s", signal, &pid]), b"").ok();
        until("the daemon has ended", || child.try_wait().is_ok_and(|status| status.is_some()));
    }

    /// Stops it in its tracks until the answer is dropped: what is done meanwhile is not its doing, and not undone by it.
    #[track_caller]
    pub fn freeze<'a>(&'a self, namespaces: &'a Namespaces) -> Frozen<'a> {
        let pid = self.pid(namespaces);
        Outcome::of(namespaces.command(Place::Host, 10, "kill").args(["-s", "STOP", &pid.to_string()]), b"").ok();
        let status = namespaces.inside(&format!("/proc/{pid}/status"));
        until("the daemon has stopped", || fs::read_to_string(&status).is_ok_and(|text| text.contains("\nState:\tT")));
        Frozen { daemon: self, namespaces }
    }

    fn thaw(&self, namespaces: &Namespaces) {
        let pid = self.pid(namespaces).to_string();
        Outcome::of(namespaces.command(Place::Host, 10, "kill").args(["-s", "CONT", &pid]), b"");
        // nsenter stops itself with its child, and would not reap it.
        let nsenter = self.process.borrow().as_ref().map(|child| child.id().to_string());
        Outcome::of(Command::new("kill").args(["-s", "CONT"]).args(nsenter), b"");
    }

    /// It was started and not stopped.
    pub fn is_running(&self) -> bool {
        self.process.borrow().is_some()
    }

    /// What it wrote to stdout and stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client's command, ready to run.
    pub fn client(&self, namespaces: &Namespaces, cli: Cli, args: &[&str]) -> Command {
        self.addressed(namespaces.command(Place::Host, COMMAND_SECONDS, &program(cli)), cli, args)
    }

    /// The same with a terminal to be given.
    pub fn client_on_terminal(&self, namespaces: &Namespaces, cli: Cli, args: &[&str]) -> Command {
        self.addressed(namespaces.command_on_terminal(COMMAND_SECONDS, &program(cli)), cli, args)
    }

    fn addressed(&self, mut command: Command, cli: Cli, args: &[&str]) -> Command {
        let variable = match cli {
            Cli::Docker => "DOCKER_HOST",
            Cli::Pontoon => "PONTOON_HOST",
        };
        command.env_remove("DOCKER_HOST").env(variable, format!("unix://{}", self.socket)).env("TERM", "xterm");
        command.args(args);
        command
    }

    /// The bare API: method, path, JSON body; answers status and body.
    pub fn request(
        &self,
        namespaces: &Namespaces,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(namespaces.inside(&self.socket))?;
        stream.set_read_timeout(Some(Duration::from_secs(COMMAND_SECONDS.into())))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: pontoon\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }
}

/// A daemon that is stopped in its tracks.
#[must_use]
pub struct Frozen<'a> {
    daemon: &'a Daemon,
    namespaces: &'a Namespaces,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.daemon.thaw(self.namespaces);
    }
}

fn program(cli: Cli) -> String {
    match cli {
        Cli::Docker => "docker".into(),
        Cli::Pontoon => pontoon_binary().to_string_lossy().into_owned(),
    }
}
