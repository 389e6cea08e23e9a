//! After a start of the daemon: what the store says, what the kernel holds, and the difference put right.
//!
//! There is no second path that "restores": the intent follows from the containers that still run, and is applied like
//! any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::RemoveOptions;
use super::cell::{Cell, Live};
use super::engine::{Engine, now};
use super::error::EngineError;
use super::exit::pidfd;
use super::journal::log_error;
use super::origin::on_behalf_of;
use super::record::{Container, Status};
use crate::model::audit::Origin;
use crate::model::{ContainerId, Intent, NetworkMode, NetworkOptions, RestartPolicy};
use crate::netns::NetNs;
use crate::runner::{Exit, Found, Shim};
use crate::store::Store;

/// The intent as the store has it: what must be in force before the bridge carries a packet.
pub fn stored_intent(store: &Store, options: &NetworkOptions) -> Result<Intent, EngineError> {
    let mut endpoints = BTreeMap::new();
    for row in store.containers()? {
        let container: Container = serde_json::from_str(&row.body).map_err(EngineError::internal)?;
        if container.state.status.is_running()
            && let Some(endpoint) = container.attached
        {
            endpoints.insert(container.id, endpoint);
        }
    }
    Ok(Intent { options: options.clone(), endpoints })
}

/// Exit code of a container that went down with its machine, as Docker shows it.
const LOST: i32 = 255;

impl Engine {
    /// Reads the containers from the store and takes over those that run; the network becomes what they need.
    pub async fn restore(&self) -> Result<(), EngineError> {
        let mut ended = Vec::new();
        for row in self.store().containers()? {
            let container: Container = serde_json::from_str(&row.body).map_err(EngineError::internal)?;
            let cell = Cell::new(container.clone());
            {
                let mut registry = self.registry();
                registry.claim(&container.name, &container.id)?;
                registry.insert(cell.clone());
            }
            if container.state.status.is_running() {
                let lost = || Exit { code: LOST, oom_killed: false, at: now() };
                match self.runner().reconnect(&self.runner().container_dir(&container.id)).await {
                    Ok(Found::Alive(shim)) => self.take_over(&cell, shim)?,
                    Ok(Found::Ended(exit)) => ended.push((cell, exit)),
                    Ok(Found::Gone) => ended.push((cell, lost())),
                    // One container that cannot be read must not keep the others from being served.
                    Err(error) => {
                        tracing::error!(container = %container.id.short(), %error, "cannot tell how a container ended");
                        ended.push((cell, lost()));
                    }
                }
            }
        }
        self.settle_ports().await?;
        for (cell, exit) in ended {
            let _operation = cell.operation.lock().await;
            self.remember_sandbox(&cell);
            on_behalf_of(Origin::Ended, self.ended(&cell, exit)).await;
        }
        self.finish_what_was_begun().await;
        // The last daemon may have died between a change and the hosts files that follow it.
        self.cells().iter().for_each(|cell| self.follow_targets(cell));
        Ok(())
    }

    /// What a container that ended meanwhile still holds, to be let go of like any other's.
    fn remember_sandbox(&self, cell: &Cell) {
        let container = cell.snapshot();
        cell.live().netns = self.own_netns(&container);
    }

    fn own_netns(&self, container: &Container) -> Option<NetNs> {
        let pin = self.pins().join(container.id.as_str());
        if container.sandbox == pin.display().to_string() { NetNs::open(&pin).ok() } else { None }
    }

    fn take_over(&self, cell: &Arc<Cell>, shim: Shim) -> Result<(), EngineError> {
        let container = cell.snapshot();
        let published = container.attached.as_ref().map_or(&[][..], |attached| &attached.published);
        let live = Live {
            shim: Some(shim),
            pidfd: pidfd(container.state.pid).ok().map(Arc::new),
            netns: self.own_netns(&container),
            ports: Some(self.inner.ports.resume(published)),
            since: Some(std::time::Instant::now()),
        };
        *cell.live() = live;
        // The last daemon may have died between the freezer and the store. A frozen process does not even die by SIGKILL.
        let paused = container.state.status == Status::Paused;
        log_error(
            "pause or unpause",
            crate::runner::control::freeze(&self.config().cgroup_parent, &container.id, paused),
        );
        Ok(())
    }

    /// Ports of running containers are up, and there are no others of ours. (The firewall has held the intent since
    /// before the bridge was touched; containers that have ended since are dismissed like any others.)
    async fn settle_ports(&self) -> Result<(), EngineError> {
        let Some(network) = self.default_network() else { return Ok(()) };
        let cells = self.cells();
        let endpoint = |cell: &Arc<Cell>| Some((cell.snapshot().attached.clone()?, cell.live().netns.clone()));
        let running = cells.iter().filter(|cell| cell.snapshot().state.status.is_running());
        let endpoints: Vec<_> = running.filter_map(endpoint).collect();
        for (endpoint, netns) in &endpoints {
            // A port that is gone (another program deleted it) must not keep the other containers from being served.
            log_error(
                "open the port of a running container",
                network.bridge.adopt_port(endpoint, netns.as_ref()).await,
            );
        }
        let keep: BTreeSet<String> = endpoints.into_iter().map(|(endpoint, _)| endpoint.port).collect();
        for port in network.bridge.sweep(&keep).await? {
            tracing::info!(%port, "removed a bridge port that belonged to no container");
        }
        Ok(())
    }

