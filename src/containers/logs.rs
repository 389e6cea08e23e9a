//! Reading a container's log: Docker's json-file format, with rotation and following.
//!
//! A reader is a thread of its own that blocks on the file, and on inotify at its end; a client that reads slowly holds
//! the thread back, so that lines wait in the file and not in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::cell::Cell;
use super::engine::Engine;
use super::error::EngineError;
use super::record::Container;

/// `docker logs`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on as long as the container runs.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Nanoseconds since 1970: lines from here on.
    pub since: Option<i64>,
    /// Nanoseconds since 1970: lines up to here.
    pub until: Option<i64>,
    /// Which streams.
    pub stdout: bool,
    /// Which streams.
    pub stderr: bool,
}

/// One line of a log, with its newline if it had one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 1 stdout, 2 stderr.
    pub stream: u8,
    /// RFC 3339 with nanoseconds, as written.
    pub time: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A line of the file (Docker's json-file format).
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
}

/// Lines in flight between the reading thread and the client.
const IN_FLIGHT: usize = 256;
/// How often the end of the container is looked for while nothing is written.
const LOOK: Duration = Duration::from_millis(200);

impl Engine {
    /// `docker logs`: the container (for its `tty`), and lines as they come; the channel closes at the end. Lines of a
    /// follower that does not read wait in the file, not in memory.
    pub fn logs(
        &self,
        who: &str,
        options: LogOptions,
    ) -> Result<(Arc<Container>, mpsc::Receiver<LogLine>), EngineError> {
        let cell = self.find(who)?;
        let container = cell.snapshot();
        if container.spec.log.driver == "none" {
            return Err(EngineError::new(
                super::ErrorKind::Unsupported,
                "configured logging driver does not support reading",
            ));
        }
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let path = self.files(&container.id).log;
        let keep = container.spec.log.max_file;
        std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || {
                let mut reader = Reader { options, sender, cell, path };
                if let Err(error) = reader.run(keep) {
                    tracing::warn!(%error, "cannot read the container's log");
                }
            })
            .map_err(EngineError::internal)?;
        Ok((container, receiver))
    }
}

/// The client has gone, or wants no more.
struct Done;

struct Reader {
    options: LogOptions,
    sender: mpsc::Sender<LogLine>,
    cell: Arc<Cell>,
    path: PathBuf,
}

impl Reader {
    fn run(&mut self, keep: u32) -> std::io::Result<()> {
        // Watched before the first read: what is written in between wakes the follower.
        let watch = self.options.follow.then(|| Watch::new(&self.path));
        // Opened oldest first; each is read from its inode, whatever rotation renames meanwhile.
        let mut files = open_all(&self.path, keep)?;
        if let Some(wanted) = self.options.tail {
            let unwanted = |entry: &Entry| !self.wanted(entry);
            seek_to_tail(&mut files, wanted, &unwanted)?;
        }
        for file in &mut files {
            if self.drain(file).is_err() {
                return Ok(());
            }
        }
        match (watch, files.pop()) {
            (Some(watch), last) => self.follow(&watch, last),
            (None, _) => Ok(()),
        }
    }

    /// Sends every whole line up to the file's present end.
    fn drain(&self, file: &mut BufReader<File>) -> Result<(), Done> {
        let mut line = Vec::new();
        loop {
            line.clear();
            match file.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) if line.last() != Some(&b'\n') => {
                    // Half a line: its writer is not done. Read again later.
                    let back = i64::try_from(read).unwrap_or(0);
                    let _ = file.seek_relative(-back);
                    return Ok(());
                }
                Ok(_) => self.send(&line)?,
            }
        }
    }

    fn send(&self, line: &[u8]) -> Result<(), Done> {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else { return Ok(()) };
        if let (Some(until), Some(at)) = (self.options.until, nanoseconds(&entry.time))
            && at > until
        {
            return Err(Done);
        }
        if !self.wanted(&entry) {
            return Ok(());
        }
        let stream = if entry.stream == "stderr" { 2 } else { 1 };
        let line = LogLine { stream, time: entry.time, bytes: entry.log.into_bytes() };
        self.sender.blocking_send(line).map_err(|_| Done)
    }

    fn wanted(&self, entry: &Entry) -> bool {
        let stream = if entry.stream == "stderr" { self.options.stderr } else { self.options.stdout };
        let late = match (self.options.since, nanoseconds(&entry.time)) {
            (Some(since), Some(at)) => at >= since,
            _ => true,
        };
        stream && late
    }

    fn follow(&self, watch: &Watch, mut last: Option<BufReader<File>>) -> std::io::Result<()> {
        loop {
            // Looked at before the drain: what the process wrote before its end is still read.
            let running = self.cell.snapshot().state.status.is_running();
            let ended = !running && !self.may_run_again();
            if let Some(file) = &mut last
                && self.drain(file).is_err()
            {
                return Ok(());
            }
            if let Some(next) = newer(&self.path, last.as_ref())? {
                // What was written between the drain and the rotation: from here on the old file is whole.
                if let Some(file) = &mut last
                    && self.drain(file).is_err()
                {
                    return Ok(());
                }
                last = Some(next);
                continue;
            }
            if ended || self.sender.is_closed() || self.expired() {
                return Ok(());
            }
            watch.wait(LOOK)?;
        }
    }

    fn may_run_again(&self) -> bool {
        use super::record::Status;
        self.cell.snapshot().state.status == Status::Restarting
    }

    fn expired(&self) -> bool {
        self.options.until.is_some_and(|until| jiff::Timestamp::now().as_nanosecond() > i128::from(until))
    }
}

