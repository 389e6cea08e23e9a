//! Errors of the command line: one line on stderr and docker's exit codes.

use std::fmt;

use bollard::errors::Error as ApiError;

/// What a command ends with: the process's exit code.
pub(super) type Outcome = Result<u8, CliError>;

/// docker's exit code for everything that is the engine's or the command line's fault in `run`.
pub(super) const RUN_FAILED: u8 = 125;

/// An error that ends a command.
#[derive(Debug)]
pub(super) struct CliError {
    /// One line; empty if everything has been said.
    pub(super) message: String,
    /// Exit code.
    pub(super) code: u8,
    /// The HTTP status, if the daemon answered.
    pub(super) status: Option<u16>,
}

impl CliError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, status: None }
    }

    /// An error whose text has been shown already.
    pub(super) fn said(code: u8) -> Self {
        Self { message: String::new(), code, status: None }
    }

    pub(super) fn from_status(status: u16, message: impl Into<String>) -> Self {
        Self { status: Some(status), ..Self::new(message) }
    }

    pub(super) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// As `run` and `start -a` end when the container could not be started: 127 if there is no such command, 126 if it
    /// cannot be run, else 125. Docker's clients have nothing but the text to go by.
    pub(super) fn of_start(self) -> Self {
        let code = start_code(&self.message);
        self.with_code(code)
    }

    /// The reader of our output went away: nothing to complain about.
    pub(super) fn output(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::said(0),
            _ => Self::new(format!("cannot write to stdout: {error}")),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))
    }
}

impl std::error::Error for CliError {}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::DockerResponseServerError { status_code, message } => Self::from_status(status_code, message),
            ApiError::DockerStreamError { error } => Self::new(error),
            ApiError::IOError { err } => Self::new(err.to_string()),
            ApiError::RequestTimeoutError => Self::new("the daemon did not answer in time"),
            other => Self::new(format!("the daemon's answer makes no sense: {other}")),
        }
    }
}

/// See [`CliError::of_start`].
fn start_code(message: &str) -> u8 {
    let any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if any(&["executable file not found", "no such file or directory", "system cannot find the file specified"]) {
        127
    } else if any(&["permission denied", "not a directory", "is a directory", "exec format error"]) {
        126
    } else {
        RUN_FAILED
    }
}

/// Line breaks and runs of blanks become single blanks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_come_from_the_words_of_the_runtime() {
        for (message, code) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            ("exec: \"/nope\": stat /nope: no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec /x: exec format error", 126),
            ("Bind for 0.0.0.0:80 failed: port is already allocated", 125),
        ] {
            assert_eq!(CliError::new(message).of_start().code, code, "{message}");
        }
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(CliError::new("a\n  b\n").to_string(), "a b");
    }
}
