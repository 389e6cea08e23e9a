//! The same with rules of iptables-nft, as ufw, Docker and Kubernetes write them: matches and targets that nf_tables
//! runs as they are.

use super::stage::sh;
use super::*;

const LOAD: &str = "
nft flush ruleset
{ printf %s \"$1\" | iptables-nft-restore && printf %s \"$2\" | ip6tables-nft-restore; } 2>&1 || echo refused
";

#[test]
fn the_evaluator_and_iptables_agree() {
    let judged = std::thread::spawn(|| {
        let mut stage = Stage::new(ROUTER);
        let mut tally = Tally::default();
        for seed in 1..50 {
            let mut generator = Generator::new(seed);
            let (v4, v6) = (generator.iptables(false), generator.iptables(true));
            let text = format!("{v4}{v6}");
            let loaded = sh(LOAD, &[&v4, &v6]);
            if loaded.contains("refused") {
                println!("seed {seed}: {loaded}\n{text}");
                tally.refused += 1;
                continue;
            }
            judge_loaded(&mut stage, seed, &mut generator, &text, &mut tally, |_| {})
                .unwrap_or_else(|why| panic!("{why}"));
        }
        tally
    });
    let tally = judged.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    println!("{tally:?}");
    assert!(tally.refused < 10, "iptables refuses too much: {tally:?}");
    assert!(tally.refused < 10, "iptables refuses too much: {tally:?}");
    assert!(tally.known > 700 && tally.unknown * 5 < tally.known, "too little was judged: {tally:?}");
    assert!(tally.through > 100 && tally.answers > 20, "all alike proves little: {tally:?}");
}
