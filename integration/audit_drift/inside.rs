//! Pins of namespaces, what is in them, and flows.

use super::Bite::{Closes, Deafens, Quiet, Unpublishes};
use super::Cure::{By, Repair};
use super::{Scene, Tampering, daemon, of_kind};
use crate::harness::until;

const NAMESPACES: &[Tampering] = &[
    Tampering {
        command: "umount DBPIN && rm DBPIN",
        kinds: &["pin-missing"],
        words: "DBPIN, the pin of db's network namespace, is gone",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "umount DBPIN",
        kinds: &["pin-missing"],
        words: "DBPIN, the pin of db's network namespace, is an empty file",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "umount DBPIN && mount --bind /proc/WEBPID/ns/net DBPIN",
        kinds: &["pin-moved"],
        words: "DBPIN is the pin of another network namespace than db's",
        bite: Quiet,
        cure: Repair,
    },
];

const INSIDE: &[Tampering] = &[
    Tampering {
        command: "INDB ip address add 172.17.0.77/16 dev eth0",
        kinds: &["inside-address-added"],
        words: "db has the address 172.17.0.77/16 besides its own DBAT",
        bite: Quiet,
        cure: By("INDB ip address del 172.17.0.77/16 dev eth0"),
    },
    Tampering {
        command: "INDB ip address replace DBAT/24 dev eth0 && INDB ip address del DBAT/16 dev eth0",
        kinds: &["inside-address-added", "inside-address-missing", "inside-route-added"],
        words: "db lacks its address DBAT/16",
        bite: Quiet,
        cure: By("INDB ip address add DBAT/16 dev eth0; INDB ip address del DBAT/24 dev eth0; \
                  INDB ip route replace default via 172.17.0.1"),
    },
    Tampering {
        command: "INDB ip link set eth0 address 02:00:00:00:00:77",
        kinds: &["inside-mac"],
        words: "the hardware address of eth0 of db is 02:00:00:00:00:77, and should be DBMAC",
        bite: Closes,
        cure: By("INDB ip link set eth0 address DBMAC"),
    },
    Tampering {
        command: "INDB ip link set eth0 mtu 1200",
        kinds: &["inside-mtu"],
        words: "the MTU of eth0 of db is 1200, and should be 1500",
        bite: Quiet,
        cure: By("INDB ip link set eth0 mtu 1500"),
    },
    Tampering {
        command: "INDB ip route add 198.51.100.0/24 via 172.17.0.9",
        kinds: &["inside-route-added"],
        words: "db has a route to 198.51.100.0/24 by 172.17.0.9 of its own",
        bite: Quiet,
        cure: By("INDB ip route del 198.51.100.0/24"),
    },
    Tampering {
        command: "INWEB ip route del default",
        kinds: &["inside-route-missing"],
        words: "web lacks its default route, by 172.17.0.1",
        bite: Unpublishes,
        cure: By("INWEB ip route add default via 172.17.0.1"),
    },
    Tampering {
        command: "INWEB ip link set eth0 down",
        kinds: &["inside-down"],
        words: "eth0 of web is down",
        bite: Unpublishes,
        cure: By("INWEB ip link set eth0 up; INWEB ip route add default via 172.17.0.1"),
    },
    Tampering {
        command: "INDB ip link set lo down",
        kinds: &["inside-loopback-down"],
        words: "lo is down inside of db",
        bite: Quiet,
        cure: By("INDB ip link set lo up"),
    },
    Tampering {
        command: "INDB ip link add more0 type veth peer name more1",
        kinds: &["inside-link-added", "inside-link-added"],
        words: "db has an interface more0 besides eth0",
        bite: Quiet,
        cure: By("INDB ip link del more0"),
    },
    Tampering {
        command: "INDB nft 'table ip mine { chain c { type filter hook input priority 0; policy drop; }; }'",
        kinds: &["inside-table"],
        words: "there is a table ip mine with rules inside of db",
        bite: Closes,
        cure: By("INDB nft delete table ip mine"),
    },
    Tampering {
        command: "INDB ip neigh replace 172.17.0.1 lladdr 02:00:00:00:00:77 nud permanent dev eth0",
        kinds: &["inside-neighbour-added"],
        words: "db has a permanent entry for 172.17.0.1 at 02:00:00:00:00:77",
        bite: Quiet,
        cure: By("INDB ip neigh del 172.17.0.1 dev eth0"),
    },
    Tampering {
        command: "INDB ip rule add from all lookup 77 priority 7",
        kinds: &["inside-rule-added"],
        words: "db has a routing rule of its own, of priority 7",
        bite: Quiet,
        cure: By("INDB ip rule del priority 7"),
    },
    Tampering {
        command: "INDB ip rule del priority 32766",
        kinds: &["inside-rule-missing"],
        words: "db lacks the kernel's own routing rule of priority 32766, to table 254",
        bite: Closes,
        cure: By("INDB ip rule add lookup main priority 32766"),
    },
    Tampering {
        command: "INDB sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
        kinds: &["inside-parameter"],
        words: "net.ipv4.icmp_echo_ignore_all is 1 inside of db: it answers no echo requests",
        bite: Deafens("", "DBAT"),
        cure: By("INDB sysctl -qw net.ipv4.icmp_echo_ignore_all=0"),
    },
    Tampering {
        command: "INDB sysctl -qw net.ipv4.ip_default_ttl=1",
        kinds: &["inside-parameter"],
        words: "net.ipv4.ip_default_ttl is 1 inside of db: what it sends does not get far",
        bite: Closes,
        cure: By("INDB sysctl -qw net.ipv4.ip_default_ttl=64"),
    },
    Tampering {
        command: "INDB sysctl -qw net.ipv4.conf.eth0.route_localnet=1",
        kinds: &["inside-parameter"],
        words: "packets to 127/8 may come in there",
        bite: Quiet,
        cure: By("INDB sysctl -qw net.ipv4.conf.eth0.route_localnet=0"),
    },
    Tampering {
        command: "INWEB sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=0; INWEB ip neigh flush dev eth0",
        kinds: &["inside-parameter"],
        words: "net.ipv4.neigh.eth0.mcast_solicit is 0 inside of web: it finds nobody",
        bite: Closes,
        cure: By("INWEB sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=3; INWEB ip neigh flush dev eth0"),
    },
];

