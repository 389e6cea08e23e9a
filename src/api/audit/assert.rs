//! `assert`: expectations, held against what is.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::api::Api;
use crate::api::body::{Response, json, read_json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::assert::{Evaluate, Expectations, check};
use crate::audit::{self, AuditError, Cast, Reading, Wanted};
use crate::model::audit::{Cell, Service};

/// `POST /pontoon/v1/audit/assert?probe=…`, with a JSON string that holds the file's TOML: how each expectation fares;
/// with `probe`, also against real packets.
pub(in crate::api) async fn assert(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Response, ApiError> {
    let probing = query.flag("probe");
    let text: String = read_json(request).await?;
    let expectations = Expectations::parse(&text).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let engine = api.engine.clone();
    let work = move || {
        let reading = Reading::take(&engine)?;
        let mut matrix = audit::matrix(&reading, &Wanted::default())?;
        if probing {
            audit::probe::enter(&engine, &reading, &mut matrix, &Wanted::default())?;
        }
        let asked = Asked { cast: Cast::of(&reading), reading: &reading };
        Ok::<_, AuditError>(check(&expectations, &matrix, &asked))
    };
    let checked = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &checked?))
}

struct Asked<'a> {
    reading: &'a Reading,
    cast: Cast,
}

impl Evaluate for Asked<'_> {
    fn cells(&self, from: usize, to: usize, service: Service) -> Vec<Cell> {
        audit::asked(self.reading, &self.cast, from, to, service)
    }
}
