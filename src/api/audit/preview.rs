//! `preview`: what a run would change.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::containers::create;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::preview;

/// `POST /pontoon/v1/audit/preview?name=…`, with the body of `POST /containers/create`: what that container would open if
/// it was started. Errors are those that create or start would answer.
pub(in crate::api) async fn preview(
    api: &Api,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response, ApiError> {
    let (asked, warnings) = create::read(api, query, request).await?;
    let mut previewed = api.engine.preview(asked).await?;
    previewed.warnings.splice(0..0, warnings);
    Ok(json(StatusCode::OK, &preview::preview(&previewed)))
}
