//! One transaction after another, shared by changes that come together.
//!
//! A commit costs the kernel several milliseconds whatever it holds. So while one is under way, changes gather, and the
//! next one carries them all.

use nftables::schema::Nftables;
use tokio::sync::{mpsc, oneshot};

use super::elements::{Delta, Elements};
use super::{Change, FirewallError, nft, ruleset};
use crate::model::{Intent, NetworkOptions};

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
}

impl Committer {
    pub(super) fn new(options: NetworkOptions) -> Self {
        Self { options, elements: Elements::default() }
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
        (self.options, self.elements) = (intent.options, elements);
        Ok(())
    }

    /// Applies all changes in one transaction, or each alone if that fails.
    async fn commit(&mut self, batch: Vec<(Change, Reply)>) {
        let (mut elements, mut delta) = (self.elements.clone(), Delta::default());
        let mut accepted = Vec::new();
        for (change, reply) in batch {
            match elements.apply(&change, &mut delta) {
                Ok(()) => accepted.push((change, reply)),
                Err(e) => drop(reply.send(Err(e))),
            }
        }
        if delta.is_empty() || self.transact(&ruleset::change(&self.options, &delta)).await.is_ok() {
            self.elements = elements;
            // Flows that the dismissed elements had let through end here, once conntrack entries are ours to delete.
            for (_, reply) in accepted {
                let _ = reply.send(Ok(()));
            }
            return;
        }
        for (change, reply) in accepted {
            let _ = reply.send(self.commit_alone(&change).await);
        }
    }

    /// If the difference does not fit what the kernel holds, somebody else was at the table: it is written anew.
    async fn commit_alone(&mut self, change: &Change) -> Result<(), FirewallError> {
        let (mut elements, mut delta) = (self.elements.clone(), Delta::default());
        elements.apply(change, &mut delta)?;
        if let Err(refusal) = self.transact(&ruleset::change(&self.options, &delta)).await {
            tracing::warn!(table = %ruleset::Names::of(&self.options).table, %refusal, "replacing the firewall's table: it is not as we left it");
            self.transact(&ruleset::replace(&self.options, &elements)).await?;
        }
        self.elements = elements;
        Ok(())
    }

    async fn transact(&self, transaction: &Nftables<'_>) -> Result<(), FirewallError> {
        nft::commit("change the firewall", transaction).await
    }
}
