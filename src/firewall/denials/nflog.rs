//! Netfilter's log, as the kernel tells it to the listener of a group (`linux/netfilter/nfnetlink_log.h`).
//!
//! Each packet is told at once and by itself. The kernel numbers them, so that a number that is missing is a packet that
//! was lost on the way here: the socket's buffer was full.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::frame::Raw;
use crate::firewall::names::Cause;
use crate::firewall::netfilter::{Message, attribute, attributes, find, messages, outcome, request};

/// `NFNL_SUBSYS_ULOG`, `NFULNL_MSG_PACKET` and `NFULNL_MSG_CONFIG`.
const PACKET: u16 = 4 << 8;
const CONFIG: u16 = 4 << 8 | 1;
/// `NFPROTO_BRIDGE`.
const BRIDGE: u8 = 7;
/// Bytes of a packet: all headers. The rules ask for no more.
const HEADERS: u32 = 128;
/// Bytes of one message of the kernel's.
const MESSAGE: u32 = 1024;
/// More than that, and its end.
const DATAGRAM: usize = 4096;
/// Bytes that the kernel keeps until they are read: some thousand packets.
const BUFFER: usize = 8 << 20;

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The listener of a group.
pub(super) struct Nflog {
    socket: TokioSocket,
    /// What came before the kernel had said that we listen.
    early: VecDeque<Vec<u8>>,
}

/// What came of listening.
pub(super) enum Heard {
    /// Messages are in the buffer.
    Messages,
    /// The kernel could not keep all that it had to tell. Their numbers say how many are missing.
    Overflow,
}

impl Nflog {
    /// Begins to listen. `PermissionDenied`: somebody else listens to this group, or we may not.
    pub(super) async fn bind(group: u16) -> io::Result<Self> {
        let mut listening = TokioSocket::new(NETLINK_NETFILTER)?;
        let socket = listening.socket_mut();
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Without CAP_NET_ADMIN over the initial user namespace the limit of the system holds; more is lost then.
        if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(socket, sockopt::RcvBuf, &BUFFER)?;
        }
        socket.send(&request(CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, (0, group), &configuration()), 0)?;
        let mut nflog = Self { socket: listening, early: VecDeque::new() };
        match tokio::time::timeout(PATIENCE, nflog.confirmed()).await {
            Ok(confirmed) => confirmed.map(|()| nflog),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn confirmed(&mut self) -> io::Result<()> {
        loop {
            let mut buffer = Vec::with_capacity(DATAGRAM);
            self.socket.recv(&mut buffer).await?;
            if let Some(outcome) = messages(&buffer).find_map(|message| outcome(&message)) {
                return outcome;
            }
            self.early.push_back(buffer);
        }
    }

    /// Waits for what comes next.
    pub(super) async fn hear(&mut self, buffer: &mut Vec<u8>) -> io::Result<Heard> {
        if let Some(early) = self.early.pop_front() {
            *buffer = early;
            return Ok(Heard::Messages);
        }
        buffer.clear();
        buffer.reserve(DATAGRAM);
        heard(self.socket.recv(buffer).await)
    }

    /// What is there already, if anything is.
    pub(super) fn hear_now(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Heard>> {
        if let Some(early) = self.early.pop_front() {
            *buffer = early;
            return Ok(Some(Heard::Messages));
        }
        buffer.clear();
        buffer.reserve(DATAGRAM);
        // Asks the kernel, and not the runtime, which may not have heard of it yet.
        match self.socket.socket_ref().recv(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => heard(other.map(drop)).map(Some),
        }
    }
}

fn heard(received: io::Result<()>) -> io::Result<Heard> {
    match received {
        Ok(()) => Ok(Heard::Messages),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Heard::Overflow),
        Err(error) => Err(error),
    }
}

/// `NFULA_CFG_…`: all in one message, so that no packet is told in another way before.
fn configuration() -> Vec<u8> {
    const COPY_PACKET: u8 = 2;
    const NUMBERED: u16 = 1;
    let bind = attribute(1, &[1]);
    let mode = attribute(2, &[&HEADERS.to_be_bytes()[..], &[COPY_PACKET, 0]].concat());
    let size = attribute(3, &MESSAGE.to_be_bytes());
    let at_once = attribute(5, &1_u32.to_be_bytes());
    let numbered = attribute(6, &NUMBERED.to_be_bytes());
    [bind, mode, size, at_once, numbered].concat()
}

/// A packet that was logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged<'a> {
    /// Why it was dropped.
    pub(super) cause: Cause,
    /// Its number among all that were told to this listener.
    pub(super) number: u32,
    /// The interface where it came in, by index: of the bridge's rules, the port.
    pub(super) interface: Option<u32>,
    /// It was dropped by the bridge's rules.
    pub(super) bridged: bool,
    /// Its bytes.
    pub(super) raw: Raw<'a>,
}

