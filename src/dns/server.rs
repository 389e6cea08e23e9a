//! The server on the gateway's port: who asks, how much at once, and the way of a question to its answer.
//!
//! An asker is known by its address, which the bridge's guard lets no other container use, and by the way it came. Requests and answers are hickory's;
//! the loops that read them are ours, since one container must not be able to take what is everybody's: tasks, sockets,
//! connections and turns at the upstream servers are counted for each asker, and what is more is dropped unread. A library
//! asks again; an answer would only cost what the flood is after.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_resolver::proto::op::{MessageType, OpCode, ResponseCode};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use rustix::event::{Timespec, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{Answer, Transport, malformed, served};
use super::counters::Counters;
use super::datagrams::{Arrived, Datagrams};
use super::forward::{Forwarder, Turns};
use super::host_servers::HostServers;
use super::question::Question;
use super::sockets::Sockets;
use super::zones::Zones;
use crate::model::{Change, ContainerId, Intent};

/// Datagrams of one asker that are being answered or wait for their turn.
const UNDERWAY: usize = 256;
/// Datagrams that are read of one queue before it is the next one's turn.
const IN_TURN: usize = 16;
/// Connections of one asker.
const CONNECTIONS: usize = 8;
/// A connection on which nothing comes, or nothing is taken, ends.
const IDLE: Duration = Duration::from_secs(10);
/// After an error of the socket, which may last.
const PAUSE: Duration = Duration::from_millis(50);
/// A question is far shorter.
const BUFFER: usize = 4096;

/// Answers the containers. Clones share it.
#[derive(Clone)]
pub struct NameServer {
    shared: Arc<Shared>,
}

struct Shared {
    table: RwLock<Table>,
    strangers: Arc<Load>,
    forwarder: Forwarder,
    counters: Counters,
}

/// The names, and what their owners have under way.
struct Table {
    zones: Zones,
    loads: HashMap<Ipv4Addr, Arc<Load>>,
}

/// What one asker has under way.
struct Load {
    underway: AtomicUsize,
    turns: Turns,
    connections: Arc<Semaphore>,
}

/// A datagram's place among those of its asker.
struct Place(Arc<Load>);

impl NameServer {
    /// Serves the names of an intent, and hands on other questions, those of containers without `--dns` to the servers
    /// that `resolv_conf` names. Ends with the process.
    pub fn serve(sockets: Sockets, intent: &Intent, resolv_conf: &Path) -> io::Result<Self> {
        let Sockets { udp, tcp, .. } = sockets;
        let udp = Arc::new(Datagrams::new(udp, &intent.options.bridge)?);
        let tcp = TcpListener::from_std(tcp)?;
        let server = Self {
            shared: Arc::new(Shared {
                table: RwLock::new(Table::new(intent)),
                strangers: Arc::default(),
                forwarder: Forwarder::new(HostServers::new(resolv_conf.to_owned())),
                counters: Counters::default(),
            }),
        };
        tokio::spawn(server.shared.clone().serve_tcp(tcp));
        let (shared, runtime) = (server.shared.clone(), Handle::current());
        std::thread::Builder::new().name("names".to_owned()).spawn(move || shared.read_datagrams(&udp, &runtime))?;
        Ok(server)
    }

    /// Follows a change of the intent: the next question is answered by it.
    pub fn apply(&self, change: &Change) {
        self.shared.table.write().unwrap_or_else(PoisonError::into_inner).apply(change);
    }

    /// What has been done so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Table {
    fn new(intent: &Intent) -> Self {
        let loads = intent.endpoints.values().map(|endpoint| (endpoint.address, Arc::default())).collect();
        Self { zones: Zones::new(intent), loads }
    }

    fn apply(&mut self, change: &Change) {
        let (Change::Admit(id, _) | Change::Dismiss(id)) = change;
        let before = self.zones.address(id);
        self.zones.apply(change);
        if let Some(address) = before.filter(|address| self.zones.asker((*address).into()).is_none()) {
            self.loads.remove(&address);
        }
        if let Change::Admit(_, endpoint) = change {
            self.loads.entry(endpoint.address).or_default();
        }
    }

