//! What real packets do: sent from inside of the namespaces, and looked for where they should come out.
//!
//! Nothing of it is noticed by a user's program:
//!
//! - **TCP**: one SYN, by a raw socket. A listener's kernel answers it, and the source's kernel, which knows of no
//!   connection, resets it: no `accept` ever returns. (Who does not listen is asked in the same way.)
//! - **UDP**: while datagrams are on their way, a small program of ours is asked by the target's kernel which socket they
//!   are for (BPF's `sk_lookup`): those of probes are for nobody, whoever has the port open. A receiver of ours hears them
//!   beside it, by a raw socket, and answers. The program ends with the descriptor that holds it, however the daemon ends.
//! - **ICMP echo**, by a raw socket.
//! - **Frames** that no flow has: see [`stray`].
//!
//! A flow comes about if its packet reached the target's own stack and the answer reached the source's. That something
//! arrives nowhere is believed of those only who could hear: see [`volley`].
//!
//! | file | what it is |
//! |---|---|
//! | `token`, `packet`, `heard` | telling packets apart; making them; reading them |
//! | `program`, `tables`, `rewriting` | programs for the kernel; open ports; who changes ports on the way |
//! | `plan` | which cells of the matrix are tried |
//! | `flow`, `stray` | what is sent, and what follows from what was heard |
//! | `station`, `volley` | sockets; sending and listening |

mod flow;
mod heard;
mod packet;
mod plan;
mod program;
mod rewriting;
mod round;
mod station;
mod stray;
mod tables;
mod token;
mod volley;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use ipnetwork::Ipv4Network;

use super::{AuditError, Cast, Reading, Wanted, matrix};
use crate::containers::{Container, Engine};
use crate::model::NetworkOptions;
use crate::model::audit::{Cell, Finding, Matrix, Probe, Sent, Severity, VERSION, Verdict};
use plan::{Budget, Ground, Plan};
use round::{Frames, Round, Setting};
use station::{Seat, Site};

/// Probes of one daemon go one after another: what they send is bounded, and so is what the host has to bear.
static ONE_AT_A_TIME: RwLock<()> = RwLock::new(());

/// What is seen in a container's namespace, and whether no probe is under way meanwhile: probes have programs there that
/// choose sockets.
pub(in crate::audit) fn beside<T>(look: impl FnOnce(bool) -> T) -> T {
    let quiet = ONE_AT_A_TIME.try_read();
    look(quiet.is_ok())
}

/// Sends probes for the flows of those who are wanted, and frames that nobody may send; blocking, for a second or two.
pub fn probe(engine: &Engine, wanted: &Wanted) -> Result<Probe, AuditError> {
    let reading = Reading::take(engine)?;
    flows(engine, &reading, &matrix(&reading, wanted)?, wanted)
}

/// The same, for the flows of a matrix that was made of a reading.
pub fn flows(engine: &Engine, reading: &Reading, matrix: &Matrix, wanted: &Wanted) -> Result<Probe, AuditError> {
    let cast = Cast::of(reading);
    let from = wanted.from.as_deref().map(|who| cast.find(who)).transpose()?;
    let _alone = ONE_AT_A_TIME.write().unwrap_or_else(PoisonError::into_inner);
    let began = format!("{:.3}", jiff::Timestamp::now());
    let network = engine.network();
    let sites = Sites::of(&engine.list(), network);
    let ground = Ground { places: sites.places(matrix), gateway: network.map(NetworkOptions::gateway) };
    let plan = Plan::of(matrix, &ground, Budget::of_this_host());
    // Frames go to everybody: there is no trying them towards one.
    let frames = match (from, &wanted.to) {
        (_, Some(_)) => Frames::None,
        (None, None) => Frames::All,
        (Some(from), None) => ground.places[from].map_or(Frames::None, Frames::Of),
    };
    let setting = Setting { network, rewritten: rewriting::by_others(&reading.kernel) };
    let (sent, unheard) = Round::open(&sites.0, &plan).go(&plan, frames, &setting);
    let findings = sent.iter().filter_map(finding).collect();
    Ok(Probe { version: VERSION, began, sent, findings, untried: [plan.untried, unheard].concat() })
}

/// The same, with what packets did entered beside the other verdicts of the matrix, and where they disagree among its findings.
pub fn enter(engine: &Engine, reading: &Reading, matrix: &mut Matrix, wanted: &Wanted) -> Result<(), AuditError> {
    let probe = flows(engine, reading, matrix, wanted)?;
    matrix.findings.splice(0..0, probe.findings);
    let key = |cell: &Cell| (cell.from, cell.to, cell.service, cell.by.clone());
    let mut found: Vec<_> = probe.sent.into_iter().filter_map(|sent| Some((key(&sent.cell?), sent.found))).collect();
    found.sort();
    for cell in &mut matrix.cells {
        let key = key(cell);
        if let Ok(place) = found.binary_search_by(|(other, _)| other.cmp(&key)) {
            cell.probe = Some(found[place].1);
        }
    }
    Ok(())
}

