//! `/images/…`: list, inspect, history, tag, remove, prune. Archives come in through [`transfer`].

pub(super) mod transfer;

use std::collections::HashMap;

use bollard_stubs::models::{
    DriverData, HealthConfig, ImageConfig, ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect,
    ImageInspectMetadata, ImageInspectRootFs, ImagePruneResponse, ImageSummary,
};
use hyper::StatusCode;

use super::Api;
use super::body::{self, Response, json};
use super::clock;
use super::error::ApiError;
use super::filters::{Filters, label_matches, pattern};
use super::hijack::to_the_end;
use super::query::Query;
use super::system::plain_map;
use crate::images::{Reference, Removed};
use crate::model::image::Image;

/// Runs what blocks (the image store) where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let stopped = |_| ApiError::internal("the image store stopped unexpectedly: see the daemon's log");
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

async fn all_images(api: &Api) -> Result<Vec<Image>, ApiError> {
    let images = api.engine.images().clone();
    Ok(blocking(move || images.list()).await??)
}

async fn get(api: &Api, name: String) -> Result<Image, ApiError> {
    let images = api.engine.images().clone();
    Ok(blocking(move || images.get(&name)).await??)
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// `GET /images/json`, newest first.
pub(super) async fn list(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(query, &["before", "dangling", "label", "reference", "since", "until"])?;
    let images = all_images(api).await?;
    let selection = Selection::parse(&filters, &images)?;
    let chosen = images.iter().filter_map(|image| selection.admit(image));
    let summaries: Vec<_> = chosen.map(|(image, references)| summary(api, image, references)).collect();
    Ok(json(StatusCode::OK, &summaries))
}

/// Filters of the list: every one must be met.
struct Selection<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
    until: Option<i64>,
}

impl<'a> Selection<'a> {
    fn parse(filters: &'a Filters, images: &[Image]) -> Result<Self, ApiError> {
        let created = |name: &str| {
            let found = filters.values(name).first().map(|wanted| {
                let image = images.iter().find(|image| is_called(image, wanted));
                image.ok_or_else(|| ApiError::not_found(format!("No such image: {wanted}")))
            });
            Ok::<_, ApiError>(found.transpose()?.and_then(|image| clock::timestamp(&image.created)))
        };
        Ok(Self {
            filters,
            dangling: filters.boolean("dangling")?,
            before: created("before")?,
            since: created("since")?,
            until: filters.until()?,
        })
    }

    /// The image, and those of its references that are wanted.
    fn admit<'b>(&self, image: &'b Image) -> Option<(&'b Image, Vec<String>)> {
        let created = clock::timestamp(&image.created).unwrap_or(0);
        let labels = &image.config.labels;
        let wanted = self.dangling.is_none_or(|dangling| image.references.is_empty() == dangling)
            && self.filters.values("label").iter().all(|wanted| label_matches(labels, wanted))
            && self.before.is_none_or(|before| created < before)
            && self.until.is_none_or(|until| created < until)
            && self.since.is_none_or(|since| created > since);
        let references: Vec<String> =
            image.references.iter().filter(|reference| self.is_referenced(reference)).cloned().collect();
        let named = !self.filters.has("reference") || !references.is_empty();
        (wanted && named).then_some((image, references))
    }

    fn is_referenced(&self, reference: &str) -> bool {
        let (name, _) = split_tag(reference);
        self.filters.any("reference", |glob| glob_matches(glob, reference) || glob_matches(glob, name))
    }
}

/// `*` and `?` match within one segment of a path.
fn glob_matches(glob: &str, text: &str) -> bool {
    let escaped = regex_lite::escape(glob).replace(r"\*", "[^/]*").replace(r"\?", "[^/]");
    pattern(&format!("^{escaped}$")).is_match(text)
}

/// Name and tag; a colon before a slash belongs to the registry's port.
fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, ""),
    }
}

fn is_called(image: &Image, name: &str) -> bool {
    let with_tag = format!("{name}:latest");
    let id = name.trim_start_matches("sha256:");
    image.references.iter().any(|known| known == name || *known == with_tag)
        || (!id.is_empty() && image.id.hex().starts_with(id))
}

fn summary(api: &Api, image: &Image, references: Vec<String>) -> ImageSummary {
    ImageSummary {
        id: image.id.to_string(),
        parent_id: String::new(),
        repo_tags: references,
        repo_digests: Vec::new(),
        created: clock::unix_seconds(&image.created),
        size: signed(image.size),
        shared_size: -1,
        labels: plain_map(&image.config.labels),
        containers: i64::try_from(api.engine.users_of_image(&image.id)).unwrap_or(-1),
        ..ImageSummary::default()
    }
}

/// `GET /images/{name}/json`.
pub(super) async fn inspect(api: &Api, name: String) -> Result<Response, ApiError> {
    let image = get(api, name).await?;
    let layers = image.layers.iter().map(ToString::to_string).collect();
    let inspect = ImageInspect {
        id: Some(image.id.to_string()),
        repo_tags: Some(image.references.clone()),
        repo_digests: Some(Vec::new()),
        comment: Some(image.comment.clone()),
        created: Some(image.created.clone()),
        author: Some(image.author.clone()),
        architecture: Some(image.architecture.clone()),
        os: Some(image.os.clone()),
        size: Some(signed(image.size)),
        graph_driver: Some(DriverData { name: "overlay2".into(), data: HashMap::new() }),
        root_fs: Some(ImageInspectRootFs { typ: "layers".into(), layers: Some(layers) }),
        metadata: Some(ImageInspectMetadata::default()),
        config: Some(config(&image)),
        ..ImageInspect::default()
    };
    Ok(json(StatusCode::OK, &inspect))
}

