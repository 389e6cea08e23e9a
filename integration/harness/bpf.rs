//! Programs that answer every packet alike, attached where the kernel asks programs (bpf(2)): what an intruder's tool does.

#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper; only tests attach such programs")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::packets::within;

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook<'a> {
    /// What comes in by an interface, before anything else sees it.
    TcxIngress(&'a str),
    /// What goes out by it.
    TcxEgress(&'a str),
    /// The same as the first, and earlier.
    Xdp(&'a str),
    /// Which socket what arrives is for.
    SocketLookup,
}

/// `union bpf_attr` is longer than anything here, and zero but for what is said.
type Attributes = [u64; 16];

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;

/// Attaches a program to a hook of a network namespace until what is returned is dropped: it drops all that it sees.
pub fn drops_all(netns: &Path, hook: Hook<'_>) -> OwnedFd {
    // Type of program and of attachment, and what drops.
    let (kind, attach, verdict): (u32, u32, u32) = match hook {
        Hook::TcxIngress(_) => (3, 46, 2),
        Hook::TcxEgress(_) => (3, 47, 2),
        Hook::Xdp(_) => (6, 37, 1),
        Hook::SocketLookup => (30, 36, 0),
    };
    within(netns, || {
        let program = load(kind, attach, verdict).unwrap_or_else(|error| panic!("cannot load for {hook:?}: {error}"));
        let namespace = File::open("/proc/thread-self/ns/net").expect("a thread has a network");
        let target = match hook {
            Hook::TcxIngress(name) | Hook::TcxEgress(name) | Hook::Xdp(name) => {
                nix::net::if_::if_nametoindex(name).unwrap_or_else(|error| panic!("{name}: {error}"))
            }
            Hook::SocketLookup => namespace.as_raw_fd().cast_unsigned(),
        };
        let mut attributes = Attributes::default();
        attributes[0] = pair(program.as_raw_fd().cast_unsigned(), target);
        attributes[1] = pair(attach, 0);
        bpf(LINK_CREATE, &attributes).unwrap_or_else(|error| panic!("cannot attach to {hook:?}: {error}"))
    })
}

/// `r0 = verdict; exit`.
fn load(kind: u32, attach: u32, verdict: u32) -> io::Result<OwnedFd> {
    let program: [u64; 2] = [0xb7 | u64::from(verdict) << 32, 0x95];
    let mut attributes = Attributes::default();
    attributes[0] = pair(kind, 2);
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = c"GPL".as_ptr() as u64;
    // After log, flags and name: the interface, and what it is to be attached as.
    attributes[8] = pair(0, attach);
    bpf(PROG_LOAD, &attributes)
}

/// Two numbers of 32 bits as they lie in memory, one after the other.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as much of `attributes` as is said, and what they point at is alive until it answers. The
    // descriptor that it returns is new and owned by nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of::<Attributes>());
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
