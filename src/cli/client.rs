//! The way to the daemon: `bollard` for what has an answer, plain requests on the same transport for streams.
//!
//! bollard's `attach`, `exec` and `logs` guess from the first byte whether a stream is framed, its `wait` does not
//! tell when the daemon has registered the waiter, and its models would drop from `inspect` what they do not know. So
//! bollard gets a transport of ours, one connection a request, and those few requests use the transport directly.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use bollard::{BollardRequest, ClientVersion, Docker, body_full, body_try_stream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::error::CliError;
use super::streams::Hijacked;

/// The socket where neither `-H` nor the environment says otherwise.
pub(super) const DEFAULT_HOST: &str = "unix:///run/pontoon/pontoon.sock";
/// What this client speaks: [`bollard`]'s models of it are a superset.
const API_VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 50 };
/// Seconds that bollard waits for an answer: `stop` may take as long as its container wants, so practically for ever.
const TIMEOUT: u64 = 365 * 24 * 3600;

/// Which daemon: `-H`, else `PONTOON_HOST`, else `DOCKER_HOST`, else the default socket.
pub(super) fn host(flag: Option<String>, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, CliError> {
    let said = |text: &String| !text.is_empty();
    let url = flag
        .or_else(|| env("PONTOON_HOST").filter(said))
        .or_else(|| env("DOCKER_HOST").filter(said))
        .unwrap_or_else(|| DEFAULT_HOST.to_owned());
    match url.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(CliError::new(format!("-H {url:?}: expected unix:///path, the daemon's socket"))),
    }
}

/// A daemon to talk to.
#[derive(Clone)]
pub(super) struct Client {
    docker: Docker,
    socket: PathBuf,
}

impl Client {
    /// No connection is made before the first request.
    pub(super) fn new(socket: PathBuf) -> Result<Self, CliError> {
        let path = socket.clone();
        let transport = move |request: BollardRequest| {
            let path = path.clone();
            async move { send(&path, request).await.map_err(|err| bollard::errors::Error::IOError { err }) }
        };
        let docker = Docker::connect_with_custom_transport(transport, Some("http://pontoon"), TIMEOUT, &API_VERSION)?;
        Ok(Self { docker, socket })
    }

    /// bollard's own client.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Sends a request and answers when the response's headers are there. Errors of the daemon become [`CliError`]s.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<Response<Incoming>, CliError> {
        self.send(head(method, path, query), payload).await
    }

    async fn send(&self, head: request::Builder, payload: Payload<'_>) -> Result<Response<Incoming>, CliError> {
        let (kind, body) = match payload {
            Payload::Empty => ("application/json", body_full(Bytes::new())),
            Payload::Json(value) => ("application/json", body_full(Bytes::from(value.to_string()))),
            Payload::Tar(stream) => ("application/x-tar", body_try_stream(stream)),
        };
        let request = head.header(CONTENT_TYPE, kind).body(body);
        let request = request.map_err(|error| CliError::new(format!("cannot make a request: {error}")))?;
        let response = send(&self.socket, request).await.map_err(|error| CliError::new(error.to_string()))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        let message = match serde_json::from_slice::<Value>(&body) {
            Ok(Value::Object(fields)) => fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::from_utf8_lossy(&body).into_owned(),
        };
        let message = if message.is_empty() { format!("the daemon answered {status}") } else { message };
        Err(CliError::from_status(status.as_u16(), message))
    }

    /// The whole body of a GET.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, CliError> {
        whole(self.open(Method::GET, path, query, Payload::Empty).await?).await
    }

    /// Takes the connection over for the raw streams of a process.
    pub(super) async fn hijack(
        &self,
        path: &str,
        query: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<Hijacked, CliError> {
        let head = head(Method::POST, path, query).header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        let response = self.send(head, payload).await?;
        let framed = is_framed(&response);
        let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
        Ok(Hijacked { io: TokioIo::new(upgraded), framed })
    }
}

/// The whole body of an answer.
pub(super) async fn whole(response: Response<Incoming>) -> Result<Bytes, CliError> {
    Ok(response.into_body().collect().await.map_err(broken)?.to_bytes())
}

/// The body of a request.
pub(super) enum Payload<'a> {
    /// Nothing.
    Empty,
    /// An object.
    Json(&'a Value),
    /// An archive, sent as it is read.
    Tar(Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>),
}

/// Whether a response's streams come in docker's frames, where its content type says so.
pub(super) fn is_framed(response: &Response<Incoming>) -> Option<bool> {
    match response.headers().get(CONTENT_TYPE)?.to_str().ok()? {
        "application/vnd.docker.multiplexed-stream" => Some(true),
        "application/vnd.docker.raw-stream" => Some(false),
        _ => None,
    }
}

