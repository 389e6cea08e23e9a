//! A station: an interface somewhere, from which any frame at all can be sent, and at which every frame is heard.
//!
//! This is what `CAP_NET_RAW` gives to a process in that namespace: a packet socket. It belongs for ever to the namespace
//! that it was opened in, so only its opening needs a thread there.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt,
};

use super::frame::{Mac, Token};
use crate::harness::Outcome;
use crate::harness::container::Container;
use crate::harness::host::Host;
use crate::harness::namespaces::Place;
use crate::harness::wait::until;

impl Host {
    /// A container's interface, for any frame at all.
    pub fn station(&self, container: &Container<'_>) -> Station<'_> {
        self.station_of(container.pid())
    }

    /// The `eth0` of a container whose process the host knows by this number.
    pub fn station_of(&self, pid: u32) -> Station<'_> {
        Station::of(self, pid)
    }

    /// The neighbour's interface.
    pub fn lan_station(&self) -> Station<'_> {
        Station::lan(self)
    }

    /// An interface of the host.
    pub fn station_at(&self, interface: &str) -> Station<'_> {
        Station::of_host(self, interface)
    }

    /// Hears what comes in at an interface of the host, before any rule could stop it.
    pub fn ear(&self, interface: &str) -> Ear {
        Ear::at(&self.namespaces.netns(Place::Host), interface)
    }

    /// A UDP service of the host: `address:port`.
    pub fn service(&self, address: &str) -> Service {
        Service::at(&self.namespaces.netns(Place::Host), address)
    }
}

/// An interface in a network namespace.
pub struct Station<'h> {
    pub(super) host: &'h Host,
    netns: PathBuf,
    interface: String,
    /// The host's interface where what it sends comes in: the port on the bridge, or the host's side of the LAN.
    pub(super) entry: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its first IPv4 address.
    pub ip: Ipv4Addr,
    pub(super) wire: OwnedFd,
}

impl<'h> Station<'h> {
    /// A container's `eth0`.
    fn of(host: &'h Host, pid: u32) -> Self {
        let link = format!("nsenter --net=/proc/{pid}/ns/net ip -json link show dev eth0");
        let index = parsed(&host.sh(&link))[0]["link_index"].as_u64().expect("the index of the other side");
        let links = parsed(&host.sh("ip -json link show"));
        let entry = links.as_array().expect("a list").iter().find(|link| link["ifindex"] == index);
        let entry = entry.and_then(|link| link["ifname"].as_str()).expect("the port is on the host").to_owned();
        Self::at(host, host.path(&format!("/proc/{pid}/ns/net")), "eth0", entry)
    }

    /// The neighbour's interface.
    fn lan(host: &'h Host) -> Self {
        Self::at(host, host.namespaces.netns(Place::Lan), "eth0", "lan0".to_owned())
    }

    /// An interface of the host: what it sends comes in nowhere.
    fn of_host(host: &'h Host, interface: &str) -> Self {
        Self::at(host, host.namespaces.netns(Place::Host), interface, interface.to_owned())
    }

    fn at(host: &'h Host, netns: PathBuf, interface: &str, entry: String) -> Self {
        let (mac, ip) = within(&netns, || addresses(interface));
        let wire = within(&netns, || tap(interface)).0;
        Self { host, netns, interface: interface.to_owned(), entry, mac, ip, wire }
    }

    /// The host's interface where what it sends comes in.
    pub fn interface_on_the_host(&self) -> &str {
        &self.entry
    }

    /// Another interface of the same network namespace, whose other end is `entry` of the host.
    pub fn beside(&self, interface: &str, entry: &str) -> Self {
        Self::at(self.host, self.netns.clone(), interface, entry.to_owned())
    }

    /// Does something in its network namespace, on a thread made for it.
    pub fn within<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        within(&self.netns, action)
    }

    /// Its network namespace.
    pub fn file(&self) -> std::fs::File {
        std::fs::File::open(&self.netns).expect("its processes run")
    }

    /// The Ethernet address of the host's interface where what it sends comes in.
    pub fn entry_mac(&self) -> Mac {
        self.host.station_at(&self.entry).mac
    }

    /// Puts a frame on the wire.
    pub fn sends(&self, frame: &[u8]) {
        // A full queue is emptied by the kernel in no time.
        while let Err(error) = send(self.wire.as_raw_fd(), frame, MsgFlags::empty()) {
            assert!(error == Errno::ENOBUFS || error == Errno::EAGAIN, "cannot send from {}: {error}", self.interface);
        }
    }

    /// Hears from now on what comes in here.
    pub fn listens(&self) -> Ear {
        Ear::at(&self.netns, &self.interface)
    }

    /// A shell command in its network, with all capabilities that there are.
    pub fn sh(&self, script: &str) -> Outcome {
        let netns = format!("--net={}", self.netns.display());
        #[expect(clippy::disallowed_methods, reason = "tests type commands, as people do")]
        let mut command = std::process::Command::new("nsenter");
        Outcome::of(command.args([&netns, "timeout", "30", "bash", "-c", script]), b"")
    }

    /// Who its kernel believes to have an address: the MAC, if any.
    pub fn neighbour(&self, address: Ipv4Addr) -> Option<String> {
        let words = self.sh(&format!("ip neigh show {address} dev {}", self.interface)).ok();
        let at = words.split_whitespace().position(|word| word == "lladdr")?;
        words.split_whitespace().nth(at + 1).map(str::to_owned)
    }
}

