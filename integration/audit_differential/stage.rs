//! A router between two wires, in namespaces of their own: what is put on one wire is seen on the other, at the router
//! itself, or nowhere.
//!
//! ```text
//!   wires' namespace          router's namespace
//!   left  ─────────────────── a0   10.1.0.1/24  fd01::1/64
//!   right ─────────────────── b0   10.2.0.1/24  fd02::1/64
//! ```
//!
//! The wires' ends have no addresses: frames are written and read there as they are. The thread that makes the stage
//! stays in the router's namespace, on one processor, which keeps frames in order: see [`Stage::exchange`].

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt,
};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::harness::packets::frame::{EXPERIMENTAL, Mac, Token, ethernet};
use crate::harness::until;

/// The bridge's own.
pub const BRIDGE_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const LEFT: Mac = [2, 0, 0, 0, 1, 2];
pub const RIGHT: Mac = [2, 0, 0, 0, 2, 2];
pub const A: Mac = [2, 0, 0, 0, 1, 1];
pub const B: Mac = [2, 0, 0, 0, 2, 1];

/// A router: neighbours are known for good, so that no packet waits for one.
pub const ROUTER: &str = "
ip link set lo up
ip link add a0 address 02:00:00:00:01:01 type veth peer name left address 02:00:00:00:01:02 netns $1
ip link add b0 address 02:00:00:00:02:01 type veth peer name right address 02:00:00:00:02:02 netns $1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.tcp_invalid_ratelimit=0
for side in a0:1:01:02 b0:2:02:02; do
    IFS=: read -r link net mac low <<EOF
$side
EOF
    sysctl -qw net.ipv4.conf.$link.rp_filter=0 net.ipv4.conf.$link.send_redirects=0 net.ipv6.conf.$link.accept_dad=0
    ip address add 10.$net.0.1/24 dev $link
    ip -6 address add fd0$net::1/64 dev $link nodad
    ip link set $link up
    for host in 2 3 4 5; do
        ip neigh replace 10.$net.0.$host lladdr 02:00:00:00:$mac:$low dev $link nud permanent
        ip neigh replace fd0$net::$host lladdr 02:00:00:00:$mac:$low dev $link nud permanent
    done
done
";

/// A bridge between the same wires: its address is 10.1.0.1, that of hosts behind `a0` 10.1.0.2, of those behind `b0`
/// 10.1.0.3. `$2` and `$3` are the flags of the ports.
pub const BRIDGE: &str = "
ip link set lo up
ip link add br0 address 02:00:00:00:00:01 type bridge
ip link add a0 address 02:00:00:00:01:01 type veth peer name left address 02:00:00:00:01:02 netns $1
ip link add b0 address 02:00:00:00:02:01 type veth peer name right address 02:00:00:00:02:02 netns $1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
sysctl -qw net.ipv4.conf.br0.send_redirects=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.icmp_ratelimit=0
ip address add 10.1.0.1/24 dev br0
ip link set br0 up
for port in a0 b0; do ip link set $port master br0 up; done
bridge fdb replace 02:00:00:00:01:02 dev a0 master static
bridge fdb replace 02:00:00:00:02:02 dev b0 master static
ip neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev br0 nud permanent
ip neigh replace 10.1.0.3 lladdr 02:00:00:00:02:02 dev br0 nud permanent
";

/// The router and its wires.
pub struct Stage {
    /// Kept so that the wires stay.
    _wires: File,
    left: Tap,
    right: Tap,
    gates: [Tap; 2],
    sockets: Vec<OwnedFd>,
}

/// A side of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// Where a packet was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub left: Vec<Vec<u8>>,
    pub right: Vec<Vec<u8>>,
    pub here: bool,
}

struct Tap {
    fd: OwnedFd,
    index: usize,
}

