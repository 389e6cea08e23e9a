//! Rules of others that change what containers can do.
//!
//! Any host has tables of others, and most of what they hold is nobody's business here. So it is not looked at *what they
//! say* but at what they *do*: packets that matter to containers are evaluated twice, with all that the kernel holds and
//! with the daemon's own tables and the usual routing rules alone. Where the two come to something else for those at the
//! flow's ends, whatever open questions are answered, what did it is named. Where that depends on what cannot be known,
//! there is no difference to tell, and what it depends on is said.
//!
//! | file | what it is |
//! |---|---|
//! | `trials` | the packets |
//! | `addresses` | whom rules name |
//! | `effect` | what becomes of a flow, as far as it matters to those at its ends |
//! | `culprit` | which rule did it |
//! | `bypass` | rules that take frames past everything else |

mod addresses;
mod bypass;
mod culprit;
mod effect;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::difference::{of, theirs};
use crate::audit::neighbourhood::Stranger;
use crate::containers::Container;
use crate::firewall::audit::bytecode::{Family, Ruleset};
use crate::firewall::audit::network::{Network, RoutingRule};
use crate::firewall::audit::{Content, Kernel, Packet, ports_told_apart};
use crate::model::audit::{Difference, Subject};
use crate::model::{NetworkOptions, Port};
use culprit::{Culprit, Search};
use effect::{Course, Effect, Source, Whither, courses};
use trials::{Asked, Trial, trials};

