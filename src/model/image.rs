//! An image as the rest of the house sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Digest, ImageId, Port};

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of the configuration.
    pub id: ImageId,
    /// `name:tag` references, sorted.
    pub references: Vec<String>,
    /// Uncompressed layers, lowest first (OCI `rootfs.diff_ids`).
    pub layers: Vec<Digest>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// RFC 3339.
    pub created: String,
    /// `amd64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// Free text.
    pub author: String,
    /// `docker import -m`.
    pub comment: String,
    /// Defaults for containers.
    pub config: ImageConfig,
    /// Oldest first.
    pub history: Vec<History>,
}

/// Defaults that an image gives its containers (OCI image-spec, config.md).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV, `NAME=value`.
    pub env: Vec<String>,
    /// USER.
    pub user: String,
    /// WORKDIR.
    pub workdir: String,
    /// EXPOSE.
    pub exposed: BTreeSet<Port>,
    /// VOLUME.
    pub volumes: BTreeSet<String>,
    /// LABEL.
    pub labels: BTreeMap<String, String>,
    /// STOPSIGNAL, name or number as written.
    pub stop_signal: Option<String>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    pub created: String,
    /// The command.
    pub created_by: String,
    /// Free text.
    pub comment: String,
    /// The step made no layer.
    pub empty_layer: bool,
    /// Bytes of the step's layer, unpacked; 0 for an empty one.
    pub size: u64,
}