/// Lines of a body, as they come, without their newlines. The last one may lack its newline.
pub(super) fn lines(body: Incoming) -> impl Stream<Item = Result<Vec<u8>, CliError>> + Unpin {
    let state = (body.into_data_stream(), Vec::new(), false);
    Box::pin(stream::unfold(state, |(mut chunks, mut buffer, mut ended)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                buffer.pop();
                return Some((Ok(std::mem::replace(&mut buffer, rest)), (chunks, buffer, ended)));
            }
            if ended {
                return (!buffer.is_empty()).then(|| (Ok(std::mem::take(&mut buffer)), (chunks, Vec::new(), true)));
            }
            match chunks.next().await {
                Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Some((Err(broken(error)), (chunks, Vec::new(), true))),
                None => ended = true,
            }
        }
    }))
}

/// The connection broke in the middle of an answer.
pub(super) fn broken(error: impl std::fmt::Display) -> CliError {
    CliError::new(format!("the connection to the daemon broke: {error}"))
}

/// A request to `path`, which is escaped already; the query is escaped here.
fn head(method: Method, path: &str, query: &[(&str, &str)]) -> request::Builder {
    let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", escape(value, ""))).collect();
    let question = if pairs.is_empty() { "" } else { "?" };
    Request::builder().method(method).uri(format!("{path}{question}{}", pairs.join("&")))
}

/// A container's name or id as one segment of a path.
pub(super) fn container(name: &str) -> Result<String, CliError> {
    segment("container", name.strip_prefix('/').unwrap_or(name), "")
}

/// An image's reference or id as (part of) a path.
pub(super) fn image(name: &str) -> Result<String, CliError> {
    segment("image", name, "/:@")
}

/// A network's name or id as one segment of a path.
pub(super) fn network(name: &str) -> Result<String, CliError> {
    segment("network", name, "")
}

/// Names go into URLs: nothing of them may change which URL it is.
fn segment(kind: &str, name: &str, also: &str) -> Result<String, CliError> {
    if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(CliError::new(format!("invalid {kind} name or id: {name:?}")));
    }
    Ok(escape(name, also))
}

/// RFC 3986, section 2.1: all but unreserved characters and those of `also`.
fn escape(text: &str, also: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte);
        if plain { escaped.push(char::from(byte)) } else { escaped.push_str(&format!("%{byte:02X}")) }
    }
    escaped
}

/// One request on a connection of its own.
async fn send(socket: &Path, mut request: BollardRequest) -> std::io::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let socket = socket.display();
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "are you root, or in the group that owns the socket?",
            _ => "is the daemon running?",
        };
        std::io::Error::new(error.kind(), format!("cannot connect to the daemon at unix://{socket}: {error}; {hint}"))
    })?;
    // bollard's URIs are absolute and lose the version on their way through `url`: a socket wants path and query.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let ClientVersion { major_version, minor_version } = API_VERSION;
    *request.uri_mut() =
        format!("/v{major_version}.{minor_version}{path}").parse::<Uri>().map_err(std::io::Error::other)?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("pontoon"));

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment() {
        let env = |set: &'static [(&'static str, &'static str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let both = &[("PONTOON_HOST", "unix:///p"), ("DOCKER_HOST", "unix:///d")];
        let path = |flag: Option<&str>, set| host(flag.map(str::to_owned), env(set)).expect("a host");
        assert_eq!(path(Some("unix:///f"), both), Path::new("/f"));
        assert_eq!(path(None, both), Path::new("/p"));
        assert_eq!(path(None, &both[1..]), Path::new("/d"));
        assert_eq!(path(None, &[("PONTOON_HOST", "")]), Path::new("/run/pontoon/pontoon.sock"));
        assert!(host(Some("tcp://127.0.0.1:2375".into()), env(&[])).is_err());
    }

    #[test]
    fn names_cannot_leave_their_place_in_the_url() {
        assert_eq!(container("/web").expect("a name"), "web");
        assert_eq!(container("a?b#c d").expect("escaped"), "a%3Fb%23c%20d");
        assert_eq!(image("reg:5000/a/b@sha256:00").expect("a name"), "reg:5000/a/b@sha256:00");
        for bad in ["", "/", "..", "../images/x", "a/../b", "a//b"] {
            assert!(container(bad).is_err() && image(bad).is_err(), "{bad:?}");
        }
    }
}
