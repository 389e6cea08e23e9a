//! The firewall: intent → ruleset (pure), applied as one nft transaction.
//!
//! The number of *rules* is constant; containers and published ports are *elements* of sets and maps, so that a start
//! costs the same with one container or with a thousand. Tables are named after the bridge, so that several daemons
//! live side by side; no table of anybody else is ever touched.
//!
//! - `names`: what tables, sets and causes of dropping are called
//! - `ruleset`: the transactions; `inet`, `guard` and `strangers`: options → the rules of the tables; `plan` collects them,
//!   `syntax` and `transaction` have nft's words for them
//! - `elements`: endpoints → facts, and the difference that a change makes (`delta`); `facts`: facts → elements
//! - `committer`: one transaction after another, shared by changes that come together
//! - `held`: what the kernel holds already, and the difference to the plan
//! - `compare`: what differs between what should be and what is, in words; `structure`: of rules
//! - `found`: what differs from what the last daemon left
//! - `flows`: those of what was closed end, one look after another; `conntrack`: where they are found
//! - [`strays`]: flows that nothing admits, and their end
//! - `netfilter`: messages to and from the kernel's packet filter
//! - `nft`: the command that carries a transaction into the kernel
//! - `obstacles`: others' tables that drop by default what containers need
//! - `counting`: since when the elements count; [`hits`]: how often holes were used
//! - [`denials`]: what was dropped, by whom and to whom, and how much of it nobody saw
//! - [`audit`]: what the kernel's rules, whoever wrote them, do with a packet
//! - `writers`: which transactions are ours; `watch`: hears of others' and repairs; `generation`: what they did

pub mod audit;
mod committer;
mod compare;
mod conntrack;
mod counting;
mod delta;
pub mod denials;
mod elements;
mod facts;
mod flows;
mod found;
mod generation;
mod guard;
mod held;
pub mod hits;
mod inet;
mod names;
mod netfilter;
mod nft;
mod obstacles;
mod plan;
mod ruleset;
mod strangers;
pub mod strays;
mod structure;
mod syntax;
mod transaction;
mod watch;
mod writers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ipnetwork::Ipv4Network;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::model::audit::Difference;
use crate::model::{Change, ContainerId, Endpoint, Intent, NetworkOptions, Outcomes, Published};
use committer::{Command, Committer};
use counting::Counting;
use denials::Denials;
use writers::Writers;

pub use elements::Slot;
pub use found::{found, plan};
pub use names::log_group;
pub use nft::command as nft_command;
pub use obstacles::{Obstacle, obstacles};
pub use watch::Watch;

