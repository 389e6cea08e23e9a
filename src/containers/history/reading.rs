//! What is asked of the history.

use std::collections::BTreeSet;

use super::History;
use crate::containers::engine::blocking;
use crate::containers::error::EngineError;
use crate::model::ContainerId;
use crate::model::audit::{self, Delta, Edge, Entry, Happening, Opening, VERSION, opening};
use crate::store::{Checker, Row};

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Nanoseconds since 1970 UTC: from here on.
    pub since: Option<i64>,
    /// Nanoseconds since 1970 UTC: up to here.
    pub until: Option<i64>,
    /// A container's name, now or then, its id or the beginning of it: entries that say something of it.
    pub container: Option<String>,
    /// As many of the newest.
    pub limit: Option<usize>,
    /// A head of old: is it still there?
    pub verify: Option<String>,
}

impl History {
    /// Checks the whole chain, and answers the entries that are asked for.
    pub async fn read(&self, question: Question) -> Result<audit::History, EngineError> {
        self.flush().await;
        // Before the entries: what is written meanwhile is there, and may be.
        let (written, store) = (self.head(), self.store.clone());
        let read = blocking(move || {
            store.read_history(false, |rows| {
                let mut checker = Checker::new(written, question.verify.clone());
                let mut answer = Answer::new(&question);
                for row in rows {
                    checker.row(&row);
                    answer.row(&row);
                }
                (checker, answer.end())
            })
        });
        let (checker, entries) = read.await?;
        self.flush().await;
        Ok(audit::History { version: VERSION, chain: checker.end(self.head()), entries })
    }

    /// Since when an edge is open that is open now, and because of whom. `None`: what opened it was pruned.
    pub async fn opening(&self, edge: Edge) -> Result<Option<Opening>, EngineError> {
        self.flush().await;
        let store = self.store.clone();
        blocking(move || store.read_history(true, |rows| opening(rows.filter_map(|row| entry(&row)), &edge))).await
    }
}

/// An entry, if it can be read.
fn entry(row: &Row) -> Option<Entry> {
    let nanoseconds = i128::from(row.line.time);
    Some(Entry {
        entry: row.seq,
        time: format!("{:.9}", jiff::Timestamp::from_nanosecond(nanoseconds).ok()?),
        origin: serde_json::from_str(&row.line.origin).ok()?,
        change: serde_json::from_str(&row.line.change).ok()?,
        delta: serde_json::from_str(&row.line.delta).ok()?,
        previous: row.previous.clone(),
        hash: row.hash.clone(),
    })
}

/// Gathers the entries that are asked for.
struct Answer<'q> {
    question: &'q Question,
    entries: Vec<Entry>,
    /// Containers that were called as is asked.
    called: BTreeSet<ContainerId>,
}

impl<'q> Answer<'q> {
    fn new(question: &'q Question) -> Self {
        Self { question, entries: Vec::new(), called: BTreeSet::new() }
    }

    fn row(&mut self, row: &Row) {
        let asked = self.question;
        let in_time = asked.since.is_none_or(|since| since <= row.line.time)
            && asked.until.is_none_or(|until| row.line.time <= until);
        // Who was called so is known from all entries.
        if !in_time && asked.container.is_none() {
            return;
        }
        let Some(entry) = entry(row) else { return };
        if let Some(who) = &asked.container {
            let named = containers(&entry.change, &entry.delta);
            let called =
                named.iter().filter(|(id, name)| name == who || (!who.is_empty() && id.as_str().starts_with(who)));
            self.called.extend(called.map(|(id, _)| id.clone()));
        }
        if in_time {
            self.entries.push(entry);
        }
    }

    fn end(mut self) -> Vec<Entry> {
        if self.question.container.is_some() {
            let called = &self.called;
            self.entries
                .retain(|entry| containers(&entry.change, &entry.delta).iter().any(|(id, _)| called.contains(id)));
        }
        let surplus = self.question.limit.map_or(0, |limit| self.entries.len().saturating_sub(limit));
        self.entries.drain(..surplus);
        self.entries
    }
}

/// The containers that an entry says something of, as they were called then.
fn containers(change: &Happening, delta: &Delta) -> BTreeSet<(ContainerId, String)> {
    let named = delta.containers().into_iter().map(|(id, name)| (id.clone(), name.to_string()));
    let about = match change {
        Happening::Admit { container, name, .. } | Happening::Dismiss { container, name } => {
            Some((container.clone(), name.to_string()))
        }
        Happening::Options { .. } | Happening::Found | Happening::Repair { .. } | Happening::Prune { .. } => None,
    };
    named.chain(about).collect()
}
