//! `--metrics-addr`: HTTP over TCP, without TLS, that serves metrics and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics;
use crate::api::ACCEPT_PAUSE;
use crate::api::body::{self, Response};
use crate::containers::Engine;

/// Clients at once. Prometheus is one.
const CLIENTS: usize = 16;
/// How long a client may take, all of its requests together.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves until `shutdown` is cancelled.
pub async fn serve(listener: TcpListener, engine: Engine, shutdown: CancellationToken) {
    let seats = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who finds no seat is turned away, and may come again.
        let Ok(seat) = seats.clone().try_acquire_owned() else { continue };
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let engine = engine.clone();
                async move { Ok::<_, Infallible>(answer(&engine, &request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = shutdown.cancelled() => {}
                // Its end is all that there is to know of it.
                _ended = tokio::time::timeout(PATIENCE, connection) => {}
            }
            drop(seat);
        });
    }
}

async fn answer(engine: &Engine, request: &Request<Incoming>) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => metrics(engine).await,
        (_, "/metrics") => body::full(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "metrics are for reading\n"),
        _ => body::full(StatusCode::NOT_FOUND, "text/plain", "there is nothing here but /metrics\n"),
    }
}
