//! `probe`: what real packets do.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::{self, Wanted};

/// `POST /pontoon/v1/audit/probe?from=…&to=…`: sends packets and answers what came of them, for all flows or those of one
/// source or one target.
pub(in crate::api) async fn probe(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let wanted = Wanted { from: query.get("from").map(str::to_owned), to: query.get("to").map(str::to_owned) };
    let engine = api.engine.clone();
    let work = move || audit::probe::probe(&engine, &wanted);
    let probe = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &probe?))
}
