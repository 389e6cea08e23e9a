//! The Docker Engine API (v1.24 to v1.50) over HTTP/1.1 on unix sockets: a file per resource.
//!
//! A request goes parse → action → outcome: [`router`] reads the path, the resource's file reads query and body into a
//! typed action, the [`Engine`] performs it, and the outcome becomes docker's JSON. What docker knows and pontoon does
//! not is refused by name; nothing that was asked for is silently left out.

mod audit;
mod body;
mod clock;
mod containers;
mod detach;
mod error;
mod exec;
mod filters;
mod hijack;
mod images;
pub mod metrics;
mod networks;
mod peer;
mod query;
mod router;
mod stream;
mod system;

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::containers::Engine;
use crate::containers::descriptors::room_for_clients;
use crate::containers::origin::on_behalf_of;
use body::Response;
use error::ApiError;
use query::Query;
use router::{NEWEST, Route, Version};

/// How long short requests may take to finish once the daemon drains.
const GRACE: Duration = Duration::from_secs(10);

/// Pause after a failed `accept`, and while there is no descriptor for another client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take from connecting to the end of its first request's head.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// How long it may keep its connection between two requests, and take for a later one's head: clients keep some for what
/// comes next.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(300);

/// How long the log is silent about clients that have to wait, once it has said so.
const SAID: Duration = Duration::from_secs(600);

/// The API's server: what every request needs. Clones share it.
#[derive(Clone)]
struct Api {
    engine: Engine,
    /// Cancelled when the daemon drains: streams end.
    shutdown: CancellationToken,
    /// Connections, hijacked sessions, and changes that must not be cut short.
    tasks: TaskTracker,
}

