//! Frames without end.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};

use super::Station;
use crate::harness::wait::until;

/// Sends the same frames over and over, until it is dropped.
pub struct Flood {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Station<'_> {
    /// Begins to send these again and again.
    pub fn floods(&self, frames: Vec<Vec<u8>>) -> Flood {
        let wire = self.wire.as_fd().try_clone_to_owned().expect("a descriptor can be copied");
        let (ended, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (its_end, its_count) = (ended.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            while !its_end.load(Ordering::Relaxed) {
                for frame in &frames {
                    // A full queue is a flood's own fault.
                    let _ = send(wire.as_raw_fd(), frame, MsgFlags::empty());
                    its_count.fetch_add(1, Ordering::Relaxed);
                }
                // Leaves something of the machine to the others.
                std::thread::park_timeout(Duration::from_micros(300));
            }
        });
        Flood { ended, sent, thread: Some(thread) }
    }
}

impl Flood {
    /// Waits until so many more have been sent.
    #[track_caller]
    pub fn goes_on(&self, frames: usize) {
        let until_then = self.sent.load(Ordering::Relaxed) + frames;
        until("the flood goes on", || self.sent.load(Ordering::Relaxed) >= until_then);
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
