//! Commands and what came of them.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

use super::Cli;

/// How a finished command ended, and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As typed, for messages.
    pub command: String,
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end, with `input` on its stdin.
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let shown = shown(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = input.to_vec();
        // A command may end without reading its input; that is its own business.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("a child can be waited for");
        feeder.join().expect("feeding stdin does not panic");
        Self {
            command: shown,
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it wrote to stdout, without the last line's end; panics unless it succeeded.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert!(self.code == 0, "should have succeeded: {self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// What it wrote to stderr; panics unless it ended with `code`.
    #[track_caller]
    pub fn fails(&self, code: i32) -> String {
        assert!(self.code == code && code != 0, "should have ended with {code}: {self}");
        self.stderr.trim_end_matches('\n').to_owned()
    }

    /// Panics unless it ended with `code`.
    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Self {
        assert!(self.code == code, "should have ended with {code}: {self}");
        self
    }

    /// Panics unless stdout is exactly `text` (the last line's end aside), whatever the exit code.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stdout.trim_end_matches('\n') == text, "should have said {text:?}: {self}");
        self
    }

    /// Panics unless stderr holds `text`.
    #[track_caller]
    pub fn complains(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "should have complained {text:?}: {self}");
        self
    }

    /// Panics unless stderr holds `text`; from docker's client `older` will do too, which a version before 23 says
    /// where the client refuses by itself.
    #[track_caller]
    pub fn complains_as(&self, cli: Cli, text: &str, older: &str) -> &Self {
        if cli == Cli::Docker && self.stderr.contains(older) { self } else { self.complains(text) }
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout:\n{}\n--- stderr:\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

/// The command as typed, without what brings it into its namespaces.
pub fn shown(command: &Command) -> String {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    let inner = words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
    words[inner..].join(" ")
}