/// What comes in at an interface.
pub struct Ear {
    tap: OwnedFd,
    index: usize,
    heard: Vec<Vec<u8>>,
}

impl Ear {
    fn at(netns: &Path, interface: &str) -> Self {
        let (tap, index) = within(netns, || tap(interface));
        Self { tap, index, heard: Vec::new() }
    }

    /// All frames so far.
    pub fn heard(&mut self) -> &[Vec<u8>] {
        /// `sll_pkttype` of frames that this side sends (`linux/if_packet.h`).
        const OUTGOING: u8 = 4;
        let mut frame = vec![0; 65_536];
        loop {
            match recvfrom::<LinkAddr>(self.tap.as_raw_fd(), &mut frame) {
                Ok((length, Some(from))) if from.ifindex() == self.index && from.pkttype() != OUTGOING => {
                    self.heard.push(frame[..length].to_vec());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return &self.heard,
                Err(error) => panic!("cannot listen: {error}"),
            }
        }
    }

    /// How many frames carried it so far.
    pub fn count(&mut self, token: Token) -> usize {
        self.heard().iter().filter(|frame| token.is_in(frame)).count()
    }

    /// Waits for a frame that carries it; `again` is done between two looks.
    #[track_caller]
    pub fn until_heard(&mut self, token: Token, mut again: impl FnMut()) {
        until("a frame is heard that nothing forbids", || {
            again();
            self.count(token) > 0
        });
    }
}

/// A UDP service: what has reached a socket of a namespace, whatever way it took.
pub struct Service(UdpSocket);

impl Service {
    fn at(netns: &Path, address: &str) -> Self {
        let socket = within(netns, || UdpSocket::bind(address));
        let socket = socket.unwrap_or_else(|error| panic!("cannot serve at {address}: {error}"));
        socket.set_nonblocking(true).expect("a socket can be asked not to wait");
        Self(socket)
    }

    /// Sends a datagram to where nobody expects it.
    pub(super) fn says(&self, text: &[u8], to: Ipv4Addr) {
        /// RFC 863: who has it open throws it away.
        const DISCARD: u16 = 9;
        self.0.send_to(text, (to, DISCARD)).expect("the host has a route");
    }

    /// Tokens among `wanted` that have come since the last look.
    pub fn received(&self, wanted: &[Token]) -> Vec<Token> {
        let mut buffer = [0; 2048];
        let mut found = Vec::new();
        while let Ok(length) = self.0.recv(&mut buffer) {
            found.extend(wanted.iter().filter(|token| token.is_in(&buffer[..length])));
        }
        found
    }
}

/// Does something in a network namespace, on a thread made for it.
pub fn within<T: Send>(netns: &Path, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let file = std::fs::File::open(netns).unwrap_or_else(|error| panic!("{}: {error}", netns.display()));
            setns(file, CloneFlags::CLONE_NEWNET).expect("root enters any network namespace");
            action()
        });
        there.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// A packet socket of this thread's namespace, bound to one interface, and the interface's index.
fn tap(interface: &str) -> (OwnedFd, usize) {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let tap = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("root may listen");
    let address = link_address(interface);
    bind(tap.as_raw_fd(), &address).unwrap_or_else(|error| panic!("cannot bind to {interface}: {error}"));
    setsockopt(&tap, sockopt::RcvBufForce, &(32 << 20)).expect("root may have large buffers");
    (tap, address.ifindex())
}

fn link_address(interface: &str) -> LinkAddr {
    let found = getifaddrs().expect("interfaces can be listed").find_map(|entry| {
        let link = entry.address.as_ref().and_then(|address| address.as_link_addr().copied());
        link.filter(|_| entry.interface_name == interface)
    });
    found.unwrap_or_else(|| panic!("there is no interface {interface}"))
}

fn addresses(interface: &str) -> (Mac, Ipv4Addr) {
    let mac = link_address(interface).addr().expect("an Ethernet address");
    let ip = getifaddrs().expect("interfaces can be listed").find_map(|entry| {
        let address = entry.address.as_ref().and_then(|address| address.as_sockaddr_in().map(|it| it.ip()));
        address.filter(|_| entry.interface_name == interface)
    });
    (mac, ip.unwrap_or(Ipv4Addr::UNSPECIFIED))
}

fn parsed(outcome: &Outcome) -> serde_json::Value {
    serde_json::from_str(&outcome.ok()).expect("ip -json prints JSON")
}
