//! The flows of what was closed, ended one look after another.
//!
//! A look through the kernel's table takes a processor milliseconds, however few flows there are. So while one is under
//! way, or nft is still waiting for packets under way, what else is closed gathers, and the next look ends all of it.
//!
//! Who starts or ends a container does not wait for that: the port of one that ends is closed. But whoever gets the address
//! of one that has just ended does: its predecessor's flows would lead to it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use super::conntrack::{self, Closed};
use super::nft::Committed;

/// What was closed by a transaction.
struct Farewell {
    committed: Committed,
    closed: Vec<Closed>,
    /// Told, or dropped, when all of it has ended.
    done: oneshot::Sender<()>,
}

/// The way to the one who looks.
#[derive(Debug)]
pub(super) struct Flows {
    queue: mpsc::UnboundedSender<Farewell>,
    leaving: Leaving,
}

/// Addresses whose containers have ended and whose flows may not have, and how often.
#[derive(Clone, Debug, Default)]
struct Leaving(Arc<Mutex<BTreeMap<Ipv4Addr, usize>>>);

impl Flows {
    /// Looks until this is dropped and all is done.
    pub(super) fn watched() -> Self {
        let (queue, inbox) = mpsc::unbounded_channel();
        let leaving = Leaving::default();
        tokio::spawn(look(inbox, leaving.clone()));
        Self { queue, leaving }
    }

    /// Has flows ended that the transaction no longer lets through. Returns at once; what it returns waits until it is done,
    /// and all that was asked before.
    pub(super) fn end(&self, committed: Committed, closed: Vec<Closed>) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.leaving.note(&closed);
        // Nobody looks any more when the daemon ends.
        let _ = self.queue.send(Farewell { committed, closed, done });
        ended
    }

    /// Whether flows of an earlier owner may still lead to one of these addresses.
    pub(super) fn may_lead_to(&self, mut addresses: impl Iterator<Item = Ipv4Addr>) -> bool {
        let leaving = self.leaving.lock();
        addresses.any(|address| leaving.contains_key(&address))
    }
}

async fn look(mut inbox: mpsc::UnboundedReceiver<Farewell>, leaving: Leaving) {
    while let Some(first) = inbox.recv().await {
        let (mut closed, mut done) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(farewell) = next.take() {
            // Others come meanwhile.
            farewell.committed.settled().await;
            closed.extend(farewell.closed);
            done.push(farewell.done);
            next = inbox.try_recv().ok();
        }
        if !closed.is_empty() {
            conntrack::forget(closed.clone()).await;
        }
        leaving.forget(&closed);
        // Those who do not wait do not mind.
        for done in done {
            let _ = done.send(());
        }
    }
}

impl Leaving {
    fn note(&self, closed: &[Closed]) {
        let mut leaving = self.lock();
        addresses(closed).for_each(|address| *leaving.entry(address).or_default() += 1);
    }

    fn forget(&self, closed: &[Closed]) {
        let mut leaving = self.lock();
        for address in addresses(closed) {
            if let Some(times) = leaving.get_mut(&address) {
                *times -= 1;
                if *times == 0 {
                    leaving.remove(&address);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn addresses(closed: &[Closed]) -> impl Iterator<Item = Ipv4Addr> {
    closed.iter().filter_map(|closed| match closed {
        Closed::Endpoint(address) => Some(*address),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_free_of_flows_when_all_its_farewells_are_done() {
        let address = Ipv4Addr::new(172, 17, 0, 2);
        let (queue, _inbox) = mpsc::unbounded_channel();
        let flows = Flows { queue, leaving: Leaving::default() };
        let closed = vec![Closed::Endpoint(address)];
        let _first = flows.end(Committed::default(), closed.clone());
        let _second = flows.end(Committed::default(), closed.clone());
        let leads = || flows.may_lead_to([address].into_iter());
        assert!(leads() && !flows.may_lead_to([Ipv4Addr::new(172, 17, 0, 3)].into_iter()));
        flows.leaving.forget(&closed);
        assert!(leads());
        flows.leaving.forget(&closed);
        assert!(!leads());
    }
}
