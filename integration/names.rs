//! Names: what containers hear when they ask their gateway.
//!
//! Questions are put by `dig` and by Debian's C library in the container's network, and by busybox inside it; the LAN
//! neighbour runs dnsmasq, the servers that the host's resolv.conf or `--dns` name.

use crate::harness::{Background, Cli, Container, Host, until};

/// What the neighbour's servers know, besides their own flags.
const RECORDS: &[&str] = &[
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--user=root",
    "--bind-interfaces",
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
        let process = host.lan().background(&[&["dnsmasq", &listen, &facility], RECORDS, flags].concat());
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

#[test]
fn a_container_knows_its_own_name_and_nobody_else_does() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    for cli in Cli::BOTH {
        let flags = ["--domainname", "example.org", "--add-host", "gate:host-gateway", "--add-host", "six:2001:db8::6"];
        let web =
            host.run("busybox").by(cli).name("web").hostname("front").flags(&flags).cmd(&["sleep", "1000"]).start();
        let other = host.run("busybox").by(cli).name("other").cmd(&["sleep", "1000"]).start();
        let address = web.address();
        for (asked, name) in [("front", "front."), ("FRONT.Example.Org", "FRONT.Example.Org.")] {
            let answer = dig(&host, &web, asked);
            answer.is("NOERROR", &[&format!("{name} A {address}")]);
            assert_eq!(answer.ttls, [0]);
            assert_eq!(answer.flags, ["qr", "aa", "rd", "ra"]);
        }
        dig(&host, &web, "gate").is("NOERROR", &["gate. A 172.17.0.1"]);
        dig(&host, &web, "six AAAA").is("NOERROR", &["six. AAAA 2001:db8::6"]);
        // NODATA: the name is there, addresses of that kind are not.
        let nothing = dig(&host, &web, "front AAAA");
        assert!(nothing.is("NOERROR", &[]).whole.contains("SOA"), "{nothing:?}");
        dig(&host, &web, "front MX").is("NOERROR", &[]);
        // Backwards.
        let back = |address: &str| address.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa.";
        let (own, gateway) = (back(&address), back("172.17.0.1"));
        dig(&host, &web, &format!("-x {address}")).is("NOERROR", &[&format!("{own} PTR front.example.org.")]);
        dig(&host, &web, "-x 172.17.0.1").is("NOERROR", &[&format!("{gateway} PTR gate.")]);
        dig(&host, &web, &format!("-x {}", other.address())).is("NXDOMAIN", &[]);

        // To the other they are names of nobody, or of whoever the upstream server says.
        for name in ["front", "front.example.org", "web", "gate"] {
            let before = upstream.asked(name);
            let answer = dig(&host, &other, name);
            assert!(answer.records.is_empty() && answer.status != "NOERROR", "{answer:?}");
            assert!(upstream.asked(name) > before, "{name} was handed on");
        }
        dig(&host, &other, &format!("-x {address}")).is("NXDOMAIN", &[]);
        assert_eq!(upstream.asked("2.0.17.172.in-addr.arpa"), 0, "what is ours is nobody else's business");

        // Inside, by the container's own library and files.
        for name in ["front", "gate"] {
            web.exec(&["nslookup", name]).ok();
        }
        web.exec(&["nslookup", "plain.test"]).ok();
        host.docker(&["rm", "--force", "web", "other"]).ok();
    }
}

