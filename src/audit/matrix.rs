//! `matrix`: every flow with its verdicts. Pure but for the threads that it is shared out to.

use std::ops::Range;
use std::thread;

use super::AuditError;
use super::cast::{Cast, Seat};
use super::deciders::{Decides, Numbered};
use super::findings;
use super::flows::{Flow, Flows};
use super::judge::{Judge, Judged};
use super::reading::Reading;
use crate::firewall::hits::Hits;
use crate::model::PortRange;
use crate::model::audit::{Cell, Matrix, PartyPort, Reason, Service, Way};

/// Which part of the matrix is wanted: names as users write them; `None` is everybody.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Who.
    pub from: Option<String>,
    /// To whom.
    pub to: Option<String>,
}

/// The matrix of a reading.
pub fn matrix(reading: &Reading, wanted: &Wanted) -> Result<Matrix, AuditError> {
    let cast = Cast::of(reading);
    let place = |who: &Option<String>| who.as_deref().map(|who| cast.find(who)).transpose();
    let (from, to) = (place(&wanted.from)?, place(&wanted.to)?);
    let flows = judged(reading, &cast, from, to);
    let (mut reasons, mut deciders) = (Numbered::<Reason>::new(), Numbered::<Decides>::new());
    let counted = Counted::of(reading, &cast);
    let mut findings = findings::Found::default();
    let mut cells = Vec::with_capacity(flows.len());
    for (flow, judged) in &flows {
        let decider = judged.decides.as_ref().map(|decides| deciders.place(decides));
        let cell = cell(flow, judged, reasons.place(&flow.reason), decider);
        let cell = Cell { hits: counted.attempts(flow, &cell), ..cell };
        findings.look(&cell);
        cells.push(cell);
    }
    let mut matrix = Matrix {
        taken: reading.taken.clone(),
        host: reading.host.clone(),
        bridge: reading.intent.as_ref().map(|intent| intent.options.bridge.clone()),
        icc: reading.intent.as_ref().is_none_or(|intent| intent.options.icc),
        generation: reading.kernel.ruleset().generation,
        cells,
        reasons: reasons.all,
        deciders: deciders.all.iter().map(|decides| decides.words(reading, &cast)).collect(),
        unmodelled: reading.kernel.network().unmodelled.clone(),
        parties: cast.parties.clone(),
        ..Matrix::empty()
    };
    matrix.findings = findings.named(&matrix, |place| findings::foreign(reading, &deciders.all[place]));
    Ok(matrix)
}

/// The cells of a flow whose ports may matter to nobody: a cell a way, and a part where a range is judged in parts. Their
/// reasons and deciders refer to nothing.
pub fn asked(reading: &Reading, cast: &Cast, from: usize, to: usize, service: Service) -> Vec<Cell> {
    let mut cast = cast.clone();
    let known = |port: &PartyPort| Service::Ports(port.ports) == service;
    if let Service::Ports(ports) = service
        && !cast.parties[to].ports.iter().any(known)
    {
        cast.parties[to].ports.push(PartyPort { ports, exposed: false, published: Vec::new(), listeners: Vec::new() });
    }
    let (flows, judge) = (Flows::new(reading, &cast), Judge::new(reading, &cast));
    let flows = flows.between(from, to).into_iter().filter(|flow| flow.service == service);
    let judged = |flow: Flow| judge.judge(&flow).into_iter().map(move |judged| cell(&flow, &judged, usize::MAX, None));
    flows.flat_map(judged).collect()
}

/// All flows, judged, in order; shared out by sources.
fn judged(reading: &Reading, cast: &Cast, from: Option<usize>, to: Option<usize>) -> Vec<(Flow, Judged)> {
    let (flows, judge) = (Flows::new(reading, cast), Judge::new(reading, cast));
    let all = 0..cast.parties.len();
    // Who shares another's namespace has that one's flows, and those of its own with whom it shares it.
    let places = |one: Option<usize>| -> Vec<usize> {
        let mut places = one.map_or_else(|| all.clone().collect(), |place| vec![place, cast.space(place)]);
        places.dedup();
        places
    };
    let (sources, targets) = (places(from), places(to));
    let some = |sources: &[usize]| -> Vec<(Flow, Judged)> {
        let mut some = Vec::new();
        for (from, to) in sources.iter().flat_map(|from| targets.iter().map(move |to| (*from, *to))) {
            if from != to {
                for flow in flows.between(from, to) {
                    some.extend(judge.judge(&flow).into_iter().map(|judged| (flow.clone(), judged)));
                }
            }
        }
        some
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(sources.len().div_ceil(8)).max(1);
    let chunks: Vec<&[usize]> = sources.chunks(sources.len().div_ceil(threads).max(1)).collect();
    thread::scope(|scope| {
        let some = &some;
        let running: Vec<_> = chunks.iter().map(|sources| scope.spawn(move || some(sources))).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What the elements behind links and published ports have counted.
struct Counted<'a> {
    hits: Option<Hits>,
    cast: &'a Cast,
}

impl<'a> Counted<'a> {
    fn of(reading: &Reading, cast: &'a Cast) -> Self {
        let hits = reading.intent.as_ref().map(|intent| Hits::of(reading.kernel.ruleset(), &intent.options));
        Self { hits, cast }
    }

    /// Of a cell of this flow.
    fn attempts(&self, flow: &Flow, cell: &Cell) -> Option<u64> {
        let (hits, Service::Ports(ports)) = (self.hits.as_ref()?, cell.service) else { return None };
        match (&cell.by, &self.cast.seats[cell.from], &self.cast.seats[cell.to]) {
            (Way::Link { .. }, Seat::Bridged { endpoint: source, .. }, Seat::Bridged { endpoint: target, .. }) => {
                hits.link(source.address, target.address, &[ports])
            }
            (Way::Publish { host } | Way::Hairpin { host }, ..) => {
                let last = host.1.saturating_add(ports.last - ports.first);
                hits.published(flow.address, PortRange { first: host.1, last, ..ports })
            }
            _ => None,
        }
    }
}

/// A flow's cell.
pub(super) fn cell(flow: &Flow, judged: &Judged, reason: usize, decider: Option<usize>) -> Cell {
    let ports: Range<u16> = judged.skipped..judged.last;
    let service = match flow.service {
        Service::Ports(range) => {
            Service::Ports(PortRange { first: range.first + ports.start, last: range.first + ports.end, ..range })
        }
        Service::Echo => Service::Echo,
    };
    let by = match &flow.by {
        Way::Publish { host } => Way::Publish { host: (host.0, host.1 + ports.start) },
        Way::Hairpin { host } => Way::Hairpin { host: (host.0, host.1 + ports.start) },
        other => other.clone(),
    };
    Cell {
        from: flow.from,
        to: flow.to,
        service,
        by,
        intent: flow.intent,
        reason,
        kernel: judged.verdict,
        decider,
        probe: None,
        listening: flow.listening,
        hits: None,
    }
}
