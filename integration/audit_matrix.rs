//! `pontoon audit matrix` and `why`: what they say of every pair is what packets do.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pontoon::model::audit::{Cell, Matrix, PartyKind, Service, Verdict, Way};
use pontoon::model::{PortRange, Protocol};

use crate::harness::packets::within;
use crate::harness::{Answers, Container, Host};

/// How long a packet may take that is to arrive, on a busy machine; and one that is not.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);
/// Attempts at once: nearly all of their time is waiting.
const AT_ONCE: usize = 48;
/// A port that only the neighbour listens on, and one that only the host does.
const AT_LAN: u16 = 7777;
const AT_HOST: u16 = 7070;

/// A host with a dozen containers of all archetypes. Who is listening is known by the port: no two have the same.
struct Stage<'h> {
    host: &'h Host,
    containers: BTreeMap<String, Container<'h>>,
    _answers: Vec<Answers>,
    _listeners: Vec<std::net::TcpListener>,
}

impl<'h> Stage<'h> {
    fn of(host: &'h Host) -> Self {
        let mut containers = BTreeMap::new();
        let mut run = |name: &str, flags: &[&str]| {
            let container = host.run("busybox").name(name).flags(flags).cmd(&["sleep", "1000"]).start();
            containers.insert(name.to_owned(), container);
        };
        run("db", &["--expose", "5432", "--expose", "20000-20019"]);
        run("cache", &["--expose", "6379", "-p", "127.0.0.1:6379:6379", "--expose", "53/udp"]);
        run("web", &["--link", "db:database", "--link", "cache", "-p", "8080:80", "-p", "8443:443"]);
        run("app", &["--link", "web", "-p", "9000-9019:9000-9019"]);
        run("api", &["-p", "192.0.2.1:8100:100", "--link", "db:store"]);
        run("names", &["-p", "5353:5300/udp", "-p", "127.0.0.1:5354:5301/udp"]);
        run("shifted", &["-p", "9100-9119:1100-1119"]);
        run("alone", &[]);
        run("admin", &["--cap-add", "NET_ADMIN", "--expose", "2000-2003", "--link", "alone"]);
        run("friend", &["--link", "admin"]);
        run("closed", &["--network", "none"]);
        run("open", &["--network", "host"]);
        run("joined", &["--network", "container:web"]);
        let tcp: [(&str, Vec<u16>); 9] = [
            ("db", vec![5432, 5433, 20000, 20019]),
            ("cache", vec![6379]),
            ("web", vec![80, 443, 81]),
            ("app", vec![9000, 9001, 9019]),
            ("api", vec![100]),
            ("shifted", vec![1100, 1119]),
            ("alone", vec![3000]),
            ("admin", vec![2000, 2001, 2003]),
            ("closed", vec![4000]),
        ];
        let mut answers: Vec<Answers> =
            tcp.into_iter().map(|(name, ports)| host.answers_tcp(&containers[name], ports)).collect();
        answers.push(host.answers_udp(&containers["cache"], [53]));
        answers.push(host.answers_udp(&containers["names"], [5300, 5301]));
        let listeners = vec![
            host.lan().listens(&format!("192.0.2.2:{AT_LAN}")),
            host.itself().listens(&format!("0.0.0.0:{AT_HOST}")),
        ];
        Self { host, containers, _answers: answers, _listeners: listeners }
    }

    fn matrix(&self) -> Matrix {
        let json = self.host.pontoon(&["audit", "matrix", "--format", "json"]).ok();
        serde_json::from_str(&json).unwrap()
    }

    fn netns(&self, matrix: &Matrix, place: usize) -> PathBuf {
        let party = &matrix.parties[place];
        match party.kind {
            PartyKind::Container => self.host.netns_of(&self.containers[&party.name]),
            PartyKind::Host => self.host.itself().netns(),
            PartyKind::Lan | PartyKind::Bridge | PartyKind::Outside => self.host.lan().netns(),
        }
    }

