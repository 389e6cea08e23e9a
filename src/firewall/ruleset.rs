//! Options → the daemon's tables, as transactions. Pure: the number of rules depends on the options only.

use nftables::schema::{NfCmd, NfListObject, NfObject, Nftables, Table};

use super::delta::Delta;
use super::elements::Elements;
use super::names::{self, Family};
use super::{guard, inet, strangers};
use crate::model::NetworkOptions;

/// The transaction that replaces whatever the tables held. They exist afterwards, whether they did before or not.
pub(super) fn replace(options: &NetworkOptions, elements: &Elements) -> Nftables<'static> {
    let mut objects: Vec<NfObject<'static>> = Vec::new();
    for family in Family::ALL {
        let name = names::table(options);
        let table = || NfListObject::Table(Table { family: family.nft(), name: name.clone().into(), handle: None });
        // Deleting what may not be there is an error, so it is made first.
        objects.extend([NfCmd::Add(table()), NfCmd::Delete(table())].map(NfObject::CmdObject));
        if !family.is_used(options.own_bridge) {
            continue;
        }
        let content = match family {
            Family::Inet => inet::objects(options),
            Family::Arp => strangers::arp(options),
            Family::Bridge => guard::objects(options),
        };
        let content = [table()].into_iter().chain(content);
        objects.extend(content.map(NfCmd::Add).map(NfObject::CmdObject));
    }
    objects.extend(elements.commands(&names::table(options)));
    Nftables { objects: objects.into() }
}

/// The transaction that makes a difference.
pub(super) fn change(options: &NetworkOptions, delta: &Delta) -> Nftables<'static> {
    Nftables { objects: delta.commands(&names::table(options)).into() }
}

#[cfg(test)]
mod render;
#[cfg(test)]
mod tests;