/// What went wrong with the firewall.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// nft could not be run.
    #[error("cannot {step}: cannot run nft: {source}; it comes with the package nftables")]
    Run {
        /// What was attempted.
        step: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// nft, or the kernel behind it, refused the transaction; nothing of it is in force.
    #[error("cannot {step}: nft: {message}")]
    Refused {
        /// What was attempted.
        step: &'static str,
        /// nft's answer.
        message: String,
    },
    /// nft did not end, and was killed: whether its transaction is in force is not known.
    #[error("cannot {step}: nft did not end and was killed; another program may have stopped it")]
    Late {
        /// What was attempted.
        step: &'static str,
    },
    /// No way to hear of others' changes.
    #[error("cannot listen for changes to the kernel's tables: {0}")]
    Watch(#[source] std::io::Error),
    /// Two endpoints claim one address or one host port.
    #[error("cannot admit {claimant}: {slot} belongs to {owner}")]
    Taken {
        /// What both want.
        slot: Slot,
        /// Who has it.
        owner: ContainerId,
        /// Who asked for it.
        claimant: ContainerId,
    },
    /// A published port that no rule could serve.
    #[error(transparent)]
    Unpublishable(#[from] Unpublishable),
    /// What the kernel holds cannot be read.
    #[error("cannot compare the firewall with what it should be: {0}")]
    Compare(#[source] std::io::Error),
    /// The committer is gone, which it never is while the daemon runs.
    #[error("the firewall's committer has ended")]
    Ended,
}

/// Why a port cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// The bridge carries no IPv6, and there is no proxy process to translate.
    #[error("cannot publish on {0}: containers have IPv4 only; publish on an IPv4 address of the host")]
    Ipv6(std::net::IpAddr),
    /// No port yet.
    #[error("cannot publish {0} on host port 0: no host port was chosen")]
    NoPort(crate::model::Port),
}

/// Checks that a published port can be served: an IPv4 address (`0.0.0.0` is all of them) and a port that is chosen.
pub fn publishable(published: &Published) -> Result<(), Unpublishable> {
    match published.host_ip {
        std::net::IpAddr::V6(_) => Err(Unpublishable::Ipv6(published.host_ip)),
        _ if published.host_port == 0 => Err(Unpublishable::NoPort(published.container)),
        _ => Ok(()),
    }
}

/// How many elements these endpoints have in each set and map of the daemon's tables: family, name, number.
pub fn count_elements(
    options: &NetworkOptions,
    endpoints: &BTreeMap<ContainerId, Endpoint>,
) -> Result<BTreeMap<(String, &'static str), usize>, FirewallError> {
    let elements = elements::Elements::of(options, endpoints)?;
    let mut counts = BTreeMap::new();
    for (set, _element) in elements.facts().iter().flat_map(facts::Fact::elements) {
        *counts.entry((set.family.to_string(), set.name)).or_default() += 1;
    }
    Ok(counts)
}

/// Files for the next daemon: how far the counters of what was denied were followed, and since when the elements count.
const DENIALS: &str = "denials.json";
const COUNTING: &str = "counting-since";

/// The daemon's tables. Clones share one committer.
#[derive(Clone)]
pub struct Firewall {
    commands: mpsc::UnboundedSender<Command>,
    /// Tells our transactions from others'.
    writers: Writers,
    denials: Denials,
    counting: Counting,
    commits: Arc<Outcomes>,
    /// How often flows that nothing admits were looked for: see [`Firewall::turn_out`].
    turns: Arc<AtomicU64>,
}

impl Firewall {
    /// Starts the committer, and listens to what is denied; touches nothing yet. Changes need [`Firewall::reconcile`]
    /// before them. `memory`: a directory where the next daemon finds how far this one got; without one, it begins anew.
    pub fn new(intent: &Intent, memory: Option<&Path>) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let writers = Writers::default();
        let file = |name: &str| memory.map(|memory| memory.join(name));
        let denials = Denials::listen(&intent.options, file(DENIALS));
        let counting = Counting::remembered(file(COUNTING));
        denials.learn(intent);
        let commits = Arc::<Outcomes>::default();
        let (options, commits_of) = (intent.options.clone(), commits.clone());
        let committer = Committer::new(options, writers.clone(), denials.clone(), counting.clone(), commits_of);
        tokio::spawn(committer.run(inbox));
        Self { commands, writers, denials, counting, commits, turns: Arc::default() }
    }

    /// How long the kernel took for each transaction, nft's start and end included where it was waited for.
    pub fn commits(&self) -> &Outcomes {
        &self.commits
    }

    /// When the tables were last written anew: what was there then has counted since. `None`: that is not known.
    pub fn counting_since(&self) -> Option<Timestamp> {
        self.counting.since()
    }

    /// What was denied.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Makes the kernel hold the intent's ruleset: where the daemon's tables have the right rules already, by changing the
    /// elements that differ, else by replacing all tables in one transaction. Established flows stay: conntrack knows
    /// them, whatever table is in force. The flows of what went meanwhile end, and those that nothing admits.
    pub async fn reconcile(&self, intent: &Intent) -> Result<(), FirewallError> {
        self.denials.learn(intent);
        self.ask(|reply| Command::Reconcile(Box::new(intent.clone()), reply)).await?;
        self.turn_out(&intent.options).await;
        Ok(())
    }

    /// Ends the flows of addresses in `range` that nobody has. Called before anybody is given one: the last daemon may
    /// have been killed between the end of a container and the end of its flows.
    pub async fn vacate(&self, range: Ipv4Network, intent: &Intent) {
        let containers = intent.endpoints.values().map(|endpoint| endpoint.address);
        let taken = containers.chain([intent.options.gateway()]).collect();
        conntrack::forget(flows::vacancies(range, &taken)).await;
    }

    /// Applies a change and answers when the kernel holds it. Changes that arrive while a transaction is under way
    /// share the next one; if that fails, each is tried alone, so that one bad change fails only its own caller.
    pub async fn apply(&self, change: Change) -> Result<(), FirewallError> {
        // Known by name before the first packet can be denied, and until the last one was.
        let goes = match &change {
            Change::Admit(id, _) => {
                self.denials.apply(&change);
                Err(Change::Dismiss(id.clone()))
            }
            Change::Dismiss(id) => Ok(Change::Dismiss(id.clone())),
        };
        let applied = self.ask(|reply| Command::Apply(change, reply)).await;
        match goes {
            Ok(dismissed) => self.denials.apply(&dismissed),
            Err(refused) if applied.is_err() => self.denials.apply(&refused),
            Err(_) => {}
        }
        applied
    }

    /// Writes the daemon's tables anew, as they were left, whatever has become of them.
    pub async fn rewrite(&self) -> Result<(), FirewallError> {
        self.ask(Command::Rewrite).await
    }

    /// What differs between the daemon's tables and what they were left as. Between two transactions: none of ours is
    /// under way meanwhile. Changes nothing.
    pub async fn differences(&self) -> Result<Vec<Difference>, FirewallError> {
        self.ask(Command::Compare).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, FirewallError>>) -> Command,
    ) -> Result<T, FirewallError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| FirewallError::Ended)?;
        answer.await.unwrap_or(Err(FirewallError::Ended))
    }
}

/// What the daemon's tables are called.
pub fn table_name(options: &NetworkOptions) -> String {
    names::table(options)
}

/// Applies a ruleset with every kind of rule in the calling thread's network namespace, which should be one to throw
/// away: tells whether kernel and nft can hold what the firewall will write.
pub async fn rehearse() -> Result<(), FirewallError> {
    let options = NetworkOptions {
        bridge: "rehearsal".to_owned(),
        icc: false,
        host_access: false,
        dns_port: Some(53),
        ..NetworkOptions::usual()
    };
    let everything = ruleset::replace(&options, &elements::Elements::none(&options));
    nft::commit("try the firewall's rules", &everything, &Writers::default()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Port, Protocol};

    #[test]
    fn only_ipv4_with_a_port_can_be_published() {
        let container = Port { protocol: Protocol::Tcp, number: 80 };
        let published =
            |ip: &str, host_port| Published { host_ip: ip.parse().expect("address"), host_port, container, count: 1 };
        assert_eq!(publishable(&published("0.0.0.0", 8080)), Ok(()));
        assert_eq!(publishable(&published("127.0.0.1", 1)), Ok(()));
        assert!(publishable(&published("::", 8080)).is_err());
        assert!(publishable(&published("::1", 8080)).is_err());
        assert_eq!(publishable(&published("0.0.0.0", 0)), Err(Unpublishable::NoPort(container)));
    }
}
