//! Datagrams, each queue's in turn, and by which interface they came.
//!
//! On the bridge nobody can use a container's address but the container; anybody else could, from the LAN, if the host did
//! not look where packets come from (`rp_filter`, which is the operator's). A question with a container's address that does
//! not come by the bridge is nobody's.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use rustix::event::epoll;

/// The queues for questions of one bridge's containers.
pub(super) struct Datagrams {
    queues: Vec<UdpSocket>,
    /// Tells in which of them something waits.
    waiting: OwnedFd,
    bridge: String,
    /// The bridge's index when it was last looked for: it comes after the sockets, and may be made anew.
    index: AtomicU32,
}

/// What came.
pub(super) struct Arrived {
    pub(super) length: usize,
    pub(super) source: SocketAddr,
    /// By the bridge.
    pub(super) inside: bool,
}

impl Datagrams {
    pub(super) fn new(queues: Vec<UdpSocket>, bridge: &str) -> io::Result<Self> {
        let waiting = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (place, queue) in (0..).zip(&queues) {
            setsockopt(queue, sockopt::Ipv4PacketInfo, &true)?;
            epoll::add(&waiting, queue, epoll::EventData::new_u64(place), epoll::EventFlags::IN)?;
        }
        Ok(Self { queues, waiting, bridge: bridge.to_owned(), index: AtomicU32::new(0) })
    }

    /// A socket for answers.
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.queues[0]
    }

    /// Waits until there is something, and says in which queues.
    pub(super) fn wait(&self, into: &mut Vec<usize>) -> io::Result<()> {
        let mut events = Vec::with_capacity(self.queues.len());
        into.clear();
        epoll::wait(&self.waiting, rustix::buffer::spare_capacity(&mut events), None)?;
        into.extend(events.iter().filter_map(|event| usize::try_from(event.data.u64()).ok()));
        Ok(())
    }

    /// The next datagram of a queue, if one waits ([`io::ErrorKind::WouldBlock`] if not); what is longer than the buffer is
    /// cut off.
    pub(super) fn receive(&self, queue: usize, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut space = nix::cmsg_space!(libc::in_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.queues[queue].as_raw_fd();
        let message = recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut space), MsgFlags::empty())?;
        let interface = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => u32::try_from(info.ipi_ifindex).ok(),
            _ => None,
        });
        let source: SocketAddrV4 = message.address.ok_or(io::ErrorKind::InvalidData)?.into();
        let inside = interface.is_some_and(|interface| self.is_bridge(interface));
        Ok(Arrived { length: message.bytes, source: source.into(), inside })
    }

    fn is_bridge(&self, interface: u32) -> bool {
        if self.index.load(Ordering::Relaxed) != interface {
            let Ok(now) = nix::net::if_::if_nametoindex(self.bridge.as_str()) else { return false };
            self.index.store(now, Ordering::Relaxed);
        }
        self.index.load(Ordering::Relaxed) == interface
    }
}
