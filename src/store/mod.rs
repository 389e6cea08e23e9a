//! SQLite: what must survive the daemon. An operator can open it: `sqlite3 <data root>/pontoon.db`.
//!
//! WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed; a machine that loses power may lose
//! the last moments, never consistency. Calls are short and synchronous.

use crate::model::image::Image;
use crate::model::{Digest, ImageId};

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own error.
    #[error("state database: {step}: {source}")]
    Sqlite {
        /// What was attempted.
        step: &'static str,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// A row that this version cannot read.
    #[error("state database: {what} is damaged: {reason}")]
    Damaged {
        /// Which row.
        what: String,
        /// Why.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("state database has schema {found}, this version knows up to {known}: use the newer pontoon")]
    Newer {
        /// In the file.
        found: i64,
        /// Known here.
        known: i64,
    },
}

/// The daemon's database.
pub struct Store {
    db: std::sync::Mutex<rusqlite::Connection>,
}

impl Store {
    /// Every image, unordered, with its references.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        let _ = &self.db;
        todo!()
    }

    /// Adds or replaces an image (its `references` field is ignored) and gives it references, taking each from the
    /// image that had it; one transaction.
    pub fn put_image(&self, image: &Image, references: &[String]) -> Result<(), StoreError> {
        let _ = (image, references);
        todo!()
    }

    /// The image that a `name:tag` names.
    pub fn image_by_reference(&self, reference: &str) -> Result<Option<Image>, StoreError> {
        let _ = reference;
        todo!()
    }

    /// Images whose hexadecimal digest begins so.
    pub fn images_by_prefix(&self, hex: &str) -> Result<Vec<Image>, StoreError> {
        let _ = hex;
        todo!()
    }

    /// Points a reference at an image.
    pub fn put_reference(&self, reference: &str, image: &ImageId) -> Result<(), StoreError> {
        let _ = (reference, image);
        todo!()
    }

    /// Takes a reference away; whether it was there.
    pub fn delete_reference(&self, reference: &str) -> Result<bool, StoreError> {
        let _ = reference;
        todo!()
    }

    /// Takes an image and its references away, and answers which layers no image uses any more; one transaction.
    pub fn delete_image(&self, image: &ImageId) -> Result<Vec<Digest>, StoreError> {
        let _ = image;
        todo!()
    }
}
