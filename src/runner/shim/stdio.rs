//! The container's standard streams: pipes, or a terminal.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

/// How much is read from the container at once.
pub(super) const CHUNK: usize = 32 * 1024;
/// How much of the clients' stdin waits for the container.
const INPUT_LIMIT: usize = 64 * 1024;

/// The container's ends: its file descriptors 0, 1 and 2.
pub(super) struct ContainerEnds(pub(super) [OwnedFd; 3]);

/// Our ends. With a terminal, `outputs[0]` and `input` are its master.
#[derive(Default)]
pub(super) struct Stdio {
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    tty: bool,
    /// From the clients, not yet taken by the container.
    pending: Vec<u8>,
    /// Close stdin when `pending` is empty.
    closing: bool,
    size: Option<(u16, u16)>,
}

/// What a read from the container brought.
pub(super) enum Output<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Nothing now.
    Later,
    /// Nothing any more.
    Ended,
}

impl Stdio {
    /// Streams of a container that is yet to be created. With a terminal, the container's ends are `/dev/null`: the
    /// runtime makes the terminal and [`Stdio::set_terminal`] brings its master.
    pub(super) fn open(tty: bool, stdin: bool, size: Option<(u16, u16)>) -> io::Result<(Self, ContainerEnds)> {
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        if tty {
            return Ok((Self { tty, size, ..Self::default() }, ContainerEnds([null()?, null()?, null()?])));
        }
        let (our_in, their_in) = if stdin {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            nonblocking(&write)?;
            (Some(write), read)
        } else {
            (None, null()?)
        };
        let (out, their_out) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err, their_err) = pipe_with(PipeFlags::CLOEXEC)?;
        nonblocking(&out)?;
        nonblocking(&err)?;
        let ours = Self { input: our_in, outputs: [Some(out), Some(err)], ..Self::default() };
        Ok((ours, ContainerEnds([their_in, their_out, their_err])))
    }

    /// The terminal's master has arrived.
    pub(super) fn set_terminal(&mut self, master: OwnedFd, stdin: bool) -> io::Result<()> {
        nonblocking(&master)?;
        if stdin {
            self.input = Some(master.try_clone()?);
        }
        self.outputs[0] = Some(master);
        match self.size {
            Some((rows, cols)) => self.resize(rows, cols),
            None => Ok(()),
        }
    }

    /// Sets the terminal's size, now or when there is one.
    pub(super) fn resize(&mut self, rows: u16, cols: u16) -> io::Result<()> {
        self.size = Some((rows, cols));
        match (&self.outputs[0], self.tty) {
            (Some(master), true) => {
                Ok(tcsetwinsize(master, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?)
            }
            _ => Ok(()),
        }
    }

    /// The size asked for last: rows, columns.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// Takes the answer of `stream` (0 stdout or the terminal, 1 stderr) into `buffer`.
    pub(super) fn read<'a>(&mut self, stream: usize, buffer: &'a mut [u8]) -> Output<'a> {
        let Some(fd) = &self.outputs[stream] else { return Output::Ended };
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => {}
            Ok(count) => return Output::Bytes(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Output::Later,
            // EIO is how a terminal's master says that nobody has its other side open.
            Err(_) => {}
        }
        self.outputs[stream] = None;
        Output::Ended
    }

    /// Nothing will come any more.
    pub(super) fn ended(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Gives up on what may still come.
    pub(super) fn close(&mut self) {
        self.outputs = [None, None];
        self.input = None;
    }

    /// The descriptor to poll for output.
    pub(super) fn output(&self, stream: usize) -> Option<&OwnedFd> {
        self.outputs[stream].as_ref()
    }

    /// The descriptor to poll for room, if something waits for it.
    pub(super) fn blocked_input(&self) -> Option<&OwnedFd> {
        self.input.as_ref().filter(|_| !self.pending.is_empty())
    }

    /// Clients may send more. Where there is no stdin, what they send is thrown away.
    pub(super) fn takes_input(&self) -> bool {
        self.input.is_none() || self.pending.len() < INPUT_LIMIT
    }

    /// Passes on what a client sent.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.closing {
            self.pending.extend_from_slice(bytes);
            self.flush();
        }
    }

    /// Closes stdin once everything has been passed on. A terminal has no end of input of its own.
    pub(super) fn close_input(&mut self) {
        if !self.tty {
            self.closing = true;
            self.flush();
        }
    }

    /// Writes what waits, as far as the container takes it.
    pub(super) fn flush(&mut self) {
        while let Some(input) = self.input.as_ref().filter(|_| !self.pending.is_empty()) {
            match rustix::io::write(input, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The container closed its stdin.
                Err(_) => {
                    self.input = None;
                    self.pending.clear();
                }
            }
        }
        if self.pending.capacity() > INPUT_LIMIT {
            self.pending.shrink_to(0);
        }
        if self.closing {
            self.input = None;
        }
    }
}

fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?)
}