#[test]
fn a_link_s_names_follow_its_target_and_are_its_source_s_only() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &["--host-record=db,192.0.2.99"]);
    let db = host.run("busybox").name("postgres").hostname("store").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").name("web").flags(&["--link", "postgres:db"]).cmd(&["sleep", "1000"]).start();
    let other = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let first = db.address();
    for name in ["db", "DB", "store", "postgres"] {
        dig(&host, &web, name).is("NOERROR", &[&format!("{name}. A {first}")]);
    }
    let back = first.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa.";
    dig(&host, &web, &format!("-x {first}")).is("NOERROR", &[&format!("{back} PTR db.")]);
    assert_eq!(upstream.asked("db"), 0);
    // The other hears what everybody hears.
    dig(&host, &other, "db").is("NOERROR", &["db. A 192.0.2.99"]);
    dig(&host, &other, "store").is("NXDOMAIN", &[]);
    dig(&host, &db, "web").is("NXDOMAIN", &[]);

    // Its address goes to somebody else; until it is back its alias is nobody, and nobody else's.
    db.verb(&["stop", "--time", "0"]).ok();
    dig(&host, &web, "db").is("NXDOMAIN", &[]);
    let thief = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let _more: Vec<_> = (0..3).map(|_| host.run("busybox").cmd(&["sleep", "1000"]).start()).collect();
    dig(&host, &web, "db").is("NXDOMAIN", &[]);
    db.verb(&["start"]).ok();
    let second = db.address();
    assert!(second != first && second != thief.address(), "{second} {first}");
    dig(&host, &web, "db").is("NOERROR", &[&format!("db. A {second}")]);

    host.docker(&["rename", "postgres", "mysql"]).ok();
    dig(&host, &web, "mysql").is("NOERROR", &[&format!("mysql. A {second}")]);
    host.docker(&["rm", "--link", "/web/db"]).ok();
    dig(&host, &web, "db").is("NOERROR", &["db. A 192.0.2.99"]);
    dig(&host, &web, "store").is("NXDOMAIN", &[]);
}

#[test]
fn other_names_are_handed_on() {
    let host = host_with(&[]);
    let long: Vec<_> = (0..12).map(|at| format!("--txt-record=long.test,{at}{}", "x".repeat(200))).collect();
    let long: Vec<_> = long.iter().map(String::as_str).collect();
    let _upstream = Upstream::on(&host, "192.0.2.2", &long);
    let web = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let ask = |words: &str| dig(&host, &web, words);

    let plain = ask("plain.test");
    plain.is("NOERROR", &["plain.test. A 192.0.2.80"]);
    assert!(plain.flags.contains(&"ra".to_owned()), "{plain:?}");
    ask("PLAIN.Test").is("NOERROR", &["PLAIN.Test. A 192.0.2.80"]);
    ask("both.test AAAA").is("NOERROR", &["both.test. AAAA 2001:db8::81"]);
    ask("both.test AAAA +tcp").is("NOERROR", &["both.test. AAAA 2001:db8::81"]);
    ask("plain.test AAAA").is("NOERROR", &[]);
    ask("nobody.test").is("NXDOMAIN", &[]);
    ask("-x 192.0.2.80").is("NOERROR", &["80.2.0.192.in-addr.arpa. PTR plain.test."]);

    // With EDNS and without, as asked; an unknown version is said to be one.
    assert!(ask("plain.test").whole.contains("; EDNS: version: 0, flags:; udp: 1232"));
    assert!(ask("plain.test +dnssec").whole.contains("flags: do;"));
    assert!(!ask("plain.test +noedns").whole.contains("EDNS"));
    ask("plain.test +edns=1 +noednsnegotiation").is("BADVERS", &[]);

    // Cut off over UDP, whole over TCP, to which a client turns by itself.
    for words in ["long.test TXT +ignore", "long.test TXT +ignore +noedns"] {
        let cut = ask(words);
        assert!(cut.flags.contains(&"tc".to_owned()) && cut.records.len() < 12, "{cut:?}");
    }
    let whole = ask("long.test TXT");
    assert!(whole.whole.contains("retrying in TCP mode") && whole.records.len() == 12, "{whole:?}");
    web.exec(&["nslookup", "-type=txt", "long.test"]).ok();
    // Nor is it lost where the server says no more: asked without EDNS, it is another question.
    host.lan().sh("nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 53 drop'").ok();
    let cut = ask("LONG.test TXT +noedns +ignore +cdflag");
    assert!(cut.flags.contains(&"tc".to_owned()) && !cut.records.is_empty(), "{cut:?}");
    let cut = ask("LONG.test TXT +noedns +tcp +cdflag");
    assert!(cut.flags.contains(&"tc".to_owned()), "{cut:?}");

    ask("plain.test +opcode=STATUS").is("NOTIMP", &[]);
    ask("version.bind CH TXT").is("REFUSED", &[]);
    let axfr = host.sh(&inside(&web, "dig @172.17.0.1 +tries=1 test AXFR"));
    assert!(axfr.stdout.contains("Transfer failed"), "{axfr}");
}

