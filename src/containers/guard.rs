//! The guard: what others change in the network's place in the kernel is put right by the rooms that own it (the firewall,
//! the bridge), and told here: a line in the log and an event each.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::engine::{Engine, now};
use crate::model::Tampering;
use crate::model::audit::Difference;
use crate::{bridge, firewall};

impl Engine {
    /// Watches as long as the daemon runs. Called when all that the intent says is in force.
    pub fn guard(&self, firewall: firewall::Watch, bridge: bridge::Watch) {
        let (news, told) = unbounded_channel();
        tokio::spawn(firewall.run(news.clone()));
        tokio::spawn(bridge.run(news));
        tokio::spawn(self.clone().tell(told));
    }

    /// What others had changed while no daemon ran, and the start of this one has put right.
    pub fn found_at_start(&self, found: Vec<Difference>) {
        self.history().found(found.iter().map(|it| it.what.clone()).collect());
        for difference in found {
            tracing::warn!("the network was changed while no daemon ran, and is restored: {}", difference.what);
            self.bridge_event("repair", vec![("what", difference.what.clone())]);
            let what = format!("found at the daemon's start: {}", difference.what);
            self.ledger().found_and_put_right(Difference { what, since: Some(now()), by: None, ..difference });
        }
    }

    async fn tell(self, mut told: UnboundedReceiver<Tampering>) {
        while let Some(tampering) = told.recv().await {
            self.tampered(tampering);
        }
    }

    /// Says what somebody changed: in the log, in the history, and by an event where it was put right.
    pub fn tampered(&self, tampering: Tampering) {
        self.ledger().note(&tampering);
        if tampering.what.is_empty() {
            return;
        }
        self.history().tampered(&tampering);
        let what = tampering.what.join("; ");
        let by = tampering.process.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
        if !tampering.repaired {
            tracing::warn!(%by, "the network was changed by another program, and left so (--repair=false): {what}");
            return;
        }
        tracing::warn!(%by, "the network was changed by another program, and restored: {what}");
        let mut attributes = vec![("what", what)];
        if let Some(process) = tampering.process {
            attributes.extend([("process", process.name), ("pid", process.pid.to_string())]);
        }
        self.bridge_event("repair", attributes);
    }
}
