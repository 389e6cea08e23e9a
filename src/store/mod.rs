//! SQLite: what must survive the daemon. An operator can open it: `sqlite3 <data root>/pontoon.db`.
//!
//! WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed; a machine that loses power may lose
//! the last moments, never consistency. Calls are short and synchronous: a write is one small transaction, appended to
//! the log without waiting for the disk; the log is folded into the database by [`Store::checkpoint`], off the way of any
//! request.

mod chain;
mod containers;
mod history;
mod images;
mod schema;

pub use chain::{Checker, Line, Row};
pub use containers::{ContainerRow, LAST_LEASE};
pub use history::Written;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own error.
    #[error("state database: {step}: {source}")]
    Sqlite {
        /// What was attempted.
        step: &'static str,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// A row that this version cannot read.
    #[error("state database: {what} is damaged: {reason}")]
    Damaged {
        /// Which row.
        what: String,
        /// Why.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("state database has schema {found}, this version knows up to {known}: use the newer pontoon")]
    Newer {
        /// In the file.
        found: i64,
        /// Known here.
        known: i64,
    },
    /// No thread for what is written aside.
    #[error("state database: cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A unique name or address that is taken already.
    #[error("state database: {0} is taken already")]
    Taken(String),
}

/// Names the step that a SQLite error belongs to.
trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, StoreError>;
}

impl<T> Step<T> for Result<T, rusqlite::Error> {
    fn step(self, step: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Sqlite { step, source })
    }
}

/// The daemon's database.
pub struct Store {
    db: Mutex<Connection>,
    path: PathBuf,
}

impl Store {
    /// Opens (or makes) the database and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let db = Connection::open(path).step("open")?;
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;
             PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY;",
        )
        .step("configure")?;
        db.busy_timeout(std::time::Duration::from_secs(5)).step("configure")?;
        db.set_prepared_statement_cache_capacity(64);
        schema::migrate(&db)?;
        Ok(Self { db: Mutex::new(db), path: path.to_owned() })
    }

    /// Folds the write-ahead log into the database; waits for the disk, so call it off any request's way.
    pub fn checkpoint(path: &Path) -> Result<(), StoreError> {
        let db = Connection::open(path).step("open")?;
        db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).step("checkpoint")
    }

    /// A value of the `meta` table.
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        use rusqlite::OptionalExtension;
        self.db()
            .prepare_cached("SELECT value FROM meta WHERE key = ?1")
            .and_then(|mut s| s.query_row([key], |row| row.get(0)).optional())
            .step("read meta")
    }

    /// Sets a value of the `meta` table.
    pub fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.db()
            .prepare_cached(
                "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
            )
            .and_then(|mut s| s.execute([key, value]))
            .step("write meta")
            .map(|_| ())
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held leaves no half-done transaction: rusqlite rolls back on drop.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
