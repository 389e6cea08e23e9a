//! Collects one table's objects in the order that nft needs: sets and chains before the rules that name them.

use std::borrow::Cow;

use nftables::schema::{Chain, Counter, Map, NfListObject, Rule, Set, SetFlag, SetType, SetTypeValue};
use nftables::types::{NfChainPolicy, NfChainType, NfHook};

use super::names::{self, Cause, Family, SetName};
use super::syntax::*;
use crate::model::NetworkOptions;

pub(super) struct Plan<'a> {
    pub(super) options: &'a NetworkOptions,
    family: Family,
    objects: Vec<NfListObject<'static>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(options: &'a NetworkOptions, family: Family) -> Self {
        Self { options, family, objects: Vec::new() }
    }

    pub(super) fn objects(self) -> Vec<NfListObject<'static>> {
        self.objects
    }

    pub(super) fn set(&mut self, set: SetName, key: &[SetType]) {
        self.any_set(set, key, None);
    }

    /// A set whose last field may be a range.
    pub(super) fn runs(&mut self, set: SetName, key: &[SetType]) {
        self.any_set(set, key, Some([SetFlag::Interval].into()));
    }

    fn any_set(&mut self, set: SetName, key: &[SetType], flags: Option<std::collections::HashSet<SetFlag>>) {
        self.objects.push(NfListObject::Set(Box::new(Set {
            family: set.family.nft(),
            table: self.table(),
            name: set.name.into(),
            set_type: one_or_more(key),
            flags,
            ..Set::default()
        })));
    }

    pub(super) fn map(&mut self, map: SetName, key: &[SetType], value: SetType, flag: Option<SetFlag>) {
        self.objects.push(NfListObject::Map(Box::new(Map {
            family: map.family.nft(),
            table: self.table(),
            name: map.name.into(),
            set_type: one_or_more(key),
            map: SetTypeValue::Single(value),
            flags: flag.map(|flag| [flag].into()),
            ..Map::default()
        })));
    }

    pub(super) fn chain(&mut self, name: &'static str) {
        let (family, table) = (self.family.nft(), self.table());
        self.objects.push(NfListObject::Chain(Chain { family, table, name: name.into(), ..Chain::default() }));
    }

    pub(super) fn base(&mut self, name: &'static str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.objects.push(NfListObject::Chain(Chain {
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
        self.objects.push(NfListObject::Rule(Rule {
            family: self.family.nft(),
            table: self.table(),
            chain: chain.into(),
            expr: statements.into(),
            comment: Some(comment.into()),
            ..Rule::default()
        }));
    }

    /// A chain that drops: each packet is counted, and some are logged, for what floods the rules must not flood the log.
    pub(super) fn cause(&mut self, cause: Cause) {
        let name = cause.as_str();
        self.objects.push(NfListObject::Counter(Counter {
            family: self.family.nft(),
            table: self.table(),
            name: name.into(),
            packets: Some(0),
            bytes: Some(0),
            ..Counter::default()
        }));
        self.chain(name);
        let prefix = format!("pontoon:{}:{name} ", self.options.bridge);
        let note = vec![counted_as(name), seldom(), log(prefix, names::log_group(&self.options.bridge))];
        self.rule(name, note, "all are counted, some are logged");
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
