//! The audit's evaluator against the kernel: random rulesets, random packets really sent, and their answers.
//!
//! `PONTOON_DIFFERENTIAL_SEED` and `PONTOON_DIFFERENTIAL_RULESETS` choose where it begins and how long it goes on.

mod bridged;
#[expect(unreachable_pub, reason = "modules that want to be read, not a crate")]
mod generator;
mod iptables;
#[expect(unreachable_pub, reason = "modules that want to be read, not a crate")]
mod stage;

use std::collections::HashSet;
use std::net::IpAddr;

use generator::{Generator, Sent};
use pontoon::firewall::audit::bytecode::{Expression, Ruleset, Verdict};
use pontoon::firewall::audit::{Content, Entry, Explanation, Fate, Kernel, Packet, Transport, snapshot};
use stage::{A, B, LEFT, RIGHT, ROUTER, Seen, Side, Stage, load};

use crate::harness::packets::frame::{IPV4, IPV6, Ipv4, Token, ethernet, icmpv6, ipv6};

const PACKETS: u16 = 24;

#[test]
fn the_evaluator_and_the_kernel_agree() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let first = number("PONTOON_DIFFERENTIAL_SEED", 1);
    let count = number("PONTOON_DIFFERENTIAL_RULESETS", 120);
    let judged = std::thread::spawn(move || {
        let mut tally = Tally::default();
        let mut stage = Stage::new(ROUTER);
        for seed in first..first + count {
            one_ruleset(&mut stage, seed, &mut tally, |_| {}).unwrap_or_else(|why| panic!("{why}"));
        }
        tally
    });
    let tally = judged.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    println!("{tally:?}");
    let packets = tally.known + tally.unknown;
    assert!(packets > count as usize * 10, "too few packets were judged: {tally:?}");
    assert!(tally.unknown * 8 < packets, "too much is unknown: {tally:?}");
    assert!(tally.through > packets / 10 && tally.through < packets * 9 / 10, "all alike proves little: {tally:?}");
    assert!(tally.answers > packets / 20, "too few answers were judged: {tally:?}");
    assert!(tally.refused * 10 < count as usize, "nft refuses too many rulesets: {tally:?}");
}

