//! What decides about a flow in the kernel, in words. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use super::cast::Cast;
use super::reading::Reading;
use crate::firewall::audit::{Kernel, Place};

/// In whose network namespace a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Host,
    /// A party's, by its place.
    Party(usize),
}

/// A rule or a policy.
pub(super) type Rule = (Whose, Place);

/// What decides; `true` is: about the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Decides {
    /// A rule that lets it pass by name.
    Passes(Rule),
    /// A rule or a policy that does not.
    Stops(Rule, bool),
    /// The kernel itself, and why.
    Kernel(String, bool),
    /// It arrives elsewhere: where, and by which rule's doing.
    Elsewhere(Option<Rule>, (IpAddr, Option<u16>)),
    /// It is unknown, and depends on these.
    Open(Vec<String>, bool),
}

impl Decides {
    /// The rule that it is.
    pub(super) fn rule(&self) -> Option<Rule> {
        match self {
            Self::Passes(rule) | Self::Stops(rule, _) => Some(*rule),
            Self::Elsewhere(rule, _) => *rule,
            Self::Kernel(..) | Self::Open(..) => None,
        }
    }

    /// In words: `inet pontoon-pontoon0 icc handle 12 "all are dropped": drop`.
    pub(super) fn words(&self, reading: &Reading, cast: &Cast) -> String {
        let of = |rule: &Rule| rule_words(reading, cast, *rule);
        let (words, answer) = match self {
            Self::Passes(rule) => (format!("{}: accept", of(rule)), false),
            Self::Stops(rule, answer) => (format!("{}: drop", of(rule)), *answer),
            Self::Kernel(why, answer) => (format!("the kernel: {why}"), *answer),
            Self::Elsewhere(rule, (address, port)) => {
                let to = port.map_or_else(|| address.to_string(), |port| format!("{address}:{port}"));
                let by = rule.as_ref().map_or_else(|| "the kernel".to_owned(), of);
                (format!("{by}: leads to {to} instead"), false)
            }
            Self::Open(because, answer) => (format!("depends on {}", because.join("; ")), *answer),
        };
        if answer { format!("{words} (the answer)") } else { words }
    }
}

fn rule_words(reading: &Reading, cast: &Cast, (whose, place): Rule) -> String {
    let (kernel, inside) = kernel_of(reading, cast, whose);
    let named = kernel.named(place);
    let at = format!("{inside}{} {} {}", named.family.word(), named.table, named.chain);
    match (named.handle, named.comment) {
        (None, _) => format!("{at} policy"),
        (Some(handle), None) => format!("{at} handle {handle}"),
        (Some(handle), Some(comment)) => format!("{at} handle {handle} \"{comment}\""),
    }
}

/// A rule's kernel, and whose namespace that is where it is not the host's.
pub(super) fn kernel_of<'a>(reading: &'a Reading, cast: &Cast, whose: Whose) -> (&'a Kernel, String) {
    let of_party = match whose {
        Whose::Host => None,
        Whose::Party(place) => {
            let party = &cast.parties[place];
            party.id.as_ref().and_then(|id| reading.insides.get(id)).map(|inside| (&inside.kernel, &party.name))
        }
    };
    match of_party {
        Some((kernel, name)) => (kernel, format!("inside of {name}: ")),
        None => (&reading.kernel, String::new()),
    }
}

/// Numbers things in the order in which they first come.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    places: HashMap<T, usize>,
    pub(super) all: Vec<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), all: Vec::new() }
    }

    pub(super) fn place(&mut self, of: &T) -> usize {
        if let Some(place) = self.places.get(of) {
            return *place;
        }
        let place = self.all.len();
        self.all.push(of.clone());
        self.places.insert(of.clone(), place);
        place
    }
}
