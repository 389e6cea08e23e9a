//! Conversations: many ports of a container that say who they are, and somebody who asks them.
//!
//! The sockets are this process's, opened in the namespace that they belong to: a thousand of them cost no process.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::container::Container;
use super::host::Host;
use super::lan::Lan;
use super::packets::within;
use super::wait::eventually;

/// An answer takes less, if there will be one. Who expects an answer asks again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ports that answer until this is dropped.
pub struct Answers(Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>);

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some((stop, server)) = self.0.take() {
            drop(stop);
            let _ = server.join();
        }
    }
}

impl Host {
    /// Each of these TCP ports of a container answers with its own number and the asker's address.
    pub fn answers_tcp(&self, container: &Container<'_>, ports: impl IntoIterator<Item = u16> + Send) -> Answers {
        let open = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap_or_else(|e| panic!("{port}: {e}"));
        let listeners = within(&self.netns_of(container), || ports.into_iter().map(open).collect::<Vec<_>>());
        serve(move || listeners.into_iter().for_each(|listener| drop(tokio::spawn(answer_tcp(listener)))))
    }

    /// The same of UDP ports, with one more word: what they were asked.
    pub fn answers_udp(&self, container: &Container<'_>, ports: impl IntoIterator<Item = u16> + Send) -> Answers {
        let open = |port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap_or_else(|e| panic!("{port}: {e}"));
        let sockets = within(&self.netns_of(container), || ports.into_iter().map(open).collect::<Vec<_>>());
        serve(move || sockets.into_iter().for_each(|socket| drop(tokio::spawn(answer_udp(socket)))))
    }

    /// What a TCP port says to a container; asks until it says something.
    #[track_caller]
    pub fn asks_tcp_from(&self, container: &Container<'_>, to: &str) -> String {
        let netns = self.netns_of(container);
        eventually(&format!("TCP {to} for a container"), || ask_tcp(&netns, to))
    }

    /// What a UDP port answers to a container's "ping"; asks until it answers.
    #[track_caller]
    pub fn asks_udp_from(&self, container: &Container<'_>, to: &str) -> String {
        let netns = self.netns_of(container);
        eventually(&format!("UDP {to} for a container"), || ask_udp(&netns, to))
    }

    /// A container's network namespace, as this machine sees it.
    pub fn netns_of(&self, container: &Container<'_>) -> PathBuf {
        self.path(&format!("/proc/{}/ns/net", container.pid()))
    }
}

fn serve(spawn: impl FnOnce() + Send + 'static) -> Answers {
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            spawn();
            let _ = stopped.await;
        });
    });
    Answers(Some((stop, server)))
}

async fn answer_tcp(listener: TcpListener) {
    listener.set_nonblocking(true).expect("a socket can be asked not to wait");
    let port = listener.local_addr().expect("it is bound").port();
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is running");
    while let Ok((mut stream, from)) = listener.accept().await {
        let _ = stream.write_all(format!("{port} {}", from.ip()).as_bytes()).await;
    }
}

async fn answer_udp(socket: UdpSocket) {
    socket.set_nonblocking(true).expect("a socket can be asked not to wait");
    let port = socket.local_addr().expect("it is bound").port();
    let socket = tokio::net::UdpSocket::from_std(socket).expect("a runtime is running");
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let words = String::from_utf8_lossy(&buffer[..length]);
        let _ = socket.send_to(format!("{port} {} {words}", from.ip()).as_bytes(), from).await;
    }
}

fn ask_tcp(netns: &Path, to: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().expect("address:port");
    let mut stream = within(netns, || TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut words = String::new();
    stream.read_to_string(&mut words)?;
    Ok(words)
}

fn ask_udp(netns: &Path, to: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().expect("address:port");
    let socket = within(netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"ping")?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

impl Lan<'_> {
    /// What the TCP port says; asks until it says something.
    #[track_caller]
    pub fn asks_tcp(&self, to: &str) -> String {
        eventually(&format!("TCP {to}"), || self.asked_tcp(to))
    }

    /// What the TCP port says, if anybody answers.
    pub fn asked_tcp(&self, to: &str) -> std::io::Result<String> {
        ask_tcp(&self.netns(), to)
    }

    /// What the UDP port answers to "ping"; asks until it answers. Hears answers from where it asked, and no others.
    #[track_caller]
    pub fn asks_udp(&self, to: &str) -> String {
        eventually(&format!("UDP {to}"), || self.asked_udp(to))
    }

    /// What the UDP port answers to "ping", if anybody does.
    pub fn asked_udp(&self, to: &str) -> std::io::Result<String> {
        ask_udp(&self.netns(), to)
    }

    /// Whether another program may listen here, as most servers do (with SO_REUSEADDR).
    pub fn can_listen(&self, at: &str) -> bool {
        let at: SocketAddr = at.parse().expect("address:port");
        self.tries(at, || TcpListener::bind(at).map(drop))
    }

    /// Whether another program may bind this UDP port.
    pub fn can_bind_udp(&self, at: &str) -> bool {
        let at: SocketAddr = at.parse().expect("address:port");
        self.tries(at, || UdpSocket::bind(at).map(drop))
    }

    fn tries(&self, at: SocketAddr, bind: impl FnOnce() -> std::io::Result<()> + Send) -> bool {
        match within(&self.netns(), bind) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AddrInUse => false,
            Err(error) => panic!("cannot bind {at}: {error}"),
        }
    }

    /// Listens here until the answer is dropped, as another program.
    pub fn listens(&self, at: &str) -> TcpListener {
        within(&self.netns(), || TcpListener::bind(at)).unwrap_or_else(|error| panic!("cannot listen at {at}: {error}"))
    }
}
