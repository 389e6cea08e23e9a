//! A matrix for tests.

use crate::model::PortRange;
use crate::model::audit::{Cell, Finding, Intended, Matrix, Party, PartyKind, Reason, Service, Severity, Verdict, Way};

fn party(name: &str, kind: PartyKind) -> Party {
    Party {
        name: name.to_owned(),
        kind,
        id: None,
        mode: None,
        addresses: vec![],
        shares: None,
        labels: Default::default(),
        ports: vec![],
    }
}

fn cell((from, to): (usize, usize), service: &str, by: Way, verdicts: (Intended, Verdict), reason: usize) -> Cell {
    let decider = (verdicts.1 == Verdict::Deny).then_some(0);
    let service: Service = service.parse().expect("service");
    let listening = matches!(service, Service::Ports(PortRange { .. })).then_some(true);
    Cell {
        from,
        to,
        service,
        by,
        intent: verdicts.0,
        reason,
        kernel: verdicts.1,
        decider,
        probe: None,
        listening,
        hits: None,
    }
}

/// Web may reach db by a link; a foreign rule forbids its published port to the LAN.
pub(super) fn matrix() -> Matrix {
    let (allow, deny) = ((Intended::Allow, Verdict::Allow), (Intended::Deny, Verdict::Deny));
    let publish = Way::Publish { host: ([192, 0, 2, 1].into(), 8080) };
    Matrix {
        taken: "2026-01-02T03:04:05.678Z".to_owned(),
        host: "box".to_owned(),
        bridge: Some("pontoon0".to_owned()),
        icc: false,
        parties: vec![
            party("db", PartyKind::Container),
            party("web", PartyKind::Container),
            party("lan", PartyKind::Lan),
        ],
        cells: vec![
            cell((0, 1), "80/tcp", Way::Direct, deny, 0),
            cell((0, 1), "icmp", Way::Direct, deny, 0),
            cell((1, 0), "5432/tcp", Way::Link { alias: "database".to_owned() }, allow, 1),
            cell((2, 1), "80/tcp", publish, (Intended::Allow, Verdict::Deny), 2),
        ],
        reasons: vec![
            Reason::NoLink,
            Reason::Link { alias: "database".to_owned() },
            Reason::Published { row: "0.0.0.0:8080->80/tcp".to_owned() },
        ],
        deciders: vec!["ip other f handle 4 \"not \"\"here\": drop".to_owned()],
        findings: vec![Finding {
            kind: "blocked-though-allowed".to_owned(),
            severity: Severity::Medium,
            what: "lan → web 80/tcp should be allowed, and does not come about".to_owned(),
            remedy: "Change that rule if it is not meant.".to_owned(),
            parties: vec!["lan".to_owned(), "web".to_owned()],
        }],
        ..Matrix::empty()
    }
}