    fn load(&self, source: IpAddr) -> Option<&Arc<Load>> {
        match source {
            IpAddr::V4(source) => self.loads.get(&source),
            IpAddr::V6(_) => None,
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            underway: AtomicUsize::new(0),
            turns: Turns::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

impl Load {
    /// A place for one more datagram; `None`: it has too many.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let place = Place(self.clone());
        (self.underway.fetch_add(1, Ordering::Relaxed) < UNDERWAY).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.underway.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Reads datagrams, on a thread that does nothing else: while the runtime answers one container's flood, the others'
    /// questions must not be lost for want of a reader. Of each queue in turn it takes a few.
    fn read_datagrams(self: &Arc<Self>, datagrams: &Arc<Datagrams>, runtime: &Handle) {
        let mut buffer = vec![0; BUFFER];
        let mut waiting = Vec::new();
        loop {
            if let Err(error) = self.read_some(datagrams, runtime, &mut buffer, &mut waiting)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::warn!(%error, "cannot read questions for names");
                let _ = poll(&mut [], Timespec::try_from(PAUSE).ok().as_ref());
            }
        }
    }

    fn read_some(
        self: &Arc<Self>,
        datagrams: &Arc<Datagrams>,
        runtime: &Handle,
        buffer: &mut [u8],
        waiting: &mut Vec<usize>,
    ) -> io::Result<()> {
        datagrams.wait(waiting)?;
        for queue in &*waiting {
            for _ in 0..IN_TURN {
                match datagrams.receive(*queue, buffer) {
                    Ok(arrived) => self.take(&buffer[..arrived.length], &arrived, datagrams, runtime),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Begins to answer a datagram, if its asker has a place for it.
    fn take(self: &Arc<Self>, bytes: &[u8], arrived: &Arrived, datagrams: &Arc<Datagrams>, runtime: &Handle) {
        self.counters.queries.add();
        let source = arrived.source;
        let load = self.load(source.ip());
        if load.is_some() && !arrived.inside {
            // An answer would go to the container, which did not ask.
            return self.counters.refused.add();
        }
        let Some(place) = load.unwrap_or_else(|| self.strangers.clone()).place() else {
            return self.counters.dropped.add();
        };
        let (server, datagrams, bytes) = (self.clone(), datagrams.clone(), bytes.to_vec());
        runtime.spawn(async move {
            if let Some(answer) = server.answer(bytes, source, Transport::Udp, &place.0).await {
                // Who has gone away needs no answer; where there is no room for it, it is lost like any datagram.
                let _ = datagrams.socket().send_to(&answer, source);
            }
        });
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, source) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for names");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(load) = self.load(source.ip()) else {
                self.counters.refused.add();
                continue;
            };
            let Ok(seat) = load.connections.clone().try_acquire_owned() else {
                self.counters.dropped.add();
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                // An error is the end of the connection, which is all that is to be done about it.
                let _ = server.converse(stream, source, &load).await;
                drop(seat);
            });
        }
    }

    /// One question after the other (RFC 7766 would allow more at once; nobody needs to).
    async fn converse(&self, mut stream: TcpStream, source: SocketAddr, load: &Load) -> io::Result<()> {
        loop {
            let read = async {
                let length = stream.read_u16().await?;
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.map(|_| question)
            };
            let question = timeout(IDLE, read).await??;
            self.counters.queries.add();
            let Some(answer) = self.answer(question, source, Transport::Tcp, load).await else { return Ok(()) };
            // No answer is longer than its encoder allowed.
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            timeout(IDLE, stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())).await??;
        }
    }

    /// The answer's bytes; `None`: none is due.
    async fn answer(&self, bytes: Vec<u8>, source: SocketAddr, over: Transport, load: &Load) -> Option<Vec<u8>> {
        let protocol = match over {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let malformed = malformed(&bytes);
        let Ok(request) = Request::from_bytes(bytes, source, protocol) else {
            self.counters.malformed.add();
            return malformed;
        };
        if request.metadata.message_type == MessageType::Response {
            self.counters.malformed.add();
            return None;
        }
        let Some(asker) = self.asker(source.ip()) else {
            self.counters.refused.add();
            return Answer::only(ResponseCode::Refused).encode(&request, over);
        };
        let answer = self.decide(&request, source.ip(), load).await;
        // Another container may have the address by now: what the last one wanted to know is not for it.
        let encode = || {
            let failure = || Answer::only(ResponseCode::ServFail).encode(&request, over);
            answer.encode(&request, over).or_else(failure)
        };
        (self.asker(source.ip()) == Some(asker)).then(encode).flatten()
    }

    async fn decide(&self, request: &Request, source: IpAddr, load: &Load) -> Answer {
        let question = match checked(request) {
            Ok(question) => question,
            Err(code) => {
                let counter =
                    if code == ResponseCode::Refused { &self.counters.refused } else { &self.counters.malformed };
                counter.add();
                return Answer::only(code);
            }
        };
        let upstreams = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            let Some(asker) = table.zones.asker(source) else { return Answer::only(ResponseCode::Refused) };
            if let Some(answer) = Answer::local(&asker, &question) {
                self.counters.local.add();
                return answer;
            }
            asker.upstreams().to_vec()
        };
        match self.forwarder.ask(&question, &upstreams, &load.turns, &self.counters).await {
            Some(message) => Answer::of(message, &question),
            None => {
                self.counters.failed.add();
                Answer::only(ResponseCode::ServFail)
            }
        }
    }

    fn load(&self, source: IpAddr) -> Option<Arc<Load>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).load(source).cloned()
    }

    fn asker(&self, source: IpAddr) -> Option<ContainerId> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.zones.asker(source).map(|asker| asker.id.clone())
    }
}

/// The question, if it is one that is served; else the code that says why not.
fn checked(request: &Request) -> Result<Question, ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.version() > 0 {
        return Err(ResponseCode::BADVERS);
    }
    let question = Question::of(request).ok_or(ResponseCode::FormErr)?;
    if served(&question) { Ok(question) } else { Err(ResponseCode::Refused) }
}

#[cfg(test)]
mod tests;
