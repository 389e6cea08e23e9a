//! Expectations → how they fare. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Expectations, Line, Who};
use crate::model::PortRange;
use crate::model::audit::{
    Cell, Checked, Expectation, Intended, Matrix, Outcome, PartyKind, Service, VERSION, Verdict, Way,
};

/// Answers cells of a flow that the matrix does not hold, because its ports matter to nobody there: by the places of
/// source and target.
pub trait Evaluate {
    /// One cell a way.
    fn cells(&self, from: usize, to: usize, service: Service) -> Vec<Cell>;
}

/// More flows than these are counted, not listed.
const MOST: usize = 50;

/// Holds expectations against a matrix.
pub fn check(expectations: &Expectations, matrix: &Matrix, evaluate: &dyn Evaluate) -> Checked {
    let view = View::of(matrix, evaluate);
    let lines = expectations.lines.iter().map(|line| view.line(line));
    let default = expectations.deny_by_default.then(|| view.default(expectations));
    let expectations = lines.chain(default).collect();
    Checked { version: VERSION, taken: matrix.taken.clone(), expectations }
}

struct View<'a> {
    matrix: &'a Matrix,
    evaluate: &'a dyn Evaluate,
    /// For each party, where its cells are: its own place, or that of whose namespace it shares.
    places: Vec<usize>,
    cells: BTreeMap<(usize, usize), Vec<&'a Cell>>,
}

/// What an `allow` names, by the places of cells.
struct Named<'e> {
    from: BTreeSet<usize>,
    to: BTreeSet<usize>,
    /// Empty: all.
    services: &'e [Service],
}

/// What was found, flow by flow.
#[derive(Default)]
struct Found {
    looked_at: usize,
    flows: Vec<(Outcome, String)>,
}

impl Found {
    fn note(&mut self, outcome: Outcome, words: impl FnOnce() -> String) {
        self.looked_at += 1;
        if outcome != Outcome::Ok {
            self.flows.push((outcome, words()));
        }
    }

    fn expectation(self, what: String, because: Option<String>, line: usize) -> Expectation {
        let has = |outcome| self.flows.iter().any(|(found, _)| *found == outcome);
        let worst = [Outcome::Violated, Outcome::Drift, Outcome::Unknown].into_iter().find(|it| has(*it));
        let more = self.flows.len().saturating_sub(MOST);
        let listed = self.flows.into_iter().take(MOST).map(|(_, words)| words);
        let flows = listed.chain((more > 0).then(|| format!("and {more} more"))).collect();
        Expectation { what, because, line, outcome: worst.unwrap_or(Outcome::Ok), flows, looked_at: self.looked_at }
    }
}

