use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::model::audit::{Listener, Matrix, Party, PartyKind, PartyPort};
use crate::model::{Port, PortRange, Published};

fn ports(text: &str) -> PortRange {
    let port: Port = text.parse().expect("port");
    PortRange { protocol: port.protocol, first: port.number, last: port.number }
}

fn published(host: &str, text: &str) -> Published {
    let (ip, port) = host.split_once(':').expect("address and port");
    let (host_ip, host_port) = (ip.parse().expect("address"), port.parse().expect("port"));
    Published { host_ip, host_port, container: text.parse().expect("port"), count: 1 }
}

fn one(name: &str) -> Inhabitant {
    Inhabitant { name: name.to_owned(), bridged: true, ..Inhabitant::default() }
}

/// Containers of these names, of which some listen.
fn matrix(icc: bool, parties: &[(&str, &[&str])]) -> Matrix {
    let listener = || Listener { address: IpAddr::from([0, 0, 0, 0]), process: None };
    let port =
        |text: &&str| PartyPort { ports: ports(text), exposed: true, published: vec![], listeners: vec![listener()] };
    let party = |(name, heard): &(&str, &[&str])| Party {
        name: (*name).to_owned(),
        kind: PartyKind::Container,
        id: None,
        mode: Some("bridge".to_owned()),
        addresses: vec![],
        shares: None,
        labels: Default::default(),
        ports: heard.iter().map(port).collect(),
    };
    Matrix { icc, parties: parties.iter().map(party).collect(), ..Matrix::empty() }
}

fn kinds(matrix: &Matrix, inhabitants: Vec<Inhabitant>) -> Vec<String> {
    let ground = Ground { matrix, inhabitants, holes: vec![], unused_for: SignedDuration::ZERO };
    findings(&ground).into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn what_is_as_wide_as_its_purpose_is_not_told() {
    let matrix = matrix(false, &[("web", &["80/tcp"]), ("db", &["5432/tcp"])]);
    let web = Inhabitant {
        published: vec![published("0.0.0.0:8080", "80/tcp")],
        exposed: vec![ports("80/tcp")],
        links: vec![("db".to_owned(), "db".to_owned())],
        ..one("web")
    };
    let db = Inhabitant { exposed: vec![ports("5432/tcp")], ..one("db") };
    assert_eq!(kinds(&matrix, vec![web, db]), Vec::<String>::new());
}

#[test]
fn a_published_port_that_a_link_serves() {
    let matrix = matrix(false, &[("web", &[]), ("db", &["5432/tcp"])]);
    let web = Inhabitant { links: vec![("db".to_owned(), "db".to_owned())], ..one("web") };
    let db = |host: &str| Inhabitant {
        exposed: vec![ports("5432/tcp")],
        published: vec![published(host, "5432/tcp")],
        ..one("db")
    };
    assert_eq!(kinds(&matrix, vec![web.clone(), db("0.0.0.0:5432")]), ["published-beside-a-link"]);
    assert_eq!(kinds(&matrix, vec![web, db("127.0.0.1:5432")]), Vec::<String>::new());
}

#[test]
fn holes_that_lead_nowhere() {
    let matrix = matrix(false, &[("web", &[]), ("db", &[]), ("bare", &[])]);
    let links = ["db", "bare"].map(|name| (name.to_owned(), name.to_owned())).to_vec();
    let web = Inhabitant { published: vec![published("0.0.0.0:80", "80/tcp")], links, ..one("web") };
    let db = Inhabitant { exposed: vec![ports("5432/tcp")], ..one("db") };
    let lone = Inhabitant { exposed: vec![ports("9/udp")], ..one("lone") };
    let found = kinds(&matrix, vec![web, db, one("bare"), lone]);
    let expected = ["exposed-unreachable", "link-without-listener", "link-without-ports", "published-without-listener"];
    assert_eq!(found, expected);
}

#[test]
fn joined_powerful_and_open() {
    let mut matrix = matrix(false, &[("web", &["80/tcp"]), ("side", &[])]);
    matrix.parties[1].shares = Some("web".to_owned());
    let web = Inhabitant { published: vec![published("0.0.0.0:80", "80/tcp")], ..one("web") };
    let side = Inhabitant { bridged: false, given: vec!["NET_RAW".to_owned()], ..one("side") };
    let admin = Inhabitant { given: vec!["NET_ADMIN".to_owned()], ..one("admin") };
    let root = Inhabitant { privileged: true, open: true, bridged: false, ..one("root") };
    let open = Inhabitant { open: true, bridged: false, ..one("open") };
    let found = kinds(&matrix, vec![web, side, admin, root, open]);
    assert_eq!(found, ["net-admin", "privileged", "host-network", "shared-hole", "net-raw"]);
}

#[test]
fn icc_is_told_where_there_is_somebody_to_reach() {
    let matrix = matrix(true, &[]);
    assert_eq!(kinds(&matrix, vec![one("a")]), Vec::<String>::new());
    assert_eq!(kinds(&matrix, vec![one("a"), one("b")]), ["icc-open"]);
}

#[test]
fn holes_that_nobody_has_ever_used() {
    let matrix = matrix(false, &[]);
    let hole = |by: Opens, hours: i64, hits: Option<u64>| Hole {
        of: "web".to_owned(),
        by,
        since: Timestamp::UNIX_EPOCH,
        age: SignedDuration::from_hours(hours),
        hits,
    };
    let row = || Opens::Publish(published("0.0.0.0:8080", "80/tcp"));
    let link = || Opens::Link { to: "db".to_owned(), aliases: vec!["db".to_owned(), "store".to_owned()] };
    let told = |holes: Vec<Hole>| {
        let unused_for = SignedDuration::from_hours(24);
        let ground = Ground { matrix: &matrix, inhabitants: vec![], holes, unused_for };
        findings(&ground)
    };
    let found = told(vec![hole(row(), 24, Some(0)), hole(link(), 1000, Some(0))]);
    let words: Vec<(&str, &str)> = found.iter().map(|it| (it.kind.as_str(), it.what.as_str())).collect();
    assert_eq!(
        words,
        [
            ("never-used", "web publishes 80/tcp on 0.0.0.0:8080, and nobody has used it since 1970-01-01T00:00:00Z"),
            ("never-used", "web has a link to db (db, store), and has not used it since 1970-01-01T00:00:00Z"),
        ]
    );
    assert_eq!(found[1].parties, ["web", "db"]);
    assert_eq!(told(vec![hole(row(), 24, Some(1)), hole(link(), 1000, None), hole(link(), 23, Some(0))]), []);
}
