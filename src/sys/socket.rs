//! Sockets as no crate offers them: packet sockets that listen to nobody until they are told to, filters, and sockets that
//! share a port.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One instruction of a classic BPF program (struct sock_filter; kernel: Documentation/networking/filter.rst).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to pass over if a comparison holds.
    pub yes: u8,
    /// The same if it does not.
    pub no: u8,
    /// Offset or value.
    pub value: u32,
}

/// `SO_NETNS_COOKIE` (asm-generic/socket.h).
const NETNS_COOKIE: libc::c_int = 71;

/// A packet socket (packet(7)) that takes and gives whole frames, does not block, and hears nothing before
/// [`bind_packet`].
pub fn packet() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only; the descriptor returned is new and owned by nobody else.
    unsafe {
        match libc::socket(libc::AF_PACKET, kind, 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A netlink socket that asks for IPsec's policies and states (`NETLINK_XFRM`); kernels without IPsec refuse it.
pub fn netlink_xfrm() -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; the descriptor returned is new and owned by nobody else.
    unsafe {
        match libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_XFRM) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The kernel's own number of the calling thread's network namespace, which no other has until the machine boots again
/// (`SO_NETNS_COOKIE`). `None`: a kernel before 5.14.
pub fn network_cookie() -> Option<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has that size, and the length to `length`.
    let asked = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut length)
    };
    (asked == 0).then_some(cookie)
}

/// Has a packet socket hear all frames that come and go at one interface of its namespace, and send there.
pub fn bind_packet(socket: impl AsFd, interface: u32) -> io::Result<()> {
    let address = link(interface, libc::ETH_P_ALL as u16)?;
    // SAFETY: `address` is a sockaddr_ll of the size that is passed, which the kernel copies.
    let done = unsafe {
        libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of a socket into `buffer`, which says by its beginning what is asked for where the option wants that; how
/// much of it the kernel wrote.
pub fn read_option(socket: impl AsFd, level: i32, option: i32, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length: libc::socklen_t = buffer.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `buffer` is valid for reads and writes of `length` bytes, which is its own length; the kernel keeps neither.
    let done = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if done == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}

/// Puts a frame onto an interface of the socket's namespace, whether the socket is bound or not.
pub fn send_frame(socket: impl AsFd, interface: u32, frame: &[u8]) -> io::Result<()> {
    let address = link(interface, 0)?;
    // SAFETY: `frame` is read for its own length, `address` is a sockaddr_ll of the size that is passed; neither is
    // kept by the kernel.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn link(interface: u32, protocol: u16) -> io::Result<libc::sockaddr_ll> {
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface.try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    })
}

/// Has a socket hear only what the program lets through; it answers how many bytes of it.
pub fn filter(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_FILTER, program)
}

/// Has a program say which socket of those that share a port (`SO_REUSEPORT`) a packet is for: its answer is the place among
/// them, in the order in which they were bound (socket(7), `SO_ATTACH_REUSEPORT_CBPF`). `socket` is any of them.
pub fn share_out(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

fn attach(socket: impl AsFd, option: libc::c_int, program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points at `len` instructions of the kernel's layout (repr(C)), which live until the call
    // returns; the kernel copies and verifies them.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as u32,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
