//! Containers that another daemon started, and that live on without it. A daemon that knows nothing of them would take
//! their rules, ports and shims for leftovers: it does not start instead.

use std::path::{Path, PathBuf};

use crate::bridge::{self, BridgeError};
use crate::model::ContainerId;
use crate::runner::{Found, Runner};
use crate::store::{Store, StoreError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StrangersError {
    /// Traffic of theirs passes the bridge.
    #[error(
        "the bridge {bridge} carries running containers that {} knows nothing of (ports {}): start the daemon of their \
         --data-root again, or give this one roots and a --bridge of its own",
        data_root.display(), ports.join(", ")
    )]
    OnTheBridge {
        /// The bridge.
        bridge: String,
        /// This daemon's.
        data_root: PathBuf,
        /// Names of their ports.
        ports: Vec<String>,
    },
    /// Their shims run.
    #[error(
        "{} holds running containers that {} knows nothing of ({}): start the daemon of their --data-root again, or choose \
         another --exec-root",
        exec_root.display(), data_root.display(), ids.join(", ")
    )]
    UnderTheRoot {
        /// Where.
        exec_root: PathBuf,
        /// This daemon's.
        data_root: PathBuf,
        /// Short ids.
        ids: Vec<String>,
    },
    /// The bridge's ports cannot be listed.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// What this daemon knows cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where to look, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// State of this daemon: whoever is in it is no stranger.
    pub data_root: &'a Path,
    /// Of shims.
    pub exec_root: &'a Path,
    /// The bridge, which need not exist yet.
    pub bridge: Option<&'a str>,
}

/// Refuses if there are strangers. `store` is this daemon's; `None`: it has none yet, and knows nobody.
pub async fn refuse(grounds: Grounds<'_>, store: Option<&Store>) -> Result<(), StrangersError> {
    let Grounds { data_root, exec_root, bridge } = grounds;
    let rows = store.map(Store::containers).transpose()?.unwrap_or_default();
    let known: Vec<ContainerId> = rows.iter().filter_map(|row| row.id.parse().ok()).collect();
    let data_root = data_root.to_owned();

    if let Some(name) = bridge {
        let mut ports = bridge::open_ports_of(name).await?;
        ports.retain(|port| !known.iter().any(|id| port.starts_with(&bridge::port_prefix(id))));
        if !ports.is_empty() {
            return Err(StrangersError::OnTheBridge { bridge: name.to_owned(), data_root, ports });
        }
    }
    let runner = Runner::new(exec_root);
    let mut ids = Vec::new();
    for id in standing(exec_root).into_iter().filter(|id| !known.contains(id)) {
        // What cannot be read is nobody's to wait for.
        if let Ok(Found::Alive(_)) = runner.reconnect(&runner.container_dir(&id)).await {
            ids.push(id.short().to_owned());
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    Err(StrangersError::UnderTheRoot { exec_root: exec_root.to_owned(), data_root, ids })
}

/// Containers with a directory under the exec root.
fn standing(exec_root: &Path) -> Vec<ContainerId> {
    let entries = std::fs::read_dir(exec_root.join("containers")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
