//! Images: references, archives, layers, and what overlayfs needs to show one as a root filesystem.
//!
//! Everything here blocks; callers on the runtime use `spawn_blocking`. Layers lie under `<root>/layers/<diff id>/`, one
//! directory a layer, shared by all images that have it; configurations are content-addressed; the catalogue
//! (references, which image has which layers) is in the store. A layer becomes visible by a rename, after it is
//! complete: what a killed daemon leaves is swept from `<root>/tmp/` at the next start.

mod budget;
mod change;
mod compression;
mod config;
mod confined;
mod entry_path;
mod import;
mod load;
mod platform;
pub mod reference;
mod removal;
#[cfg(test)]
mod samples;
mod spool;
mod storage;
mod tarball;
mod tree;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use self::removal::Removal;
use self::storage::{Blob, Storage};
use crate::model::image::Image;
use crate::model::{Digest, ImageId};
use crate::store::Store;

pub use reference::{Reference, ReferenceError};

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
    #[error(transparent)]
    Reference(#[from] ReferenceError),
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
    storage: Arc<Storage>,
}

/// How a name led to an image.
enum By {
    Reference(Reference),
    Id,
}

impl Images {
    /// Opens the store under `root` (made if missing) and sweeps what a killed daemon left half done.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`] and [`ImageError::Store`].
    pub fn open(root: &Path, store: Arc<Store>) -> Result<Self, ImageError> {
        let storage = Storage::open(root, store.clone())?;
        Ok(Self { store, storage })
    }

    /// An image by reference, id or unique id prefix (with or without `sha256:`).
    ///
    /// # Errors
    ///
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], [`ImageError::Reference`].
    pub fn get(&self, name: &str) -> Result<Image, ImageError> {
        self.find(name).map(|(image, _)| image)
    }

    /// A reference comes before an id: a name may look like one.
    fn find(&self, name: &str) -> Result<(Image, By), ImageError> {
        let reference = name.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some(image) = self.store.image_by_reference(reference.as_str())?
        {
            return Ok((image, By::Reference(reference.clone())));
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let is_prefix = (1..=64).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut images = if is_prefix { self.store.images_by_prefix(hex)? } else { Vec::new() };
        match (images.pop(), images.is_empty()) {
            (Some(image), true) => Ok((image, By::Id)),
            (Some(_), false) => Err(ImageError::Ambiguous(name.to_owned())),
            (None, _) => match reference {
                Ok(reference) => Err(ImageError::NotFound(reference.to_string())),
                Err(ReferenceError::Hexadecimal(_)) => Err(ImageError::NotFound(name.to_owned())),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// All images, newest first.
    ///
    /// # Errors
    ///
    /// [`ImageError::Store`].
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let mut images = self.store.images()?;
        let key = |image: &Image| {
            (image.created.parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::UNIX_EPOCH), image.id.clone())
        };
        images.sort_by_cached_key(|image| std::cmp::Reverse(key(image)));
        Ok(images)
    }

    /// Gives an image another reference, taking it from the image that had it.
    ///
    /// # Errors
    ///
    /// Those of [`Self::get`]; [`ImageError::Reference`] for a reference by digest, which cannot be given.
    pub fn tag(&self, name: &str, reference: &Reference) -> Result<(), ImageError> {
        if reference.digest().is_some() {
            return Err(ReferenceError::TagWithDigest.into());
        }
        let image = self.get(name)?;
        Ok(self.store.put_reference(reference.as_str(), &image.id)?)
    }

    /// `docker rmi`: takes a reference away, and the image with its last one. `users` are containers (short id, is
    /// running) that use the image: without `force` they are a conflict, and a running one keeps the image whatever is
    /// forced (named by a reference, the reference goes). What stopped ones need stays on the disk, out of sight.
    ///
    /// # Errors
    ///
    /// Those of [`Self::get`]; [`ImageError::Conflict`].
    pub fn remove(&self, name: &str, force: bool, users: &[(String, bool)]) -> Result<Vec<Removed>, ImageError> {
        let (image, by) = self.find(name)?;
        let by_reference = match &by {
            By::Reference(reference) => Some(reference.as_str()),
            By::Id => None,
        };
        let references = &image.references;
        let plan = removal::plan(&Removal { id: &image.id, references, by_reference, force, users })?;
        let mut removed = Vec::new();
        for reference in plan.untag {
            // An image that goes takes its references along, in one transaction.
            if plan.delete || self.store.delete_reference(&reference)? {
                removed.push(Removed::Untagged(reference));
            }
        }
        if plan.delete {
            let gone = if plan.retain {
                self.store.retain_image(&image.id)?;
                Vec::new()
            } else {
                self.storage.delete(&image)?
            };
            removed.push(Removed::Deleted(image.id.to_string()));
            let chains = chain_ids(&image.layers);
            let unused = image.layers.iter().zip(chains).filter(|(layer, _)| gone.contains(layer));
            let mut unused: Vec<_> = unused.map(|(_, chain)| Removed::Deleted(chain.to_string())).collect();
            unused.reverse();
            removed.extend(unused);
        }
        Ok(removed)
    }

    /// Gives back the disk of images that were removed by force and that only containers kept; to be called after a
    /// container is removed.
    ///
    /// # Errors
    ///
    /// [`ImageError::Store`].
    pub fn release(&self) -> Result<(), ImageError> {
        self.storage.release()
    }

    /// The directories of an image's layers.
    pub fn rootfs(&self, image: &Image) -> RootfsLayers {
        let mut lower = Vec::new();
        for layer in image.layers.iter().rev() {
            let path = self.storage.path(&Blob::Layer(layer.clone()));
            let opaque = unpack::is_opaque(&path);
            // An image may have the same layer twice; overlayfs takes a directory once, and the upper one is what shows.
            if !lower.contains(&path) {
                lower.push(path);
            }
            // overlayfs does not look for the mark on a layer's root: what is below is left out here.
            if opaque {
                break;
            }
        }
        RootfsLayers { lower }
    }

    /// An image's configuration as it came: the bytes that its id is the digest of.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn config(&self, image: &Image) -> Result<Vec<u8>, ImageError> {
        let path = self.storage.path(&Blob::Config(image.id.clone()));
        std::fs::read(&path).map_err(storage::io("read", &path))
    }
}

/// What Docker names stacks of layers by (OCI image-spec, config.md, "Layer ChainID"), lowest first.
fn chain_ids(layers: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(layers.len());
    for layer in layers {
        let chain = match chains.last() {
            None => layer.clone(),
            Some(below) => Digest::from_sha256(Sha256::digest(format!("{below} {layer}")).into()),
        };
        chains.push(chain);
    }
    chains
}

/// An archive's bytes for a person.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Removes a directory tree that a container shaped: however deep it is, and whatever its links point at. Something that
/// is not there is no error.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let parent = match openat(CWD, parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other?,
    };
    Ok(tree::remove(std::os::fd::AsFd::as_fd(&parent), name)?)
}

#[cfg(test)]
mod tests;
