//! Loading and attaching programs (bpf(2)): device filters of cgroups, and who looks up sockets in a network namespace.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One eBPF instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Register written, or compared.
    pub to: u8,
    /// Register read.
    pub from: u8,
    /// Of a jump, in instructions; of a load, in bytes.
    pub offset: i16,
    /// Immediate value.
    pub value: i32,
}

impl Instruction {
    /// struct bpf_insn, in native layout.
    fn bytes(self) -> [u8; 8] {
        let registers =
            if cfg!(target_endian = "little") { self.from << 4 | self.to } else { self.to << 4 | self.from };
        let ([o0, o1], [v0, v1, v2, v3]) = (self.offset.to_ne_bytes(), self.value.to_ne_bytes());
        [self.code, registers, o0, o1, v0, v1, v2, v3]
    }
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_QUERY: libc::c_int = 16;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;
const LINK_GET_FD_BY_ID: libc::c_int = 30;
const LINK_GET_NEXT_ID: libc::c_int = 31;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const CGROUP_DEVICE: u32 = 6;
const SK_LOOKUP: u32 = 36;
const ALLOW_MULTI: u32 = 2;

/// The start of union bpf_attr for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    prog_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The start of union bpf_attr for BPF_LINK_CREATE.
#[repr(C)]
struct Link {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// The start of union bpf_attr for BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
}

/// Union bpf_attr for BPF_PROG_QUERY as far as Linux 6.6 writes to it.
#[repr(C)]
#[derive(Default)]
struct Queried {
    interface: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// The start of union bpf_attr for BPF_LINK_GET_NEXT_ID and BPF_LINK_GET_FD_BY_ID.
#[repr(C)]
struct Id {
    id: u32,
    next: u32,
    flags: u32,
}

/// The start of union bpf_attr for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct Info {
    descriptor: u32,
    length: u32,
    to: u64,
}

/// A program that netfilter calls at a hook (`BPF_LINK_TYPE_NETFILTER`, Linux 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetfilterLink {
    /// The address family: `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// `NF_INET_…`.
    pub hook: u32,
    /// Lower runs earlier.
    pub priority: i32,
}

/// The start of union bpf_attr for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Has the kernel verify and take a device filter.
pub fn load_device_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    load(PROG_TYPE_CGROUP_DEVICE, 0, program)
}

/// Has the kernel verify and take a program that is asked which socket a packet is for (Linux 5.9; kernel:
/// Documentation/bpf/prog_sk_lookup.rst).
pub fn load_socket_lookup(program: &[Instruction]) -> io::Result<OwnedFd> {
    load(PROG_TYPE_SK_LOOKUP, SK_LOOKUP, program)
}

fn load(kind: u32, attach_type: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let bytes: Vec<u8> = program.iter().flat_map(|instruction| instruction.bytes()).collect();
    let count = u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let load = Load {
        prog_type: kind,
        count,
        instructions: bytes.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"pontoon\0\0\0\0\0\0\0\0\0",
        interface: 0,
        attach_type,
    };
    // SAFETY: `load` is laid out as the kernel reads it, its size is passed, and the memory it points at outlives the
    // call. The descriptor returned is new and owned by nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>());
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Attaches a filter to the cgroup whose directory is open as `cgroup`; it stays as long as the cgroup does.
pub fn attach_device_filter(cgroup: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` is laid out as the kernel reads it, and its size is passed; both descriptors are open.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has a program be asked in a network namespace, given by its open file, until the descriptor returned is closed.
pub fn attach_socket_lookup(namespace: impl AsFd, program: &OwnedFd) -> io::Result<OwnedFd> {
    let link = Link {
        program: program.as_raw_fd().cast_unsigned(),
        target: namespace.as_fd().as_raw_fd().cast_unsigned(),
        attach_type: SK_LOOKUP,
        flags: 0,
    };
    // SAFETY: `link` is laid out as the kernel reads it, and its size is passed; both descriptors in it are open. The
    // descriptor returned is new and owned by nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const link, size_of::<Link>());
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// How many such programs are asked in a network namespace, given by its open file.
pub fn socket_lookups(namespace: impl AsFd) -> io::Result<u32> {
    let mut query = Query {
        target: namespace.as_fd().as_raw_fd().cast_unsigned(),
        attach_type: SK_LOOKUP,
        query_flags: 0,
        attach_flags: 0,
        programs: 0,
        count: 0,
    };
    // SAFETY: `query` is laid out as the kernel reads and writes it, its size is passed, and it asks for no list.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) } {
        0 => Ok(query.count),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many programs see what comes in or goes out by an interface of the calling thread's namespace (tcx, Linux 6.6).
pub fn tcx_programs(interface: u32) -> io::Result<u32> {
    const INGRESS: u32 = 46;
    const EGRESS: u32 = 47;
    let mut count = 0;
    for attach_type in [INGRESS, EGRESS] {
        let mut query = Queried { interface, attach_type, ..Queried::default() };
        // SAFETY: `query` is laid out as the kernel reads and writes it, its size is passed, and it asks for no list.
        match unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Queried>()) } {
            0 => count += query.count,
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(count)
}

/// Programs that netfilter calls, of all namespaces: the kernel does not tell of which.
pub fn netfilter_links() -> io::Result<Vec<NetfilterLink>> {
    const NETFILTER: u32 = 10;
    let mut found = Vec::new();
    let mut at = Id { id: 0, next: 0, flags: 0 };
    loop {
        // SAFETY: `at` is laid out as the kernel reads and writes it, and its size is passed.
        if unsafe { libc::syscall(libc::SYS_bpf, LINK_GET_NEXT_ID, &raw mut at, size_of::<Id>()) } != 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOENT) { Ok(found) } else { Err(error) };
        }
        at.id = at.next;
        let of = Id { id: at.id, next: 0, flags: 0 };
        // SAFETY: as above. A descriptor that is returned is new and owned by nobody else.
        let link = unsafe {
            match i32::try_from(libc::syscall(libc::SYS_bpf, LINK_GET_FD_BY_ID, &raw const of, size_of::<Id>())) {
                Ok(fd) if fd >= 0 => OwnedFd::from_raw_fd(fd),
                // It has gone meanwhile.
                _ => continue,
            }
        };
        // struct bpf_link_info: type, id, program, padding, and what belongs to the type.
        let mut info = [0_u32; 64];
        let asked = Info {
            descriptor: link.as_raw_fd().cast_unsigned(),
            length: size_of_val(&info) as u32,
            to: info.as_mut_ptr() as u64,
        };
        // SAFETY: `asked` is laid out as the kernel reads and writes it, its size is passed, and the memory that it points
        // at is as long as it says and outlives the call.
        let done = unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const asked, size_of::<Info>()) };
        if let (0, [NETFILTER, _, _, _, family, hook, priority, ..]) = (done, info) {
            found.push(NetfilterLink { family, hook, priority: priority.cast_signed() });
        }
    }
}