    /// Each flow of the matrix is tried with real packets. What was said and what was seen, where they are not one.
    fn compare(&self, matrix: &Matrix) -> Vec<String> {
        let netns: Vec<PathBuf> = (0..matrix.parties.len()).map(|place| self.netns(matrix, place)).collect();
        let addresses: BTreeMap<&str, IpAddr> =
            matrix.parties.iter().filter_map(|party| Some((party.name.as_str(), *party.addresses.first()?))).collect();
        let tries: Vec<(&Cell, u16, SocketAddr)> = matrix
            .cells
            .iter()
            .filter(|cell| !matches!(cell.by, Way::Shared))
            .flat_map(|cell| attempts(matrix, cell, &addresses))
            .collect();
        assert!(tries.len() > 500, "a dozen containers have more flows than {}", tries.len());
        let (next, wrong) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
        let work = || {
            while let Some((cell, port, to)) = tries.get(next.fetch_add(1, Ordering::Relaxed)) {
                let allowed = cell.kernel == Verdict::Allow;
                let patience = if allowed { LONG } else { SHORT };
                let arrived = arrives(&netns[cell.from], cell.service, *port, *to, patience);
                if cell.kernel == Verdict::Unknown || arrived != allowed {
                    let name = |place: usize| matrix.parties[place].name.as_str();
                    let said = cell.decider.map(|place| matrix.deciders[place].as_str()).unwrap_or_default();
                    let (from, on) = (name(cell.from), name(cell.to));
                    let words = format!(
                        "{from} → {on} {} by {to}: {:?} ({said}), arrives: {arrived}",
                        cell.service, cell.kernel
                    );
                    wrong.lock().unwrap().push(words);
                }
            }
        };
        std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
        wrong.into_inner().unwrap()
    }
}

/// What of a cell can be tried: ports on which somebody listens, the first and the last of many; and, of a cell on which
/// nobody does, nothing, for nobody would answer.
fn attempts<'m>(
    matrix: &Matrix,
    cell: &'m Cell,
    addresses: &BTreeMap<&str, IpAddr>,
) -> Vec<(&'m Cell, u16, SocketAddr)> {
    let target = &matrix.parties[cell.to];
    let own = match target.kind {
        PartyKind::Host if matrix.parties[cell.from].kind == PartyKind::Lan => Some(IpAddr::from([192, 0, 2, 1])),
        PartyKind::Host => Some(IpAddr::from([172, 17, 0, 1])),
        _ => addresses.get(target.name.as_str()).copied(),
    };
    let Some(own) = own else { return Vec::new() };
    let at = |step: u16, port: u16| match cell.by {
        Way::Publish { host } | Way::Hairpin { host } => SocketAddr::new(host.0, host.1 + step),
        _ => SocketAddr::new(own, port),
    };
    let Service::Ports(ports) = cell.service else { return vec![(cell, 0, SocketAddr::new(own, 0))] };
    let to_neighbour = matches!(target.kind, PartyKind::Lan) && ports.protocol == Protocol::Tcp;
    if to_neighbour && (ports.first..=ports.last).contains(&AT_LAN) {
        return vec![(cell, AT_LAN, SocketAddr::new(own, AT_LAN))];
    }
    let heard = |port: &u16| match target.kind {
        PartyKind::Host => *port == AT_HOST,
        _ => cell.listening == Some(true),
    };
    let mut tried: Vec<u16> = vec![ports.first, ports.last];
    tried.dedup();
    tried.into_iter().filter(heard).map(|port| (cell, port, at(port - ports.first, port))).collect()
}

/// Whether a real packet and its answer arrive, tried until it does.
fn arrives(from: &Path, service: Service, port: u16, to: SocketAddr, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let arrived = match service {
            Service::Echo => pings(from, to.ip()),
            Service::Ports(PortRange { protocol: Protocol::Udp, .. }) => asks_udp(from, port, to),
            Service::Ports(_) => connects(from, port, to),
        };
        if arrived || Instant::now() >= deadline {
            return arrived;
        }
    }
}

/// Whoever speaks says its port; who does not is known by having been connected to.
fn connects(from: &Path, port: u16, to: SocketAddr) -> bool {
    let Ok(mut stream) = within(from, || TcpStream::connect_timeout(&to, SHORT)) else { return false };
    if matches!(port, AT_LAN | AT_HOST) {
        return true;
    }
    let mut words = String::new();
    let _ = stream.set_read_timeout(Some(LONG));
    let _ = stream.read_to_string(&mut words);
    words.split(' ').next() == Some(port.to_string().as_str())
}

