//! Where images lie on disk, and how nothing is ever lost or left behind.
//!
//! ```text
//! <root>/layers/<diff id>/    an unpacked layer
//! <root>/configs/<image id>   a configuration, byte for byte (the id is its digest)
//! <root>/tmp/<random>/        an operation's workspace
//! ```
//!
//! All three are mode 0700: a layer holds set-user-id programs that no user of the host may reach. A layer or configuration
//! is made in `tmp/`, appears by a rename, and belongs to its operation (a [`Lease`]) until an image in the catalogue refers
//! to it; whatever has neither lease nor image goes: at the end of the last lease, at the image's removal, or, after a
//! kill, at the next [`Storage::open`].

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ImageError, tree};
use crate::model::Digest;
use crate::model::image::Image;
use crate::store::Store;

/// What is content-addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Blob {
    /// By its diff id.
    Layer(Digest),
    /// By the image's id.
    Config(Digest),
}

/// The directories.
pub(super) struct Storage {
    root: PathBuf,
    /// What running operations rely on, counted. Held while blobs appear and disappear.
    leases: Mutex<HashMap<Blob, Leased>>,
    store: Arc<Store>,
}

#[derive(Default)]
struct Leased {
    operations: usize,
    /// Of a layer that no image has yet.
    size: u64,
}

/// An operation's right to a blob that it has found or made.
pub(super) struct Lease {
    storage: Arc<Storage>,
    blob: Blob,
    /// Bytes of a layer's files; 0 for a configuration.
    pub(super) size: u64,
}

/// A directory in `tmp/` that vanishes with its operation.
pub(super) struct Workspace {
    path: PathBuf,
}

