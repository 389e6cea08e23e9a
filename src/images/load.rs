//! `docker load`: images from what `docker save` and OCI tools write.

mod docker_archive;
mod oci;

use std::fs::File;
use std::io::Read;
use std::rc::Rc;

use super::budget::{Budget, Received};
use super::compression::inflated;
use super::config::Document;
use super::import::Ready;
use super::platform::Platform;
use super::reference::Reference;
use super::spool::{Blob as Spooled, Spool};
use super::storage::{Blob, Lease, Workspace, io};
use super::unpack::unpack;
use super::{ImageError, Images, Loaded};
use crate::model::Digest;

/// As many layers as Docker stacks.
const MAX_LAYERS: usize = 128;
/// More images than an archive has.
const MAX_IMAGES: usize = 1000;
/// Bytes of all configurations together: they are in memory at once.
const MAX_CONFIGS: u64 = 64 << 20;

/// An image as an archive describes it.
struct Found<'a> {
    config: &'a Spooled,
    /// Lowest first, as compressed as they come.
    layers: Vec<&'a Spooled>,
    references: Vec<Reference>,
}

impl Images {
    /// `docker load`: images from a docker-archive or OCI layout tar (plain, gzip or zstd; so may be the layers).
    ///
    /// Of an index of several platforms this machine's is taken. All images of the archive become visible, or none.
    ///
    /// # Errors
    ///
    /// [`ImageError::Entry`] and [`ImageError::Archive`] for what the archive holds, [`ImageError::Io`] for the disk. After
    /// an error nothing remains.
    pub fn load(&self, archive: impl Read) -> Result<Vec<Loaded>, ImageError> {
        let workspace = self.storage.workspace()?;
        let budget = Budget::of_directory(workspace.path())?;
        let archive = Received { inner: archive, budget: budget.clone() };
        let tar = inflated(archive, &budget).map_err(|e| ImageError::Archive(e.to_string()))?;
        let spool = Spool::read(tar, &workspace.path().join("blobs"), &budget)?;
        let found = if let Some(manifest) = spool.find("manifest.json") {
            docker_archive::read(manifest, &spool)?
        } else if let Some(index) = spool.find("index.json") {
            oci::read(index, &spool, &Platform::host())?
        } else {
            return Err(ImageError::Archive(
                "neither manifest.json (docker save) nor index.json (OCI layout) is in it; \
                 a root filesystem goes in by docker import"
                    .to_owned(),
            ));
        };
        let mut ready = Vec::new();
        for (number, found) in merged(found)?.into_iter().enumerate() {
            ready.push(self.ready(found, number, &workspace, &budget)?);
        }
        let images = self.publish(&workspace, ready)?;
        Ok(images.into_iter().map(|image| Loaded { id: image.id, references: image.references }).collect())
    }

    /// Unpacks the layers that are not here yet.
    fn ready(
        &self,
        found: Found<'_>,
        number: usize,
        workspace: &Workspace,
        budget: &Rc<Budget>,
    ) -> Result<Ready, ImageError> {
        let config = found.config.read_small("image configuration")?;
        let document = Document::parse(&config)?;
        let diff_ids = &document.rootfs.diff_ids;
        if diff_ids.len() != found.layers.len() {
            return Err(ImageError::Archive(format!(
                "image configuration: it has {} layers, its manifest {}",
                diff_ids.len(),
                found.layers.len()
            )));
        }
        if diff_ids.len() > MAX_LAYERS {
            return Err(ImageError::Archive(format!("an image of more than {MAX_LAYERS} layers")));
        }
        let mut layers = Vec::new();
        for (at, (diff_id, blob)) in diff_ids.iter().zip(found.layers).enumerate() {
            let layer = match self.storage.find_layer(diff_id)? {
                Some(lease) => lease,
                None => self.unpack_layer(diff_id, blob, &format!("layer-{number}-{at}"), workspace, budget)?,
            };
            layers.push(layer);
        }
        let references = found.references.iter().map(ToString::to_string).collect();
        Ok(Ready { config, document, layers, references })
    }

    fn unpack_layer(
        &self,
        diff_id: &Digest,
        blob: &Spooled,
        name: &str,
        workspace: &Workspace,
        budget: &Rc<Budget>,
    ) -> Result<Lease, ImageError> {
        let directory = workspace.path().join(name);
        std::fs::create_dir(&directory).map_err(io("make", &directory))?;
        let file = File::open(&blob.path).map_err(io("open", &blob.path))?;
        let tar = inflated(file, budget).map_err(|e| ImageError::Archive(format!("layer {diff_id}: {e}")))?;
        let unpacked = unpack(tar, &directory, budget)?;
        if unpacked.diff_id != *diff_id {
            return Err(ImageError::Archive(format!(
                "layer {diff_id} is not what the image's configuration says: its digest is {}",
                unpacked.diff_id
            )));
        }
        self.storage.adopt(&directory, Blob::Layer(unpacked.diff_id), unpacked.size)
    }
}

/// One entry for each configuration, with all its references.
fn merged(found: Vec<Found<'_>>) -> Result<Vec<Found<'_>>, ImageError> {
    if found.len() > MAX_IMAGES {
        return Err(ImageError::Archive(format!("more than {MAX_IMAGES} images")));
    }
    let mut merged: Vec<Found<'_>> = Vec::new();
    for image in found {
        match merged.iter_mut().find(|known| known.config.digest == image.config.digest) {
            Some(known) => known.references.extend(image.references),
            None => merged.push(image),
        }
    }
    let bytes = merged.iter().map(|image| image.config.size).sum::<u64>();
    if bytes > MAX_CONFIGS {
        return Err(ImageError::Archive(format!("image configurations of more than {MAX_CONFIGS} bytes")));
    }
    Ok(merged)
}

#[cfg(test)]
mod tests;
