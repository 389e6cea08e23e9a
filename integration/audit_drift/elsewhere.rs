//! Kernel parameters, routes, and rules of others.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use super::Bite::{Closes, Deafens, Publishes, Quiet, Shuts, Unpublishes};
use super::Cure::{By, Repair};
use super::{Scene, Tampering, daemon, of_kind};
use crate::harness::packets::within;
use crate::harness::{Host, eventually, until};

const PARAMETERS: &[Tampering] = &[
    Tampering {
        command: "sysctl -qw net.ipv4.ip_forward=0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.ip_forward is 0, and should be 1",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.pontoon0.proxy_arp_pvlan=0; INWEB ip neigh flush dev eth0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.pontoon0.proxy_arp_pvlan is 0, and should be 1",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.pontoon0.route_localnet=0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.pontoon0.route_localnet is 0",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.pontoon0.proxy_arp=1",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.pontoon0.proxy_arp is 1, and should be 0",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.pontoon0.accept_local=1",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.pontoon0.accept_local is 1",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.all.accept_source_route=1",
        kinds: &["sysctl-changed"],
        words: "senders may choose the way of their packets",
        bite: Quiet,
        cure: By("sysctl -qw net.ipv4.conf.all.accept_source_route=0"),
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.lan0.forwarding=0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.lan0.forwarding is 0, and was 1 when daemons began",
        bite: Unpublishes,
        cure: By("sysctl -qw net.ipv4.conf.lan0.forwarding=1"),
    },
    Tampering {
        command: "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
        kinds: &["sysctl-changed"],
        words: "net.bridge.bridge-nf-call-iptables is 1, and was 0",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.icmp_echo_ignore_all is 1, and was 0 when daemons began: the host answers no echo requests",
        bite: Deafens("INWEB", "172.17.0.1"),
        cure: By("sysctl -qw net.ipv4.icmp_echo_ignore_all=0"),
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.pontoon0.arp_ignore=8; INWEB ip neigh flush dev eth0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.conf.pontoon0.arp_ignore is 8, and was 0 when daemons began: nobody is told",
        bite: Deafens("INWEB", "172.17.0.1"),
        cure: Repair,
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.lan0.drop_unicast_in_l2_multicast=1",
        kinds: &["sysctl-changed"],
        words: "in a frame for many, is lost there",
        bite: Quiet,
        cure: By("sysctl -qw net.ipv4.conf.lan0.drop_unicast_in_l2_multicast=0"),
    },
    Tampering {
        command: "sysctl -qw net.ipv4.ip_default_ttl=2",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.ip_default_ttl is 2, and was 64",
        bite: Quiet,
        cure: By("sysctl -qw net.ipv4.ip_default_ttl=64"),
    },
    Tampering {
        command: "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=1",
        kinds: &["sysctl-changed"],
        words: "flows are forgotten while they last",
        bite: Quiet,
        cure: By("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=432000"),
    },
    Tampering {
        command: "sysctl -qw net.ipv4.neigh.lan0.mcast_solicit=0",
        kinds: &["sysctl-changed"],
        words: "net.ipv4.neigh.lan0.mcast_solicit is 0, and was 3 when daemons began: nobody is found there any more",
        bite: Quiet,
        cure: By("sysctl -qw net.ipv4.neigh.lan0.mcast_solicit=3"),
    },
    Tampering {
        command: "sysctl -qw net.ipv4.conf.lan0.disable_policy=1",
        kinds: &["sysctl-changed"],
        words: "IPsec's policies do not hold there",
        bite: Quiet,
        cure: By("sysctl -qw net.ipv4.conf.lan0.disable_policy=0"),
    },
];

/// What is a matter of taste, and no difference.
const TASTES: [&str; 4] = [
    "net.ipv4.ip_default_ttl=128",
    "net.netfilter.nf_conntrack_tcp_timeout_established=86400",
    "net.netfilter.nf_conntrack_udp_timeout=10",
    "net.ipv4.neigh.lan0.mcast_solicit=1",
];

