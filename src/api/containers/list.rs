//! `GET /containers/json`: `docker ps`.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings};
use hyper::StatusCode;

use super::filter::Selection;
use super::mounts::mount_points;
use super::{network, status};
use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::clock;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::system::plain_map;
use crate::containers::Container;
use crate::model::Digest;
use crate::model::image::Image;

/// Newest first; only running ones unless `all`, `limit`, or a filter that asks for others.
pub(in crate::api) async fn list(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let limit = query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let images = images_by_id(api).await?;
    let containers = api.engine.list();
    let selection = Selection::parse(query, &containers, images.values())?;
    let everything = query.flag("all") || limit.is_some() || selection.asks_for_stopped();
    let chosen = containers
        .iter()
        .filter(|container| everything || container.state.status.is_running())
        .filter(|container| selection.admits(container))
        .take(limit.unwrap_or(usize::MAX));
    let now = jiff::Timestamp::now().as_second();
    let mut links = api.engine.names_by_links();
    let mut summaries = Vec::new();
    for container in chosen {
        let mut summary = summary(api, container, images.get(&container.image), now);
        // Docker calls a container by its links' names too; clients show them where nothing is cut off.
        summary.names.get_or_insert_default().extend(links.remove(&container.id).unwrap_or_default());
        if query.flag("size") {
            let (own, all) = api.engine.size(container).await?;
            summary.size_rw = i64::try_from(own).ok();
            summary.size_root_fs = i64::try_from(all).ok();
        }
        summaries.push(summary);
    }
    Ok(json(StatusCode::OK, &summaries))
}

async fn images_by_id(api: &Api) -> Result<HashMap<Digest, Image>, ApiError> {
    let images = api.engine.images().clone();
    let list = crate::api::images::blocking(move || images.list()).await??;
    Ok(list.into_iter().map(|image| (image.id.clone(), image)).collect())
}

fn summary(api: &Api, container: &Container, image: Option<&Image>, now: i64) -> ContainerSummary {
    let networks = network::endpoint_settings(container, api.engine.network(), &api.engine.info().id);
    ContainerSummary {
        id: Some(container.id.to_string()),
        names: Some(vec![format!("/{}", container.name)]),
        image: Some(shown_image(container, image)),
        image_id: Some(container.image.to_string()),
        command: Some(command(&container.spec.process.args)),
        created: Some(clock::unix_seconds(&container.created)),
        ports: Some(network::port_list(container)),
        labels: Some(plain_map(&container.spec.labels)),
        state: container.state.status.as_str().parse().ok(),
        status: Some(status::text(&container.state, now)),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: Some(container.spec.network.mode.to_string()),
            annotations: None,
        }),
        network_settings: Some(ContainerSummaryNetworkSettings { networks: Some(networks) }),
        mounts: Some(mount_points(&container.spec.mounts, &api.engine.volume_paths(container))),
        ..ContainerSummary::default()
    }
}

/// The image as it was named, or its id where that name has moved to another image since.
fn shown_image(container: &Container, image: Option<&Image>) -> String {
    let name = &container.image_name;
    let with_tag = format!("{name}:latest");
    let still = image.is_some_and(|image| image.references.iter().any(|known| known == name || *known == with_tag));
    let is_id = container.image.hex().starts_with(name.trim_start_matches("sha256:"));
    if still || is_id { name.clone() } else { container.image.to_string() }
}

/// Program and arguments in one line; clients put the quotes around it.
fn command(args: &[String]) -> String {
    let quoted = args
        .iter()
        .enumerate()
        .map(|(index, arg)| if index > 0 && arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_with_spaces_are_quoted() {
        let args = ["sh", "-c", "echo a b"].map(str::to_owned);
        assert_eq!(command(&args), "sh -c 'echo a b'");
    }
}
