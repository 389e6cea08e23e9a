//! A network namespace's sockets: from here probes are sent, and here they are heard.
//!
//! A socket belongs for ever to the namespace that it was opened in, so that only its opening needs a thread there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, getsockname, recv, recvfrom,
    sendto, setsockopt, socket, sockopt,
};

use super::heard::Heard;
use super::program::{LOOK, hearing};
use super::tables::{self, Sockets};
use super::token::Run;
use crate::firewall::audit::Mac;
use crate::netns::{NetNs, NetNsError};
use crate::sys::socket as raw;

/// A place where probes begin and end: the host, or a container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// What it is called.
    pub(super) name: String,
    /// Its namespace's pin; `None`: the daemon's own, which is the host's.
    pub(super) netns: Option<PathBuf>,
    /// Its interface on the bridge: a container's `eth0`, the host's bridge. `None` where it has none.
    pub(super) interface: Option<String>,
    /// A bridged container's seat.
    pub(super) seat: Option<Seat>,
}

/// A bridged container's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its MAC.
    pub(super) mac: Mac,
    /// The host's end of its veth pair.
    pub(super) port: String,
}

/// The sockets.
pub(super) struct Station {
    /// Sends IPv4 packets as they are.
    sender: OwnedFd,
    /// Hear what the namespace's own stack takes as its own: after its firewall, before its programs.
    stack: [OwnedFd; 3],
    /// Hears and sends frames.
    pub(super) wire: Option<Wire>,
    /// Bound and never used: so that no program has these ports, and answers to them are refused (TCP) or read by nobody.
    _ports: (Vec<OwnedFd>, Vec<UdpSocket>),
    /// Where TCP probes come from, likewise.
    pub(super) tcp_ports: Vec<u16>,
    /// Where UDP probes come from: each time that the same port is spoken to, by another way, from another. Where two ways
    /// join, and the host speaks for the source, it would else have to change the port; and only to these is nobody at home.
    pub(super) udp_ports: Vec<u16>,
    /// What programs here had open when this was.
    pub(super) open: Sockets,
    /// Keeps datagrams of probes from programs, until it is closed.
    pub(super) shelter: Option<OwnedFd>,
    /// Finds out the address that this namespace would send from.
    scout: UdpSocket,
    run: Run,
    known: BTreeMap<Ipv4Addr, Option<Ipv4Addr>>,
}

/// A packet socket at an interface.
pub(super) struct Wire {
    socket: OwnedFd,
    index: u32,
    /// The interface's MAC.
    pub(super) mac: Mac,
}

/// Where something was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    /// It came in by the interface.
    Arriving,
    /// It went out by the interface.
    Leaving,
    /// It came in by the interface, and is sent to another hardware address: only who listens to everything hears it.
    Overheard,
    /// The stack took it.
    Stack,
}

