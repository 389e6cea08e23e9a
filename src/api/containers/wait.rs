//! `POST /containers/{name}/wait`.

use bollard_stubs::models::{ContainerWaitExitError, ContainerWaitResponse};
use futures_util::stream;

use crate::api::Api;
use crate::api::body::{self, Response, json_line};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::containers::{EngineError, WaitCondition, WaitOutcome};

/// The container is looked up now; status and headers go out at once, the body when the wait is over. Clients start the
/// container only after they have seen the headers.
pub(in crate::api) fn wait(api: &Api, name: &str, query: &Query) -> Result<Response, ApiError> {
    let condition = match query.get("condition").unwrap_or("not-running") {
        "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(ApiError::bad_request(format!("invalid condition: {other:?}"))),
    };
    let waiting = api.engine.wait(name, condition)?;
    let answer = stream::once(async move { json_line(&outcome(waiting.await)) });
    Ok(body::stream("application/json", api.until_shutdown(Box::pin(answer))))
}

fn outcome(result: Result<WaitOutcome, EngineError>) -> ContainerWaitResponse {
    let error = |message: String| Some(ContainerWaitExitError { message: Some(message) });
    match result {
        Ok(outcome) => ContainerWaitResponse { status_code: outcome.code, error: outcome.error.and_then(error) },
        Err(failed) => ContainerWaitResponse { status_code: -1, error: error(failed.message) },
    }
}
