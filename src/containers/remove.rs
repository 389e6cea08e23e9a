//! `rm`: the container, its layer, its log; what cannot be removed is left to be removed again.

use std::sync::Arc;

use super::RemoveOptions;
use super::cell::Cell;
use super::engine::{Engine, blocking};
use super::error::EngineError;
use super::journal::log_error;
use super::origin::inherit;
use super::record::{Container, Status};

impl Engine {
    /// `docker rm`.
    pub async fn remove(&self, who: &str, options: RemoveOptions) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        let engine = self.clone();
        // Goes on when the caller goes away.
        let removal = async move {
            if options.force {
                engine.kill_and_wait(&cell).await?;
            }
            let _operation = cell.operation.lock().await;
            // Its own `--rm` was faster after the kill: what was asked for is done.
            if options.force && cell.is_removed() {
                return Ok(());
            }
            engine.check_removable(&cell)?;
            engine.remove_locked(&cell, options).await
        };
        tokio::spawn(inherit(removal)).await.map_err(EngineError::internal)?
    }

    fn check_removable(&self, cell: &Cell) -> Result<(), EngineError> {
        let container = cell.snapshot();
        if cell.is_removed() {
            return Err(EngineError::not_found(format!("No such container: {}", container.id)));
        }
        let (name, id) = (&container.name, &container.id);
        match container.state.status {
            Status::Paused => Err(EngineError::conflict(format!(
                "cannot remove container \"/{name}\": container is paused and must be unpaused first"
            ))),
            Status::Running | Status::Restarting => Err(EngineError::conflict(format!(
                "cannot remove container \"{name}\": container is running: stop the container before removing or force \
                 remove ({})",
                id.short()
            ))),
            Status::Created | Status::Exited | Status::Dead | Status::Removing => Ok(()),
        }
    }

    /// Removes a container that does not run and whose operation lock is held.
    pub(super) async fn remove_locked(&self, cell: &Arc<Cell>, options: RemoveOptions) -> Result<(), EngineError> {
        cell.pending().restart += 1;
        let before = cell.snapshot();
        let mut leaving = (*before).clone();
        leaving.state.status = Status::Removing;
        // Written first: a daemon that dies here finishes the removal. On a full disk it is the removal that makes room.
        log_error("note that a container is being removed", self.keep(&leaving));
        let leaving = cell.publish(leaving);
        match self.remove_files(&leaving, options).await {
            Ok(()) => {
                self.store().delete_container(leaving.id.as_str())?;
                self.registry().remove(&leaving.id);
                self.inner.sessions.remove(&leaving.id);
                cell.pending().attach.clear();
                self.container_event(&leaving, "destroy", &[]);
                cell.milestones.send_modify(|milestones| milestones.removed = true);
                tracing::info!(container = %leaving.id.short(), name = %leaving.name, "removed");
                self.release_images().await;
                Ok(())
            }
            Err(error) => {
                let mut dead = (*leaving).clone();
                dead.state.status = Status::Dead;
                dead.state.error = error.message.clone();
                log_error("note that a container could not be removed", self.keep(&dead));
                cell.publish(dead);
                Err(error)
            }
        }
    }

    /// An image that was removed by force may have waited for its last container. What stays now goes at the next start.
    async fn release_images(&self) {
        let images = self.images().clone();
        if let Err(error) = blocking(move || images.release()).await {
            tracing::warn!(error = error.message, "cannot release removed images");
        }
    }

    async fn remove_files(&self, container: &Container, options: RemoveOptions) -> Result<(), EngineError> {
        if options.volumes {
            let (engine, of) = (self.clone(), container.clone());
            blocking(move || {
                engine.remove_anonymous_volumes(&of);
                Ok::<_, EngineError>(())
            })
            .await?;
        }
        self.runner().clean(&self.runner().container_dir(&container.id)).await?;
        let dir = self.container_dir(&container.id);
        blocking(move || crate::images::remove_tree(&dir)).await
    }
}
