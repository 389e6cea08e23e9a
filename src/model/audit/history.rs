//! Each change of who can talk to whom: when, by whom, what it opened and closed.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

use super::edge::{By, Delta, Edge, End};
use super::origin::Origin;
use super::why::Asked;
use crate::model::{ContainerId, ContainerName, Process};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Happening {
    /// A container came into the network, or what it has there changed.
    Admit {
        /// Which.
        container: ContainerId,
        /// Its name then.
        name: ContainerName,
        /// Who asked for the container, with its links and published ports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<Creation>,
    },
    /// A container left the network.
    Dismiss {
        /// Which.
        container: ContainerId,
        /// Its name then.
        name: ContainerName,
    },
    /// The daemon's options are others.
    Options {
        /// Those that matter, as one types them: `--icc=false`.
        options: Vec<String>,
    },
    /// The state was another than the last entry left: nothing told of the change, which is entered here as a whole.
    Found,
    /// Somebody else changed what the daemon keeps in the kernel, and it was put right unless the daemon was told to leave
    /// it.
    Repair {
        /// In words, one change each, at most twenty.
        what: Vec<String>,
        /// Further changes that are not told one by one.
        #[serde(default, skip_serializing_if = "is_zero")]
        further: u64,
        /// Who did it, where the kernel tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Process>,
        /// It was left as it is (`--repair=false`).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        left: bool,
    },
    /// The oldest entries were taken out.
    Prune {
        /// The newest entry that was.
        through: u64,
        /// Its hash, on which the oldest that is left stands.
        hash: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who asked for a container, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// RFC 3339, UTC.
    pub when: String,
    /// Who.
    pub origin: Origin,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub entry: u64,
    /// When it was in force: RFC 3339, UTC, nanoseconds.
    pub time: String,
    /// Whose doing it was.
    pub origin: Origin,
    /// What happened.
    pub change: Happening,
    /// What it opened and closed.
    pub delta: Delta,
    /// The hash of the entry before.
    pub previous: String,
    /// Its hash: SHA-256 over the entry and the hash before, 64 hexadecimal digits.
    pub hash: String,
}

/// The newest entry and its hash: who keeps it elsewhere can tell later whether the history still holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub entry: u64,
    /// Its hash.
    pub hash: String,
}

/// Where the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The first entry that is not what it was, or is not there.
    pub entry: u64,
    /// What is wrong, in words.
    pub what: String,
}

/// Whether the history holds a head of old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The hash that was asked about.
    pub hash: String,
    /// The entry that has it; `None`: there is none any more.
    pub entry: Option<u64>,
}

/// The chain as it was found: all of it was checked, whichever entries were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// How many entries there are.
    pub entries: u64,
    /// The oldest.
    pub first: Option<u64>,
    /// The newest.
    pub head: Option<Head>,
    /// The first break. `None`: there is none.
    pub broken: Option<Break>,
    /// What was asked to be verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
}

impl Chain {
    /// Nothing is wrong with it, as far as a chain can tell.
    pub fn is_whole(&self) -> bool {
        self.broken.is_none() && self.verified.as_ref().is_none_or(|verified| verified.entry.is_some())
    }
}

/// The history, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Of the JSON.
    pub version: u32,
    /// The chain.
    pub chain: Chain,
    /// Those that were asked for, oldest first. One that is damaged beyond reading is missing here and named in the chain.
    pub entries: Vec<Entry>,
}

/// Since when something is open, and because of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The change that made it possible: the later of the two containers came, the option was set, …
    pub opened: Asked,
    /// Who asked for the container that has the link or the published port.
    pub wanted: Option<Asked>,
}

impl Entry {
    /// Who asked for it, and when, in words.
    pub fn asked(&self) -> Asked {
        let (request, by) = (self.origin.request().to_owned(), self.origin.by());
        Asked { when: self.time.clone(), request, by, entry: Some(self.entry) }
    }

    /// Who asked for a container, if that is what this entry tells.
    fn creation(&self, id: &ContainerId) -> Option<Asked> {
        let Happening::Admit { container, created: Some(Creation { when, origin }), .. } = &self.change else {
            return None;
        };
        let asked = || Asked { when: when.clone(), request: origin.request().to_owned(), by: origin.by(), entry: None };
        (container == id).then(asked)
    }
}

