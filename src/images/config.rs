//! An image's configuration: JSON as the OCI image-spec (config.md) and Docker write it, and what we keep of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::ImageError;
use crate::model::image::{History, Image, ImageConfig};
use crate::model::{Digest, ImageId, Port};

/// The document; a field that is `null` is as good as missing, because Docker writes many so.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Document {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Defaults,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) created: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) history: Vec<Step>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) os: String,
    pub(super) rootfs: Rootfs,
}

/// `config`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Defaults {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    stop_signal: String,
}

/// Go's `struct{}`: the value of a set's members.
#[derive(Debug, Default, Serialize)]
struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

/// One `history` entry.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Step {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) created: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) created_by: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub(super) empty_layer: bool,
}

/// `rootfs`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) diff_ids: Vec<Digest>,
}

impl Default for Rootfs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Document {
    /// Reads a configuration that came with an archive.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let document: Self = serde_json::from_slice(bytes).map_err(|e| invalid(&format!("it cannot be read: {e}")))?;
        if !matches!(&*document.os, "linux" | "") {
            return Err(invalid(&format!("it is for {}, not for linux", document.os)));
        }
        if document.rootfs.kind != "layers" {
            return Err(invalid("its rootfs is not of type \"layers\""));
        }
        document.config.check()?;
        Ok(document)
    }

    /// The image that it describes. `sizes` are its layers', in order.
    pub(super) fn image(&self, id: ImageId, sizes: &[u64]) -> Result<Image, ImageError> {
        Ok(Image {
            id,
            references: Vec::new(),
            layers: self.rootfs.diff_ids.clone(),
            size: sizes.iter().sum(),
            created: self.created.clone(),
            architecture: self.architecture.clone(),
            os: "linux".to_owned(),
            author: self.author.clone(),
            comment: self.comment.clone(),
            config: self.config.to_model()?,
            history: history(&self.history, sizes),
        })
    }
}

/// The steps with their layers' sizes. Exactly one step that is not empty for each layer, whatever the document says: that is
/// how the sizes of layers are kept.
fn history(steps: &[Step], sizes: &[u64]) -> Vec<History> {
    let mut sizes = sizes.iter();
    let mut history: Vec<History> = steps
        .iter()
        .map(|step| {
            let size = if step.empty_layer { None } else { sizes.next() };
            History {
                created: step.created.clone(),
                created_by: step.created_by.clone(),
                comment: step.comment.clone(),
                empty_layer: size.is_none(),
                size: size.copied().unwrap_or(0),
            }
        })
        .collect();
    history.extend(sizes.map(|&size| History { size, ..History::default() }));
    history
}

impl Defaults {
    /// Text that no process, path or environment can have. (Ports are checked as they are parsed.)
    fn check(&self) -> Result<(), ImageError> {
        let texts = self.env.iter().chain(&self.entrypoint).chain(&self.cmd).chain(self.volumes.keys());
        let mut texts = texts.chain([&self.user, &self.working_dir, &self.stop_signal]);
        if texts.any(|text| text.contains('\0')) {
            return Err(invalid("a NUL is in it"));
        }
        if self.env.iter().any(|pair| pair.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
            return Err(invalid("an Env entry is not NAME=value"));
        }
        Ok(())
    }

    fn to_model(&self) -> Result<ImageConfig, ImageError> {
        let mut exposed = std::collections::BTreeSet::new();
        for text in self.exposed_ports.keys() {
            let port: Port = text.parse().map_err(|e| invalid(&format!("ExposedPorts: {e}")))?;
            exposed.insert(port);
        }
        Ok(ImageConfig {
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            env: self.env.clone(),
            user: self.user.clone(),
            workdir: self.working_dir.clone(),
            exposed,
            volumes: self.volumes.keys().cloned().collect(),
            labels: self.labels.clone(),
            stop_signal: (!self.stop_signal.is_empty()).then(|| self.stop_signal.clone()),
        })
    }
}

impl From<&ImageConfig> for Defaults {
    fn from(config: &ImageConfig) -> Self {
        Self {
            user: config.user.clone(),
            exposed_ports: config.exposed.iter().map(|port| (port.to_string(), Empty {})).collect(),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            volumes: config.volumes.iter().map(|path| (path.clone(), Empty {})).collect(),
            working_dir: config.workdir.clone(),
            labels: config.labels.clone(),
            stop_signal: config.stop_signal.clone().unwrap_or_default(),
        }
    }
}

fn invalid(reason: &str) -> ImageError {
    ImageError::Archive(format!("image configuration: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::from_sha256([n; 32])
    }

    fn parse(json: &serde_json::Value) -> Result<Image, ImageError> {
        Document::parse(json.to_string().as_bytes())?.image(digest(9), &[10, 20])
    }

    #[test]
    fn dockers_configuration_with_its_nulls_is_read() {
        let image = parse(&serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "container": "ignored",
            "config": {
                "Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": null, "Volumes": {"/data": {}}, "Labels": null,
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "WorkingDir": "/srv", "User": "", "StopSignal": "SIGINT",
                "OnBuild": null
            },
            "history": [
                {"created": "t1", "created_by": "ADD"}, {"created_by": "CMD", "empty_layer": true}, {"comment": "c"}
            ],
            "rootfs": {"type": "layers", "diff_ids": [digest(1), digest(2)]}
        }))
        .unwrap();
        assert_eq!(image.size, 30);
        assert_eq!(image.config.exposed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["80/tcp", "53/udp"]);
        assert_eq!((&*image.config.workdir, image.config.stop_signal.as_deref()), ("/srv", Some("SIGINT")));
        let steps: Vec<_> = image.history.iter().map(|h| (h.empty_layer, h.size)).collect();
        assert_eq!(steps, [(false, 10), (true, 0), (false, 20)]);
        let again = Defaults::from(&image.config).to_model().unwrap();
        assert_eq!(again, image.config);
    }

    #[test]
    fn each_layer_has_one_step() {
        let rootfs = serde_json::json!({"type": "layers", "diff_ids": [digest(1), digest(2)]});
        for history in [serde_json::json!([]), serde_json::json!([{}, {}, {}]), serde_json::json!(null)] {
            let image = parse(&serde_json::json!({"rootfs": rootfs, "history": history})).unwrap();
            let sizes: Vec<_> = image.history.iter().filter(|h| !h.empty_layer).map(|h| h.size).collect();
            assert_eq!(sizes, [10, 20]);
        }
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let rootfs = serde_json::json!({"type": "layers", "diff_ids": []});
        for bad in [
            serde_json::json!({}),
            serde_json::json!({"rootfs": {"type": "layers", "diff_ids": ["sha256:zz"]}}),
            serde_json::json!({"rootfs": rootfs, "os": "windows"}),
            serde_json::json!({"rootfs": rootfs, "config": {"Env": ["A=b\0"]}}),
            serde_json::json!({"rootfs": rootfs, "config": {"Env": ["A"]}}),
            serde_json::json!({"rootfs": rootfs, "config": {"ExposedPorts": {"http": {}}}}),
        ] {
            assert!(matches!(parse(&bad), Err(ImageError::Archive(_))), "{bad}");
        }
    }
}
