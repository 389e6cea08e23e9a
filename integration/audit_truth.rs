//! What others' rules do, as the evaluator says, as the probe finds, and as a connection of a program fares: all the same.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pontoon::model::Protocol;
use pontoon::model::audit::{Cell, Matrix, PartyKind, Service, Verdict, Way};

use crate::harness::packets::within;
use crate::harness::{Answers, Container, Host};

/// How long a connection may take that comes about, on a busy machine; and one that does not.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(500);

struct Stage<'h> {
    host: &'h Host,
    web: Container<'h>,
    db: Container<'h>,
    _answers: Vec<Answers>,
}

impl<'h> Stage<'h> {
    fn of(host: &'h Host) -> Self {
        let db = host.run("busybox").name("db").flags(&["--expose", "5432"]).cmd(&["sleep", "1000"]).start();
        let web = host.run("busybox").name("web").publish("8080:80").publish("127.0.0.1:8081:81");
        let web = web.flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
        let _answers = vec![host.answers_tcp(&db, [5432]), host.answers_tcp(&web, [80, 81])];
        Self { host, web, db, _answers }
    }

    fn netns(&self, matrix: &Matrix, place: usize) -> PathBuf {
        match (matrix.parties[place].kind, matrix.parties[place].name.as_str()) {
            (PartyKind::Container, "web") => self.host.netns_of(&self.web),
            (PartyKind::Container, _) => self.host.netns_of(&self.db),
            (PartyKind::Host, _) => self.host.itself().netns(),
            _ => self.host.lan().netns(),
        }
    }

    /// Tries each flow to a port on which somebody listens. Answers what of the three is not as the others, and what is unknown.
    fn compare(&self, rules: &str) -> (Vec<String>, Vec<String>) {
        self.clear();
        self.host.sh(&format!("nft '{rules}'")).ok();
        let json = self.host.pontoon(&["audit", "matrix", "--probe", "--format", "json"]).ok();
        let matrix: Matrix = serde_json::from_str(&json).unwrap();
        let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
        let name = |place: usize| matrix.parties[place].name.as_str();
        for (cell, port, to) in matrix
            .cells
            .iter()
            .filter_map(|cell| Some((cell, tried(&matrix, cell)?)))
            .map(|(cell, (port, to))| (cell, port, to))
        {
            let said = cell.decider.map(|place| matrix.deciders[place].as_str()).unwrap_or_default();
            let tells = |verdict: Verdict| verdict == Verdict::Allow;
            let patience = if tells(cell.kernel) || cell.probe.is_some_and(tells) { LONG } else { SHORT };
            let comes_about = arrives(&self.netns(&matrix, cell.from), cell.service, port, to, patience);
            let truth = if comes_about { Verdict::Allow } else { Verdict::Deny };
            let words = format!(
                "{} → {} {} by {to}: kernel {:?} ({said}), probe {:?}, truth {truth:?}",
                name(cell.from),
                name(cell.to),
                cell.service,
                cell.kernel,
                cell.probe
            );
            if cell.kernel == Verdict::Unknown {
                unknown.push(words.clone());
            }
            let probed = cell.probe.is_none_or(|probe| probe == truth);
            if !probed || ![truth, Verdict::Unknown].contains(&cell.kernel) {
                let seen = self.host.pontoon(&["audit", "probe", "--from", name(cell.from), "--to", name(cell.to)]);
                wrong.push(format!("{words}\n{seen}"));
            }
        }
        (wrong, unknown)
    }

    /// Takes the rules of before away.
    fn clear(&self) {
        let others = "nft list tables | awk '$3 == \"z\" { print $2 }'";
        self.host.sh(&format!("for family in $({others}); do nft delete table $family z; done")).ok();
    }
}

/// What is tried of a cell: a TCP port on which somebody listens, or the host's names.
fn tried(matrix: &Matrix, cell: &Cell) -> Option<(u16, SocketAddr)> {
    let Service::Ports(ports) = cell.service else { return None };
    let (from, target) = (&matrix.parties[cell.from], &matrix.parties[cell.to]);
    let own = match target.kind {
        PartyKind::Container => *target.addresses.first()?,
        PartyKind::Host if from.kind == PartyKind::Container => IpAddr::from([172, 17, 0, 1]),
        _ => return None,
    };
    let to = match cell.by {
        Way::Publish { host } | Way::Hairpin { host } => SocketAddr::new(host.0, host.1),
        _ => SocketAddr::new(own, ports.first),
    };
    let heard = match target.kind {
        PartyKind::Container => cell.listening == Some(true) && ports.protocol == Protocol::Tcp,
        _ => (ports.first, ports.protocol) == (53, Protocol::Udp),
    };
    heard.then_some((ports.first, to))
}

fn arrives(from: &std::path::Path, service: Service, port: u16, to: SocketAddr, patience: Duration) -> bool {
    let udp = matches!(service, Service::Ports(ports) if ports.protocol == Protocol::Udp);
    let deadline = Instant::now() + patience;
    loop {
        let arrived = if udp { asks_for_a_name(from, to) } else { connects(from, port, to) };
        if arrived || Instant::now() >= deadline {
            return arrived;
        }
    }
}

/// Whoever speaks says its port.
fn connects(from: &std::path::Path, port: u16, to: SocketAddr) -> bool {
    let Ok(mut stream) = within(from, || TcpStream::connect_timeout(&to, SHORT)) else { return false };
    let mut words = String::new();
    let _ = stream.set_read_timeout(Some(LONG));
    let _ = stream.read_to_string(&mut words);
    words.split(' ').next() == Some(port.to_string().as_str())
}

