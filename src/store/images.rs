//! The image catalogue: images, references and which layers are in use.

use rusqlite::{Connection, params};

use super::{Step, Store, StoreError};
use crate::model::image::Image;
use crate::model::{Digest, ImageId};

impl Store {
    /// Every image, unordered, with its references; not those that are only retained for containers.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        select(&self.db(), "SELECT body FROM images WHERE id NOT IN (SELECT image FROM retained_images)", [])
    }

    /// Every image that needs its files: also those that are only retained.
    pub fn images_and_retained(&self) -> Result<Vec<Image>, StoreError> {
        select(&self.db(), "SELECT body FROM images", [])
    }

    /// Takes an image out of sight, with its references, but keeps it for the containers that use it; one transaction.
    pub fn retain_image(&self, image: &ImageId) -> Result<(), StoreError> {
        let mut db = self.db();
        let transaction = db.transaction().step("remove image")?;
        for sql in [
            "DELETE FROM image_references WHERE image = ?1",
            "INSERT INTO retained_images(image) VALUES (?1) ON CONFLICT DO NOTHING",
        ] {
            transaction.execute(sql, [image.as_str()]).step("remove image")?;
        }
        transaction.commit().step("remove image")
    }

    /// Retained images that no container uses any more.
    pub fn images_to_release(&self) -> Result<Vec<Image>, StoreError> {
        let sql = "SELECT body FROM images WHERE id IN (SELECT image FROM retained_images)
                   AND id NOT IN (SELECT image FROM containers)";
        select(&self.db(), sql, [])
    }

    /// Adds or replaces an image (its `references` field is ignored) and gives it references, taking each from the
    /// image that had it; one transaction.
    pub fn put_image(&self, image: &Image, references: &[String]) -> Result<(), StoreError> {
        let bare = Image { references: Vec::new(), ..image.clone() };
        let body = serde_json::to_string(&bare).map_err(|e| damaged(&image.id, &e))?;
        let mut db = self.db();
        let transaction = db.transaction().step("add image")?;
        transaction
            .prepare_cached(
                "INSERT INTO images(id, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body",
            )
            .and_then(|mut s| s.execute([image.id.as_str(), &body]))
            .step("add image")?;
        transaction
            .prepare_cached("DELETE FROM retained_images WHERE image = ?1")
            .and_then(|mut s| s.execute([image.id.as_str()]))
            .step("add image")?;
        for layer in &image.layers {
            transaction
                .prepare_cached("INSERT INTO image_layers(image, layer) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
                .and_then(|mut s| s.execute([image.id.as_str(), layer.as_str()]))
                .step("add image")?;
        }
        for reference in references {
            point(&transaction, reference, &image.id)?;
        }
        transaction.commit().step("add image")
    }

    /// The image that a `name:tag` names.
    pub fn image_by_reference(&self, reference: &str) -> Result<Option<Image>, StoreError> {
        let sql = "SELECT body FROM images WHERE id = (SELECT image FROM image_references WHERE reference = ?1)";
        Ok(select(&self.db(), sql, [reference])?.pop())
    }

    /// The image with exactly this id, retained ones too: a container may need it.
    pub fn image_by_id(&self, id: &ImageId) -> Result<Option<Image>, StoreError> {
        Ok(select(&self.db(), "SELECT body FROM images WHERE id = ?1", [id.as_str()])?.pop())
    }

    /// Images whose hexadecimal digest begins so.
    pub fn images_by_prefix(&self, hex: &str) -> Result<Vec<Image>, StoreError> {
        let low = format!("sha256:{hex}");
        // 'g' sorts behind every hexadecimal digit.
        let high = format!("{low}g");
        select(
            &self.db(),
            "SELECT body FROM images WHERE id >= ?1 AND id < ?2 AND id NOT IN (SELECT image FROM retained_images)",
            [&low, &high],
        )
    }

    /// Whether any image has the layer.
    pub fn layer_is_used(&self, layer: &Digest) -> Result<bool, StoreError> {
        self.db()
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM image_layers WHERE layer = ?1)")
            .and_then(|mut s| s.query_row([layer.as_str()], |row| row.get(0)))
            .step("read layers")
    }

    /// Points a reference at an image.
    pub fn put_reference(&self, reference: &str, image: &ImageId) -> Result<(), StoreError> {
        point(&self.db(), reference, image)
    }

    /// Takes a reference away; whether it was there.
    pub fn delete_reference(&self, reference: &str) -> Result<bool, StoreError> {
        self.db()
            .prepare_cached("DELETE FROM image_references WHERE reference = ?1")
            .and_then(|mut s| s.execute([reference]))
            .step("untag image")
            .map(|rows| rows == 1)
    }

    /// Takes an image and its references away, and answers which layers no image uses any more; one transaction.
    pub fn delete_image(&self, image: &ImageId) -> Result<Vec<Digest>, StoreError> {
        let mut db = self.db();
        let transaction = db.transaction().step("remove image")?;
        let free = {
            let mut statement = transaction
                .prepare_cached(
                    "SELECT layer FROM image_layers WHERE image = ?1
                     AND layer NOT IN (SELECT layer FROM image_layers WHERE image <> ?1)",
                )
                .step("remove image")?;
            let rows = statement.query_map([image.as_str()], |row| row.get::<_, String>(0)).step("remove image")?;
            rows.collect::<Result<Vec<_>, _>>().step("remove image")?
        };
        transaction
            .prepare_cached("DELETE FROM images WHERE id = ?1")
            .and_then(|mut s| s.execute([image.as_str()]))
            .step("remove image")?;
        transaction.commit().step("remove image")?;
        free.into_iter().map(|text| text.parse().map_err(|e| damaged(image, &e))).collect()
    }
}

fn point(db: &Connection, reference: &str, image: &ImageId) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO image_references(reference, image) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET image = excluded.image",
    )
    .and_then(|mut s| s.execute(params![reference, image.as_str()]))
    .step("tag image")
    .map(|_| ())
}

/// Images that a query finds, each with its references, sorted.
fn select(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Image>, StoreError> {
    let mut statement = db.prepare_cached(sql).step("read images")?;
    let bodies = statement.query_map(params, |row| row.get::<_, String>(0)).step("read images")?;
    let mut images = Vec::new();
    for body in bodies {
        let body = body.step("read images")?;
        let mut image: Image = serde_json::from_str(&body)
            .map_err(|e| StoreError::Damaged { what: "image".to_owned(), reason: e.to_string() })?;
        image.references = references(db, &image.id).step("read images")?;
        images.push(image);
    }
    Ok(images)
}

fn references(db: &Connection, image: &ImageId) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement =
        db.prepare_cached("SELECT reference FROM image_references WHERE image = ?1 ORDER BY reference")?;
    let rows = statement.query_map([image.as_str()], |row| row.get(0))?;
    rows.collect()
}

fn damaged(image: &ImageId, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { what: format!("image {image}"), reason: reason.to_string() }
}
