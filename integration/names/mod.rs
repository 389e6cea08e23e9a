//! Names: what containers hear when they ask their gateway.
//!
//! Questions are put by `dig` and by Debian's C library in the container's network, and by busybox inside it; the LAN
//! neighbour runs dnsmasq, the servers that the host's resolv.conf or `--dns` name.

mod others;
mod own;
mod trouble;

use crate::harness::{Background, Container, Host, Outcome, until};

/// A dnsmasq that knows what its flags say and nothing of the machine that it runs on.
const ON_ITS_OWN: &[&str] = &[
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--user=root",
    "--bind-interfaces",
];

/// What the neighbour's servers know, besides their own flags.
const RECORDS: &[&str] = &[
    "--cache-size=0",
    "--log-queries",
    // Whatever else is asked for is not there.
    "--address=/#/",
    "--host-record=plain.test,192.0.2.80",
    "--host-record=both.test,192.0.2.81,2001:db8::81",
    "--local-ttl=60",
];

/// A name server in the neighbour's network.
struct Upstream<'h> {
    host: &'h Host,
    log: String,
    _process: Background<'h>,
}

impl<'h> Upstream<'h> {
    fn on(host: &'h Host, address: &str, flags: &[&str]) -> Self {
        let log = format!("/run/dnsmasq-{address}.log");
        host.lan()
            .sh(&format!("ip address show to {address} | grep -q . || ip address add {address}/24 dev eth0"))
            .ok();
        let (listen, facility) = (format!("--listen-address={address}"), format!("--log-facility={log}"));
        let process = host.lan().background(&[ON_ITS_OWN, &[&listen, &facility], RECORDS, flags].concat());
        let upstream = Self { host, log, _process: process };
        until("the upstream server answers", || {
            host.itself().sh(&format!("dig +tries=1 +timeout=1 +short @{address} plain.test")).stdout == "192.0.2.80\n"
        });
        upstream
    }

    /// How many questions for a name it has got.
    fn asked(&self, name: &str) -> usize {
        let log = std::fs::read_to_string(self.host.path(&self.log)).unwrap();
        log.lines().filter(|line| line.contains(": query[") && line.contains(&format!(" {name} "))).count()
    }
}

/// The host's resolv.conf becomes this text.
fn host_resolv_conf(host: &Host, text: &str) {
    std::fs::write(host.path("/run/resolv.conf"), text).unwrap();
    host.sh("mountpoint -q /etc/resolv.conf || mount --bind /run/resolv.conf /etc/resolv.conf").ok();
}

/// A host whose resolv.conf names the neighbour.
fn host_with(flags: &[&str]) -> Host {
    let mut host = Host::bare();
    host_resolv_conf(&host, "nameserver 192.0.2.2\n");
    host.start_daemon(flags);
    host
}

/// A program in a container's network, with this machine's files.
fn inside(container: &Container<'_>, words: &str) -> String {
    format!("nsenter --target {} --net {words}", container.pid())
}

/// A `dig` in a container's network, at its gateway.
fn dig(host: &Host, container: &Container<'_>, words: &str) -> Answer {
    Answer::read(&host.sh(&inside(container, &format!("dig @172.17.0.1 +tries=1 +timeout=10 {words}"))).ok())
}

/// What `dig` prints.
#[derive(Debug)]
struct Answer {
    status: String,
    flags: Vec<String>,
    /// `name type data`, sorted.
    records: Vec<String>,
    ttls: Vec<u32>,
    whole: String,
}

impl Answer {
    fn read(said: &str) -> Self {
        let after = |mark: &str, end: char| {
            let begin = said.find(mark).unwrap_or_else(|| panic!("no {mark:?} in:\n{said}")) + mark.len();
            said[begin..].split(end).next().unwrap().to_owned()
        };
        let section = said.split(";; ANSWER SECTION:\n").nth(1).unwrap_or("").split("\n\n").next().unwrap();
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = section.lines().map(fields).filter(|row| row.len() >= 5).collect();
        let mut records: Vec<_> =
            rows.iter().map(|row| format!("{} {} {}", row[0], row[3], row[4..].join(" "))).collect();
        records.sort();
        Self {
            status: after("status: ", ','),
            flags: fields(&after(";; flags: ", ';')),
            records,
            ttls: rows.iter().map(|row| row[1].parse().unwrap()).collect(),
            whole: said.to_owned(),
        }
    }

    #[track_caller]
    fn is(&self, status: &str, records: &[&str]) -> &Self {
        assert!(self.status == status && self.records == records, "should be {status} {records:?}:\n{}", self.whole);
        self
    }
}

/// Debian's C library, with a container's network and resolv.conf.
fn getent(host: &Host, container: &Container<'_>, words: &str) -> Outcome {
    let file = container.inspect("{{.ResolvConfPath}}");
    let script = format!("mount --bind {file} /etc/resolv.conf && getent {words}");
    host.sh(&inside(container, &format!("unshare --mount sh -c '{script}'")))
}

/// The port of the gateway where the daemon listens.
fn names_port(host: &Host) -> u16 {
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    let port: String = store.query_row("SELECT value FROM meta WHERE key = 'dns_port'", [], |row| row.get(0)).unwrap();
    port.parse().unwrap()
}
