//! Denials that are the same are one entry with a count. Bounded, for each container by itself: who is denied much pushes
//! out nothing of anybody else's. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

use super::who::Key;
use crate::model::ContainerId;
use crate::model::audit::Denial;

/// Entries of one container.
const ENTRIES: usize = 128;
/// Containers; and one place for what concerns none.
const CONTAINERS: usize = 1024;

/// Packets that were the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    packets: u64,
    first: Timestamp,
    last: Timestamp,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Table {
    containers: HashMap<Option<ContainerId>, HashMap<Key, Entry>>,
    /// Packets whose entries were pushed out.
    pub(super) forgotten: u64,
}

impl Table {
    /// One more packet: its entry as it is then.
    pub(super) fn record(&mut self, whose: Option<ContainerId>, key: &Key, now: Timestamp) -> Denial {
        if !self.containers.contains_key(&whose) && self.containers.len() > CONTAINERS {
            self.forget_a_container();
        }
        let entries = self.containers.entry(whose).or_default();
        if !entries.contains_key(key) && entries.len() >= ENTRIES {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| key.clone());
            self.forgotten += oldest.and_then(|key| entries.remove(&key)).map_or(0, |entry| entry.packets);
        }
        let entry = entries.entry(key.clone()).or_insert(Entry { packets: 0, first: now, last: now });
        entry.packets += 1;
        entry.last = now;
        denial(key, *entry)
    }

    /// The one of which nothing was heard for the longest.
    fn forget_a_container(&mut self) {
        let last = |entries: &HashMap<Key, Entry>| entries.values().map(|entry| entry.last).max();
        let oldest = self.containers.iter().min_by_key(|(_, entries)| last(entries)).map(|(whose, _)| whose.clone());
        let gone = oldest.and_then(|whose| self.containers.remove(&whose)).unwrap_or_default();
        self.forgotten += gone.values().map(|entry| entry.packets).sum::<u64>();
    }

    /// All that were seen since then, the latest last.
    pub(super) fn since(&self, since: Option<Timestamp>) -> Vec<Denial> {
        let all = self.containers.values().flatten();
        let mut wanted: Vec<_> = all.filter(|(_, entry)| since.is_none_or(|since| entry.last >= since)).collect();
        wanted.sort_by_key(|(_, entry)| (entry.last, entry.first));
        wanted.into_iter().map(|(key, entry)| denial(key, *entry)).collect()
    }
}

fn denial(key: &Key, entry: Entry) -> Denial {
    Denial {
        cause: key.cause.as_str().to_owned(),
        from: key.from.clone(),
        claims: key.claims.clone(),
        to: key.to.clone(),
        what: key.what.clone(),
        port: key.port,
        packets: entry.packets,
        first: format!("{:.6}", entry.first),
        last: format!("{:.6}", entry.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::names::Cause;
    use crate::model::audit::Correspondent;

    fn key(port: u16) -> Key {
        Key {
            cause: Cause::Icc,
            from: Correspondent::default(),
            claims: None,
            to: Correspondent::default(),
            what: format!("tcp/{port}"),
            port: Some(port),
        }
    }

    fn whose(number: u16) -> Option<ContainerId> {
        let [a, b] = number.to_be_bytes();
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&[a, b]);
        Some(ContainerId::from_bytes(bytes))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn what_is_the_same_is_counted() {
        let mut table = Table::default();
        table.record(whose(1), &key(80), at(1));
        table.record(whose(1), &key(81), at(2));
        let denial = table.record(whose(1), &key(80), at(3));
        assert_eq!((denial.packets, denial.first.as_str()), (2, "1970-01-01T00:00:01.000000Z"));
        let all: Vec<_> = table.since(None).into_iter().map(|denial| (denial.what, denial.packets)).collect();
        assert_eq!(all, [("tcp/81".to_owned(), 1), ("tcp/80".to_owned(), 2)]);
        assert_eq!(table.since(Some(at(3))).len(), 1);
    }

    #[test]
    fn a_flood_pushes_out_its_own_only() {
        let mut table = Table::default();
        table.record(whose(2), &key(5432), at(0));
        for port in 0..10_000 {
            table.record(whose(1), &key(port), at(i64::from(port) + 1));
        }
        let all = table.since(None);
        assert_eq!(all[0].what, "tcp/5432");
        assert_eq!(all.len(), ENTRIES + 1);
        assert_eq!(table.forgotten + all.iter().map(|denial| denial.packets).sum::<u64>(), 10_001);
    }

    #[test]
    fn containers_come_and_go() {
        let mut table = Table::default();
        for number in 0..5000 {
            table.record(whose(number), &key(80), at(i64::from(number)));
        }
        let kept = table.since(None).len();
        assert!(kept <= CONTAINERS + 1, "{kept}");
        assert_eq!(table.forgotten + kept as u64, 5000);
    }
}
