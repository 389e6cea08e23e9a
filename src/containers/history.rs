//! The history: each change of who can talk to whom, with whose doing it was.
//!
//! A change is told here when the kernel holds it, and written by a thread of its own, off the way of starts and stops;
//! several that come together share a transaction. A daemon that is killed in between loses no entry: the state that the
//! last entry left is written with it, and what differs from that when the next daemon starts is entered then
//! ([`Origin::Found`]). What is asked of the history waits until all that was told before is written.
//!
//! The entries are a chain of hashes (`store::chain`). An altered or missing entry shows; that nobody with root's rights wrote
//! the whole chain anew shows only to who keeps a head elsewhere. The daemon leaves one in its log at each start and stop.

mod reading;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::record::Container;
use crate::model::audit::{Creation, Head, Origin};
use crate::model::{Change, Intent, Tampering};
use crate::store::{Store, StoreError};
use writer::{Told, Writer};

pub use reading::Question;

/// The history. Clones share it.
#[derive(Clone)]
pub struct History {
    store: Arc<Store>,
    told: mpsc::UnboundedSender<Message>,
    head: SharedHead,
}

/// What was written last.
#[derive(Clone, Debug, Default)]
struct SharedHead(Arc<Mutex<Option<Head>>>);

impl SharedHead {
    fn get(&self) -> MutexGuard<'_, Option<Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the writer hears.
enum Message {
    /// Something happened.
    Told(Told),
    /// Answer when all that was told before is written.
    Flush(oneshot::Sender<()>),
}

impl History {
    /// Takes up where the last entry left off: enters what differs from it in `intent`, which must be in force. `None` is a
    /// daemon without a network, which changes nothing. About `kept` of the newest entries are kept.
    pub fn open(store: Arc<Store>, intent: Option<&Intent>, kept: u64) -> Result<Self, StoreError> {
        let head = SharedHead::default();
        let mut writer = Writer::new(store.clone(), head.clone(), kept)?;
        if let Some(intent) = intent {
            writer.take_up(intent)?;
        }
        let (told, inbox) = mpsc::unbounded_channel();
        // It ends with the last handle.
        let thread = std::thread::Builder::new().name("history".to_owned());
        thread.spawn(move || writer.run(inbox)).map_err(StoreError::Thread)?;
        Ok(Self { store, told, head })
    }

    /// A change is in force. `container` is whose.
    pub(super) fn changed(&self, change: Change, origin: Origin, container: Option<&Container>) {
        let created = container.and_then(|container| {
            Some(Creation { when: container.created.clone(), origin: container.created_by.clone()? })
        });
        self.tell(Told::changed(change, origin, created));
    }

    /// What others changed was put right, or left.
    pub(super) fn tampered(&self, tampering: &Tampering) {
        self.tell(Told::tampered(tampering));
    }

    /// What others had changed before the daemon began, and its start has put right.
    pub(super) fn found(&self, what: Vec<String>) {
        self.tell(Told::found(what));
    }

    fn tell(&self, told: Told) {
        // The writer ends with the last handle only.
        let _ = self.told.send(Message::Told(told));
    }

    /// Waits until all that was told is written.
    pub async fn flush(&self) {
        let (written, answer) = oneshot::channel();
        let _ = self.told.send(Message::Flush(written));
        let _ = answer.await;
    }

    /// What was written last, for who keeps it elsewhere.
    pub fn head(&self) -> Option<Head> {
        self.head.get().clone()
    }
}

#[cfg(test)]
mod tests;
