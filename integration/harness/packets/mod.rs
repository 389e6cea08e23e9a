//! Packets: what really comes through, counted.
//!
//! ```ignore
//! let (mallory, victim) = (host.station(&mallory), host.station(&victim));
//! let seen = volley(&mallory, &[&victim], &[attack("ARP request", |t| ethernet(mallory.mac, BROADCAST, ARP, &arp(…, t)))]);
//! seen.nothing();
//! ```
//!
//! That something does not come through can be seen only once everything that was sent before has had its chance. A
//! volley sends its frames from one processor, where the kernel keeps them in order, and then two marks: one from the
//! attacker, that is heard where its frames come into the host, before any rule could stop it; then one from there
//! straight to who listens. Who hears the second has heard all of the volley that was ever to come: the host has made
//! acquaintance with the listeners before, and no frame waits for an answer to ARP.

mod flood;
pub mod frame;
mod station;
mod undefended;

use std::fmt::Write as _;

pub use flood::Flood;
use frame::{EXPERIMENTAL, Token, ethernet};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
pub use station::within;
pub use station::{Ear, Service, Station};

/// Frames that try one thing; each carries the token.
#[derive(Clone)]
pub struct Attack {
    /// What it tries, for messages.
    pub name: String,
    /// What tells its frames.
    pub token: Token,
    frames: Vec<Vec<u8>>,
}

/// An attack of one frame.
pub fn attack(name: &str, frame: impl FnOnce(Token) -> Vec<u8>) -> Attack {
    attacks(name, |token| vec![frame(token)])
}

/// An attack of several frames.
pub fn attacks(name: &str, frames: impl FnOnce(Token) -> Vec<Vec<u8>>) -> Attack {
    let token = Token::new();
    Attack { name: name.to_owned(), token, frames: frames(token) }
}

impl Attack {
    /// What it sends.
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// The same under a new token, with each frame changed; the change is told the token.
    pub fn anew(&self, mut change: impl FnMut(&mut Vec<u8>, &[u8])) -> Self {
        let token = Token::new();
        let frames = self.frames.iter().map(|frame| {
            let mut frame = self.token.replaced_by(token, frame);
            change(&mut frame, &token.0);
            frame
        });
        Self { name: self.name.clone(), token, frames: frames.collect() }
    }
}

/// What came of a volley: for each attack the number of frames heard by all who listened.
pub struct Seen(Vec<(String, usize)>);

impl Seen {
    /// Panics if anything came through.
    #[track_caller]
    pub fn nothing(&self) {
        self.nothing_but(&[]);
    }

    /// The same, of all but these.
    #[track_caller]
    pub fn nothing_but(&self, expected: &[&str]) {
        let through = self.names(|name, count| count > 0 && !expected.contains(&name));
        assert!(through.is_empty(), "these came through, and must not:{through}");
        self.everything_of(expected);
    }

    /// The control: panics unless something of each attack came through.
    #[track_caller]
    pub fn everything(&self) {
        let lost = self.names(|_, count| count == 0);
        assert!(lost.is_empty(), "the control: these should have come through:{lost}");
    }

    /// Whether something of each attack came through: for a control that may be disturbed, and is tried again.
    pub fn is_everything(&self) -> bool {
        self.names(|_, count| count == 0).is_empty()
    }

    /// The control of many attacks, of which not each need come through.
    #[track_caller]
    pub fn something(&self) {
        assert!(self.0.iter().any(|(_, count)| *count > 0), "the control: something should have come through");
    }

    /// The same, of these only.
    #[track_caller]
    pub fn everything_of(&self, expected: &[&str]) {
        let lost = self.names(|name, count| count == 0 && expected.contains(&name));
        assert!(lost.is_empty(), "these should have come through:{lost}");
    }

    fn names(&self, wanted: impl Fn(&str, usize) -> bool) -> String {
        let mut text = String::new();
        for (name, count) in self.0.iter().filter(|(name, count)| wanted(name, *count)) {
            let _ = write!(text, "\n  {name} ({count} frames)");
        }
        text
    }
}

/// Sends the attacks' frames, and counts what `listeners` hear of them.
#[track_caller]
pub fn volley(from: &Station<'_>, listeners: &[&Station<'_>], attacks: &[Attack]) -> Seen {
    let mut ears: Vec<Ear> = listeners.iter().map(|listener| listener.listens()).collect();
    for (listener, ear) in listeners.iter().zip(&mut ears) {
        listener.is_known(ear);
    }
    one_processor(|| {
        fire(from, attacks);
        for (listener, ear) in listeners.iter().zip(&mut ears) {
            listener.is_told(ear);
        }
    });
    let mut count = |token| ears.iter_mut().map(|ear| ear.count(token)).sum();
    Seen(attacks.iter().map(|attack| (attack.name.clone(), count(attack.token))).collect())
}

/// Sends the attacks' frames, and looks which of them a service of the host received.
#[track_caller]
pub fn volley_at(from: &Station<'_>, services: &[&Service], attacks: &[Attack]) -> Seen {
    one_processor(|| fire(from, attacks));
    let tokens: Vec<Token> = attacks.iter().map(|attack| attack.token).collect();
    let received: Vec<Token> = services.iter().flat_map(|service| service.received(&tokens)).collect();
    let count = |token: Token| received.iter().filter(|&&it| it == token).count();
    Seen(attacks.iter().map(|attack| (attack.name.clone(), count(attack.token))).collect())
}

/// Sends the frames; afterwards the host is done with all of them.
#[track_caller]
fn fire(from: &Station<'_>, attacks: &[Attack]) {
    let mut gate = from.host.ear(&from.entry);
    for frame in attacks.iter().flat_map(|attack| &attack.frames) {
        from.sends(frame);
    }
    let mark = Token::new();
    let marked = ethernet(from.mac, from.mac, EXPERIMENTAL, &mark.0);
    gate.until_heard(mark, || from.sends(&marked));
}

impl Station<'_> {
    /// Waits until the host knows its MAC, so that nothing for it has to wait for that.
    #[track_caller]
    fn is_known(&self, ear: &mut Ear) {
        let mark = Token::new();
        let host = self.host.service("0.0.0.0:0");
        ear.until_heard(mark, || host.says(&mark.0, self.ip));
    }

    /// Waits until it hears a mark that was put onto the last bit of its way, past all rules.
    #[track_caller]
    fn is_told(&self, ear: &mut Ear) {
        let mark = Token::new();
        let last = self.host.station_at(&self.entry);
        let marked = ethernet(last.mac, self.mac, EXPERIMENTAL, &mark.0);
        ear.until_heard(mark, || last.sends(&marked));
    }
}

/// Keeps this thread on one processor meanwhile: what it sends is received there, in order.
fn one_processor<T>(action: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).expect("a thread may ask where it may run");
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).expect("a thread may stay where it is");
    let result = action();
    sched_setaffinity(None, &before).expect("a thread may go where it was");
    result
}
