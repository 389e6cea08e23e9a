//! One connection of a client: a request, then perhaps the streams.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::runner::{Reply, Request};

/// How much output waits for a client before it holds the container back.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// Longest request.
const REQUEST_LIMIT: usize = 4096;

/// What a connection is for.
enum Role {
    /// The request has not arrived in full.
    Asking(Vec<u8>),
    /// Asked to be told of the end.
    Waiting,
    /// Carries streams.
    Attached {
        /// Its input is the container's.
        stdin: bool,
        /// stdout (or the terminal) and stderr.
        outputs: [bool; 2],
    },
    /// Was answered: ends when everything has been sent.
    Answered,
}

/// A connection.
pub(super) struct Conn {
    socket: UnixStream,
    role: Role,
    /// Not yet sent.
    waiting: Vec<u8>,
    /// The client sends no more.
    input_ended: bool,
    dead: bool,
}

/// What a connection's readiness brought.
pub(super) enum Received {
    /// Nothing to do.
    Nothing,
    /// A request.
    Request(Request),
    /// stdin: this many bytes of the buffer.
    Input(usize),
    /// The end of stdin.
    InputEnd,
}

impl Conn {
    /// A connection that was just accepted.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, role: Role::Asking(Vec::new()), waiting: Vec::new(), input_ended: false, dead: false })
    }

    /// To be polled.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Something waits to be sent.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What arrives is of interest: requests always, stdin if the container `takes_input`.
    pub(super) fn wants_to_read(&self, takes_input: bool) -> bool {
        match self.role {
            Role::Asking(_) => true,
            Role::Attached { stdin: true, .. } => takes_input && !self.input_ended,
            // Only to hear that a client went away.
            _ => !self.input_ended,
        }
    }

    /// The container must wait before it writes more to `stream`.
    pub(super) fn holds_back(&self, stream: usize) -> bool {
        matches!(self.role, Role::Attached { outputs, .. } if outputs[stream]) && self.waiting.len() >= OUTPUT_LIMIT
    }

    /// Nothing more to do with it.
    pub(super) fn is_over(&self) -> bool {
        self.dead || (matches!(self.role, Role::Answered) && self.waiting.is_empty())
    }

    /// Its input is the container's.
    pub(super) fn feeds_stdin(&self) -> bool {
        matches!(self.role, Role::Attached { stdin: true, .. })
    }

    /// The client has gone, both ways.
    pub(super) fn hang_up(&mut self) {
        self.dead = true;
    }

    /// Reads what has arrived; stdin goes to `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Received {
        match self.socket.read(buffer) {
            Ok(0) => {
                self.input_ended = true;
                match self.role {
                    // No one asks questions and leaves before the answer.
                    Role::Asking(_) => self.dead = true,
                    Role::Attached { stdin: true, .. } => return Received::InputEnd,
                    _ => {}
                }
                Received::Nothing
            }
            Ok(count) => match &mut self.role {
                Role::Asking(line) => {
                    line.extend_from_slice(&buffer[..count]);
                    self.request()
                }
                Role::Attached { stdin: true, .. } => Received::Input(count),
                _ => Received::Nothing,
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Received::Nothing
            }
            Err(_) => {
                self.dead = true;
                if self.feeds_stdin() && !self.input_ended { Received::InputEnd } else { Received::Nothing }
            }
        }
    }

    /// The request, if its line is complete. Clients send nothing after it before they are answered.
    fn request(&mut self) -> Received {
        let Role::Asking(line) = &self.role else { return Received::Nothing };
        if let Some(text) = line.strip_suffix(b"\n") {
            match serde_json::from_slice(text) {
                Ok(request) => return Received::Request(request),
                Err(error) => self.answer(&Reply::Failed { message: error.to_string(), exit_code: 125 }),
            }
        } else if line.len() > REQUEST_LIMIT {
            self.dead = true;
        }
        Received::Nothing
    }

    /// Answers and ends the connection.
    pub(super) fn answer(&mut self, reply: &Reply) {
        self.role = Role::Answered;
        self.send_line(reply);
    }

    /// Answers and carries streams from now on.
    pub(super) fn attach(&mut self, stdin: bool, outputs: [bool; 2]) {
        self.role = Role::Attached { stdin, outputs };
        self.send_line(&Reply::Done);
    }

    /// Will be answered when the process has ended.
    pub(super) fn wait(&mut self) {
        self.role = Role::Waiting;
    }

    /// The process has ended: whoever waits is told, streams end when they have been sent.
    pub(super) fn end(&mut self, reply: &Reply) {
        match self.role {
            Role::Waiting => self.answer(reply),
            Role::Attached { .. } => self.role = Role::Answered,
            _ => {}
        }
    }

    fn send_line(&mut self, reply: &Reply) {
        // A reply is numbers and strings: it has a JSON form.
        if let Ok(line) = serde_json::to_vec(reply) {
            self.waiting.extend_from_slice(&line);
            self.waiting.push(b'\n');
        }
        self.flush();
    }

    /// Sends what the container wrote to `stream`, with a terminal as it is, else as a frame.
    pub(super) fn output(&mut self, stream: usize, bytes: &[u8], tty: bool) {
        if !matches!(self.role, Role::Attached { outputs, .. } if outputs[stream]) {
            return;
        }
        if !tty {
            self.waiting.extend_from_slice(&frame_header(stream, bytes.len()));
        }
        self.waiting.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends as much as the client takes.
    pub(super) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.waiting.len() && !self.dead {
            match self.socket.write(&self.waiting[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
        }
        self.waiting.drain(..sent);
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}

/// Docker's multiplexed format: stream (1 stdout, 2 stderr), three zeros, length in big-endian order.
fn frame_header(stream: usize, length: usize) -> [u8; 8] {
    // A frame holds at most one chunk.
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let stream = if stream == 0 { 1 } else { 2 };
    [stream, 0, 0, 0, length[0], length[1], length[2], length[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Conn, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Conn::new(ours).unwrap(), theirs)
    }

    #[test]
    fn a_request_may_arrive_in_pieces() {
        let (mut conn, mut client) = pair();
        let mut buffer = [0; 64];
        client.write_all(b"\"sta").unwrap();
        assert!(matches!(conn.read(&mut buffer), Received::Nothing));
        client.write_all(b"rt\"\n").unwrap();
        assert!(matches!(conn.read(&mut buffer), Received::Request(Request::Start)));
    }

    #[test]
    fn a_client_that_does_not_read_holds_back_its_streams_only() {
        let (mut conn, _client) = pair();
        conn.attach(false, [true, false]);
        while !conn.holds_back(0) {
            conn.output(0, &[b'x'; 8192], false);
        }
        assert!(!conn.holds_back(1));
        conn.end(&Reply::Done);
        assert!(!conn.is_over());
    }

    #[test]
    fn half_close_ends_input_and_output_goes_on() {
        let (mut conn, mut client) = pair();
        conn.attach(true, [true, true]);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(conn.read(&mut [0; 16]), Received::InputEnd));
        assert!(!conn.wants_to_read(true));
        conn.output(1, b"hi", false);
        conn.end(&Reply::Done);
        assert!(conn.is_over());
        drop(conn);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"\"done\"\n\x02\0\0\0\0\0\0\x02hi");
    }
}
