//! The chain of the history: each entry's hash is over the entry and the hash of the one before. Pure.
//!
//! An entry's hash is SHA-256 over seven fields, each written as a netstring (`LENGTH:BYTES,`, the length in decimal): the
//! words `pontoon history 1`, the hash of the entry before (64 zeros if there is none), its number, its time in
//! nanoseconds since 1970, and the texts of origin, change and delta as they are stored, to the byte. So nothing depends
//! on how this version or another would write the same JSON.
//!
//! The oldest entry is number 1 and stands on the zeros, or else an entry of kind `prune` says which was the newest of those
//! that were taken out, and its hash.

use sha2::{Digest as _, Sha256};

use crate::model::audit::{Break, Chain, Happening, Head, Verified};

/// What the first entry stands on.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since 1970 UTC.
    pub time: i64,
    /// JSON of [`crate::model::audit::Origin`].
    pub origin: String,
    /// JSON of [`Happening`].
    pub change: String,
    /// JSON of [`crate::model::audit::Delta`].
    pub delta: String,
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// What it says.
    pub line: Line,
    /// The hash of the entry before.
    pub previous: String,
    /// Its hash.
    pub hash: String,
}

/// The hash of an entry in its place.
pub(super) fn hash(previous: &str, seq: u64, line: &Line) -> String {
    let (seq, time) = (seq.to_string(), line.time.to_string());
    let mut sha = Sha256::new();
    for field in ["pontoon history 1", previous, &seq, &time, &line.origin, &line.change, &line.delta] {
        sha.update(format!("{}:", field.len()));
        sha.update(field);
        sha.update(",");
    }
    hex::encode(sha.finalize())
}

/// Looks at all entries, the oldest first, and says whether they are what was written.
#[derive(Debug, Default)]
pub struct Checker {
    chain: Chain,
    /// The oldest entry, by what it stands on.
    first: Option<(u64, String)>,
    /// The newest entry that was taken out, by the newest entry that tells of it.
    pruned: Option<(u64, String)>,
    /// What the daemon knew to have written last before it was looked.
    written: Option<Head>,
}

impl Checker {
    /// `written` is what the daemon knows to have written last before the entries are read, and `verify` a hash that an operator kept.
    pub fn new(written: Option<Head>, verify: Option<String>) -> Self {
        let verified = verify.map(|hash| Verified { hash, entry: None });
        Self { chain: Chain { verified, ..Chain::default() }, written, ..Self::default() }
    }

    /// The next entry.
    pub fn row(&mut self, row: &Row) {
        self.follows(row);
        if hash(&row.previous, row.seq, &row.line) != row.hash {
            self.broken(row.seq, format!("entry {} was altered: its hash is not that of what it says", row.seq));
        }
        match serde_json::from_str(&row.line.change) {
            Ok(Happening::Prune { through, hash, .. }) => self.pruned = Some((through, hash)),
            Ok(_) => {}
            Err(error) => self.broken(row.seq, format!("entry {} cannot be read: {error}", row.seq)),
        }
        if self.written.as_ref().is_some_and(|written| written.entry == row.seq && written.hash != row.hash) {
            self.broken(row.seq, format!("entry {} is not the one that the daemon has written", row.seq));
        }
        self.chain.entries += 1;
        self.first.get_or_insert_with(|| (row.seq, row.previous.clone()));
        if let Some(verified) = self.chain.verified.as_mut().filter(|verified| verified.hash == row.hash) {
            verified.entry = Some(row.seq);
        }
        self.chain.head = Some(Head { entry: row.seq, hash: row.hash.clone() });
    }

    fn follows(&mut self, row: &Row) {
        let Some(before) = self.chain.head.clone() else { return };
        let missing = before.entry.saturating_add(1);
        if row.seq != missing {
            let what = format!("entry {missing} is missing: entry {} comes after entry {}", row.seq, before.entry);
            self.broken(missing, what);
        } else if row.previous != before.hash {
            let what =
                format!("entry {} does not follow from entry {}: one of them was altered", row.seq, before.entry);
            self.broken(row.seq, what);
        }
    }

    /// What has come of it. `written` is what the daemon knows to have written last by now.
    pub fn end(mut self, written: Option<Head>) -> Chain {
        let ours = written.map_or(0, |head| head.entry);
        if let Some(head) = self.chain.head.as_ref().filter(|head| head.entry > ours) {
            let (other, last) = (ours + 1, head.entry);
            let what =
                format!("entry {other} is not the daemon's: it has written {ours} entries, and there are {last}");
            self.broken(other, what);
        }
        let last = self.chain.head.as_ref().map_or(0, |head| head.entry);
        if let Some(written) = self.written.take().filter(|written| written.entry > last) {
            let missing = last + 1;
            let what = format!("entry {missing} is missing: the daemon has written {} entries", written.entry);
            self.broken(missing, what);
        }
        if let Some((first, stands_on)) = self.first.take() {
            self.chain.first = Some(first);
            let begins = first == 1 && stands_on == NOTHING;
            let pruned = self.pruned.take();
            let pruned = pruned.filter(|(through, hash)| through.checked_add(1) == Some(first) && *hash == stands_on);
            if !begins && pruned.is_none() {
                let missing = first.saturating_sub(1).max(1);
                let what = match first {
                    1 => "entry 1 was altered: it does not stand on nothing".to_owned(),
                    _ => format!("entry {missing} is missing: no entry says that those before {first} were pruned"),
                };
                // It comes before all others.
                self.chain.broken = Some(Break { entry: missing, what });
            }
            // An entry that was pruned is known by its hash as long as the oldest stands on it.
            let verified = self.chain.verified.as_mut().filter(|verified| verified.entry.is_none());
            if let Some(verified) = verified.filter(|verified| first > 1 && verified.hash == stands_on) {
                verified.entry = Some(first - 1);
            }
        }
        self.chain
    }