/// Why a namespace cannot be probed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StationError {
    /// It is gone, or cannot be entered.
    #[error(transparent)]
    Gone(#[from] NetNsError),
    /// The kernel refused a socket.
    #[error("cannot open a socket for probes: {0}")]
    Socket(#[from] io::Error),
}

impl From<Errno> for StationError {
    fn from(errno: Errno) -> Self {
        Self::Socket(errno.into())
    }
}

impl Station {
    /// Opens the sockets, so many for UDP probes to come from. `taken`: ports that those of other stations come from.
    pub(super) fn open(site: &Site, run: Run, ports: usize, taken: &mut BTreeSet<u16>) -> Result<Self, StationError> {
        match &site.netns {
            Some(pin) => NetNs::open(pin)?.enter(|| Self::here(site, run, ports, taken))?,
            None => Self::here(site, run, ports, taken),
        }
    }

    fn here(site: &Site, run: Run, ports: usize, taken: &mut BTreeSet<u16>) -> Result<Self, StationError> {
        let hear = |protocol| -> Result<OwnedFd, StationError> {
            let socket = socket(AddressFamily::Inet, SockType::Raw, FLAGS, protocol)?;
            raw::filter(&socket, &hearing(run, false))?;
            setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)?;
            Ok(socket)
        };
        let stack = [hear(SockProtocol::Tcp)?, hear(SockProtocol::Udp)?, hear(SockProtocol::Icmp)?];
        // Of this protocol, a packet's header is the sender's own (raw(7)).
        let sender = socket(AddressFamily::Inet, SockType::Raw, FLAGS, SockProtocol::Raw)?;
        let wire = site.interface.as_deref().map(|name| Wire::at(name, run)).transpose()?;
        let bound = || -> Result<(OwnedFd, u16), StationError> {
            let tcp = socket(AddressFamily::Inet, SockType::Stream, FLAGS, None)?;
            bind(tcp.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
            let port = getsockname::<SockaddrIn>(tcp.as_raw_fd())?.port();
            Ok((tcp, port))
        };
        let (tcp, tcp_ports) = (0..ports).map(|_| bound()).collect::<Result<(Vec<_>, Vec<_>), _>>()?;
        let (udp, udp_ports) = (0..ports).map(|_| fresh_port(taken)).collect::<io::Result<(Vec<_>, Vec<_>)>>()?;
        let scout = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let open = tables::read();
        let _ports = (tcp, udp);
        let known = BTreeMap::new();
        Ok(Self { sender, stack, wire, _ports, tcp_ports, udp_ports, open, shelter: None, scout, run, known })
    }

    /// The address that this namespace sends from to another; `None`: it has no way there.
    pub(super) fn source_to(&mut self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        *self.known.entry(target).or_insert_with(|| {
            // Else it keeps the address that it was given for the one before.
            let afresh = rustix::net::connect_unspec(&self.scout).map_err(io::Error::from);
            let scout = afresh.and_then(|()| self.scout.connect((target, 9))).and_then(|()| self.scout.local_addr());
            match scout.ok()?.ip() {
                std::net::IpAddr::V4(address) => Some(address),
                std::net::IpAddr::V6(_) => None,
            }
        })
    }

    /// Whether the last time that it was asked, it had a way there.
    pub(super) fn knows_way_to(&self, target: Ipv4Addr) -> bool {
        self.known.get(&target).is_some_and(Option::is_some)
    }

    /// Has the namespace's stack send a packet.
    pub(super) fn send(&self, to: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
        patiently(|| sendto(self.sender.as_raw_fd(), packet, &address, MsgFlags::MSG_DONTWAIT).map(drop))
    }

    /// Puts a frame onto its wire.
    pub(super) fn emit(&self, frame: &[u8]) -> io::Result<()> {
        let wire = self.wire.as_ref().ok_or(io::ErrorKind::NetworkUnreachable)?;
        raw::send_frame(&wire.socket, wire.index, frame)
    }

    /// All that was heard since the last time.
    pub(super) fn hear(&self, mut note: impl FnMut(Where, Heard)) {
        let mut bytes = [0; LOOK];
        for socket in &self.stack {
            while let Ok(length) = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                if let Some(heard) = Heard::packet(self.run, &bytes[..length.min(LOOK)]) {
                    note(Where::Stack, heard);
                }
            }
        }
        let Some(wire) = &self.wire else { return };
        while let Ok((length, from)) = recvfrom::<LinkAddr>(wire.socket.as_raw_fd(), &mut bytes) {
            /// `sll_pkttype` of frames that are sent to others, and of those that this side sends (linux/if_packet.h).
            const OTHERHOST: u8 = 3;
            const OUTGOING: u8 = 4;
            let way = match from.map(|it| it.pkttype()) {
                Some(OUTGOING) => Where::Leaving,
                Some(OTHERHOST) => Where::Overheard,
                _ => Where::Arriving,
            };
            if let Some(heard) = Heard::frame(self.run, &bytes[..length.min(LOOK)]) {
                note(way, heard);
            }
        }
    }

    /// The sockets that hear.
    pub(super) fn ears(&self) -> impl Iterator<Item = &OwnedFd> {
        self.stack.iter().chain(self.wire.as_ref().map(|wire| &wire.socket))
    }
}

impl Wire {
    fn at(interface: &str, run: Run) -> Result<Self, StationError> {
        let socket = raw::packet()?;
        raw::filter(&socket, &hearing(run, true))?;
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)?;
        let (index, mac) = link(interface)?;
        raw::bind_packet(&socket, index)?;
        Ok(Self { socket, index, mac })
    }
}

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// Bytes that wait to be heard: thousands of probes.
const QUEUE: usize = 4 << 20;

/// A bound UDP port that no other station's probes come from: so that they stay apart where the host speaks for them.
fn fresh_port(taken: &mut BTreeSet<u16>) -> io::Result<(UdpSocket, u16)> {
    for _ in 0..100 {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = socket.local_addr()?.port();
        if taken.insert(port) {
            return Ok((socket, port));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Index and MAC of an interface of the calling thread's namespace.
pub(super) fn link(interface: &str) -> io::Result<(u32, Mac)> {
    let found = getifaddrs()?.find_map(|entry| {
        let link = entry.address.as_ref().and_then(|address| address.as_link_addr().copied());
        link.filter(|_| entry.interface_name == interface)
    });
    let link = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {interface}")))?;
    let index = u32::try_from(link.ifindex()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((index, link.addr().unwrap_or_default()))
}

/// Tries again while the kernel has no room; it makes some at once.
fn patiently(mut send: impl FnMut() -> nix::Result<()>) -> io::Result<()> {
    for _ in 0..50 {
        match send() {
            Err(Errno::ENOBUFS | Errno::EAGAIN) => std::thread::yield_now(),
            done => return Ok(done?),
        }
    }
    Err(Errno::ENOBUFS.into())
}
