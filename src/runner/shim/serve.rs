//! The shim's loop: one thread, one poll(2).

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::conn::{Conn, Received};
use super::container::Container;
use super::log::Log;
use super::stdio::{CHUNK, Output};
use super::tidy::Tidy;
use crate::runner::{Exit, Reply, Request, files};
use crate::sys;

/// How long a terminal may take to hand over what was written to it before the process ended: another process may still
/// have it open.
const DRAIN: Duration = Duration::from_millis(500);
/// How much is read from a pipe after the process ended: what it wrote before is at most a full pipe.
const LEFTOVER: usize = 1 << 20;

/// How often a shim that has made no process yet looks whether anybody can still ask it to.
const ABANDONED: Duration = Duration::from_secs(2);

/// The loop's state.
pub(super) struct Server {
    listener: UnixListener,
    children: SignalFd,
    container: Container,
    log: Option<Log>,
    conns: Vec<Conn>,
    /// The process has ended, and when its streams are given up.
    ended: Option<(i32, Instant)>,
    /// Everything was said about the end.
    exit: Option<Exit>,
    /// When memory is given back.
    tidy: Tidy,
    /// Nothing was made, or it was undone.
    given_up: bool,
    buffer: Box<[u8; CHUNK]>,
}

/// Which descriptors poll(2) found ready.
#[derive(Default)]
struct Ready {
    listener: bool,
    children: bool,
    outputs: [bool; 2],
    input: bool,
    /// By index: readable, writable, gone.
    conns: Vec<(bool, bool, bool)>,
}

impl Server {
    pub(super) fn new(listener: UnixListener, children: SignalFd, container: Container, log: Option<Log>) -> Self {
        Self {
            listener,
            children,
            container,
            log,
            conns: Vec::new(),
            ended: None,
            exit: None,
            tidy: Tidy::default(),
            given_up: false,
            buffer: Box::new([0; CHUNK]),
        }
    }

