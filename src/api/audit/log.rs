//! `log`: packets that were denied.

use std::future::ready;

use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::api::body::{Response, json, json_line};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::{Api, body};
use crate::firewall::denials::Wanted;
use crate::model::audit::{LogLine, VERSION};

/// `GET /pontoon/v1/audit/log?since&container&follow`: what was denied, as one object; with `follow`, a line of JSON for
/// each that is known and each that comes, until the client's end.
pub(in crate::api) async fn log(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let since = query.timestamp("since")?;
    let since = since.and_then(|nanoseconds| Timestamp::from_nanosecond(nanoseconds.into()).ok());
    let wanted = Wanted { since, container: query.get("container").map(str::to_owned) };
    let Some(denials) = api.engine.denials() else {
        return Err(ApiError::not_found("there is no default network (--bridge none): nothing is denied by pontoon"));
    };
    // Who has gone may still be in the log; of who is in neither, nothing will ever be told.
    if let Some(who) = wanted.container.as_deref().filter(|who| api.engine.get(who).is_err()) {
        let known = denials.log(&Wanted { since: None, ..wanted.clone() }).await;
        if known.denials.is_empty() {
            return Err(ApiError::not_found(format!("no such container: {who}, neither now nor in the log")));
        }
    }
    // Subscribed before what is known is read: a denial may come twice, and none is missed.
    let coming = denials.follow();
    let known = denials.log(&wanted).await;
    if !query.flag("follow") {
        return Ok(json(StatusCode::OK, &known));
    }
    let line = |denial, total| LogLine { version: VERSION, denial, total, missed: None };
    let mut past: Vec<_> = known.denials.into_iter().map(|denial| line(Some(denial), None)).collect();
    past.push(line(None, Some(known.total)));
    let live =
        lines(coming).filter(move |line| ready(line.denial.as_ref().is_none_or(|denial| wanted.matches(denial))));
    let lines = stream::iter(past).chain(live).map(|line| json_line(&line));
    Ok(body::stream("application/json", api.until_shutdown(lines)))
}

fn lines(coming: Receiver<LogLine>) -> impl stream::Stream<Item = LogLine> + Send {
    stream::unfold(coming, async |mut coming| match coming.recv().await {
        Ok(line) => Some((line, coming)),
        Err(RecvError::Lagged(missed)) => {
            Some((LogLine { version: VERSION, denial: None, total: None, missed: Some(missed) }, coming))
        }
        Err(RecvError::Closed) => None,
    })
}