fn asks_for_a_name(from: &std::path::Path, to: SocketAddr) -> bool {
    let socket = within(from, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x02db\0\0\x01\0\x01";
    let asked =
        socket.connect(to).and_then(|()| socket.set_read_timeout(Some(SHORT))).and_then(|()| socket.send(question));
    asked.and_then(|_| socket.recv(&mut [0; 512])).is_ok()
}

#[test]
fn rules_of_others_are_told_as_packets_fare() {
    let host = Host::new();
    let stage = Stage::of(&host);
    let (web, db) = (stage.web.address(), stage.db.address());
    let ip = |chain: &str, rule: &str| format!("table ip z {{ chain c {{ type {chain}; {rule}; }}; }}");
    let output =
        |rules: &str| format!("table inet z {{ chain o {{ type filter hook output priority 0; {rules}; }}; }}");
    let raw = |rule: &str| ip("filter hook prerouting priority -310", rule);
    let late = |rule: &str| ip("filter hook postrouting priority 200", rule);
    let own = |rule: &str| ip("filter hook output priority -320", rule);
    let sure = [
        String::new(),
        // After translation, rules of the same hook see the way out that was before it.
        output("policy drop; oifname \"lo\" accept; ct state established,related accept"),
        output("oifname \"lo\" tcp dport 80 drop"),
        output("oifname \"pontoon0\" tcp dport 81 drop"),
        late("oifname \"pontoon0\" tcp dport 81 drop"),
        // What is forwarded has a time to live.
        raw("iifname \"pontoon0\" ip ttl set 1"),
        raw("iifname \"pontoon0\" ip ttl set 2"),
        late("ip ttl != 63 ip daddr 172.17.0.0/16 drop"),
        // Flows of two zones do not know each other.
        raw("iifname \"pontoon0\" ct zone set 5"),
        raw("ct zone set 5"),
        raw("iifname \"lan0\" ct original zone set 5"),
        raw("iifname \"lan0\" ct reply zone set 5"),
        own(&format!("ip daddr {db} ct zone set 7")),
        // Answers that nobody translates back.
        own(&format!("ip daddr {db} notrack")),
        own(&format!("ip daddr {web} notrack")),
        ip("filter hook forward priority -5", "tcp flags & (syn|ack) == syn|ack drop"),
        // What changes nothing, or hardly anything.
        ip("filter hook forward priority -5", "tcp flags syn tcp option maxseg size set 600"),
        raw("ip dscp set af11 meta priority set 1:1 meta nftrace set 0"),
        raw("meta pkttype set other"),
    ];
    let mut failed = String::new();
    for rules in sure {
        let (wrong, unknown) = stage.compare(&rules);
        if !wrong.is_empty() || !unknown.is_empty() {
            eprintln!("{rules}: {wrong:#?} {unknown:#?}");
            failed += &format!("{rules}\nwrong:\n{}\nunknown:\n{}\n", wrong.join("\n"), unknown.join("\n"));
        }
    }
    // What is not modelled is told by its name.
    let port = "$(ip -json link show master pontoon0 | jq -r .[-1].ifname)";
    let port = host.sh(&format!("echo {port}")).ok();
    let mac = stage.db.inspect("{{.NetworkSettings.MacAddress}}");
    let bridged = format!(
        "table bridge z {{ chain c {{ type filter hook prerouting priority 0; \
         iifname {port} ether type ip ether daddr set {mac}; }}; }}"
    );
    let open = [
        (late(&format!("ip daddr {web} tcp dport 80 tcp dport set 81")), ""),
        (late(&format!("ip saddr {web} tcp sport 80 tcp sport set 81")), ""),
        (ip("filter hook prerouting priority -150", "tcp dport 8080 tcp dport set 8081"), ""),
        (bridged, "the hardware address that a rule writes"),
        (raw("iifname \"pontoon0\" ct zone set tcp dport map { 80 : 1, 81 : 2 }"), ""),
        (raw("ip saddr 172.17.0.0/16 ip checksum set 1"), "the header's checksum that a rule writes"),
        (raw("ip saddr 172.17.0.0/16 @nh,64,8 set 9"), "checksum"),
        (raw("ip saddr 172.17.0.0/16 tcp flags set rst"), "TCP's flags that a rule writes"),
        (ip("filter hook forward priority -5", "ct bytes > 100000000 drop"), "ct bytes"),
        (raw("ip saddr 172.17.0.0/16 tcp option maxseg size 1460 drop"), "TCP's option maxseg"),
        (raw("ip saddr 172.17.0.0/16 ip dscp af11 drop"), "the class of service (dscp)"),
        (raw("ip saddr 172.17.0.0/16 ip length 40 drop"), "the packet's length"),
    ];
    for (rules, name) in open {
        let (wrong, unknown) = stage.compare(&rules);
        let named = name.is_empty() || unknown.iter().any(|words| words.contains(name));
        if !wrong.is_empty() || !named {
            eprintln!("{rules}: {wrong:#?} {unknown:#?}");
            failed += &format!("{rules}\nwrong:\n{}\n{name}:\n{}\n", wrong.join("\n"), unknown.join("\n"));
        }
    }
    stage.clear();
    assert!(failed.is_empty(), "{failed}");
}
