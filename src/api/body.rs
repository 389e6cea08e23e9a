//! Bodies: JSON in (with a limit) and out, streams that end with their client, uploads read by blocking code.

use std::convert::Infallible;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::error::ApiError;

/// A response's body. It is polled by its connection alone: when the client goes away, it is dropped, and with it
/// whatever made it.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(super) type Response = hyper::Response<Body>;

/// Largest JSON request, in bytes: a seccomp profile fits many times over, and so does every port of a host, one by one.
const JSON_LIMIT: usize = 16 << 20;

/// Chunks of an upload that may wait for the blocking reader.
const UPLOAD_CHUNKS: usize = 16;

/// Bytes of a refused body that are read and thrown away, so that the client gets to read the answer.
const DRAIN_LIMIT: usize = 256 << 20;

/// A body that is there already.
pub(super) fn full(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::new(Full::new(bytes.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// One JSON value.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            full(status, "application/json", bytes)
        }
        Err(error) => {
            full(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("cannot write the answer: {error}"))
        }
    }
}

/// A status and nothing else.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = hyper::Response::new(Full::default().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// 200, with the headers sent at once and each item as soon as it comes.
pub(super) fn stream(content_type: &'static str, items: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let frames = items.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = hyper::Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A value as a line of a JSON stream.
pub(super) fn json_line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}

/// Reads a body that is of no interest, up to a limit: a client that still writes when its connection ends reports that
/// (`broken pipe`) instead of the answer.
pub(super) async fn drain(mut body: Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > DRAIN_LIMIT {
            return;
        }
    }
}

/// Reads a JSON body.
pub(super) async fn read_json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, ApiError> {
    let bytes = read_limited(request.into_body()).await?;
    if bytes.is_empty() {
        return Err(ApiError::bad_request("invalid JSON: got EOF while reading request body"));
    }
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
}

/// Reads a body of at most [`JSON_LIMIT`]; the rest of a longer one is drained.
async fn read_limited(mut body: Incoming) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut drained) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("cannot read the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if drained == 0 && bytes.len() + data.len() <= JSON_LIMIT {
            bytes.extend_from_slice(&data);
            continue;
        }
        drained += data.len();
        if drained > DRAIN_LIMIT {
            break;
        }
    }
    if drained > 0 {
        let message = format!("request body is larger than {JSON_LIMIT} bytes");
        return Err(ApiError { status: StatusCode::PAYLOAD_TOO_LARGE, message });
    }
    Ok(bytes)
}

/// The blocking end of an upload. A client that goes away before the end is an error, never an early end.
pub(super) struct Upload {
    chunks: mpsc::Receiver<io::Result<Option<Bytes>>>,
    current: Bytes,
    ended: bool,
}

impl Read for Upload {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Ok(Some(chunk))) => self.current = chunk,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client went away")),
            }
        }
        let length = self.current.len().min(into.len());
        self.current.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// Hands a request's body to blocking code, a few chunks at a time, and answers what that makes of it.
pub(super) async fn upload<T: Send + 'static>(
    body: Incoming,
    work: impl FnOnce(Upload) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (sender, chunks) = mpsc::channel(UPLOAD_CHUNKS);
    let reader = Upload { chunks, current: Bytes::new(), ended: false };
    let work = tokio::task::spawn_blocking(move || work(reader));
    feed(body, sender).await;
    work.await.map_err(|_| ApiError::internal("the image store stopped unexpectedly: see the daemon's log"))
}

/// Sends a body's chunks until its end, an error, or until nobody reads; what is left then is drained.
async fn feed(mut body: Incoming, sender: mpsc::Sender<io::Result<Option<Bytes>>>) {
    let mut drained = 0;
    while let Some(frame) = body.frame().await {
        let item = match frame {
            Ok(frame) => frame.into_data().ok().map(|data| Ok(Some(data))),
            Err(error) => Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))),
        };
        let Some(item) = item else { continue };
        let (failed, length) = (item.is_err(), item.as_ref().map_or(0, |data| data.as_ref().map_or(0, Bytes::len)));
        if sender.send(item).await.is_err() {
            drained += length;
        }
        if failed || drained > DRAIN_LIMIT {
            return;
        }
    }
    // Nobody left to read is fine: the work has its result already.
    let _ = sender.send(Ok(None)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload_of(items: Vec<io::Result<Option<Bytes>>>) -> io::Result<Vec<u8>> {
        let (sender, chunks) = mpsc::channel(items.len().max(1));
        for item in items {
            sender.try_send(item).expect("room for every item");
        }
        drop(sender);
        let mut all = Vec::new();
        Upload { chunks, current: Bytes::new(), ended: false }.read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn an_upload_ends_only_where_the_client_ended_it() {
        let chunk = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
        assert_eq!(upload_of(vec![chunk("ab"), chunk(""), chunk("c"), Ok(None)]).expect("whole"), b"abc");
        assert_eq!(upload_of(vec![chunk("ab")]).expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
        assert!(upload_of(vec![Err(io::Error::other("broken"))]).is_err());
    }
}
