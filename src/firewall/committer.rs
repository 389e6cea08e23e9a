//! One transaction after another, shared by changes that come together.
//!
//! A commit costs the kernel several milliseconds whatever it holds. So while one is under way, changes gather, and the
//! next one carries them all.

use tokio::sync::{mpsc, oneshot};

use super::elements::{Delta, Elements};
use super::{FirewallError, nft, ruleset};
use crate::model::{Change, Intent, NetworkOptions};

const CHANGE: &str = "change the firewall";

type Reply = oneshot::Sender<Result<(), FirewallError>>;

/// What the committer is asked.
pub(super) enum Command {
    /// Replace the whole table.
    Reconcile(Box<Intent>, Reply),
    /// Change a few elements.
    Apply(Change, Reply),
}

/// Knows what the kernel should hold by now.
pub(super) struct Committer {
    options: NetworkOptions,
    /// What the last successful transaction left in force.
    elements: Elements,
    /// The kernel may hold elements that should have gone: the next transaction writes the whole table.
    stale: bool,
}

impl Committer {
    pub(super) fn new(options: NetworkOptions) -> Self {
        Self { options, elements: Elements::default(), stale: false }
    }

    /// Serves until the last handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = inbox.recv().await {
            let mut batch = Vec::new();
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Apply(change, reply) => batch.push((change, reply)),
                    Command::Reconcile(intent, reply) => {
                        self.commit(std::mem::take(&mut batch)).await;
                        // A caller that went away does not mind.
                        let _ = reply.send(self.reconcile(*intent).await);
                    }
                }
                next = inbox.try_recv().ok();
            }
            self.commit(batch).await;
        }
    }

    async fn reconcile(&mut self, intent: Intent) -> Result<(), FirewallError> {
        let elements = Elements::of(&intent.endpoints)?;
        nft::commit("set up the firewall", &ruleset::replace(&intent.options, &elements)).await?;
        (self.options, self.elements, self.stale) = (intent.options, elements, false);
        Ok(())
    }

    /// Applies all changes in one transaction, or each alone if that fails.
    async fn commit(&mut self, batch: Vec<(Change, Reply)>) {
        let (mut delta, mut accepted, mut undo) = (Delta::default(), Vec::new(), Vec::new());
        for (change, reply) in batch {
            match self.elements.apply(&change, &mut delta) {
                Ok(before) => {
                    undo.push(before);
                    accepted.push((change, reply));
                }
                Err(e) => drop(reply.send(Err(e))),
            }
        }
        if self.transact(&delta).await.is_ok() {
            // Flows that the dismissed elements had let through end here, once conntrack entries are ours to delete.
            for (_, reply) in accepted {
                let _ = reply.send(Ok(()));
            }
            return;
        }
        undo.into_iter().rev().for_each(|before| self.elements.revert(before));
        for (change, reply) in accepted {
            let _ = reply.send(self.commit_alone(&change).await);
        }
    }

    /// If the difference does not fit what the kernel holds, somebody else was at the table: it is written anew.
    async fn commit_alone(&mut self, change: &Change) -> Result<(), FirewallError> {
        let mut delta = Delta::default();
        let before = self.elements.apply(change, &mut delta)?;
        let Err(refusal) = self.transact(&delta).await else { return Ok(()) };
        let table = ruleset::Names::of(&self.options).table;
        tracing::warn!(%table, %refusal, "the firewall's table is not as it was left: writing it anew");
        let written = nft::commit(CHANGE, &ruleset::replace(&self.options, &self.elements)).await;
        match (&written, change) {
            (Ok(()), _) => self.stale = false,
            (Err(_), Change::Admit(..)) => self.elements.revert(before),
            // Its container has ended whatever nft says: its address and its ports must not be refused to the next one.
            (Err(_), Change::Dismiss(_)) => self.stale = true,
        }
        written
    }

    async fn transact(&mut self, delta: &Delta) -> Result<(), FirewallError> {
        if self.stale {
            nft::commit(CHANGE, &ruleset::replace(&self.options, &self.elements)).await?;
            self.stale = false;
            return Ok(());
        }
        if delta.is_empty() {
            return Ok(());
        }
        nft::commit(CHANGE, &ruleset::change(&self.options, delta)).await
    }
}
