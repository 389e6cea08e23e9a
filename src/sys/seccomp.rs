//! Installing a seccomp filter (seccomp(2)).

#![allow(unsafe_code)]

use std::io;

/// One instruction of a classic BPF program, as seccomp(2) takes it (struct sock_filter).
#[repr(C)]
#[derive(Clone, Copy)]
struct SockFilter {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// Installs a seccomp filter on the calling thread: `program` is an array of `struct sock_filter` in native layout, as
/// libseccomp exports it. Needs CAP_SYS_ADMIN or no_new_privs.
pub fn install(program: &[u8]) -> io::Result<()> {
    let (chunks, rest) = program.as_chunks::<8>();
    if !rest.is_empty() || chunks.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a seccomp program"));
    }
    let filter: Vec<SockFilter> = chunks
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| SockFilter {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect();
    let len = u16::try_from(filter.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "seccomp program is too long"))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points at `len` instructions of the kernel's layout (repr(C)), which live until the call
    // returns; the kernel copies and verifies them.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