impl<'a> View<'a> {
    fn of(matrix: &'a Matrix, evaluate: &'a dyn Evaluate) -> Self {
        let place = |mut at: usize| {
            for _ in 0..matrix.parties.len() {
                match matrix.parties[at].shares.as_ref().and_then(|other| matrix.party(other)) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            at
        };
        let mut cells: BTreeMap<_, Vec<&Cell>> = BTreeMap::new();
        for cell in &matrix.cells {
            cells.entry((cell.from, cell.to)).or_default().push(cell);
        }
        Self { matrix, evaluate, places: (0..matrix.parties.len()).map(place).collect(), cells }
    }

    /// The places of the parties that are meant.
    fn meant(&self, who: &[Who]) -> BTreeSet<usize> {
        let parties = self.matrix.parties.iter().enumerate();
        parties.filter(|(_, party)| who.iter().any(|who| who.means(party))).map(|(at, _)| at).collect()
    }

    fn line(&self, line: &Line) -> Expectation {
        let mut found = Found::default();
        for who in line.from.iter().chain(&line.to) {
            if !who.is_place() && !self.matrix.parties.iter().any(|party| who.means(party)) {
                found.note(Outcome::Unknown, || format!("there is no {who} that runs"));
            }
        }
        for (from, to) in self.pairs(&line.from, &line.to) {
            self.pair(line, from, to, &mut found);
        }
        found.expectation(words(line), line.because.clone(), line.number)
    }

    fn pairs(&self, from: &[Who], to: &[Who]) -> Vec<(usize, usize)> {
        let (from, to) = (self.meant(from), self.meant(to));
        let all = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        all.filter(|(from, to)| self.place(*from) != self.place(*to)).collect()
    }

    fn place(&self, at: usize) -> usize {
        self.places[at]
    }

    fn cells(&self, from: usize, to: usize) -> impl Iterator<Item = &Cell> {
        self.cells.get(&(self.place(from), self.place(to))).into_iter().flatten().copied()
    }

    fn pair(&self, line: &Line, from: usize, to: usize, found: &mut Found) {
        let services: BTreeSet<Service> = match line.services.as_slice() {
            [] => self.cells(from, to).map(|cell| cell.service).collect(),
            services => services.iter().copied().collect(),
        };
        for service in services {
            let cells = self.ways(from, to, service);
            let outcome = judged(&cells, service, line.allow);
            found.note(outcome, || self.told(from, to, service, &cells, outcome));
        }
    }

    /// The cells that say something of a service; one whose ports do not matter there is asked about.
    fn ways(&self, from: usize, to: usize, service: Service) -> Vec<Cell> {
        let mut cells: Vec<Cell> =
            self.cells(from, to).filter(|cell| overlap(cell.service, service)).cloned().collect();
        let at_itself = |cell: &Cell| !matches!(cell.by, Way::Publish { .. } | Way::Hairpin { .. });
        let known: Vec<Service> = cells.iter().filter(|cell| at_itself(cell)).map(|cell| cell.service).collect();
        if !covered(service, &known) {
            cells.extend(self.evaluate.cells(self.place(from), self.place(to), service));
        }
        cells
    }

    /// What passes between containers, and from LAN and outside, is named.
    fn default(&self, expectations: &Expectations) -> Expectation {
        let mut found = Found::default();
        let named = self.named(expectations);
        let is_named = |cell: &Cell| {
            named.iter().any(|it| {
                let covers = it.services.is_empty() || it.services.iter().any(|service| holds(*service, cell.service));
                covers && it.from.contains(&cell.from) && it.to.contains(&cell.to)
            })
        };
        for cell in &self.matrix.cells {
            let (from, to) = (&self.matrix.parties[cell.from], &self.matrix.parties[cell.to]);
            let concerns = to.kind == PartyKind::Container
                && from.kind != PartyKind::Host
                && cell.by != Way::Shared
                && (cell.service != Service::Echo || expectations.default_echo);
            if !concerns || is_named(cell) {
                continue;
            }
            let cells = std::slice::from_ref(cell);
            let outcome = judged(cells, cell.service, false);
            found.note(outcome, || self.told(cell.from, cell.to, cell.service, cells, outcome));
        }
        found.expectation("nothing else passes (default = \"deny\")".to_owned(), None, expectations.default_line)
    }

    fn named<'e>(&self, expectations: &'e Expectations) -> Vec<Named<'e>> {
        let places = |who: &[Who]| self.meant(who).into_iter().map(|at| self.place(at)).collect();
        let lines = expectations.lines.iter().filter(|line| line.allow);
        lines.map(|line| Named { from: places(&line.from), to: places(&line.to), services: &line.services }).collect()
    }

    fn told(&self, from: usize, to: usize, service: Service, cells: &[Cell], outcome: Outcome) -> String {
        let (from, to) = (&self.matrix.parties[from].name, &self.matrix.parties[to].name);
        let flow = format!("{from} to {to} on {service}");
        let Some(cell) = cells.iter().find(|cell| !cell.agrees() || passes(cell)).or(cells.first()) else {
            return format!("{flow}: there is no way to ask for");
        };
        let reason = self.matrix.reasons.get(cell.reason).map(|reason| format!(": {reason}")).unwrap_or_default();
        let by = match &cell.by {
            Way::Publish { host } | Way::Hairpin { host } => format!(" by {}:{}", host.0, host.1),
            Way::Link { alias } => format!(" by the link {alias}"),
            Way::Direct | Way::Shared => String::new(),
        };
        let decider = cell.decider.and_then(|at| self.matrix.deciders.get(at));
        let decider = decider.map(|decider| format!("; in the kernel decides {decider}")).unwrap_or_default();
        match outcome {
            Outcome::Drift => {
                let packets = cell.probe.map(|probe| format!(", a packet says {}", verb(probe))).unwrap_or_default();
                format!(
                    "{flow}{by}: the intent says {}, the kernel {}{packets}{decider}",
                    intended(cell.intent),
                    verb(cell.kernel)
                )
            }
            Outcome::Unknown => format!("{flow}{by}: cannot be said{decider}"),
            _ if passes(cell) => format!("{flow} passes{by}{reason}"),
            _ => format!("{flow} does not pass{reason}"),
        }
    }
}