/// Serves one socket until `shutdown` is cancelled; then accepts no more, ends streams, lets short requests finish
/// and returns.
pub async fn serve(listener: UnixListener, engine: Engine, shutdown: CancellationToken) {
    let api = Api { engine, shutdown, tasks: TaskTracker::new() };
    let mut said = None;
    loop {
        let accepted = tokio::select! {
            () = api.shutdown.cancelled() => break,
            accepted = accept(&listener, &mut said) => accepted,
        };
        match accepted {
            Ok(stream) => {
                api.tasks.spawn(connection(api.clone(), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    api.tasks.close();
    if tokio::time::timeout(GRACE, api.tasks.wait()).await.is_err() {
        tracing::warn!(left = api.tasks.len(), "requests did not finish in time");
    }
}

/// The next client, once there are descriptors for it: until then it waits in the kernel's queue.
async fn accept(listener: &UnixListener, said: &mut Option<Instant>) -> std::io::Result<Client> {
    while !room_for_clients(listener) {
        if said.is_none_or(|said: Instant| said.elapsed() >= SAID) {
            *said = Some(Instant::now());
            tracing::warn!(
                "there are so many connections to the API that further clients have to wait: the other file descriptors \
                 are for the daemon's own work; end clients, or raise its limit (LimitNOFILE=, ulimit -n)"
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    let (stream, _) = listener.accept().await?;
    let watched = std::os::unix::net::UnixStream::from(stream.as_fd().try_clone_to_owned()?);
    Ok(Client { stream, watched: UnixStream::from_std(watched)? })
}

/// One client. All its descriptors are there before the next one is let in.
struct Client {
    stream: UnixStream,
    /// A second descriptor of the same socket: while an answer is on its way, nothing reads the first.
    watched: UnixStream,
}

/// Serves one client. Its requests, streams and waits are dropped when it goes away.
async fn connection(api: Api, Client { stream, watched }: Client) {
    let peer = match peer::identity(&stream) {
        Ok(peer) => Arc::new(peer),
        Err(error) => {
            tracing::warn!(%error, "cannot tell who connects: not served");
            return;
        }
    };
    let shutdown = api.shutdown.clone();
    let asked = Arc::new(Notify::new());
    let asks = asked.clone();
    let service = service_fn(move |request| {
        let (api, peer) = (api.clone(), peer.clone());
        asks.notify_one();
        async move {
            let origin = peer::origin(&peer, &request);
            Ok::<_, Infallible>(on_behalf_of(origin, api.answer(request)).await)
        }
    });
    let mut server = http1::Builder::new();
    server.half_close(true).timer(TokioTimer::new()).header_read_timeout(BETWEEN_REQUESTS);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let mut draining = false;
    let mut silent = std::pin::pin!(tokio::time::timeout(FIRST_REQUEST, asked.notified()));
    let mut has_asked = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = peer::hung_up(&watched) => return,
            first = silent.as_mut(), if !has_asked => match first {
                Ok(()) => has_asked = true,
                Err(_) => return tracing::debug!("a client that asked nothing was hung up on"),
            },
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Api {
    /// Answers one request; never fails: errors and panics become answers.
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let began = Instant::now();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let outcome = AssertUnwindSafe(self.outcome(request)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(ApiError::internal("internal error: see the daemon's log")));
        let mut response = outcome.unwrap_or_else(|error| {
            if error.status.is_server_error() {
                tracing::warn!(%method, path = uri.path(), status = error.status.as_u16(), "{}", error.message);
            }
            error.into_response()
        });
        for (name, value) in common_headers() {
            response.headers_mut().insert(name, value);
        }
        let (status, elapsed) = (response.status().as_u16(), began.elapsed());
        tracing::debug!(%method, %uri, status, ?elapsed, "request");
        response
    }

    async fn outcome(&self, request: Request<Incoming>) -> Result<Response, ApiError> {
        let routed = router::route(request.method(), request.uri().path());
        let asked = routed.and_then(|route| Ok((route, Query::parse(request.uri().query())?)));
        match asked {
            Ok(((version, route), query)) => self.dispatch(version, route, &query, request).await,
            Err(error) => {
                body::drain(request.into_body()).await;
                Err(error)
            }
        }
    }

    async fn dispatch(
        &self,
        version: Version,
        route: Route,
        query: &Query,
        request: Request<Incoming>,
    ) -> Result<Response, ApiError> {
        use containers::{attach, create, inspect, lifecycle, list, logs, prune, wait};
        match route {
            Route::Ping => Ok(system::ping()),
            Route::Version => Ok(system::version()),
            Route::Info => Ok(system::info(self)),
            Route::Events => system::events(self, query),
            Route::Metrics => Ok(metrics::metrics(&self.engine).await),
            Route::ContainerList => list::list(self, query).await,
            Route::ContainerCreate => create::create(self, query, request).await,
            Route::ContainerPrune => prune::prune(self, query).await,
            Route::ContainerInspect(name) => inspect::inspect(self, &name, query).await,
            Route::ContainerStart(name) => lifecycle::start(self, name, query).await,
            Route::ContainerStop(name) => lifecycle::stop(self, name, query).await,
            Route::ContainerRestart(name) => lifecycle::restart(self, name, query).await,
            Route::ContainerKill(name) => lifecycle::kill(self, name, query).await,
            Route::ContainerPause(name) => lifecycle::pause(self, name, true).await,
            Route::ContainerUnpause(name) => lifecycle::pause(self, name, false).await,
            Route::ContainerRename(name) => lifecycle::rename(self, name, query).await,
            Route::ContainerRemove(name) => lifecycle::remove(self, name, query).await,
            Route::ContainerResize(name) => lifecycle::resize(self, &name, query).await,
            Route::ContainerTop(name) => lifecycle::top(self, &name, query).await,
            Route::ContainerWait(name) => wait::wait(self, &name, query),
            Route::ContainerAttach(name) => attach::attach(self, version, &name, query, request).await,
            Route::ContainerLogs(name) => logs::logs(self, version, &name, query),
            Route::ExecCreate(name) => exec::create(self, name, request).await,
            Route::ExecStart(id) => exec::start(self, version, id, request).await,
            Route::ExecResize(id) => exec::resize(self, &id, query).await,
            Route::ExecInspect(id) => exec::inspect(self, &id).await,
            Route::ImageList => images::list(self, query).await,
            Route::ImageCreate => images::transfer::create(self, query, request).await,
            Route::ImageLoad => images::transfer::load(self, query, request).await,
            Route::ImagePrune => images::prune(self, query).await,
            Route::ImageInspect(name) => images::inspect(self, name).await,
            Route::ImageHistory(name) => images::history(self, name).await,
            Route::ImageTag(name) => images::tag(self, name, query).await,
            Route::ImageRemove(name) => images::remove(self, name, query).await,
            Route::NetworkList => networks::list(self, query),
            Route::AuditAssert => audit::assert::assert(self, query, request).await,
            Route::AuditLint => audit::lint::lint(self, query).await,
            Route::AuditDrift => audit::drift::drift(self).await,
            Route::AuditDriftRepair => audit::drift::repair(self).await,
            Route::AuditPreview => audit::preview::preview(self, query, request).await,
            Route::AuditHistory => audit::history::history(self, query).await,
            Route::AuditExplain => audit::explain::explain(self, query).await,
            Route::AuditLog => audit::log::log(self, query).await,
            Route::AuditMatrix => audit::matrix::matrix(self, query, false).await,
            Route::AuditMatrixProbed => audit::matrix::matrix(self, query, true).await,
            Route::AuditWhy => audit::why::why(self, query).await,
            Route::AuditProbe => audit::probe::probe(self, query).await,
            Route::NetworkInspect(name) => networks::inspect(self, &name),
        }
    }

    /// A stream that also ends when the daemon drains.
    fn until_shutdown<S: Stream + Send + 'static>(&self, stream: S) -> impl Stream<Item = S::Item> + Send + 'static {
        stream.take_until(self.shutdown.clone().cancelled_owned())
    }
}

/// What clients negotiate by; every answer carries it.
fn common_headers() -> [(hyper::header::HeaderName, HeaderValue); 4] {
    use hyper::header::HeaderName;
    let version = HeaderValue::from_str(&NEWEST.to_string()).expect("digits and a dot");
    [
        (HeaderName::from_static("api-version"), version),
        (HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false")),
        (HeaderName::from_static("ostype"), HeaderValue::from_static("linux")),
        (SERVER, HeaderValue::from_static(concat!("Pontoon/", env!("CARGO_PKG_VERSION"), " (linux)"))),
    ]
}
