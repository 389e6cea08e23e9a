//! `docker import`: an image from one root filesystem tar.

use std::io::Read;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::budget::{Budget, Received};
use super::compression::inflated;
use super::config::{Defaults, Document, Rootfs, Step};
use super::platform::Platform;
use super::storage::{Blob, Lease, Workspace, io};
use super::unpack::unpack;
use super::{ImageError, Images, ImportOptions, change};
use crate::model::Digest;
use crate::model::image::{Image, ImageConfig};

impl Images {
    /// `docker import`: one layer from a root filesystem tar (plain, gzip or zstd).
    ///
    /// # Errors
    ///
    /// [`ImageError::Change`] for options, [`ImageError::Entry`] and [`ImageError::Archive`] for what the archive holds,
    /// [`ImageError::Io`] for the disk. After an error nothing remains.
    pub fn import(&self, archive: impl Read, options: &ImportOptions) -> Result<Image, ImageError> {
        self.import_at(archive, options, Timestamp::now())
    }

    fn import_at(&self, archive: impl Read, options: &ImportOptions, now: Timestamp) -> Result<Image, ImageError> {
        let mut document = document(options, now)?;
        let workspace = self.storage.workspace()?;
        let budget = Budget::of_directory(workspace.path())?;
        let archive = Received { inner: archive, budget: budget.clone() };
        let tar = inflated(archive, &budget).map_err(|e| ImageError::Archive(e.to_string()))?;
        let layer = workspace.path().join("layer");
        std::fs::create_dir(&layer).map_err(io("make", &layer))?;
        let unpacked = unpack(tar, &layer, &budget)?;
        document.rootfs.diff_ids = vec![unpacked.diff_id.clone()];
        let lease = self.storage.adopt(&layer, Blob::Layer(unpacked.diff_id), unpacked.size)?;
        let json =
            serde_json::to_vec(&document).map_err(|e| ImageError::Archive(format!("image configuration: {e}")))?;
        let references: Vec<_> = options.reference.iter().map(ToString::to_string).collect();
        self.publish(&workspace, &json, &document, &[lease], &references)
    }

    /// Makes an image of complete layers visible: on the disk for good first, then in the catalogue.
    pub(super) fn publish(
        &self,
        workspace: &Workspace,
        json: &[u8],
        document: &Document,
        layers: &[Lease],
        references: &[String],
    ) -> Result<Image, ImageError> {
        let id = Digest::from_sha256(Sha256::digest(json).into());
        let sizes: Vec<u64> = layers.iter().map(|lease| lease.size).collect();
        let mut image = document.image(id.clone(), &sizes)?;
        let made = workspace.path().join("config");
        std::fs::write(&made, json).map_err(io("write", &made))?;
        let config = self.storage.adopt(&made, Blob::Config(id), 0)?;
        self.storage.sync()?;
        self.store.put_image(&image, references)?;
        drop(config);
        image.references = references.to_vec();
        Ok(image)
    }
}

fn document(options: &ImportOptions, now: Timestamp) -> Result<Document, ImageError> {
    let platform = match &*options.platform {
        "" => Platform::host(),
        text => text.parse().map_err(ImageError::Change)?,
    };
    let mut config = ImageConfig::default();
    change::apply(&options.changes, &mut config)?;
    // Docker's default.
    let comment = if options.message.is_empty() { "Imported from -" } else { &options.message };
    Ok(Document {
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        author: String::new(),
        comment: comment.to_owned(),
        config: Defaults::from(&config),
        created: now.to_string(),
        history: vec![Step { created: now.to_string(), comment: comment.to_owned(), ..Step::default() }],
        rootfs: Rootfs::default(),
    })
}
