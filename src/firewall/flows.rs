//! The flows of what was closed, ended one look after another.
//!
//! A look through the kernel's table takes a processor some five milliseconds, however few flows there are: a tenth of a
//! whole run. Who starts or ends a container does not wait for it, for the port of one that ends is closed, and nothing
//! passes. So the flows of ends gather for a moment, and one look ends all of them. There are those who do wait, and then
//! it is not put off: who takes away a link, and who gets the address of one that has just ended, since its predecessor's flows
//! would lead to it.
//!
//! A daemon that is killed before the look leaves flows behind that lead to nobody. The next one ends them before it gives
//! anybody an address ([`vacancies`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipnetwork::Ipv4Network;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::conntrack::{self, Closed};
use super::nft::Committed;

/// For so long the flows of ends gather.
const GATHER: Duration = Duration::from_millis(200);

/// What was closed by a transaction.
struct Farewell {
    committed: Committed,
    closed: Vec<Closed>,
    /// Something passes as long as they have not ended, or somebody waits.
    urgent: bool,
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

    /// Has flows ended that the transaction no longer lets through, at once if that is urgent. What it returns waits until
    /// that is done, and all that was asked before.
    pub(super) fn end(&self, committed: Committed, closed: Vec<Closed>, urgent: bool) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.leaving.note(&closed);
        // Nobody looks any more when the daemon ends.
        let _ = self.queue.send(Farewell { committed, closed, urgent, done });
        ended
    }

    /// Whether flows of an earlier owner may still lead to the address.
    pub(super) fn may_lead_to(&self, address: Ipv4Addr) -> bool {
        self.leaving.lock().contains_key(&address)
    }
}

async fn look(mut inbox: mpsc::UnboundedReceiver<Farewell>, leaving: Leaving) {
    while let Some(first) = inbox.recv().await {
        let (mut urgent, mut together) = (first.urgent, vec![first]);
        let due = Instant::now() + GATHER;
        while !urgent && let Ok(Some(next)) = timeout_at(due, inbox.recv()).await {
            urgent = next.urgent;
            together.push(next);
        }
        let (mut closed, mut done) = (Vec::new(), Vec::new());
        for farewell in together {
            farewell.committed.settled().await;
            closed.extend(farewell.closed);
            done.push(farewell.done);
        }
        if !closed.is_empty() {
            conntrack::forget(closed.clone()).await;
        }
        leaving.forget(&closed);
        for done in done {
            // Those who do not wait do not mind.
            let _ = done.send(());
        }
    }
}

/// All addresses of a range but those that somebody has.
pub(super) fn vacancies(range: Ipv4Network, taken: &BTreeSet<Ipv4Addr>) -> Vec<Closed> {
    let (mut vacant, mut first) = (Vec::new(), Some(range.network()));
    for address in taken.iter().filter(|address| range.contains(**address)) {
        let before =
            first.filter(|first| first < address).map(|first| (first, Ipv4Addr::from_bits(address.to_bits() - 1)));
        vacant.extend(before);
        first = address.to_bits().checked_add(1).map(Ipv4Addr::from_bits);
    }
    vacant.extend(first.filter(|first| range.contains(*first)).map(|first| (first, range.broadcast())));
    vacant.into_iter().map(|(first, last)| Closed::Vacant { first, last }).collect()
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
        let _first = flows.end(Committed::default(), closed.clone(), false);
        let _second = flows.end(Committed::default(), closed.clone(), true);
        let leads = || flows.may_lead_to(address);
        assert!(leads() && !flows.may_lead_to(Ipv4Addr::new(172, 17, 0, 3)));
        flows.leaving.forget(&closed);
        assert!(leads());
        flows.leaving.forget(&closed);
        assert!(!leads());
    }

    #[test]
    fn vacancies_are_what_is_between() {
        let address = |last| Ipv4Addr::new(10, 0, 0, last);
        let range = Ipv4Network::new(address(9), 29).unwrap();
        let vacant = |taken: &[u8]| vacancies(range, &taken.iter().map(|last| address(*last)).collect());
        let run = |first, last| Closed::Vacant { first: address(first), last: address(last) };
        assert_eq!(vacant(&[]), [run(8, 15)]);
        assert_eq!(vacant(&[9, 10, 12]), [run(8, 8), run(11, 11), run(13, 15)]);
        assert_eq!(vacant(&[8, 15, 16, 7]), [run(9, 14)]);
        assert_eq!(vacant(&[8, 9, 10, 11, 12, 13, 14, 15]), []);
    }
}
