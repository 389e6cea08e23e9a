//! `start`: from a created container to a running process, or back to nothing.
//!
//! The order is the promise: the host ports and the namespace first, then the lease; then, side by side, the veth pair
//! with its port *down*, the firewall's transaction, and the container made by its shim; only when the firewall has
//! answered does the port go up, and only then does the process run. Every step that was done is written into
//! [`Undo`]; a failure runs it backwards.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

use super::cell::{Cell, EarlyAttach};
use super::create::row;
use super::engine::{Engine, now};
use super::error::EngineError;
use super::journal::{Timeline, log_error};
use super::links::{self, Linked};
use super::origin::inherit;
use super::ports::Reservation;
use super::record::{Container, Status};
use super::rootfs::read_in;
use super::sandbox::Sandbox;
use super::{Changed, exit, runtimes};
use crate::model::Endpoint;
use crate::netns::NetNs;
use crate::runner::Shim;
use crate::runner::launch::{Launch, LaunchKind, Overlay};
use crate::runner::oci::{self, OciInput};

/// How long a start waits for others that it needs and that are restarted, and how often it looks.
const RETURNS: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// What has been done of a start, to be undone backwards.
#[derive(Default)]
pub(super) struct Undo {
    pub(super) netns: Option<NetNs>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) shim: Option<Shim>,
    pub(super) leased: bool,
    /// It was told that the container is on its network.
    pub(super) told: bool,
    /// Host ports: nobody else's until the firewall has forgotten them.
    pub(super) ports: Option<Reservation>,
}

impl Engine {
    /// `docker start`. Goes on when the caller goes away: a start is never left half done.
    pub async fn start(&self, who: &str) -> Result<Changed, EngineError> {
        let cell = self.find(who)?;
        let engine = self.clone();
        let start = async move {
            engine.wait_for_those_it_stands_on(&cell).await;
            let _operation = cell.operation.lock().await;
            cell.pending().restart += 1;
            cell.pending().quick_restarts = 0;
            engine.count_restarts_anew(&cell);
            engine.start_locked(&cell).await
        };
        tokio::spawn(inherit(start)).await.map_err(EngineError::internal)?
    }

