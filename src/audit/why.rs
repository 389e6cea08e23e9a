//! `why`: each way from one party to another, with the rule that decides and who asked for it. Pure.

use super::cast::{Cast, Seat};
use super::deciders::Decides;
use super::flows::{Flow, Flows};
use super::judge::{Judge, Judged};
use super::reading::Reading;
use super::{AuditError, evidence, matrix, openings, ports};
use crate::firewall::audit::listing::Listing;
use crate::model::audit::{Cell, Entry, Intended, Reason, Service, VERSION, Verdict, Way, Why, WhyWay};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Who: a name, a container's id or its beginning, or an address.
    pub from: String,
    /// To whom.
    pub to: String,
    /// About what; `None`: everything that matters there.
    pub service: Option<Service>,
}

/// The answer. `history` is the newest first, `listing` the rules in nft's words.
pub fn why(reading: &Reading, asking: &Asking, history: &[Entry], listing: &Listing) -> Result<Why, AuditError> {
    let mut cast = Cast::of(reading);
    let (from, to) = (cast.find_or_seat(&asking.from, reading)?, cast.find_or_seat(&asking.to, reading)?);
    let names = (cast.parties[from].name.clone(), cast.parties[to].name.clone());
    // Whoever shares another's namespace has that one's ways.
    let (from, to) = match cast.space(from) == cast.space(to) {
        true => (from, to),
        false => (cast.space(from), cast.space(to)),
    };
    if let Some(Service::Ports(wanted)) = asking.service {
        cast.parties[to].ports = ports::within(&cast.parties[to].ports, wanted);
    }
    let flows = Flows::new(reading, &cast);
    let flows = match asking.service {
        Some(service) => flows.only(service),
        None => flows,
    };
    let wanted = |flow: &Flow| match asking.service {
        None => true,
        Some(Service::Echo) => flow.service == Service::Echo,
        Some(_) => flow.service != Service::Echo,
    };
    let judge = Judge::new(reading, &cast);
    let seen = Seen { reading, cast: &cast, judge: &judge, history, listing };
    let judged = |flow: &Flow| judge.judge(flow).into_iter().map(|judged| seen.way(flow, &judged)).collect::<Vec<_>>();
    let ways: Vec<WhyWay> = flows.between(from, to).iter().filter(|flow| wanted(flow)).flat_map(judged).collect();
    let verdict = together(&ways);
    let answer = answer(&names, asking.service, verdict, &ways, from == to);
    Ok(Why { version: VERSION, from: names.0, to: names.1, verdict, answer, ways })
}

/// What the answer's parts are made of.
struct Seen<'a> {
    reading: &'a Reading,
    cast: &'a Cast,
    judge: &'a Judge<'a>,
    history: &'a [Entry],
    listing: &'a Listing,
}

impl Seen<'_> {
    fn way(&self, flow: &Flow, judged: &Judged) -> WhyWay {
        let cell = matrix::cell(flow, judged, 0, None);
        let decides = judged.decides.as_ref();
        let unknown = match decides {
            Some(Decides::Open(because, _)) => because.clone(),
            _ => Vec::new(),
        };
        let port = (flow.service != Service::Echo).then(|| flow.port + judged.skipped);
        // What stays within a namespace never comes to the host's.
        let packet = self.judge.first_packet(flow, port).filter(|_| flow.by != Way::Shared);
        let rule = decides
            .and_then(|decides| evidence::decider(self.reading, self.cast, decides, packet.as_ref(), self.listing));
        let said = decides.map(|decides| decides.words(self.reading, self.cast));
        // Where the verdict is not what was meant, the rule is the reason.
        let because = match said {
            Some(words) if !cell.agrees() || cell.kernel == Verdict::Unknown => format!("{}; but {words}", flow.reason),
            _ => flow.reason.to_string(),
        };
        WhyWay {
            because,
            option: self.option(flow),
            asked: openings::asked(self.reading, self.cast, flow, self.history),
            decider: rule,
            unknown,
            packet: packet.map(|packet| evidence::question(self.reading, &packet)).unwrap_or_default(),
            cell,
        }
    }

    /// As one would type it.
    fn option(&self, flow: &Flow) -> Option<String> {
        let mode = |place: usize| {
            let seat = &self.cast.seats[place];
            let network = self.cast.parties[place].mode.as_ref().map(|mode| format!("--net {mode}"));
            network.filter(|_| matches!(seat, Seat::Closed | Seat::Shares(_)))
        };
        let link = |alias: &String| format!("--link {}:{alias}", self.cast.parties[flow.to].name);
        Some(match &flow.reason {
            Reason::Icc => "--icc=true".to_owned(),
            Reason::NoLink => "--icc=false".to_owned(),
            Reason::NotExposed { alias } | Reason::Link { alias } => link(alias),
            Reason::Published { row } | Reason::PublishedElsewhere { row } => format!("-p {}", typed(row)),
            Reason::HostAccess => "--host-access=true".to_owned(),
            Reason::NoHostAccess => "--host-access=false".to_owned(),
            Reason::NoForwarding => "--ip-forward=false".to_owned(),
            Reason::Closed | Reason::Shared => return mode(flow.to).or_else(|| mode(flow.from)),
            Reason::NotPublished
            | Reason::Host
            | Reason::HostAlways
            | Reason::Outbound
            | Reason::HostsOwn
            | Reason::OperatorsBridge => {
                return None;
            }
        })
    }
}

