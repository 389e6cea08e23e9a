//! Flows that are let in while somebody has made a hole into the tables: they end when that is closed, and nothing else does.

use std::collections::BTreeSet;

use crate::harness::packets::frame::{IPV4, Ipv4, Token, ethernet};
use crate::harness::packets::{Ear, Flood};
use crate::harness::{Container, Host, until};

const WAITS: [&str; 2] = ["sleep", "1000"];
/// More than the daemon looks again for flows that come of what was under way (one second), at 300 µs a round at least.
const LATER: usize = 4_000;

fn inside(container: &Container<'_>) -> String {
    format!("--net=/proc/{}/ns/net", container.pid())
}

fn tables(host: &Host) -> usize {
    host.sh("nft list tables").ok().matches("pontoon-pontoon0").count()
}

/// Nothing more comes in soon after the daemon has looked at it.
fn ends(flood: &Flood, ear: &mut Ear, token: Token) {
    flood.goes_on(LATER);
    let then = ear.count(token);
    flood.goes_on(500);
    assert_eq!(ear.count(token), then, "the flow goes on");
}

/// Its own services are out of containers' reach, whether they answer (then the host itself seems to have begun a flow) or not.
#[test]
fn what_reached_the_host_through_a_hole_is_ended() {
    let host = Host::with(&["--host-access=false"]);
    let container = host.run("busybox").cmd(&WAITS).start();
    let serve = r#"use IO::Socket::INET; use IO::Select; $| = 1;
        open(my $f, ">>", "/run/heard"); $f->autoflush(1);
        my $u = IO::Socket::INET->new(LocalPort => 9999, Proto => "udp") or die;
        my $t = IO::Socket::INET->new(LocalPort => 9998, Proto => "tcp", Listen => 5, ReuseAddr => 1) or die;
        my $w = IO::Select->new($u, $t);
        while (1) { for my $s ($w->can_read) {
            if ($s == $u) { $u->recv(my $m, 99); print $f "udp\n"; $u->send($m) }
            elsif ($s == $t) { $w->add($t->accept) }
            elsif (sysread($s, my $m, 99)) { print $f "tcp\n"; syswrite($s, $m) }
            else { $w->remove($s) }
        } }"#;
    let _service = host.itself().background(&["perl", "-e", serve]);
    let udp = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "172.17.0.1", PeerPort => 9999, Proto => "udp") or die;
        while (1) { $s->send("?"); select undef, undef, undef, 0.002 }"#;
    let tcp = r#"use IO::Socket::INET; $SIG{PIPE} = "IGNORE"; open(my $f, ">>", "/run/told"); $f->autoflush(1);
        while (1) { my $s = IO::Socket::INET->new(PeerAddr => "172.17.0.1", PeerPort => 9998, Proto => "tcp", Timeout => 1) or next;
            print $f "connected\n"; while (syswrite($s, "?")) { select undef, undef, undef, 0.002 } print $f "ended\n" }"#;
    let _floods =
        [udp, tcp].map(|flood| host.itself().background(&["nsenter", &inside(&container), "perl", "-e", flood]));
    let heard = |what: &str| {
        let text = std::fs::read_to_string(host.path("/run/heard")).unwrap_or_default();
        text.lines().filter(|line| *line == what).count()
    };
    let told = || std::fs::read_to_string(host.path("/run/told")).unwrap_or_default();
    let refused = || {
        let text = host.sh("nft list counter inet pontoon-pontoon0 host | grep -o 'packets [0-9]*'").stdout;
        text.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
    };
    until("the floods are refused", || refused() > 100);
    assert_eq!((heard("udp"), heard("tcp")), (0, 0));
    for restarted in [false, true] {
        let before = (heard("udp"), heard("tcp"));
        if restarted {
            host.kill_daemon();
            host.sh("nft flush ruleset").ok();
            until("the control: the floods come in", || heard("udp") > before.0 + 100 && heard("tcp") > before.1 + 100);
            host.restart_daemon();
        } else {
            let _frozen = host.freeze_daemon();
            host.sh("nft flush ruleset").ok();
            until("the control: the floods come in", || heard("udp") > before.0 + 100 && heard("tcp") > before.1 + 100);
        }
        until("the connection is ended", || told().ends_with("ended\n"));
        // For longer than the daemon looks again.
        until("the floods are refused", || refused() > 800);
        let (then, before) = ((heard("udp"), heard("tcp")), refused());
        until("they go on", || refused() > before + 200);
        assert_eq!((heard("udp"), heard("tcp")), then);
    }
}

#[test]
fn what_reached_a_port_of_loopback_through_a_hole_is_ended() {
    let host = Host::new();
    let web = host.run("busybox").publish("127.0.0.1:7070:70/udp").cmd(&WAITS).start();
    let (web, lan, door) = (host.station(&web), host.lan_station(), host.station_at("lan0"));
    let token = Token::new();
    let packet = Ipv4::new(lan.ip, [127, 0, 0, 1].into()).udp(40_000, 7070, &token.0);
    let flood = lan.floods(vec![ethernet(lan.mac, door.mac, IPV4, &packet)]);
    let mut ear = web.listens();
    flood.goes_on(500);
    assert_eq!(ear.count(token), 0);
    {
        let _frozen = host.freeze_daemon();
        let handle =
            "nft --handle list chain inet pontoon-pontoon0 nat_prerouting | grep 127.0.0.0/8 | grep -o 'handle [0-9]*'";
        host.sh(&format!(
            "nft delete rule inet pontoon-pontoon0 nat_prerouting $({handle})
            nft add element inet pontoon-pontoon0 admitted_address '{{ 127.0.0.1 . {} . udp . 70 }}'",
            web.ip
        ))
        .ok();
        ear.until_heard(token, || flood.goes_on(10));
    }
    ends(&flood, &mut ear, token);
}

