//! `/containers/…`: a file per thing that clients do to containers.

pub(super) mod attach;
pub(super) mod create;
mod filter;
pub(super) mod inspect;
pub(super) mod lifecycle;
pub(super) mod list;
pub(super) mod logs;
mod mounts;
mod network;
pub(super) mod prune;
mod status;
pub(super) mod wait;

pub(super) use network::endpoint_id;

#[cfg(test)]
mod tests {
    use crate::containers::{Container, HealthlessState, Status};
    use crate::model::spec::LogSpec;
    use crate::model::{ContainerId, ContainerSpec, Digest, Mount, MountKind, NetworkSpec, RestartPolicy};

    /// A container for tests, created so many seconds after 1970, ended with exit code 3.
    pub(super) fn container(name: &str, status: Status, created: u8) -> Container {
        let spec = ContainerSpec {
            runtime: String::new(),
            process: crate::model::ProcessSpec { args: vec!["sh".into()], ..Default::default() },
            network: NetworkSpec { expose: ["80/tcp".parse().expect("port")].into(), ..NetworkSpec::default() },
            resources: Default::default(),
            security: Default::default(),
            mounts: vec![Mount {
                kind: MountKind::Volume { name: "data".into(), anonymous: false },
                target: "/data".into(),
                read_only: false,
                propagation: None,
            }],
            sysctls: Default::default(),
            labels: [("tier".to_owned(), name.to_owned())].into(),
            restart: RestartPolicy::No,
            auto_remove: false,
            log: LogSpec::default(),
        };
        Container {
            id: ContainerId::from_bytes([created; 32]),
            name: name.parse().expect("name"),
            created: format!("1970-01-01T00:00:{created:02}.000000000Z"),
            created_by: None,
            image: Digest::from_sha256([9; 32]),
            image_name: "busybox".into(),
            spec,
            request: serde_json::json!({ "Image": "busybox", "HostConfig": {} }),
            state: HealthlessState {
                status,
                pid: 0,
                exit_code: 3,
                oom_killed: false,
                error: String::new(),
                started_at: "0001-01-01T00:00:00Z".into(),
                finished_at: "0001-01-01T00:00:00Z".into(),
                restart_count: 0,
                stopped_by_user: false,
            },
            attached: None,
            sandbox: String::new(),
            execs: Vec::new(),
        }
    }
}
