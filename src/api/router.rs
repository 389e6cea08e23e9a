//! Paths → routes. Pure.

use hyper::Method;

use super::error::ApiError;
use super::query::decode;

/// An API version, `1.50` as (1, 50).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u16, pub(super) u16);

/// The newest API version that is spoken.
pub(super) const NEWEST: Version = Version(1, 50);

/// The oldest API version that is spoken.
pub(super) const OLDEST: Version = Version(1, 24);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// One thing that a client can ask for. Names are as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Version,
    Info,
    Events,
    Metrics,
    ContainerList,
    ContainerCreate,
    ContainerPrune,
    ContainerInspect(String),
    ContainerStart(String),
    ContainerStop(String),
    ContainerRestart(String),
    ContainerKill(String),
    ContainerPause(String),
    ContainerUnpause(String),
    ContainerRename(String),
    ContainerRemove(String),
    ContainerWait(String),
    ContainerAttach(String),
    ContainerResize(String),
    ContainerLogs(String),
    ContainerTop(String),
    ExecCreate(String),
    ExecStart(String),
    ExecResize(String),
    ExecInspect(String),
    ImageList,
    ImageCreate,
    ImageLoad,
    ImagePrune,
    ImageInspect(String),
    ImageHistory(String),
    ImageTag(String),
    ImageRemove(String),
    NetworkList,
    NetworkInspect(String),
    AuditAssert,
    AuditLint,
    AuditDrift,
    AuditDriftRepair,
    AuditExplain,
    AuditHistory,
    AuditLog,
    AuditMatrix,
    AuditMatrixProbed,
    AuditPreview,
    AuditWhy,
    AuditProbe,
}

/// Reads a method and a path: which version of the API is spoken, and what is asked for.
pub(super) fn route(method: &Method, path: &str) -> Result<(Version, Route), ApiError> {
    let (version, rest) = split_version(path)?;
    let segments = rest.split('/').filter(|s| !s.is_empty()).map(decode).collect::<Result<Vec<_>, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let route = match segments.split_first() {
        Some((&"containers", rest)) => containers(method, rest),
        Some((&"exec", rest)) => exec(method, rest),
        Some((&"images", rest)) => images(method, rest),
        Some((&"networks", rest)) => networks(method, rest),
        Some((&"pontoon", rest)) => pontoon(method, rest),
        _ => system(method, &segments),
    };
    route.map(|route| (version, route)).ok_or_else(|| not_served(method, rest))
}

/// Splits `/v1.41/…`; without a version the newest is meant.
fn split_version(path: &str) -> Result<(Version, &str), ApiError> {
    let bare = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    let Some((version, number)) = bare.and_then(|(text, rest)| {
        let (major, minor) = text.split_once('.')?;
        Some((Version(major.parse().ok()?, minor.parse().ok()?), rest))
    }) else {
        return Ok((NEWEST, path));
    };
    if version > NEWEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        )));
    }
    if version < OLDEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your \
             client to a newer version"
        )));
    }
    Ok((version, number))
}

/// What docker may serve and pontoon does not. Reading is 404, so that clients that look in several places go on.
fn not_served(method: &Method, path: &str) -> ApiError {
    let message = format!("pontoon does not serve {method} /{}", path.trim_start_matches('/'));
    if matches!(*method, Method::GET | Method::HEAD) {
        ApiError::not_found(message)
    } else {
        ApiError::not_served(message)
    }
}

/// What docker has not: under a version of its own.
fn pontoon(method: &Method, segments: &[&str]) -> Option<Route> {
    match (method, segments) {
        (&Method::POST, ["v1", "audit", "assert"]) => Some(Route::AuditAssert),
        (&Method::GET, ["v1", "audit", "lint"]) => Some(Route::AuditLint),
        (&Method::GET, ["v1", "audit", "drift"]) => Some(Route::AuditDrift),
        (&Method::POST, ["v1", "audit", "drift", "repair"]) => Some(Route::AuditDriftRepair),
        (&Method::GET, ["v1", "audit", "explain"]) => Some(Route::AuditExplain),
        (&Method::POST, ["v1", "audit", "preview"]) => Some(Route::AuditPreview),
        (&Method::GET, ["v1", "audit", "history"]) => Some(Route::AuditHistory),
        (&Method::GET, ["v1", "audit", "log"]) => Some(Route::AuditLog),
        (&Method::GET, ["v1", "audit", "matrix"]) => Some(Route::AuditMatrix),
        (&Method::POST, ["v1", "audit", "matrix"]) => Some(Route::AuditMatrixProbed),
        (&Method::GET, ["v1", "audit", "why"]) => Some(Route::AuditWhy),
        (&Method::POST, ["v1", "audit", "probe"]) => Some(Route::AuditProbe),
        _ => None,
    }
}

fn system(method: &Method, segments: &[&str]) -> Option<Route> {
    match (method, segments) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => Some(Route::Ping),
        (&Method::GET, ["version"]) => Some(Route::Version),
        (&Method::GET, ["info"]) => Some(Route::Info),
        (&Method::GET, ["events"]) => Some(Route::Events),
        (&Method::GET, ["metrics"]) => Some(Route::Metrics),
        _ => None,
    }
}

