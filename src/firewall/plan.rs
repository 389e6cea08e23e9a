//! Collects one table's objects in the order that nft needs: sets and chains before the rules that name them.

use std::borrow::Cow;

use nftables::expr::MetaKey;
use nftables::schema::{Chain, Counter, Map, NfListObject, Rule, Set, SetFlag, SetType, SetTypeValue};
use nftables::types::{NfChainPolicy, NfChainType, NfHook};

use super::names::{self, Cause, Family, SetName};
use super::syntax::*;
use super::transaction::Object;
use crate::model::NetworkOptions;

pub(super) struct Plan<'a> {
    pub(super) options: &'a NetworkOptions,
    family: Family,
    objects: Vec<Object>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(options: &'a NetworkOptions, family: Family) -> Self {
        Self { options, family, objects: Vec::new() }
    }

    pub(super) fn objects(self) -> Vec<Object> {
        self.objects
    }

    fn add(&mut self, object: NfListObject<'static>) {
        self.objects.push(object.into());
    }

    pub(super) fn set(&mut self, set: SetName, key: &[SetType]) {
        self.any_set(set, key, None);
    }

    /// A set whose last field may be a range.
    pub(super) fn runs(&mut self, set: SetName, key: &[SetType]) {
        self.any_set(set, key, Some([SetFlag::Interval].into()));
    }

    fn any_set(&mut self, set: SetName, key: &[SetType], flags: Option<std::collections::HashSet<SetFlag>>) {
        let object = Set {
            family: set.family.nft(),
            table: self.table(),
            name: set.name.into(),
            set_type: one_or_more(key),
            flags,
            ..Set::default()
        };
        self.objects.push(Object::set(object, set.counts()));
    }

    pub(super) fn map(&mut self, map: SetName, key: &[SetType], value: SetType, flag: Option<SetFlag>) {
        let object = Map {
            family: map.family.nft(),
            table: self.table(),
            name: map.name.into(),
            set_type: one_or_more(key),
            map: SetTypeValue::Single(value),
            flags: flag.map(|flag| [flag].into()),
            ..Map::default()
        };
        self.objects.push(Object::map(object, map.counts()));
    }

    pub(super) fn chain(&mut self, name: &'static str) {
        let (family, table) = (self.family.nft(), self.table());
        self.add(NfListObject::Chain(Chain { family, table, name: name.into(), ..Chain::default() }));
    }

    pub(super) fn base(&mut self, name: &'static str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.add(NfListObject::Chain(Chain {
            family: self.family.nft(),
            table: self.table(),
            name: name.into(),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        }));
    }

    pub(super) fn rule(&mut self, chain: &'static str, statements: Vec<Stmt>, comment: &'static str) {
        self.add(NfListObject::Rule(Rule {
            family: self.family.nft(),
            table: self.table(),
            chain: chain.into(),
            expr: statements.into(),
            comment: Some(comment.into()),
            ..Rule::default()
        }));
    }

    /// A chain that drops. Each packet is counted, by cause and by container; and some are logged, each container's at a
    /// rate of its own: who floods the rules neither floods the log nor hides what others do.
    pub(super) fn cause(&mut self, cause: Cause) {
        let name = cause.as_str();
        self.add(NfListObject::Counter(Counter {
            family: self.family.nft(),
            table: self.table(),
            name: name.into(),
            packets: Some(0),
            bytes: Some(0),
            ..Counter::default()
        }));
        self.chain(name);
        let log = || {
            let prefix = format!("{}{cause} ", names::log_prefix(&self.options.bridge));
            log(prefix, names::log_group(&self.options.bridge))
        };
        match self.family {
            // Strangers call themselves what they like.
            _ if cause == Cause::Stranger => {
                let note = vec![counted_as(name), seldom(), log()];
                self.rule(name, note, "all are counted, some are logged");
            }
            Family::Arp => {}
            // The guard's chains are reached from containers' ports only.
            Family::Bridge => {
                let port = meta(MetaKey::Iifname);
                let note = vec![counted_as(name), counted_by(cause, &port), seldom_by(cause, &port), log()];
                self.rule(name, note, "all are counted, some of each are logged");
            }
            Family::Inet => {
                let container = if cause == Cause::Lan { destination() } else { source() };
                let known = || held_in(SetName::ENDPOINTS);
                let each = vec![counted_by(cause, &container), seldom_by(cause, &container), log()];
                let of_containers = [vec![counted_as(name), equal(container.clone(), known())], each].concat();
                let of_others = vec![unequal(container, known()), seldom(), log()];
                self.rule(name, of_containers, "all are counted, some of each container's are logged");
                self.rule(name, of_others, "and some of all others'");
            }
        }
        self.rule(name, vec![drop()], "all are dropped");
    }

    pub(super) fn in_by_bridge(&self) -> Stmt {
        in_by(&self.options.bridge)
    }

    pub(super) fn out_by_bridge(&self) -> Stmt {
        out_by(&self.options.bridge)
    }

    fn table(&self) -> Cow<'static, str> {
        names::table(self.options).into()
    }
}

/// Sends packets to the chain that drops them for this cause.
pub(super) fn condemn(cause: Cause) -> Stmt {
    goto(cause.as_str())
}

fn one_or_more(key: &[SetType]) -> SetTypeValue<'static> {
    match key {
        [one] => SetTypeValue::Single(*one),
        several => SetTypeValue::Concatenated(several.to_vec().into()),
    }
}
