//! `matrix`: who can talk to whom.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::{self, AuditError, Reading, Wanted};

/// `GET /pontoon/v1/audit/matrix?from=…&to=…`: all flows, or those of one source or one target. `POST`: the same, with what
/// real packets did.
pub(in crate::api) async fn matrix(api: &Api, query: &Query, probing: bool) -> Result<Response, ApiError> {
    let wanted = Wanted { from: query.get("from").map(str::to_owned), to: query.get("to").map(str::to_owned) };
    let engine = api.engine.clone();
    let work = move || {
        let reading = Reading::take(&engine)?;
        let mut matrix = audit::matrix(&reading, &wanted)?;
        if probing {
            audit::probe::enter(&engine, &reading, &mut matrix, &wanted)?;
        }
        Ok::<_, AuditError>(matrix)
    };
    let matrix = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &matrix?))
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::NoParty { .. } | AuditError::Whereabouts { .. } => Self::not_found(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}
