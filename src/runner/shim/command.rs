//! Containers made by an OCI runtime command: runc, crun, youki (the command line that they share).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::creator::Task;
use crate::runner::files;
use crate::runner::launch::{Launch, LaunchKind};

const PID_FILE: &str = "init.pid";
const ERRORS: &str = "runtime.log";

/// Carries out `task` with `command`; the process id, if one was made. Standard streams are the caller's own.
pub(super) fn run(command: &Path, launch: &Launch, task: Task) -> Result<Option<i32>, String> {
    let mut arguments = Arguments::global(launch);
    match (&launch.kind, task) {
        (_, Task::Start) => arguments.add(&["start"]),
        (LaunchKind::Container { .. }, Task::Create) => {
            arguments.add(&["create", "--bundle", ".", "--pid-file", PID_FILE]);
        }
        (LaunchKind::Exec { .. }, Task::Create) => {
            arguments.add(&["exec", "--detach", "--process", files::PROCESS, "--pid-file", PID_FILE]);
        }
    }
    if launch.tty && task == Task::Create {
        arguments.add(&["--console-socket", files::CONSOLE]);
    }
    arguments.add(&[&launch.id]);
    let status = spawn(command, &arguments.0).map_err(|error| format!("cannot run {}: {error}", command.display()))?;
    if !status.success() {
        return Err(last_error().unwrap_or_else(|| format!("{} failed: {status}", command.display())));
    }
    if task == Task::Start {
        return Ok(None);
    }
    let pid = fs::read_to_string(PID_FILE).map_err(|error| format!("cannot read {PID_FILE}: {error}"))?;
    pid.trim().parse().map(Some).map_err(|_| format!("{PID_FILE} holds no process id: {pid:?}"))
}

struct Arguments(Vec<PathBuf>);

impl Arguments {
    fn global(launch: &Launch) -> Self {
        let root = match &launch.kind {
            LaunchKind::Container { .. } => PathBuf::from(files::RUNTIME),
            LaunchKind::Exec { container_dir, .. } => container_dir.join(files::RUNTIME),
        };
        Self(vec!["--root".into(), root, "--log".into(), ERRORS.into(), "--log-format".into(), "json".into()])
    }

    fn add(&mut self, arguments: &[&str]) {
        self.0.extend(arguments.iter().map(PathBuf::from));
    }
}

#[expect(clippy::disallowed_methods, reason = "the user chose a runtime that is a command")]
fn spawn(command: &Path, arguments: &[PathBuf]) -> std::io::Result<std::process::ExitStatus> {
    let _ = fs::remove_file(ERRORS);
    Command::new(command).args(arguments).status()
}

/// The last line of the runtime's log, which has its reason.
fn last_error() -> Option<String> {
    let log = fs::read_to_string(ERRORS).ok()?;
    let line = log.lines().next_back()?;
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(entry) => Some(entry.get("msg")?.as_str()?.to_owned()),
        Err(_) => Some(line.to_owned()),
    }
}