/// What is wrong, and how.
type Wrong = (&'static str, fn(&mut Ruleset));

/// The control: an evaluator that is wrong in one way is found out.
#[test]
fn an_evaluator_that_is_wrong_is_found_out() {
    let wrong: [Wrong; 4] = [
        ("drop does nothing", |ruleset| each(ruleset, |e| replace(e, Verdict::Drop, Verdict::Continue))),
        ("return goes on", |ruleset| each(ruleset, |e| replace(e, Verdict::Return, Verdict::Continue))),
        ("nothing is translated", |ruleset| {
            each(ruleset, |e| {
                if matches!(e, Expression::Nat { .. }) {
                    *e = Expression::Verdict(Verdict::Accept);
                }
            });
        }),
        ("ranges begin one later", |ruleset| {
            for set in ruleset.tables.iter_mut().flat_map(|table| &mut table.sets).filter(|set| set.interval) {
                for element in set.elements.iter_mut().filter(|element| !element.ends && element.last.is_none()) {
                    if let Some(last) = element.key.last_mut() {
                        *last = last.wrapping_add(1);
                    }
                }
            }
        }),
    ];
    let found = std::thread::spawn(move || {
        let mut stage = Stage::new(ROUTER);
        wrong.map(|(name, wrong)| {
            let caught = (1..60).any(|seed| one_ruleset(&mut stage, seed, &mut Tally::default(), wrong).is_err());
            (name, caught)
        })
    });
    let found = found.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    assert!(found.iter().all(|(_, caught)| *caught), "not all of these were found out: {found:?}");
}

fn each(ruleset: &mut Ruleset, change: impl Fn(&mut Expression)) {
    let rules = ruleset.tables.iter_mut().flat_map(|table| &mut table.chains).flat_map(|chain| &mut chain.rules);
    rules.flat_map(|rule| &mut rule.expressions).for_each(change);
}

fn replace(expression: &mut Expression, from: Verdict, to: Verdict) {
    if *expression == Expression::Verdict(from) {
        *expression = Expression::Verdict(to);
    }
}

#[derive(Debug, Default)]
struct Tally {
    known: usize,
    unknown: usize,
    through: usize,
    answers: usize,
    refused: usize,
}

/// Loads a random ruleset, sends random packets and the answers to them, and compares; `Err` tells where the kernel and
/// an evaluator that sees the rules through `wrong` differ.
fn one_ruleset(stage: &mut Stage, seed: u64, tally: &mut Tally, wrong: impl Fn(&mut Ruleset)) -> Result<(), String> {
    let mut generator = Generator::new(seed);
    let text = generator.ruleset();
    let ruleset = match load(&text) {
        Ok(ruleset) => ruleset,
        Err(complaint) => {
            println!("seed {seed}: {complaint}\n{text}");
            tally.refused += 1;
            return Ok(());
        }
    };
    judge_loaded(stage, seed, &mut generator, &ruleset, tally, wrong)
}

/// The same, of rules that are loaded already.
fn judge_loaded(
    stage: &mut Stage,
    seed: u64,
    generator: &mut Generator,
    ruleset: &str,
    tally: &mut Tally,
    wrong: impl Fn(&mut Ruleset),
) -> Result<(), String> {
    stage::sh("conntrack -F 2>/dev/null", &[]);
    let read = snapshot::read(false).unwrap();
    let mut rules = read.ruleset().clone();
    wrong(&mut rules);
    let kernel = Kernel::new(rules, read.network().clone());
    // Two flows that translation could make one would be told apart by other source ports, which nobody foresees.
    let mut ports = HashSet::new();
    let mut sent: Vec<Sent> = (0..PACKETS).map(|number| generator.packet(number)).collect();
    sent.retain(|packet| ports.insert(source_port(packet)));
    let questions: Vec<Packet> = sent.iter().map(|packet| question(&kernel, packet)).collect();
    let expected: Vec<Explanation> = questions.iter().map(|packet| kernel.explain(packet)).collect();
    let seen = send(stage, &sent);
    let quiet = !ruleset.contains("hook postrouting");
    let mut answers = Vec::new();
    for ((sent, expected), seen) in sent.iter().zip(&expected).zip(&seen) {
        match compare(sent, expected, seen, &kernel, quiet) {
            Ok(true) => tally.known += 1,
            Ok(false) => tally.unknown += 1,
            Err(why) => return Err(report(seed, ruleset, sent, expected, seen, &why)),
        }
        if matches!(expected.ways[0].fate, Fate::Sent { .. } | Fate::Delivered) {
            tally.through += 1;
        }
        if expected.ways.len() == 1
            && let Some((packet, flow)) = expected.answer()
            && let Some(sent) = answer_of(&kernel, &packet, sent.echo)
        {
            answers.push((sent, kernel.explain_in(&packet, &flow)));
        }
    }
    let sent: Vec<Sent> = answers.iter().map(|(sent, _)| sent.clone()).collect();
    let seen = send(stage, &sent);
    for ((sent, expected), seen) in answers.iter().zip(&seen) {
        match compare(sent, expected, seen, &kernel, false) {
            Ok(known) => tally.answers += usize::from(known),
            Err(why) => return Err(format!("an answer: {}", report(seed, ruleset, sent, expected, seen, &why))),
        }
    }
    Ok(())
}

fn report(seed: u64, ruleset: &str, sent: &Sent, expected: &Explanation, seen: &Seen, why: &str) -> String {
    let way = &expected.ways[0];
    let steps: Vec<String> = way.steps.iter().map(|step| format!("  {step:?}")).collect();
    format!(
        "seed {seed}: {why}\n{ruleset}\npacket {sent:?}\nexpected {:?} {:?}, assuming {:?}\n{}\nseen left {} right {} here {}",
        expected.judgement,
        way.fate,
        way.assuming,
        steps.join("\n"),
        seen.left.len(),
        seen.right.len(),
        seen.here
    )
}

fn index(kernel: &Kernel, name: &str) -> u32 {
    kernel.network().named(name).unwrap().index
}

fn question(kernel: &Kernel, sent: &Sent) -> Packet {
    let (name, source) = match sent.side {
        Side::Left => ("a0", LEFT),
        Side::Right => ("b0", RIGHT),
    };
    Packet {
        entry: Entry::Interface(index(kernel, name)),
        source_mac: Some(source),
        destination_mac: Some(sent.to),
        vlan: None,
        content: Content::Ip { source: sent.source, destination: sent.destination, transport: sent.transport },
    }
}

/// An answer that comes from a wire; what the router itself answers is its own affair.
fn answer_of(kernel: &Kernel, packet: &Packet, echo: u16) -> Option<Sent> {
    let Entry::Interface(entry) = packet.entry else { return None };
    let side = if entry == index(kernel, "a0") { Side::Left } else { Side::Right };
    let Content::Ip { source, destination, transport } = packet.content else { return None };
    let to = if side == Side::Left { A } else { B };
    Some(Sent { side, to, source, destination, transport, echo })
}

fn send(stage: &mut Stage, sent: &[Sent]) -> Vec<Seen> {
    let tokens: Vec<Token> = sent.iter().map(|_| Token::new()).collect();
    let frames: Vec<(Side, Vec<u8>)> =
        sent.iter().zip(&tokens).map(|(sent, token)| (sent.side, frame(sent, *token))).collect();
    stage.exchange(&frames, |bytes| tokens.iter().position(|token| token.is_in(bytes)))
}

fn frame(sent: &Sent, token: Token) -> Vec<u8> {
    let (from, to) = (if sent.side == Side::Left { LEFT } else { RIGHT }, sent.to);
    match (sent.source, sent.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let ip = Ipv4::new(source, destination);
            let packet = match sent.transport {
                Transport::Tcp { source, destination, flags } => {
                    ip.tcp(source.unwrap(), destination.unwrap(), flags, &token.0)
                }
                Transport::Udp { source, destination } => ip.udp(source.unwrap(), destination.unwrap(), &token.0),
                Transport::Icmp { kind, code } => ip.icmp(kind, code, echo(sent), &token.0),
                Transport::Other(protocol) => ip.carrying(protocol, &token.0),
            };
            ethernet(from, to, IPV4, &packet)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let packet = match sent.transport {
                Transport::Icmp { kind, .. } => icmpv6(source, destination, kind, echo(sent), &token.0),
                Transport::Tcp { .. } | Transport::Udp { .. } => {
                    let (protocol, segment) = segment(sent, token);
                    ipv6(source, destination, protocol, &segment)
                }
                Transport::Other(protocol) => ipv6(source, destination, protocol, &token.0),
            };
            ethernet(from, to, IPV6, &packet)
        }
        _ => panic!("addresses of one family"),
    }
}

