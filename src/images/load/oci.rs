//! An OCI image layout (image-spec, image-layout.md, image-index.md, manifest.md): `index.json`, and blobs by digest.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Found, MAX_IMAGES};
use crate::images::ImageError;
use crate::images::platform::Platform;
use crate::images::reference::Reference;
use crate::images::spool::{Blob, Spool};
use crate::model::Digest;

/// Indexes inside indexes.
const MAX_DEPTH: usize = 4;

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
struct Descriptor {
    digest: Digest,
    size: u64,
    platform: Option<PlatformOf>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PlatformOf {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// An index or a manifest, whichever it turns out to be: the media type is optional in both.
#[derive(Debug, Deserialize)]
struct Either {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

pub(super) fn read<'a>(index: &Blob, spool: &'a Spool, host: &Platform) -> Result<Vec<Found<'a>>, ImageError> {
    let index: Index = index.json("index.json")?;
    if index.manifests.len() > MAX_IMAGES {
        return Err(ImageError::Archive(format!("index.json: more than {MAX_IMAGES} images")));
    }
    let mut by_name: BTreeMap<Option<Reference>, Vec<Descriptor>> = BTreeMap::new();
    for descriptor in index.manifests {
        if !descriptor.is_attestation() {
            by_name.entry(descriptor.reference()?).or_default().push(descriptor);
        }
    }
    let mut all = Vec::new();
    for (name, descriptors) in by_name {
        // Under one name, and among those that say what they are for, descriptors are alternatives.
        let (alternatives, images): (Vec<_>, Vec<_>) =
            descriptors.into_iter().partition(|d| name.is_some() || d.platform.is_some());
        let chosen = if alternatives.is_empty() { None } else { Some(choose(&alternatives, spool, host)?.clone()) };
        for descriptor in images.into_iter().chain(chosen) {
            let mut found = resolve(&descriptor, spool, host, 0)?;
            found.references.extend(name.clone());
            all.push(found);
        }
    }
    Ok(all)
}

/// The image that a descriptor leads to.
fn resolve<'a>(
    descriptor: &Descriptor,
    spool: &'a Spool,
    host: &Platform,
    depth: usize,
) -> Result<Found<'a>, ImageError> {
    let document: Either = descriptor.blob(spool)?.json("image manifest")?;
    match document {
        Either { manifests: Some(manifests), .. } if depth < MAX_DEPTH => {
            let images: Vec<_> = manifests.into_iter().filter(|d| !d.is_attestation()).collect();
            resolve(choose(&images, spool, host)?, spool, host, depth + 1)
        }
        Either { manifests: None, config: Some(config), layers: Some(layers) } => {
            let config = config.blob(spool)?;
            let layers = layers.iter().map(|layer| layer.blob(spool)).collect::<Result<_, _>>()?;
            Ok(Found { config, layers, references: Vec::new() })
        }
        _ => Err(ImageError::Archive(format!("{} is no image manifest", descriptor.digest))),
    }
}

/// The alternative that suits the host best, of those whose blob is here: `docker save` leaves the other platforms' out.
fn choose<'d>(alternatives: &'d [Descriptor], spool: &Spool, host: &Platform) -> Result<&'d Descriptor, ImageError> {
    let score = |descriptor: &Descriptor| match &descriptor.platform {
        None => 1,
        Some(p) => host.suits(&p.os, &p.architecture, p.variant.as_deref().unwrap_or("")),
    };
    let here = alternatives.iter().filter(|d| score(d) > 0 && spool.find(&d.name()).is_some());
    // The first of the best, as in image-index.md.
    here.rev().max_by_key(|d| score(d)).ok_or_else(|| {
        let has: Vec<String> = alternatives.iter().map(Descriptor::platform_text).collect();
        ImageError::Archive(format!("no image for {host} is in it; its index names {}", has.join(", ")))
    })
}

impl Descriptor {
    fn name(&self) -> String {
        format!("blobs/sha256/{}", self.digest.hex())
    }

    /// The blob, proven to be the one that is meant.
    fn blob<'a>(&self, spool: &'a Spool) -> Result<&'a Blob, ImageError> {
        let name = self.name();
        let blob = spool.get(&name)?;
        if blob.digest != self.digest || blob.size != self.size {
            return Err(ImageError::Archive(format!(
                "{name} is not what its descriptor says: {} bytes of {}",
                blob.size, blob.digest
            )));
        }
        Ok(blob)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Provenance and such, which BuildKit keeps among the images.
    fn is_attestation(&self) -> bool {
        self.annotation("vnd.docker.reference.type").is_some()
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }

    /// The image's name: containerd's annotation, or the specification's if it is more than a bare tag.
    fn reference(&self) -> Result<Option<Reference>, ImageError> {
        let full = self.annotation("io.containerd.image.name");
        let specified = self.annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
        let Some(name) = full.or(specified) else { return Ok(None) };
        let reference: Reference =
            name.parse().map_err(|e| ImageError::Archive(format!("index.json: {name:?}: {e}")))?;
        // A reference by digest names nothing that a user could tag.
        Ok(reference.tag().is_some().then_some(reference))
    }

    fn platform_text(&self) -> String {
        match &self.platform {
            None => "one without a platform".to_owned(),
            Some(PlatformOf { os, architecture, variant: Some(v) }) => format!("{os}/{architecture}/{v}"),
            Some(PlatformOf { os, architecture, variant: None }) => format!("{os}/{architecture}"),
        }
    }
}
