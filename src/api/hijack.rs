//! Hijacked connections: after `101 UPGRADED` the socket carries a process's streams in both directions.

use std::future::Future;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

use super::Api;
use super::body::{self, Response};
use super::detach::{DetachKeys, Typed};
use super::error::ApiError;
use super::peer::hung_up;
use super::router::Version;
use super::stream::frame;
use crate::containers::Attachment;
use crate::containers::origin::inherit;

/// From here on, clients can tell framed from raw streams by the content type.
const MULTIPLEXED_SINCE: Version = Version(1, 42);

/// Bytes copied from the client at a time.
const INPUT: usize = 16 << 10;

/// What a hijacked connection is to carry.
pub(super) struct Session {
    /// The process.
    pub(super) attachment: Attachment,
    /// The client's input goes to the process.
    pub(super) stdin: bool,
    /// Sequence that ends the session; looked for on a terminal's input only.
    pub(super) keys: DetachKeys,
    /// Sent before the live streams: what the container had written before.
    pub(super) before: Vec<Bytes>,
}

/// The media type of a process's streams.
pub(super) fn content_type(version: Version, tty: bool) -> &'static str {
    if tty || version < MULTIPLEXED_SINCE {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    }
}

/// A connection that a client asked to have to itself; taken from a request before its body is read.
pub(super) struct Door(Option<OnUpgrade>);

impl Door {
    /// Open if the client sent `Upgrade`.
    pub(super) fn of(request: &mut Request<Incoming>) -> Self {
        Self(request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(request)))
    }
}

/// Answers 101 and carries the session on the client's socket. A client that did not ask for an upgrade gets the output
/// as the body of a 200.
pub(super) fn hijack(api: &Api, version: Version, door: Door, session: Session) -> Result<Response, ApiError> {
    let content_type = content_type(version, session.attachment.tty);
    let Some(upgrade) = door.0 else {
        if session.stdin {
            let advice = "send Connection: Upgrade and Upgrade: tcp";
            return Err(ApiError::bad_request(format!("stdin needs a connection of its own: {advice}")));
        }
        return Ok(body::stream(content_type, api.until_shutdown(output(session))));
    };
    let shutdown = api.shutdown.clone();
    api.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            outcome = carry(upgrade, session) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "hijacked connection ended");
                }
            }
        }
    });
    let mut response = body::empty(StatusCode::SWITCHING_PROTOCOLS);
    response.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    Ok(response)
}

/// The output alone, for clients without an upgrade.
fn output(session: Session) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    let Session { attachment: Attachment { tty, stream: connection, .. }, before, .. } = session;
    let live = stream::once(connection).flat_map(move |connected| match connected {
        // A read error is the end of the output: the shim went away.
        Ok(Some(shim)) => ReaderStream::new(shim).filter_map(async |chunk| chunk.ok()).boxed(),
        Ok(None) => stream::empty().boxed(),
        Err(error) => stream::iter([complaint(tty, &error.message)]).boxed(),
    });
    stream::iter(before).chain(live)
}

/// How a docker daemon tells on the stream itself that the process did not start.
fn complaint(tty: bool, message: &str) -> Bytes {
    let text = format!("{message}\r\n");
    if tty { text.into() } else { frame(2, text.as_bytes()) }
}

async fn carry(upgrade: OnUpgrade, session: Session) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| io::Error::other("the connection is not a unix socket"))?;
    let mut client: UnixStream = parts.io.into_inner();
    for bytes in &session.before {
        client.write_all(bytes).await?;
    }
    let connected = tokio::select! {
        connected = session.attachment.stream => connected,
        // Nobody is left to see the output: a container that starts later must not wait for this client.
        () = hung_up(&client) => return Ok(()),
    };
    match connected {
        Ok(Some(shim)) => {
            let keys = session.attachment.tty.then_some(session.keys);
            let input = Input { early: parts.read_buf, stdin: session.stdin, keys };
            copy(client, shim, input).await
        }
        Ok(None) => client.shutdown().await,
        Err(error) => {
            client.write_all(&complaint(session.attachment.tty, &error.message)).await?;
            client.shutdown().await
        }
    }
}

