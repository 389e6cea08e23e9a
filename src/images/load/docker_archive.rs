//! `docker save`'s own format: `manifest.json`, a list of images.

use serde::Deserialize;

use super::Found;
use crate::images::ImageError;
use crate::images::reference::Reference;
use crate::images::spool::{Blob, Spool};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    /// `null` for an image without names.
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn read<'a>(manifest: &Blob, spool: &'a Spool) -> Result<Vec<Found<'a>>, ImageError> {
    let items: Vec<Item> = manifest.json("manifest.json")?;
    items.into_iter().map(|item| found(item, spool)).collect()
}

fn found(item: Item, spool: &Spool) -> Result<Found<'_>, ImageError> {
    let config = spool.get(&item.config)?;
    let layers = item.layers.unwrap_or_default();
    let layers = layers.iter().map(|name| spool.get(name)).collect::<Result<_, _>>()?;
    let references = item
        .repo_tags
        .unwrap_or_default()
        .iter()
        .map(|tag| tag.parse::<Reference>().map_err(|e| ImageError::Archive(format!("manifest.json: {tag:?}: {e}"))))
        .collect::<Result<_, _>>()?;
    Ok(Found { config, layers, references })
}
