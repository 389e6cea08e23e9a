//! Questions about others: handed on to the asker's servers, remembered, and bounded.
//!
//! Servers are asked one after the other, as libraries do; one that kept silent goes to the end of the line for a while,
//! for whoever it kept silent to: a container that asks what nobody answers does not change whom the others ask.
//! What the first one answers that has something to say is the answer, whatever it is: NXDOMAIN is an answer, while
//! SERVFAIL and REFUSED are a reason to ask the next.
//!
//! hickory's own resolver is not used for this: it hands on what it makes of messages, and here the messages themselves
//! are to be handed on, flags, signatures and all.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, ResponseCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cache::Cache;
use super::counters::Counters;
use super::host_servers::HostServers;
use super::question::Question;
use super::upstream;

/// All servers together, and the wait for one's turn: less than the 5 s after which libraries ask again.
const PATIENCE: Duration = Duration::from_secs(4);
/// Questions of one asker that are at the upstream servers at once.
const TURNS: usize = 32;
/// Questions under way, of all containers: each holds a socket.
const AT_ONCE: usize = 512;
/// A server that kept silent comes last for so long.
const SULK: Duration = Duration::from_secs(10);
const PORT: u16 = 53;

/// Hands questions on.
pub(super) struct Forwarder {
    host: HostServers,
    cache: Cache,
    turns: Semaphore,
}

/// One asker's part: its turns, and who kept silent to it.
pub(super) struct Turns {
    own: Semaphore,
    silent: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { own: Semaphore::new(TURNS), silent: Mutex::default() }
    }
}

impl Turns {
    /// Those that kept silent lately come last.
    fn in_order(&self, servers: &[SocketAddr]) -> Arc<[SocketAddr]> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let sulks = |server: &SocketAddr| silent.get(server).is_some_and(|since| since.elapsed() < SULK);
        let (last, first): (Vec<SocketAddr>, Vec<_>) = servers.iter().partition(|server| sulks(server));
        first.into_iter().chain(last).collect()
    }

    fn note_silence(&self, server: SocketAddr) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, since| since.elapsed() < SULK);
        silent.insert(server, Instant::now());
    }
}

impl Forwarder {
    pub(super) fn new(host: HostServers) -> Self {
        Self { host, cache: Cache::new(), turns: Semaphore::new(AT_ONCE) }
    }

    /// The answer of one of `upstreams` (the host's servers if there are none). `turns` are the asker's own. `None`:
    /// nobody has an answer.
    pub(super) async fn ask(
        &self,
        question: &Question,
        upstreams: &[IpAddr],
        turns: &Turns,
        counters: &Counters,
    ) -> Option<Message> {
        let servers: Arc<[SocketAddr]> = match upstreams {
            [] => self.host.now(),
            named => named.iter().map(|address| SocketAddr::from((*address, PORT))).collect(),
        };
        self.ask_servers(&servers, question, turns, counters).await
    }

    async fn ask_servers(
        &self,
        servers: &[SocketAddr],
        question: &Question,
        turns: &Turns,
        counters: &Counters,
    ) -> Option<Message> {
        // What is remembered is remembered by this order: what another one than the first says is so for those alone who
        // would not ask the first either.
        let servers = turns.in_order(servers);
        if let Some(known) = self.cache.get(&servers, question, Instant::now()) {
            counters.cached.add();
            return Some(known);
        }
        let asking = async {
            // Its own turn first: whoever waits for that must not hold up the others.
            let _own = turns.own.acquire().await.ok()?;
            let _turn = self.turns.acquire().await.ok()?;
            counters.forwarded.add();
            self.ask_each(&servers, question, turns, counters).await
        };
        let (answer, length) = timeout(PATIENCE, asking).await.ok().flatten()?;
        self.cache.keep(&servers, question, &answer, length, Instant::now());
        Some(answer)
    }

    async fn ask_each(
        &self,
        servers: &[SocketAddr],
        question: &Question,
        turns: &Turns,
        counters: &Counters,
    ) -> Option<(Message, usize)> {
        // The last one, too, has to be done before the asker's time is up.
        let patience = PATIENCE.mul_f64(0.95) / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        let mut unwilling = None;
        for server in servers.iter().copied() {
            match upstream::ask(server, question, patience).await {
                Ok((answer, length)) if willing(answer.metadata.response_code) => return Some((answer, length)),
                Ok(answer) => unwilling = unwilling.or(Some(answer)),
                Err(error) => {
                    tracing::debug!(%server, %error, "a name server keeps silent");
                    counters.timeouts.add();
                    turns.note_silence(server);
                }
            }
        }
        unwilling
    }
}

/// Whether that was an answer to the question, and not about the server.
fn willing(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::str::FromStr;

    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};
    use tokio::net::UdpSocket;

    use super::*;

    /// A server on the loopback that answers with `code`, but keeps silent about `mute.test`.
    async fn upstream(code: ResponseCode) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("address");
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.expect("a question");
                let mut message = Message::from_vec(&buffer[..length]).expect("a message");
                if message.queries[0].name().to_ascii() == "mute.test." {
                    continue;
                }
                message.metadata.message_type = hickory_resolver::proto::op::MessageType::Response;
                message.metadata.response_code = code;
                socket.send_to(&message.to_vec().expect("bytes"), from).await.expect("sent");
            }
        });
        address
    }

    fn question(name: &str) -> Question {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_str(name).expect("name"), RecordType::A));
        let bytes = message.to_vec().expect("bytes");
        let source = ([127, 0, 0, 2], 4000).into();
        let request =
            hickory_server::server::Request::from_bytes(bytes, source, hickory_server::net::xfer::Protocol::Udp);
        Question::of(&request.expect("request")).expect("question")
    }

    #[tokio::test]
    async fn whoever_hears_nothing_asks_another_server_and_nobody_else_does() {
        let servers = [upstream(ResponseCode::NoError).await, upstream(ResponseCode::NXDomain).await];
        let forwarder = Forwarder::new(HostServers::new(PathBuf::from("/nonexistent")));
        let (counters, curious, other) = (Counters::default(), Turns::default(), Turns::default());
        let ask = async |name: &str, turns: &Turns| {
            let answer = forwarder.ask_servers(&servers, &question(name), turns, &counters).await;
            answer.map(|answer| answer.metadata.response_code)
        };
        assert_eq!(ask("plain.test.", &curious).await, Some(ResponseCode::NoError));
        assert_eq!(ask("mute.test.", &curious).await, None);
        // Both kept silent: the first is asked first again. One that answers meanwhile is not.
        curious.silent.lock().expect("not poisoned").remove(&servers[1]);
        assert_eq!(ask("one.test.", &curious).await, Some(ResponseCode::NXDomain), "the control");
        assert_eq!(ask("one.test.", &other).await, Some(ResponseCode::NoError), "nor what is remembered");
        assert_eq!(ask("two.test.", &other).await, Some(ResponseCode::NoError));
    }
}
