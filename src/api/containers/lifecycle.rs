//! Start, stop, restart, kill, pause, rename, remove, resize and top.

use bollard_stubs::models::ContainerTopResponse;
use hyper::StatusCode;

use crate::api::Api;
use crate::api::body::{self, Response, json};
use crate::api::detach::DetachKeys;
use crate::api::error::ApiError;
use crate::api::hijack::to_the_end;
use crate::api::query::Query;
use crate::containers::{Changed, RemoveOptions, signal};

const SIGKILL: i32 = 9;

/// 204 for a change, 304 for what was so already.
fn changed(changed: Changed) -> Response {
    body::empty(match changed {
        Changed::Yes => StatusCode::NO_CONTENT,
        Changed::Already => StatusCode::NOT_MODIFIED,
    })
}

/// `POST /containers/{name}/start`.
pub(in crate::api) async fn start(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    DetachKeys::parse(query.get("detachKeys"))?;
    if query.get("checkpoint").is_some() || query.get("checkpoint-dir").is_some() {
        return Err(ApiError::not_served("pontoon does not restore checkpoints"));
    }
    let engine = api.engine.clone();
    Ok(changed(to_the_end(api, async move { engine.start(&name).await }).await??))
}

/// How `stop` and `restart` end a process.
fn ending(query: &Query) -> Result<(Option<i32>, Option<i64>), ApiError> {
    let number = query.get("signal").map(signal::parse).transpose()?;
    Ok((number, query.number("t")?))
}

/// `POST /containers/{name}/stop`.
pub(in crate::api) async fn stop(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let (signal, timeout) = ending(query)?;
    let engine = api.engine.clone();
    Ok(changed(to_the_end(api, async move { engine.stop(&name, signal, timeout).await }).await??))
}

/// `POST /containers/{name}/restart`.
pub(in crate::api) async fn restart(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let (signal, timeout) = ending(query)?;
    let engine = api.engine.clone();
    to_the_end(api, async move { engine.restart(&name, signal, timeout).await }).await??;
    Ok(body::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/kill`.
pub(in crate::api) async fn kill(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let number = query.get("signal").map(signal::parse).transpose()?.unwrap_or(SIGKILL);
    let engine = api.engine.clone();
    to_the_end(api, async move { engine.kill(&name, number).await }).await??;
    Ok(body::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/pause` and `unpause`.
pub(in crate::api) async fn pause(api: &Api, name: String, paused: bool) -> Result<Response, ApiError> {
    let engine = api.engine.clone();
    to_the_end(api, async move { engine.pause(&name, paused).await }).await??;
    Ok(body::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/rename`.
pub(in crate::api) async fn rename(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let new = query.get("name").ok_or_else(|| ApiError::bad_request("Neither old nor new names may be empty"))?;
    let new = new.parse().map_err(|error| ApiError::bad_request(format!("{error}")))?;
    let engine = api.engine.clone();
    to_the_end(api, async move { engine.rename(&name, new).await }).await??;
    Ok(body::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /containers/{name}`; with `link`, the name is a link's: `source/alias`.
pub(in crate::api) async fn remove(api: &Api, name: String, query: &Query) -> Result<Response, ApiError> {
    let engine = api.engine.clone();
    if query.flag("link") {
        to_the_end(api, async move { engine.unlink(&name).await }).await??;
        return Ok(body::empty(StatusCode::NO_CONTENT));
    }
    let options = RemoveOptions { force: query.flag("force"), volumes: query.flag("v") };
    to_the_end(api, async move { engine.remove(&name, options).await }).await??;
    Ok(body::empty(StatusCode::NO_CONTENT))
}

/// Rows and columns of `resize`.
pub(in crate::api) fn size(query: &Query) -> Result<(u16, u16), ApiError> {
    let needed = |name: &str| {
        let number = query.number::<u16>(name)?;
        number.ok_or_else(|| ApiError::bad_request(format!("invalid resize parameter {name}: expected a number")))
    };
    Ok((needed("h")?, needed("w")?))
}

/// `POST /containers/{name}/resize`.
pub(in crate::api) async fn resize(api: &Api, name: &str, query: &Query) -> Result<Response, ApiError> {
    let (rows, columns) = size(query)?;
    api.engine.resize(name, rows, columns).await?;
    Ok(body::empty(StatusCode::OK))
}

/// `GET /containers/{name}/top`.
pub(in crate::api) async fn top(api: &Api, name: &str, query: &Query) -> Result<Response, ApiError> {
    if !matches!(query.get("ps_args"), None | Some("-ef")) {
        return Err(ApiError::not_served("pontoon does not run ps with other options: use docker top without any"));
    }
    let (titles, processes) = api.engine.top(name).await?;
    Ok(json(StatusCode::OK, &ContainerTopResponse { titles: Some(titles), processes: Some(processes) }))
}
