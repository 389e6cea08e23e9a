//! Netlink messages of the kernel's packet filter (`linux/netfilter/nfnetlink.h`): what conntrack is asked, and what the
//! rules' listeners are told.
//!
//! A message is a netlink header of 16 bytes, `nfgenmsg` of 4 (address family, version, a number in network order), and
//! attributes: length, kind, value, padding to 4 bytes. Numbers within attributes are in network order mostly.

use std::io;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

/// Netlink and `nfgenmsg`.
const HEADERS: usize = 20;
const NETLINK_HEADER: usize = 16;
/// Nested attributes follow.
const NESTED: u16 = 0x8000;
/// The rest of an attribute's kind.
const KIND: u16 = 0x3fff;
/// The kernel's own limit of what it puts into one answer.
const ANSWER: usize = 64 * 1024;

/// An attribute, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("attributes are made here, and small");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds attributes.
pub(super) fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &parts.concat())
}

/// Kind and value of each attribute.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Subsystem and number.
    pub(super) kind: u16,
    /// The netlink port of whoever caused it: mostly a process id.
    pub(super) port: u32,
    /// `nfgenmsg`'s address family.
    pub(super) family: u8,
    /// Its attributes; of an error, the error.
    pub(super) body: &'a [u8],
}

/// The messages of one datagram.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let number = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = usize::try_from(number(0)?).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let port = number(12)?;
        let payload = bytes.get(NETLINK_HEADER..length)?;
        let control = kind == NLMSG_ERROR || kind == NLMSG_DONE;
        let body = if control { payload } else { payload.get(HEADERS - NETLINK_HEADER..).unwrap_or_default() };
        let family = payload.first().copied().unwrap_or_default();
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, port, family, body })
    })
}

/// A request: its number among the asker's, and the address family and the number of a thing (`res_id`) that it is about.
pub(super) fn request(kind: u16, flags: u16, sequence: u32, (family, of): (u8, u16), body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + body.len()).expect("requests are made here, and small");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0]);
    bytes.extend(of.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// What the kernel says of a request: `None` if this is no answer to one.
pub(super) fn outcome(message: &Message<'_>) -> Option<io::Result<()>> {
    let answers = matches!(message.kind, NLMSG_DONE | NLMSG_ERROR);
    answers.then(|| {
        let code = message.body.get(..4).and_then(|code| code.try_into().ok());
        match code.map_or(0, i32::from_ne_bytes) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        }
    })
}

/// A conversation with the kernel.
pub(super) struct Netfilter {
    socket: Socket,
    sequence: u32,
}

impl Netfilter {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // An answer that never comes must not hold a thread for ever.
        let patience = nix::sys::time::TimeVal::new(2, 0);
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimeout, &patience)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for all that match; `each` gets the attributes of one at a time.
    pub(super) fn dump(&mut self, kind: u16, family: u8, body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, family, body)?;
        self.receive(each)
    }

    /// Orders one thing.
    pub(super) fn order(&mut self, kind: u16, family: u8, body: &[u8]) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK, family, body)?;
        self.receive(|_| {})
    }

    fn send(&mut self, kind: u16, flags: u16, family: u8, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        self.socket.send(&request(kind, flags, self.sequence, (family, 0), body), 0).map(|_sent| ())
    }

    /// Until the kernel says that it has done, or why it has not.
    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut buffer = Vec::with_capacity(ANSWER);
            self.socket.recv(&mut buffer, 0)?;
            for message in messages(&buffer) {
                match outcome(&message) {
                    Some(outcome) => return outcome,
                    None => each(message.body),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let inner = [attribute(1, &[7]), attribute(2, &[1, 2, 3, 4])];
        let bytes = [attribute(9, b"word\0"), nest(3, &inner)].concat();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(&bytes, 9), Some(&b"word\0"[..]));
        let nested = find(&bytes, 3).expect("it is there");
        assert_eq!(attributes(nested).collect::<Vec<_>>(), [(1, &[7][..]), (2, &[1, 2, 3, 4][..])]);
        assert_eq!(find(&bytes, 4), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_breaks_the_reader(bytes: Vec<u8>) {
            assert!(attributes(&bytes).count() <= bytes.len());
            for message in messages(&bytes) {
                assert!(attributes(message.body).count() <= bytes.len());
            }
        }
    }
}