    fn broken(&mut self, entry: u64, what: String) {
        self.chain.broken.get_or_insert(Break { entry, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64) -> Line {
        let change = r#"{"kind":"found"}"#.to_owned();
        Line { time: 1_000 + n as i64, origin: r#"{"kind":"daemon"}"#.to_owned(), change, delta: "{}".to_owned() }
    }

    fn chained(lines: impl IntoIterator<Item = Line>) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (seq, line) in (1..).zip(lines) {
            let previous = rows.last().map_or(NOTHING, |row| &row.hash).to_owned();
            let hash = hash(&previous, seq, &line);
            rows.push(Row { seq, line, previous, hash });
        }
        rows
    }

    fn check(rows: &[Row], written: Option<&Row>, verify: Option<&str>) -> Chain {
        let head = |row: &Row| Head { entry: row.seq, hash: row.hash.clone() };
        let mut checker = Checker::new(written.map(head), verify.map(str::to_owned));
        rows.iter().for_each(|row| checker.row(row));
        checker.end(written.or(rows.last()).map(head))
    }

    fn broken(rows: &[Row]) -> (u64, String) {
        let broken = check(rows, None, None).broken.expect("a break");
        (broken.entry, broken.what)
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        // By hand: printf '17:pontoon history 1,64:000…,1:1,4:1001,17:{"kind":"daemon"},16:{"kind":"found"},2:{},' | sha256sum
        let expected = "cef070e4fdc5fb26c9a0cff8f61128441bf6564df286b3adaa3a21e5feef9961";
        assert_eq!(hash(NOTHING, 1, &line(1)), expected);
    }

    #[test]
    fn what_was_written_is_whole() {
        let rows = chained((1..=9).map(line));
        let chain = check(&rows, rows.last(), Some(&rows[4].hash));
        assert!(chain.is_whole(), "{chain:?}");
        assert_eq!((chain.entries, chain.first, chain.head.map(|head| head.entry)), (9, Some(1), Some(9)));
        assert_eq!(chain.verified.and_then(|verified| verified.entry), Some(5));
        assert!(check(&[], None, None).is_whole());
    }

    #[test]
    fn whatever_is_altered_is_named() {
        let rows = chained((1..=9).map(line));
        let altered = |alter: fn(&mut Row)| {
            let mut rows = rows.clone();
            alter(&mut rows[4]);
            broken(&rows)
        };
        let alterations: [fn(&mut Row); 5] = [
            |row| row.line.time += 1,
            |row| row.line.origin.push(' '),
            |row| row.line.change = row.line.change.replace("found", "dismissed"),
            |row| row.line.delta = r#"{"left":[]}"#.to_owned(),
            |row| {
                // From one field into the next.
                row.line.delta = format!("{}{}", row.line.change, row.line.delta);
                row.line.change.clear();
            },
        ];
        for alter in alterations {
            let (entry, what) = altered(alter);
            assert_eq!((entry, what.starts_with("entry 5 was altered")), (5, true), "{what}");
        }
        // With a hash that fits, it is the next entry that does not.
        let (entry, what) = altered(|row| {
            row.line.time += 1;
            row.hash = hash(&row.previous, row.seq, &row.line);
        });
        assert_eq!((entry, what.as_str()), (6, "entry 6 does not follow from entry 5: one of them was altered"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let rows = chained((1..=9).map(line));
        let without = |n: usize| rows.iter().filter(|row| row.seq != n as u64).cloned().collect::<Vec<_>>();
        assert_eq!(broken(&without(5)), (5, "entry 5 is missing: entry 6 comes after entry 4".to_owned()));
        assert_eq!(broken(&without(1)).0, 1);
        // The tail is known to the daemon that wrote it, and to who kept the head.
        assert!(check(&rows[..7], None, None).is_whole(), "nobody can know");
        assert_eq!(check(&rows[..7], rows.last(), None).broken.map(|broken| broken.entry), Some(8));
        assert!(!check(&rows[..7], None, Some(&rows[8].hash)).is_whole());
        assert!(!check(&[], rows.last(), None).is_whole());
        // What somebody has added is known to the daemon, too.
        assert_eq!(check(&rows, Some(&rows[6]), None).broken.map(|broken| broken.entry), Some(8));
        // So is a chain that was written anew.
        let anew = chained((2..=10).map(line));
        assert!(check(&anew, None, None).is_whole() && !check(&anew, None, Some(&rows[8].hash)).is_whole());
        assert!(!check(&anew, rows.last(), None).is_whole());
    }

    #[test]
    fn what_was_pruned_leaves_a_chain() {
        let mut lines: Vec<Line> = (1..=9).map(line).collect();
        let through = chained(lines.clone()).swap_remove(3);
        let prune = Happening::Prune { through: 4, hash: through.hash.clone() };
        lines.push(Line { change: serde_json::to_string(&prune).expect("plain data"), ..line(10) });
        let rows = chained(lines);
        let left = check(&rows[4..], None, Some(&through.hash));
        assert!(left.is_whole() && left.first == Some(5), "{left:?}");
        // Killed before they were taken out.
        assert!(check(&rows, None, None).is_whole());
        assert_eq!(broken(&rows[5..]).0, 5, "more than was said");
        assert_eq!(broken(&rows[4..9]).0, 4, "nobody said so");
    }
}
