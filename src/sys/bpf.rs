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
const LINK_CREATE: libc::c_int = 28;
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