/// An echo's identifier and number.
fn echo(sent: &Sent) -> [u8; 4] {
    let [high, low] = sent.echo.to_be_bytes();
    [high, low, 0, 1]
}

fn source_port(sent: &Sent) -> (u8, u16) {
    match sent.transport {
        Transport::Tcp { source, .. } => (6, source.unwrap()),
        Transport::Udp { source, .. } => (17, source.unwrap()),
        _ => (1, sent.echo),
    }
}

/// A segment or datagram over IPv6, with its checksum.
fn segment(sent: &Sent, token: Token) -> (u8, Vec<u8>) {
    let (protocol, mut bytes, at) = match sent.transport {
        Transport::Tcp { source, destination, flags } => {
            let ports = [source.unwrap().to_be_bytes(), destination.unwrap().to_be_bytes()].concat();
            let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
            (6, [&ports, &rest[..], &token.0].concat(), 16)
        }
        Transport::Udp { source, destination } => {
            let ports = [source.unwrap().to_be_bytes(), destination.unwrap().to_be_bytes()].concat();
            (17, [&ports, &[0, 24, 0, 0][..], &token.0].concat(), 6)
        }
        _ => panic!("a protocol with ports"),
    };
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (sent.source, sent.destination) else { panic!("IPv6") };
    let length = (bytes.len() as u32).to_be_bytes();
    let sum = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, protocol], &bytes].concat();
    let mut total: u32 =
        sum.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!(total as u16)).to_be_bytes());
    (protocol, bytes)
}

