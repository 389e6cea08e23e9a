//! `drift`: what differs between what should be and what is.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::audit::drift::{self, DriftError};

/// `GET /pontoon/v1/audit/drift`: what differs now, and what was put right since the daemon began.
pub(in crate::api) async fn drift(api: &Api) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &drift::drift(&api.engine).await.map_err(refused)?))
}

/// `POST /pontoon/v1/audit/drift/repair`: puts right what is the daemon's, and answers what differs then.
pub(in crate::api) async fn repair(api: &Api) -> Result<Response, ApiError> {
    // A client that goes away leaves no half of it.
    let engine = api.engine.clone();
    let repaired = tokio::spawn(async move { drift::repair(&engine).await }).await;
    let repaired = repaired.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &repaired.map_err(refused)?))
}

fn refused(error: DriftError) -> ApiError {
    match error {
        DriftError::NoNetwork => ApiError::bad_request(error.to_string()),
        error => ApiError::internal(error.to_string()),
    }
}
