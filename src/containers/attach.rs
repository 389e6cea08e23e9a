//! Attach, wait and resize: what clients hang on to.

use tokio::sync::oneshot;

use super::cell::{Cell, EarlyAttach, Milestones};
use super::engine::Engine;
use super::error::EngineError;
use super::exit::not_running;
use super::record::Status;
use super::{AttachStreams, Attachment, WaitCondition, WaitOutcome, Waiting};

impl Engine {
    /// `docker attach`.
    pub fn attach(&self, who: &str, streams: AttachStreams) -> Result<Attachment, EngineError> {
        let cell = self.find(who)?;
        let container = cell.snapshot();
        let process = &container.spec.process;
        let (tty, stdin) = (process.tty, process.open_stdin);
        match container.state.status {
            Status::Paused => {
                return Err(EngineError::conflict(format!(
                    "container {} is paused, unpause the container before attach",
                    container.id
                )));
            }
            Status::Restarting => {
                return Err(EngineError::conflict(format!(
                    "container {} is restarting, wait until the container is running",
                    container.id
                )));
            }
            _ => {}
        }
        self.container_event(&container, "attach", &[]);
        Ok(Attachment { tty, stdin, stream: Box::pin(connection(&cell, streams)) })
    }

    /// The terminal's size, now or (before the start) for the start.
    pub async fn resize(&self, who: &str, rows: u16, cols: u16) -> Result<(), EngineError> {
        let cell = self.find(who)?;
        cell.pending().size = Some((rows, cols));
        match cell.shim() {
            Some(shim) if cell.snapshot().spec.process.tty => Ok(shim.resize(rows, cols).await?),
            Some(_) => Ok(()),
            None => Err(not_running(&cell.id)),
        }
    }

    /// `docker wait`. The container is found now (404 at once); the returned future waits.
    pub fn wait(&self, who: &str, condition: WaitCondition) -> Result<Waiting, EngineError> {
        let cell = self.find(who)?;
        let mut milestones = cell.milestones.subscribe();
        let exits = milestones.borrow().exits;
        let reached = move |cell: &Cell, now: &Milestones| match condition {
            WaitCondition::NotRunning => now.removed || now.exits > exits || !cell.snapshot().state.status.is_running(),
            WaitCondition::NextExit => now.removed || now.exits > exits,
            WaitCondition::Removed => now.removed,
        };
        Ok(Box::pin(async move {
            // The sender lives in the cell, which this future holds.
            let told = milestones.wait_for(|now| reached(&cell, now)).await.map(|now| now.code);
            // The container is published before the milestone: one that does not run knows its code already.
            let now = cell.snapshot();
            let code = match (told, now.state.status.is_running()) {
                (Ok(code), true) => code,
                _ => now.state.exit_code,
            };
            Ok(WaitOutcome { code, error: None })
        }))
    }
}

/// The connection to the container's shim: now, or when it starts. `None` when it is removed, or its start fails.
///
/// The client is entered before this returns: a start that is asked for after the answer to `attach` finds it.
fn connection(
    cell: &Cell,
    streams: AttachStreams,
) -> impl Future<Output = Result<Option<tokio::net::UnixStream>, EngineError>> + Send + use<> {
    // Under one lock with the start's own look: a client is either early or sees the shim.
    let mut pending = cell.pending();
    let shim = cell.shim();
    let waiting = shim.is_none().then(|| {
        let (reply, waiting) = oneshot::channel();
        pending.attach.retain(|early| !early.reply.is_closed());
        pending.attach.push(EarlyAttach { streams, reply });
        waiting
    });
    drop(pending);
    async move {
        match (shim, waiting) {
            (Some(shim), _) => Ok(Some(shim.attach(streams.stdin, streams.stdout, streams.stderr).await?)),
            (None, Some(waiting)) => waiting.await.ok().transpose(),
            (None, None) => Ok(None),
        }
    }
}