const ROUTES: &[Tampering] = &[
    Tampering {
        command: "ip route add DBAT/32 via 192.0.2.2",
        kinds: &["route-foreign"],
        words: "a route leads DBAT/32, which is containers', elsewhere: DBAT/32 by 192.0.2.2 dev lan0",
        bite: Closes,
        cure: By("ip route del DBAT/32"),
    },
    Tampering {
        command: "ip route add blackhole DBAT/32",
        kinds: &["route-foreign"],
        words: "elsewhere: blackhole DBAT/32",
        bite: Closes,
        cure: By("ip route del blackhole DBAT/32"),
    },
    Tampering {
        command: "ip route del 172.17.0.0/16 dev pontoon0",
        kinds: &["route-missing"],
        words: "there is no route to 172.17.0.0/16 by pontoon0",
        bite: Unpublishes,
        cure: Repair,
    },
    Tampering {
        command: "ip xfrm policy add dir fwd src WEBAT/32 dst DBAT/32 action block",
        kinds: &["ipsec-policy"],
        words: "there is an IPsec policy (fwd, block) from WEBAT/32 to DBAT/32, which came since the daemon began",
        bite: Closes,
        cure: By("ip xfrm policy flush"),
    },
    Tampering {
        command: "ip address add DBAT/32 dev lan0",
        kinds: &["address-taken"],
        words: "lan0 has the address DBAT/32, which is containers': what is for it stays on the host",
        bite: Closes,
        cure: By("ip address del DBAT/32 dev lan0"),
    },
    Tampering {
        command: "ip route add default via 192.0.2.2 table 100; ip rule add iif pontoon0 lookup 100 priority 99",
        kinds: &["foreign-route"],
        words: "routing rule 99 leads elsewhere",
        bite: Closes,
        cure: By("ip rule del priority 99; ip route flush table 100"),
    },
    Tampering {
        command: "ip rule del priority 32766; ip rule add from 198.51.100.0/24 lookup main priority 32766",
        kinds: &["foreign-drop"],
        words: "routing rule 32766 keeps from passing",
        bite: Closes,
        cure: By("ip rule del priority 32766; ip rule add lookup main priority 32766"),
    },
];

const TABLES: &[Tampering] = &[
    Tampering {
        command: "nft 'table ip evil { chain c { type filter hook forward priority -5; policy drop; }; }'",
        kinds: &["foreign-drop"],
        words: "the policy of chain c of table ip evil keeps from passing",
        bite: Closes,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table inet evil { chain c { type filter hook prerouting priority -310; tcp dport 80 notrack; }; }'",
        kinds: &["foreign-notrack"],
        words: "in chain c of table inet evil hides from connection tracking",
        bite: Closes,
        cure: By("nft delete table inet evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook prerouting priority -110; udp dport 53 dnat to 192.0.2.2; }; }'",
        kinds: &["foreign-dnat"],
        words: "in chain c of table ip evil sends elsewhere",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook prerouting priority -110; tcp dport 8080 dnat to DBAT:80; }; }'",
        kinds: &["foreign-dnat"],
        words: "what is for web on the published port 8080/tcp",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table bridge evil { chain c { type filter hook prerouting priority 0; iifname \"WEBPORT\" drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table bridge evil keeps from passing",
        bite: Closes,
        cure: By("nft delete table bridge evil"),
    },
    Tampering {
        command: "nft 'table netdev evil { chain c { type filter hook ingress device DBPORT priority 0; drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table netdev evil keeps from passing",
        bite: Closes,
        cure: By("nft delete table netdev evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type filter hook forward priority 5; ip saddr DBAT tcp sport 80 drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table ip evil keeps from passing the answers to what web sends to db on 80/tcp, by its link",
        bite: Closes,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table netdev evil { chain c { type filter hook ingress device DBPORT priority 0; udp dport 9 fwd to WEBPORT; }; }'",
        kinds: &["foreign-bypass"],
        words: "in chain c of table netdev evil sends frames out elsewhere, past the firewall (at DBPORT)",
        bite: Quiet,
        cure: By("nft delete table netdev evil"),
    },
    Tampering {
        command: "nft 'table netdev evil { chain c { type filter hook ingress device DBPORT priority 0; dup to WEBPORT; }; }'",
        kinds: &["foreign-copy"],
        words: "in chain c of table netdev evil sends copies of frames elsewhere (at DBPORT)",
        bite: Quiet,
        cure: By("nft delete table netdev evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type filter hook prerouting priority -310; ip saddr WEBAT dup to 192.0.2.2; }; }'",
        kinds: &["foreign-copy"],
        words: "in chain c of table ip evil sends copies elsewhere of what web sends to db on 80/tcp, by its link",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook output priority -150; tcp dport 8080 dnat to DBAT:81; }; }'",
        kinds: &["foreign-dnat"],
        words: "sends elsewhere what this host itself sends to 127.0.0.1 for web on the published port 8080/tcp",
        bite: Shuts,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook prerouting priority -110; iifname lan0 tcp dport 7777 dnat to WEBAT:80; }; }'",
        kinds: &["foreign-dnat"],
        words: "leads what comes from outside for this host's port 7777/tcp to web, which is not published there",
        bite: Publishes,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook postrouting priority 50; ip saddr WEBAT ip daddr DBAT snat to 172.17.0.99; }; }'",
        kinds: &["foreign-snat"],
        words: "in chain c of table ip evil hides the sender of what web sends to db on 80/tcp, by its link",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft add table ip TABLE",
        kinds: &["table-impostor"],
        words: "table ip TABLE is called like pontoon's",
        bite: Quiet,
        cure: By("nft delete table ip TABLE"),
    },
];

