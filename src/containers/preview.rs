//! What a `run` would change, without running it.
//!
//! The container is drafted as `create` does and gets the place that `start` would give it: name, image, links and host
//! ports are checked by the same code and refused in the same words. Nothing is written; name and host ports are held
//! only for the moment in which this looks.

use std::collections::BTreeMap;

use super::CreateRequest;
use super::engine::Engine;
use super::error::EngineError;
use super::record::Container;
use super::sandbox::endpoint;
use crate::model::{Change, ContainerName, Intent, NetworkMode};

/// What a run would change.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// The name that it would have.
    pub name: ContainerName,
    /// Its archetype; who it would join is a name here.
    pub mode: NetworkMode,
    /// The network as it is; `None` with `-b none`.
    pub before: Option<Intent>,
    /// How it would change; `None`: it would have no place of its own on the bridge.
    pub change: Option<Change>,
    /// What `create` would warn of.
    pub warnings: Vec<String>,
}

impl Engine {
    /// What a run would change. Errors are those that the run would end with.
    pub async fn preview(&self, request: CreateRequest) -> Result<Previewed, EngineError> {
        let (container, warnings) = self.draft(request).await?;
        let change = self.would_change(&container).await;
        self.registry().release(&container.name);
        let mode = match &container.spec.network.mode {
            NetworkMode::Container(who) => {
                let target = self.get(who)?;
                super::sandbox::joinable(&target)?;
                NetworkMode::Container(target.name.to_string())
            }
            other => other.clone(),
        };
        Ok(Previewed { name: container.name, mode, before: self.intent(), change: change?, warnings })
    }

    async fn would_change(&self, container: &Container) -> Result<Option<Change>, EngineError> {
        let network = match (&container.spec.network.mode, self.default_network()) {
            (NetworkMode::Bridge, Some(network)) => network,
            _ => return Ok(None),
        };
        self.linked(container)?;
        let ports = self.reserve_ports(container, network).await?;
        let mut pool = network.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let address = pool.lease(&self.store().leases()?).map_err(EngineError::internal)?;
        let endpoint = endpoint(container, address, &ports, self.names(container)?);
        Ok(Some(Change::Admit(container.id.clone(), Box::new(endpoint))))
    }

    /// The network as it should be now; `None` with `-b none`.
    pub fn intent(&self) -> Option<Intent> {
        let options = self.network()?.clone();
        let endpoints = self.list().into_iter().filter_map(|it| Some((it.id.clone(), it.attached.clone()?)));
        Some(Intent { options, endpoints: endpoints.collect::<BTreeMap<_, _>>() })
    }
}
