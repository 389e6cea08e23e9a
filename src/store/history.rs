//! The history's entries and the state that the last of them left.

use std::collections::BTreeMap;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::chain::{self, Line, Row};
use super::{Step, Store, StoreError};
use crate::model::audit::Head;

/// The key in `meta` of the network options as the last entry left them.
const OPTIONS: &str = "history options";
/// The key in `meta` of the newest entry, number and hash: the next one follows it even if it is there no more, so that
/// who cuts off the end leaves a gap.
const HEAD: &str = "history head";

/// SQLite's integers have a sign, which no entry's number has that we wrote.
fn number(row: &rusqlite::Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// The state that the last entry left, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The network options; `None`: there is no entry yet.
    pub options: Option<String>,
    /// The endpoints, by container.
    pub endpoints: BTreeMap<String, String>,
}

impl Store {
    /// The state that the last entry left.
    pub fn history_state(&self) -> Result<Written, StoreError> {
        let options = self.meta(OPTIONS)?;
        let db = self.db();
        let mut statement =
            db.prepare_cached("SELECT container, endpoint FROM history_endpoints").step("read the history's state")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).step("read the history's state")?;
        Ok(Written { options, endpoints: rows.collect::<Result<_, _>>().step("read the history's state")? })
    }

    /// The newest entry that was written, whether it is still there or not.
    pub fn history_head(&self) -> Result<Option<Head>, StoreError> {
        let head = self.meta(HEAD)?;
        Ok(head
            .as_deref()
            .and_then(|head| head.split_once(' '))
            .and_then(|(entry, hash)| Some(Head { entry: entry.parse().ok()?, hash: hash.to_owned() })))
    }

    /// The oldest entry that is there.
    pub fn history_begins(&self) -> Result<Option<u64>, StoreError> {
        self.db()
            .prepare_cached("SELECT seq FROM history ORDER BY seq LIMIT 1")
            .and_then(|mut s| s.query_row([], |row| number(row, 0)).optional())
            .step("read the history's beginning")
    }

    /// The hash of an entry.
    pub fn history_hash(&self, seq: u64) -> Result<Option<String>, StoreError> {
        self.db()
            .prepare_cached("SELECT hash FROM history WHERE seq = ?1")
            .and_then(|mut s| s.query_row([seq.cast_signed()], |row| row.get(0)).optional())
            .step("read an entry's hash")
    }

    /// Appends entries behind `head`, with the state that they leave: options, and the endpoints that have changed (`None`:
    /// gone). One transaction; answers the new head.
    pub fn append_history(
        &self,
        head: Option<&Head>,
        lines: &[Line],
        options: Option<&str>,
        endpoints: &BTreeMap<String, Option<String>>,
    ) -> Result<Option<Head>, StoreError> {
        let mut db = self.db();
        let transaction = db.transaction().step("write the history")?;
        let head = append(&transaction, head.cloned(), lines)?;
        let written = head.as_ref().map(|head| format!("{} {}", head.entry, head.hash));
        for (key, value) in [(HEAD, written.as_deref()), (OPTIONS, options)] {
            let Some(value) = value else { continue };
            let sql = "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
            transaction
                .prepare_cached(sql)
                .and_then(|mut s| s.execute([key, value]))
                .step("write the history's state")?;
        }
        for (container, endpoint) in endpoints {
            match endpoint {
                Some(endpoint) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO history_endpoints(container, endpoint) VALUES (?1, ?2)")
                    .and_then(|mut s| s.execute([container, endpoint])),
                None => transaction
                    .prepare_cached("DELETE FROM history_endpoints WHERE container = ?1")
                    .and_then(|mut s| s.execute([container])),
            }
            .step("write the history's state")?;
        }
        transaction.commit().step("write the history")?;
        Ok(head)
    }

    /// Takes out the oldest entries, up to this one.
    pub fn prune_history(&self, through: u64) -> Result<(), StoreError> {
        self.db()
            .prepare_cached("DELETE FROM history WHERE seq <= ?1")
            .and_then(|mut s| s.execute([through.cast_signed()]))
            .step("prune the history")
            .map(|_| ())
    }

    /// Reads the entries as of one moment, the oldest or the newest first, while others write: call it off the runtime's
    /// threads.
    pub fn read_history<T>(
        &self,
        newest_first: bool,
        read: impl FnOnce(&mut dyn Iterator<Item = Row>) -> T,
    ) -> Result<T, StoreError> {
        // A connection of its own: a hundred thousand entries take a while.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).step("open")?;
        db.busy_timeout(std::time::Duration::from_secs(5)).step("configure")?;
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!("SELECT seq, time, origin, change, delta, prev_hash, hash FROM history ORDER BY seq {order}");
        let mut statement = db.prepare(&sql).step("read the history")?;
        let rows = statement.query_map([], |row| {
            let line = Line { time: row.get(1)?, origin: row.get(2)?, change: row.get(3)?, delta: row.get(4)? };
            Ok(Row { seq: number(row, 0)?, line, previous: row.get(5)?, hash: row.get(6)? })
        });
        let mut failure = None;
        let mut rows = rows.step("read the history")?.map_while(|row| row.map_err(|error| failure = Some(error)).ok());
        let answer = read(&mut rows);
        drop(rows);
        failure.map_or(Ok(answer), |error| Err(error).step("read the history"))
    }
}

