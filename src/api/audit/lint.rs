//! `lint`: holes that are wider than their purpose.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::audit::lint::{Ground, findings};
use crate::audit::{self, AuditError, Reading, Wanted};
use crate::model::audit::{Linted, VERSION};

/// `GET /pontoon/v1/audit/lint`.
pub(in crate::api) async fn lint(api: &Api) -> Result<Response, ApiError> {
    let engine = api.engine.clone();
    let work = move || {
        let reading = Reading::take(&engine)?;
        let matrix = audit::matrix(&reading, &Wanted::default())?;
        let ground = Ground::of(&matrix, reading.containers.iter().map(|container| &**container));
        Ok::<_, AuditError>(Linted { version: VERSION, taken: reading.taken.clone(), findings: findings(&ground) })
    };
    let linted = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &linted?))
}
