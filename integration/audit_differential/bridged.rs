//! The same on a bridge: ports' flags, the bridge's own hooks, what goes up and is routed back.

use super::generator::{Generator, Sent};
use super::stage::{BRIDGE, Seen, Stage, load, sh};
use super::*;

#[test]
fn the_evaluator_and_the_bridge_agree() {
    let judged = std::thread::spawn(|| {
        let mut stage = Stage::new(BRIDGE);
        let mut tally = (0, 0, 0);
        for seed in 1..120 {
            one_bridge(&mut stage, seed, &mut tally);
        }
        tally
    });
    let (known, unknown, through) = judged.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    println!("known {known}, unknown {unknown}, through {through}");
    assert!(known > 1000 && unknown * 10 < known, "too little was judged: {known} known, {unknown} unknown");
    assert!(through > known / 10 && through < known * 9 / 10, "all alike proves little: {through} of {known}");
}

fn one_bridge(stage: &mut Stage, seed: u64, tally: &mut (usize, usize, usize)) {
    let mut generator = Generator::new(seed);
    let flags = [generator.port(), generator.port()];
    sh("bridge link set dev a0 $1; bridge link set dev b0 $2", &[&flags[0], &flags[1]]);
    let ruleset = load(&generator.bridge_ruleset()).unwrap();
    sh("conntrack -F 2>/dev/null", &[]);
    let kernel = snapshot::read(false).unwrap();
    let sent: Vec<Sent> = (0..20).map(|number| generator.frame(number)).collect();
    let expected: Vec<Explanation> = sent.iter().map(|sent| kernel.explain(&question(&kernel, sent))).collect();
    let seen = send(stage, &sent);
    for ((sent, expected), seen) in sent.iter().zip(&expected).zip(&seen) {
        let way = &expected.ways[0];
        let fates: HashSet<&Fate> = expected.ways.iter().map(|way| &way.fate).collect();
        if fates.len() != 1 || matches!(way.fate, Fate::Unknown(_)) {
            tally.1 += 1;
            continue;
        }
        tally.0 += 1;
        tally.2 += usize::from(matches!(way.fate, Fate::Sent { .. } | Fate::Delivered | Fate::Flooded { .. }));
        if !agrees(&kernel, sent, &way.fate, seen) {
            let ruleset = format!("a0 {}\nb0 {}\n{ruleset}", flags[0], flags[1]);
            panic!("{}", report(seed, &ruleset, sent, expected, seen, "the bridge does otherwise"));
        }
    }
}

fn agrees(kernel: &Kernel, sent: &Sent, fate: &Fate, seen: &Seen) -> bool {
    let through = |frames: &[Vec<u8>]| frames.iter().any(|frame| !is_error(frame));
    let own = |frames: &[Vec<u8>]| frames.iter().any(|frame| !is_error(frame) && is_forward(sent, frame));
    let (left, right) = (own(&seen.left), own(&seen.right));
    match fate {
        Fate::Sent { interface } if *interface == index(kernel, "a0") => left && !right && !seen.here,
        Fate::Sent { .. } => right && !left && !seen.here,
        Fate::Delivered => seen.here && !left && !right,
        Fate::Flooded { .. } => left || right || seen.here,
        _ => !through(&seen.left) && !through(&seen.right) && !seen.here,
    }
}

/// The packet itself, and no answer of the machine to it.
fn is_forward(sent: &Sent, frame: &[u8]) -> bool {
    addresses(frame) == (sent.source, sent.destination)
}
