use std::net::Ipv4Addr;

use super::*;
use crate::model::audit::{self, By, Edge, End, Happening};
use crate::model::{ContainerId, Endpoint, Names, NetworkOptions, Place, Port, Process, Protocol, Published};

/// More than any test writes.
const KEPT: u64 = 100_000;

fn id(n: u8) -> ContainerId {
    ContainerId::from_bytes([n; 32])
}

fn endpoint(n: u8, name: &str) -> Endpoint {
    let container = Port { protocol: Protocol::Tcp, number: 80 };
    let host_ip = Ipv4Addr::UNSPECIFIED.into();
    Endpoint {
        name: name.parse().expect("name"),
        address: Ipv4Addr::new(172, 17, 0, n),
        mac: format!("02:42:ac:11:00:{n:02x}").parse().expect("mac"),
        port: format!("veth{n}"),
        published: vec![Published { host_ip, host_port: 8000 + u16::from(n), container, count: 1 }],
        exposed: vec![],
        links: vec![],
        names: Names::default(),
    }
}

fn admit(n: u8, name: &str) -> Change {
    Change::Admit(id(n), Box::new(endpoint(n, name)))
}

fn intent(endpoints: &[(u8, &str)]) -> Intent {
    let endpoints = endpoints.iter().map(|(n, name)| (id(*n), endpoint(*n, name))).collect();
    Intent { options: NetworkOptions::usual(), endpoints }
}

/// A store of its own, and histories that are opened on it one after another.
struct Machine {
    dir: tempfile::TempDir,
    kept: u64,
}

impl Machine {
    fn new(kept: u64) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), kept }
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.dir.path().join("pontoon.db")).expect("a store"))
    }

    fn boot(&self, intent: &Intent) -> History {
        History::open(self.store(), Some(intent), self.kept).expect("a history")
    }
}

async fn all(history: &History) -> audit::History {
    history.read(Question::default()).await.expect("read")
}

fn words(history: &audit::History) -> Vec<String> {
    let word = |entry: &audit::Entry| {
        let change = serde_json::to_value(&entry.change).expect("plain data");
        format!("{} {} by {}", entry.entry, change["kind"].as_str().unwrap_or_default(), entry.origin.request())
    };
    history.entries.iter().map(word).collect()
}

#[tokio::test]
async fn each_change_is_entered_with_whose_doing_it_was() {
    let machine = Machine::new(KEPT);
    let history = machine.boot(&intent(&[]));
    history.changed(admit(2, "web"), Origin::Policy, None);
    history.changed(admit(2, "www"), Origin::Daemon, None);
    history.changed(Change::Dismiss(id(3)), Origin::Ended, None);
    history.changed(Change::Dismiss(id(2)), Origin::Ended, None);
    let told = all(&history).await;
    assert!(told.chain.is_whole(), "{:?}", told.chain);
    assert_eq!(
        words(&told),
        [
            "1 options by the daemon's start with these options",
            "2 admit by the restart policy",
            "3 admit by the daemon",
            "4 dismiss by its process ended"
        ]
    );
    let [begin, comes, renamed, leaves] = &told.entries[..] else { panic!("four entries") };
    assert!(begin.delta.opened.iter().all(|edge| edge.from == End::Containers || edge.to == End::Containers));
    assert_eq!((comes.delta.joined.len(), comes.delta.opened.len()), (1, 1));
    assert_eq!((renamed.delta.renamed.len(), renamed.delta.opened.len()), (1, 0));
    assert_eq!(
        (&leaves.delta.left[0].name, &leaves.delta.closed),
        (&"www".parse().expect("name"), &comes.delta.opened)
    );
    assert!(told.entries.windows(2).all(|two| two[0].time <= two[1].time && two[0].hash == two[1].previous));
}

#[tokio::test]
async fn a_daemon_that_is_killed_in_between_loses_nothing() {
    let machine = Machine::new(KEPT);
    let history = machine.boot(&intent(&[]));
    history.changed(admit(2, "web"), Origin::Policy, None);
    history.flush().await;
    drop(history);
    // The next one finds another that runs, and the first gone.
    let history = machine.boot(&intent(&[(3, "db")]));
    let told = all(&history).await;
    assert!(told.chain.is_whole(), "{:?}", told.chain);
    assert_eq!(words(&told)[2..], ["3 found by found at the daemon's start"]);
    let delta = &told.entries[2].delta;
    assert_eq!((delta.left.len(), delta.joined.len(), delta.closed.len(), delta.opened.len()), (1, 1, 1, 1));
    drop(history);
    // What it found is known from then on.
    assert_eq!(all(&machine.boot(&intent(&[(3, "db")]))).await.entries.len(), 3);
    let mut closed = intent(&[(3, "db"), (4, "new")]);
    closed.options.icc = false;
    let told = all(&machine.boot(&closed)).await;
    let last = ["4 found by found at the daemon's start", "5 options by the daemon's start with these options"];
    assert_eq!(words(&told)[3..], last);
    assert_eq!((told.entries[4].delta.closed.len(), told.entries[4].delta.joined.len()), (1, 0));
}

