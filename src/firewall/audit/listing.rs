//! The rules as nft prints them, by handle: what an operator sees, beside what the kernel runs.

use std::collections::HashMap;
use std::io;

/// Rules and counters of a ruleset, in nft's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// By family, table and handle.
    rules: HashMap<(String, String, u64), Listed>,
    /// Packets of named counters, by family, table and name.
    counters: HashMap<(String, String, String), u64>,
}

/// A rule in nft's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Without its handle.
    pub text: String,
    /// Packets that it has counted. Of a rule that does not count, those of the one before it in its chain.
    pub packets: Option<u64>,
}

/// What a line counts by: itself, or a counter's name.
#[derive(Clone, Debug)]
enum Counts {
    Packets(u64),
    Named(String),
}

impl Listing {
    /// Asks nft about the calling thread's network namespace, without the elements of sets. Blocking.
    pub fn read() -> io::Result<Self> {
        let listed = crate::firewall::nft_command().args(["-a", "-t", "list", "ruleset"]).output()?;
        match listed.status.success() {
            true => Ok(Self::parse(&String::from_utf8_lossy(&listed.stdout))),
            false => Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).trim().to_owned())),
        }
    }

    /// A rule.
    pub fn rule(&self, family: &str, table: &str, handle: u64) -> Option<&Listed> {
        self.rules.get(&(family.to_owned(), table.to_owned(), handle))
    }

    fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let mut pending: Vec<((String, String, u64), String)> = Vec::new();
        let (mut family, mut table) = (String::new(), String::new());
        let (mut counter, mut counts) = (None, None);
        // What is counted before any condition is all that comes into the chain, and so to its first verdict that has none.
        let mut all = None;
        for line in text.lines() {
            let (words, handle) = match line.rsplit_once(" # handle ") {
                Some((words, handle)) => (words.trim(), handle.trim().parse::<u64>().ok()),
                None => (line.trim(), None),
            };
            let head: Vec<&str> = words.split_whitespace().collect();
            match (head.as_slice(), handle) {
                (["table", of, name, "{"], _) => (family, table) = ((*of).to_owned(), (*name).to_owned()),
                (["counter", name, "{"], _) => counter = Some((*name).to_owned()),
                (["chain", ..], _) => (counts, all) = (None, None),
                (["packets", packets, ..], None) => {
                    if let (Some(name), Ok(packets)) = (counter.take(), packets.parse()) {
                        listing.counters.insert((family.clone(), table.clone(), name), packets);
                    }
                }
                (_, Some(handle)) if !words.ends_with('{') => {
                    let here = counted(&head);
                    if head.first() == Some(&"counter") && all.is_none() {
                        all.clone_from(&here);
                    }
                    counts = here.or(counts);
                    if head.iter().any(|word| VERDICTS.contains(word)) {
                        let whole = all.take();
                        counts = counts.or(whole.filter(|_| head.first().is_some_and(|word| VERDICTS.contains(word))));
                    }
                    let key = (family.clone(), table.clone(), handle);
                    let packets = match &counts {
                        Some(Counts::Packets(packets)) => Some(*packets),
                        Some(Counts::Named(name)) => {
                            pending.push((key.clone(), name.clone()));
                            None
                        }
                        None => None,
                    };
                    listing.rules.insert(key, Listed { text: words.to_owned(), packets });
                    // Beyond the next rule it says nothing any more.
                    if counted(&head).is_none() {
                        counts = None;
                    }
                }
                _ => {}
            }
        }
        for ((family, table, handle), name) in pending {
            let packets = listing.counters.get(&(family.clone(), table.clone(), name)).copied();
            if let Some(rule) = listing.rules.get_mut(&(family, table, handle)) {
                rule.packets = packets;
            }
        }
        listing
    }
}

/// What ends a packet's way through a chain.
const VERDICTS: &[&str] = &["accept", "drop", "reject", "return", "goto", "jump", "queue"];

fn counted(words: &[&str]) -> Option<Counts> {
    let at = words.iter().position(|word| *word == "counter")?;
    match words.get(at + 1..at + 3)? {
        ["packets", packets] => packets.parse().ok().map(Counts::Packets),
        ["name", name] => Some(Counts::Named(name.trim_matches('"').to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_handle_with_what_was_counted() {
        let listing = Listing::parse(
            "table inet t { # handle 2\n\tcounter icc { # handle 19\n\t\tpackets 7 bytes 420\n\t}\n\n\
             \tchain icc { # handle 20\n\t\tcounter name \"icc\" log comment \"x # handle 3\" # handle 21\n\
             \t\tdrop comment \"all\" # handle 22\n\t\taccept # handle 23\n\t}\n}\n\
             table ip u { # handle 3\n\tchain f { # handle 1\n\t\ttype filter hook forward priority 0; policy accept;\n\
             \t\ttcp dport 80 counter packets 5 bytes 9 drop # handle 4\n\t}\n}\n",
        );
        let packets = |family, table, handle| listing.rule(family, table, handle).map(|rule| rule.packets);
        assert_eq!(packets("inet", "t", 21), Some(Some(7)));
        assert_eq!(packets("inet", "t", 22), Some(Some(7)), "the rule before it counts for it");
        assert_eq!(packets("inet", "t", 23), Some(None));
        assert_eq!(packets("ip", "u", 4), Some(Some(5)));
        assert_eq!(packets("inet", "t", 20), None, "a chain is no rule");
        assert_eq!(listing.rule("inet", "t", 22).expect("it is there").text, "drop comment \"all\"");
    }
}