#[test]
fn what_sysctl_does_to_the_kernel() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    scene.suffers_all(PARAMETERS);
    for taste in TASTES {
        host.sh(&format!("sysctl -qw {taste}")).ok();
    }
    scene.clean("with other tastes");
}

#[test]
fn where_routes_of_others_lead() {
    let host = daemon(&["--repair=false"]);
    Scene::on(&host).suffers_all(ROUTES);
}

/// With `--icc=true` containers reach each other on the bridge, where rules of others may keep them apart; and the outside.
#[test]
fn who_is_kept_apart_on_the_bridge() {
    let host = Host::with(&["--repair=false"]);
    host.sh("ip route add default via 192.0.2.2").ok();
    host.stop_daemon();
    host.restart_daemon();
    let scene = Scene::on(&host);
    // What nobody has is no sample of what is outside; where only some is blocked, that is no difference.
    let nobodys = "0.0.0.0/8, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/4, 240.0.0.0/4";
    host.sh(&format!(
        "nft 'table ip bogons {{ set s {{ type ipv4_addr; flags interval; elements = {{ {nobodys} }}; }}; \
         chain c {{ type filter hook forward priority 0; ip saddr @s drop; ip daddr @s drop; }}; }}'"
    ))
    .ok();
    scene.clean("beside a list of addresses that nobody has");
    let said = &scene.drift(&[]).0["unchecked"];
    assert!(said.is_null(), "{said}");
    host.sh("nft add rule ip bogons c ip daddr 9.9.9.0/24 drop").ok();
    scene.clean("where a part of the outside is blocked");
    let said = scene.drift(&[]).0["unchecked"].to_string();
    assert!(
        said.contains("sends to the outside on 443/tcp") && said.contains("depends on whom outside it is for"),
        "{said}"
    );
    host.sh("nft delete table ip bogons").ok();
    scene.suffers_all(APART);
}

const APART: &[Tampering] = &[
    Tampering {
        command: "nft 'table ip evil { chain c { type filter hook forward priority 5; ip saddr DBAT tcp dport 25 drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table ip evil keeps from passing what db sends to the outside on 25/tcp",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table ip evil { chain c { type nat hook prerouting priority -110; ip saddr WEBAT tcp dport 81 redirect to :82; }; }'",
        kinds: &["foreign-dnat"],
        words: "in chain c of table ip evil sends elsewhere what web sends to the outside on 81/tcp",
        bite: Quiet,
        cure: By("nft delete table ip evil"),
    },
    Tampering {
        command: "nft 'table bridge evil { chain c { type filter hook forward priority 0; ip saddr WEBAT ip daddr DBAT drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table bridge evil keeps from passing what web sends to db on 80/tcp",
        bite: Closes,
        cure: By("nft delete table bridge evil"),
    },
    Tampering {
        command: "nft 'table arp evil { chain c { type filter hook input priority 0; arp saddr ip WEBAT drop; }; }'",
        kinds: &["foreign-drop"],
        words: "in chain c of table arp evil keeps from passing what web asks for the host's hardware address",
        bite: Quiet,
        cure: By("nft delete table arp evil"),
    },
    Tampering {
        command: "ip route del default",
        kinds: &["route-default-missing"],
        words: "there is no default route any more",
        bite: Quiet,
        cure: By("ip route add default via 192.0.2.2"),
    },
];

#[test]
fn what_tables_of_others_do() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    scene.suffers_all(TABLES);
    // The control: tables of others that do nothing to containers are others' business.
    host.sh(
        "nft 'table inet other { chain f { type filter hook forward priority 0; policy accept; tcp dport 9 drop; }; \
         chain i { type filter hook input priority 0; policy accept; iifname \"lan0\" tcp dport 22 accept; }; \
         chain m { type filter hook prerouting priority -150; meta mark set 7; log group 5; }; }'",
    )
    .ok();
    scene.clean("beside another's table");
    host.sh("nft delete table inet other").ok();
}

