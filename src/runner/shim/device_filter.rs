//! Which devices a container may use, on a machine with cgroups of version 2 alone.
//!
//! Version 1 has a controller for it, which libcontainer sets up. In version 2 a program attached to the cgroup decides
//! (kernel: Documentation/admin-guide/cgroup-v2.rst, "Device controller"): it sees type, access and number, and answers
//! 1 or 0.

use std::fs::File;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::sys::bpf::{self, Instruction};

/// Attaches a filter for `rules` to the version 2 cgroup at `dir`.
pub(super) fn attach(rules: &[LinuxDeviceCgroup], dir: &Path) -> io::Result<()> {
    let program = bpf::load_device_filter(&program(rules))?;
    bpf::attach_device_filter(&File::open(dir)?.into(), &program)
}

// Registers and operations (kernel: Documentation/bpf/standardization/instruction-set.rst).
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const COPY: u8 = 0xbc;
const SET: u8 = 0xb4;
const JUMP_UNEQUAL: u8 = 0x56;
const JUMP_UNEQUAL_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

/// The program: the last rule that matches decides, as in version 1; none matches: denied.
fn program(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    let one = |code, to, from, value| Instruction { code, to, from, offset: 0, value };
    // struct bpf_cgroup_dev_ctx: access in the upper, type in the lower half of the first word; then the number.
    let load = |to, offset| Instruction { code: LOAD_WORD, to, from: CONTEXT, offset, value: 0 };
    let mut program = vec![
        load(TYPE, 0),
        load(MAJOR, 4),
        load(MINOR, 8),
        one(COPY, ACCESS, TYPE, 0),
        one(SHIFT_RIGHT, ACCESS, 0, 16),
        one(AND, TYPE, 0, 0xffff),
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        match rule.typ().unwrap_or_default() {
            LinuxDeviceType::B => tests.push(one(JUMP_UNEQUAL, TYPE, 0, 1)),
            LinuxDeviceType::C | LinuxDeviceType::U => tests.push(one(JUMP_UNEQUAL, TYPE, 0, 2)),
            LinuxDeviceType::A => {}
            // No device: nothing asks about it.
            LinuxDeviceType::P => continue,
        }
        // Everything that is asked for must be in the rule.
        tests.push(one(COPY, SCRATCH, ACCESS, 0));
        tests.push(one(AND, SCRATCH, 0, access(rule)));
        tests.push(one(JUMP_UNEQUAL_REGISTER, SCRATCH, ACCESS, 0));
        for (register, number) in [(MAJOR, rule.major()), (MINOR, rule.minor())] {
            if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
                tests.push(one(JUMP_UNEQUAL, register, 0, number));
            }
        }
        tests.push(one(SET, R0, 0, i32::from(rule.allow())));
        tests.push(one(EXIT, 0, 0, 0));
        let end = tests.len();
        for (at, test) in tests.iter_mut().enumerate() {
            if matches!(test.code, JUMP_UNEQUAL | JUMP_UNEQUAL_REGISTER) {
                // A rule has eight instructions at most.
                test.offset = i16::try_from(end - at - 1).unwrap_or(i16::MAX);
            }
        }
        program.extend(tests);
    }
    program.extend([one(SET, R0, 0, 0), one(EXIT, 0, 0, 0)]);
    program
}

/// BPF_DEVCG_ACC_MKNOD, _READ, _WRITE.
fn access(rule: &LinuxDeviceCgroup) -> i32 {
    let letters = rule.access().as_deref().unwrap_or_default();
    [('m', 1), ('r', 2), ('w', 4)].into_iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, bit)| bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, typ: LinuxDeviceType, number: Option<(i64, i64)>, access: &str) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow).set_typ(Some(typ)).set_access(Some(access.to_owned()));
        rule.set_major(number.map(|number| number.0)).set_minor(number.map(|number| number.1));
        rule
    }

    /// Runs a program on a question, as the kernel would.
    fn answer(program: &[Instruction], typ: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | typ, major, minor];
        let mut registers = [0i32; 6];
        let mut at = 0usize;
        loop {
            let Instruction { code, to, from, offset, value } = program[at];
            let (to, from) = (usize::from(to), usize::from(from));
            at += 1;
            let jump = match code {
                LOAD_WORD => {
                    registers[to] = context[usize::try_from(offset).unwrap() / 4];
                    false
                }
                AND => {
                    registers[to] &= value;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                SET => {
                    registers[to] = value;
                    false
                }
                JUMP_UNEQUAL => registers[to] != value,
                JUMP_UNEQUAL_REGISTER => registers[to] != registers[from],
                EXIT => return registers[0],
                other => panic!("instruction {other:#x}"),
            };
            if jump {
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    #[test]
    fn the_last_matching_rule_decides() {
        use LinuxDeviceType::{A, B, C};
        let program = program(&[
            rule(false, A, None, "rwm"),
            rule(true, C, None, "m"),
            rule(true, C, Some((1, 3)), "rwm"),
            rule(true, B, Some((8, 0)), "r"),
        ]);
        let (block, character) = (1, 2);
        assert_eq!(answer(&program, character, 6, 1, 3), 1);
        assert_eq!(answer(&program, character, 1, 99, 9), 1);
        assert_eq!(answer(&program, character, 3, 99, 9), 0);
        assert_eq!(answer(&program, block, 2, 8, 0), 1);
        assert_eq!(answer(&program, block, 6, 8, 0), 0);
        assert_eq!(answer(&program, block, 2, 8, 1), 0);
        assert_eq!(answer(&super::program(&[rule(true, A, None, "rwm")]), block, 7, 8, 1), 1);
        assert_eq!(answer(&super::program(&[]), block, 2, 8, 1), 0);
    }
}