impl Stage {
    /// Takes the calling thread into the router's namespace, for good, and sets it up.
    pub fn new(setup: &str) -> Self {
        stay_on_one_processor();
        unshare(CloneFlags::CLONE_NEWNET).expect("root makes network namespaces");
        let wires = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root makes network namespaces");
            sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", &[]);
            File::open("/proc/thread-self/ns/net").expect("a namespace is a file")
        });
        let wires = wires.join().expect("it ends");
        sh(setup, &[&format!("/proc/{}/fd/{}", std::process::id(), wires.as_raw_fd())]);
        let ends = |name: &'static str| {
            let wires = wires.try_clone().expect("a file can be shared");
            let there = std::thread::spawn(move || {
                setns(wires, CloneFlags::CLONE_NEWNET).expect("root enters any network namespace");
                sh(&format!("ip link set {name} up"), &[]);
                Tap::at(name)
            });
            there.join().expect("it ends")
        };
        let (left, right) = (ends("left"), ends("right"));
        let sockets = [
            (AddressFamily::Inet, SockProtocol::Udp),
            (AddressFamily::Inet, SockProtocol::Tcp),
            (AddressFamily::Inet, SockProtocol::Icmp),
            (AddressFamily::Inet6, SockProtocol::Udp),
            (AddressFamily::Inet6, SockProtocol::Tcp),
            (AddressFamily::Inet6, SockProtocol::IcmpV6),
        ];
        let sockets = sockets.map(|(family, protocol)| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let fd = socket(family, SockType::Raw, flags, protocol).expect("root may listen");
            setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20)).expect("root may have large buffers");
            fd
        });
        Self { _wires: wires, left, right, gates: [Tap::at("a0"), Tap::at("b0")], sockets: sockets.into() }
    }

    /// Puts frames on wires and tells for each token where it, or an answer of the router to it, was seen.
    ///
    /// One processor does all the work, in order. A mark behind the frames that is heard where they come into the
    /// router tells that it is done with them; a mark from the router to a wire, that all it sent there has come.
    pub fn exchange(&mut self, frames: &[(Side, Vec<u8>)], tells: impl Fn(&[u8]) -> Option<usize>) -> Vec<Seen> {
        for (side, frame) in frames {
            self.wire(*side).send(frame);
        }
        let mut seen = vec![Seen::default(); frames.len()];
        let mut ends = (Vec::new(), Vec::new());
        for (wire, gate, mac) in [(&self.left, &self.gates[0], LEFT), (&self.right, &self.gates[1], RIGHT)] {
            gate.marked(|mark| wire.send(&ethernet(mac, mac, EXPERIMENTAL, &mark.0)));
        }
        for (wire, gate, heard) in
            [(&self.left, &self.gates[0], &mut ends.0), (&self.right, &self.gates[1], &mut ends.1)]
        {
            *heard = wire.marked(|mark| gate.send(&ethernet(A, B, EXPERIMENTAL, &mark.0)));
        }
        for frame in ends.0 {
            if let Some(at) = tells(&frame) {
                seen[at].left.push(frame);
            }
        }
        for frame in ends.1 {
            if let Some(at) = tells(&frame) {
                seen[at].right.push(frame);
            }
        }
        let mut buffer = vec![0; 4096];
        for socket in &self.sockets {
            while let Ok(length) = nix::sys::socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                if let Some(at) = tells(&buffer[..length]) {
                    seen[at].here = true;
                }
            }
        }
        seen
    }

    fn wire(&self, side: Side) -> &Tap {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

impl Tap {
    /// A packet socket of this thread's namespace, bound to one interface.
    fn at(name: &str) -> Self {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("root may listen");
        let address: LinkAddr = getifaddrs()
            .expect("interfaces can be listed")
            .filter(|entry| entry.interface_name == name)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .unwrap_or_else(|| panic!("there is no interface {name}"));
        bind(fd.as_raw_fd(), &address).unwrap_or_else(|error| panic!("cannot bind to {name}: {error}"));
        setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20)).expect("root may have large buffers");
        Self { fd, index: address.ifindex() }
    }

    fn send(&self, frame: &[u8]) {
        while let Err(error) = send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            assert!(error == Errno::ENOBUFS || error == Errno::EAGAIN, "cannot send: {error}");
        }
    }

    /// What came in so far.
    fn heard(&self) -> Vec<Vec<u8>> {
        const OUTGOING: u8 = 4;
        let mut heard = Vec::new();
        let mut frame = vec![0; 4096];
        loop {
            match recvfrom::<LinkAddr>(self.fd.as_raw_fd(), &mut frame) {
                Ok((length, Some(from))) if from.ifindex() == self.index && from.pkttype() != OUTGOING => {
                    heard.push(frame[..length].to_vec());
                }
                Ok(_) => {}
                Err(_) => return heard,
            }
        }
    }

    /// Sends a mark and hears until it comes: everything before it.
    fn marked(&self, send: impl Fn(Token)) -> Vec<Vec<u8>> {
        let mark = Token::new();
        send(mark);
        let mut heard = Vec::new();
        until("the mark behind the frames is heard", || {
            heard.extend(self.heard());
            heard.iter().any(|frame| mark.is_in(frame))
        });
        heard
    }
}

fn stay_on_one_processor() {
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).expect("a thread may stay where it is");
}

/// A script in this thread's namespace.
pub fn sh(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("sh").args(["-ec", script, "sh"]).args(arguments).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Replaces the ruleset, without the rules that nft refuses: the text that it took, or its complaint.
pub fn load(ruleset: &str) -> Result<String, String> {
    let mut lines: Vec<&str> = ruleset.lines().collect();
    loop {
        let Err(complaint) = nft(&lines.join("\n")) else { return Ok(lines.join("\n")) };
        // `/dev/stdin:LINE:…`, counted from one, after the line that flushes.
        let places = complaint.lines().filter_map(|line| line.strip_prefix("/dev/stdin:")?.split(':').next());
        let mut refused: Vec<usize> = places.filter_map(|line| line.parse::<usize>().ok()?.checked_sub(2)).collect();
        refused.retain(|at| lines.get(*at).is_some_and(|line| line.starts_with("    ") && !line.contains("hook")));
        if refused.is_empty() {
            return Err(complaint);
        }
        let mut at = 0..;
        lines.retain(|_| !at.next().is_some_and(|at| refused.contains(&at)));
    }
}

fn nft(ruleset: &str) -> Result<(), String> {
    use std::io::Write;
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft runs");
    let text = format!("flush ruleset\n{ruleset}");
    nft.stdin.take().expect("stdin is piped").write_all(text.as_bytes()).expect("nft reads");
    let output = nft.wait_with_output().expect("nft ends");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