impl Storage {
    /// Makes what is missing, and removes what neither an image nor, since nothing runs yet, an operation needs.
    pub(super) fn open(root: &Path, store: Arc<Store>) -> Result<Arc<Self>, ImageError> {
        for directory in ["layers", "configs", "tmp"] {
            let path = root.join(directory);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(io("make", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io("protect", &path))?;
        }
        let storage = Self { root: root.to_owned(), leases: Mutex::default(), store };
        storage.release()?;
        storage.sweep()?;
        Ok(Arc::new(storage))
    }

    fn sweep(&self) -> Result<(), ImageError> {
        let images = self.store.images_and_retained()?;
        let layers: BTreeSet<&str> = images.iter().flat_map(|i| &i.layers).map(Digest::hex).collect();
        let configs: BTreeSet<&str> = images.iter().map(|i| i.id.hex()).collect();
        self.sweep_directory("tmp", &BTreeSet::new())?;
        self.sweep_directory("layers", &layers)?;
        self.sweep_directory("configs", &configs)?;
        for missing in layers.iter().filter(|hex| !self.root.join("layers").join(hex).is_dir()) {
            tracing::warn!(
                layer = missing,
                "a layer of an image is missing on disk: remove and import the image again"
            );
        }
        Ok(())
    }

    fn sweep_directory(&self, name: &str, keep: &BTreeSet<&str>) -> Result<(), ImageError> {
        let path = self.root.join(name);
        for entry in fs::read_dir(&path).map_err(io("list", &path))? {
            let entry = entry.map_err(io("list", &path))?.file_name();
            if entry.to_str().is_none_or(|text| !keep.contains(text)) {
                tracing::info!(what = ?path.join(&entry), "removing what no image uses");
                remove(&path, &entry)?;
            }
        }
        Ok(())
    }

    pub(super) fn workspace(&self) -> Result<Workspace, ImageError> {
        let path = self.root.join("tmp").join(hex::encode(rand::random::<[u8; 8]>()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(io("make", &path))?;
        Ok(Workspace { path })
    }

    /// Where a blob is, or would be.
    pub(super) fn path(&self, blob: &Blob) -> PathBuf {
        match blob {
            Blob::Layer(diff_id) => self.root.join("layers").join(diff_id.hex()),
            Blob::Config(id) => self.root.join("configs").join(id.hex()),
        }
    }

    /// A lease on a layer, if it is here already.
    pub(super) fn find_layer(self: &Arc<Self>, diff_id: &Digest) -> Result<Option<Lease>, ImageError> {
        let blob = Blob::Layer(diff_id.clone());
        let mut leases = self.leases();
        if !self.path(&blob).is_dir() {
            return Ok(None);
        }
        let size = match leases.get(&blob) {
            Some(leased) => leased.size,
            None => self.size_in_catalogue(diff_id)?,
        };
        Ok(Some(self.lease(&mut leases, blob, size)))
    }

    /// Moves what an operation has made to its place (unless it is there already).
    pub(super) fn adopt(self: &Arc<Self>, made: &Path, blob: Blob, size: u64) -> Result<Lease, ImageError> {
        let mut leases = self.leases();
        let path = self.path(&blob);
        if !path.exists() {
            fs::rename(made, &path).map_err(io("move to its place", &path))?;
        }
        Ok(self.lease(&mut leases, blob, size))
    }

    /// Writes everything to the disk: after it, the catalogue may say that it is there.
    pub(super) fn sync(&self) -> Result<(), ImageError> {
        let root = File::open(&self.root).map_err(io("open", &self.root))?;
        rustix::fs::syncfs(root).map_err(|e| io("sync", &self.root)(e.into()))
    }

    /// Takes an image out of the catalogue, and off the disk what no other one needs. Answers the layers that went.
    pub(super) fn delete(&self, image: &Image) -> Result<Vec<Digest>, ImageError> {
        let leases = self.leases();
        let unused = self.store.delete_image(&image.id)?;
        let blobs = unused.iter().cloned().map(Blob::Layer).chain([Blob::Config(image.id.clone())]);
        let trash: Vec<_> = blobs.filter(|b| !leases.contains_key(b)).filter_map(|b| self.throw(&b)).collect();
        drop(leases);
        drop(trash);
        Ok(unused)
    }

    /// Deletes the images that were retained for containers which are gone.
    pub(super) fn release(&self) -> Result<(), ImageError> {
        for image in self.store.images_to_release()? {
            self.delete(&image)?;
        }
        Ok(())
    }

    /// Moves a blob into a workspace; dropping that is what takes time. A blob that cannot be moved is left to the next sweep.
    fn throw(&self, blob: &Blob) -> Option<Workspace> {
        let path = self.path(blob);
        let moved = self.workspace().and_then(|workspace| match fs::rename(&path, workspace.path.join("trash")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io("remove", &path)(e)),
            _ => Ok(workspace),
        });
        moved.inspect_err(|error| tracing::warn!(%error, "left until the next start")).ok()
    }

    fn lease(self: &Arc<Self>, leases: &mut HashMap<Blob, Leased>, blob: Blob, size: u64) -> Lease {
        let leased = leases.entry(blob.clone()).or_default();
        leased.operations += 1;
        leased.size = size;
        Lease { storage: self.clone(), blob, size }
    }

    fn end(&self, blob: &Blob) {
        let mut leases = self.leases();
        if let Some(leased) = leases.get_mut(blob) {
            leased.operations -= 1;
            if leased.operations > 0 {
                return;
            }
            leases.remove(blob);
        }
        // In doubt it stays: the next sweep knows.
        let trash = if self.in_catalogue(blob).unwrap_or(true) { None } else { self.throw(blob) };
        drop(leases);
        drop(trash);
    }

    fn in_catalogue(&self, blob: &Blob) -> Result<bool, ImageError> {
        Ok(match blob {
            Blob::Layer(diff_id) => self.store.layer_is_used(diff_id)?,
            Blob::Config(id) => self.store.image_by_id(id)?.is_some(),
        })
    }

    fn size_in_catalogue(&self, diff_id: &Digest) -> Result<u64, ImageError> {
        let images = self.store.images_and_retained()?;
        let sizes = images.iter().flat_map(|image| {
            image.layers.iter().zip(image.history.iter().filter(|step| !step.empty_layer).map(|step| step.size))
        });
        Ok(sizes.into_iter().find(|(layer, _)| *layer == diff_id).map_or(0, |(_, size)| size))
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<Blob, Leased>> {
        // Each change of the map is a single step: a panic elsewhere leaves it whole.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.storage.end(&self.blob);
    }
}

impl Workspace {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        if let Err(error) = remove(parent, name) {
            tracing::warn!(%error, "left until the next start");
        }
    }
}

fn remove(directory: &Path, name: &OsStr) -> Result<(), ImageError> {
    let parent = File::open(directory).map_err(io("open", directory))?;
    tree::remove(parent.as_fd(), name).map_err(|e| io("remove", &directory.join(name))(e.into()))
}

/// Names the step and the path that a system error belongs to.
pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { step, path, source }
}