    /// Containers that it needs and that somebody restarts at this moment run again in a moment: a start now would fail.
    pub(super) async fn wait_for_those_it_stands_on(&self, cell: &Cell) {
        let returns = || {
            let others = self.stands_on(&cell.snapshot()).into_iter();
            let others = others.filter(|it| !it.state.status.is_running() && it.id != cell.id);
            let mut others = others.filter_map(|it| self.registry().by_id(&it.id));
            others.any(|other| other.pending().returns > 0)
        };
        let gives_up = tokio::time::Instant::now() + RETURNS;
        while returns() && tokio::time::Instant::now() < gives_up {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A start that was asked for is no restart by policy: `on-failure:3` has all three again.
    fn count_restarts_anew(&self, cell: &Cell) {
        let before = cell.snapshot();
        if !before.state.status.is_running() && before.state.restart_count > 0 {
            let mut anew = (*before).clone();
            anew.state.restart_count = 0;
            cell.publish(anew);
        }
    }

    /// Starts a container whose operation lock is held.
    pub(super) async fn start_locked(&self, cell: &Arc<Cell>) -> Result<Changed, EngineError> {
        let container = cell.snapshot();
        match container.state.status {
            Status::Running => return Ok(Changed::Already),
            Status::Paused => {
                return Err(EngineError::conflict("cannot start a paused container, try unpause instead"));
            }
            Status::Removing | Status::Dead => {
                return Err(EngineError::conflict("container is marked for removal and cannot be started"));
            }
            Status::Created | Status::Exited | Status::Restarting => {}
        }
        let span = tracing::info_span!("start", container = %container.id.short(), name = %container.name);
        let mut undo = Undo::default();
        let begun = std::time::Instant::now();
        let bringing_up = AssertUnwindSafe(self.bring_up(cell, &container, &mut undo)).catch_unwind();
        // A bug of ours must not leave half a container either.
        let brought_up = bringing_up.instrument(span.clone()).await.unwrap_or_else(|_panic| {
            Err(EngineError::new(
                super::ErrorKind::Internal,
                "the start panicked: this is a bug in pontoon; see its log",
            ))
        });
        self.starts().observe(brought_up.is_ok(), begun.elapsed());
        match brought_up {
            Ok(()) => {
                let _in = span.enter();
                tracing::info!(milliseconds = begun.elapsed().as_millis() as u64, "started");
                Ok(Changed::Yes)
            }
            Err(error) => {
                self.undo(cell, undo).instrument(span.clone()).await;
                self.start_failed(cell, &container, &error).await;
                let _in = span.enter();
                tracing::warn!(%error, "start failed; nothing is left of it");
                Err(error)
            }
        }
    }

    async fn bring_up(&self, cell: &Arc<Cell>, container: &Container, undo: &mut Undo) -> Result<(), EngineError> {
        let clock = Timeline::new();
        let mut sandbox = self.sandbox(container, undo).await?;
        clock.mark("sandbox");
        if sandbox.files_of == container.id {
            let links: Vec<_> = sandbox.linked.iter().map(Linked::hosts_line).collect();
            // Whoever still brings the file of its last life up to date comes before.
            let _hosts = cell.hosts();
            self.write_files(container, sandbox.endpoint.as_ref(), &links)?;
        }
        Self::make_bind_sources(&container.spec)?;
        self.make_volumes(container)?;
        let shim = self.spawn_shim(cell, container, &sandbox).await?;
        undo.shim = Some(shim.clone());
        clock.mark("shim spawned");

        // The slow parts side by side: the container is made while the network is.
        let network = async {
            let done = self.connect(sandbox.endpoint.as_ref(), sandbox.own.as_ref(), &container.id, undo).await;
            clock.mark("connected");
            done
        };
        let create = async {
            let done = shim.create().await;
            clock.mark("created");
            done
        };
        let (created, connected) = tokio::join!(create, network);
        connected?;
        undo.told = true;
        self.membership_event(container, "connect");
        let pid = created?;
        let pidfd = exit::pidfd(pid)?;

        // Known as running before it runs: a daemon that dies here finds the container and finishes its start.
        let mut running = container.clone();
        running.state.status = Status::Running;
        running.state.pid = pid;
        running.state.error.clear();
        running.state.exit_code = 0;
        running.state.oom_killed = false;
        running.state.stopped_by_user = false;
        running.state.started_at = now();
        running.sandbox = sandbox.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        running.attached = sandbox.endpoint.take();
        self.keep(&running)?;
        clock.mark("stored");

        self.connect_early(cell, &shim).await;
        shim.start().await?;
        clock.mark("running");
        {
            let mut live = cell.live();
            live.shim = Some(shim.clone());
            live.pidfd = Some(Arc::new(pidfd));
            live.netns = sandbox.own.take();
            live.ports = undo.ports.take();
            live.since = Some(std::time::Instant::now());
        }
        // Whoever asked for an end meant its last life's.
        cell.pending().ended_by = None;
        let running = cell.publish(running);
        self.follow_links(&running);
        self.container_event(&running, "start", &[]);
        self.watch(cell.clone(), shim);
        Ok(())
    }

    /// Writes a container's row, with the lease and the ports that go with it.
    pub(super) fn keep(&self, container: &Container) -> Result<(), EngineError> {
        Ok(self.store().update_container(&row(container)?, container.attached.as_ref())?)
    }

    async fn spawn_shim(&self, cell: &Cell, container: &Container, sandbox: &Sandbox) -> Result<Shim, EngineError> {
        let image = self
            .store()
            .image_by_id(&container.image)?
            .ok_or_else(|| EngineError::not_found(format!("No such image: {}", container.image)))?;
        let lower = self.images().rootfs(&image).lower;
        let dir = self.runner().container_dir(&container.id);
        let data = self.container_dir(&container.id);
        let (upper, work) = (data.join("upper"), data.join("work"));
        std::fs::create_dir_all(&upper)?;
        std::fs::create_dir_all(&work)?;
        let roots: Vec<&Path> = std::iter::once(upper.as_path()).chain(lower.iter().map(PathBuf::as_path)).collect();
        let input = OciInput {
            id: &container.id,
            spec: &container.spec,
            hostname: sandbox.hostname.clone(),
            netns: sandbox.netns.clone(),
            rootfs: dir.join("rootfs"),
            files: self.files(&sandbox.files_of).binds(),
            volumes: self.volume_paths(container),
            extra_env: links::environment(container, &sandbox.linked),
            cgroup_parent: &self.config().cgroup_parent,
            passwd: read_in(&roots, "etc/passwd"),
            group: read_in(&roots, "etc/group"),
            devices: crate::runner::devices::resolve(&container.spec.security)?,
        };
        let spec = oci::spec(&input)?;
        let log_path = (container.spec.log.driver != "none").then(|| self.files(&container.id).log);
        let launch = Launch {
            id: container.id.to_string(),
            runtime: runtimes::resolve(&container.spec.runtime)?,
            kind: LaunchKind::Container {
                overlay: Overlay { lower, upper, work, target: input.rootfs.clone() },
                seeds: self.volume_seeds(container),
                netns: sandbox.netns.clone(),
                pins: self.pins(),
            },
            tty: container.spec.process.tty,
            open_stdin: container.spec.process.open_stdin,
            stdin_once: container.spec.process.stdin_once,
            console_size: cell.pending().size,
            log_path,
            log: container.spec.log.clone(),
        };
        Ok(self.runner().spawn(&dir, Some(spec), &launch).await?)
    }

    /// Gives clients that attached before the start their connections: nothing of the output passes them by.
    async fn connect_early(&self, cell: &Cell, shim: &Shim) {
        let early = {
            let mut pending = cell.pending();
            // From here on a client that attaches sees the shim itself.
            cell.live().shim = Some(shim.clone());
            std::mem::take(&mut pending.attach)
        };
        for EarlyAttach { streams, reply } in early {
            let stream = shim.attach(streams.stdin, streams.stdout, streams.stderr).await;
            // A client that has gone away is no error.
            let _ = reply.send(stream.map_err(EngineError::from));
        }
    }

    /// Undoes what was done of a start, backwards; goes on past errors, each of which is logged.
    async fn undo(&self, cell: &Cell, undo: Undo) {
        if let Some(shim) = &undo.shim {
            log_error("abort the shim", shim.abort().await);
            log_error("clean up after the shim", self.runner().clean(shim.dir()).await);
        }
        self.disconnect(&cell.id, undo.endpoint.as_ref(), undo.netns.as_ref()).await;
        if undo.leased {
            let mut container = (*cell.snapshot()).clone();
            container.attached = None;
            log_error("release the lease", self.keep(&container));
        }
        *cell.live() = super::cell::Live::default();
        if undo.told {
            self.membership_event(&cell.snapshot(), "disconnect");
        }
    }

    /// A failed start is told to whoever waits, and the container stays as it was, with the reason.
    async fn start_failed(&self, cell: &Arc<Cell>, container: &Container, error: &EngineError) {
        cell.pending().attach.clear();
        let mut failed = container.clone();
        failed.state.error = error.message.clone();
        failed.state.exit_code = i64::from(exit::start_failure_code(error));
        failed.attached = None;
        if failed.state.status == Status::Restarting {
            // Nobody tries again.
            failed.state.status = Status::Exited;
        }
        log_error("note the failed start", self.keep(&failed));
        let code = failed.state.exit_code;
        cell.publish(failed);
        cell.milestones.send_modify(|milestones| {
            milestones.exits += 1;
            milestones.code = code;
        });
        if container.spec.auto_remove {
            log_error(
                "remove the container",
                self.remove_locked(cell, super::RemoveOptions { force: false, volumes: true }).await,
            );
        }
    }
}