    /// Has running containers ask anew who has which address. Called where the last daemon ran with another `icc`: whom
    /// they reached directly they reach through the host now, or the other way round.
    pub async fn ask_anew(&self) {
        let Some(network) = self.default_network() else { return };
        for cell in self.cells() {
            let netns = cell.live().netns.clone();
            if let Some(netns) = netns.filter(|_| cell.snapshot().state.status.is_running()) {
                log_error("have a container forget who had which address", network.bridge.ask_anew(&netns).await);
            }
        }
    }

    /// Starts that were under way, removals that were, shims' directories and namespaces of nobody.
    async fn finish_what_was_begun(&self) {
        for cell in self.cells() {
            let container = cell.snapshot();
            if container.state.status.is_running() {
                if let Some(shim) = cell.shim() {
                    // The last daemon may have died between creating and starting: starting twice does nothing.
                    log_error("finish a container's start", shim.start().await);
                    self.watch(cell.clone(), shim);
                }
                continue;
            }
            let _operation = cell.operation.lock().await;
            let unremoved = container.state.status == Status::Exited && container.spec.auto_remove;
            if container.state.status == Status::Removing || unremoved {
                let options = RemoveOptions { force: false, volumes: container.spec.auto_remove };
                log_error("finish a removal", self.remove_locked(&cell, options).await);
            }
        }
        self.sweep_exec_root().await;
        self.sweep_data_root();
        self.start_by_policy();
    }

    /// Whatever stands under the exec root for a container that does not run was left by a start that was cut short.
    async fn sweep_exec_root(&self) {
        let exec_root = &self.config().exec_root;
        for name in names_in(&exec_root.join("containers")) {
            if !self.runs_by_id(&name) {
                let dir = exec_root.join("containers").join(&name);
                // Its shim may live, and wait for orders that nobody will give.
                if let Ok(Found::Alive(shim)) = self.runner().reconnect(&dir).await {
                    log_error("abort a shim of nobody", shim.abort().await);
                }
                log_error("sweep a shim's directory", self.runner().clean(&dir).await);
            }
        }
        for name in names_in(&self.pins()) {
            if !self.runs_by_id(&name) {
                log_error("sweep a namespace", NetNs::sweep(&self.pins().join(&name)));
            }
        }
        for cell in self.cells() {
            let container = cell.snapshot();
            if !container.state.status.is_running() {
                // Of a start, or of an end, that was cut short.
                if let (Some(network), Some(endpoint)) = (self.default_network(), &container.attached) {
                    log_error("close the port of nobody", network.bridge.close_port(endpoint).await);
                }
                let released = Container { attached: None, ..(*container).clone() };
                log_error("release a stale lease", self.keep(&released));
                cell.publish(released);
            }
        }
    }

    /// Directories of containers that never got as far as the store.
    fn sweep_data_root(&self) {
        let dir = self.config().data_root.join("containers");
        for name in names_in(&dir) {
            if self.registry().find(&name).is_err() {
                log_error("sweep a container's directory", std::fs::remove_dir_all(dir.join(name)));
            }
        }
    }

    fn runs_by_id(&self, id: &str) -> bool {
        let Ok(id) = id.parse() else { return false };
        self.registry().by_id(&id).is_some_and(|cell| cell.snapshot().state.status.is_running())
    }

    /// Containers that their policy wants up; who joins another's network, or is linked to it, comes after the other.
    fn start_by_policy(&self) {
        let mut wanted: BTreeMap<usize, Vec<Arc<Cell>>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for cell in self.cells() {
            let container = cell.snapshot();
            let policy = match container.spec.restart {
                RestartPolicy::Always => container.state.status == Status::Exited,
                RestartPolicy::UnlessStopped => {
                    container.state.status == Status::Exited && !container.state.stopped_by_user
                }
                RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
            };
            if policy || container.state.status == Status::Restarting {
                // No other restart comes in between.
                cell.pending().restart += 1;
                wanted.entry(self.depth(&container, &mut known)).or_default().push(cell);
            }
        }
        let engine = self.clone();
        tokio::spawn(async move {
            for (_depth, cells) in wanted {
                let starts = cells.iter().map(|cell| on_behalf_of(Origin::Policy, engine.start(cell.id.as_str())));
                for started in futures_util::future::join_all(starts).await {
                    log_error("start by policy", started);
                }
            }
        });
    }

    /// How many starts must come before this one, one after the other. `known` are those found so far.
    fn depth(&self, container: &Container, known: &mut BTreeMap<ContainerId, usize>) -> usize {
        if let Some(depth) = known.get(&container.id) {
            return *depth;
        }
        // A circle ends where it began.
        known.insert(container.id.clone(), 0);
        let depths = self.stands_on(container).into_iter().map(|other| 1 + self.depth(&other, known));
        let depth = depths.max().unwrap_or(0);
        known.insert(container.id.clone(), depth);
        depth
    }

    /// The containers that must run for this one to start.
    pub(super) fn stands_on(&self, container: &Container) -> Vec<Arc<Container>> {
        let joined = match &container.spec.network.mode {
            NetworkMode::Container(who) => self.get(who).ok(),
            NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => None,
        };
        let links = container.spec.network.links.iter();
        let linked = links.filter_map(|link| Some(self.registry().by_id(&link.target)?.snapshot()));
        linked.chain(joined).collect()
    }
}

/// The names in a directory; none if there is no such directory.
fn names_in(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
