//! What a transaction of nftables changed, in words, from what the kernel tells its listeners
//! (`linux/netfilter/nf_tables.h`). Pure.

use std::collections::BTreeMap;

use super::names::Family;
use super::netfilter::{Message, attributes, find};
use crate::model::Process;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_NEWGEN`.
const NEW_GENERATION: u16 = 15;
/// Each object's first attribute is its table's name (a table's is its own).
const TABLE: u16 = 1;
/// The second: a set's or an object's name, an element's set, a rule's chain; a chain's is its number.
const NAME: u16 = 2;
const CHAIN_NAME: u16 = 3;
const ELEMENTS: u16 = 3;
const ELEMENT_FLAGS: u16 = 3;
const INTERVAL_END: u8 = 1;
const GENERATION_PID: u16 = 2;
const GENERATION_PROCESS: u16 = 3;
/// Changes that are named one by one; of more, how many.
const NAMED: usize = 8;

/// A transaction, as far as it touched our tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    /// The netlink port of whoever wrote it.
    pub(super) port: u32,
    /// Who that was.
    pub(super) process: Option<Process>,
    /// What it did to our tables; empty if nothing.
    pub(super) what: Vec<String>,
}

/// What kind of object a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Table,
    Chain,
    Rule,
    Set,
    Element,
    Other,
}

/// The key under which changes of one kind are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    family: u8,
    object: Object,
    deleted: bool,
    name: String,
}

/// Collects changes until their generation comes.
#[derive(Debug)]
pub(super) struct Listener {
    table: String,
    /// The families that we have a table of this name in. In others, it is somebody else's.
    families: Vec<u8>,
    changes: BTreeMap<Change, usize>,
}

impl Listener {
    /// Our tables have one name, in several families.
    pub(super) fn new(table: String, families: impl IntoIterator<Item = Family>) -> Self {
        let families = families.into_iter().map(number).collect();
        Self { table, families, changes: BTreeMap::new() }
    }

    /// The rest of what was begun will not come.
    pub(super) fn forget(&mut self) {
        self.changes.clear();
    }

    pub(super) fn hear(&mut self, message: &Message<'_>) -> Option<Generation> {
        if message.kind >> 8 != SUBSYSTEM {
            return None;
        }
        let number = message.kind & 0xff;
        if number == NEW_GENERATION {
            let what = words(&self.table, &std::mem::take(&mut self.changes));
            return Some(Generation { port: message.port, process: process(message.body), what });
        }
        if self.families.contains(&message.family)
            && text(message.body, TABLE).as_deref() == Some(&self.table)
            && let Some((change, count)) = change(number, message)
        {
            *self.changes.entry(change).or_default() += count;
        }
        None
    }
}

fn change(number: u16, message: &Message<'_>) -> Option<(Change, usize)> {
    let name = |kind| text(message.body, kind).unwrap_or_default();
    let (object, deleted, name, count) = match number {
        0 | 2 => (Object::Table, number == 2, name(TABLE), 1),
        3 | 5 => (Object::Chain, number == 5, name(CHAIN_NAME), 1),
        6 | 8 => (Object::Rule, number == 8, name(NAME), 1),
        9 | 11 => (Object::Set, number == 11, name(NAME), 1),
        12 | 14 => (Object::Element, number == 14, name(NAME), elements(message.body)),
        18 | 20 | 22 | 24 => (Object::Other, number == 20 || number == 24, name(NAME), 1),
        _ => return None,
    };
    // A rule brings its anonymous sets along.
    let anonymous = matches!(object, Object::Set | Object::Element) && name.starts_with("__");
    (!anonymous).then_some((Change { family: message.family, object, deleted, name }, count))
}

/// How many elements; the end of an interval is not one of its own.
fn elements(body: &[u8]) -> usize {
    let is_end =
        |element: &[u8]| find(element, ELEMENT_FLAGS).and_then(<[u8]>::last).is_some_and(|it| it & INTERVAL_END != 0);
    attributes(find(body, ELEMENTS).unwrap_or_default()).filter(|(_, element)| !is_end(element)).count()
}

fn process(body: &[u8]) -> Option<Process> {
    let pid = u32::from_be_bytes(find(body, GENERATION_PID)?.try_into().ok()?);
    Some(Process { pid, name: text(body, GENERATION_PROCESS)? })
}

fn text(body: &[u8], kind: u16) -> Option<String> {
    let bytes = find(body, kind)?;
    Some(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned())
}

/// What goes or comes with its table is not told beside it.
fn words(table: &str, changes: &BTreeMap<Change, usize>) -> Vec<String> {
    let whole = |family| changes.keys().any(|change| change.family == family && change.object == Object::Table);
    let told = changes.iter().filter(|(change, _)| change.object == Object::Table || !whole(change.family));
    let mut words: Vec<String> = told.map(|(change, count)| change.words(table, *count)).collect();
    let more = words.len().saturating_sub(NAMED);
    if more > 0 {
        words.truncate(NAMED);
        words.push(format!("{more} changes more"));
    }
    words
}

impl Change {
    fn words(&self, table: &str, count: usize) -> String {
        let Self { name, .. } = self;
        let table = format!("table {} {table}", family(self.family));
        let (did, from) = if self.deleted { ("deleted", "from") } else { ("added", "to") };
        let many = |one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
        match self.object {
            Object::Table => format!("{did} {table}"),
            Object::Chain => format!("{did} chain {name} of {table}"),
            Object::Rule => format!("{did} {} {from} chain {name} of {table}", many("rule")),
            Object::Set => format!("{did} set {name} of {table}"),
            Object::Element => format!("{did} {} {from} {name} of {table}", many("element")),
            Object::Other => format!("{did} {name} of {table}"),
        }
    }
}

/// `NFPROTO_*`.
fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Arp => 3,
        Family::Bridge => 7,
    }
}

fn family(of: u8) -> String {
    Family::ALL.into_iter().find(|family| number(*family) == of).map(|family| family.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::netfilter::{attribute, nest};

    const TABLE_NAME: &str = "pontoon-br0";

    fn named(kind: u16, name: &str) -> Vec<u8> {
        attribute(kind, format!("{name}\0").as_bytes())
    }

    fn tell(listener: &mut Listener, number: u16, body: &[Vec<u8>]) -> Option<Generation> {
        let body = body.concat();
        listener.hear(&Message { kind: SUBSYSTEM << 8 | number, port: 77, family: 1, body: &body })
    }

    fn generation(listener: &mut Listener) -> Generation {
        let body = [attribute(1, &[0, 0, 0, 9]), attribute(2, &[0, 0, 1, 0]), named(3, "nft")];
        tell(listener, NEW_GENERATION, &body).expect("it is complete")
    }

    #[test]
    fn changes_are_told_with_their_generation() {
        let mut listener = Listener::new(TABLE_NAME.to_owned(), Family::ALL);
        let element = |flags: u8| nest(1, &[attribute(1, &[9]), attribute(ELEMENT_FLAGS, &[0, 0, 0, flags])]);
        let elements = nest(ELEMENTS, &[element(0), element(INTERVAL_END)]);
        assert_eq!(tell(&mut listener, 14, &[named(1, TABLE_NAME), named(2, "endpoints"), elements]), None);
        assert_eq!(tell(&mut listener, 6, &[named(1, TABLE_NAME), named(2, "forward")]), None);
        assert_eq!(tell(&mut listener, 6, &[named(1, TABLE_NAME), named(2, "forward")]), None);
        assert_eq!(tell(&mut listener, 9, &[named(1, TABLE_NAME), named(2, "__set0")]), None);
        assert_eq!(tell(&mut listener, 2, &[named(1, "filter")]), None);
        let told = generation(&mut listener);
        assert_eq!(told.port, 77);
        assert_eq!(told.process.expect("it is named").to_string(), "nft (pid 256)");
        assert_eq!(
            told.what,
            [
                "added 2 rules to chain forward of table inet pontoon-br0",
                "deleted 1 element from endpoints of table inet pontoon-br0"
            ]
        );
        assert_eq!(generation(&mut listener).what, Vec::<String>::new());
    }

    #[test]
    fn a_table_of_our_name_in_a_family_of_others_is_theirs() {
        let mut listener = Listener::new(TABLE_NAME.to_owned(), [Family::Bridge]);
        tell(&mut listener, 0, &[named(1, TABLE_NAME)]);
        tell(&mut listener, 6, &[named(1, TABLE_NAME), named(2, "forward")]);
        assert_eq!(generation(&mut listener).what, Vec::<String>::new());
    }

    #[test]
    fn a_table_goes_with_all_that_is_in_it() {
        let mut listener = Listener::new(TABLE_NAME.to_owned(), Family::ALL);
        tell(&mut listener, 8, &[named(1, TABLE_NAME), named(2, "forward")]);
        tell(&mut listener, 5, &[named(1, TABLE_NAME), attribute(2, &[0; 8]), named(3, "forward")]);
        tell(&mut listener, 2, &[named(1, TABLE_NAME)]);
        assert_eq!(generation(&mut listener).what, ["deleted table inet pontoon-br0"]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut listener = Listener::new(TABLE_NAME.to_owned(), Family::ALL);
        for number in 0..20 {
            tell(&mut listener, 9, &[named(1, TABLE_NAME), named(2, &format!("set{number}"))]);
        }
        let what = generation(&mut listener).what;
        assert_eq!((what.len(), what[NAMED].as_str()), (NAMED + 1, "12 changes more"));
    }
}
