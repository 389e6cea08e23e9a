//! The lifecycle service.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::error::EngineError;
use super::event::{Event, EventFilter};
use super::logs::{LogLine, LogOptions};
use super::record::Container;
use super::*;
use crate::config::Config;
use crate::images::Images;
use crate::model::{Digest, ExecId, NetworkOptions};

/// The service. Clones share it.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    /// `docker create`.
    pub async fn create(&self, request: CreateRequest) -> Result<Created, EngineError> {
        let _ = request;
        todo!()
    }

    /// `docker start`.
    pub async fn start(&self, who: &str) -> Result<Changed, EngineError> {
        let _ = who;
        todo!()
    }

    /// `docker stop`: signal (the container's own if `None`), then after `timeout` seconds (the container's own if
    /// `None`, negative waits for ever) SIGKILL.
    pub async fn stop(&self, who: &str, signal: Option<i32>, timeout: Option<i64>) -> Result<Changed, EngineError> {
        let _ = (who, signal, timeout);
        todo!()
    }

    /// `docker restart`.
    pub async fn restart(&self, who: &str, signal: Option<i32>, timeout: Option<i64>) -> Result<(), EngineError> {
        let _ = (who, signal, timeout);
        todo!()
    }

    /// `docker kill`.
    pub async fn kill(&self, who: &str, signal: i32) -> Result<(), EngineError> {
        let _ = (who, signal);
        todo!()
    }

    /// `docker pause` (`true`) and `unpause`.
    pub async fn pause(&self, who: &str, paused: bool) -> Result<(), EngineError> {
        let _ = (who, paused);
        todo!()
    }

    /// `docker rename`.
    pub async fn rename(&self, who: &str, name: ContainerName) -> Result<(), EngineError> {
        let _ = (who, name);
        todo!()
    }

    /// `docker rm`.
    pub async fn remove(&self, who: &str, options: RemoveOptions) -> Result<(), EngineError> {
        let _ = (who, options);
        todo!()
    }

    /// `docker wait`. The container is found now (404 at once); the returned future waits.
    pub fn wait(&self, who: &str, condition: WaitCondition) -> Result<Waiting, EngineError> {
        let _ = (who, condition);
        todo!()
    }

    /// `docker attach`.
    pub fn attach(&self, who: &str, streams: AttachStreams) -> Result<Attachment, EngineError> {
        let _ = (who, streams);
        todo!()
    }

    /// The terminal's size, now or (before the start) for the start.
    pub async fn resize(&self, who: &str, rows: u16, cols: u16) -> Result<(), EngineError> {
        let _ = (who, rows, cols);
        todo!()
    }

    /// `docker logs`: the container (for its `tty`), and lines as they come; the channel closes at the end. Lines of a
    /// follower that does not read wait in the file, not in memory.
    pub fn logs(
        &self,
        who: &str,
        options: LogOptions,
    ) -> Result<(Arc<Container>, mpsc::Receiver<LogLine>), EngineError> {
        let _ = (who, options);
        todo!()
    }

    /// One container.
    pub fn get(&self, who: &str) -> Result<Arc<Container>, EngineError> {
        let _ = who;
        todo!()
    }

    /// All containers, newest first.
    pub fn list(&self) -> Vec<Arc<Container>> {
        todo!()
    }

    /// Bytes of the container's own layer, and of it with its image.
    pub async fn size(&self, container: &Container) -> Result<(u64, u64), EngineError> {
        let _ = container;
        todo!()
    }

    /// `docker top`: columns of `ps`, rows.
    pub async fn top(&self, who: &str) -> Result<(Vec<String>, Vec<Vec<String>>), EngineError> {
        let _ = who;
        todo!()
    }

    /// `docker exec`, first half.
    pub async fn exec_create(&self, who: &str, request: ExecRequest) -> Result<ExecId, EngineError> {
        let _ = (who, request);
        todo!()
    }

    /// `docker exec`, second half: starts the process. `detach`: nothing is attached. `size`: rows and columns.
    pub async fn exec_start(
        &self,
        id: &str,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Attachment>, EngineError> {
        let _ = (id, detach, size);
        todo!()
    }

    /// Terminal size of an exec.
    pub async fn exec_resize(&self, id: &str, rows: u16, cols: u16) -> Result<(), EngineError> {
        let _ = (id, rows, cols);
        todo!()
    }

    /// State of an exec.
    pub fn exec_inspect(&self, id: &str) -> Result<ExecState, EngineError> {
        let _ = id;
        todo!()
    }

    /// Past events that match, and those to come (unfiltered: use [`EventFilter::matches`]).
    pub fn events(&self, filter: &EventFilter) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let _ = filter;
        todo!()
    }

    /// Publishes an event of the image room (`tag`, `untag`, `delete`, `import`, `load`).
    pub fn image_event(&self, action: &str, id: &str, name: &str) {
        let _ = (action, id, name);
    }

    /// The image store (blocking: use `spawn_blocking`).
    pub fn images(&self) -> &Images {
        todo!()
    }

    /// `docker rmi`: knows which containers use the image.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<crate::images::Removed>, EngineError> {
        let _ = (name, force);
        todo!()
    }

    /// Containers that use an image.
    pub fn users_of_image(&self, image: &Digest) -> usize {
        let _ = image;
        todo!()
    }

    /// The host directories of the volumes that a container mounts, by volume name.
    pub fn volume_paths(&self, container: &Container) -> VolumePaths {
        let _ = container;
        todo!()
    }

    /// Where a container's log, hosts, hostname and resolv.conf files are.
    pub fn files(&self, id: &ContainerId) -> ContainerFiles {
        let _ = id;
        todo!()
    }

    /// `docker info`.
    pub fn info(&self) -> Info {
        todo!()
    }

    /// The network options in force; `None` with `-b none`.
    pub fn network(&self) -> Option<&NetworkOptions> {
        todo!()
    }

    /// The daemon's options.
    pub fn config(&self) -> &Config {
        todo!()
    }
}