/// `0.0.0.0:8080->80/tcp` → `8080:80`.
fn typed(row: &str) -> String {
    let text = row.replace("->", ":");
    let text = text.strip_prefix("0.0.0.0:").unwrap_or(&text);
    text.strip_suffix("/tcp").unwrap_or(text).to_owned()
}

/// Allowed if one way is.
fn together(ways: &[WhyWay]) -> Verdict {
    let verdicts = || ways.iter().map(|way| way.cell.verdict());
    if verdicts().any(|verdict| verdict == Verdict::Allow) {
        return Verdict::Allow;
    }
    if verdicts().any(|verdict| verdict == Verdict::Unknown) { Verdict::Unknown } else { Verdict::Deny }
}

/// The sentence that answers the question.
fn answer(
    (from, to): &(String, String),
    service: Option<Service>,
    verdict: Verdict,
    ways: &[WhyWay],
    itself: bool,
) -> String {
    let of = |wanted: Verdict| ways.iter().filter(move |way| way.cell.verdict() == wanted);
    // What was meant otherwise says more than what was not meant at all.
    let telling = of(verdict).find(|way| !way.cell.agrees()).or_else(|| of(verdict).next());
    let Some(way) = telling else {
        return match itself {
            true => format!("{from} and {to} are one; nothing that matters listens there."),
            false => format!("No packet from {from} to {to} passes through this machine."),
        };
    };
    let because = &way.because;
    let same = |way: &&WhyWay| way.because == *because;
    let on =
        service.map_or_else(|| services(of(verdict).filter(same).map(|way| &way.cell)), |service| service.to_string());
    // A reason is said of what it is the reason for.
    let mut reasons: Vec<&str> = Vec::new();
    for other in of(verdict).filter(|way| service.is_none() && !same(way)) {
        if !reasons.contains(&other.because.as_str()) {
            reasons.push(&other.because);
        }
    }
    let others = reasons.into_iter().map(|reason| {
        let cells = of(verdict).filter(|way| way.because == reason).map(|way| &way.cell);
        format!(" On {}: {reason}.", services(cells))
    });
    let first = match (verdict, way.cell.intent, way.cell.agrees()) {
        (Verdict::Allow, Intended::Deny, false) => format!("{from} reaches {to} on {on}, and should not: {because}."),
        (Verdict::Allow, ..) => format!("{from} may reach {to} on {on}: {because}."),
        (Verdict::Deny, Intended::Allow, false) => {
            format!("{from} does not reach {to} on {on}, and should: {because}.")
        }
        (Verdict::Deny, ..) => format!("{from} may not reach {to} on {on}: {because}."),
        (Verdict::Unknown, ..) => format!("Whether {from} reaches {to} on {on} cannot be said: {because}."),
    };
    first + &others.collect::<String>()
}

/// Each once, in order.
fn services<'c>(cells: impl Iterator<Item = &'c Cell>) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in cells.map(|cell| cell.service.to_string()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn rows_as_one_types_them() {
        assert_eq!(typed("0.0.0.0:8080->80/tcp"), "8080:80");
        assert_eq!(typed("127.0.0.1:5353->53/udp"), "127.0.0.1:5353:53/udp");
        assert_eq!(typed("0.0.0.0:9000-9099->9000-9099/tcp"), "9000-9099:9000-9099");
    }
}
