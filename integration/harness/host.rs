//! A host: a machine of its own with a LAN neighbour and, usually, a daemon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::panicking;

use tempfile::TempDir;

use super::Outcome;
use super::container::Run;
use super::daemon::{Cli, Daemon, Frozen};
use super::image;
use super::lan::Lan;
use super::namespaces::{Namespaces, Place};
use super::terminal::Terminal;
use super::traces::{self, Traces};

/// A machine of its own. When it goes, it takes everything with it, and panics if containers left traces.
pub struct Host {
    /// Its network, mounts and processes.
    pub namespaces: Namespaces,
    dir: TempDir,
    daemons: Vec<Daemon>,
    /// What was there when the first daemon had started.
    baseline: Traces,
}

impl Host {
    /// With a daemon in its default configuration, and the image `busybox`.
    #[track_caller]
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With a daemon that is given `flags`, and the image `busybox`.
    #[track_caller]
    pub fn with(flags: &[&str]) -> Self {
        let mut host = Self::bare();
        host.start_daemon(flags);
        host
    }

    /// Without a daemon.
    #[track_caller]
    pub fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("host-").tempdir_in(image::scratch()).expect("target is writable");
        Self { namespaces: Namespaces::new(), dir, daemons: Vec::new(), baseline: Traces::default() }
    }

    /// With a daemon that runs in a chroot.
    #[track_caller]
    pub fn with_daemon_in_chroot() -> Self {
        let mut host = Self::bare();
        host.add(Daemon::new("pontoon", host.dir.path(), &[]).in_chroot(&host.namespaces, "/run/jail"));
        host.baseline = host.traces();
        host
    }

    /// Makes `br7`, an operator's bridge, of which the interface to the LAN is a port: who is there is a neighbour on it.
    #[track_caller]
    pub fn bridge_the_lan(&self) {
        self.sh("ip link add br7 type bridge && ip link set lan0 master br7 && ip address flush dev lan0 && \
             ip address add 192.0.2.1/24 dev br7 && ip link set br7 up")
            .ok();
    }

    /// Starts the first daemon of a bare host (what the other methods talk to) and imports `busybox`.
    #[track_caller]
    pub fn start_daemon(&mut self, flags: &[&str]) {
        assert!(self.daemons.is_empty(), "the host has a daemon: see `second_daemon`");
        self.add_daemon("pontoon", flags);
        self.baseline = self.traces();
    }

    /// Starts another daemon beside the first; [`Host::second`] talks to it.
    #[track_caller]
    pub fn start_second_daemon(&mut self, flags: &[&str]) {
        self.add_daemon("second", flags);
        self.baseline = self.traces();
    }

    #[track_caller]
    fn add_daemon(&mut self, name: &str, flags: &[&str]) {
        self.add(Daemon::new(name, self.dir.path(), flags));
    }

    #[track_caller]
    fn add(&mut self, daemon: Daemon) {
        daemon.start(&self.namespaces);
        let tar = image::busybox().to_string_lossy();
        let import = ["import", "--change", "CMD [\"sh\"]", &tar, "busybox"];
        let outcome = Outcome::of(&mut daemon.client(&self.namespaces, Cli::Docker, &import), b"");
        assert!(outcome.code == 0, "cannot import the image: {outcome}\n--- daemon:\n{}", daemon.log());
        self.daemons.push(daemon);
    }

    /// What a daemon with `flags` says that refuses to start.
    pub fn refused_daemon(&self, flags: &[&str]) -> Outcome {
        let daemon = Daemon::new("refused", self.dir.path(), flags);
        let outcome = daemon.attempt(&self.namespaces);
        assert!(!daemon.data_root.exists(), "a refused daemon has made {}", daemon.data_root.display());
        outcome
    }

    /// The first daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemons.first().expect("a bare host has no daemon")
    }

    /// The second daemon.
    pub fn second(&self) -> &Daemon {
        self.daemons.get(1).expect("start_second_daemon was called")
    }

    /// `kill -9` of the daemon.
    #[track_caller]
    pub fn kill_daemon(&self) {
        self.daemon().kill(&self.namespaces);
    }

    /// SIGTERM to the daemon, and waits for its end.
    #[track_caller]
    pub fn stop_daemon(&self) {
        self.daemon().stop(&self.namespaces);
    }

    /// SIGSTOP to the daemon; SIGCONT when the answer is dropped.
    #[track_caller]
    pub fn freeze_daemon(&self) -> Frozen<'_> {
        self.daemon().freeze(&self.namespaces)
    }

    /// Starts the daemon again after one of these.
    #[track_caller]
    pub fn restart_daemon(&self) {
        self.daemon().start(&self.namespaces);
    }

    /// The same with other options.
    #[track_caller]
    pub fn restart_daemon_with(&mut self, flags: &[&str]) {
        self.daemons[0].be_told(flags);
        self.restart_daemon();
    }

    /// A client's command to its end.
    pub fn cli(&self, cli: Cli, args: &[&str]) -> Outcome {
        self.cli_with_input(cli, args, "")
    }

    /// The same with something on stdin.
    pub fn cli_with_input(&self, cli: Cli, args: &[&str], input: &str) -> Outcome {
        Outcome::of(&mut self.daemon().client(&self.namespaces, cli, args), input.as_bytes())
    }

    /// The docker CLI.
    pub fn docker(&self, args: &[&str]) -> Outcome {
        self.cli(Cli::Docker, args)
    }

    /// Our CLI.
    pub fn pontoon(&self, args: &[&str]) -> Outcome {
        self.cli(Cli::Pontoon, args)
    }

    /// The docker CLI towards the second daemon.
    pub fn docker_second(&self, args: &[&str]) -> Outcome {
        Outcome::of(&mut self.second().client(&self.namespaces, Cli::Docker, args), b"")
    }

    /// A client on a terminal.
    pub fn terminal(&self, cli: Cli, args: &[&str]) -> Terminal {
        Terminal::spawn(&mut self.daemon().client_on_terminal(&self.namespaces, cli, args))
    }

    /// What `port` lists of a container. A docker CLI before version 23 lists in any order: here it is sorted.
    #[track_caller]
    pub fn ports(&self, cli: Cli, id: &str) -> Vec<String> {
        let mut lines: Vec<String> = self.cli(cli, &["port", id]).ok().lines().map(str::to_owned).collect();
        if cli == Cli::Docker {
            lines.sort();
        }
        lines
    }

    /// The bare API.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (status, text) = self.daemon().request(&self.namespaces, method, path, body).expect("the daemon answers");
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// The beginning of a `run`.
    pub fn run(&self, image: &str) -> Run<'_> {
        Run::new(self, image)
    }

    /// A program on the host, ready to run, with the default socket as `DOCKER_HOST`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.namespaces.command(Place::Host, 60, program);
        command.env("DOCKER_HOST", "unix:///run/pontoon/pontoon.sock");
        command
    }

    /// Its network namespace, as this machine sees it.
    pub fn netns(&self) -> PathBuf {
        self.namespaces.netns(Place::Host)
    }

    /// A shell command on the host.
    pub fn sh(&self, script: &str) -> Outcome {
        Outcome::of(self.command("bash").args(["-c", script]), b"")
    }

    /// The neighbour.
    pub fn lan(&self) -> Lan<'_> {
        Lan::new(self, Place::Lan)
    }

    /// The host itself as a client of its containers.
    pub fn itself(&self) -> Lan<'_> {
        Lan::new(self, Place::Host)
    }

    /// A directory of this test on a real filesystem.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path of the host, as this machine sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.namespaces.inside(path)
    }

    /// What containers could leave behind.
    pub fn traces(&self) -> Traces {
        let data: Vec<_> = self.daemons.iter().map(|daemon| daemon.data_root.clone()).collect();
        let pids: Vec<_> =
            self.daemons.iter().filter(|daemon| daemon.is_running()).map(|it| it.pid(&self.namespaces)).collect();
        self.daemons
            .iter()
            .fold(Traces::default(), |all, daemon| all.and(Traces::of(&self.namespaces, &daemon.cgroup, &data, &pids)))
    }

    /// Panics if something is there that was not there `before`, or is gone, and stays so.
    #[track_caller]
    pub fn assert_as(&self, before: &Traces) {
        let mut changed = Vec::new();
        let begin = std::time::Instant::now();
        while begin.elapsed() < super::wait::DEADLINE {
            changed = self.traces().since(before);
            if changed.is_empty() {
                return;
            }
            super::wait::pause();
        }
        panic!("traces were left:\n{}", changed.join("\n"));
    }

    /// Removes every container, checks that no trace of them is left, stops the daemons.
    fn close(&self) {
        for daemon in self.daemons.iter().filter(|daemon| daemon.is_running()) {
            let client = |args: &[&str]| Outcome::of(&mut daemon.client(&self.namespaces, Cli::Docker, args), b"").ok();
            let ids = client(&["ps", "--all", "--quiet", "--no-trunc"]);
            let ids: Vec<_> = ids.lines().collect();
            if !ids.is_empty() {
                client(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat());
            }
        }
        if self.daemons.iter().all(Daemon::is_running) {
            self.assert_as(&self.baseline);
        }
        for daemon in &self.daemons {
            daemon.stop(&self.namespaces);
        }
    }

    /// Whatever happened: the cgroups are the only thing that does not end with the namespaces.
    fn remove_cgroups(&self) {
        for daemon in &self.daemons {
            for root in traces::cgroup_roots() {
                remove_cgroup(&root.join(daemon.cgroup.trim_start_matches('/')));
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let failed = panicking();
        let closed = failed || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.close())).is_ok();
        if failed || !closed {
            for daemon in &self.daemons {
                eprintln!("--- the daemon's log ({}):\n{}", daemon.exec_root, daemon.log());
            }
        }
        self.namespaces.end();
        self.remove_cgroups();
        assert!(closed, "a container left traces on its host: see above");
    }
}

fn remove_cgroup(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // Processes of an ended pid namespace may take a moment to leave.
    let begin = std::time::Instant::now();
    while std::fs::remove_dir(dir).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy)
        && begin.elapsed() < super::wait::DEADLINE
    {
        super::wait::pause();
    }
}
