//! `POST /containers/{name}/attach`.

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;

use super::logs::render;
use crate::api::Api;
use crate::api::body::{self, Response};
use crate::api::detach::DetachKeys;
use crate::api::error::ApiError;
use crate::api::hijack::{Door, Session, content_type, hijack};
use crate::api::query::Query;
use crate::api::router::Version;
use crate::containers::AttachStreams;
use crate::containers::logs::LogOptions;

/// Carries a container's streams. It need not run yet: 101 is sent at once, and the streams flow from its start.
pub(in crate::api) async fn attach(
    api: &Api,
    version: Version,
    name: &str,
    query: &Query,
    mut request: Request<Incoming>,
) -> Result<Response, ApiError> {
    let streams =
        AttachStreams { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    let keys = DetachKeys::parse(query.get("detachKeys"))?;
    let before = if query.flag("logs") { past_output(api, name, streams).await? } else { Vec::new() };
    if !query.flag("stream") {
        let tty = api.engine.get(name)?.spec.process.tty;
        return Ok(body::stream(content_type(version, tty), futures_util::stream::iter(before)));
    }
    let attachment = api.engine.attach(name, streams)?;
    let stdin = streams.stdin && attachment.stdin;
    hijack(api, version, Door::of(&mut request), Session { attachment, stdin, keys, before })
}

/// `logs=1`: what the container wrote so far.
async fn past_output(api: &Api, name: &str, streams: AttachStreams) -> Result<Vec<Bytes>, ApiError> {
    let options = LogOptions { stdout: streams.stdout, stderr: streams.stderr, ..LogOptions::default() };
    let (container, mut lines) = api.engine.logs(name, options)?;
    let mut output = Vec::new();
    while let Some(line) = lines.recv().await {
        output.push(render(&line, container.spec.process.tty, false));
    }
    Ok(output)
}