/// What a message of the kernel's is about.
pub(super) enum Told<'a> {
    /// A packet that our rules dropped.
    Packet(Logged<'a>),
    /// Somebody else's rules log to this group, too: its number counts all the same.
    Foreign(u32),
}

/// The packets of one message. `prefix` is what our lines begin with, up to the cause.
pub(super) fn told<'a>(datagram: &'a [u8], prefix: &'a str) -> impl Iterator<Item = Told<'a>> {
    messages(datagram).filter(|message| message.kind == PACKET).filter_map(move |message| packet(message, prefix))
}

fn packet<'a>(message: Message<'a>, prefix: &str) -> Option<Told<'a>> {
    let of = |kind| find(message.body, kind);
    let number = be32(of(12)?)?;
    let words = of(10).and_then(|words| std::str::from_utf8(words).ok()).unwrap_or_default();
    let cause = words.trim_end_matches('\0').strip_prefix(prefix).and_then(|word| Cause::of(word.trim_end()));
    let Some(cause) = cause else { return Some(Told::Foreign(number)) };
    let bridged = message.family == BRIDGE;
    let port = of(6).filter(|_| bridged).and_then(be32);
    let header = of(1).and_then(|header| be16(header.get(..2)?)).unwrap_or_default();
    let tag = of(20).and_then(|tag| {
        let part =
            |kind| attributes(tag).find(|(found, _)| *found == kind).and_then(|(_, value)| be16(value.get(..2)?));
        Some((part(1)?, part(2)? & 0xfff))
    });
    // The link's header as it came (`NFULA_HWHEADER`, `NFULA_L2HDR`).
    let link = of(16).or_else(|| of(21)).filter(|link| link.len() >= 14);
    let raw = Raw { link, ethertype: header, tag, payload: of(9).unwrap_or_default() };
    Some(Told::Packet(Logged { cause, number, interface: port.or_else(|| of(4).and_then(be32)), bridged, raw }))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn be16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = attributes.concat();
        let mut bytes = u32::try_from(20 + body.len()).expect("short").to_ne_bytes().to_vec();
        bytes.extend(PACKET.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([family, 0, 0, 55]);
        bytes.extend(body);
        bytes
    }

    fn packet_of(bytes: &[u8]) -> Option<Logged<'_>> {
        told(bytes, "pontoon:br0:").find_map(|told| match told {
            Told::Packet(logged) => Some(logged),
            Told::Foreign(_) => None,
        })
    }

    #[test]
    fn a_packet_of_the_bridge_and_one_of_the_host() {
        let all = [
            attribute(1, &[8, 0, 0, 0]),
            attribute(4, &3_u32.to_be_bytes()),
            attribute(6, &7_u32.to_be_bytes()),
            attribute(10, b"pontoon:br0:spoofed-ip \0"),
            attribute(12, &9_u32.to_be_bytes()),
            attribute(9, &[0x45, 0]),
            attribute(16, &[1; 14]),
        ];
        let bridged = message(7, &all);
        let logged = packet_of(&bridged).expect("it is ours");
        assert_eq!(
            (logged.cause, logged.number, logged.interface, logged.bridged),
            (Cause::SpoofedIp, 9, Some(7), true)
        );
        assert_eq!(
            (logged.raw.ethertype, logged.raw.payload, logged.raw.link),
            (0x800, &[0x45, 0][..], Some(&[1; 14][..]))
        );
        let routed = message(2, &all);
        assert_eq!(packet_of(&routed).expect("it is ours").interface, Some(3));
    }

    #[test]
    fn others_use_the_group_too() {
        let foreign = message(2, &[attribute(10, b"mine: \0"), attribute(12, &5_u32.to_be_bytes())]);
        assert!(matches!(told(&foreign, "pontoon:br0:").next(), Some(Told::Foreign(5))));
        let other_bridge = message(2, &[attribute(10, b"pontoon:br01:lan \0"), attribute(12, &5_u32.to_be_bytes())]);
        assert!(packet_of(&other_bridge).is_none());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_breaks_the_reader(bytes: Vec<u8>, kinds in proptest::collection::vec((0..24_u16, proptest::collection::vec(0..255_u8, 0..20)), 0..12)) {
            let _ = told(&bytes, "pontoon:br0:").count();
            let all: Vec<_> = kinds.iter().map(|(kind, value)| attribute(*kind, value)).collect();
            let _ = told(&message(7, &all), "").count();
        }
    }
}