/// Nothing that is there is written over. Behind entries that somebody else has put there, or that nobody knows of because
/// somebody has taken the word of the newest away, it goes on in a way that the chain shows it.
fn append(db: &Connection, mut head: Option<Head>, lines: &[Line]) -> Result<Option<Head>, StoreError> {
    let newest = db
        .prepare_cached("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1")
        .and_then(|mut s| s.query_row([], |row| Ok(Head { entry: number(row, 0)?, hash: row.get(1)? })).optional())
        .step("read the history's end")?;
    head = match (head, newest) {
        // It does not follow from what stands there.
        (Some(head), Some(newest)) if newest.entry > head.entry => Some(Head { entry: newest.entry, ..head }),
        // A number is left out: entries may be missing.
        (None, Some(newest)) => Some(Head { entry: newest.entry + 1, ..newest }),
        (head, _) => head,
    };
    let sql = "INSERT INTO history(seq, time, origin, change, delta, prev_hash, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    for line in lines {
        let (before, previous) = head.map_or((0, chain::NOTHING.to_owned()), |head| (head.entry, head.hash));
        let seq = before + 1;
        let hash = chain::hash(&previous, seq, line);
        let Line { time, origin, change, delta } = line;
        db.prepare_cached(sql)
            .and_then(|mut s| s.execute(params![seq.cast_signed(), time, origin, change, delta, previous, hash]))
            .step("write the history")?;
        head = Some(Head { entry: seq, hash });
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Checker;

    fn line(time: i64) -> Line {
        let (origin, change) = (r#"{"kind":"daemon"}"#.to_owned(), r#"{"kind":"found"}"#.to_owned());
        Line { time, origin, change, delta: "{}".to_owned() }
    }

    #[test]
    fn entries_and_state_outlive_the_daemon() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pontoon.db");
        let store = Store::open(&path).expect("a store");
        assert_eq!((store.history_head().expect("none"), store.history_state().expect("none")), Default::default());
        let web = |endpoint: Option<&str>| [("web".to_owned(), endpoint.map(str::to_owned))].into();
        let head = store.append_history(None, &[line(1), line(2)], Some("{}"), &web(Some("{}"))).expect("written");
        let head = store.append_history(head.as_ref(), &[line(3)], None, &web(None)).expect("written");
        drop(store);

        let store = Store::open(&path).expect("a store");
        assert_eq!(
            (store.history_begins().expect("read"), store.history_head().expect("read")),
            (Some(1), head.clone())
        );
        let state = store.history_state().expect("read");
        assert_eq!((state.options.as_deref(), state.endpoints.len()), (Some("{}"), 0));
        let read = |newest_first| {
            let all = |rows: &mut dyn Iterator<Item = Row>| rows.collect::<Vec<_>>();
            store.read_history(newest_first, all).expect("read")
        };
        let mut rows = read(false);
        let mut checker = Checker::new(head.clone(), None);
        rows.iter().for_each(|row| checker.row(row));
        assert_eq!(checker.end(head.clone()).head, head);
        rows.reverse();
        assert_eq!(read(true), rows);

        store.prune_history(2).expect("pruned");
        assert_eq!(read(false).iter().map(|row| row.seq).collect::<Vec<_>>(), [3]);
        // Whatever somebody else puts in the next one's place does not keep it from being written, and is there still.
        store
            .db()
            .execute("INSERT INTO history SELECT 4, time, origin, change, delta, '', '' FROM history", [])
            .expect("put");
        let head = store.append_history(head.as_ref(), &[line(4)], None, &BTreeMap::new()).expect("written");
        let entries = || read(false).iter().map(|row| (row.seq, row.line.time)).collect::<Vec<_>>();
        assert_eq!(entries(), [(3, 3), (4, 3), (5, 4)]);
        let head = store.append_history(head.as_ref(), &[line(5)], None, &BTreeMap::new()).expect("written");
        assert_eq!(head.expect("written").entry, 6);
        // Nobody knows any more what was written.
        store.append_history(None, &[line(6)], None, &BTreeMap::new()).expect("written");
        assert_eq!(entries(), [(3, 3), (4, 3), (5, 4), (6, 5), (8, 6)]);
    }
}
