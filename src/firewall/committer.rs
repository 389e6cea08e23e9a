//! One transaction after another, shared by changes that come together.
//!
//! A commit costs milliseconds whatever it holds. So while one is under way, changes gather, and the next one carries
//! them all.
//!
//! A container ends whatever nft says. If its dismissal is refused, its flows end all the same; and again when a later
//! transaction, which writes everything anew, has taken its elements away.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::conntrack::Closed;
use super::counting::Counting;
use super::delta::Delta;
use super::denials::Denials;
use super::elements::Elements;
use super::flows::Flows;
use super::held::Held;
use super::nft::Committed;
use super::strays::Admission;
use super::writers::Writers;
use super::{FirewallError, compare, conntrack, names, nft, ruleset};
use crate::model::audit::Difference;
use crate::model::{Change, Intent, NetworkOptions, Outcomes};

const CHANGE: &str = "change the firewall";
/// How often more the whole is written where nft did not end.
const TRIES: usize = 2;

type Reply = oneshot::Sender<Result<(), FirewallError>>;

/// What the committer is asked.
pub(super) enum Command {
    /// Replace the whole table.
    Reconcile(Box<Intent>, Reply),
    /// Change a few elements.
    Apply(Change, Reply),
    /// Write everything anew as it was left.
    Rewrite(Reply),
    /// Tell what is in force, for who judges flows.
    Admission(oneshot::Sender<Result<Admission, FirewallError>>),
    /// Tell what differs.
    Compare(oneshot::Sender<Result<Vec<Difference>, FirewallError>>),
}

/// Knows what the kernel should hold by now.
pub(super) struct Committer {
    options: NetworkOptions,
    writers: Writers,
    denials: Denials,
    counting: Counting,
    commits: Arc<Outcomes>,
    /// What the last successful transaction left in force.
    elements: Elements,
    /// The kernel may hold elements that should have gone: the next transaction writes the whole table.
    stale: bool,
    /// What those elements may let through until then.
    overdue: Vec<Closed>,
    flows: Flows,
    /// The rules as nft lists them, once somebody has asked.
    planned: Option<compare::Planned>,
}

