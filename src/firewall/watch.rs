//! Hears of changes to the daemon's tables by others, and writes the tables anew.
//!
//! The kernel tells its listeners of each change to its rules, and ends a transaction's changes with the generation that it
//! made: its number, and the process that wrote it. What one of our own nft children wrote is known by the netlink port of
//! its socket, which is the child's process id (nft lets the kernel choose, `netlink_autobind`). The id in the message
//! itself is that of the initial pid namespace, which may not be the daemon's.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tokio::sync::mpsc::UnboundedSender;

use super::generation::{Generation, Listener};
use super::names::{self, Family};
use super::netfilter::messages;
use super::{Firewall, FirewallError};
use crate::model::{NetworkOptions, Place, Tampering};

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 7;
/// Bytes that the kernel keeps until they are read: a transaction of 10,000 elements of ours comes back as some 2 MB.
const BUFFER: usize = 16 << 20;
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 128 * 1024;
/// Generations that are read before something is done about them.
const TOGETHER: usize = 64;
/// Between two repairs, so that who changes the tables in a loop does not keep the machine busy.
const PAUSE: Duration = Duration::from_millis(50);
/// Before what could not be written is tried again, and between repairs because of messages that were lost.
const RETRY: Duration = Duration::from_millis(500);

/// Listens from its making on, so that nothing is missed until it runs.
pub struct Watch {
    socket: TokioSocket,
    firewall: Firewall,
    listener: Listener,
    options: NetworkOptions,
    /// Or else only told of.
    repairs: bool,
    /// The kernel could not keep all that it had to tell: nobody knows what it was.
    lost: bool,
}

impl Firewall {
    /// Begins to listen. What changes before the first [`Firewall::reconcile`] is nobody's business: run the watch after it.
    /// `repairs`: what others change is put right, and not only told of.
    pub fn watch(&self, options: &NetworkOptions, repairs: bool) -> Result<Watch, FirewallError> {
        let socket = listen().map_err(FirewallError::Watch)?;
        let listener = Listener::new(names::table(options), Family::of(options));
        Ok(Watch { socket, firewall: self.clone(), listener, options: options.clone(), repairs, lost: false })
    }
}

impl Firewall {
    /// Puts right what the watch would, without its having heard of anything.
    pub async fn restore(&self, options: &NetworkOptions) -> Result<(), FirewallError> {
        self.rewrite().await?;
        self.turn_out(options).await;
        Ok(())
    }
}

fn listen() -> io::Result<TokioSocket> {
    let mut listening = TokioSocket::new(NETLINK_NETFILTER)?;
    let socket = listening.socket_mut();
    socket.bind_auto()?;
    socket.add_membership(GROUP)?;
    // Without CAP_NET_ADMIN over the initial user namespace the limit of the system holds; then more is lost, and repaired.
    if nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER).is_err() {
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBuf, &BUFFER)?;
    }
    Ok(listening)
}

impl Watch {
    /// Repairs what others change, and tells what it was, until nobody wants to hear it any more.
    pub async fn run(mut self, news: UnboundedSender<Tampering>) {
        while !news.is_closed() {
            let (foreign, others) = match self.hear().await {
                Ok(generations) => self.foreign(generations),
                Err(error) => {
                    tracing::error!(%error, "cannot hear of changes to the firewall by others any more");
                    return;
                }
            };
            let lost = std::mem::take(&mut self.lost);
            for Generation { process, .. } in others {
                let _ = news.send(Tampering { place: Place::Foreign, what: Vec::new(), repaired: false, process });
            }
            if foreign.is_empty() && !lost {
                continue;
            }
            let repaired = self.repairs;
            if repaired {
                self.repair().await;
            }
            for Generation { what, process, .. } in foreign {
                let told = news.send(Tampering { place: Place::Rules, what, repaired, process });
                if told.is_err() {
                    return;
                }
            }
            if lost && !repaired {
                let _ = news.send(Tampering { place: Place::Rules, what: Vec::new(), repaired, process: None });
            } else if lost {
                tracing::warn!(
                    "more changes to the kernel's tables than could be followed: the firewall's were written anew"
                );
            }
            tokio::time::sleep(if lost { RETRY } else { PAUSE }).await;
        }
    }

    /// Generations that are not ours: those that touched our tables, and those that touched others' only.
    fn foreign(&self, generations: Vec<Generation>) -> (Vec<Generation>, Vec<Generation>) {
        let foreign = generations.into_iter().filter(|generation| !self.firewall.writers.seen(generation.port));
        foreign.partition(|generation| !generation.what.is_empty())
    }

    async fn repair(&self) {
        while let Err(error) = self.firewall.rewrite().await {
            tracing::error!(%error, "cannot restore the firewall; trying again");
            tokio::time::sleep(RETRY).await;
        }
        // What came in meanwhile is known to conntrack, and would go on.
        self.firewall.turn_out(&self.options).await;
    }

    /// The generations of what there is to read. What comes together is repaired together.
    async fn hear(&mut self) -> io::Result<Vec<Generation>> {
        let mut buffer = Vec::with_capacity(DATAGRAM);
        let mut generations = Vec::new();
        while generations.len() < TOGETHER {
            buffer.clear();
            let received = match self.socket.recv(&mut buffer).now_or_never() {
                Some(received) => received,
                None if !generations.is_empty() => break,
                None => self.socket.recv(&mut buffer).await,
            };
            match received {
                Ok(()) => generations.extend(messages(&buffer).filter_map(|message| self.listener.hear(&message))),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.lost = true;
                    // A socket that lost something is told nothing new until it has been read empty: a new one is.
                    self.socket = listen()?;
                    self.listener.forget();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(generations)
    }
}
