//! All containers in memory, found by id, name or unique id prefix.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cell::Cell;
use super::error::EngineError;
use crate::model::{ContainerId, ContainerName};

/// The containers by id and by name.
#[derive(Default)]
pub(super) struct Registry {
    cells: BTreeMap<String, Arc<Cell>>,
    names: HashMap<String, ContainerId>,
}

impl Registry {
    /// Takes a name, or says who has it.
    pub(super) fn claim(&mut self, name: &ContainerName, id: &ContainerId) -> Result<(), EngineError> {
        match self.names.get(name.as_str()) {
            Some(owner) => Err(EngineError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove \
                 (or rename) that container to be able to reuse that name."
            ))),
            None => {
                self.names.insert(name.as_str().to_owned(), id.clone());
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(super) fn release(&mut self, name: &ContainerName) {
        self.names.remove(name.as_str());
    }

    pub(super) fn insert(&mut self, cell: Arc<Cell>) {
        self.cells.insert(cell.id.as_str().to_owned(), cell);
    }

    pub(super) fn remove(&mut self, id: &ContainerId) {
        self.cells.remove(id.as_str());
        self.names.retain(|_, owner| owner != id);
    }

    pub(super) fn all(&self) -> Vec<Arc<Cell>> {
        self.cells.values().cloned().collect()
    }

    pub(super) fn by_id(&self, id: &ContainerId) -> Option<Arc<Cell>> {
        self.cells.get(id.as_str()).cloned()
    }

    /// By id, by name (with or without slash), by unique id prefix: in this order, as docker does.
    pub(super) fn find(&self, who: &str) -> Result<Arc<Cell>, EngineError> {
        let bare = who.strip_prefix('/').unwrap_or(who);
        let named = || self.names.get(bare).and_then(|id| self.cells.get(id.as_str()));
        if let Some(cell) = self.cells.get(bare).or_else(named) {
            return Ok(cell.clone());
        }
        let mut found = self
            .cells
            .range(bare.to_owned()..)
            .take_while(|(id, _)| !bare.is_empty() && id.starts_with(bare))
            .map(|(_, cell)| cell);
        match (found.next(), found.next()) {
            (Some(cell), None) => Ok(cell.clone()),
            (Some(_), Some(_)) => {
                Err(EngineError::invalid(format!("Multiple IDs found with provided prefix: {bare}: give more digits")))
            }
            (None, _) => Err(EngineError::not_found(format!("No such container: {who}"))),
        }
    }
}
