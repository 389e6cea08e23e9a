//! Names of others: handed on, to whom, and what is remembered.

use super::{ON_ITS_OWN, Upstream, dig, getent, host_resolv_conf, host_with, inside};
use crate::harness::{Cli, Host, until};

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
    let resolved = ["--listen-address=127.0.0.53", "--host-record=who.test,192.0.2.53"];
    let _resolved = host.itself().background(&[ON_ITS_OWN, &resolved].concat());
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