/// Who opened an edge that is open, and when; `entries` are the newest first. `None`: it is not open after all, or what
/// opened it was pruned.
///
/// An edge between containers is open from when both are there: whichever of its ends came last opened it. One from
/// or to every container is asked about by naming a container.
pub fn opening(entries: impl IntoIterator<Item = impl Borrow<Entry>>, edge: &Edge) -> Option<Opening> {
    let holder = match &edge.by {
        By::Link { .. } => Some(&edge.from),
        By::Publish { .. } => Some(&edge.to),
        By::Bridge | By::Routed { .. } | By::Names => None,
    };
    let holder = holder.and_then(|end| if let End::Container(id) = end { Some(id) } else { None });
    let mut opened = None;
    for entry in entries {
        let entry = entry.borrow();
        if opened.is_none() {
            let delta = &entry.delta;
            let came = delta.joined.iter().any(|member| edge.concerns(&member.id));
            if came || delta.opened.iter().any(|open| open.covers(edge)) {
                opened = Some(entry.asked());
            } else if delta.left.iter().any(|member| edge.concerns(&member.id))
                || delta.closed.iter().any(|closed| closed.covers(edge))
            {
                return None;
            }
        }
        if let Some(opened) = &opened {
            let wanted = holder.and_then(|id| entry.creation(id));
            if wanted.is_some() || holder.is_none() {
                return Some(Opening { opened: opened.clone(), wanted });
            }
        }
    }
    opened.map(|opened| Opening { opened, wanted: None })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::audit::edge::Member;
    use crate::model::audit::{Peer, Requester};

    fn id(n: u8) -> ContainerId {
        ContainerId::from_bytes([n; 32])
    }

    fn request(line: &str, uid: u32) -> Origin {
        let peer = Peer { uid, gid: 0, pid: Some(1), user: None, process: None, login: None, login_user: None };
        Origin::Request(Requester { request: line.into(), agent: None, peer })
    }

    fn member(n: u8, name: &str) -> Member {
        Member { id: id(n), name: name.parse().expect("name"), address: Ipv4Addr::new(172, 17, 0, n) }
    }

    fn admit(n: u8, name: &str, uid: u32) -> Happening {
        let created = Creation { when: "2026".into(), origin: request("POST /containers/create", uid) };
        Happening::Admit { container: id(n), name: name.parse().expect("name"), created: Some(created) }
    }

    fn entry(number: u64, origin: Origin, change: Happening, delta: Delta) -> Entry {
        let (previous, hash) = (String::new(), String::new());
        Entry { entry: number, time: format!("t{number}"), origin, change, delta, previous, hash }
    }

    #[test]
    fn who_opened_an_edge_and_who_wanted_it() {
        let link = Edge {
            from: End::Container(id(3)),
            to: End::Container(id(2)),
            service: Some("5432/tcp".parse().expect("service")),
            by: By::Link { alias: "db".into() },
        };
        let host = Edge { from: End::Host, to: End::Containers, service: None, by: By::Bridge };
        let start = Delta { opened: vec![host], ..Delta::default() };
        let db = Delta { joined: vec![member(2, "db")], ..Delta::default() };
        let web = Delta { joined: vec![member(3, "web")], opened: vec![link.clone()], ..Delta::default() };
        let gone = Delta { left: vec![member(2, "db")], closed: vec![link.clone()], ..Delta::default() };
        let back = Delta { joined: vec![member(2, "db")], opened: vec![link.clone()], ..Delta::default() };
        let dismiss = Happening::Dismiss { container: id(2), name: "db".parse().expect("name") };
        let entries = [
            entry(1, Origin::Options, Happening::Options { options: vec![] }, start),
            entry(2, request("POST /containers/db/start", 10), admit(2, "db", 11), db),
            entry(3, request("POST /containers/web/start", 20), admit(3, "web", 21), web),
            entry(4, Origin::Ended, dismiss, gone),
            entry(5, request("POST /containers/db/start", 30), admit(2, "db", 11), back),
        ];
        let ask = |last: usize, edge: &Edge| opening(entries[..last].iter().rev(), edge);
        let entry = |opening: Option<Opening>| opening.and_then(|opening| opening.opened.entry);

        assert_eq!(entry(ask(2, &link)), Some(2), "one of its ends is there");
        let open = ask(3, &link).expect("open");
        assert_eq!((open.opened.entry, open.opened.by.as_str()), (Some(3), "uid 20, pid 1"));
        assert_eq!(open.wanted.expect("known").by, "uid 21, pid 1");
        assert_eq!(ask(4, &link), None);
        let again = ask(5, &link).expect("open");
        assert_eq!((again.opened.entry, again.opened.by.as_str()), (Some(5), "uid 30, pid 1"));
        assert_eq!(again.wanted.expect("known").by, "uid 21, pid 1", "it is the source that has the link");

        let to_web = Edge { from: End::Host, to: End::Container(id(3)), service: None, by: By::Bridge };
        assert_eq!((entry(ask(5, &to_web)), entry(ask(1, &to_web))), (Some(3), Some(1)));
        assert_eq!(opening(Vec::<Entry>::new(), &link), None);
    }
}
