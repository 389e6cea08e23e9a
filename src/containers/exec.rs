//! `exec`: further processes in a running container. Sessions are the daemon's: they end with their container.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::Engine;
use super::error::EngineError;
use super::exit::not_running;
use super::journal::log_error;
use super::record::{Container, Status};
use super::rootfs::read_in;
use super::{AttachStreams, Attachment, ExecRequest, ExecState};
use crate::model::{ContainerId, ExecId};
use crate::runner::Shim;
use crate::runner::launch::{Launch, LaunchKind};
use crate::runner::oci::{self, OciInput};

/// Sessions that are kept after their end, for `inspect`: a health check every second must not fill the memory.
const ENDED_KEPT: usize = 512;

/// One session.
struct Session {
    state: ExecState,
    started: bool,
    shim: Option<Shim>,
    size: Option<(u16, u16)>,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions {
    by_id: Mutex<HashMap<ExecId, Session>>,
    /// Those that have ended, the last one last.
    ended: Mutex<VecDeque<ExecId>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Session>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running_in(&self, container: &ContainerId) -> Vec<ExecId> {
        let sessions = self.lock();
        let mut ids: Vec<_> = sessions
            .values()
            .filter(|s| s.state.running && s.state.container == *container)
            .map(|s| s.state.id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// A container has ended: sessions that were never started go; others are told by their own shims.
    pub(super) fn forget(&self, container: &ContainerId) {
        self.lock().retain(|_, session| session.state.container != *container || session.started);
    }

    /// A container is gone, and with it every word of its sessions.
    pub(super) fn remove(&self, container: &ContainerId) {
        self.lock().retain(|_, session| session.state.container != *container);
    }

    /// A session has ended; the one that ended longest ago is forgotten when there are many.
    fn end(&self, id: &ExecId, code: i64) {
        // The session may be gone with its container.
        let _ = self.update(id, |session| {
            session.state.running = false;
            session.state.exit_code = Some(code);
            session.state.pid = 0;
            session.shim = None;
        });
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back(id.clone());
        if ended.len() > ENDED_KEPT
            && let Some(oldest) = ended.pop_front()
        {
            self.lock().remove(&oldest);
        }
    }

    fn find(&self, id: &str) -> Result<ExecId, EngineError> {
        let sessions = self.lock();
        let mut found = sessions.keys().filter(|known| !id.is_empty() && known.as_str().starts_with(id));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id.clone()),
            _ => Err(EngineError::not_found(format!("No such exec instance: {id}"))),
        }
    }

    fn update<T>(&self, id: &ExecId, change: impl FnOnce(&mut Session) -> T) -> Result<T, EngineError> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(id);
        session.map(change).ok_or_else(|| EngineError::not_found(format!("No such exec instance: {id}")))
    }
}

impl Engine {
    /// `docker exec`, first half.
    pub async fn exec_create(&self, who: &str, request: ExecRequest) -> Result<ExecId, EngineError> {
        let container = self.runs(who)?;
        if request.exec.args.first().is_none_or(String::is_empty) {
            return Err(EngineError::invalid("No exec command specified"));
        }
        let id = ExecId::from_bytes(rand::random());
        let state = ExecState {
            id: id.clone(),
            container: container.id.clone(),
            request,
            running: false,
            exit_code: None,
            pid: 0,
        };
        self.exec_event(&container, "exec_create", &state, &[]);
        self.inner.sessions.lock().insert(id.clone(), Session { state, started: false, shim: None, size: None });
        Ok(id)
    }

    /// The container, if a process can be started in it.
    fn runs(&self, who: &str) -> Result<std::sync::Arc<Container>, EngineError> {
        let container = self.find(who)?.snapshot();
        match container.state.status {
            Status::Running => Ok(container),
            Status::Paused => {
                Err(EngineError::conflict(format!("container {who} is paused, unpause the container before exec")))
            }
            _ => Err(not_running(&container.id)),
        }
    }

    fn exec_event(&self, container: &Container, action: &str, state: &ExecState, more: &[(&str, String)]) {
        let mut attributes = vec![("execID", state.id.to_string())];
        attributes.extend_from_slice(more);
        let action = match action {
            "exec_die" => action.to_owned(),
            _ => format!("{action}: {}", state.request.exec.args.join(" ")),
        };
        self.container_event(container, &action, &attributes);
    }