/// The file at `path`, if it is another one than the one that is read: the log was rotated.
fn newer(path: &Path, current: Option<&BufReader<File>>) -> std::io::Result<Option<BufReader<File>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let same = match current {
        Some(current) => current.get_ref().metadata()?.ino() == file.metadata()?.ino(),
        None => false,
    };
    Ok((!same).then(|| BufReader::new(file)))
}

/// The log and its rotated predecessors (`….1` is the youngest of them), oldest first.
fn open_all(path: &Path, keep: u32) -> std::io::Result<Vec<BufReader<File>>> {
    let mut files = Vec::new();
    let numbered = (1..keep).rev().map(|number| PathBuf::from(format!("{}.{number}", path.display())));
    for path in numbered.chain([path.to_owned()]) {
        match File::open(path) {
            Ok(file) => files.push(BufReader::new(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Moves the files' positions so that what follows has the last `wanted` lines.
fn seek_to_tail(
    files: &mut Vec<BufReader<File>>,
    wanted: usize,
    unwanted: &dyn Fn(&Entry) -> bool,
) -> std::io::Result<()> {
    let mut starts: std::collections::VecDeque<(usize, u64)> = std::collections::VecDeque::new();
    let mut ends = Vec::new();
    for (index, file) in files.iter_mut().enumerate() {
        let (mut at, mut line) = (0u64, Vec::new());
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            if serde_json::from_slice::<Entry>(&line).is_ok_and(|entry| !unwanted(&entry)) {
                starts.push_back((index, at));
                if starts.len() > wanted {
                    starts.pop_front();
                }
            }
            at += read as u64;
        }
        ends.push(at);
    }
    let (first, offset) =
        starts.front().copied().unwrap_or((files.len().saturating_sub(1), ends.last().copied().unwrap_or(0)));
    for (index, file) in files.iter_mut().enumerate() {
        let position = if index == first { offset } else { 0 };
        file.seek(SeekFrom::Start(position))?;
    }
    files.drain(..first.min(files.len()));
    Ok(())
}

fn nanoseconds(time: &str) -> Option<i64> {
    let at: jiff::Timestamp = time.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

/// Wakes when something happens in the log's directory; without inotify (its instances are few: `max_user_instances`)
/// after a moment.
struct Watch(Option<nix::sys::inotify::Inotify>);

impl Watch {
    fn new(path: &Path) -> Self {
        Self(Self::inotify(path).ok())
    }

    fn inotify(path: &Path) -> nix::Result<nix::sys::inotify::Inotify> {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(path.parent().unwrap_or(path), flags)?;
        Ok(inotify)
    }

    fn wait(&self, at_most: Duration) -> std::io::Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        let Some(inotify) = &self.0 else {
            // Nothing to be woken by: the file is looked at again after the time.
            let _ = poll(&mut [], timeout);
            return Ok(());
        };
        match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // What happened does not matter: the file is read anyway.
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path, name: &str, lines: &[&str]) -> PathBuf {
        let path = dir.join(name);
        let text: String = lines
            .iter()
            .map(|l| format!("{{\"log\":\"{l}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"))
            .collect();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn tail(wanted: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), "x.log.1", &["a", "b"]);
        let path = log(dir.path(), "x.log", &["c", "d"]);
        let mut files = open_all(&path, 2).unwrap();
        seek_to_tail(&mut files, wanted, &|_| false).unwrap();
        let lines = files.into_iter().flat_map(|file| file.lines());
        lines.map(|line| serde_json::from_str::<Entry>(&line.unwrap()).unwrap().log.trim().to_owned()).collect()
    }

    #[test]
    fn a_tail_reaches_into_rotated_files() {
        assert_eq!(tail(1), ["d"]);
        assert_eq!(tail(3), ["b", "c", "d"]);
        assert_eq!(tail(9), ["a", "b", "c", "d"]);
        assert!(tail(0).is_empty());
    }
}