fn asks_udp(from: &Path, port: u16, to: SocketAddr) -> bool {
    let Ok(socket) = within(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))) else { return false };
    let mut buffer = [0; 512];
    let asked =
        socket.connect(to).and_then(|()| socket.set_read_timeout(Some(SHORT))).and_then(|()| socket.send(b"ping"));
    let Ok(length) = asked.and_then(|_| socket.recv(&mut buffer)) else { return false };
    String::from_utf8_lossy(&buffer[..length]).starts_with(&format!("{port} "))
}

fn pings(from: &Path, to: IpAddr) -> bool {
    let mut ping = std::process::Command::new("nsenter");
    ping.arg(format!("--net={}", from.display())).args(["busybox", "ping", "-c", "1", "-W", "1", &to.to_string()]);
    ping.output().is_ok_and(|output| output.status.success())
}

#[track_caller]
fn same(stage: &Stage<'_>) -> Matrix {
    let matrix = stage.matrix();
    let wrong = stage.compare(&matrix);
    assert!(wrong.is_empty(), "{} flows:\n{}", wrong.len(), wrong.join("\n"));
    matrix
}

fn kinds(matrix: &Matrix) -> Vec<&str> {
    matrix.findings.iter().map(|finding| finding.kind.as_str()).collect()
}

#[test]
fn every_pair_with_icc() {
    let host = Host::new();
    let matrix = same(&Stage::of(&host));
    assert_eq!(matrix.findings, [], "nothing is found on a clean host");
}

#[test]
fn every_pair_without_icc() {
    let host = Host::with(&["--icc=false"]);
    let stage = Stage::of(&host);
    let matrix = same(&stage);
    assert_eq!(matrix.findings, [], "nothing is found on a clean host");
    let by = |way: &Way| matrix.cells.iter().any(|cell| cell.by == *way && cell.kernel == Verdict::Allow);
    assert!(by(&Way::Link { alias: "database".to_owned() }), "the link is a way");

    // In a container's own namespace: rules of its own, which tell the ports of a row apart.
    let admin = format!("nsenter --net=/proc/{}/ns/net nft", stage.containers["admin"].pid());
    host.sh(&format!(
        "{admin} 'table ip mine {{ chain i {{ type filter hook input priority 0; \
         tcp dport 2001-2002 drop comment \"not these\"; }}; }}'"
    ))
    .ok();
    let matrix = same(&stage);
    assert!(matrix.deciders.iter().any(|by| by.contains("inside of admin") && by.contains("\"not these\"")));
    assert_eq!(kinds(&matrix), ["blocked-though-allowed"]);
}

#[test]
fn every_pair_with_others_tables() {
    let host = Host::with(&["--icc=false", "--host-access=false"]);
    let stage = Stage::of(&host);
    // Somebody accepts, somebody drops, somebody translates, somebody marks, and somebody routes by the mark.
    host.sh(
        "nft 'table inet others { \
           chain early { type filter hook forward priority -10; tcp dport 5432 accept; ip saddr 192.0.2.0/24 accept; }; \
           chain late { type filter hook forward priority 10; tcp dport 443 drop comment \"no TLS\"; \
                        meta mark 7 drop comment \"marked\"; }; \
           chain marks { type filter hook prerouting priority -150; tcp dport 9001-9003 meta mark set 7; }; \
           chain back { type filter hook forward priority 20; tcp sport 100 drop comment \"no answers\"; }; }; \
         table ip leads { chain p { type nat hook prerouting priority -110; \
           tcp dport 8080 ip daddr 192.0.2.1 dnat to 192.0.2.1:8443 comment \"elsewhere\"; }; }'",
    )
    .ok();
    let matrix = same(&stage);
    let found: String = matrix.findings.iter().map(|finding| finding.what.clone() + "\n").collect();
    for named in ["\"no TLS\"", "\"marked\"", "\"no answers\"", "\"elsewhere\""] {
        assert!(found.contains(named), "{named}: {found}");
    }
    assert!(found.contains("somebody else's rule"), "{found}");
    assert!(!kinds(&matrix).contains(&"passes-though-denied"), "who accepts cannot undo what we drop: {found}");
    host.sh("nft 'delete table inet others; delete table ip leads'").ok();
    assert_eq!(stage.matrix().findings, []);
}

