//! The service behind the API, and what its parts share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::cell::Cell;
use super::error::EngineError;
use super::event::{Event, EventFilter};
use super::exec::Sessions;
use super::history::History;
use super::ledger::Ledger;
use super::ports::PortTable;
use super::record::{Container, Status};
use super::registry::Registry;
use super::{ContainerFiles, Info, origin};
use crate::bridge::Bridge;
use crate::bridge::ipam::Pool;
use crate::config::Config;
use crate::dns::NameServer;
use crate::firewall::denials::Denials;
use crate::firewall::{Firewall, FirewallError};
use crate::images::Images;
use crate::model::{Change, ContainerId, Digest, NetworkOptions, Outcomes};
use crate::runner::Runner;
use crate::store::{Store, StoreError};

/// Past events kept for `events --since`.
const EVENTS_KEPT: usize = 1024;

/// The default network: absent with `-b none`.
pub struct Network {
    /// Resolved options.
    pub options: NetworkOptions,
    /// The bridge.
    pub bridge: Bridge,
    /// Its firewall.
    pub firewall: Firewall,
    /// Answers its containers on the gateway.
    pub names: NameServer,
    /// Addresses: chosen here, held in the store.
    pub pool: Mutex<Pool>,
}

impl Network {
    /// Brings a change of the intent into force: names first, for they cost nothing, then the firewall.
    async fn apply(&self, change: Change) -> Result<(), FirewallError> {
        self.names.apply(&change);
        self.firewall.apply(change).await
    }
}

/// What the composition root puts together for the engine.
pub struct Parts {
    /// Options.
    pub config: Config,
    /// State.
    pub store: Arc<Store>,
    /// Images.
    pub images: Images,
    /// Shims.
    pub runner: Runner,
    /// The default network.
    pub network: Option<Network>,
    /// What its changes were.
    pub history: History,
    /// Worth showing in `info`.
    pub warnings: Vec<String>,
    /// A stable id of this data root.
    pub id: String,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
}

pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) registry: Mutex<Registry>,
    pub(super) ports: PortTable,
    pub(super) sessions: Sessions,
    ledger: Ledger,
    pub(super) starts: Outcomes,
    past: Mutex<VecDeque<Event>>,
    events: broadcast::Sender<Event>,
}

/// The service. Clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