#[test]
fn what_came_by_a_port_that_another_published_is_ended() {
    let host = Host::new();
    let db = host.run("busybox").cmd(&WAITS).start();
    let (db, lan, door) = (host.station(&db), host.lan_station(), host.station_at("lan0"));
    let token = Token::new();
    let mut ear = db.listens();
    let flood = {
        let _frozen = host.freeze_daemon();
        host.sh(&format!(
            "nft 'add element inet pontoon-pontoon0 published_any_address {{ udp . 9998 : {0} }}
            add element inet pontoon-pontoon0 published_any_port {{ udp . 9998 : 99 }}
            add element inet pontoon-pontoon0 admitted {{ {0} . udp . 99 }}'",
            db.ip
        ))
        .ok();
        let packet = Ipv4::new(lan.ip, door.ip).udp(40_000, 9998, &token.0);
        let flood = lan.floods(vec![ethernet(lan.mac, door.mac, IPV4, &packet)]);
        ear.until_heard(token, || flood.goes_on(10));
        flood
    };
    ends(&flood, &mut ear, token);
}

/// One flow of each kind that is admitted is under way while the tables are written anew.
#[test]
fn what_is_admitted_lives_on() {
    let host = Host::with(&["--icc=false", "--host-access=false"]);
    let db = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
    let web =
        host.run("busybox").flags(&["--link", "db"]).publish("8080:80").publish("127.0.0.1:7070:80").serving().start();
    let serve = r#"use IO::Socket::INET; $SIG{CHLD} = "IGNORE";
        my $s = IO::Socket::INET->new(LocalPort => 80, Proto => "tcp", Listen => 5, ReuseAddr => 1) or die;
        while (1) { my $c = $s->accept or next; fork and next; <$c>; print $c "hello\n"; exit }"#;
    let _outside = host.lan().background(&["perl", "-e", serve]);
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    until("the neighbour serves", || host.sh("exec 3<>/dev/tcp/192.0.2.2/80").code == 0);
    host.itself().get(&format!("http://{}/", db.address()));
    let hold = |name: &str, to: &str| {
        format!(
            "exec 3<>/dev/tcp/{to}; touch /run/held-{name}; until [ -e /run/go ]; do read -t 0.05 <> <(:); done
            printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 5 cat <&3 >/run/answer-{name}; touch /run/done-{name}; sleep 60"
        )
    };
    let of_web = inside(&web);
    let (db_at, web_at) = (format!("{}/80", db.address()), format!("{}/80", web.address()));
    let flows = [
        ("linked", Some(&of_web), db_at.as_str()),
        ("hairpin", Some(&of_web), "192.0.2.1/8080"),
        ("outbound", Some(&of_web), "192.0.2.2/80"),
        ("loopback", None, "127.0.0.1/7070"),
        ("published", None, "192.0.2.1/8080"),
        ("straight", None, web_at.as_str()),
    ];
    let mut held: Vec<_> = flows
        .iter()
        .map(|(name, within, to)| {
            let script = hold(name, to);
            match within {
                Some(within) => host.itself().background(&["nsenter", within, "bash", "-c", &script]),
                None => host.itself().background(&["bash", "-c", &script]),
            }
        })
        .collect();
    held.push(host.lan().background(&["bash", "-c", &hold("lan", "192.0.2.1/8080")]));
    let names: Vec<&str> = flows.iter().map(|(name, ..)| *name).chain(["lan"]).collect();
    for name in &names {
        until(&format!("{name} is connected"), || host.path(&format!("/run/held-{name}")).exists());
    }
    let known = || -> BTreeSet<String> {
        let listed = host.sh("conntrack -L --proto tcp -o id 2>/dev/null | grep ESTABLISHED").ok();
        listed.lines().filter_map(|line| Some(line.split("id=").nth(1)?.trim().to_owned())).collect()
    };
    let before = known();
    assert!(before.len() >= names.len(), "{before:?}");
    for _ in 0..2 {
        let log = host.daemon().log().len();
        host.sh("nft flush ruleset").ok();
        until("the tables are back", || host.daemon().log()[log..].contains("restored: deleted table"));
        assert_eq!(tables(&host), 3);
    }
    host.kill_daemon();
    host.restart_daemon();
    assert_eq!(before.difference(&known()).count(), 0, "{}", host.sh("conntrack -L -o id 2>/dev/null").ok());
    std::fs::write(host.path("/run/go"), "").expect("a file");
    for name in &names {
        until(&format!("{name} is answered"), || host.path(&format!("/run/done-{name}")).exists());
        let answer = std::fs::read_to_string(host.path(&format!("/run/answer-{name}"))).unwrap_or_default();
        assert!(answer.contains("hello"), "{name}: {answer:?}");
    }
}
