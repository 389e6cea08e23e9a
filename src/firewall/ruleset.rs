//! Options → the daemon's tables, as transactions. Pure: the number of rules depends on the options only.

use nftables::schema::{NfCmd, NfListObject, NfObject, Table};

use super::delta::Delta;
use super::elements::Elements;
use super::names::{self, Family};
use super::transaction::{Command, Object, Transaction};
use super::{guard, inet, strangers};
use crate::model::NetworkOptions;

/// The transaction that replaces whatever the tables held. They exist afterwards, whether they did before or not.
pub(super) fn replace(options: &NetworkOptions, elements: &Elements) -> Transaction {
    let mut commands: Vec<Command> = Vec::new();
    for family in Family::ALL {
        let name = names::table(options);
        let table = || NfListObject::Table(Table { family: family.nft(), name: name.clone().into(), handle: None });
        // Deleting what may not be there is an error, so it is made first.
        commands.extend([NfCmd::Add(table()), NfCmd::Delete(table())].map(NfObject::CmdObject).map(Command::from));
        if !family.is_used(options.own_bridge) {
            continue;
        }
        let content = match family {
            Family::Inet => inet::objects(options),
            Family::Arp => strangers::arp(options),
            Family::Bridge => guard::objects(options),
        };
        commands.extend([Object::from(table())].into_iter().chain(content).map(Command::from));
    }
    commands.extend(elements.commands(&names::table(options)).into_iter().map(Command::from));
    commands.into_iter().collect()
}

/// The transaction that makes a difference.
pub(super) fn change(options: &NetworkOptions, delta: &Delta) -> Transaction {
    delta.commands(&names::table(options)).into_iter().map(Command::from).collect()
}

#[cfg(test)]
mod render;
#[cfg(test)]
mod tests;
