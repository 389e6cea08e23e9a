//! Containers, their leases, host ports and volumes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Step, Store, StoreError};
use crate::model::Endpoint;

/// A container's row. `body` belongs to the containers' room, which alone reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// 64 digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// The image's id.
    pub image: String,
    /// For people.
    pub status: String,
    /// The container as JSON.
    pub body: String,
}

/// The key in `meta` of the address that was leased last: released addresses are given last, by the next daemon too.
pub const LAST_LEASE: &str = "last lease";

impl Store {
    /// Every container, unordered.
    pub fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        let db = self.db();
        let mut statement =
            db.prepare_cached("SELECT id, name, image, status, body FROM containers").step("list containers")?;
        let rows = statement
            .query_map([], |row| {
                Ok(ContainerRow {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    image: row.get(2)?,
                    status: row.get(3)?,
                    body: row.get(4)?,
                })
            })
            .step("list containers")?;
        rows.collect::<Result<_, _>>().step("list containers")
    }

    /// Adds a container; [`StoreError::Taken`] if the name is in use.
    pub fn insert_container(&self, row: &ContainerRow) -> Result<(), StoreError> {
        let db = self.db();
        let done = db
            .prepare_cached("INSERT INTO containers(id, name, image, status, body) VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut s| s.execute(params![row.id, row.name, row.image, row.status, row.body]));
        match done {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Err(StoreError::Taken(row.name.clone()))
            }
            other => other.step("add container").map(|_| ()),
        }
    }

    /// Replaces a container's name, status and body, and with them its lease and host ports: one transaction, so that
    /// what is known of a container and what it holds never disagree.
    pub fn update_container(&self, row: &ContainerRow, endpoint: Option<&Endpoint>) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction().step("update container")?;
        transaction
            .prepare_cached("UPDATE containers SET name = ?2, image = ?3, status = ?4, body = ?5 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![row.id, row.name, row.image, row.status, row.body]))
            .step("update container")?;
        transaction
            .prepare_cached("DELETE FROM leases WHERE container = ?1")
            .and_then(|mut s| s.execute([&row.id]))
            .step("release lease")?;
        transaction
            .prepare_cached("DELETE FROM ports WHERE container = ?1")
            .and_then(|mut s| s.execute([&row.id]))
            .step("release ports")?;
        if let Some(endpoint) = endpoint {
            insert_endpoint(&transaction, &row.id, endpoint)?;
        }
        transaction.commit().step("update container")
    }

    /// Takes a container away, with its lease and ports.
    pub fn delete_container(&self, id: &str) -> Result<(), StoreError> {
        self.db()
            .prepare_cached("DELETE FROM containers WHERE id = ?1")
            .and_then(|mut s| s.execute([id]))
            .step("remove container")
            .map(|_| ())
    }

    /// Addresses in use.
    pub fn leases(&self) -> Result<BTreeSet<Ipv4Addr>, StoreError> {
        let db = self.db();
        let mut statement = db.prepare_cached("SELECT address FROM leases").step("list leases")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).step("list leases")?;
        let mut leases = BTreeSet::new();
        for row in rows {
            let text = row.step("list leases")?;
            leases.insert(text.parse().map_err(|e: std::net::AddrParseError| StoreError::Damaged {
                what: format!("lease {text:?}"),
                reason: e.to_string(),
            })?);
        }
        Ok(leases)
    }

    /// Notes a volume; whether it is new.
    pub fn put_volume(&self, name: &str, anonymous: bool, created: &str) -> Result<bool, StoreError> {
        self.db()
            .prepare_cached("INSERT INTO volumes(name, anonymous, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
            .and_then(|mut s| s.execute(params![name, anonymous, created]))
            .step("add volume")
            .map(|rows| rows == 1)
    }

    /// Forgets a volume; whether it was there.
    pub fn delete_volume(&self, name: &str) -> Result<bool, StoreError> {
        self.db()
            .prepare_cached("DELETE FROM volumes WHERE name = ?1")
            .and_then(|mut s| s.execute([name]))
            .step("remove volume")
            .map(|rows| rows == 1)
    }

    /// When a volume was made (RFC 3339); `None` if there is no such volume.
    pub fn volume(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.db()
            .prepare_cached("SELECT created FROM volumes WHERE name = ?1")
            .and_then(|mut s| s.query_row([name], |row| row.get(0)).optional())
            .step("read volume")
    }
}

fn insert_endpoint(db: &Connection, id: &str, endpoint: &Endpoint) -> Result<(), StoreError> {
    let address = endpoint.address.to_string();
    db.prepare_cached("INSERT INTO leases(address, container) VALUES (?1, ?2)")
        .and_then(|mut s| s.execute(params![address, id]))
        .step("lease address")?;
    db.prepare_cached("INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2")
        .and_then(|mut s| s.execute(params![LAST_LEASE, address]))
        .step("lease address")?;
    let mut statement = db
        .prepare_cached(
            "INSERT INTO ports(host_ip, host_port, protocol, container_port, count, container)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .step("take ports")?;
    for row in &endpoint.published {
        let (host, port) = (row.host_ip.to_string(), row.container);
        statement
            .execute(params![host, row.host_port, port.protocol.as_str(), port.number, row.count, id])
            .step("take ports")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Names, Port, Protocol, Published};

    fn row(id: &str, name: &str) -> ContainerRow {
        ContainerRow {
            id: id.into(),
            name: name.into(),
            image: "sha256:0".into(),
            status: "created".into(),
            body: "{}".into(),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("pontoon.db")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_name_is_taken_once() {
        let (_dir, store) = store();
        store.insert_container(&row("1", "web")).unwrap();
        assert!(matches!(store.insert_container(&row("2", "web")), Err(StoreError::Taken(name)) if name == "web"));
        assert_eq!(store.containers().unwrap().len(), 1);
    }

    #[test]
    fn leases_and_ports_go_with_their_container() {
        let (dir, store) = store();
        store.insert_container(&row("1", "web")).unwrap();
        let web = Endpoint {
            name: "web".parse().unwrap(),
            address: Ipv4Addr::new(172, 17, 0, 2),
            mac: "02:42:ac:11:00:02".parse().unwrap(),
            port: "veth0".into(),
            published: vec![Published {
                host_ip: Ipv4Addr::UNSPECIFIED.into(),
                host_port: 8080,
                container: Port { protocol: Protocol::Tcp, number: 80 },
                count: 2,
            }],
            exposed: vec![],
            links: vec![],
            names: Names::default(),
        };
        store.update_container(&row("1", "web"), Some(&web)).unwrap();
        assert_eq!(store.leases().unwrap(), BTreeSet::from([Ipv4Addr::new(172, 17, 0, 2)]));
        store.delete_container("1").unwrap();
        assert!(store.leases().unwrap().is_empty());
        drop(store);
        // What was committed is there for the next daemon.
        assert!(Store::open(&dir.path().join("pontoon.db")).unwrap().containers().unwrap().is_empty());
    }
}
