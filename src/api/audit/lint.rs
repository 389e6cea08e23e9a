//! `lint`: holes that are wider than their purpose.

use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::clock;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::audit::lint::{Ground, Usage, findings};
use crate::audit::{self, AuditError, Reading, Wanted};
use crate::firewall::hits::Hits;
use crate::model::audit::{Linted, VERSION};

/// What is open for less than this was not used yet, unless somebody says otherwise.
const UNUSED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// `GET /pontoon/v1/audit/lint?unused-for=24h`: of holes that were never used, those that are open for so long.
pub(in crate::api) async fn lint(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let unused_for = unused_for(query)?;
    let engine = api.engine.clone();
    let work = move || {
        let reading = Reading::take(&engine)?;
        // Asked afterwards: tables that are written anew meanwhile count since then.
        let usage = reading.intent.as_ref().zip(engine.counting_since()).map(|(intent, counting_since)| Usage {
            hits: Hits::of(reading.kernel.ruleset(), &intent.options),
            counting_since,
            taken: Timestamp::now(),
        });
        let matrix = audit::matrix(&reading, &Wanted::default())?;
        let containers = reading.containers.iter().map(|container| &**container);
        let ground = Ground::of(&matrix, containers, usage.as_ref(), unused_for);
        Ok::<_, AuditError>(Linted { version: VERSION, taken: reading.taken.clone(), findings: findings(&ground) })
    };
    let linted = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &linted?))
}

fn unused_for(query: &Query) -> Result<SignedDuration, ApiError> {
    let Some(text) = query.get("unused-for") else { return Ok(UNUSED_FOR) };
    let wrong =
        || ApiError::bad_request(format!("invalid unused-for {text:?}: expected a duration such as 24h, 1h30m or 0s"));
    clock::duration(text).map(SignedDuration::from_nanos).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_hole_may_be_unused() {
        let asked = |query: &str| unused_for(&Query::parse(Some(query)).expect("a query")).map_err(|e| e.message);
        assert_eq!(asked(""), Ok(UNUSED_FOR));
        assert_eq!(asked("unused-for=0s"), Ok(SignedDuration::ZERO));
        assert_eq!(asked("unused-for=1h30m"), Ok(SignedDuration::from_mins(90)));
        let message = asked("unused-for=soon").expect_err("no duration");
        assert!(message.contains("invalid unused-for \"soon\""), "{message}");
    }
}
