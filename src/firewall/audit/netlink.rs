//! Asking the kernel: one request, all of its answers. Blocking; the answer comes from memory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGED: u16 = 0x4;
const DUMP: u16 = 0x300;
/// The kernel changed what it was listing: the answer holds parts of two states.
const DUMP_INTERRUPTED: u16 = 0x10;

/// One message of an answer.
#[derive(Debug)]
pub(super) struct Message {
    /// What follows the netlink header.
    pub(super) body: Vec<u8>,
}

/// A socket in the network namespace of the thread that made it.
pub(super) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(super) fn new(protocol: SockProtocol) -> io::Result<Self> {
        Self::of(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?)
    }

    /// By a socket of whichever protocol of netlink.
    pub(super) fn of(fd: OwnedFd) -> io::Result<Self> {
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // Dumps are cut to the reader's buffer, and a message is never larger than this (NLMSG_GOODSIZE and its like).
        Ok(Self { fd, sequence: 0, buffer: vec![0; 1 << 18] })
    }

    /// Everything of a kind. `Interrupted` (`EINTR`) where it changed meanwhile.
    pub(super) fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.ask(kind, REQUEST | DUMP, body)
    }

    /// One thing.
    pub(super) fn get(&mut self, kind: u16, body: &[u8]) -> io::Result<Option<Message>> {
        Ok(self.ask(kind, REQUEST, body)?.into_iter().next())
    }

    /// Has one thing done.
    pub(super) fn order(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.ask(kind, REQUEST | ACKNOWLEDGED, body).map(drop)
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.sequence += 1;
        let mut request = Vec::with_capacity(HEADER + body.len());
        let length = u32::try_from(HEADER + body.len()).expect("requests are short");
        request.extend(length.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(body);
        sendto(self.fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answers = Vec::new();
        let dumping = flags & DUMP == DUMP;
        loop {
            let length = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            if take(&self.buffer[..length], self.sequence, &mut answers)? || !dumping {
                return Ok(answers);
            }
        }
    }
}

/// Whether the answer is complete.
fn take(mut packet: &[u8], sequence: u32, answers: &mut Vec<Message>) -> io::Result<bool> {
    while packet.len() >= HEADER {
        let u16_at = |at: usize| u16::from_ne_bytes([packet[at], packet[at + 1]]);
        let u32_at = |at: usize| u32::from_ne_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let length = u32_at(0) as usize;
        let Some(body) = packet.get(HEADER..length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink message was cut"));
        };
        let (kind, flags) = (u16_at(4), u16_at(6));
        if u32_at(8) == sequence {
            if flags & DUMP_INTERRUPTED != 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match kind {
                DONE | ERROR => return status(body).map(|()| true),
                _ => answers.push(Message { body: body.to_vec() }),
            }
        }
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Both ends of an answer begin with a negative errno, or zero.
fn status(body: &[u8]) -> io::Result<()> {
    let errno = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-errno)) }
}