/// What an operator should know of a probe that went otherwise than expected.
fn finding(sent: &Sent) -> Option<Finding> {
    if sent.agrees() {
        return None;
    }
    let (severity, should) = match (sent.expected, sent.found) {
        (_, Verdict::Allow) if sent.cell.is_none() => (Severity::High, "nobody should hear that"),
        (Verdict::Deny, Verdict::Allow) => (Severity::High, "it should not come about, and did"),
        (Verdict::Allow, Verdict::Deny) => (Severity::Medium, "it should come about, and did not"),
        _ => (Severity::Medium, "the rules in the kernel say otherwise"),
    };
    Some(Finding {
        kind: "probe-disagrees".to_owned(),
        severity,
        what: format!("{} to {}: {}: {should}: {}", sent.from, sent.to, sent.what, sent.seen),
        remedy: "`pontoon audit drift` tells what has been changed, `pontoon audit explain` which rule decides"
            .to_owned(),
        parties: vec![sent.from.clone(), sent.to.clone()],
    })
}

/// Where probes begin and end; the host is the first.
struct Sites(Vec<Site>);

impl Sites {
    fn of(containers: &[std::sync::Arc<Container>], network: Option<&NetworkOptions>) -> Self {
        let bridge = network.map(|options| options.bridge.clone());
        let mut sites = vec![Site { name: "host".to_owned(), netns: None, interface: bridge, seat: None }];
        // Who joined another is at that one's place, who is open at the host's.
        let own = |it: &Container| it.state.status.is_running() && it.sandbox.ends_with(it.id.as_str());
        for container in containers.iter().filter(|it| own(it)) {
            let seat = container.attached.as_ref().map(|endpoint| Seat {
                address: endpoint.address,
                mac: endpoint.mac.0,
                port: endpoint.port.clone(),
            });
            sites.push(Site {
                name: container.name.to_string(),
                netns: Some(PathBuf::from(&container.sandbox)),
                interface: seat.is_some().then(|| "eth0".to_owned()),
                seat,
            });
        }
        sites[1..].sort_by(|a, b| a.name.cmp(&b.name));
        Self(sites)
    }

    /// The place of each of the matrix's parties.
    fn places(&self, matrix: &Matrix) -> Vec<Option<usize>> {
        let of = |name: &str| self.0.iter().skip(1).position(|site| site.name == name).map(|place| place + 1);
        let place = |party: &crate::model::audit::Party| {
            use crate::model::audit::PartyKind;
            match (party.kind, &party.mode, &party.shares) {
                (PartyKind::Host, ..) => Some(0),
                (PartyKind::Container, Some(mode), _) if mode == "host" => Some(0),
                (PartyKind::Container, _, shares) => of(shares.as_ref().unwrap_or(&party.name)),
                _ => None,
            }
        };
        matrix.parties.iter().map(place).collect()
    }
}

/// An address of the subnet that nobody has: the last one that is free.
fn free_address(bip: Ipv4Network, taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let (first, last) = (u32::from(bip.network()) + 1, u32::from(bip.broadcast()));
    (first..last).rev().map(Ipv4Addr::from).take(4096).find(|it| *it != bip.ip() && !taken(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_nobodys() {
        let bip: Ipv4Network = "172.17.0.1/29".parse().expect("network");
        let last = Ipv4Addr::new(172, 17, 0, 6);
        assert_eq!(free_address(bip, |_| false), Some(last));
        assert_eq!(free_address(bip, |it| it == last), Some(Ipv4Addr::new(172, 17, 0, 5)));
        assert_eq!(free_address(bip, |_| true), None);
        assert_eq!(free_address("172.17.0.1/32".parse().expect("network"), |_| false), None);
    }

    #[test]
    fn what_disagrees_is_told() {
        let sent = |expected, found| Sent {
            from: "web".into(),
            to: "db".into(),
            cell: None,
            what: "a frame".into(),
            packets: 1,
            expected,
            found,
            seen: "it arrived at db".into(),
        };
        assert_eq!(finding(&sent(Verdict::Deny, Verdict::Deny)), None);
        assert_eq!(finding(&sent(Verdict::Deny, Verdict::Unknown)), None);
        let found = finding(&sent(Verdict::Deny, Verdict::Allow)).expect("a finding");
        assert_eq!(found.severity, Severity::High);
        assert_eq!(found.what, "web to db: a frame: nobody should hear that: it arrived at db");
    }
}