#[test]
fn without_a_server_that_answers_it_is_a_failure_and_not_a_name_that_is_not_there() {
    let mut host = Host::bare();
    host_resolv_conf(&host, "# nobody\n");
    host.start_daemon(&[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    dig(&host, &web, "plain.test").is("SERVFAIL", &[]);
    // Nobody listens there.
    host_resolv_conf(&host, "nameserver 192.0.2.2\n");
    dig(&host, &web, "plain.test").is("SERVFAIL", &[]);
    // Somebody, who says nothing.
    host.lan().sh("nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i ip daddr 192.0.2.2 drop'").ok();
    dig(&host, &web, "plain.test").is("SERVFAIL", &[]);
    dig(&host, &web, "web").is("NOERROR", &[&format!("web. A {}", web.address())]);
    // The next server is asked; and a server that comes back is asked again.
    let second = Upstream::on(&host, "192.0.2.3", &[]);
    host_resolv_conf(&host, "nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
    until("the change is seen", || dig(&host, &web, "plain.test").status == "NOERROR");
    assert!(second.asked("plain.test") > 1);
}

#[test]
fn the_servers_are_those_that_the_host_names_at_the_moment() {
    let host = host_with(&[]);
    let _first = Upstream::on(&host, "192.0.2.2", &["--host-record=who.test,192.0.2.2"]);
    let _second = Upstream::on(&host, "192.0.2.3", &["--host-record=who.test,192.0.2.3"]);
    let web = host.run("busybox").cmd(&["sleep", "1000"]).start();
    dig(&host, &web, "who.test").is("NOERROR", &["who.test. A 192.0.2.2"]);
    host_resolv_conf(&host, "nameserver 192.0.2.3\n");
    until("the other server is asked", || dig(&host, &web, "who.test").records == ["who.test. A 192.0.2.3"]);
    // The host's loopback is the daemon's too.
    let _resolved = host.itself().background(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--bind-interfaces",
        "--listen-address=127.0.0.53",
        "--host-record=who.test,192.0.2.53",
    ]);
    host_resolv_conf(&host, "nameserver 127.0.0.53\n");
    until("the host's own server is asked", || dig(&host, &web, "who.test").records == ["who.test. A 192.0.2.53"]);
}

#[test]
fn dns_names_the_servers_of_one_container() {
    let host = host_with(&["--dns", "192.0.2.4"]);
    let first = Upstream::on(&host, "192.0.2.2", &["--host-record=who.test,192.0.2.2"]);
    let _second = Upstream::on(&host, "192.0.2.3", &["--host-record=who.test,192.0.2.3"]);
    let _third = Upstream::on(&host, "192.0.2.4", &["--host-record=who.test,192.0.2.4"]);
    for cli in Cli::BOTH {
        let named =
            |server: &str| host.run("busybox").by(cli).flags(&["--dns", server]).cmd(&["sleep", "1000"]).start();
        let (one, other) = (named("192.0.2.2"), named("192.0.2.3"));
        let daemons = host.run("busybox").by(cli).cmd(&["sleep", "1000"]).start();
        // Again and again: what one has been told is not for the other.
        for _ in 0..2 {
            dig(&host, &one, "who.test").is("NOERROR", &["who.test. A 192.0.2.2"]);
            dig(&host, &other, "who.test").is("NOERROR", &["who.test. A 192.0.2.3"]);
            dig(&host, &daemons, "who.test").is("NOERROR", &["who.test. A 192.0.2.4"]);
        }
        // The container's own loopback is asked by itself.
        let own = host.run("busybox").by(cli).flags(&["--dns", "127.0.0.1"]).cmd(&["cat", "/etc/resolv.conf"]).once();
        assert_eq!(own.ok(), "nameserver 127.0.0.1");
    }
    assert_eq!(first.asked("who.test"), 1, "and remembered");
}

#[test]
fn search_domains_and_options_are_the_container_s_library_s() {
    let host = host_with(&[]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &["--host-record=deep.sub.example.test,192.0.2.70"]);
    for cli in Cli::BOTH {
        let flags = ["--dns-search", "example.test", "--dns-option", "ndots:2", "--add-host", "here:192.0.2.9"];
        let web = host.run("busybox").by(cli).flags(&flags).cmd(&["sleep", "1000"]).start();
        let said = getent(&host, &web, "ahostsv4 deep.sub").ok();
        assert!(said.starts_with("192.0.2.70 "), "{said}");
        // busybox reads its hosts file; dig does not.
        assert!(web.exec(&["ping", "-c1", "-W1", "here"]).stdout.contains("192.0.2.9"));
        dig(&host, &web, "here").is("NOERROR", &["here. A 192.0.2.9"]);
    }
}

/// Debian's C library, with a container's network and resolv.conf.
fn getent(host: &Host, container: &Container<'_>, words: &str) -> crate::harness::Outcome {
    let file = container.inspect("{{.ResolvConfPath}}");
    let script = format!("mount --bind {file} /etc/resolv.conf && getent {words}");
    host.sh(&inside(container, &format!("unshare --mount sh -c '{script}'")))
}

#[test]
fn what_has_been_asked_is_remembered_as_long_as_it_holds() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &["--host-record=short.test,192.0.2.90,1"]);
    let [one, other] = [(), ()].map(|()| host.run("busybox").cmd(&["sleep", "1000"]).start());
    dig(&host, &one, "both.test");
    let again = dig(&host, &other, "Both.test");
    assert!(again.ttls[0] <= 60, "{again:?}");
    assert_eq!(upstream.asked("both.test"), 1);
    dig(&host, &one, "both.test AAAA");
    assert_eq!(upstream.asked("both.test"), 2, "another question");
    until("what has run out is asked anew", || {
        dig(&host, &one, "short.test").is("NOERROR", &["short.test. A 192.0.2.90"]);
        upstream.asked("short.test") > 1
    });
}

