//! Stop, kill, restart, pause, rename.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Cell;
use super::engine::Engine;
use super::error::EngineError;
use super::exit::not_running;
use super::journal::log_error;
use super::record::{Container, Status};
use super::{Changed, origin};
use crate::model::ContainerName;

const SIGKILL: i32 = 9;
/// Seconds between the stop signal and SIGKILL unless something else was said.
const STOP_TIMEOUT: i64 = 10;

impl Engine {
    /// `docker stop`: signal (the container's own if `None`), then after `timeout` seconds (the container's own if
    /// `None`, negative waits for ever) SIGKILL.
    pub async fn stop(&self, who: &str, signal: Option<i32>, timeout: Option<i64>) -> Result<Changed, EngineError> {
        let cell = self.find(who)?;
        self.stop_and_tell(&cell, signal, timeout).await
    }

    async fn stop_and_tell(
        &self,
        cell: &Arc<Cell>,
        signal: Option<i32>,
        timeout: Option<i64>,
    ) -> Result<Changed, EngineError> {
        let changed = self.stop_cell(cell, signal, timeout).await?;
        if changed == Changed::Yes {
            self.container_event(&cell.snapshot(), "stop", &[]);
        }
        Ok(changed)
    }

    async fn stop_cell(
        &self,
        cell: &Arc<Cell>,
        signal: Option<i32>,
        timeout: Option<i64>,
    ) -> Result<Changed, EngineError> {
        let mut milestones = cell.milestones.subscribe();
        let container = {
            let _operation = cell.operation.lock().await;
            if !self.rest(cell)? {
                return Ok(Changed::Already);
            }
            milestones.mark_unchanged();
            cell.snapshot()
        };
        if container.state.status == Status::Paused {
            // Somebody else may have unpaused it by now.
            let _ = self.pause(container.id.as_str(), false).await;
        }
        let signal = signal.unwrap_or(container.spec.process.stop_signal);
        self.container_event(&container, "kill", &[("signal", signal.to_string())]);
        let ended =
            self.signal_and_wait(cell, signal, timeout.or(container.spec.process.stop_timeout), &mut milestones);
        ended.await?;
        Ok(Changed::Yes)
    }

    async fn signal_and_wait(
        &self,
        cell: &Cell,
        signal: i32,
        timeout: Option<i64>,
        milestones: &mut tokio::sync::watch::Receiver<super::cell::Milestones>,
    ) -> Result<(), EngineError> {
        if self.send_signal(cell, signal).is_ok() {
            let timeout = timeout.unwrap_or(STOP_TIMEOUT);
            let ended = milestones.changed();
            match u64::try_from(timeout) {
                Ok(seconds) => {
                    if tokio::time::timeout(Duration::from_secs(seconds), ended).await.is_ok() {
                        return Ok(());
                    }
                }
                Err(_negative) => {
                    let _ = ended.await;
                    return Ok(());
                }
            }
            // It may end between the time's end and this signal: then there is nothing left to kill.
            if self.send_signal(cell, SIGKILL).is_ok() {
                self.container_event(&cell.snapshot(), "kill", &[("signal", SIGKILL.to_string())]);
            }
            if cell.snapshot().state.status == Status::Paused {
                // Paused while we waited: it dies when it thaws.
                let _ = self.pause(cell.id.as_str(), false).await;
            }
        }
        let _ = milestones.changed().await;
        Ok(())
    }

    /// Tells the restart policy to rest. `false`: the container does not run.
    fn rest(&self, cell: &Cell) -> Result<bool, EngineError> {
        cell.pending().restart += 1;
        let before = cell.snapshot();
        let status = before.state.status;
        if !status.is_running() && status != Status::Restarting {
            return Ok(false);
        }
        let mut resting = (*before).clone();
        resting.state.stopped_by_user = true;
        if status == Status::Restarting {
            resting.state.status = Status::Exited;
        }
        // A full disk must not keep the container that fills it from being stopped.
        log_error("note that a container is to rest", self.keep(&resting));
        cell.publish(resting);
        if status.is_running() {
            cell.pending().ended_by = Some(origin::current());
        }
        Ok(status.is_running())
    }

