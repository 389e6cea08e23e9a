//! `GET /pontoon/v1/audit/history`: each change of who can talk to whom.

use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::clock;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::containers::history::Question;

/// Digits of a hash.
const HASH: usize = 64;

/// Query: `since`, `until` (as docker takes times), `container`, `limit`, `verify`. The whole chain is checked, whichever
/// entries are asked for.
pub(in crate::api) async fn history(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let question = question(query, now)?;
    let history = api.engine.history().read(question.clone()).await?;
    if let Some(who) = question.container.as_deref().filter(|who| history.entries.is_empty() && !is_there(api, who)) {
        let ever = Question { container: question.container.clone(), limit: Some(1), ..Question::default() };
        if api.engine.history().read(ever).await?.entries.is_empty() {
            return Err(ApiError::not_found(format!("no such container: {who}, neither now nor in the history")));
        }
    }
    let history = serde_json::to_value(&history).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json(StatusCode::OK, &history))
}

fn is_there(api: &Api, who: &str) -> bool {
    api.engine.get(who).is_ok()
}

fn question(query: &Query, now: i64) -> Result<Question, ApiError> {
    let said = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let moment = |name: &str| {
        let wrong = |text: &str| {
            ApiError::bad_request(format!(
                "invalid {name} {text:?}: expected seconds since 1970, an RFC 3339 time or a duration such as 10m"
            ))
        };
        said(name).map(|text| clock::moment(text, now).ok_or_else(|| wrong(text))).transpose()
    };
    let verify = said("verify").map(str::to_ascii_lowercase);
    if let Some(hash) = verify.as_ref().filter(|hash| hash.len() != HASH || hex::decode(hash).is_err()) {
        return Err(ApiError::bad_request(format!(
            "invalid verify {hash:?}: expected the {HASH} hexadecimal digits of an entry's hash"
        )));
    }
    Ok(Question {
        since: moment("since")?,
        until: moment("until")?,
        container: said("container").map(|name| name.trim_start_matches('/').to_owned()),
        limit: query.number("limit")?,
        verify,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Question, String> {
        let query = Query::parse(Some(query)).expect("a query");
        question(&query, 100_000_000_000).map_err(|error| error.message)
    }

    #[test]
    fn what_is_asked() {
        assert_eq!(asked(""), Ok(Question::default()));
        let hash = "AB".repeat(32);
        let all = asked(&format!("since=10s&until=1970-01-01T00:02:00Z&container=/web&limit=5&verify={hash}"));
        let expected = Question {
            since: Some(90_000_000_000),
            until: Some(120_000_000_000),
            container: Some("web".into()),
            limit: Some(5),
            verify: Some(hash.to_lowercase()),
        };
        assert_eq!(all, Ok(expected));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (query, part) in [("since=x", "invalid since \"x\""), ("until=-", "invalid until"), ("verify=ab", "64 hex")]
        {
            let message = asked(query).expect_err(query);
            assert!(message.contains(part), "{message}");
        }
        assert!(asked(&format!("verify={}", "g".repeat(64))).is_err() && asked("limit=x").is_err());
    }
}