    /// `docker exec`, second half: starts the process. `detach`: nothing is attached. `size`: rows and columns.
    pub async fn exec_start(
        &self,
        id: &str,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Attachment>, EngineError> {
        let id = self.inner.sessions.find(id)?;
        let engine = self.clone();
        // Goes on when the caller goes away.
        tokio::spawn(async move { engine.exec_start_now(&id, detach, size).await })
            .await
            .map_err(EngineError::internal)?
    }

    async fn exec_start_now(
        &self,
        id: &ExecId,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Attachment>, EngineError> {
        let state = self.inner.sessions.update(id, |session| {
            if session.started {
                return Err(EngineError::conflict(format!("exec {id} has already been started")));
            }
            session.started = true;
            session.size = size.or(session.size);
            Ok((session.state.clone(), session.size))
        })?;
        let (state, size) = state?;
        let container = self.runs(state.container.as_str())?;
        match self.exec_run(&container, &state, detach, size).await {
            Ok(attachment) => Ok(attachment),
            Err(error) => {
                // Docker's: an exec that did not get as far as its program exits with 126 unless something was not found.
                let code = if super::exit::start_failure_code(&error) == 127 { 127 } else { 126 };
                self.inner.sessions.end(id, code);
                Err(error)
            }
        }
    }

    async fn exec_run(
        &self,
        container: &Container,
        state: &ExecState,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Attachment>, EngineError> {
        let request = &state.request;
        let streams = AttachStreams { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
        let stdin = request.stdin && !detach;
        let launch = self.exec_launch(container, request, stdin, size)?;
        let dir = self.runner().container_dir(&container.id).join("exec").join(state.id.as_str());
        let shim = self.runner().spawn(&dir, None, &launch).await?;
        let begun = async {
            let pid = shim.create().await?;
            let stream = match detach {
                true => None,
                false => Some(shim.attach(stdin, streams.stdout, streams.stderr).await?),
            };
            shim.start().await?;
            Ok::<_, EngineError>((pid, stream))
        };
        let (pid, stream) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                log_error("abort the exec's shim", shim.abort().await);
                log_error("clean up after the exec", self.runner().clean(&dir).await);
                return Err(error);
            }
        };
        self.inner.sessions.update(&state.id, |session| {
            session.state.running = true;
            session.state.pid = pid;
            session.shim = Some(shim.clone());
        })?;
        self.exec_event(container, "exec_start", state, &[]);
        self.exec_watch(container.id.clone(), state.clone(), shim, dir);
        Ok(stream.map(|stream| Attachment {
            tty: request.exec.tty,
            stdin,
            stream: Box::pin(std::future::ready(Ok(Some(stream)))),
        }))
    }

    fn exec_launch(
        &self,
        container: &Container,
        request: &ExecRequest,
        stdin: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Launch, EngineError> {
        let root = PathBuf::from(format!("/proc/{}/root", container.state.pid));
        let roots: &[&Path] = &[root.as_path()];
        let dir = self.runner().container_dir(&container.id);
        let input = OciInput {
            id: &container.id,
            spec: &container.spec,
            hostname: Self::hostname(container),
            netns: None,
            rootfs: dir.join("rootfs"),
            files: Vec::new(),
            volumes: self.volume_paths(container),
            extra_env: super::links::environment(container, &self.linked_now(container)),
            cgroup_parent: &self.config().cgroup_parent,
            passwd: read_in(roots, "etc/passwd"),
            group: read_in(roots, "etc/group"),
            devices: Vec::new(),
        };
        let process = oci::exec_process(&input, &request.exec)?;
        Ok(Launch {
            id: container.id.to_string(),
            runtime: super::runtimes::resolve(&container.spec.runtime)?,
            kind: LaunchKind::Exec { process: Box::new(process), container_dir: dir, init_pid: container.state.pid },
            tty: request.exec.tty,
            open_stdin: stdin,
            stdin_once: stdin,
            console_size: size,
            log_path: None,
            log: crate::model::spec::LogSpec::default(),
        })
    }

    fn exec_watch(&self, container: ContainerId, state: ExecState, shim: Shim, dir: PathBuf) {
        let engine = self.clone();
        tokio::spawn(async move {
            let code = match shim.wait().await {
                Ok(exit) => i64::from(exit.code),
                Err(error) => {
                    tracing::warn!(exec = %state.id.short(), %error, "lost sight of the exec's process");
                    137
                }
            };
            engine.inner.sessions.end(&state.id, code);
            log_error("clean up after the exec", engine.runner().clean(&dir).await);
            if let Ok(cell) = engine.find(container.as_str()) {
                engine.exec_event(&cell.snapshot(), "exec_die", &state, &[("exitCode", code.to_string())]);
            }
        });
    }

    /// Terminal size of an exec.
    pub async fn exec_resize(&self, id: &str, rows: u16, cols: u16) -> Result<(), EngineError> {
        let id = self.inner.sessions.find(id)?;
        let shim = self.inner.sessions.update(&id, |session| {
            session.size = Some((rows, cols));
            session.shim.clone()
        })?;
        match shim {
            Some(shim) => Ok(shim.resize(rows, cols).await?),
            None => Ok(()),
        }
    }

    /// State of an exec. The end of its streams and its exit code reach us by two ways: who asks for the code at the
    /// streams' end is kept until it is here.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecState, EngineError> {
        let id = self.inner.sessions.find(id)?;
        let now = || self.inner.sessions.update(&id, |session| (session.state.clone(), session.shim.clone()));
        let (mut state, shim) = now()?;
        let reaped = state.running && !Path::new(&format!("/proc/{}", state.pid)).exists();
        if let Some(shim) = shim.filter(|_| reaped) {
            match shim.wait().await {
                Ok(exit) => state = ExecState { running: false, exit_code: Some(exit.code.into()), pid: 0, ..state },
                // The shim has gone: the one who watched it has told the session.
                Err(_) => state = now()?.0,
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::ExecSpec;

    fn insert(sessions: &Sessions, number: u16) -> ExecId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let id = ExecId::from_bytes(bytes);
        let exec = ExecSpec {
            args: vec!["true".to_owned()],
            env: Vec::new(),
            user: None,
            workdir: None,
            tty: false,
            privileged: false,
        };
        let request = ExecRequest { exec, stdin: false, stdout: true, stderr: true, detach_keys: None };
        let container = ContainerId::from_bytes([7; 32]);
        let state = ExecState { id: id.clone(), container, request, running: true, exit_code: None, pid: 1 };
        sessions.lock().insert(id.clone(), Session { state, started: true, shim: None, size: None });
        id
    }

    #[test]
    fn sessions_that_have_ended_do_not_pile_up() {
        let sessions = Sessions::default();
        let running = insert(&sessions, 0);
        let ended: Vec<_> = (1..=2000).map(|number| insert(&sessions, number)).collect();
        for id in &ended {
            sessions.end(id, 0);
        }
        assert_eq!(sessions.lock().len(), ENDED_KEPT + 1);
        assert!(sessions.find(running.as_str()).is_ok());
        assert!(sessions.find(ended[0].as_str()).is_err());
        assert!(sessions.find(ended[1999].as_str()).is_ok());
    }
}