#[test]
fn who_is_no_container_is_refused() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    dig(&host, &web, "web").is("NOERROR", &[&format!("web. A {}", web.address())]);
    let port = names_port(&host);
    let before = upstream.asked("plain.test");
    for name in ["web", "plain.test"] {
        let said = host.sh(&format!("dig @172.17.0.1 -p {port} +tries=1 +timeout=5 {name}")).ok();
        Answer::read(&said).is("REFUSED", &[]);
    }
    assert_eq!(upstream.asked("plain.test"), before);
}

/// A neighbour that uses a container's address could have answers sent there, and take up the container's places.
#[test]
fn who_has_a_container_s_address_and_does_not_come_by_the_bridge_is_nobody() {
    let host = host_with(&[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let (address, port) = (web.address(), names_port(&host));
    host.lan().sh(&format!("ip address add {address}/32 dev eth0 && ip route add 172.17.0.1 via 192.0.2.1")).ok();
    let capture = |file: &str, place: &str, filter: &str| {
        let words =
            [&["nsenter", "--target", place, "--net", "tcpdump", "-n", "-i", "any", "-U", "-w", file], &[filter][..]]
                .concat();
        let capture = host.itself().background(&words);
        until("the capture has begun", || host.path(file).metadata().is_ok_and(|file| file.len() >= 24));
        capture
    };
    let heard = |file: &str| host.sh(&format!("tcpdump -n -r {file} 2>&-")).stdout.lines().count();
    let own = web.pid().to_string();
    let _asked = capture("/run/asked", "1", &format!("udp and dst port {port} and src {address}"));
    let _answered = capture("/run/answered", &own, &format!("udp and src host 172.17.0.1 and dst host {address}"));
    let ask = format!("dig -b {address}#4711 @172.17.0.1 -p {port} +tries=1 +timeout=1 web");
    until("the questions arrive", || {
        host.lan().sh(&ask);
        heard("/run/asked") > 2
    });
    // The control: the container's own question, with the same address and port, is answered, and seen to be.
    let before = heard("/run/answered");
    until("an answer is seen", || {
        dig(&host, &web, "web").is("NOERROR", &[&format!("web. A {address}")]);
        heard("/run/answered") > before
    });
    assert_eq!(before, 0, "answers to questions that the container did not ask");
}

#[test]
fn names_are_answered_where_all_else_is_closed() {
    let host = host_with(&["--icc=false", "--host-access=false"]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    for protocol in ["+notcp", "+tcp"] {
        dig(&host, &web, &format!("web {protocol}")).is("NOERROR", &[&format!("web. A {}", web.address())]);
        dig(&host, &web, &format!("plain.test {protocol}")).is("NOERROR", &["plain.test. A 192.0.2.80"]);
    }
}

/// The port of the gateway where the daemon listens.
fn names_port(host: &Host) -> u16 {
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    let port: String = store.query_row("SELECT value FROM meta WHERE key = 'dns_port'", [], |row| row.get(0)).unwrap();
    port.parse().unwrap()
}

#[test]
fn a_flood_of_one_container_is_not_the_others_trouble() {
    let host = host_with(&[]);
    let upstream = Upstream::on(&host, "192.0.2.2", &[]);
    // Its own server takes questions and says nothing: each waits as long as any may.
    host.lan()
        .sh("ip address add 192.0.2.5/24 dev eth0 && nft 'add table ip t
             add chain ip t i { type filter hook input priority 0; }; add rule ip t i ip daddr 192.0.2.5 drop'")
        .ok();
    let wild = host.run("busybox").flags(&["--dns", "192.0.2.5"]).cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let question = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05flood\x04test\x00\x00\x01\x00\x01";
    let script = format!(
        "while :; do exec 3<>/dev/udp/172.17.0.1/53; for i in {{1..5000}}; do printf '{question}' >&3; done; done"
    );
    let pid = wild.pid().to_string();
    let _flood: Vec<_> = (0..2)
        .map(|_| host.itself().background(&["nsenter", "--target", &pid, "--net", "bash", "-c", &script]))
        .collect();
    // Connections that say nothing, too.
    let _held = host.itself().background(&[
        "nsenter",
        "--target",
        &pid,
        "--net",
        "bash",
        "-c",
        "for i in {4..200}; do eval \"exec $i<>/dev/tcp/172.17.0.1/53\"; done 2>&-; exec sleep 1000",
    ]);
    // The control: it does drown its own questions.
    until("the flood is there", || {
        let said = host.sh(&inside(&wild, "dig @172.17.0.1 +tries=1 +timeout=1 plain.test"));
        said.code != 0 || said.stdout.contains("SERVFAIL")
    });
    // Each as a library asks: two tries, five seconds each. No answer is second-hand.
    for at in 0..40 {
        let name = if at % 2 == 0 { "web".to_owned() } else { format!("name{at}.test") };
        let said = host.sh(&inside(&web, &format!("dig @172.17.0.1 +tries=2 +timeout=5 {name}"))).ok();
        let status = Answer::read(&said).status;
        assert_eq!(status, if at % 2 == 0 { "NOERROR" } else { "NXDOMAIN" }, "{said}");
    }
    assert!(upstream.asked("name1.test") == 1);
    dig(&host, &web, "plain.test +tcp +tries=2").is("NOERROR", &["plain.test. A 192.0.2.80"]);
}

#[test]
fn bytes_without_meaning_are_no_harm() {
    let host = host_with(&[]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let own = format!("web. A {}", web.address());
    let daemon = host.daemon().pid(&host.namespaces);
    // Any bytes; and bytes with the header of a question, which get further.
    let header = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01";
    let script = format!(
        "for i in {{1..300}}; do
             head -c $((RANDOM % 600)) /dev/urandom >/dev/udp/172.17.0.1/53
             {{ printf '{header}'; head -c $((RANDOM % 300)) /dev/urandom; }} | dd bs=4096 iflag=fullblock of=/dev/fd/3 status=none 3>/dev/udp/172.17.0.1/53
         done
         for i in {{1..20}}; do
             head -c $((RANDOM * 3)) /dev/urandom >/dev/tcp/172.17.0.1/53
             printf '\\x00\\x20{header}' >/dev/tcp/172.17.0.1/53
             printf '\\x00' >/dev/tcp/172.17.0.1/53
         done; true"
    );
    std::fs::write(host.path("/run/noise"), script).unwrap();
    host.sh(&inside(&web, "bash /run/noise 2>&-")).ok();
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    dig(&host, &web, "web +tcp").is("NOERROR", &[&own]);
    // A question that does not end, and an answer that nobody asked for.
    let cut = r"printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05we' >&3; head -c 12 <&3 | od -An -tx1";
    let said = host.sh(&inside(&web, &format!("timeout 10 bash -c \"exec 3<>/dev/udp/172.17.0.1/53; {cut}\""))).ok();
    assert_eq!(said.trim(), "12 34 81 81 00 00 00 00 00 00 00 00", "FORMERR");
    assert_eq!(host.daemon().pid(&host.namespaces), daemon);
    let log = host.daemon().log();
    assert!(!log.contains("panicked") && log.lines().count() < 100, "{log}");
}

#[test]
fn a_restart_of_the_daemon_costs_at_most_one_try() {
    let host = host_with(&[]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let db = host.run("busybox").name("db").cmd(&["sleep", "1000"]).start();
    let web = host.run("busybox").flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    let port = names_port(&host);
    let resolv_conf = web.inspect("{{.ResolvConfPath}}");
    // One try more than the first, as libraries have it; an answer that says no, or nobody there, would end it at once.
    let script = format!(
        "mount --bind {resolv_conf} /etc/resolv.conf
         while [ ! -e /run/enough ]; do
             for name in db plain.test; do getent ahostsv4 $name >/dev/null && echo ok || echo lost; done
         done >/run/heard"
    );
    std::fs::write(host.path("/run/ask"), script).unwrap();
    let pid = web.pid().to_string();
    let _asking =
        host.itself().background(&["nsenter", "--target", &pid, "--net", "unshare", "--mount", "bash", "/run/ask"]);
    let heard = || std::fs::read_to_string(host.path("/run/heard")).unwrap_or_default();
    for end in ["kill", "stop"] {
        let so_far = heard().lines().count();
        until("names are asked", || heard().lines().count() > so_far + 20);
        if end == "kill" {
            host.kill_daemon();
        } else {
            host.stop_daemon();
        }
        host.restart_daemon();
        let so_far = heard().lines().count();
        until("names are answered again", || heard().lines().count() > so_far + 20);
    }
    std::fs::write(host.path("/run/enough"), "").unwrap();
    let heard = heard();
    assert!(!heard.contains("lost"), "{} of {}", heard.matches("lost").count(), heard.lines().count());
    assert_eq!(names_port(&host), port);
    dig(&host, &web, "db").is("NOERROR", &[&format!("db. A {}", db.address())]);
}

#[test]
fn a_port_that_another_program_has_taken_is_replaced() {
    let host = host_with(&[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    let (port, own) = (names_port(&host), format!("web. A {}", web.address()));
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    host.stop_daemon();
    let other = host.itself().background(&["nc", "-l", "-k", "-s", "172.17.0.1", "-p", &port.to_string()]);
    until("the port is taken", || host.sh(&format!("ss -Hltn sport = :{port}")).stdout.contains("LISTEN"));
    host.restart_daemon();
    assert_ne!(names_port(&host), port);
    assert!(host.daemon().log().contains("another program has taken the port for names"));
    dig(&host, &web, "web").is("NOERROR", &[&own]);
    dig(&host, &web, "web +tcp").is("NOERROR", &[&own]);

    // The port is what the store says; so is what the host looks like afterwards.
    host.stop_daemon();
    drop(other);
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    store.execute("UPDATE meta SET value = ?1 WHERE key = 'dns_port'", [port]).unwrap();
    drop(store);
    host.restart_daemon();
    assert_eq!(names_port(&host), port);
    dig(&host, &web, "web").is("NOERROR", &[&own]);
}

#[test]
fn the_operator_s_bridge_serves_names_too() {
    let mut host = Host::bare();
    host_resolv_conf(&host, "nameserver 192.0.2.2\n");
    host.sh("ip link add br9 type bridge && ip address add 10.9.0.1/24 dev br9 && ip link set br9 up").ok();
    host.start_daemon(&["--bridge", "br9"]);
    let _upstream = Upstream::on(&host, "192.0.2.2", &[]);
    let web = host.run("busybox").hostname("web").cmd(&["sleep", "1000"]).start();
    assert_eq!(web.sh("cat /etc/resolv.conf").ok(), "nameserver 10.9.0.1");
    web.exec(&["nslookup", "-type=a", "web"]).ok();
    web.exec(&["nslookup", "-type=a", "plain.test"]).ok();
}