#[tokio::test]
async fn the_oldest_go_and_the_chain_holds() {
    let machine = Machine::new(20);
    let history = machine.boot(&intent(&[]));
    let first = history.head().expect("written");
    for _ in 0..50 {
        history.changed(admit(2, "web"), Origin::Policy, None);
        history.changed(Change::Dismiss(id(2)), Origin::Ended, None);
        history.flush().await;
    }
    let told = all(&history).await;
    assert!(told.chain.is_whole(), "{:?}", told.chain);
    assert!((20..=23).contains(&told.chain.entries) && told.entries[0].entry > 50, "{:?}", told.chain);
    assert!(words(&told).iter().any(|word| word.contains("prune")));
    let verify = |hash: String| history.read(Question { verify: Some(hash), ..Question::default() });
    assert!(verify(told.entries[3].hash.clone()).await.expect("read").chain.is_whole());
    assert!(!verify(first.hash).await.expect("read").chain.is_whole(), "it was pruned");
    drop(history);
    assert!(all(&machine.boot(&intent(&[]))).await.chain.is_whole());
}

#[tokio::test]
async fn what_is_altered_or_cut_off_shows() {
    let machine = Machine::new(KEPT);
    let history = machine.boot(&intent(&[]));
    for n in 2..9 {
        history.changed(admit(n, &format!("c{n}")), Origin::Policy, None);
    }
    let head = all(&history).await.chain.head.expect("a head");
    let intruder = rusqlite::Connection::open(machine.dir.path().join("pontoon.db")).expect("a database");
    let edit = |sql: &str| assert!(intruder.execute(sql, []).expect("edited") > 0, "{sql}");
    let broken = |told: audit::History| told.chain.broken.map(|broken| broken.entry);

    edit("UPDATE history SET origin = replace(origin, 'policy', 'ended') WHERE seq = 4");
    assert_eq!(broken(all(&history).await), Some(4));
    edit("UPDATE history SET origin = replace(origin, 'ended', 'policy') WHERE seq = 4");
    assert_eq!(broken(all(&history).await), None);

    edit("DELETE FROM history WHERE seq > 6");
    assert_eq!(broken(all(&history).await), Some(7), "the daemon has written more");
    drop(history);
    let history = machine.boot(&intent(&[(2, "c2")]));
    assert_eq!(broken(all(&history).await), Some(7), "and the next one goes on behind that");
    drop(history);
    edit("DELETE FROM history WHERE seq > 6");
    edit("UPDATE meta SET value = (SELECT seq || ' ' || hash FROM history WHERE seq = 6) WHERE key = 'history head'");
    let history = machine.boot(&intent(&[(2, "c2")]));
    assert_eq!(broken(all(&history).await), None, "nobody is there any more who could know");
    let verify = Question { verify: Some(head.hash), ..Question::default() };
    let told = history.read(verify).await.expect("read");
    assert!(!told.chain.is_whole() && told.chain.verified.is_some_and(|verified| verified.entry.is_none()));
    edit("DELETE FROM history WHERE seq = 3");
    assert_eq!(broken(all(&history).await), Some(3));
}

#[tokio::test]
async fn the_part_that_is_asked_for() {
    let machine = Machine::new(KEPT);
    let history = machine.boot(&intent(&[]));
    for (n, name) in [(2, "web"), (3, "db")] {
        history.changed(admit(n, name), Origin::Policy, None);
    }
    history.changed(admit(2, "www"), Origin::Daemon, None);
    history.changed(Change::Dismiss(id(3)), Origin::Ended, None);
    let told = all(&history).await;
    let time = |n: usize| told.entries[n].time.parse::<jiff::Timestamp>().expect("a time").as_nanosecond() as i64;
    let ask = async |question: Question| {
        let answer = history.read(question).await.expect("read");
        assert_eq!(answer.chain, told.chain, "all of it is checked");
        answer.entries.iter().map(|entry| entry.entry).collect::<Vec<_>>()
    };
    let of = |who: &str| Question { container: Some(who.to_owned()), ..Question::default() };
    for who in ["web", "www", id(2).as_str(), &id(2).as_str()[..6]] {
        assert_eq!(ask(of(who)).await, [2, 4], "{who}");
    }
    assert_eq!(ask(of("db")).await, [3, 5]);
    assert_eq!(ask(of("")).await, [0u64; 0]);
    assert_eq!(ask(Question { since: Some(time(3)), ..of("web") }).await, [4]);
    assert_eq!(ask(Question { until: Some(time(3) - 1), ..of("www") }).await, [2]);
    assert_eq!(ask(Question { limit: Some(2), ..Question::default() }).await, [4, 5]);

    let to = End::Container(id(2));
    let by = By::Publish { address: Ipv4Addr::UNSPECIFIED.into(), port: 8002 };
    let service = Some("80/tcp".parse().expect("service"));
    let opened = history.opening(Edge { from: End::Outside, to, service, by }).await.expect("read").expect("open");
    assert_eq!((opened.opened.entry, opened.opened.request.as_str()), (Some(2), "the restart policy"));
}

#[tokio::test]
async fn who_tampers_in_a_loop_does_not_fill_it() {
    let machine = Machine::new(KEPT);
    let history = machine.boot(&intent(&[]));
    let process = |pid| Some(Process { pid, name: "nft".into() });
    for n in 0..1000 {
        history.tampered(&Tampering {
            what: vec![format!("deleted table {}", n % 30)],
            process: process(7),
            place: Place::Rules,
            repaired: true,
        });
    }
    let told = all(&history).await;
    let repairs: Vec<_> = told
        .entries
        .iter()
        .filter_map(|entry| {
            if let Happening::Repair { what, further, by, .. } = &entry.change {
                Some((what, further, by))
            } else {
                None
            }
        })
        .collect();
    assert!((2..=3).contains(&repairs.len()), "{repairs:?}");
    assert_eq!((repairs[0].0.len(), *repairs[0].1), (1, 0), "the first at once");
    assert_eq!((repairs[1].0.len(), repairs[1].2), (20, &process(7)));
    assert!(*repairs[1].1 > 0);
}
