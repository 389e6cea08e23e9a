//! Programs for the kernel: what a probe's sockets hear, and which datagrams no program of a user's gets.

use ipnetwork::Ipv4Network;

use super::packet::{EXPIRED, ICMP, IPV4, TCP, UDP, UNREACHABLE};
use super::token::Run;
use crate::sys::bpf;
use crate::sys::socket::Instruction;

// Classic BPF (kernel: Documentation/networking/filter.rst).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
/// X becomes the length of the IP header at an offset.
const HEADER_LENGTH: u16 = 0xb1;
const LOAD_BYTE_BEYOND: u16 = 0x50;
const LOAD_HALF_BEYOND: u16 = 0x48;
const LOAD_WORD_BEYOND: u16 = 0x40;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Bytes of a packet that are looked at.
pub(super) const LOOK: usize = 256;

/// Lets through what one run's probes send and are answered, and errors about anything: so that a busy host does not
/// fill the sockets' queues. At a wire whole frames are heard, and all that are not IPv4; elsewhere IPv4 packets.
pub(super) fn hearing(run: Run, wire: bool) -> Vec<Instruction> {
    let (magic, half) = run.magic();
    let start = if wire { 14 } else { 0 };
    let one = |code, value| Instruction { code, yes: 0, no: 0, value };
    let equal = |value: u32, yes, no| Instruction { code: EQUAL, yes, no, value };
    let through = one(RETURN, LOOK as u32);
    let not = one(RETURN, 0);
    // Each part ends by itself; a comparison that fails passes over it.
    let tcp = [
        one(LOAD_HALF_BEYOND, start + 4),
        equal(half.into(), 2, 0),
        one(LOAD_HALF_BEYOND, start + 8),
        equal(half.into(), 0, 1),
        through,
        not,
    ];
    let udp = [one(LOAD_WORD_BEYOND, start + 8), equal(magic, 0, 1), through, not];
    let icmp = [
        one(LOAD_BYTE_BEYOND, start),
        equal(UNREACHABLE.into(), 3, 0),
        equal(EXPIRED.into(), 2, 0),
        one(LOAD_WORD_BEYOND, start + 8),
        equal(magic, 0, 1),
        through,
        not,
    ];
    let mut program = Vec::new();
    if wire {
        program.extend([one(LOAD_HALF, 12), equal(IPV4.into(), 1, 0), through]);
    }
    program.extend([one(HEADER_LENGTH, start), one(LOAD_BYTE, start + 9)]);
    for (protocol, part) in [(TCP, &tcp[..]), (UDP, &udp), (ICMP, &icmp)] {
        program.push(equal(protocol.into(), 0, part.len() as u8));
        program.extend(part);
    }
    program.push(not);
    program
}

// eBPF (kernel: Documentation/bpf/standardization/instruction-set.rst).
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 2;
const WORD: u8 = 0x61;
const HALF: u8 = 0x69;
const AND: u8 = 0x54;
const UNEQUAL: u8 = 0x56;
const SET: u8 = 0xb4;
const EXIT: u8 = 0x95;
// struct bpf_sk_lookup (linux/bpf.h).
const PROTOCOL: i16 = 12;
const REMOTE_ADDRESS: i16 = 16;
const REMOTE_PORT: i16 = 36;

/// Takes datagrams from these ports, of these addresses, away from whatever program they are for: to the kernel it is as
/// if nobody had the port open. Everything else goes where it goes.
pub(super) fn nobodys(ports: impl IntoIterator<Item = u16>, of: Option<Ipv4Network>) -> Vec<bpf::Instruction> {
    let one = |code, to, from, offset, value| bpf::Instruction { code, to, from, offset, value };
    let end = |verdict| [one(SET, R0, 0, 0, verdict), one(EXIT, 0, 0, 0, 0)];
    let (drop, pass) = (end(0), end(1));
    let mut program = vec![one(WORD, SCRATCH, CONTEXT, PROTOCOL, 0)];
    // An equal comparison goes past the end that follows it: "unless it is so, pass".
    let unless = |program: &mut Vec<_>, value: u32| {
        program.push(one(UNEQUAL, SCRATCH, 0, 1, value.cast_signed()));
        // Jumps over the two instructions of `pass`.
        program.push(one(0x05, 0, 0, 2, 0));
        program.extend(pass);
    };
    unless(&mut program, UDP.into());
    if let Some(network) = of {
        let native = |address: std::net::Ipv4Addr| u32::from_ne_bytes(address.octets());
        program.push(one(WORD, SCRATCH, CONTEXT, REMOTE_ADDRESS, 0));
        program.push(one(AND, SCRATCH, 0, 0, native(network.mask()).cast_signed()));
        unless(&mut program, native(network.network()));
    }
    program.push(one(HALF, SCRATCH, CONTEXT, REMOTE_PORT, 0));
    for port in ports {
        program.push(one(UNEQUAL, SCRATCH, 0, 2, i32::from(port.to_be())));
        program.extend(drop);
    }
    program.extend(pass);
    program
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::super::packet;
    use super::*;

    /// What a classic program answers: as much of the machine as ours use.
    fn run(program: &[Instruction], packet: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_usize, 0);
        let load = |at: usize, size: usize| {
            packet.get(at..at + size).map(|bytes| bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        };
        loop {
            let Instruction { code, yes, no, value } = program[at];
            let place = value as usize;
            let loaded = match code {
                LOAD_BYTE => load(place, 1),
                LOAD_HALF => load(place, 2),
                LOAD_BYTE_BEYOND => load(x + place, 1),
                LOAD_HALF_BEYOND => load(x + place, 2),
                LOAD_WORD_BEYOND => load(x + place, 4),
                HEADER_LENGTH => load(place, 1).inspect(|byte| x = (byte & 0xf) as usize * 4).map(|_| a),
                EQUAL => {
                    at += usize::from(if a == value { yes } else { no });
                    Some(a)
                }
                RETURN => return value,
                _ => panic!("{code:#x} is not of ours"),
            };
            // What lies beyond the packet ends the program.
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
            at += 1;
        }
    }

    #[test]
    fn only_the_runs_own_is_heard() {
        const A: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
        const B: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
        let (from, to) = (SocketAddrV4::new(A, 1), SocketAddrV4::new(B, 2));
        let (ours, others) = (Run::of(0xaaaa_5555), Run::of(0x1234_5678));
        let of = |run: Run| {
            let token = run.token(9);
            let mut answer = packet::syn(to, from, Run::of(0).token(0));
            answer[28..32].copy_from_slice(&(token.sequence() + 1).to_be_bytes());
            let payload = token.payload();
            [packet::syn(from, to, token), answer, packet::udp(from, to, &payload), packet::echo(A, B, 1, &payload)]
        };
        for (wire, program) in [(false, hearing(ours, false)), (true, hearing(ours, true))] {
            let hears = |packet: &[u8]| {
                let frame = packet::ethernet([2; 6], [4; 6], IPV4, packet);
                run(&program, if wire { &frame } else { packet }) > 0
            };
            assert!(of(ours).iter().all(|packet| hears(packet)), "{wire}");
            assert!(!of(others).iter().any(|packet| hears(packet)), "{wire}");
            let mut error = packet::echo(B, A, 0, &of(ours)[0]);
            error[20] = UNREACHABLE;
            assert!(hears(&error));
        }
        let frame = packet::ethernet([2; 6], [4; 6], packet::EXPERIMENTAL, b"anything");
        assert!(run(&hearing(ours, true), &frame) > 0);
    }
}