/// A packet for one container that a program of the host's gets instead, in that one's name.
#[test]
fn what_tproxy_gives_to_a_program() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    host.sh("ip rule add fwmark 1 lookup 100 priority 90; ip route add local default dev lo table 100").ok();
    host.sh(&scene.spell(
        "nft 'table ip evil { chain c { type filter hook prerouting priority mangle; \
         ip saddr WEBAT tcp dport 80 tproxy to 127.0.0.1:9999 meta mark set 1 accept; }; }'",
    ))
    .ok();
    let why = || host.pontoon(&["audit", "why", "web", "db", "80/tcp"]).code;
    scene.clean("while nobody waits for it");
    assert_eq!((scene.connects("INWEB", "DBAT/80"), why()), (true, 0));
    // Who waits and takes only what is its own does not get it.
    let plain = host.itself().listens("0.0.0.0:9999");
    scene.clean("while nobody waits for what is another's");
    assert_eq!((scene.connects("INWEB", "DBAT/80"), why()), (true, 0));
    drop(plain);
    let takes = within(&host.netns(), || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
        setsockopt(&listener, sockopt::IpTransparent, &true).expect("root may");
        bind(listener.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 9999)).expect("the port is free");
        listen(&listener, Backlog::new(8).expect("few")).expect("it listens");
        std::net::TcpListener::from(listener)
    });
    assert!(scene.connects("INWEB", "DBAT/80"));
    let (taken, _) = takes.accept().expect("it is there");
    assert_eq!(taken.local_addr().expect("it has one").to_string(), scene.spell("DBAT:80"));
    eventually("it is told", || {
        let (answer, code) = scene.drift(&[]);
        let words =
            "in chain c of table ip evil gives to a program of this host what web sends to db on 80/tcp, by its link";
        let mut all = answer["differences"].as_array().into_iter().flatten();
        let told = all.any(|it| it["what"].as_str().is_some_and(|what| what.contains(words)));
        if of_kind(&answer) == ["foreign-tproxy"] && told && code == 3 { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    assert_eq!(why(), 1);
    drop((takes, taken));
    scene.clean("when nobody waits any more");
    host.sh("nft delete table ip evil; ip rule del priority 90; ip route flush table 100").ok();
}

/// Copies are seen where they go, and told wherever the rule stands.
#[test]
fn copies_of_what_containers_send() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let counter =
        "nft 'table ip seen { chain c { type filter hook prerouting priority 0; ip daddr 172.17.0.0/16 counter; }; }'";
    host.lan().sh(counter).ok();
    let seen = || !host.lan().sh("nft list table ip seen").ok().contains("packets 0 ");
    assert!(scene.connects("INWEB", "DBAT/80") && !seen());
    for (up, down) in [
        (
            "nft 'table ip evil { chain c { type filter hook prerouting priority -310; ip saddr WEBAT dup to 192.0.2.2; }; }'",
            "nft delete table ip evil",
        ),
        (
            "nft 'table ip evil { chain c { type filter hook forward priority 0; ip daddr WEBAT dup to 192.0.2.2; }; }'",
            "nft delete table ip evil",
        ),
        (
            "nft 'table netdev evil { chain c { type filter hook egress device pontoon0 priority 0; dup to lan0; }; }'",
            "nft delete table netdev evil",
        ),
    ] {
        host.sh(&scene.spell(up)).ok();
        eventually(&format!("`{up}` is told"), || {
            let (answer, code) = scene.drift(&[]);
            if of_kind(&answer) == ["foreign-copy"] && code == 3 { Ok(()) } else { Err(format!("{answer:#}")) }
        });
        if !up.contains("netdev") {
            assert!(scene.connects("INWEB", "DBAT/80") && seen(), "`{up}`: copies arrive");
        }
        host.sh(down).ok();
        scene.clean(&format!("after `{up}`"));
        host.lan().sh(&format!("nft delete table ip seen; {counter}")).ok();
    }
}

/// Who is made to look like another gets where that one gets.
#[test]
fn who_is_made_to_look_like_another() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let scratch = host.run("busybox").name("scratch").cmd(&["sleep", "1000"]).start();
    scene.clean("beside a third");
    let spell = |text: &str| scene.spell(text).replace("SCRATCHAT", &scratch.address());
    let heard = || {
        let text = host.sh(&scene.spell("INDB awk '/^Tcp: [0-9]/ {print $11}' /proc/net/snmp")).ok();
        text.trim().parse::<u64>().expect("a number")
    };
    let knocks = || {
        let before = heard();
        scratch.sh(&scene.spell("nc -w 1 DBAT 80 </dev/null"));
        heard() > before
    };
    assert!(!knocks(), "no link opens it");
    for rules in [
        "ip saddr SCRATCHAT ip daddr DBAT tcp dport 80 ip saddr set WEBAT",
        "ip saddr SCRATCHAT ip daddr DBAT tcp dport 80 ip saddr set WEBAT; \
         ip saddr DBAT ip daddr WEBAT tcp sport 80 ip daddr set SCRATCHAT",
    ] {
        host.sh(&spell(&format!(
            "nft 'table ip evil {{ chain c {{ type filter hook prerouting priority -310; {rules}; }}; }}'"
        )))
        .ok();
        eventually(&format!("`{rules}` is told"), || {
            let (answer, code) = scene.drift(&[]);
            let all = answer["differences"].as_array().cloned().unwrap_or_default();
            let words = "rule with handle 2 in chain c of table ip evil lets pass what nothing admits: what scratch sends to db on 80/tcp";
            let told = all.iter().any(|it| it["kind"] == "foreign-accept" && it["what"] == words);
            if told && code == 3 { Ok(()) } else { Err(format!("{answer:#}")) }
        });
        assert!(knocks(), "`{rules}` lets it in");
        host.sh("nft delete table ip evil").ok();
        scene.clean(&format!("after `{rules}`"));
        // What was begun is tried again for a while, and reset.
        until("nothing gets there any more", || !knocks());
    }
}