/// The client's side of a session.
struct Input {
    /// What the client sent together with its request.
    early: Bytes,
    /// Send it to the process.
    stdin: bool,
    /// Detach keys, on a terminal.
    keys: Option<DetachKeys>,
}

/// Copies both ways until the output ends, the client detaches or hangs up. The client's half-close ends the process's
/// stdin and nothing else.
async fn copy(client: UnixStream, shim: UnixStream, input: Input) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_shim, mut to_shim) = shim.into_split();
    let output = tokio::io::copy(&mut from_shim, &mut to_client);
    let input = async {
        if let Typed::Onward = send_input(&mut from_client, &mut to_shim, input).await {
            hung_up(from_client.as_ref()).await;
        }
    };
    tokio::select! {
        copied = output => { copied?; }
        () = input => {}
    }
    to_client.shutdown().await
}

/// Copies until the client's input ends or the keys are typed. A process that does not read any more does not end the
/// session: its output goes on.
async fn send_input(
    client: &mut (impl AsyncReadExt + Unpin),
    process: &mut (impl AsyncWriteExt + Unpin),
    input: Input,
) -> Typed {
    let Input { early, stdin, mut keys } = input;
    let mut chunk = early.to_vec();
    let mut filtered = Vec::new();
    loop {
        filtered.clear();
        let typed = match &mut keys {
            Some(keys) => keys.feed(&chunk, &mut filtered),
            None => {
                filtered.extend_from_slice(&chunk);
                Typed::Onward
            }
        };
        let closed = stdin && process.write_all(&filtered).await.is_err();
        if typed == Typed::Detach {
            return typed;
        }
        chunk.resize(INPUT, 0);
        match client.read(&mut chunk).await {
            Ok(length) if length > 0 && !closed => chunk.truncate(length),
            Ok(length) if length > 0 => chunk.clear(),
            _ => break,
        }
    }
    if stdin {
        if let Some(keys) = &keys {
            let _ = process.write_all(keys.held()).await;
        }
        let _ = process.shutdown().await;
    }
    Typed::Onward
}

/// Runs work that must not be cut short by a client that goes away.
pub(super) async fn to_the_end<T: Send + 'static>(
    api: &Api,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    api.tasks
        .spawn(inherit(work))
        .await
        .map_err(|_| ApiError::internal("the request failed unexpectedly: see the daemon's log"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn read_all(stream: &mut UnixStream) -> Vec<u8> {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("read");
        all
    }

    fn input(early: &'static [u8], keys: bool) -> Input {
        let keys = keys.then(|| DetachKeys::parse(None).expect("default"));
        Input { early: Bytes::from_static(early), stdin: true, keys }
    }

    #[tokio::test]
    async fn a_half_close_ends_stdin_and_output_goes_on() {
        let (mut user, client) = UnixStream::pair().expect("pair");
        let (mut process, shim) = UnixStream::pair().expect("pair");
        let session = tokio::spawn(copy(client, shim, input(b"early ", false)));
        user.write_all(b"late").await.expect("write");
        user.shutdown().await.expect("half-close");
        assert_eq!(read_all(&mut process).await, b"early late");
        process.write_all(b"answer").await.expect("output after the end of stdin");
        drop(process);
        assert_eq!(read_all(&mut user).await, b"answer");
        session.await.expect("task").expect("session");
    }

    #[tokio::test]
    async fn detach_keys_close_the_client_and_spare_the_process() {
        let (mut user, client) = UnixStream::pair().expect("pair");
        let (mut process, shim) = UnixStream::pair().expect("pair");
        let session = tokio::spawn(copy(client, shim, input(b"", true)));
        user.write_all(b"ls\x10\x11").await.expect("write");
        assert_eq!(read_all(&mut user).await, b"");
        session.await.expect("task").expect("session");
        assert_eq!(read_all(&mut process).await, b"ls");
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_ends_the_session() {
        let (user, client) = UnixStream::pair().expect("pair");
        let (_process, shim) = UnixStream::pair().expect("pair");
        drop(user);
        let ended = tokio::time::timeout(Duration::from_secs(10), copy(client, shim, input(b"", false)));
        // Whether the shutdown of a closed socket is an error is the kernel's affair.
        let _ = ended.await.expect("ended");
    }
}