impl Committer {
    pub(super) fn new(
        options: NetworkOptions,
        writers: Writers,
        denials: Denials,
        counting: Counting,
        commits: Arc<Outcomes>,
    ) -> Self {
        let elements = Elements::none(&options);
        Self {
            options,
            writers,
            denials,
            counting,
            commits,
            elements,
            stale: false,
            overdue: Vec::new(),
            flows: Flows::watched(),
            planned: None,
        }
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
                    Command::Rewrite(reply) => {
                        self.commit(std::mem::take(&mut batch)).await;
                        let _ = reply.send(self.repair().await);
                    }
                    Command::Admission(reply) => {
                        self.commit(std::mem::take(&mut batch)).await;
                        let endpoints: Vec<_> = self.elements.owners().collect();
                        let _ = reply.send(Ok(Admission::of(&self.options, self.options.own_bridge, &endpoints, [])));
                    }
                    Command::Compare(reply) => {
                        self.commit(std::mem::take(&mut batch)).await;
                        let _ = reply.send(self.compare().await);
                    }
                }
                next = inbox.try_recv().ok();
            }
            self.commit(batch).await;
        }
    }

    async fn reconcile(&mut self, intent: Intent) -> Result<(), FirewallError> {
        let options = &intent.options;
        let elements = Elements::of(options, &intent.endpoints)?;
        let (held, planned) = tokio::join!(Held::now(options), Held::planned(options, &elements));
        let held = held.unwrap_or_default();
        let table = names::table(options);
        if !self.follow(planned.as_ref().and_then(|planned| held.difference(planned, &table)), &table).await {
            self.replace("set up the firewall", options, &elements).await?.settled().await;
        } else if self.counting.since().is_none() {
            self.counting.begins(Timestamp::now());
        }
        let mut closed = planned.map(|planned| held.closed(&planned)).unwrap_or_default();
        closed.append(&mut self.overdue);
        if !closed.is_empty() {
            conntrack::forget(closed).await;
        }
        (self.options, self.elements, self.stale) = (intent.options, elements, false);
        self.planned = None;
        Ok(())
    }

    async fn compare(&mut self) -> Result<Vec<Difference>, FirewallError> {
        if self.planned.is_none() {
            let planned = Held::planned(&self.options, &Elements::none(&self.options)).await;
            self.planned = planned.map(|planned| planned.rules);
        }
        let untried = || std::io::Error::other("the plan cannot be tried in a network namespace");
        let planned = self.planned.as_ref().ok_or_else(|| FirewallError::Compare(untried()))?;
        let differences = compare::differences(&self.options, planned, &self.elements).await;
        differences.map_err(FirewallError::Compare)
    }

    /// Whether a difference leads to the plan, and did.
    async fn follow(&self, difference: Option<Vec<serde_json::Value>>, table: &str) -> bool {
        let Some(commands) = difference else {
            tracing::info!(%table, "the firewall is written as a whole");
            return false;
        };
        if commands.is_empty() {
            tracing::debug!(%table, "the firewall stands as it was left");
            return true;
        }
        let transaction = serde_json::json!({ "nftables": commands });
        // What is added may have been there before: nobody knows since when it is not used.
        if commands.iter().any(|command| command.get("add").is_some()) {
            self.counting.begins(Timestamp::now());
        }
        match self.carry("bring the firewall up to date", &transaction).await {
            Ok(committed) => {
                committed.settled().await;
                tracing::info!(%table, "the firewall stands but for elements that follow what has changed");
                true
            }
            Err(error) => {
                tracing::warn!(%table, %error, "the firewall is not as it was a moment ago: writing it anew");
                false
            }
        }
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
        if let Ok(committed) = self.transact(&delta).await {
            let replies = accepted.into_iter().map(|(_, reply)| reply).collect();
            self.answer(committed, &delta, replies);
            return;
        }
        undo.into_iter().rev().for_each(|before| self.elements.revert(before));
        for (change, reply) in accepted {
            let mut delta = Delta::default();
            match self.commit_alone(&change, &mut delta).await {
                Ok(committed) => self.answer(committed, &delta, vec![reply]),
                Err(e) => drop(reply.send(Err(e))),
            }
        }
    }

    /// If the difference does not fit what the kernel holds, somebody else was at the table: it is written anew.
    async fn commit_alone(&mut self, change: &Change, delta: &mut Delta) -> Result<Committed, FirewallError> {
        let before = self.elements.apply(change, delta)?;
        let refusal = match self.transact(delta).await {
            Ok(committed) => return Ok(committed),
            Err(refusal) => refusal,
        };
        let table = names::table(&self.options);
        tracing::warn!(%table, %refusal, "the firewall's table is not as it was left: writing it anew");
        let written = self.rewrite(CHANGE).await;
        match (&written, change) {
            (Ok(_), _) => {}
            (Err(_), Change::Admit(..)) => self.elements.revert(before),
            // Its container has ended whatever nft says: its address and its ports must not be refused to the next one.
            (Err(_), Change::Dismiss(_)) => {
                self.stale = true;
                self.overdue.extend(delta.closed());
                conntrack::forget(delta.closed()).await;
            }
        }
        written
    }

    async fn transact(&mut self, delta: &Delta) -> Result<Committed, FirewallError> {
        if self.stale {
            return self.rewrite(CHANGE).await;
        }
        if delta.is_empty() {
            return Ok(Committed::default());
        }
        let carried = self.carry(CHANGE, &ruleset::change(&self.options, delta)).await;
        self.stale |= matches!(carried, Err(FirewallError::Late { .. }));
        carried
    }

    async fn repair(&mut self) -> Result<(), FirewallError> {
        self.rewrite("repair the firewall").await?.settled().await;
        Ok(())
    }

    async fn rewrite(&mut self, step: &'static str) -> Result<Committed, FirewallError> {
        let replaced = self.replace(step, &self.options, &self.elements).await;
        // Whatever of earlier ones is there or is not, the next one writes all of it.
        self.stale |= matches!(replaced, Err(FirewallError::Late { .. }));
        let committed = replaced?;
        self.stale = false;
        if self.overdue.is_empty() {
            return Ok(committed);
        }
        // Before anybody hears of it: those who come next may have the addresses.
        committed.settled().await;
        conntrack::forget(std::mem::take(&mut self.overdue)).await;
        Ok(Committed::default())
    }

    /// Carries a transaction into the kernel.
    async fn carry(&self, step: &'static str, transaction: &impl Serialize) -> Result<Committed, FirewallError> {
        let begun = Instant::now();
        let committed = nft::commit(step, transaction, &self.writers).await;
        self.commits.observe(committed.is_ok(), begun.elapsed());
        committed
    }

    /// Writes both tables anew. Their counters begin at nothing.
    async fn replace(
        &self,
        step: &'static str,
        options: &NetworkOptions,
        elements: &Elements,
    ) -> Result<Committed, FirewallError> {
        self.denials.before_new_tables().await;
        self.counting.begins(Timestamp::now());
        let transaction = ruleset::replace(options, elements);
        let mut written = self.carry(step, &transaction).await;
        for _again in 0..TRIES {
            if !matches!(written, Err(FirewallError::Late { .. })) {
                break;
            }
            // The same once more is right whether the first was written or not.
            written = self.carry(step, &transaction).await;
        }
        self.denials.after_new_tables(written.is_ok());
        written
    }

    /// Ends the flows that what went had let through, and answers. The next transaction need not wait for that, and who
    /// starts or ends a container neither: what it closed is closed, and the port of one that ends is down. Only who takes
    /// away a link alone hears of it when nothing passes any more, and who has an address next when its last owner's flows
    /// have ended.
    fn answer(&self, committed: Committed, delta: &Delta, replies: Vec<Reply>) {
        let closed = delta.closed();
        let links_alone = !closed.is_empty() && closed.iter().all(|closed| matches!(closed, Closed::Link { .. }));
        let inherited = |address| closed.contains(&Closed::Endpoint(address)) || self.flows.may_lead_to(address);
        let waits = links_alone || delta.addresses_that_come().any(inherited);
        // A caller that went away does not mind.
        let answer = |replies: Vec<Reply>| replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
        if closed.is_empty() && !waits {
            return answer(replies);
        }
        let ended = self.flows.end(committed, closed, waits || delta.cuts());
        if !waits {
            return answer(replies);
        }
        tokio::spawn(async move {
            // If nobody looks any more, nobody is there to hear it either.
            let _ = ended.await;
            answer(replies);
        });
    }
}
