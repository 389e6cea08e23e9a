//! Questions about others: handed on to the asker's servers, remembered, and bounded.
//!
//! Servers are asked one after the other, as libraries do; one that kept silent goes to the end of the line for a while.
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
    silent: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Forwarder {
    pub(super) fn new(host: HostServers) -> Self {
        Self { host, cache: Cache::new(), turns: Semaphore::new(AT_ONCE), silent: Mutex::default() }
    }

    /// The answer of one of `upstreams` (the host's servers if there are none). `turns` are the asker's own. `None`:
    /// nobody has an answer.
    pub(super) async fn ask(
        &self,
        question: &Question,
        upstreams: &[IpAddr],
        turns: &Semaphore,
        counters: &Counters,
    ) -> Option<Message> {
        let servers: Arc<[SocketAddr]> = match upstreams {
            [] => self.host.now(),
            named => named.iter().map(|address| SocketAddr::from((*address, PORT))).collect(),
        };
        if let Some(known) = self.cache.get(&servers, question, Instant::now()) {
            counters.cached.add();
            return Some(known);
        }
        let asking = async {
            // Its own turn first: whoever waits for that must not hold up the others.
            let _own = turns.acquire().await.ok()?;
            let _turn = self.turns.acquire().await.ok()?;
            counters.forwarded.add();
            self.ask_each(&servers, question, counters).await
        };
        let (answer, length) = timeout(PATIENCE, asking).await.ok().flatten()?;
        self.cache.keep(&servers, question, &answer, length, Instant::now());
        Some(answer)
    }

    async fn ask_each(
        &self,
        servers: &[SocketAddr],
        question: &Question,
        counters: &Counters,
    ) -> Option<(Message, usize)> {
        // The last one, too, has to be done before the asker's time is up.
        let patience = PATIENCE.mul_f64(0.95) / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        let mut unwilling = None;
        for server in self.in_order(servers) {
            match upstream::ask(server, question, patience).await {
                Ok((answer, length)) if willing(answer.metadata.response_code) => return Some((answer, length)),
                Ok(answer) => unwilling = unwilling.or(Some(answer)),
                Err(error) => {
                    tracing::debug!(%server, %error, "a name server keeps silent");
                    counters.timeouts.add();
                    self.note_silence(server);
                }
            }
        }
        unwilling
    }

    fn in_order(&self, servers: &[SocketAddr]) -> Vec<SocketAddr> {
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

/// Whether that was an answer to the question, and not about the server.
fn willing(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}
