//! Compilation of a profile to the program that the kernel runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use rustix::fs::{MemfdFlags, memfd_create};

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp profile: {0}")]
pub(crate) struct CompileError(String);

impl From<libseccomp::error::SeccompError> for CompileError {
    fn from(error: libseccomp::error::SeccompError) -> Self {
        Self(error.to_string())
    }
}

/// Compiled filters by profile. Most containers share one.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<BTreeMap<String, Arc<[u8]>>>);

/// Profiles kept. A daemon whose users write ever new ones does not grow without bound.
const KEPT: usize = 64;

impl Filters {
    /// The program of `profile`: an array of `struct sock_filter`.
    pub(crate) fn compile(&self, profile: &LinuxSeccomp) -> Result<Arc<[u8]>, CompileError> {
        let key = serde_json::to_string(profile).map_err(|error| CompileError(error.to_string()))?;
        if let Some(filter) = self.kept().get(&key) {
            return Ok(filter.clone());
        }
        let filter: Arc<[u8]> = compile(profile)?.into();
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, filter.clone());
        Ok(filter)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        // The map is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, CompileError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default)?;
    for &arch in profile.architectures().iter().flatten() {
        context.add_arch(architecture(arch))?;
    }
    for flag in profile.flags().iter().flatten() {
        match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => context.set_ctl_log(true)?,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => context.set_ctl_ssb(true)?,
            // One thread takes the filter, and nobody is notified: these have no effect.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync
            | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => &mut context,
        };
    }
    // A binary tree instead of one comparison after the other; older libraries do not know how.
    let _ = context.set_ctl_optimize(2);
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        for name in rule.names() {
            // Names that the library does not know are of newer kernels; the default holds for them.
            let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
            match rule.args().as_deref() {
                None | Some([]) => drop(context.add_rule(action, syscall)?),
                Some(args) => add_conditional(&mut context, action, syscall, args)?,
            }
        }
    }
    export(&context).map_err(|error| CompileError(error.to_string()))
}

/// The library writes programs to files only.
fn export(context: &ScmpFilterContext) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek};
    let mut file = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC)?);
    context.export_bpf(&file).map_err(std::io::Error::other)?;
    file.rewind()?;
    let mut program = Vec::new();
    file.read_to_end(&mut program)?;
    Ok(program)
}

/// Conditions on different arguments must all hold; where one argument has several, any of all conditions, as runc reads
/// such a rule.
fn add_conditional(
    context: &mut ScmpFilterContext,
    action: ScmpAction,
    syscall: ScmpSyscall,
    args: &[LinuxSeccompArg],
) -> Result<(), CompileError> {
    let comparisons: Vec<ScmpArgCompare> = args.iter().map(comparison).collect::<Result<_, _>>()?;
    let indexes: std::collections::BTreeSet<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    if indexes.len() == args.len() {
        context.add_rule_conditional(action, syscall, &comparisons)?;
    } else {
        for one in &comparisons {
            context.add_rule_conditional(action, syscall, std::slice::from_ref(one))?;
        }
    }
    Ok(())
}

fn comparison(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, CompileError> {
    let index = u32::try_from(arg.index()).map_err(|error| CompileError(error.to_string()))?;
    // A masked comparison has the mask first, then what must be left (seccomp_rule_add(3)).
    let (operator, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or_default())
        }
    };
    Ok(ScmpArgCompare::new(index, operator, datum))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, CompileError> {
    let errno = errno.map_or(libc::EPERM, u32::cast_signed);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno),
        LinuxSeccompAction::ScmpActTrace => {
            ScmpAction::Trace(u16::try_from(errno).map_err(|error| CompileError(error.to_string()))?)
        }
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActNotify => return Err(CompileError("SCMP_ACT_NOTIFY is not supported".to_owned())),
    })
}

fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capabilities;

    use super::super::profile;
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// Runs a program as the kernel does (kernel: Documentation/networking/filter.rst), on a call of x86_64: its number
    /// and first argument.
    fn verdict(program: &[u8], number: i64, argument: u64) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&u32::try_from(number).unwrap().to_ne_bytes());
        data[4..8].copy_from_slice(&0xc000_003e_u32.to_ne_bytes());
        data[16..24].copy_from_slice(&argument.to_ne_bytes());
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let [c0, c1, jt, jf, k @ ..] = program.as_chunks::<8>().0[at];
            let (code, k) = (u32::from(u16::from_ne_bytes([c0, c1])), u32::from_ne_bytes(k));
            at += 1;
            let jump = match code {
                0x20 => {
                    accumulator = u32::from_ne_bytes(data[k as usize..k as usize + 4].try_into().unwrap());
                    continue;
                }
                0x54 => {
                    accumulator &= k;
                    continue;
                }
                0x05 => {
                    at += k as usize;
                    continue;
                }
                0x06 => return k,
                0x15 => accumulator == k,
                0x25 => accumulator > k,
                0x35 => accumulator >= k,
                0x45 => accumulator & k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if jump { jt } else { jf });
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_default_profile_decides_as_dockers() {
        let program = Filters::default().compile(&profile::default(&Capabilities::new())).unwrap();
        let says = |number, argument| verdict(&program, number, argument);
        assert_eq!(says(libc::SYS_read, 0), ALLOW);
        assert_eq!(says(libc::SYS_mount, 0), EPERM);
        assert_eq!(says(libc::SYS_keyctl, 0), EPERM);
        assert_eq!(says(libc::SYS_io_uring_setup, 0), EPERM);
        assert_eq!(says(libc::SYS_clone3, 0), ENOSYS);
        assert_eq!(says(libc::SYS_clone, libc::SIGCHLD as u64), ALLOW);
        assert_eq!(says(libc::SYS_clone, libc::CLONE_NEWNS as u64), EPERM);
        assert_eq!(says(libc::SYS_clone, libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64), EPERM);
        assert_eq!(says(libc::SYS_socket, libc::AF_INET as u64), ALLOW);
        assert_eq!(says(libc::SYS_socket, libc::AF_VSOCK as u64), EPERM);
        assert_eq!(says(libc::SYS_personality, 0xffff_ffff), ALLOW);
        assert_eq!(says(libc::SYS_personality, 0x0040_0000), EPERM);
    }

    #[test]
    fn a_profile_is_compiled_once() {
        let filters = Filters::default();
        let profile = profile::default(&Capabilities::new());
        let first = filters.compile(&profile).unwrap();
        assert!(Arc::ptr_eq(&first, &filters.compile(&profile).unwrap()));
    }
}