/// All ways of a flow, as expected or not.
fn judged(cells: &[Cell], service: Service, allow: bool) -> Outcome {
    let passing: Vec<Service> = cells.iter().filter(|cell| passes(cell)).map(|cell| cell.service).collect();
    let as_expected = if allow { covered(service, &passing) } else { passing.is_empty() };
    if cells.iter().any(|cell| !cell.agrees()) {
        Outcome::Drift
    } else if !allow && !as_expected {
        Outcome::Violated
    } else if cells.iter().any(|cell| cell.verdict() == Verdict::Unknown) && !(allow && as_expected) {
        Outcome::Unknown
    } else if as_expected {
        Outcome::Ok
    } else {
        Outcome::Violated
    }
}

/// Whether the services hold all of this one.
fn covered(service: Service, by: &[Service]) -> bool {
    let Service::Ports(wanted) = service else { return by.contains(&service) };
    let ports = |service: &Service| match service {
        Service::Ports(ports) if ports.protocol == wanted.protocol => Some((ports.first, ports.last)),
        _ => None,
    };
    let mut ranges: Vec<(u16, u16)> = by.iter().filter_map(ports).collect();
    ranges.sort_unstable();
    let mut next = u32::from(wanted.first);
    for (first, last) in ranges {
        if u32::from(first) <= next {
            next = next.max(u32::from(last) + 1);
        }
    }
    next > u32::from(wanted.last)
}

fn overlap(a: Service, b: Service) -> bool {
    match (a, b) {
        (Service::Ports(a), Service::Ports(b)) => a.protocol == b.protocol && a.first <= b.last && b.first <= a.last,
        (a, b) => a == b,
    }
}

fn passes(cell: &Cell) -> bool {
    cell.verdict() == Verdict::Allow
}

/// Whether all of a service is in another.
fn holds(wide: Service, narrow: Service) -> bool {
    match (wide, narrow) {
        (Service::Echo, Service::Echo) => true,
        (Service::Ports(wide), Service::Ports(PortRange { protocol, first, last })) => {
            wide.protocol == protocol && wide.first <= first && last <= wide.last
        }
        _ => false,
    }
}

fn words(line: &Line) -> String {
    let list = |who: &[Who]| who.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let on = match line.services.as_slice() {
        [] => " on whatever matters there".to_owned(),
        services => format!(" on {}", services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let verb = if line.allow { "reaches" } else { "does not reach" };
    format!("{} {verb} {}{on}", list(&line.from), list(&line.to))
}

fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "it passes",
        Verdict::Deny => "it does not",
        Verdict::Unknown => "nothing for sure",
    }
}

fn intended(intended: Intended) -> &'static str {
    match intended {
        Intended::Allow => "it passes",
        Intended::Deny => "it does not",
        Intended::Silent => "nothing",
    }
}

#[cfg(test)]
mod tests;