impl Engine {
    /// An engine that knows no container yet: [`Engine::restore`] reads them from the store.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                registry: Mutex::default(),
                ports: PortTable::default(),
                sessions: Sessions::default(),
                ledger: Ledger::default(),
                starts: Outcomes::default(),
                past: Mutex::default(),
                events: broadcast::Sender::new(EVENTS_KEPT),
            }),
        }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All containers. The registry is not locked any more when this returns: in `for … in self.registry().all()` it
    /// would be until the loop's end.
    pub(super) fn cells(&self) -> Vec<Arc<Cell>> {
        self.registry().all()
    }

    pub(super) fn find(&self, who: &str) -> Result<Arc<Cell>, EngineError> {
        self.registry().find(who)
    }

    /// Writes down a word for the next daemon.
    pub fn remember(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.store().put_meta(key, value)
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.parts.store
    }

    pub(super) fn runner(&self) -> &Runner {
        &self.inner.parts.runner
    }

    /// The default network's rooms; `None` with `-b none`.
    pub fn default_network(&self) -> Option<&Network> {
        self.inner.parts.network.as_ref()
    }

    /// What others changed, and what was put right.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Containers that nobody starts, ends or changes at this moment, as they are; and the ids of the others.
    pub fn settled(&self) -> (Vec<Arc<Container>>, Vec<ContainerId>) {
        let (mut settled, mut in_flux) = (Vec::new(), Vec::new());
        for cell in self.cells() {
            match cell.operation.try_lock() {
                Ok(_operation) => settled.push(cell.snapshot()),
                Err(_) => in_flux.push(cell.id.clone()),
            }
        }
        (settled, in_flux)
    }

    /// Works on a container that nobody starts, ends or changes meanwhile.
    pub fn undisturbed<T>(&self, id: &ContainerId, work: impl FnOnce(&Container) -> T) -> Option<T> {
        let cell = self.cells().into_iter().find(|cell| cell.id == *id)?;
        let _operation = cell.operation.try_lock().ok()?;
        Some(work(&cell.snapshot()))
    }

    /// Each change of who can talk to whom.
    pub fn history(&self) -> &History {
        &self.inner.parts.history
    }

    /// Brings a change of the intent into force, and enters it in the history.
    pub(super) async fn enforce(&self, network: &Network, change: Change) -> Result<(), FirewallError> {
        let enforced = network.apply(change.clone()).await;
        let id = match &change {
            Change::Admit(id, _) if enforced.is_ok() => id,
            Change::Admit(..) => return enforced,
            // Its container has ended, whatever the firewall says of it.
            Change::Dismiss(id) => id,
        };
        let container = self.registry().by_id(id).map(|cell| cell.snapshot());
        self.history().changed(change, origin::current(), container.as_deref());
        enforced
    }

    /// Where a container's files live, under the data root.
    pub(super) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.inner.parts.config.data_root.join("containers").join(id.as_str())
    }

    /// One container, also by a link to it (`/source/alias`). To change or remove something, that is no name for it: who
    /// forgets the `--link` of `rm --link` shall not lose the container.
    pub fn get(&self, who: &str) -> Result<Arc<Container>, EngineError> {
        let cell = self.find(who).or_else(|error| self.link_end(who).ok_or(error))?;
        Ok(self.with_execs(&cell))
    }

    fn with_execs(&self, cell: &Cell) -> Arc<Container> {
        let snapshot = cell.snapshot();
        let execs = self.inner.sessions.running_in(&snapshot.id);
        if execs.is_empty() { snapshot } else { Arc::new(Container { execs, ..(*snapshot).clone() }) }
    }

    /// All containers, newest first.
    pub fn list(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.cells().iter().map(|cell| cell.snapshot()).collect();
        all.sort_by(|a, b| b.created.cmp(&a.created));
        all
    }

    /// Past events that match, and those to come (unfiltered: use [`EventFilter::matches`]).
    pub fn events(&self, filter: &EventFilter) -> (Vec<Event>, broadcast::Receiver<Event>) {
        // Subscribed under the lock: no event is missed or seen twice.
        let past = self.inner.past.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.inner.events.subscribe();
        let matching = match filter.since {
            Some(since) => past.iter().filter(|e| e.time_nano >= since && filter.matches(e)).cloned().collect(),
            None => Vec::new(),
        };
        (matching, receiver)
    }

    pub(super) fn publish(&self, event: Event) {
        let mut past = self.inner.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == EVENTS_KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listening is no error.
        let _ = self.inner.events.send(event);
    }

    /// An event of a container, with docker's attributes: image, name, labels, and what the caller adds.
    pub(super) fn container_event(&self, container: &Container, action: &str, more: &[(&str, String)]) {
        let mut attributes = container.spec.labels.clone();
        attributes.insert("image".to_owned(), container.image_name.clone());
        attributes.insert("name".to_owned(), container.name.to_string());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.publish(Event::now("container", action, container.id.as_str(), attributes));
    }

    /// Publishes an event of the image room (`tag`, `untag`, `delete`, `import`, `load`).
    pub fn image_event(&self, action: &str, id: &str, name: &str) {
        let attributes = [("name".to_owned(), name.to_owned())].into();
        self.publish(Event::now("image", action, id, attributes));
    }

    /// The image store (blocking: use `spawn_blocking`).
    pub fn images(&self) -> &Images {
        &self.inner.parts.images
    }

    /// `docker rmi`: knows which containers use the image.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<crate::images::Removed>, EngineError> {
        let images = self.images().clone();
        let name = name.to_owned();
        let engine = self.clone();
        blocking(move || {
            let image = images.get(&name)?;
            let users: Vec<_> = engine
                .list()
                .iter()
                .filter(|c| c.image == image.id)
                .map(|c| (c.id.short().to_owned(), c.state.status.is_running()))
                .collect();
            let removed = images.remove(&name, force, &users)?;
            for step in &removed {
                match step {
                    crate::images::Removed::Untagged(_) => engine.image_event("untag", image.id.as_str(), &name),
                    crate::images::Removed::Deleted(id) if id == image.id.as_str() => {
                        engine.image_event("delete", id, &name);
                    }
                    crate::images::Removed::Deleted(_) => {}
                }
            }
            Ok::<_, crate::images::ImageError>(removed)
        })
        .await
    }

    /// Containers that use an image.
    pub fn users_of_image(&self, image: &Digest) -> usize {
        self.cells().iter().filter(|cell| cell.snapshot().image == *image).count()
    }

    /// Where a container's log, hosts, hostname and resolv.conf files are.
    pub fn files(&self, id: &ContainerId) -> ContainerFiles {
        let dir = self.container_dir(id);
        ContainerFiles {
            log: dir.join(format!("{id}-json.log")),
            hosts: dir.join("hosts"),
            hostname: dir.join("hostname"),
            resolv_conf: dir.join("resolv.conf"),
        }
    }

    /// `docker info`.
    pub fn info(&self) -> Info {
        let all = self.list();
        let count = |wanted: fn(Status) -> bool| all.iter().filter(|c| wanted(c.state.status)).count();
        Info {
            id: self.inner.parts.id.clone(),
            created: self.inner.parts.created.clone(),
            running: count(|s| s == Status::Running),
            paused: count(|s| s == Status::Paused),
            stopped: count(|s| !s.is_running()),
            images: self.images().list().map_or(0, |images| images.len()),
            warnings: self.inner.parts.warnings.clone(),
        }
    }

    /// The network options in force; `None` with `-b none`.
    pub fn network(&self) -> Option<&NetworkOptions> {
        self.default_network().map(|network| &network.options)
    }

    /// How long starts took, since the daemon's own.
    pub fn starts(&self) -> &Outcomes {
        &self.inner.starts
    }

    /// What the firewall denied; `None` with `-b none`.
    pub fn denials(&self) -> Option<&Denials> {
        self.default_network().map(|network| network.firewall.denials())
    }

    /// Since when the firewall's elements count; `None` with `-b none`, and while that is not known.
    pub fn counting_since(&self) -> Option<jiff::Timestamp> {
        self.default_network()?.firewall.counting_since()
    }

    /// The daemon's options.
    pub fn config(&self) -> &Config {
        &self.inner.parts.config
    }
}

