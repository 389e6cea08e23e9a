//! Images: references, archives, layers, and what overlayfs needs to show one as a root filesystem.
//!
//! Everything here blocks; callers on the runtime use `spawn_blocking`. Layers lie under `<root>/layers/<diff id>/`, one
//! directory a layer, shared by all images that have it; configurations are content-addressed; the catalogue
//! (references, which image has which layers) is in the store. A layer becomes visible by a rename, after it is
//! complete: what a killed daemon leaves is swept from `<root>/tmp/` at the next start.

pub mod reference;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::ImageId;
use crate::model::image::Image;
use crate::store::Store;

pub use reference::Reference;

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image of that name or id. Docker's words: the CLI pulls when it reads a 404.
    #[error("No such image: {0}")]
    NotFound(String),
    /// A short id that several images share.
    #[error("image id {0:?} is ambiguous: give more digits")]
    Ambiguous(String),
    /// Text that is no reference.
    #[error("invalid reference format: {0}")]
    Reference(String),
    /// A `--change` instruction that cannot be applied.
    #[error("{0}")]
    Change(String),
    /// An archive that is refused: what entry, and why.
    #[error("refusing archive entry {entry:?}: {reason}")]
    Entry {
        /// The entry's path, lossily.
        entry: String,
        /// Why.
        reason: String,
    },
    /// An archive that is no image.
    #[error("invalid archive: {0}")]
    Archive(String),
    /// The image is in use (409).
    #[error("conflict: {0}")]
    Conflict(String),
    /// The disk.
    #[error("cannot {step} {path}: {source}")]
    Io {
        /// What was attempted.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The catalogue.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// `docker import`'s parameters.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Tag for the result.
    pub reference: Option<Reference>,
    /// `--change` instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL.
    pub changes: Vec<String>,
    /// `--message`.
    pub message: String,
    /// `os/arch[/variant]`; the host's if empty.
    pub platform: String,
}

/// What `load` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// Its references; empty if the archive names none.
    pub references: Vec<String>,
}

/// What `rmi` did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A reference went.
    Untagged(String),
    /// An image or layer went.
    Deleted(String),
}

/// What overlayfs shows as a container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsLayers {
    /// Read-only layers, *uppermost first* (overlayfs's order).
    pub lower: Vec<PathBuf>,
}

/// The image store. Clones share it.
#[derive(Clone)]
pub struct Images {
    store: Arc<Store>,
    root: PathBuf,
}

impl Images {
    /// Opens the store under `root` (made if missing) and sweeps what a killed daemon left half done.
    pub fn open(root: &Path, store: Arc<Store>) -> Result<Self, ImageError> {
        let _ = (root, store);
        todo!()
    }

    /// `docker import`: one layer from a root filesystem tar (plain, gzip or zstd).
    pub fn import(&self, archive: impl Read, options: &ImportOptions) -> Result<Image, ImageError> {
        let _ = (archive, options, &self.store, &self.root);
        todo!()
    }

    /// `docker load`: images from a docker-archive or OCI layout tar (plain, gzip or zstd).
    pub fn load(&self, archive: impl Read) -> Result<Vec<Loaded>, ImageError> {
        let _ = archive;
        todo!()
    }

    /// An image by reference, id or unique id prefix.
    pub fn get(&self, name: &str) -> Result<Image, ImageError> {
        let _ = name;
        todo!()
    }

    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        todo!()
    }

    /// Gives an image another reference, taking it from the image that had it.
    pub fn tag(&self, name: &str, reference: &Reference) -> Result<(), ImageError> {
        let _ = (name, reference);
        todo!()
    }

    /// `docker rmi`: takes a reference away, and the image with its last one. `users` are containers (short id, is
    /// running) that use the image: without `force` they are a conflict, and a running one always is.
    pub fn remove(&self, name: &str, force: bool, users: &[(String, bool)]) -> Result<Vec<Removed>, ImageError> {
        let _ = (name, force, users);
        todo!()
    }

    /// The directories of an image's layers.
    pub fn rootfs(&self, image: &Image) -> RootfsLayers {
        let _ = image;
        todo!()
    }
}
