//! `create`: the image's defaults merged in, a name, a row in the store.

use crate::model::image::{Image, ImageConfig};
use crate::model::{ContainerId, ContainerName, ContainerSpec, EnvVar, Mount, MountKind, NetworkMode};
use crate::store::{ContainerRow, StoreError};

use super::cell::Cell;
use super::engine::{Engine, blocking, now};
use super::error::EngineError;
use super::record::{Container, HealthlessState, NEVER, Status};
use super::{CreateRequest, Created, SpecRequest, names, origin, runtimes, signal, volumes};

impl Engine {
    /// `docker create`.
    pub async fn create(&self, request: CreateRequest) -> Result<Created, EngineError> {
        let (container, warnings) = self.draft(request).await?;
        let (id, name) = (container.id.clone(), container.name.clone());
        match self.keep_new(&container) {
            Ok(()) => {
                self.registry().insert(Cell::new(container.clone()));
                self.container_event(&container, "create", &[]);
                tracing::info!(container = %id.short(), %name, image = %container.image_name, "created");
                Ok(Created { id, warnings })
            }
            Err(error) => {
                self.registry().release(&name);
                let _ = std::fs::remove_dir_all(self.container_dir(&id));
                Err(error)
            }
        }
    }

    /// A container as it would be, with what there is to warn of: everything is checked, nothing written. Its name is
    /// claimed.
    pub(super) async fn draft(&self, request: CreateRequest) -> Result<(Container, Vec<String>), EngineError> {
        let images = self.images().clone();
        let image_name = request.image.clone();
        let image = blocking(move || images.get(&image_name)).await?;
        let asked_links = request.spec.links.clone();
        let mut spec = merge(request.spec, &image)?;
        if spec.runtime.is_empty() {
            spec.runtime.clone_from(&self.config().runtime);
        }
        runtimes::resolve(&spec.runtime)?;
        self.check_mounts(&spec)?;
        let mut warnings = Vec::new();
        warnings.extend(crate::runner::cut_limits(&spec.resources));
        self.check_network(&mut spec, &mut warnings)?;
        spec.network.links = self.resolve_links(&asked_links, &spec.network)?;

        let id = ContainerId::from_bytes(rand::random());
        let name = self.claim_name(request.name, &id)?;
        let container = Container {
            id,
            name,
            created: now(),
            created_by: Some(origin::current()),
            image: image.id.clone(),
            image_name: request.image,
            spec,
            request: request.request,
            state: HealthlessState::default(),
            attached: None,
            sandbox: String::new(),
            execs: Vec::new(),
        };
        Ok((container, warnings))
    }

    /// Writes a new container's directory, volumes and row.
    fn keep_new(&self, container: &Container) -> Result<(), EngineError> {
        std::fs::create_dir_all(self.container_dir(&container.id))?;
        self.store().insert_container(&row(container)?).map_err(|error| match error {
            StoreError::Taken(name) => {
                EngineError::conflict(format!("Conflict. The container name \"/{name}\" is in use"))
            }
            other => other.into(),
        })?;
        // After the row: a daemon that dies in between leaves no volume that nobody knows of.
        if let Err(error) = self.make_volumes(container) {
            self.store().delete_container(container.id.as_str())?;
            return Err(error);
        }
        Ok(())
    }

    fn claim_name(&self, wanted: Option<ContainerName>, id: &ContainerId) -> Result<ContainerName, EngineError> {
        let mut registry = self.registry();
        if let Some(name) = wanted {
            registry.claim(&name, id)?;
            return Ok(name);
        }
        for attempt in 0..10_000 {
            if let Some(name) = names::generate(id, attempt)
                && registry.claim(&name, id).is_ok()
            {
                return Ok(name);
            }
        }
        Err(EngineError::conflict("no generated name is free: give one with --name"))
    }

    /// What can be said of the network before the start.
    fn check_network(&self, spec: &mut ContainerSpec, warnings: &mut Vec<String>) -> Result<(), EngineError> {
        match &spec.network.mode {
            NetworkMode::Bridge if self.default_network().is_none() => {
                return Err(EngineError::not_found(
                    "network bridge not found: this daemon runs without a bridge (--bridge=none); use --net none or host",
                ));
            }
            NetworkMode::Container(who) => {
                // Held by id: the other container may be renamed before the start. One that is not there yet is looked
                // for at the start (a 404 here would make the docker CLI pull the image).
                if let Ok(target) = self.get(who) {
                    spec.network.mode = NetworkMode::Container(target.id.to_string());
                }
            }
            NetworkMode::Host if spec.network.publish_all || !spec.network.publish.is_empty() => {
                warnings.push("Published ports are discarded when using host network mode".to_owned());
            }
            NetworkMode::Host | NetworkMode::Bridge | NetworkMode::None => {}
        }
        Ok(())
    }
}