    /// Serves until the process has ended and everybody who listens has been told, or the container was given up.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            self.conns.retain(|conn| !conn.is_over());
            let over = self.exit.is_some() || self.given_up;
            if over && self.conns.is_empty() {
                return Ok(());
            }
            let ready = self.poll()?;
            if ready.children {
                self.reap();
            }
            for stream in 0..2 {
                if ready.outputs[stream] {
                    self.copy_output(stream);
                }
            }
            if ready.input {
                self.container.stdio.flush();
            }
            self.serve_conns(&ready.conns);
            if ready.listener {
                self.accept();
            }
            self.give_up_if_abandoned();
            self.settle();
            if self.tidy.is_due(Instant::now()) {
                // If it fails we are only larger.
                let _ = sys::memory::release();
            }
        }
    }

    fn poll(&self) -> io::Result<Ready> {
        let stdio = &self.container.stdio;
        let mut fds = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::from_borrowed_fd(std::os::fd::AsFd::as_fd(&self.children), PollFlags::IN),
        ];
        let mut outputs = [None; 2];
        for (stream, at) in outputs.iter_mut().enumerate() {
            let held_back = self.ended.is_none() && self.conns.iter().any(|conn| conn.holds_back(stream));
            if let Some(fd) = stdio.output(stream).filter(|_| !held_back) {
                *at = Some(fds.len());
                fds.push(PollFd::new(fd, PollFlags::IN));
            }
        }
        let input = stdio.blocked_input().map(|fd| {
            fds.push(PollFd::new(fd, PollFlags::OUT));
            fds.len() - 1
        });
        let first_conn = fds.len();
        for conn in &self.conns {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, conn.wants_to_read(stdio.takes_input()));
            flags.set(PollFlags::OUT, conn.wants_to_write());
            fds.push(PollFd::new(conn.socket(), flags));
        }
        match poll(&mut fds, self.patience().as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            other => other?,
        };
        let any = |at: usize| !fds[at].revents().is_empty();
        let gone = PollFlags::HUP | PollFlags::ERR;
        Ok(Ready {
            listener: any(0),
            children: any(1),
            outputs: outputs.map(|at| at.is_some_and(any)),
            input: input.is_some_and(any),
            conns: fds[first_conn..]
                .iter()
                .map(PollFd::revents)
                .map(|got| (got.contains(PollFlags::IN), got.contains(PollFlags::OUT), got.intersects(gone)))
                .collect(),
        })
    }

    /// A daemon that was killed in the middle of a start asks for nothing any more; once the next one has cleared the
    /// directory, nobody can.
    fn give_up_if_abandoned(&mut self) {
        if self.is_unused() && !Path::new(files::SOCKET).exists() {
            self.given_up = true;
        }
    }

    /// No process was made, and nobody is connected who might ask for one.
    fn is_unused(&self) -> bool {
        self.container.pid().is_none() && self.ended.is_none() && self.conns.is_empty()
    }

    /// How long to wait at most: for ever, except for the last output of a terminal, for the moment in which memory is
    /// given back, and while there is no process.
    fn patience(&self) -> Option<Timespec> {
        let now = Instant::now();
        let patience = match self.ended.filter(|_| self.exit.is_none()) {
            Some((_, deadline)) => deadline.saturating_duration_since(now),
            None if self.is_unused() => ABANDONED,
            None => self.tidy.due_in(now)?,
        };
        Timespec::try_from(patience).ok()
    }

    /// Collects every child that has ended; orphans of the container among them are nobody's business.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if self.container.pid() == Some(pid.as_raw()) {
                self.container.ended();
                self.ended = Some((code, Instant::now() + DRAIN));
                self.drain();
            }
        }
    }

    /// After the end: what was written before it is still in the pipes. A pipe that another process holds open does not
    /// keep us.
    fn drain(&mut self) {
        for stream in 0..2 {
            let mut left = LEFTOVER;
            while left > 0 {
                match self.copy_output(stream) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
        }
        if !self.container.has_terminal() {
            self.container.stdio.close();
        }
    }

    /// Copies one chunk from the container to the log and every client. Its size.
    fn copy_output(&mut self, stream: usize) -> usize {
        match self.container.stdio.read(stream, &mut self.buffer[..]) {
            Output::Bytes(bytes) => {
                if let Some(log) = &mut self.log {
                    // A full disk must not stop the container; docker drops such lines too.
                    let _ = log.write(stream, bytes, jiff::Timestamp::now());
                }
                for conn in &mut self.conns {
                    conn.output(stream, bytes, self.container.has_terminal());
                }
                self.tidy.carried(bytes.len(), Instant::now());
                bytes.len()
            }
            Output::Later | Output::Ended => 0,
        }
    }

    fn serve_conns(&mut self, ready: &[(bool, bool, bool)]) {
        for (at, &(readable, writable, gone)) in ready.iter().enumerate() {
            if writable {
                self.conns[at].flush();
            }
            if readable {
                match self.conns[at].read(&mut self.buffer[..]) {
                    Received::Nothing => {}
                    Received::Input(count) => {
                        self.container.stdio.send(&self.buffer[..count]);
                        self.tidy.carried(count, Instant::now());
                    }
                    Received::InputEnd => self.container.input_ended(),
                    Received::Request(request) => {
                        self.obey(at, &request);
                        self.tidy.grown(Instant::now());
                    }
                }
            } else if gone {
                if self.conns[at].feeds_stdin() {
                    self.container.input_ended();
                }
                self.conns[at].hang_up();
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if let Ok(conn) = Conn::new(socket) {
                self.conns.push(conn);
            }
        }
    }

    fn obey(&mut self, at: usize, request: &Request) {
        let reply = match *request {
            Request::Create => self.make(Container::create),
            Request::Start => self.make(Container::start),
            Request::Attach { stdin, stdout, stderr } => return self.conns[at].attach(stdin, [stdout, stderr]),
            Request::Resize { rows, cols } => match self.container.stdio.resize(rows, cols) {
                Ok(()) => Reply::Done,
                Err(error) => refusal(&format!("cannot resize the terminal: {error}")),
            },
            Request::Wait => match &self.exit {
                Some(exit) => Reply::Exited(exit.clone()),
                None => return self.conns[at].wait(),
            },
            Request::Abort => {
                self.container.abort();
                self.given_up = true;
                Reply::Done
            }
        };
        self.conns[at].answer(&reply);
    }

    /// Makes or starts the process. A container that cannot be made is given up: the shim ends with its answer.
    fn make(&mut self, step: impl FnOnce(&mut Container) -> Result<i32, String>) -> Reply {
        match step(&mut self.container) {
            Ok(pid) => Reply::Pid(pid),
            Err(message) => {
                self.container.abort();
                self.given_up = true;
                refusal(&message)
            }
        }
    }

    /// Says how it ended, once everything that was written has been taken.
    fn settle(&mut self) {
        if self.given_up {
            for conn in &mut self.conns {
                conn.end(&refusal("the container was given up"));
            }
            return;
        }
        let Some((code, deadline)) = self.ended.filter(|_| self.exit.is_none()) else { return };
        if !self.container.stdio.ended() && Instant::now() < deadline {
            return;
        }
        self.container.stdio.close();
        let now = jiff::Timestamp::now();
        if let Some(log) = &mut self.log {
            let _ = log.finish(now);
        }
        let exit = Exit { code, oom_killed: self.container.was_oom_killed(), at: format!("{now:.9}") };
        // Whoever waits on a connection hears it even if the file cannot be written.
        if let Ok(bytes) = serde_json::to_vec(&exit) {
            let _ = files::write_whole(Path::new(files::EXIT), &bytes);
        }
        self.container.let_go();
        for conn in &mut self.conns {
            conn.end(&Reply::Exited(exit.clone()));
        }
        self.exit = Some(exit);
    }
}

/// A refusal with the exit code that the docker CLI makes of its words.
fn refusal(message: &str) -> Reply {
    let message = plain(message);
    Reply::Failed { exit_code: exit_code(&message), message }
}

/// What libcontainer reports of wrong wishes, in words that people can do something with.
fn plain(message: &str) -> String {
    if let Some((_, errno)) = message.split_once("failed to chdir e=") {
        // For an exec it is the working directory, which nobody makes there.
        return format!("cannot change to the working directory: {}", reason(errno));
    }
    if let Some((_, mount)) = message.split_once("failed to mount Mount {") {
        let field = |key: &str| mount.split(key).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let reason = match mount.rsplit(": ").next() {
            _ if mount.contains("ENOTDIR") => "not a directory",
            // All that there is to know where it is a file that was to be mounted on a directory.
            None | Some("syscall") => "the kernel refuses it",
            Some(reason) => reason,
        };
        return format!(
            "error mounting {:?} to {:?}: {reason}: Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type",
            field("source: Some(\""),
            field("destination: \""),
        );
    }
    message.to_owned()
}

fn reason(errno: &str) -> &str {
    match errno.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default() {
        "ENOENT" => "no such file or directory",
        "ENOTDIR" => "not a directory",
        "EACCES" => "permission denied",
        other => other,
    }
}

fn exit_code(message: &str) -> i32 {
    let has = |part: &str| message.contains(part);
    if has("executable file not found") || has("no such file or directory") {
        127
    } else if has("permission denied") || has("is a directory") {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_docker_cli() {
        assert_eq!(exit_code("exec: \"nope\": executable file not found in $PATH"), 127);
        assert_eq!(exit_code("exec: \"/nope\": stat /nope: no such file or directory"), 127);
        assert_eq!(exit_code("exec: \"/etc/passwd\": permission denied"), 126);
        assert_eq!(exit_code("exec: \"/etc\": is a directory"), 126);
        assert_eq!(exit_code("cannot mount the overlay"), 125);
    }

    #[test]
    fn a_mount_that_cannot_be_is_told_in_words() {
        let message = r#"failed to prepare rootfs: failed to mount Mount { destination: "/etc", typ: Some("bind"), source: Some("/etc/passwd"), options: Some(["rbind", "rw"]), uid_mappings: None, gid_mappings: None }: syscall"#;
        let words = plain(message);
        assert!(
            words.starts_with(r#"error mounting "/etc/passwd" to "/etc": the kernel refuses it: Are you"#),
            "{words}"
        );
        let words = plain(&message.replace("syscall", "ENOTDIR"));
        assert!(words.starts_with(r#"error mounting "/etc/passwd" to "/etc": not a directory: "#), "{words}");
        assert_eq!(exit_code(&words), 125);
    }

    #[test]
    fn a_working_directory_that_is_not_there_is_called_so() {
        let message = plain("failed to create container: failed to unix syscall: failed to chdir e=ENOENT");
        assert_eq!(message, "cannot change to the working directory: no such file or directory");
        assert_eq!(exit_code(&message), 127);
        assert_eq!(plain("exec: \"nope\": executable file not found"), "exec: \"nope\": executable file not found");
    }
}
