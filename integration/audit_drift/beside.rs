//! Hosts where others have rules, too, which do containers no harm: nothing is invented. Beside each, the control: what does
//! harm is found, and by the rule that does it.

use super::{Scene, daemon, of_kind};
use crate::harness::eventually;

/// Rules of others, as their programs write them.
struct Neighbour {
    name: &'static str,
    up: &'static str,
    down: &'static str,
    /// What does harm on the same host, the kind and words that tell it, and its end.
    control: Option<Control>,
}

struct Control {
    up: &'static str,
    kind: &'static str,
    words: &'static str,
    down: &'static str,
}

const NEIGHBOURS: &[Neighbour] = &[
    Neighbour {
        name: "Docker's network",
        up: "ip link add docker0 type bridge; ip addr add 172.18.0.1/16 dev docker0; ip link set docker0 up
             iptables-nft -P FORWARD DROP
             for c in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables-nft -N $c; done
             iptables-nft -t nat -N DOCKER
             iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
             iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
             iptables-nft -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o docker0 -j MASQUERADE
             iptables-nft -t nat -A DOCKER -i docker0 -j RETURN
             iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 9003 -j DNAT --to-destination 172.18.0.5:80
             iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-ISOLATION-STAGE-1
             iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             iptables-nft -A FORWARD -o docker0 -j DOCKER; iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
             iptables-nft -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
             iptables-nft -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
             iptables-nft -A DOCKER-USER -i pontoon0 -j ACCEPT; iptables-nft -A DOCKER-USER -o pontoon0 -j ACCEPT",
        down: "nft delete table ip filter; nft delete table ip nat; ip link del docker0",
        control: Some(Control {
            up: "iptables-nft -t nat -I DOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.18.0.5:80",
            kind: "foreign-dnat",
            words: "in chain DOCKER of table ip nat sends elsewhere what is for web on the published port 8080/tcp",
            down: "iptables-nft -t nat -D DOCKER 1",
        }),
    },
    Neighbour {
        name: "libvirt's network",
        up: "ip link add virbr0 type bridge; ip addr add 192.168.122.1/24 dev virbr0; ip link set virbr0 up
             nft 'table ip libvirt_network {
                chain forward { type filter hook forward priority filter; counter jump guest_cross
                    counter jump guest_input; counter jump guest_output; }
                chain guest_output { ip saddr 192.168.122.0/24 iif \"virbr0\" counter accept; iif \"virbr0\" counter reject; }
                chain guest_input { oif \"virbr0\" ip daddr 192.168.122.0/24 ct state established,related counter accept
                    oif \"virbr0\" counter reject; }
                chain guest_cross { iif \"virbr0\" oif \"virbr0\" counter accept; }
                chain guest_nat { type nat hook postrouting priority srcnat
                    ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return
                    meta l4proto tcp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
                    ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade; }
             }'",
        down: "nft delete table ip libvirt_network; ip link del virbr0",
        control: Some(Control {
            up: "nft add rule ip libvirt_network guest_output ip daddr DBAT reject",
            kind: "foreign-drop",
            words: "in chain guest_output of table ip libvirt_network keeps from passing",
            down: "nft flush chain ip libvirt_network guest_output",
        }),
    },
    Neighbour {
        name: "ufw that lets containers through",
        up: "iptables-nft -P INPUT DROP; iptables-nft -P FORWARD DROP
             for c in ufw-before-input ufw-not-local ufw-user-input ufw-before-forward ufw-user-forward; do iptables-nft -N $c; done
             iptables-nft -A INPUT -j ufw-before-input; iptables-nft -A FORWARD -j ufw-before-forward
             iptables-nft -A ufw-before-input -i lo -j ACCEPT
             iptables-nft -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             iptables-nft -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
             iptables-nft -A ufw-before-input -j ufw-not-local; iptables-nft -A ufw-before-input -j ufw-user-input
             iptables-nft -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
             iptables-nft -A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j DROP
             iptables-nft -A ufw-user-input -i pontoon0 -j ACCEPT
             iptables-nft -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             iptables-nft -A ufw-before-forward -j ufw-user-forward
             iptables-nft -A ufw-user-forward -i pontoon0 -j ACCEPT; iptables-nft -A ufw-user-forward -o pontoon0 -j ACCEPT",
        down: "nft delete table ip filter",
        control: Some(Control {
            up: "iptables-nft -D ufw-user-forward -o pontoon0 -j ACCEPT",
            kind: "foreign-drop",
            words: "the policy of chain FORWARD of table ip filter keeps from passing what is for web on the published port",
            down: "iptables-nft -A ufw-user-forward -o pontoon0 -j ACCEPT",
        }),
    },
    Neighbour {
        name: "firewalld that trusts the bridge",
        up: "nft 'table inet firewalld {
                chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; jump nat_POST; }
                chain nat_POST { oifname \"lan0\" goto nat_POST_public; }
                chain nat_POST_public { meta nfproto ipv4 oifname != \"lo\" masquerade; }
                chain filter_PREROUTING { type filter hook prerouting priority filter + 10
                    meta nfproto ipv6 fib saddr . mark . iif oif missing drop; }
                chain filter_INPUT { type filter hook input priority filter + 10; ct state { established, related } accept
                    ct status dnat accept; iifname { \"lo\", \"pontoon0\" } accept; ct state invalid drop
                    tcp dport 22 accept; reject with icmpx admin-prohibited; }
                chain filter_FORWARD { type filter hook forward priority filter + 10; ct state { established, related } accept
                    ct status dnat accept; iifname { \"lo\", \"pontoon0\" } accept; ct state invalid drop
                    reject with icmpx admin-prohibited; }
             }'",
        down: "nft delete table inet firewalld",
        control: Some(Control {
            up: "nft insert rule inet firewalld filter_FORWARD ct status dnat drop",
            kind: "foreign-drop",
            words: "in chain filter_FORWARD of table inet firewalld keeps from passing",
            down: "nft delete rule inet firewalld filter_FORWARD handle \
                   $(nft -a list chain inet firewalld filter_FORWARD | sed -n 's/.*dnat drop # handle //p')",
        }),
    },
    Neighbour {
        name: "wg-quick's tunnel",
        up: "ip link add wg0 type veth peer name wgp; ip link set wgp up; ip addr add 10.66.0.2/32 dev wg0; ip link set wg0 up
             ip route add default dev wg0 table 51820; ip rule add not fwmark 51820 table 51820
             ip rule add table main suppress_prefixlength 0
             nft 'table ip wg-quick-wg0 {
                chain preraw { type filter hook prerouting priority raw
                    iifname != \"wg0\" ip daddr 10.66.0.2 fib saddr type != local drop; }
                chain premangle { type filter hook prerouting priority mangle; meta l4proto udp meta mark set ct mark; }
                chain postmangle { type filter hook postrouting priority mangle
                    meta l4proto udp meta mark 51820 ct mark set meta mark; }
             }'",
        down: "nft delete table ip wg-quick-wg0; ip rule del not fwmark 51820 table 51820
               ip rule del table main suppress_prefixlength 0; ip link del wg0",
        control: Some(Control {
            up: "ip rule add iif pontoon0 table 51820 priority 98",
            kind: "foreign-route",
            words: "leads elsewhere what",
            down: "ip rule del priority 98",
        }),
    },
    Neighbour {
        name: "fail2ban, crowdsec and accounting",
        up: "nft 'table inet f2b-table {
                set a { type ipv4_addr; elements = { 198.51.100.7 }; }
                set b { type ipv4_addr; flags timeout; elements = { 198.51.100.8 timeout 1h }; }
                chain f2b { type filter hook input priority -1; tcp dport { 22, 80 } ip saddr @a reject; }
                chain cs { type filter hook forward priority -1; ip saddr @b drop; ct state invalid drop; }
                chain acct { type filter hook forward priority -200; iifname \"lan0\" counter; oifname \"lan0\" counter
                    tcp flags syn / syn,rst tcp option maxseg size set 1400; }
             }'",
        down: "nft delete table inet f2b-table",
        control: Some(Control {
            up: "nft add element inet f2b-table b '{ WEBAT }'",
            kind: "foreign-drop",
            words: "in chain cs of table inet f2b-table keeps from passing",
            down: "nft delete element inet f2b-table b '{ WEBAT }'",
        }),
    },
];

/// Conditions of which nobody knows whether a packet meets them.
const CONDITIONS: &[&str] = &[
    "meta length > 9000",
    "ct count over 1000",
    "limit rate over 100000/second",
    "meta hour \"03:00\"-\"03:01\"",
    "numgen inc mod 1000 0",
    "jhash ip saddr mod 1000 0",
];

/// The same of iptables.
const MATCHES: &[&str] = &[
    "-p tcp -m connlimit --connlimit-above 1000",
    "-m hashlimit --hashlimit-above 10000/sec --hashlimit-name h",
    "-m recent --name r --rcheck --seconds 1 --hitcount 20",
    "-m string --string xyzzy --algo bm",
    "-m length --length 9001:65535",
    "-m time --timestart 03:00 --timestop 03:01",
    "-m mac --mac-source 02:00:00:00:00:99",
    "-m ttl --ttl-lt 2",
    "-m physdev --physdev-in lan9",
];

#[test]
fn nothing_is_invented_beside_others_who_do_no_harm() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    for neighbour in NEIGHBOURS {
        host.sh(&format!("set -e; {}", scene.spell(neighbour.up))).ok();
        scene.clean(&format!("beside {}", neighbour.name));
        if let Some(control) = &neighbour.control {
            host.sh(&scene.spell(control.up)).ok();
            tells(&scene, neighbour.name, control.kind, control.words);
            host.sh(&scene.spell(control.down)).ok();
            scene.clean(&format!("beside {} again", neighbour.name));
        }
        host.sh(&scene.spell(neighbour.down)).ok();
    }
}

#[track_caller]
fn tells(scene: &Scene<'_>, when: &str, kind: &str, words: &str) {
    eventually(&format!("{kind} is told beside {when}"), || {
        let (answer, code) = scene.drift(&[]);
        let all = answer["differences"].as_array().cloned().unwrap_or_default();
        let told = all.iter().any(|it| it["kind"] == kind && it["what"].as_str().is_some_and(|it| it.contains(words)));
        if told && code == 3 { Ok(()) } else { Err(format!("exit code {code}: {answer:#}")) }
    });
}

#[test]
fn what_depends_on_what_nobody_knows_is_no_difference() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    for condition in CONDITIONS {
        host.sh(&format!(
            "nft 'table inet odd {{ chain f {{ type filter hook forward priority 0; {condition} drop; }}; }}'"
        ))
        .ok();
        unchecked(&scene, condition, "in chain f of table inet odd keeps from passing");
        host.sh("nft delete table inet odd").ok();
    }
    for condition in MATCHES {
        host.sh(&format!("iptables-nft -A FORWARD {condition} -j DROP")).ok();
        let (answer, code) = scene.drift(&[]);
        assert_eq!((of_kind(&answer), code), (Vec::new(), 0), "{condition}: {answer:#}");
        host.sh(&format!("iptables-nft -D FORWARD {condition} -j DROP")).ok();
    }
    host.sh("iptables-nft -A FORWARD -m length --length 9001:65535 -j DROP").ok();
    unchecked(&scene, "length", "in chain FORWARD of table ip filter keeps from passing");
    // The control: without a condition, it is one.
    host.sh("iptables-nft -A FORWARD -j DROP").ok();
    tells(&scene, "iptables", "foreign-drop", "in chain FORWARD of table ip filter keeps from passing");
    host.sh("nft delete table ip filter").ok();
}

/// Nothing differs, and it is said that something was left open, and where.
#[track_caller]
fn unchecked(scene: &Scene<'_>, condition: &str, words: &str) {
    let (answer, code) = scene.drift(&[]);
    assert_eq!((of_kind(&answer), code), (Vec::new(), 0), "{condition}: {answer:#}");
    let said = answer["unchecked"].as_array().into_iter().flatten().filter_map(|it| it.as_str());
    let said: Vec<&str> = said.filter(|it| it.starts_with("whether rule ") && it.contains(words)).collect();
    assert!(said.iter().any(|it| it.contains(": that depends on ")), "{condition}: {answer:#}");
}

/// What the evaluator cannot model may drop what its rules let through: then nobody says that it passes.
#[test]
fn what_is_not_modelled_is_never_guessed() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let why = |from: &str, to: &str| host.pontoon(&["audit", "why", from, to, "80/tcp"]);
    for (up, down, all) in [
        ("tc qdisc add dev DBPORT root tbf rate 8bit burst 10 latency 1ms", "tc qdisc del dev DBPORT root", false),
        ("ip xfrm policy add dir fwd src WEBAT/32 dst DBAT/32 action block", "ip xfrm policy flush", true),
        (
            "nft 'table arp evil { chain c { type filter hook input priority 0; arp saddr ip WEBAT drop; }; }'",
            "nft delete table arp evil",
            true,
        ),
    ] {
        assert_eq!(why("web", "db").code, 0, "before {up}");
        host.sh(&scene.spell(up)).ok();
        let asked = why("web", "db");
        assert_eq!(asked.code, 2, "{up}: {asked}");
        // What is at one port says nothing of those who do not pass it.
        let elsewhere = why("host", "web");
        assert_eq!(elsewhere.code, if all { 2 } else { 0 }, "{up}: {elsewhere}");
        host.sh(&scene.spell(down)).ok();
    }
}
