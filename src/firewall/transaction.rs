//! What nft is told at once (libnftables-json(5)): the `nftables` crate's words, and the one that it lacks: sets whose
//! elements count.

use nftables::schema::{Map, NfListObject, NfObject, Set};
use serde::Serialize;

use super::syntax::{Stmt, counted};

/// Commands that come into force together or not at all.
#[derive(Debug, Serialize)]
pub(super) struct Transaction {
    nftables: Vec<Command>,
}

/// One command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Command {
    Usual(NfObject<'static>),
    Add { add: Object },
}

/// An object of a table.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Object {
    Usual(NfListObject<'static>),
    Counting(Counting),
}

/// A set or a map whose elements count each packet that is found in them, each for itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Counting {
    Set(Box<Counted<Set<'static>>>),
    Map(Box<Counted<Map<'static>>>),
}

#[derive(Debug, Serialize)]
pub(super) struct Counted<T> {
    #[serde(flatten)]
    of: T,
    stmt: [Stmt; 1],
}

impl<T> Counted<T> {
    fn new(of: T) -> Box<Self> {
        Box::new(Self { of, stmt: [counted()] })
    }
}

impl Object {
    /// `counts`: its elements do.
    pub(super) fn set(set: Set<'static>, counts: bool) -> Self {
        match counts {
            true => Self::Counting(Counting::Set(Counted::new(set))),
            false => Self::Usual(NfListObject::Set(Box::new(set))),
        }
    }

    pub(super) fn map(map: Map<'static>, counts: bool) -> Self {
        match counts {
            true => Self::Counting(Counting::Map(Counted::new(map))),
            false => Self::Usual(NfListObject::Map(Box::new(map))),
        }
    }
}

impl From<NfListObject<'static>> for Object {
    fn from(object: NfListObject<'static>) -> Self {
        Self::Usual(object)
    }
}

impl From<Object> for Command {
    /// It is added.
    fn from(add: Object) -> Self {
        Self::Add { add }
    }
}

impl From<NfObject<'static>> for Command {
    fn from(command: NfObject<'static>) -> Self {
        Self::Usual(command)
    }
}

impl FromIterator<Command> for Transaction {
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Self {
        Self { nftables: commands.into_iter().collect() }
    }
}
