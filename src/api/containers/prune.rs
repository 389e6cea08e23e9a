//! `POST /containers/prune`.

use bollard_stubs::models::ContainerPruneResponse;
use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::clock;
use crate::api::error::ApiError;
use crate::api::filters::{Filters, label_matches};
use crate::api::hijack::to_the_end;
use crate::api::query::Query;
use crate::containers::{Container, RemoveOptions, Status};

/// Removes every container that does not run and matches `label`, `label!` and `until`.
pub(in crate::api) async fn prune(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(query, &["label", "label!", "until"])?;
    let until = filters.until()?;
    let engine = api.engine.clone();
    let pruned = to_the_end(api, async move {
        let mut pruned = ContainerPruneResponse { containers_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
        for container in engine.list() {
            if !is_prunable(&container, &filters, until) {
                continue;
            }
            let size = engine.size(&container).await.map_or(0, |(own, _)| i64::try_from(own).unwrap_or(i64::MAX));
            // One that was started or removed meanwhile is no longer ours to take.
            if engine.remove(container.id.as_str(), RemoveOptions::default()).await.is_ok() {
                pruned.containers_deleted.get_or_insert_default().push(container.id.to_string());
                pruned.space_reclaimed = pruned.space_reclaimed.map(|sum| sum.saturating_add(size));
            }
        }
        pruned
    });
    Ok(json(StatusCode::OK, &pruned.await?))
}

fn is_prunable(container: &Container, filters: &Filters, until: Option<i64>) -> bool {
    let labels = &container.spec.labels;
    matches!(container.state.status, Status::Created | Status::Exited | Status::Dead)
        && filters.values("label").iter().all(|wanted| label_matches(labels, wanted))
        && !filters.values("label!").iter().any(|unwanted| label_matches(labels, unwanted))
        && until.is_none_or(|until| clock::timestamp(&container.created).is_some_and(|created| created < until))
}