/// What others' rules change, and what cannot be said of them.
pub(super) fn differences(
    options: &NetworkOptions,
    containers: &[&Container],
    guests: &[Stranger],
    kernel: &Kernel,
) -> (Vec<Difference>, Vec<String>) {
    let (ruleset, network) = (kernel.ruleset(), kernel.network());
    let own_name = crate::firewall::table_name(options);
    let is_own =
        |family: Family, name: &str| name == own_name && matches!(family, Family::Inet | Family::Arp | Family::Bridge);
    let mut found = impostors(ruleset, &own_name, is_own);
    let strangers = ruleset.tables.iter().any(|table| {
        !is_own(table.family, &table.name) && !table.dormant && table.chains.iter().any(|chain| chain.base.is_some())
    });
    if !strangers && network.rules.iter().filter(|rule| rule.v4).all(RoutingRule::is_usual) && has_usual(network) {
        return (found, Vec::new());
    }
    let (own, foreign) = ruleset.tables.iter().cloned().partition(|table| is_own(table.family, &table.name));
    let with = |tables| Ruleset { generation: ruleset.generation, tables };
    let usual = usual_rules(network);
    let foreign = with(foreign);
    let rows = ports_told_apart(&foreign, network);
    let named = addresses::named(&foreign);
    let asked = Asked { rows: rows.as_deref(), guests, named: &named };
    let alone = Kernel::new(with(own), Network { rules: usual.clone(), ..network.clone() });
    let bridge = network.named(&options.bridge).map(|bridge| bridge.index);
    if let Some(bridge) = bridge {
        let foreign = ruleset.tables.iter().filter(|table| !is_own(table.family, &table.name));
        found.extend(bypass::differences(network, bridge, foreign));
    }
    let own = ruleset.tables.iter().map(|table| is_own(table.family, &table.name)).collect();
    let mut search = Search::new(kernel, bridge, own, usual);
    let (trials, left_out) = trials(options, containers, network, asked);
    let strays = match addresses::translates(&foreign) {
        true => trials::unpublished(options, containers, network, asked),
        false => Vec::new(),
    };
    found.extend(unpublished(&mut search, &alone, containers, &strays));
    let mut culprits: BTreeMap<(&'static str, Culprit), Vec<(&Trial, bool)>> = BTreeMap::new();
    let mut open: BTreeMap<(String, Vec<String>), Vec<&Trial>> = BTreeMap::new();
    let copies = search.has_copies();
    let told: Vec<bool> = ruleset
        .tables
        .iter()
        .map(|table| bridge.is_some_and(|bridge| bypass::is_told(network, bridge, table)))
        .collect();
    let mut partly: BTreeMap<Culprit, Vec<&Trial>> = BTreeMap::new();
    for trial in &trials {
        for place in copies.then(|| search.copied(&trial.packet)).into_iter().flatten() {
            if !told[place.table] {
                culprits.entry(("foreign-copy", search.at(place))).or_default().push((trial, false));
            }
        }
        let is = courses(kernel, bridge, &trial.packet);
        let should = courses(&alone, bridge, &trial.packet);
        match compare(&search, &is, &should) {
            Compared::Alike => {}
            Compared::Open(course) => {
                open.entry((doubt(&search, course), questions(course, &should))).or_default().push(trial);
            }
            Compared::Differs(course) => {
                let (culprit, deed) = search.culprit(&trial.packet, course, &should);
                let alike = |packet: &Packet| {
                    let (is, should) = (courses(kernel, bridge, packet), courses(&alone, bridge, packet));
                    !matches!(compare(&search, &is, &should), Compared::Differs(_))
                };
                if trial.others.iter().any(alike) {
                    partly.entry(culprit).or_default().push(trial);
                    continue;
                }
                let kind = deed.unwrap_or_else(|| kind(&trial.packet.content, &course.effect, &should, &culprit));
                let of_answer = course.effect == Effect::Unanswered && kind != "foreign-accept";
                culprits.entry((kind, culprit)).or_default().push((trial, of_answer));
            }
        }
    }
    found.extend(culprits.into_iter().map(|((kind, culprit), trials)| tell(kind, &culprit, &trials)));
    let unchecked = open.into_iter().map(|((who, questions), trials)| {
        format!("{who} {}: that depends on {}", these(&trials), questions.join(", and on "))
    });
    let partly = partly.into_iter().map(|(culprit, trials)| {
        format!("what {} does to {}: that depends on whom outside it is for", words(&culprit).0, these(&trials))
    });
    let left_out = left_out.into_iter().map(|what| format!("what others' rules do to {what}"));
    (found, unchecked.chain(partly).chain(left_out).collect())
}

/// Ways to containers by ports of the host that nobody published, which others' rules open.
fn unpublished(
    search: &mut Search<'_>,
    alone: &Kernel,
    containers: &[&Container],
    strays: &[(Packet, Port)],
) -> Vec<Difference> {
    let (kernel, bridge) = (search.kernel(), search.bridge());
    let endpoints: Vec<_> = containers.iter().filter_map(|it| it.attached.as_ref()).collect();
    let target = |course: &Course| match &course.effect {
        Effect::Passes { to, .. } => endpoints.iter().find(|it| IpAddr::V4(it.address) == to.0).copied(),
        _ => None,
    };
    let mut opened: BTreeMap<(Culprit, String), BTreeSet<Port>> = BTreeMap::new();
    for (packet, on) in strays {
        let is = courses(kernel, bridge, packet);
        let Some(first) = is.first() else { continue };
        let Some(endpoint) = target(first).filter(|_| is.iter().all(|course| target(course).is_some())) else {
            continue;
        };
        let should = courses(alone, bridge, packet);
        if !should.iter().any(|course| target(course).is_some()) {
            let (culprit, _) = search.culprit(packet, first, &should);
            opened.entry((culprit, endpoint.name.to_string())).or_default().insert(*on);
        }
    }
    let tell = |((culprit, name), ports): ((Culprit, String), BTreeSet<Port>)| {
        let (who, remedy) = words(&culprit);
        let more = match ports.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let on = ports.first().map(ToString::to_string).unwrap_or_default();
        let what = format!(
            "{who} leads what comes from outside for this host's port {on}{more} to {name}, which is not published there"
        );
        of(&name, theirs(Subject::Foreign, "foreign-dnat", what, remedy))
    };
    opened.into_iter().map(tell).collect()
}

/// Tables that are called like ours and are none.
fn impostors(ruleset: &Ruleset, own: &str, is_own: impl Fn(Family, &str) -> bool) -> Vec<Difference> {
    let impostors = ruleset.tables.iter().filter(|table| table.name == own && !is_own(table.family, &table.name));
    impostors
        .map(|table| {
            let table = format!("{} {}", table.family.word(), table.name);
            let what = format!("table {table} is called like pontoon's, and is not pontoon's");
            theirs(Subject::Foreign, "table-impostor", what, format!("`nft delete table {table}`"))
        })
        .collect()
}

fn has_usual(network: &Network) -> bool {
    RoutingRule::USUAL.iter().all(|(priority, table)| network.rules.contains(&RoutingRule::usual(*priority, *table)))
}

fn usual_rules(network: &Network) -> Vec<RoutingRule> {
    let usual = RoutingRule::USUAL.map(|(priority, table)| RoutingRule::usual(priority, table));
    let others = network.rules.iter().filter(|rule| !rule.v4).cloned();
    usual.into_iter().chain(others).collect()
}

enum Compared<'a> {
    Alike,
    /// It may differ or not.
    Open(&'a Course),
    /// It differs whatever open questions are answered; this is one way of it.
    Differs(&'a Course),
}

fn compare<'a>(search: &Search<'_>, is: &'a [Course], should: &[Course]) -> Compared<'a> {
    let expected = |course: &&Course| should.iter().any(|other| equal(&course.effect, &other.effect));
    let new: Vec<&Course> = is.iter().filter(|course| !expected(course)).collect();
    let stops = |course: &Course| {
        let stopped = matches!(course.effect, Effect::Stopped | Effect::Unanswered);
        stopped && search.foreign(course.stopped_by).is_some()
    };
    // What our own rules would stop on some way only, a rule of others may stop on all of them.
    let passed = should.iter().any(|course| matches!(course.effect, Effect::Passes { .. }));
    if passed && is.iter().all(stops) {
        return is.first().map_or(Compared::Alike, Compared::Differs);
    }
    let unknown = |course: &&&Course| matches!(course.effect, Effect::Unknown(_));
    // Whoever has the address that stands for the sender, the sender is hidden.
    let hidden = |course: &Course| {
        let other = course.arrives_as.is_some_and(|it| it != Source::AsSent);
        other && matches!(course.effect, Effect::Unknown(_))
    };
    let open_anyway = should.iter().any(|course| course.arrives_as != Some(Source::AsSent));
    if passed && !open_anyway && is.iter().all(hidden) {
        return is.first().map_or(Compared::Alike, Compared::Differs);
    }
    match new.first() {
        None => Compared::Alike,
        Some(first) => match new.iter().find(unknown) {
            Some(unknown) => Compared::Open(unknown),
            None if new.len() < is.len() => Compared::Open(first),
            None => Compared::Differs(first),
        },
    }
}

/// Whether it comes to the same for those at the ends.
fn equal(is: &Effect, should: &Effect) -> bool {
    let arrives = |effect: &Effect| matches!(effect, Effect::Passes { .. });
    // That what does not pass is stopped elsewhere changes nothing; and that what had no way out has one now is the
    // routes' doing, which are the host's own.
    let led_out = |effect: &Effect| matches!(effect, Effect::Passes { at: Whither::Beyond, .. });
    let unknown = |effect: &Effect| matches!(effect, Effect::Unknown(_));
    // Who has no answer has got there all the same.
    let gets_in = *is == Effect::Unanswered && *should == Effect::Stopped;
    is == should
        || !arrives(is) && !arrives(should) && unknown(is) == unknown(should) && !gets_in
        || *should == Effect::Lost && led_out(is)
}

/// What is told of it.
fn kind(content: &Content, is: &Effect, should: &[Course], culprit: &Culprit) -> &'static str {
    let Effect::Passes { at, to, back, .. } = is else {
        let kept_out = || should.iter().all(|course| course.effect == Effect::Stopped);
        return match is {
            Effect::Unknown(_) => "foreign-snat",
            Effect::Unanswered if kept_out() => "foreign-accept",
            _ => "foreign-drop",
        };
    };
    let passed = should.iter().find_map(|course| match &course.effect {
        Effect::Passes { at, to, back, .. } => Some((*at, *to, *back)),
        _ => None,
    });
    let asked = match content {
        Content::Ip { destination, transport, .. } => Some((*destination, transport.ports().1)),
        _ => None,
    };
    match passed {
        // Who takes another way leaves by another interface, in another name: that is one thing.
        _ if matches!(culprit, Culprit::Routing(_)) => "foreign-route",
        None if Some(*to) != asked => "foreign-dnat",
        None => "foreign-accept",
        Some((_, before, _)) if before != *to => "foreign-dnat",
        Some((before, _, answer)) if (before, answer) != (*at, *back) => "foreign-route",
        Some(_) => "foreign-snat",
    }
}

/// What a rule may do or not.
fn doubt(search: &Search<'_>, course: &Course) -> String {
    let who = |place| words(&search.at(place)).0;
    match (&course.effect, search.foreign(course.stopped_by), search.foreign(course.led_by)) {
        (Effect::Stopped, Some(place), _) => format!("whether {} keeps from passing", who(place)),
        (Effect::Unanswered, Some(place), _) => format!("whether {} keeps from passing the answers to", who(place)),
        (Effect::Unknown(_), Some(place), _) => format!("what {} does to", who(place)),
        (Effect::Passes { .. }, _, Some(place)) => format!("whether {} leads elsewhere", who(place)),
        _ => "whether others' rules change what becomes of".to_owned(),
    }
}

/// Open questions that others' rules ask.
fn questions(course: &Course, should: &[Course]) -> Vec<String> {
    let ours: BTreeSet<&String> = should.iter().flat_map(|course| &course.asked).collect();
    let what = match &course.effect {
        Effect::Unknown(what) => Some(what),
        _ => None,
    };
    let theirs = course.asked.iter().filter(|question| !ours.contains(question)).chain(what);
    let short = |question: &String| question.trim_end_matches(": whether there is a value").to_owned();
    let all: BTreeSet<String> = theirs.map(short).collect();
    if all.is_empty() { vec!["what cannot be known".to_owned()] } else { all.into_iter().collect() }
}

/// Who, and how to end it.
fn words(culprit: &Culprit) -> (String, String) {
    match culprit {
        Culprit::Rule { family, table, chain, handle, comment } => {
            let comment = comment.as_ref().map(|it| format!(" (\"{it}\")")).unwrap_or_default();
            (
                format!("rule with handle {handle}{comment} in chain {chain} of table {family} {table}"),
                format!("if nobody meant it: `nft delete rule {family} {table} {chain} handle {handle}`"),
            )
        }
        Culprit::Policy { family, table, chain } => (
            format!("the policy of chain {chain} of table {family} {table}"),
            format!(
                "accept containers' traffic in that chain, or: `nft chain {family} {table} {chain} '{{ policy accept; }}'`"
            ),
        ),
        Culprit::Routing(priorities) if priorities.is_empty() => (
            "the order of the routing rules".to_owned(),
            "see `ip rule`: local, main and default are missing or moved".to_owned(),
        ),
        Culprit::Routing(priorities) => {
            let all: Vec<String> = priorities.iter().map(u32::to_string).collect();
            (
                format!("routing rule {}", all.join(", ")),
                format!("if nobody meant it: `ip rule del priority {}`", all[0]),
            )
        }
        Culprit::Together => (
            "what others' rules do together".to_owned(),
            "`pontoon audit explain` shows each rule that such a packet meets".to_owned(),
        ),
    }
}

/// Of each trial, whether it is the answer that it shows by.
fn tell(kind: &'static str, culprit: &Culprit, trials: &[(&Trial, bool)]) -> Difference {
    let (who, remedy) = words(culprit);
    // What is stopped itself says more than what is not answered.
    let mut trials = trials.to_vec();
    trials.sort_by_key(|(_, answer)| *answer);
    let answers = trials.first().is_some_and(|(_, answer)| *answer);
    let trials: Vec<&Trial> = trials.iter().map(|(trial, _)| *trial).collect();
    let does = match kind {
        "foreign-drop" if answers => "keeps from passing the answers to",
        "foreign-drop" => "keeps from passing",
        "foreign-accept" => "lets pass what nothing admits:",
        "foreign-dnat" => "sends elsewhere",
        "foreign-copy" => "sends copies elsewhere of",
        "foreign-tproxy" => "gives to a program of this host",
        "foreign-snat" => "hides the sender of",
        "foreign-notrack" => "hides from connection tracking",
        "foreign-mark" => "sets a mark that decides about",
        _ => "leads elsewhere",
    };
    let containers: BTreeSet<String> = trials.iter().flat_map(|trial| trial.containers.iter().cloned()).collect();
    let difference = theirs(Subject::Foreign, kind, format!("{who} {does} {}", these(&trials)), remedy);
    Difference { containers: containers.into_iter().collect(), ..difference }
}

/// The first, and how many more.
fn these(trials: &[&Trial]) -> String {
    let first = trials.first().map(|trial| trial.what.as_str()).unwrap_or_default();
    let all: BTreeSet<&str> = trials.iter().map(|trial| trial.what.as_str()).collect();
    match all.len().saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first}, and {more} more"),
    }
}
