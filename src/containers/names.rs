//! Names for containers that were given none: an adjective and the surname of someone who made networks what they are.

use crate::model::{ContainerId, ContainerName};

const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "ample", "brave", "brisk", "calm", "candid", "clever", "cosmic", "crisp", "daring",
    "deft", "eager", "early", "earnest", "fair", "fleet", "fond", "frank", "gentle", "glad", "golden", "grand",
    "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "merry", "mighty",
    "modest", "neat", "noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "ready", "serene",
    "sharp", "silent", "simple", "sincere", "steady", "sturdy", "sunny", "swift", "tidy", "trusty", "upbeat", "vivid",
    "warm", "wise", "witty", "zesty",
];

const SURNAMES: &[&str] = &[
    "baran",
    "bellovin",
    "bernerslee",
    "braden",
    "cailliau",
    "cerf",
    "cheshire",
    "clark",
    "cohen",
    "crocker",
    "davies",
    "deering",
    "diffie",
    "dijkstra",
    "donelan",
    "elgamal",
    "engelbart",
    "estrin",
    "feinler",
    "floyd",
    "hamilton",
    "handley",
    "hellman",
    "hinden",
    "holberton",
    "hopper",
    "huitema",
    "jacobson",
    "kahn",
    "karels",
    "karn",
    "kirstein",
    "kleinrock",
    "klensin",
    "lamarr",
    "lamport",
    "licklider",
    "liskov",
    "lovelace",
    "lynch",
    "malkin",
    "mccanne",
    "merkle",
    "metcalfe",
    "mills",
    "mockapetris",
    "moy",
    "nagle",
    "partridge",
    "paxson",
    "perlman",
    "postel",
    "pouzin",
    "rekhter",
    "ritchie",
    "roberts",
    "saltzer",
    "schulzrinne",
    "shannon",
    "shoch",
    "sunshine",
    "thompson",
    "varghese",
    "zimmermann",
];

/// A name that follows from the id, and from `attempt` when the first was taken.
pub(super) fn generate(id: &ContainerId, attempt: usize) -> Option<ContainerName> {
    // The id is random, so its bytes are as good a source as any; attempts walk on from there.
    let seed = usize::from_str_radix(id.as_str().get(..8)?, 16).ok()?.wrapping_add(attempt.wrapping_mul(7919));
    let adjective = ADJECTIVES.get(seed % ADJECTIVES.len())?;
    let surname = SURNAMES.get(seed / ADJECTIVES.len() % SURNAMES.len())?;
    let name = match attempt {
        0..20 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{attempt}"),
    };
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_valid_and_attempts_differ() {
        let id = ContainerId::from_bytes([7; 32]);
        let names: std::collections::BTreeSet<_> = (0..100).filter_map(|n| generate(&id, n)).collect();
        assert!(names.len() > 90, "{names:?}");
        for (adjective, surname) in ADJECTIVES.iter().zip(SURNAMES) {
            format!("{adjective}_{surname}").parse::<ContainerName>().unwrap();
        }
    }
}
