//! Datagrams, and by which interface they came.
//!
//! On the bridge nobody can use a container's address but the container; anybody else could, from the LAN, if the host did
//! not look where packets come from (`rp_filter`, which is the operator's). A question with a container's address that does
//! not come by the bridge is nobody's.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

/// The socket for questions of one bridge's containers.
pub(super) struct Datagrams {
    socket: UdpSocket,
    bridge: String,
    /// The bridge's index when it was last looked for: it comes after the socket, and may be made anew.
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
    pub(super) fn new(socket: UdpSocket, bridge: &str) -> io::Result<Self> {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        Ok(Self { socket, bridge: bridge.to_owned(), index: AtomicU32::new(0) })
    }

    /// The socket, for answers.
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The next datagram, if one waits ([`io::ErrorKind::WouldBlock`] if not); what is longer than the buffer is cut off.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut space = nix::cmsg_space!(libc::in_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
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