/// Whether what was seen is what was expected; `Ok(false)` where nothing was.
fn compare(sent: &Sent, expected: &Explanation, seen: &Seen, kernel: &Kernel, quiet: bool) -> Result<bool, String> {
    let fates: HashSet<&Fate> = expected.ways.iter().map(|way| &way.fate).collect();
    if fates.len() != 1 || matches!(expected.ways[0].fate, Fate::Unknown(_)) {
        return Ok(false);
    }
    let way = &expected.ways[0];
    let (back, across) = if sent.side == Side::Left { (&seen.left, &seen.right) } else { (&seen.right, &seen.left) };
    // An answer of the router's own, which quotes the packet, is no packet that came through.
    let through = |frames: &[Vec<u8>]| frames.iter().filter(|frame| !is_error(frame)).count();
    let out = match way.fate {
        Fate::Sent { interface } => Some(if interface == index(kernel, "a0") { Side::Left } else { Side::Right }),
        _ => None,
    };
    let counts = (through(&seen.left), through(&seen.right), seen.here);
    let wanted =
        (usize::from(out == Some(Side::Left)), usize::from(out == Some(Side::Right)), way.fate == Fate::Delivered);
    // What the router has for itself it may answer, from an echo to a reset.
    let delivered = wanted.2 && counts.2 && through(across) == 0;
    if counts != wanted && !delivered {
        return Err(format!("seen left, right, here: {counts:?}; expected {wanted:?}"));
    }
    if let (Fate::Rejected(_), true, Transport::Udp { .. }) = (&way.fate, quiet, sent.transport)
        && !back.iter().any(|frame| is_error(frame))
    {
        return Err("the sender was not told".to_owned());
    }
    // Where something is open, the ways may differ in what the packet becomes.
    if let (Some(_), Some(flow), 1) = (out, &way.flow, expected.ways.len()) {
        let frames = if out == Some(Side::Left) { &seen.left } else { &seen.right };
        let frame = frames.iter().find(|frame| !is_error(frame)).unwrap();
        let (source, destination) = addresses(frame);
        let mut wanted = if flow.reply { flow.original } else { flow.answer };
        std::mem::swap(&mut wanted.source, &mut wanted.destination);
        if (source, destination) != (wanted.source.0, wanted.destination.0) {
            return Err(format!("it came as {source} to {destination}, expected {wanted:?}"));
        }
    }
    Ok(true)
}

/// An ICMP error, which quotes what it complains about.
fn is_error(frame: &[u8]) -> bool {
    match u16::from_be_bytes([frame[12], frame[13]]) {
        IPV4 => frame[14 + 9] == 1 && matches!(frame[14 + 20], 3 | 5 | 11),
        _ => frame[14 + 6] == 58 && frame[14 + 40] < 128,
    }
}

fn addresses(frame: &[u8]) -> (IpAddr, IpAddr) {
    let ip = |at: usize, length: usize| -> IpAddr {
        let bytes = &frame[14 + at..14 + at + length];
        match length {
            4 => <[u8; 4]>::try_from(bytes).unwrap().into(),
            _ => <[u8; 16]>::try_from(bytes).unwrap().into(),
        }
    };
    match u16::from_be_bytes([frame[12], frame[13]]) {
        IPV4 => (ip(12, 4), ip(16, 4)),
        _ => (ip(8, 16), ip(24, 16)),
    }
}