#[test]
fn why_says_who_opened_it_and_what_forbids_it() {
    let host = Host::with(&["--icc=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "5432"]).cmd(&["sleep", "1000"]).start();
    let _web = host.run("busybox").name("web").flags(&["--link", "db:database"]).publish("8080:80").serving().start();
    let why = |words: &[&str]| host.pontoon(&[&["audit", "why"][..], words].concat());

    let link = why(&["web", "db", "5432/tcp"]);
    assert_eq!(link.code, 0, "{link}");
    for words in [
        "web may reach db on 5432/tcp: the link database opens it.",
        "--link db:database",
        &format!("@linked {{ 172.17.0.3 . {} . tcp . 5432 }}", db.address()),
        "to_containers handle",
        "/containers/create",
        "uid 0",
    ] {
        assert!(link.stdout.contains(words), "{words}: {link}");
    }
    let back = why(&["db", "web", "tcp/80"]);
    assert_eq!(back.code, 0, "by the published port: {back}");
    assert!(back.stdout.contains("hairpin 172.17.0.1:8080") && back.stdout.contains("-p 8080:80"), "{back}");
    let no = why(&["db", "web", "81"]);
    assert_eq!(no.code, 1, "{no}");
    assert!(no.stdout.starts_with("db may not reach web on 81/tcp: --icc=false, and no link opens it."), "{no}");
    assert!(no.stdout.contains("pontoon-pontoon0 icc handle") && no.stdout.contains("packets"), "{no}");
    assert_eq!(why(&["lan", "web", "80"]).code, 0);
    assert_eq!(why(&["192.0.2.77", "web", "80"]).code, 0, "anybody on the LAN");
    assert_eq!(why(&["lan", "db"]).code, 1);

    let unknown = why(&["web", "nobody", "80"]);
    assert_eq!(unknown.code, 2, "{unknown}");
    assert!(unknown.stderr.contains("\"nobody\"") && unknown.stderr.contains("db, web, host, lan"), "{unknown}");
    assert_eq!(why(&["web", "db", "80/icmp"]).code, 2);

    // Of what is published on another address, each port is told by itself; what is not known is not made up.
    host.run("busybox")
        .name("inner")
        .publish("127.0.0.1:9002:90")
        .flags(&["--expose", "91"])
        .cmd(&["sleep", "9"])
        .start();
    let inner = why(&["lan", "inner", "91"]);
    assert!(inner.code == 1 && !inner.stdout.contains("9002"), "{inner}");
    for words in [["host", "db", "5432"], ["lan", "inner", "90"]] {
        let said = why(&words);
        assert!(!said.stdout.contains("0.0.0.0 ") && !said.stdout.contains("by :"), "{said}");
    }
    for verb in ["log", "history"] {
        let said = host.pontoon(&["audit", verb, "--container", "nobody"]);
        assert!(said.code != 0 && said.stderr.contains("nobody"), "{verb}: {said}");
    }

    // The packet that it names is a question that explain answers alike.
    let json: serde_json::Value = serde_json::from_str(&why(&["web", "db", "5432", "--format", "json"]).ok()).unwrap();
    let packet = json["ways"][0]["packet"].as_str().unwrap();
    let explained = host.pontoon(&["audit", "explain", packet]);
    assert_eq!(explained.code, 0, "{explained}");
    assert!(explained.stdout.contains("172.17.0.3 . 172.17.0.2 . tcp . 5432 of linked"), "{explained}");
}

/// What is asked, of which container, and the answer's exit code and words.
#[track_caller]
fn says(host: &Host, words: &[&str], code: i32, said: &[&str]) {
    let answer = host.pontoon(&[&["audit"][..], words].concat());
    assert_eq!(answer.code, code, "{words:?}: {answer}");
    for word in said {
        assert!(answer.stdout.contains(word), "{words:?}: {word}: {answer}");
    }
}

#[test]
fn names_ranges_and_packets_without_a_port_are_as_packets_fare() {
    let host = Host::with(&["--icc=false"]);
    let flags = ["--expose", "9200-9220/udp", "--expose", "9000-9039"];
    let rng = host.run("busybox").name("rng").flags(&flags).cmd(&["sleep", "1000"]).start();
    let both = host.run("busybox").name("both").flags(&["--link", "rng"]).cmd(&["sleep", "1000"]).start();
    let _joined =
        host.run("busybox").name("joined").flags(&["--network", "container:rng"]).cmd(&["sleep", "9"]).start();

    // Names are asked for at port 53, and answered elsewhere.
    for service in ["53/udp", "53/tcp"] {
        says(&host, &["why", "both", "host", service], 0, &["both may reach host"]);
    }
    // A packet of no port is from a program's; the line that `why` prints says what `why` says.
    says(&host, &["why", "both", "rng", "9200/udp"], 0, &[]);
    let packet = format!("src={} dst={} proto=udp dport=9200", both.address(), rng.address());
    says(&host, &["explain", &packet], 0, &["ACCEPT", "sport=32768-60999"]);
    says(&host, &["explain", &format!("{packet} sport=67")], 1, &["DROP"]);
    // What stays within a namespace is no packet of the host's.
    let joined = host.pontoon(&["audit", "why", "rng", "joined", "9000/tcp"]);
    assert!(joined.code == 0 && !joined.stdout.contains("packet "), "{joined}");

    // A range names the rule that a single port names.
    host.sh("nft 'table inet z { chain f { type filter hook forward priority 250; drop; }; }'").ok();
    for ports in ["9200-9220/udp", "9210/udp"] {
        says(&host, &["why", "both", "rng", ports], 1, &["inet z f handle"]);
    }
    host.sh("nft delete table inet z").ok();
    // All of a range is led to one port.
    host.sh(&format!(
        "nft 'table ip z {{ chain o {{ type nat hook output priority -90; \
         ip daddr {} meta l4proto tcp dnat to :5432; }}; }}'",
        rng.address()
    ))
    .ok();
    for ports in ["9000-9039/tcp", "9010/tcp"] {
        says(&host, &["why", "host", "rng", ports], 1, &["ip z o handle", "5432"]);
    }
    host.sh("nft delete table ip z").ok();
}

#[test]
fn whither_others_routes_lead() {
    let host = Host::with(&["--icc=false"]);
    let web = host.run("busybox").name("web").flags(&["--expose", "80"]).cmd(&["sleep", "1000"]).start();
    let app = host.run("busybox").name("app").flags(&["--link", "web"]).cmd(&["sleep", "1000"]).start();
    host.sh("ip link add other type veth peer name beyond && ip addr add 198.51.100.1/24 dev other && \
         ip link set other up && ip link set beyond up")
        .ok();
    host.sh("ip route replace default via 192.0.2.2").ok();
    says(&host, &["why", "app", "outside", "443/tcp"], 0, &[]);
    // A way out that no rule asks for leads nowhere; one that a rule asks for leads outside, too.
    host.sh("ip route add default via 198.51.100.2 table 100").ok();
    says(&host, &["why", "app", "outside", "443/tcp"], 0, &[]);
    host.sh(&format!("ip rule add from {} lookup 100", app.address())).ok();
    says(&host, &["why", "app", "outside", "443/tcp"], 0, &[]);
    says(&host, &["why", "web", "outside", "443/tcp"], 0, &[]);
    host.sh(&format!("ip rule del from {} lookup 100", app.address())).ok();

    says(&host, &["why", "app", "web", "80/tcp"], 0, &[]);
    // The answer is routed elsewhere: for all, or by a mark.
    host.sh(&format!("ip route add {}/32 via 192.0.2.2", app.address())).ok();
    says(&host, &["why", "app", "web", "80/tcp"], 1, &["it leaves by", "(the answer)"]);
    host.sh(&format!("ip route del {}/32", app.address())).ok();
    host.sh(&format!(
        "nft 'table ip m {{ chain p {{ type filter hook prerouting priority mangle; ip saddr {} meta mark set 5; }}; }}'; \
         ip rule add fwmark 5/0xff lookup 100",
        web.address()
    ))
    .ok();
    says(&host, &["why", "app", "web", "80/tcp"], 1, &["it leaves by other instead (the answer)"]);
    host.sh("nft delete table ip m; ip rule del fwmark 5/0xff lookup 100").ok();

    // Where nobody need have the address that a packet is sent from.
    host.sh(&format!(
        "nft 'table ip s {{ chain p {{ type nat hook postrouting priority 90; ip saddr {} oifname other snat to 198.51.100.77; }}; }}'",
        app.address()
    ))
    .ok();
    says(&host, &["why", "app", "198.51.100.2", "443/tcp"], 2, &["who has 198.51.100.77"]);
    host.sh("nft delete table ip s; ip link del other; ip route del default").ok();
}

/// The LAN's interface is a port of the operator's bridge, so that who is there is a neighbour of containers.
#[test]
fn neighbours_on_an_operators_bridge_are_parties() {
    let mut host = Host::bare();
    host.bridge_the_lan();
    host.start_daemon(&["--bridge", "br7", "--fixed-cidr", "192.0.2.128/25", "--icc=false"]);
    let web = host.run("busybox").name("web").publish("8080:80").serving().start();
    let _answers = host.answers_tcp(&web, [81]);
    let _listens = host.lan().listens(&format!("192.0.2.2:{AT_LAN}"));
    let matrix =
        || -> Matrix { serde_json::from_str(&host.pontoon(&["audit", "matrix", "--format", "json"]).ok()).unwrap() };
    let why = |words: &[&str]| host.pontoon(&[&["audit", "why"][..], words].concat());
    let reaches = |port: u16| within_reach(&host, &format!("{}:{port}", web.address()));

    let parties = |direct: Verdict| {
        let all = matrix();
        let guest = all.party("bridge:lan0").expect("who is behind the port is a party");
        assert_eq!((all.parties[guest].kind, all.findings.as_slice()), (PartyKind::Bridge, [].as_slice()));
        let web_at = all.party("web").unwrap();
        let cells = all.cells.iter().filter(|cell| (cell.from, cell.to) == (guest, web_at));
        let told: Vec<(Service, Way, Verdict)> =
            cells.map(|cell| (cell.service, cell.by.clone(), cell.kernel)).collect();
        let hairpin = Way::Hairpin { host: ([192, 0, 2, 1].into(), 8080) };
        for (service, way, verdict) in [
            ("80/tcp", Way::Direct, direct),
            ("80/tcp", hairpin, Verdict::Allow),
            ("81/tcp", Way::Direct, direct),
            ("icmp", Way::Direct, direct),
        ] {
            let service: Service = service.parse().unwrap();
            assert!(told.contains(&(service, way.clone(), verdict)), "{service} {way:?} {verdict:?}: {told:?}");
        }
    };
    // Where ip's rules see what is bridged (br_netfilter), they keep neighbours and containers apart like containers.
    host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1").ok();
    parties(Verdict::Deny);
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert!(!reaches(80) && !reaches(81), "as packets do");
    host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0").ok();
    parties(Verdict::Allow);
    assert!(reaches(80) && reaches(81), "as packets do");
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    assert_eq!(host.itself().get("http://127.0.0.1:8080/"), "hello", "as the matrix has it: no finding");

    // Whoever asks: who stands for all, one whom the kernel has met, and one whom it has not.
    for who in ["bridge:lan0", "192.0.2.2", "192.0.2.77"] {
        assert_eq!(why(&[who, "web", "81"]).code, 0, "{who}: {}", why(&[who, "web", "81"]));
        assert_eq!(why(&["web", who, "7777"]).code, 0, "{who}: {}", why(&["web", who, "7777"]));
    }
    assert!(host.pontoon(&["audit", "lint"]).stdout.contains("bridge-shared: who is behind lan0"));
    let probe = host.pontoon(&["audit", "probe"]);
    assert!(probe.code == 0 && probe.stdout.contains("bridge:lan0"), "{probe}");

    // It is the operator's to keep them apart, which is no disagreement.
    host.sh("nft 'table bridge mine { chain f { type filter hook forward priority 0; \
         iifname \"lan0\" tcp dport 81 drop comment \"not 81\"; }; }'")
        .ok();
    let no = why(&["bridge:lan0", "web", "81"]);
    assert!(no.code == 1 && no.stdout.contains("\"not 81\""), "{no}");
    assert!(!reaches(81) && reaches(80), "as packets do");
    assert_eq!(matrix().findings, []);
    host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1").ok();
    host.pontoon(&["audit", "drift"]).ok();

    // The outside is behind that port, too, where the gateway is; a rule asks by which port frames leave.
    let control = why(&["web", "outside", "80"]);
    assert_eq!(control.code, 2, "there is no outside: {control}");
    host.sh("ip route add default via 192.0.2.2 && busybox ping -c 1 192.0.2.2 && \
         nft 'table bridge mine { chain p { type filter hook postrouting priority 0; oifname \"lan0\" counter; }; }'")
        .ok();
    for words in [["web", "outside", "80"], ["outside", "web", "80"], ["host", "outside", "80"]] {
        assert_eq!(why(&words).code, 0, "{}", why(&words));
    }
    host.sh("nft delete table bridge mine").ok();
}

/// Whether the neighbour's connection comes about.
fn within_reach(host: &Host, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    within(&host.lan().netns(), || TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok())
}
