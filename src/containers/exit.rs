//! The end of a container's process: noticed, cleaned up after, told; and what its restart policy makes of it.

use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

use super::RemoveOptions;
use super::cell::Cell;
use super::engine::{Engine, blocking};
use super::error::EngineError;
use super::journal::{Timeline, log_error};
use super::origin::on_behalf_of;
use super::ports::Reservation;
use super::record::{Container, Status};
use crate::model::audit::Origin;
use crate::model::{ContainerId, RestartPolicy};
use crate::runner::{Exit, Shim};

/// The first pause before a restart; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A container that ran so long starts over with the first pause.
const SETTLED: Duration = Duration::from_secs(10);

impl Engine {
    /// Waits for the end of a container's process, in a task of its own.
    pub(super) fn watch(&self, cell: Arc<Cell>, shim: Shim) {
        let engine = self.clone();
        tokio::spawn(async move {
            let exit = match shim.wait().await {
                Ok(exit) => exit,
                Err(error) => {
                    tracing::error!(container = %cell.id.short(), %error, "lost sight of the container's process");
                    Exit { code: 137, oom_killed: false, at: super::engine::now() }
                }
            };
            let _operation = cell.operation.lock().await;
            let origin = cell.pending().ended_by.take().unwrap_or(Origin::Ended);
            let ending = AssertUnwindSafe(on_behalf_of(origin, engine.ended(&cell, exit))).catch_unwind();
            if ending.await.is_err() {
                tracing::error!(container = %cell.id.short(), "the end of a container panicked: this is a bug in pontoon");
            }
        });
    }

    /// The process has ended: reachability first, then what it held, then the news.
    pub(super) async fn ended(&self, cell: &Arc<Cell>, exit: Exit) {
        let span = tracing::info_span!("end", container = %cell.id.short());
        let clock = Timeline::new();
        let mut live = std::mem::take(&mut *cell.live());
        let before = cell.snapshot();
        let ran = live.since.map_or(Duration::ZERO, |since| since.elapsed());
        let pause = self.restart_pause(cell, &before, &exit, ran);
        let mut ended = (*before).clone();
        ended.state.status = if pause.is_some() { Status::Restarting } else { Status::Exited };
        ended.state.pid = 0;
        ended.state.exit_code = i64::from(exit.code);
        ended.state.oom_killed = exit.oom_killed;
        ended.state.finished_at = exit.at;
        ended.sandbox.clear();
        // Written before the shim's own word of it is cleaned away: a daemon that dies here does not lose the exit code.
        // The lease and the ports stay taken until the network has let go of them.
        log_error("note the container's end", self.keep(&ended));

        let dir = self.runner().container_dir(&cell.id);
        let disconnect = async {
            self.disconnect(&cell.id, before.attached.as_ref(), live.netns.as_ref()).await;
            clock.mark("disconnected");
        };
        // A thousand sockets take a while to close; their ports stay this container's until the network has let go.
        let sockets = live.ports.as_mut().map(Reservation::take_sockets);
        let close = blocking(move || {
            drop(sockets);
            Ok::<_, EngineError>(())
        });
        let clean = self.runner().clean(&dir).instrument(span.clone());
        let (cleaned, (), closed) = tokio::join!(clean, disconnect.instrument(span.clone()), close);
        log_error("close the ports' sockets", closed);
        span.in_scope(|| clock.mark("cleaned"));
        log_error("clean up after the container", cleaned);
        self.inner.sessions.forget(&cell.id);
        if ended.attached.take().is_some() {
            log_error("release the lease", self.keep(&ended));
        }
        // The ports are free for others once the store says so.
        drop(live.ports);
        let ended = cell.publish(ended);
        self.follow_links(&ended);
        tracing::info!(container = %ended.id.short(), name = %ended.name, code = exit.code, "ended");
        self.membership_event(&ended, "disconnect");
        if exit.oom_killed {
            self.container_event(&ended, "oom", &[]);
        }
        self.container_event(&ended, "die", &[("exitCode", exit.code.to_string())]);

        if pause.is_none() && ended.spec.auto_remove && !cell.pending().comes_back {
            // `removed` is told with the end, so that `run --rm` hears of both.
            cell.milestones.send_modify(|m| m.code = i64::from(exit.code));
            log_error(
                "remove the container",
                self.remove_locked(cell, RemoveOptions { force: false, volumes: true }).await,
            );
        }
        cell.milestones.send_modify(|milestones| {
            milestones.exits += 1;
            milestones.code = i64::from(exit.code);
        });
        if let Some(pause) = pause {
            self.restart_later(cell.clone(), pause);
        }
    }

    /// How long to wait before the restart that the policy wants; `None` if it wants none.
    fn restart_pause(&self, cell: &Cell, container: &Container, exit: &Exit, ran: Duration) -> Option<Duration> {
        let wanted = match container.spec.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max_retries } => {
                exit.code != 0 && (max_retries == 0 || container.state.restart_count < max_retries)
            }
        };
        if !wanted || container.state.stopped_by_user {
            return None;
        }
        let mut pending = cell.pending();
        pending.quick_restarts = if ran >= SETTLED { 0 } else { pending.quick_restarts + 1 };
        let doublings = pending.quick_restarts.saturating_sub(1).min(16);
        Some((FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE))
    }

    fn restart_later(&self, cell: Arc<Cell>, pause: Duration) {
        let engine = self.clone();
        let planned = cell.pending().restart;
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _operation = cell.operation.lock().await;
            // A start, a stop or a removal that came meanwhile has taken over.
            if cell.pending().restart != planned || cell.snapshot().state.status != Status::Restarting {
                return;
            }
            if engine.awaits_target(&cell.snapshot()) {
                return engine.restart_later(cell.clone(), pause);
            }
            let mut again = (*cell.snapshot()).clone();
            again.state.restart_count += 1;
            cell.publish(again);
            if let Err(error) = on_behalf_of(Origin::Policy, engine.start_locked(&cell)).await {
                tracing::warn!(container = %cell.id.short(), %error, "restart by policy failed");
            }
        });
    }

    /// Sends a signal to a container's first process, and to no other that may have got its number.
    pub(super) fn send_signal(&self, cell: &Cell, signal: i32) -> Result<(), EngineError> {
        let pidfd = cell.live().pidfd.clone();
        let not_running = || not_running(&cell.id);
        let pidfd = pidfd.ok_or_else(not_running)?;
        crate::sys::pidfd::send_signal(&pidfd, signal).map_err(|source| match source.raw_os_error() {
            // Ended meanwhile: what was asked for has happened.
            Some(libc::ESRCH) => not_running(),
            _ => EngineError::internal(source),
        })
    }
}

/// Docker's words.
pub(super) fn not_running(id: &ContainerId) -> EngineError {
    EngineError::conflict(format!("container {id} is not running"))
}

/// A handle on a process that cannot come to mean another one.
pub(super) fn pidfd(pid: i32) -> Result<OwnedFd, EngineError> {
    let pid = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| EngineError::new(super::ErrorKind::Internal, format!("the runtime answered pid {pid}")))?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|errno| EngineError::internal(std::io::Error::from(errno)))
}

/// The exit code that `inspect` shows after a failed start: 127 and 126 as the shell's, else 128.
pub(super) fn start_failure_code(error: &EngineError) -> i32 {
    use std::error::Error;
    let runner = error.source().and_then(|source| source.downcast_ref::<crate::runner::RunnerError>());
    match runner {
        Some(crate::runner::RunnerError::Runtime { exit_code: code @ (126 | 127), .. }) => *code,
        _ => 128,
    }
}
