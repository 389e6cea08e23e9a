//! The container as it is known: what was asked for, and what became of it.

use serde::{Deserialize, Serialize};

use crate::model::audit::Origin;
use crate::model::{ContainerId, ContainerName, ContainerSpec, Endpoint, ExecId, ImageId};

/// What docker writes for a time that never was.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Docker's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started, or its start failed.
    Created,
    /// Its process runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended, to be started again by its restart policy.
    Restarting,
    /// On its way out.
    Removing,
    /// Ended.
    Exited,
    /// Its removal failed.
    Dead,
}

impl Status {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// A process exists.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What became of a container (`inspect`'s State, without health).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthlessState {
    /// Docker's state.
    pub status: Status,
    /// The init as the host sees it; 0 when not running.
    pub pid: i32,
    /// Of the last run.
    pub exit_code: i64,
    /// The kernel's OOM killer ended it.
    pub oom_killed: bool,
    /// Why the last start failed; empty otherwise.
    pub error: String,
    /// RFC 3339; `0001-01-01T00:00:00Z` if never.
    pub started_at: String,
    /// RFC 3339; `0001-01-01T00:00:00Z` if never.
    pub finished_at: String,
    /// Restarts by policy.
    pub restart_count: u32,
    /// A user stopped it: its restart policy rests.
    pub stopped_by_user: bool,
}

/// A container: a snapshot, cheap to clone and hand out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Identity.
    pub id: ContainerId,
    /// Name, without slash.
    pub name: ContainerName,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// Who asked for it, with its links and published ports. `None`: a version that did not note it made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Origin>,
    /// The image.
    pub image: ImageId,
    /// The image as the user named it.
    pub image_name: String,
    /// What was asked for, image defaults merged in.
    pub spec: ContainerSpec,
    /// The API's request as it came: `{Config…, HostConfig, NetworkingConfig}`.
    pub request: serde_json::Value,
    /// What became of it.
    pub state: HealthlessState,
    /// Its place in the network while it runs bridged.
    pub attached: Option<Endpoint>,
    /// The namespace's pin while it runs (`inspect`'s SandboxKey); empty otherwise.
    pub sandbox: String,
    /// Exec sessions that run.
    #[serde(skip)]
    pub execs: Vec<ExecId>,
}