    /// `docker restart`.
    pub async fn restart(&self, who: &str, signal: Option<i32>, timeout: Option<i64>) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        let _returns = cell.returns();
        self.wait_for_those_it_stands_on(&cell).await;
        // A source whose target does not run would not come back: it goes on instead.
        self.linked(&cell.snapshot())?;
        cell.pending().comes_back = true;
        let stopped = self.stop_and_tell(&cell, signal, timeout).await;
        cell.pending().comes_back = false;
        stopped?;
        self.start(cell.id.as_str()).await?;
        self.container_event(&cell.snapshot(), "restart", &[]);
        Ok(())
    }

    /// `docker kill`.
    pub async fn kill(&self, who: &str, signal: i32) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        let container = cell.snapshot();
        // Only a signal that ends containers by itself, or their own stop signal, is a wish to have them ended.
        let deadly = signal == SIGKILL || signal == container.spec.process.stop_signal;
        let lives = |status: Status| status.is_running() || (deadly && status == Status::Restarting);
        if !lives(container.state.status) {
            return Err(EngineError::conflict(format!("cannot kill container: {who}: {}", not_running(&container.id))));
        }
        let mut milestones = cell.milestones.subscribe();
        if deadly {
            // A start or an end under way comes first; then the container runs, or it is between two lives, where not to
            // begin the next is all there is to do.
            let _operation = cell.operation.lock().await;
            if !self.rest(&cell)? {
                return Ok(());
            }
            milestones.mark_unchanged();
        }
        match self.send_signal(&cell, signal) {
            // It ended by itself at this moment, and its restart policy rests: what was wished for.
            Err(error) if deadly && error.kind == super::ErrorKind::Conflict => {}
            sent => sent?,
        }
        self.container_event(&container, "kill", &[("signal", signal.to_string())]);
        if deadly && cell.snapshot().state.status == Status::Paused {
            // Frozen processes do not even die: the signal reaches them when they thaw.
            log_error("unpause a killed container", self.pause(cell.id.as_str(), false).await);
        }
        if signal == SIGKILL {
            // Docker waits ten seconds for the end, so that `kill && rm` works.
            let _ = tokio::time::timeout(Duration::from_secs(10), milestones.changed()).await;
        }
        Ok(())
    }

    /// Kills a container and waits until it has ended.
    pub(super) async fn kill_and_wait(&self, cell: &Arc<Cell>) -> Result<(), EngineError> {
        self.stop_cell(cell, Some(SIGKILL), Some(-1)).await.map(|_| ())
    }

    /// `docker pause` (`true`) and `unpause`.
    pub async fn pause(&self, who: &str, paused: bool) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        let _operation = cell.operation.lock().await;
        let before = cell.snapshot();
        match (before.state.status, paused) {
            (Status::Running, true) | (Status::Paused, false) => {}
            (Status::Paused, true) => {
                return Err(EngineError::conflict(format!("Container {} is already paused", before.id)));
            }
            (_, true) => return Err(EngineError::conflict(format!("Container {} is not running", before.id))),
            (_, false) => return Err(EngineError::conflict(format!("Container {} is not paused", before.id))),
        }
        let (parent, id) = (self.config().cgroup_parent.clone(), before.id.clone());
        super::engine::blocking(move || crate::runner::control::freeze(&parent, &id, paused)).await?;
        let mut after = (*before).clone();
        after.state.status = if paused { Status::Paused } else { Status::Running };
        self.keep(&after)?;
        let after = cell.publish(after);
        self.container_event(&after, if paused { "pause" } else { "unpause" }, &[]);
        Ok(())
    }

    /// `docker rename`.
    pub async fn rename(&self, who: &str, name: ContainerName) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        let _operation = cell.operation.lock().await;
        if cell.is_removed() {
            return Err(EngineError::not_found(format!("No such container: {who}")));
        }
        let before = cell.snapshot();
        if before.name == name {
            return Err(EngineError::invalid("Renaming a container with the same name as its current name"));
        }
        self.registry().claim(&name, &before.id)?;
        let mut renamed = Container { name: name.clone(), ..(*before).clone() };
        if let Some(endpoint) = &mut renamed.attached {
            endpoint.name = name.clone();
        }
        if let Err(error) = self.keep(&renamed) {
            self.registry().release(&name);
            return Err(error);
        }
        self.registry().release(&before.name);
        let renamed = cell.publish(renamed);
        self.follow_links(&renamed);
        log_error("tell the network a container's new name", self.readmit(&renamed).await);
        self.container_event(&renamed, "rename", &[("oldName", format!("/{}", before.name))]);
        Ok(())
    }
}