fn config(image: &Image) -> ImageConfig {
    let config = &image.config;
    let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    ImageConfig {
        user: Some(config.user.clone()),
        exposed_ports: Some(config.exposed.iter().map(ToString::to_string).collect()),
        env: Some(config.env.clone()),
        cmd: list(&config.cmd),
        healthcheck: None::<HealthConfig>,
        volumes: Some(config.volumes.iter().cloned().collect()),
        working_dir: Some(config.workdir.clone()),
        entrypoint: list(&config.entrypoint),
        labels: Some(plain_map(&config.labels)),
        stop_signal: config.stop_signal.clone(),
        ..ImageConfig::default()
    }
}

/// `GET /images/{name}/history`, newest first; only the newest step has an image of its own.
pub(super) async fn history(api: &Api, name: String) -> Result<Response, ApiError> {
    let image = get(api, name).await?;
    let steps = image.history.iter().rev().enumerate().map(|(index, step)| ImageHistoryResponseItem {
        id: if index == 0 { image.id.to_string() } else { "<missing>".into() },
        created: clock::unix_seconds(&step.created),
        created_by: step.created_by.clone(),
        tags: if index == 0 { image.references.clone() } else { Vec::new() },
        size: signed(step.size),
        comment: step.comment.clone(),
    });
    Ok(json(StatusCode::OK, &steps.collect::<Vec<_>>()))
}

/// A reference from `repo` and `tag` parameters.
fn reference(repo: &str, tag: Option<&str>) -> Result<Reference, ApiError> {
    let text = tag.map_or_else(|| repo.to_owned(), |tag| format!("{repo}:{tag}"));
    text.parse().map_err(|error| ApiError::bad_request(format!("{error}")))
}

/// `POST /images/{name}/tag`.
pub(super) async fn tag(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let repo = query.get("repo").ok_or_else(|| ApiError::bad_request("invalid reference format: repo is empty"))?;
    let reference = reference(repo, query.get("tag"))?;
    let images = api.engine.images().clone();
    let shown = reference.as_str().to_owned();
    let image = blocking(move || {
        images.tag(&name, &reference)?;
        images.get(reference.as_str())
    });
    let image = image.await??;
    api.engine.image_event("tag", image.id.as_str(), &shown);
    Ok(body::empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`.
pub(super) async fn remove(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let force = query.flag("force");
    let engine = api.engine.clone();
    let removed = to_the_end(api, async move { engine.remove_image(&name, force).await }).await??;
    Ok(json(StatusCode::OK, &removed.into_iter().map(removed_item).collect::<Vec<_>>()))
}

fn removed_item(removed: Removed) -> ImageDeleteResponseItem {
    match removed {
        Removed::Untagged(name) => ImageDeleteResponseItem { untagged: Some(name), deleted: None },
        Removed::Deleted(id) => ImageDeleteResponseItem { untagged: None, deleted: Some(id) },
    }
}

/// `POST /images/prune`: images that no container uses, and that have no name unless `dangling=false`.
pub(super) async fn prune(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(query, &["dangling", "label", "label!", "until"])?;
    let (dangling, until) = (filters.boolean("dangling")?.unwrap_or(true), filters.until()?);
    let images = all_images(api).await?;
    let engine = api.engine.clone();
    let pruned = to_the_end(api, async move {
        let mut pruned = ImagePruneResponse { images_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
        for image in images {
            let labels = &image.config.labels;
            let wanted = (image.references.is_empty() || !dangling)
                && engine.users_of_image(&image.id) == 0
                && filters.values("label").iter().all(|wanted| label_matches(labels, wanted))
                && !filters.values("label!").iter().any(|unwanted| label_matches(labels, unwanted))
                && until.is_none_or(|until| clock::timestamp(&image.created).is_some_and(|created| created < until));
            if !wanted {
                continue;
            }
            // One that came into use meanwhile is no longer ours to take; by id, every name goes with it.
            if let Ok(removed) = engine.remove_image(image.id.as_str(), image.references.len() > 1).await {
                pruned.images_deleted.get_or_insert_default().extend(removed.into_iter().map(removed_item));
                pruned.space_reclaimed = pruned.space_reclaimed.map(|sum| sum.saturating_add(signed(image.size)));
            }
        }
        pruned
    });
    Ok(json(StatusCode::OK, &pruned.await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_match_globs_by_segment() {
        for (glob, text, matches) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("busybox:l*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("b?x", "box", true),
            ("b.x", "box", false),
        ] {
            assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split_tag("localhost:5000/a"), ("localhost:5000/a", ""));
        assert_eq!(split_tag("localhost:5000/a:1"), ("localhost:5000/a", "1"));
    }
}
