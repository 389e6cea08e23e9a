//! The schema, as a list of migrations: each runs once, in order, in a transaction of its own.

use rusqlite::Connection;

use super::{Step, StoreError};

/// Migration n brings the schema from version n to n + 1 (`PRAGMA user_version`).
const MIGRATIONS: &[&str] = &[
    concat!(
        "
CREATE TABLE meta(
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- One row a container. `body` is the whole container as JSON; the other columns are for lookups and for people.
CREATE TABLE containers(
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    image  TEXT NOT NULL,
    status TEXT NOT NULL,
    body   TEXT NOT NULL
) STRICT;
CREATE INDEX containers_by_image ON containers(image);

-- Addresses in use on the bridge.
CREATE TABLE leases(
    address   TEXT PRIMARY KEY,
    container TEXT NOT NULL UNIQUE REFERENCES containers(id) ON DELETE CASCADE
) STRICT;

-- Host ports in force.
CREATE TABLE ports(
    host_ip        TEXT NOT NULL,
    host_port      INTEGER NOT NULL,
    protocol       TEXT NOT NULL,
    container_port INTEGER NOT NULL,
    container      TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (protocol, host_port, host_ip)
) STRICT, WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(container);

-- Volumes; their data is under <data root>/volumes/<name>/_data.
CREATE TABLE volumes(
    name      TEXT PRIMARY KEY,
    anonymous INTEGER NOT NULL,
    created   TEXT NOT NULL
) STRICT;
",
        include_str!("images.sql")
    ),
    include_str!("retained_images.sql"),
    "
-- Host ports in force: `count` ports in a row from host_port lead to as many from container_port.
ALTER TABLE ports ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
",
    "
-- Each change of who can talk to whom, as a chain of hashes: docs/audit.md says how to check it by hand.
CREATE TABLE history(
    seq       INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL, -- nanoseconds since 1970 UTC
    origin    TEXT NOT NULL,    -- JSON
    change    TEXT NOT NULL,    -- JSON
    delta     TEXT NOT NULL,    -- JSON
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL
) STRICT;

-- The endpoints as the last entry of the history left them: what differs from them at the daemon's start has no entry yet.
CREATE TABLE history_endpoints(
    container TEXT PRIMARY KEY,
    endpoint  TEXT NOT NULL     -- JSON
) STRICT, WITHOUT ROWID;
",
];

/// Brings the schema up to date.
pub(super) fn migrate(db: &Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).step("read schema version")?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, sql) in (0..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        let next: i64 = version + 1;
        db.execute_batch(&format!("BEGIN IMMEDIATE; {sql} PRAGMA user_version = {next}; COMMIT;")).step("migrate")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing_and_a_newer_schema_is_refused() {
        let db = Connection::open_in_memory().unwrap();
        migrate(&db).unwrap();
        migrate(&db).unwrap();
        db.execute_batch("PRAGMA user_version = 999").unwrap();
        assert!(matches!(migrate(&db), Err(StoreError::Newer { found: 999, .. })));
    }
}