const FLOWS: &[Tampering] = &[
    Tampering {
        command: "conntrack -I -p tcp -s DBAT -d WEBAT --sport 4000 --dport 22 --state ESTABLISHED --timeout 600 -u SEEN_REPLY",
        kinds: &["flow-unadmitted"],
        words: "a flow from db (DBAT) to web (WEBAT) on 22/tcp is in conntrack: no link opens it",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "conntrack -I -p udp -s 192.0.2.2 -d 192.0.2.1 --sport 4000 --dport 7777 -g DBAT:53 --timeout 600",
        kinds: &["flow-unadmitted"],
        words: "no published port leads there",
        bite: Quiet,
        cure: Repair,
    },
];

#[test]
fn what_becomes_of_pins() {
    let host = daemon(&["--repair=false"]);
    Scene::on(&host).suffers_all(NAMESPACES);
}

#[test]
fn what_nsenter_does_inside() {
    let host = daemon(&["--repair=false"]);
    Scene::on(&host).suffers_all(INSIDE);
}

#[test]
fn flows_that_nothing_admits() {
    // For a second after a start and after each repair flows are looked for again, and ended: a host each, and one of which
    // nobody takes any away any more.
    let stays = "conntrack -I -p udp -s 172.17.0.2 -d 172.17.0.3 --sport 9 --dport 9 --timeout 600
        sleep 0.6; conntrack -D -p udp --sport 9 --dport 9";
    for flow in FLOWS {
        let host = daemon(&["--repair=false"]);
        let scene = Scene::on(&host);
        until("no look for flows is under way", || host.sh(stays).code == 0);
        scene.suffers(flow);
    }
}

/// What both sides have closed is only remembered: nothing more passes by it.
#[test]
fn flows_that_have_ended() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let flow = |state: &str, port: u16| {
        scene.spell(&format!(
            "conntrack -I -p tcp -s DBAT -d WEBAT --sport {port} --dport 22 --state {state} --timeout 600 -u SEEN_REPLY"
        ))
    };
    for (state, port) in [("TIME_WAIT", 4001), ("CLOSE", 4002)] {
        host.sh(&flow(state, port)).ok();
        let (answer, code) = scene.drift(&["--repair"]);
        assert_eq!((of_kind(&answer), code), (Vec::new(), 0), "{state}: {answer:#}");
        let known = host.sh(&format!("conntrack -L -p tcp --sport {port}")).ok();
        assert!(known.contains(state), "it is still there: {known}");
    }
    // The control: one that goes on is told.
    host.sh(&flow("ESTABLISHED", 4003)).ok();
    until("it is told", || of_kind(&scene.drift(&[]).0) == ["flow-unadmitted"]);
}

