//! `assert`: expectations, held against what is.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::api::Api;
use crate::api::body::{Response, json, read_json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::assert::{Evaluate, Expectations, check};
use crate::audit::{self, AuditError, Cast, Reading, Wanted};
use crate::model::audit::{Cell, Matrix, Sent, Service, Verdict};

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
            let probe = audit::probe::flows(&engine, &reading, &matrix, &Wanted::default())?;
            note(&mut matrix, probe.sent);
        }
        let asked = Asked { cast: Cast::of(&reading), reading: &reading };
        Ok::<_, AuditError>(check(&expectations, &matrix, &asked))
    };
    let checked = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &checked?))
}

/// Enters what packets did beside the other verdicts.
fn note(matrix: &mut Matrix, sent: Vec<Sent>) {
    let mut found: Vec<(Cell, Verdict)> = sent.into_iter().filter_map(|sent| Some((sent.cell?, sent.found))).collect();
    let key = |cell: &Cell| (cell.from, cell.to, cell.service, cell.by.clone());
    found.sort_by_key(|(cell, _)| key(cell));
    for cell in &mut matrix.cells {
        if let Ok(place) = found.binary_search_by_key(&key(cell), |(cell, _)| key(cell)) {
            cell.probe = Some(found[place].1);
        }
    }
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