fn containers(method: &Method, segments: &[&str]) -> Option<Route> {
    match (method, segments) {
        (&Method::GET, ["json"]) => return Some(Route::ContainerList),
        (&Method::POST, ["create"]) => return Some(Route::ContainerCreate),
        (&Method::POST, ["prune"]) => return Some(Route::ContainerPrune),
        // A link's name, `/source/alias`, has a slash.
        (&Method::DELETE, [_, ..]) => return Some(Route::ContainerRemove(segments.join("/"))),
        _ => {}
    }
    if let (&Method::GET, [name @ .., "json"]) = (method, segments) {
        // So has one that is inspected.
        return Some(Route::ContainerInspect(name.join("/")));
    }
    let [name, verb] = segments else { return None };
    let route = match (method, *verb) {
        (&Method::GET, "logs") => Route::ContainerLogs,
        (&Method::GET, "top") => Route::ContainerTop,
        (&Method::POST, "start") => Route::ContainerStart,
        (&Method::POST, "stop") => Route::ContainerStop,
        (&Method::POST, "restart") => Route::ContainerRestart,
        (&Method::POST, "kill") => Route::ContainerKill,
        (&Method::POST, "pause") => Route::ContainerPause,
        (&Method::POST, "unpause") => Route::ContainerUnpause,
        (&Method::POST, "rename") => Route::ContainerRename,
        (&Method::POST, "wait") => Route::ContainerWait,
        (&Method::POST, "attach") => Route::ContainerAttach,
        (&Method::POST, "resize") => Route::ContainerResize,
        (&Method::POST, "exec") => Route::ExecCreate,
        _ => return None,
    };
    Some(route((*name).to_owned()))
}

fn exec(method: &Method, segments: &[&str]) -> Option<Route> {
    let [id, verb] = segments else { return None };
    let route = match (method, *verb) {
        (&Method::POST, "start") => Route::ExecStart,
        (&Method::POST, "resize") => Route::ExecResize,
        (&Method::GET, "json") => Route::ExecInspect,
        _ => return None,
    };
    Some(route((*id).to_owned()))
}

/// Names of images have slashes: the verb is the last segment.
fn images(method: &Method, segments: &[&str]) -> Option<Route> {
    match (method, segments) {
        (&Method::GET, ["json"]) => return Some(Route::ImageList),
        (&Method::POST, ["create"]) => return Some(Route::ImageCreate),
        (&Method::POST, ["load"]) => return Some(Route::ImageLoad),
        (&Method::POST, ["prune"]) => return Some(Route::ImagePrune),
        (&Method::DELETE, [_, ..]) => return Some(Route::ImageRemove(segments.join("/"))),
        _ => {}
    }
    let (verb, name) = segments.split_last().filter(|(_, name)| !name.is_empty())?;
    let route = match (method, *verb) {
        (&Method::GET, "json") => Route::ImageInspect,
        (&Method::GET, "history") => Route::ImageHistory,
        (&Method::POST, "tag") => Route::ImageTag,
        _ => return None,
    };
    Some(route(name.join("/")))
}

fn networks(method: &Method, segments: &[&str]) -> Option<Route> {
    match (method, segments) {
        (&Method::GET, []) => Some(Route::NetworkList),
        (&Method::GET, [name]) => Some(Route::NetworkInspect((*name).to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: &Method, path: &str) -> Result<Route, (u16, String)> {
        route(method, path).map(|(_, route)| route).map_err(|e| (e.status.as_u16(), e.message))
    }

    #[test]
    fn paths_with_and_without_version() {
        assert_eq!(at(&Method::GET, "/_ping"), Ok(Route::Ping));
        assert_eq!(at(&Method::HEAD, "/v1.24/_ping"), Ok(Route::Ping));
        assert_eq!(route(&Method::GET, "/v1.41/info"), Ok((Version(1, 41), Route::Info)));
        assert_eq!(route(&Method::GET, "/info"), Ok((NEWEST, Route::Info)));
        assert_eq!(at(&Method::POST, "/v1.50/containers/web/start"), Ok(Route::ContainerStart("web".into())));
        assert_eq!(at(&Method::DELETE, "/containers/web"), Ok(Route::ContainerRemove("web".into())));
        assert_eq!(at(&Method::DELETE, "/containers/web/db"), Ok(Route::ContainerRemove("web/db".into())));
        assert_eq!(at(&Method::POST, "/exec/abc/start"), Ok(Route::ExecStart("abc".into())));
    }

    #[test]
    fn image_names_have_slashes() {
        for path in ["/images/localhost:5000/a/b:1/json", "/v1.50/images/localhost%3A5000%2Fa%2Fb%3A1/json"] {
            assert_eq!(at(&Method::GET, path), Ok(Route::ImageInspect("localhost:5000/a/b:1".into())), "{path}");
        }
        assert_eq!(at(&Method::DELETE, "/images/a/b"), Ok(Route::ImageRemove("a/b".into())));
        assert_eq!(at(&Method::GET, "/images/json"), Ok(Route::ImageList));
    }

    #[test]
    fn versions_out_of_range_are_named() {
        let new = at(&Method::GET, "/v1.99/info");
        assert_eq!(new, Err((400, "client version 1.99 is too new. Maximum supported API version is 1.50".into())));
        let (status, message) = at(&Method::GET, "/v1.10/info").expect_err("too old");
        assert!(status == 400 && message.starts_with("client version 1.10 is too old."), "{message}");
    }

    #[test]
    fn what_is_not_served_is_named() {
        assert_eq!(at(&Method::POST, "/v1.50/build"), Err((501, "pontoon does not serve POST /build".into())));
        assert_eq!(at(&Method::GET, "/volumes/x"), Err((404, "pontoon does not serve GET /volumes/x".into())));
        for path in ["/containers", "/containers/a/b/c", "/images", "/exec/x", "/", "/v1.50", "/vx.y/info"] {
            assert_eq!(at(&Method::GET, path).map_err(|(status, _)| status), Err(404), "{path}");
        }
    }
}
