//! What must go and what must come to get from one state to another. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nftables::schema::{NfCmd, NfObject};

use super::conntrack::Closed;
use super::facts::{self, Fact};

/// The difference that changes make, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    gone: BTreeSet<Fact>,
    come: BTreeSet<Fact>,
    /// Addresses whose containers ended, even if another has it already.
    ended: BTreeSet<Ipv4Addr>,
}

impl Delta {
    pub(super) fn remove(&mut self, fact: Fact) {
        // What would only come by this delta never gets there.
        if !self.come.remove(&fact) {
            self.gone.insert(fact);
        }
    }

    pub(super) fn add(&mut self, fact: Fact) {
        if !self.gone.remove(&fact) {
            self.come.insert(fact);
        }
    }

    /// The container at this address has ended, whatever comes after it.
    pub(super) fn end(&mut self, address: Ipv4Addr) {
        self.ended.insert(address);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.come.is_empty()
    }

    /// Whether flows that end were on their way to somebody: a link was taken away, or a client's packets lead to a
    /// container that is no longer the one that was published. Those of a container that ended lead to nobody.
    pub(super) fn cuts(&self) -> bool {
        let alive = |fact: &Fact| match fact {
            Fact::Endpoint { address, .. } => !self.ended.contains(address),
            Fact::Linked { source, target } | Fact::Link { source, target, .. } => {
                !self.ended.contains(source) && !self.ended.contains(target)
            }
            Fact::Published(row) => !self.ended.contains(&row.to),
            Fact::Admitted { to, .. } => !self.ended.contains(to),
        };
        let diverts = |fact: &Fact| matches!(fact, Fact::Published(row) if Closed::by_coming(row.ports.protocol));
        self.gone.iter().any(alive) || self.come.iter().any(diverts)
    }

    /// The addresses of endpoints that come.
    pub(super) fn addresses_that_come(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.come.iter().filter_map(|fact| match fact {
            Fact::Endpoint { address, .. } => Some(*address),
            _ => None,
        })
    }

    /// The flows that must end once this delta is in force.
    pub(super) fn closed(&self) -> Vec<Closed> {
        let gone = self.gone.iter().filter_map(|fact| match fact {
            Fact::Endpoint { address, .. } => Some(Closed::Endpoint(*address)),
            // Their flows are those of what leads there.
            Fact::Linked { .. } | Fact::Admitted { .. } => None,
            Fact::Link { source, target, ports } => {
                Some(Closed::Link { source: *source, target: *target, ports: *ports })
            }
            Fact::Published(row) => Some(Closed::Unpublished(*row)),
        });
        let came = self.come.iter().filter_map(|fact| match fact {
            Fact::Published(row) if Closed::by_coming(row.ports.protocol) => Some(Closed::Published(*row)),
            _ => None,
        });
        let ended = self.ended.iter().map(|address| Closed::Endpoint(*address));
        let all: BTreeSet<Closed> = ended.chain(gone).chain(came).collect();
        all.into_iter().collect()
    }

    /// As commands: what goes first, so that a key can change its value within one transaction.
    pub(super) fn commands(&self, table: &str) -> Vec<NfObject<'static>> {
        let mut commands = facts::commands(table, &self.gone, NfCmd::Delete);
        commands.extend(facts::commands(table, &self.come, NfCmd::Add));
        commands
    }
}