/// What a container was started with is no drift, and `why` names it.
#[test]
fn parameters_that_were_asked_for() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let why = |from: &str, to: &str, what: &str| host.pontoon(&["audit", "why", from, to, what]);
    let quiet = ["--sysctl", "net.ipv4.icmp_echo_ignore_all=1"];
    let _quiet = host.run("busybox").name("quiet").flags(&quiet).cmd(&["sleep", "1000"]).start();
    let short = ["--sysctl", "net.ipv4.ip_default_ttl=1", "--link", "db"];
    let _short = host.run("busybox").name("short").flags(&short).cmd(&["sleep", "1000"]).start();
    scene.clean("beside what was asked for");
    let asked = why("host", "quiet", "icmp");
    let words = "inside of quiet: echo requests are ignored (net.ipv4.icmp_echo_ignore_all)";
    assert!(asked.code == 1 && asked.stdout.contains(words), "{asked}");
    assert_eq!(why("host", "db", "icmp").code, 0);
    let asked = why("short", "db", "80/tcp");
    let words = "what it sends ends at the first router (net.ipv4.ip_default_ttl is 1)";
    assert!(asked.code == 1 && asked.stdout.contains(words), "{asked}");
    assert_eq!(why("web", "db", "80/tcp").code, 0);
    assert_eq!(why("web", "host", "icmp").code, 0);
    host.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1").ok();
    let asked = why("web", "host", "icmp");
    assert!(asked.code == 1 && asked.stdout.contains("echo requests are ignored"), "{asked}");
    host.sh("sysctl -qw net.ipv4.conf.pontoon0.arp_ignore=8").ok();
    let asked = why("web", "host", "22/tcp");
    assert!(asked.code == 2 && asked.stdout.contains("who knows the hardware address of pontoon0"), "{asked}");
    assert_eq!(why("web", "db", "80/tcp").code, 0, "they find each other");
}

/// Who has the right to change its own network does no wrong by using it.
#[test]
fn what_a_container_may_do_to_itself_is_told_apart() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    let router = host.run("busybox").name("router").flags(&["--cap-add", "NET_ADMIN"]).cmd(&["sleep", "1000"]).start();
    router.sh("ip address add 10.9.0.1/24 dev eth0 && ip route add 10.10.0.0/24 via 10.9.0.2").ok();
    let (answer, code) = scene.drift(&[]);
    assert_eq!((of_kind(&answer), code), (Vec::new(), 0), "{answer:#}");
    let own: Vec<_> =
        answer["own_doing"].as_array().expect("a list").iter().filter_map(|it| it["what"].as_str()).collect();
    assert!(own.iter().any(|what| what.contains("router has the address 10.9.0.1/24")), "{own:?}");
    assert!(own.iter().any(|what| what.contains("router has a route to 10.10.0.0/24")), "{own:?}");
}

/// Who was to have no network gets one from the host.
#[test]
fn a_closed_container_that_somebody_opens() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    let vault = host.run("busybox").name("vault").flags(&["--net", "none"]).cmd(&["sleep", "1000"]).start();
    scene.clean("beside a closed container");
    let (pid, inside) = (vault.pid(), format!("nsenter --target {} --net", vault.pid()));
    for (place, up, words) in [
        (
            host.lan(),
            format!(
                "ip link add mvc link lan0 type macvlan mode bridge && ip link set mvc netns {pid} && \
                 {inside} ip link set mvc up && {inside} ip addr add 192.0.2.77/24 dev mvc"
            ),
            "vault has an interface mvc (192.0.2.77/24), and should have none but lo: it is closed",
        ),
        (
            host.itself(),
            format!(
                "ip link add vhost type veth peer name mvc netns {pid} && ip link set vhost up && \
                 {inside} ip link set mvc up && {inside} ip addr add 192.0.2.77/32 dev mvc && \
                 ip route add 192.0.2.77/32 dev vhost && {inside} ip route add default dev mvc"
            ),
            "vault has an interface mvc (192.0.2.77/32), and should have none but lo: it is closed",
        ),
    ] {
        let reached = || place.pings("192.0.2.77");
        assert!(!reached());
        host.sh(&up).ok();
        until("it is reached", reached);
        let (answer, code) = scene.drift(&[]);
        let all = answer["differences"].as_array().cloned().unwrap_or_default();
        let told = all
            .iter()
            .any(|it| it["kind"] == "inside-link-added" && it["what"] == words && it["containers"][0] == "vault");
        assert!(told && code == 3, "{answer:#}");
        host.sh(&format!("{inside} ip link del mvc")).ok();
        scene.clean("without it");
        assert!(!reached());
    }
}

/// Who joined a container that was restarted since is in the network of before: no verdict may say otherwise.
#[test]
fn who_is_left_behind_by_a_restart_is_told() {
    let host = daemon(&[]);
    let scene = Scene::on(&host);
    host.run("busybox").name("joined").net("container:web").cmd(&["sleep", "1000"]).start();
    let why = || host.pontoon(&["audit", "why", "joined", "db", "80/tcp"]);
    let connects = || {
        let pid = host.docker(&["inspect", "-f", "{{.State.Pid}}", "joined"]).ok();
        let connect = scene.spell("exec 3<>/dev/tcp/DBAT/80");
        host.sh(&format!("nsenter --target {pid} --net timeout 1 bash -c '{connect}'")).code == 0
    };
    why().ends_with(0);
    assert!(connects());
    host.docker(&["restart", "-t", "0", "web"]).ok();
    why().ends_with(1);
    assert!(!connects());
    let (answer, code) = scene.drift(&[]);
    assert_eq!((of_kind(&answer), code), (vec!["joined-left-behind"], 3), "{answer:#}");
    host.docker(&["restart", "-t", "0", "joined"]).ok();
    scene.clean("when it has joined anew");
    why().ends_with(0);
    assert!(connects());
}