/// Who only looks at a table of the legacy iptables makes it, and it does nothing.
#[test]
fn tables_of_the_legacy_iptables() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let why = || host.pontoon(&["audit", "why", "web", "db", "80/tcp"]).code;
    host.sh("iptables-legacy -L && iptables-legacy -t nat -L && ip6tables-legacy -L").ok();
    assert!(host.sh("cat /proc/net/ip_tables_names").ok().contains("nat"), "they are there");
    scene.clean("after a look");
    assert_eq!(why(), 0);
    for (up, down) in [
        ("iptables-legacy -P FORWARD DROP", "iptables-legacy -P FORWARD ACCEPT"),
        ("iptables-legacy -A FORWARD -p tcp --dport 80 -j DROP", "iptables-legacy -F FORWARD"),
    ] {
        scene.suffers(&Tampering {
            command: up,
            kinds: &["legacy-tables"],
            words: "there are tables of the legacy iptables: filter, which came since the daemon began",
            bite: Closes,
            cure: By(down),
        });
    }
    host.sh("iptables-legacy -A FORWARD -p tcp --dport 9 -j DROP").ok();
    host.stop_daemon();
    host.restart_daemon();
    scene.clean("with rules that were there before the daemon");
    let said = scene.drift(&[]).0["unchecked"].to_string();
    assert!(said.contains("what tables of the legacy iptables: filter do: they were there"), "{said}");
    assert_eq!(why(), 2);
}

/// On an operator's bridge, who is at its other ports reaches published ports by the host's address there.
#[test]
fn who_is_at_an_operators_bridge() {
    let mut host = Host::bare();
    host.bridge_the_lan();
    host.start_daemon(&["--bridge", "br7", "--fixed-cidr", "192.0.2.128/25", "--icc=false", "--repair=false"]);
    let _web = host.run("busybox").name("web").publish("8080:80").serving().start();
    let drift = || {
        let outcome = host.pontoon(&["audit", "drift", "--json"]);
        let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
        (answer, outcome.code)
    };
    let clean = |when: &str| {
        eventually(when, || match drift() {
            (_, 0) => Ok(()),
            (answer, _) => Err(format!("{answer:#}")),
        });
    };
    let reached = || host.lan().sh("timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/8080'").code == 0;
    clean("nothing differs");
    assert!(reached());
    let rule = |port: u16| {
        let chain = "type filter hook prerouting priority -310;";
        host.sh(&format!("nft 'table ip evil {{ chain c {{ {chain} iifname br7 tcp dport {port} drop; }}; }}'")).ok();
    };
    rule(8080);
    assert!(!reached());
    eventually("it is told", || {
        let (answer, code) = drift();
        let words = "in chain c of table ip evil keeps from passing what is for web on the published port 8080/tcp";
        let mut all = answer["differences"].as_array().into_iter().flatten();
        let told = all.any(|it| it["what"].as_str().is_some_and(|what| what.contains(words)));
        if of_kind(&answer) == ["foreign-drop"] && told && code == 3 { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    host.sh("nft delete table ip evil").ok();
    rule(8081);
    assert!(reached());
    clean("beside a rule about another port");
    host.sh("nft delete table ip evil").ok();
}