/// The store's row of a container.
pub(super) fn row(container: &Container) -> Result<ContainerRow, EngineError> {
    Ok(ContainerRow {
        id: container.id.to_string(),
        name: container.name.to_string(),
        image: container.image.to_string(),
        status: container.state.status.as_str().to_owned(),
        body: serde_json::to_string(container).map_err(EngineError::internal)?,
    })
}

impl Default for HealthlessState {
    fn default() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            restart_count: 0,
            stopped_by_user: false,
        }
    }
}

/// Merges the image's defaults into what was asked for.
fn merge(request: SpecRequest, image: &Image) -> Result<ContainerSpec, EngineError> {
    let SpecRequest { mut spec, entrypoint, cmd, env, stop_signal, anonymous_volumes, links: _ } = request;
    let defaults = &image.config;
    let (entrypoint, args) = command(entrypoint, cmd, defaults);
    spec.process.entrypoint_len = entrypoint.len();
    spec.process.args = entrypoint.into_iter().chain(args).collect();
    if spec.process.args.first().is_none_or(String::is_empty) {
        return Err(EngineError::invalid("no command specified: the image has none; give one after the image's name"));
    }
    spec.process.env = environment(&defaults.env, &env)?;
    if spec.process.user.is_empty() {
        spec.process.user.clone_from(&defaults.user);
    }
    if spec.process.workdir.is_empty() {
        spec.process.workdir = if defaults.workdir.is_empty() { "/".to_owned() } else { defaults.workdir.clone() };
    }
    let stop_signal = stop_signal.or_else(|| defaults.stop_signal.clone());
    spec.process.stop_signal = stop_signal.as_deref().map_or(Ok(15), signal::parse)?;
    spec.network.expose.extend(defaults.exposed.iter().copied());
    for (key, value) in &defaults.labels {
        spec.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for target in anonymous_volumes.iter().chain(&defaults.volumes) {
        if !spec.mounts.iter().any(|mount| mount.target == *target) {
            let kind = MountKind::Volume { name: volumes::anonymous_name(), anonymous: true };
            spec.mounts.push(Mount { kind, target: target.clone(), read_only: false, propagation: None });
        }
    }
    Ok(spec)
}

/// Entrypoint and command: a given entrypoint also drops the image's command (Docker's rule).
fn command(entrypoint: Option<Vec<String>>, cmd: Vec<String>, defaults: &ImageConfig) -> (Vec<String>, Vec<String>) {
    match entrypoint {
        Some(given) => (given.into_iter().filter(|word| !word.is_empty()).collect(), cmd),
        None if cmd.is_empty() => (defaults.entrypoint.clone(), defaults.cmd.clone()),
        None => (defaults.entrypoint.clone(), cmd),
    }
}

/// The image's environment with the user's on top: in place where a name is known, else at the end. A bare `NAME`
/// takes one away.
fn environment(image: &[String], user: &[String]) -> Result<Vec<EnvVar>, EngineError> {
    let mut merged: Vec<EnvVar> = Vec::with_capacity(image.len() + user.len());
    for entry in image.iter().chain(user) {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (entry.as_str(), None),
        };
        if name.is_empty() || entry.contains('\0') {
            return Err(EngineError::invalid(format!("invalid environment variable: {entry:?}: expected NAME=value")));
        }
        let known = merged.iter().position(|var| var.name == name);
        match (known, value) {
            (Some(at), Some(value)) => value.clone_into(&mut merged[at].value),
            (Some(at), None) => {
                merged.remove(at);
            }
            (None, Some(value)) => merged.push(EnvVar { name: name.to_owned(), value: value.to_owned() }),
            (None, None) => {}
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entrypoint_and_command_follow_docker() {
        let image = ImageConfig { entrypoint: words("/entry"), cmd: words("serve now"), ..ImageConfig::default() };
        let merged = |entrypoint: Option<&str>, cmd: &str| {
            let (entrypoint, cmd) = command(entrypoint.map(words), words(cmd), &image);
            format!("{} | {}", entrypoint.join(" "), cmd.join(" "))
        };
        assert_eq!(merged(None, ""), "/entry | serve now");
        assert_eq!(merged(None, "other"), "/entry | other");
        assert_eq!(merged(Some("/mine"), ""), "/mine | ");
        assert_eq!(merged(Some("/mine"), "x"), "/mine | x");
        assert_eq!(merged(Some(""), "sh"), " | sh");
    }

    #[test]
    fn the_users_environment_wins_in_place() {
        let image = words("PATH=/bin A=1 B=2");
        let user = words("B=3 C=4 A");
        let merged = environment(&image, &user).unwrap();
        let text: Vec<String> = merged.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
        assert_eq!(text, ["PATH=/bin", "B=3", "C=4"]);
        assert!(environment(&[], &words("=x")).is_err());
    }
}
