//! `why`: each way from one party to another, and what decides.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::{self, Asking, AuditError, Reading};
use crate::containers::history::Question;
use crate::firewall::audit::listing::Listing;

/// `GET /pontoon/v1/audit/why?from=…&to=…&service=…`: without a service, all that matter at the target.
pub(in crate::api) async fn why(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let said = |name: &str| {
        let missing =
            || ApiError::bad_request(format!("{name} is missing: a container, host, lan, outside or an address"));
        query.get(name).map(str::to_owned).ok_or_else(missing)
    };
    let service = query.get("service").map(|text| {
        let bad = |error| {
            ApiError::bad_request(format!("invalid service {text:?}: {error}; expected PORT, PORT/PROTOCOL or icmp"))
        };
        text.parse().map_err(bad)
    });
    let asking = Asking { from: said("from")?, to: said("to")?, service: service.transpose()? };
    let mut history = api.engine.history().read(Question::default()).await?.entries;
    history.reverse();
    let engine = api.engine.clone();
    let work = move || {
        let reading = Reading::take(&engine)?.meeting(&asking.from).meeting(&asking.to);
        // Without nft's words there are the handles.
        audit::why(&reading, &asking, &history, &Listing::read().unwrap_or_default())
    };
    let why = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &why.map_err(|error: AuditError| ApiError::from(error))?))
}