/// Runs blocking work off the runtime's threads.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, EngineError>
where
    T: Send + 'static,
    E: Into<EngineError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(panic) => Err(EngineError::internal(panic)),
    }
}

/// Now, as docker writes times: RFC 3339, UTC, nanoseconds.
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

impl Engine {
    /// Bytes of the container's own layer, and of it with its image.
    pub async fn size(&self, container: &Container) -> Result<(u64, u64), EngineError> {
        let image = self.store().image_by_id(&container.image)?.map_or(0, |image| image.size);
        let upper = self.container_dir(&container.id).join("upper");
        let own = blocking(move || Ok::<_, EngineError>(bytes_below(&upper))).await?;
        Ok((own, own + image))
    }

    /// `docker top`: columns of `ps`, rows.
    pub async fn top(&self, who: &str) -> Result<(Vec<String>, Vec<Vec<String>>), EngineError> {
        let cell = self.find(who)?;
        let container = cell.snapshot();
        if !container.state.status.is_running() {
            return Err(super::exit::not_running(&container.id));
        }
        let (parent, id) = (self.config().cgroup_parent.clone(), container.id.clone());
        blocking(move || super::top::table(&crate::runner::control::processes(&parent, &id)?)).await
    }
}

/// Bytes of the files below a directory, without following links.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        })
        .sum()
}
