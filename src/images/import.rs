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
        let config =
            serde_json::to_vec(&document).map_err(|e| ImageError::Archive(format!("image configuration: {e}")))?;
        let references = options.reference.iter().map(ToString::to_string).collect();
        let images = self.publish(&workspace, vec![Ready { config, document, layers: vec![lease], references }])?;
        Ok(images.into_iter().next().expect("one image was published"))
    }

    /// Makes images of complete layers visible: on the disk for good first, then in the catalogue.
    pub(super) fn publish(&self, workspace: &Workspace, ready: Vec<Ready>) -> Result<Vec<Image>, ImageError> {
        let mut images = Vec::new();
        let mut leases = Vec::new();
        for Ready { config, document, layers, references } in ready {
            let id = Digest::from_sha256(Sha256::digest(&config).into());
            let sizes: Vec<u64> = layers.iter().map(|lease| lease.size).collect();
            let image = Image { references, ..document.image(id.clone(), &sizes)? };
            let made = workspace.path().join(id.hex());
            std::fs::write(&made, config).map_err(io("write", &made))?;
            leases.push(self.storage.adopt(&made, Blob::Config(id), 0)?);
            leases.extend(layers);
            images.push(image);
        }
        self.storage.sync()?;
        for image in &images {
            self.store.put_image(image, &image.references)?;
        }
        Ok(images)
    }
}

/// An image that only the catalogue does not know yet.
pub(super) struct Ready {
    /// The configuration, byte for byte.
    pub(super) config: Vec<u8>,
    pub(super) document: Document,
    /// Lowest first.
    pub(super) layers: Vec<Lease>,
    pub(super) references: Vec<String>,
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
