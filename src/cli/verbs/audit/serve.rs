//! `audit serve`: the report as a page that keeps itself fresh.
//!
//! The server is this client, not the daemon: it asks the daemon's socket, with the rights of who started it, and only when
//! somebody asks; one answer is for all who ask within a moment ([`answers`](super::answers)). It answers `GET /` with the
//! page and `GET /report.json` with its data, to names of this machine only (a page elsewhere on the web could else reach it
//! under a name of its own: DNS rebinding).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::answers::Answers;
use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;

/// Where nothing else is said.
const USUAL: &str = "127.0.0.1:7373";
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// `audit serve`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Serve {
    /// Where to listen: ADDRESS:PORT, ADDRESS or :PORT; port 0 is any free one. Whoever reaches it reads the report
    #[arg(default_value = USUAL, value_name = "ADDR", value_parser = address)]
    address: SocketAddr,
}

/// What stands without an address is this machine's alone.
fn address(text: &str) -> Result<SocketAddr, String> {
    let usual: SocketAddr = USUAL.parse().expect("an address and a port");
    let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
    let host = text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    text.parse()
        .ok()
        .or_else(|| port.map(|port| SocketAddr::new(usual.ip(), port)))
        .or_else(|| host.map(|host| SocketAddr::new(host, usual.port())))
        .ok_or_else(|| "expected ADDRESS:PORT, ADDRESS or :PORT, like 127.0.0.1:7373".to_owned())
}

impl Serve {
    pub(super) async fn run(self, client: &Client) -> Outcome {
        let answers = Rc::new(Answers::of(client.clone()));
        let listener = TcpListener::bind(self.address).await;
        let listener =
            listener.map_err(|error| CliError::new(format!("cannot listen on {}: {error}", self.address)))?;
        let address = listener.local_addr().map_err(|error| CliError::new(error.to_string()))?;
        let serving = tokio::task::LocalSet::new();
        // Before anybody is told that it works.
        if let Err(error) = serving.run_until(answers.latest()).await {
            return Err(CliError::new(error));
        }
        if !address.ip().is_loopback() {
            eprintln!(
                "pontoon: whoever reaches {address} can read this report; without an address it is for this machine only"
            );
        }
        print(&format!("http://{address}/\n"))?;
        let stop = |kind| signal(kind).map_err(|error| CliError::new(format!("cannot wait for signals: {error}")));
        let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
        let accepting = serving.run_until(async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let answers = answers.clone();
                        tokio::task::spawn_local(async move {
                            let answer = |request| {
                                let answers = answers.clone();
                                async move { Ok::<_, Infallible>(answer(&answers, address, &request).await) }
                            };
                            let mut http = http1::Builder::new();
                            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                            // Who goes away in the middle of an answer has had enough.
                            let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                        });
                    }
                    // Out of descriptors, say.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        tokio::select! {
            () = accepting => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(0)
    }
}

async fn answer<B>(answers: &Rc<Answers>, address: SocketAddr, request: &Request<B>) -> Response<Full<Bytes>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, address) {
        let text = format!("this server does not answer to the name {host:?}: ask http://{address}/\n");
        return with(StatusCode::MISDIRECTED_REQUEST, "text/plain; charset=utf-8", text);
    }
    let live = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => false,
        (&Method::GET, "/report.json") => true,
        _ => {
            return with(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "there is / and /report.json\n".to_owned(),
            );
        }
    };
    let latest = match answers.latest().await {
        Ok(latest) => latest,
        Err(error) => return with(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", format!("{error}\n")),
    };
    if !live {
        return with(StatusCode::OK, "text/html; charset=utf-8", latest.page.clone());
    }
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| *known == latest.tag);
    let mut response = match known {
        true => with(StatusCode::NOT_MODIFIED, "application/json", ""),
        false => with(StatusCode::OK, "application/json", latest.json.clone()),
    };
    response.headers_mut().insert(ETAG, latest.tag.clone());
    response.headers_mut().insert("x-taken", latest.taken.clone());
    response
}

/// Whether a `Host` names this server: by an address, or as this machine's own.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    if let Ok(asked) = host.parse::<SocketAddr>() {
        return asked.port() == address.port() && (asked.ip() == address.ip() || address.ip().is_unspecified());
    }
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let here =
        name.parse::<IpAddr>().map_or(name == "localhost", |ip| ip == address.ip() || address.ip().is_unspecified());
    here && port.parse() == Ok(address.port())
}

fn with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_this_machines_unless_said() {
        let read = |text: &str| address(text).map(|address| address.to_string());
        assert_eq!(read("192.0.2.1:80").as_deref(), Ok("192.0.2.1:80"));
        assert_eq!(read(":8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(read("::1").as_deref(), Ok("[::1]:7373"));
        assert_eq!(read("[::1]:1").as_deref(), Ok("[::1]:1"));
        for bad in ["", "web", "web:80", ":", ":65536", "1.2.3:4"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_names_are_not_answered() {
        let loopback: SocketAddr = "127.0.0.1:7373".parse().expect("address");
        for ours in ["127.0.0.1:7373", "localhost:7373"] {
            assert!(is_ours(ours, loopback), "{ours}");
        }
        for other in
            ["", "evil.example:7373", "localhost", "127.0.0.1:80", "192.0.2.1:7373", "localhost.evil.example:7373"]
        {
            assert!(!is_ours(other, loopback), "{other}");
        }
        let all: SocketAddr = "0.0.0.0:80".parse().expect("address");
        assert!(is_ours("192.0.2.1", all) && is_ours("localhost", all) && !is_ours("web", all));
    }
}
