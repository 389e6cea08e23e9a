//! `docker load`.

use std::io::Read;

use super::{ImageError, Images, Loaded};

impl Images {
    /// `docker load`: images from a docker-archive or OCI layout tar (plain, gzip or zstd).
    pub fn load(&self, archive: impl Read) -> Result<Vec<Loaded>, ImageError> {
        drop(archive);
        Err(ImageError::Archive("docker load is not built yet".to_owned()))
    }
}
