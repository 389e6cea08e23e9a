//! How the creator, and the container's init before it becomes its program, tell the shim what became of them: lines of
//! JSON on a pipe that both hold as descriptor [`FD`].

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The pipe's number in creator and init.
pub(super) const FD: i32 = 3;

static PIPE: OnceLock<OwnedFd> = OnceLock::new();

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The process exists; its id as the host sees it.
    Created(i32),
    /// Not done, and why.
    Failed(String),
    /// What libcontainer logged about a failure: its error values alone often do not say on what it failed.
    Detail(String),
}

/// Sends a report. A shim that does not listen any more is no error.
pub(super) fn send(report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    let Some(pipe) = PIPE.get() else { return };
    // A line of less than PIPE_BUF bytes is written whole, whoever else writes.
    let _ = rustix::io::write(pipe, &line[..]);
}

/// Sends [`Report::Failed`].
pub(super) fn failed(message: &str) {
    send(&Report::Failed(message.to_owned()));
}

/// In the creator: makes `pipe` descriptor [`FD`], where [`send`] writes from now on, here and in what is forked from here.
pub(super) fn install(pipe: OwnedFd) -> io::Result<()> {
    let pipe = crate::sys::process::move_fd(pipe, FD)?;
    PIPE.set(pipe).map_err(|_| io::Error::other("there is a report pipe already"))
}

/// Waits for the first decisive report, or the end of the creator. `Err` is why there is no process.
pub(super) fn receive(pipe: OwnedFd, creator: &OwnedFd) -> Result<i32, String> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut details = Vec::new();
    let mut lines = BufReader::new(std::fs::File::from(pipe));
    loop {
        let (readable, ended) = {
            let mut fds = [PollFd::new(lines.get_ref(), PollFlags::IN), PollFd::new(creator, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => (fds[0].revents().contains(PollFlags::IN), !fds[1].revents().is_empty()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(io::Error::from(error).to_string()),
            }
        };
        if !readable {
            if ended {
                return Err(details
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| "the creator ended without a word".to_owned()));
            }
            continue;
        }
        // A reader that has more than one line buffered would not poll readable again.
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).is_err() || line.is_empty() {
                break;
            }
            match serde_json::from_str(&line) {
                Ok(Report::Created(pid)) => return Ok(pid),
                Ok(Report::Failed(message)) => return Err(with_detail(message, &details)),
                Ok(Report::Detail(detail)) => details.push(detail),
                Err(_) => {}
            }
            if lines.buffer().is_empty() {
                break;
            }
        }
    }
}

/// The first detail is the deepest: errors are logged on their way up.
fn with_detail(message: String, details: &[String]) -> String {
    match details.first() {
        // Our own words need no explanation.
        Some(detail) if !message.starts_with("exec: ") => format!("{message}: {detail}"),
        _ => message,
    }
}

/// A tracing subscriber that reports errors and drops the rest.
pub(super) struct Details;

impl tracing::Subscriber for Details {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut detail = text.message;
        detail.push_str(&text.fields);
        // Longer lines might be torn; see `send`.
        detail.truncate(detail.floor_char_boundary(2000));
        send(&Report::Detail(detail));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// Reading and writing end of a report pipe.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// A descriptor that is ready when the process has ended.
pub(super) fn end_of(pid: nix::unistd::Pid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}
