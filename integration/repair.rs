//! What the kernel holds stays what the intent says, whoever changes it.

use crate::harness::{Container, Host, eventually, until};

/// The bridge's forwarding table is written by the daemon alone, on the operator's bridge as on its own.
#[test]
fn no_frame_teaches_the_bridge_who_is_where() {
    let mut host = Host::bare();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.start_daemon(&["--bridge", "br7"]);
    let target = host.run("busybox").serving().start();
    let liar = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let mac = target.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
    let port_of = |container: &Container<'_>| {
        let mac = container.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
        host.sh(&format!("bridge fdb show br br7 | awk '/^{mac} /{{print $3}}'")).ok()
    };
    let (targets, liars) = (port_of(&target), port_of(&liar));
    let entry = || host.sh(&format!("bridge fdb show br br7 | grep '^{mac} '")).stdout;
    assert_eq!(entry().trim_end(), format!("{mac} dev {targets} sticky master br7 static"));

    // From the target's address to the link-local group, which the kernel learns from before any table sees it.
    let inside = format!("nsenter --target {} --net", liar.pid());
    let lie = || {
        let index = host.sh(&format!("{inside} ip -o link show eth0 | cut -d: -f1")).ok();
        let source = mac.replace(':', "");
        host.sh(&format!(
            r#"{inside} perl -MSocket -e 'socket(my $s, 17, 3, 0) or die $!;
            my $to = pack("SnlSCCa8", 17, 0x88cc, {index}, 0, 0, 6, pack("H*", "0180c200000e"));
            for (1..20) {{ send($s, pack("H*", "0180c200000e{source}88cc") . "x" x 50, 0, $to) or die $! }}'"#
        ))
        .ok();
    };
    lie();
    assert_eq!(entry().trim_end(), format!("{mac} dev {targets} sticky master br7 static"));
    // The control: where the port learns and the entry is gone, the lie is believed.
    let _frozen = host.freeze_daemon();
    host.sh(&format!(
        "ip link set {liars} type bridge_slave learning on group_fwd_mask 0; bridge fdb del {mac} dev {targets} master"
    ))
    .ok();
    lie();
    until("the bridge believes it", || entry().contains(&liars));
}

/// What is sent there is sent back with this in front of it.
fn udp_echo<'h>(host: &'h Host, name: &str) -> Container<'h> {
    let echo = format!(
        r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die;
        while ($s->recv(my $m, 1500)) {{ $s->send("{name}\n") }}"#
    );
    let run = host.run("busybox").flags(&["--volume", "/:/host:ro"]).publish("5353:53/udp");
    run.cmd(&["chroot", "/host", "perl", "-e", &echo]).start()
}

/// Conntrack remembers for as long as a client goes on sending that nobody was there, or who was there before.
#[test]
fn a_udp_client_follows_a_replaced_container() {
    let host = Host::new();
    let client = r#"use IO::Socket::INET; use IO::Select; $| = 1; open(my $f, ">>", "/run/heard"); $f->autoflush(1);
        my $s = IO::Socket::INET->new(PeerAddr => "192.0.2.1", PeerPort => 5353, Proto => "udp") or die;
        my $w = IO::Select->new($s);
        while (1) { $s->send("?"); if ($w->can_read(0.02)) { $s->recv(my $m, 99); print $f $m } select undef, undef, undef, 0.01 }"#;
    let first = udp_echo(&host, "first");
    let _client = host.lan().background(&["perl", "-e", client]);
    let heard = || std::fs::read_to_string(host.path("/run/heard")).unwrap_or_default();
    let entries = || host.sh("conntrack -L --proto udp --orig-port-dst 5353 2>/dev/null").ok();
    until("the first answers", || heard().ends_with("first\n"));
    let address = first.address();
    assert!(entries().contains(&format!("src={address} ")), "{}", entries());
    first.verb(&["rm", "--force"]).ok();
    // The control: the flow goes on, and is remembered as one to the host.
    until("the flow leads to the host", || entries().contains("src=192.0.2.1 dst=192.0.2.2 sport=5353"));
    assert!(!entries().contains(&format!("src={address} ")), "{}", entries());
    let _second = udp_echo(&host, "second");
    until("the second answers", || heard().ends_with("second\n"));
}

#[test]
fn what_a_container_had_under_way_ends_with_it() {
    let host = Host::new();
    let web = host.run("busybox").publish("8080:80").serving().start();
    let stays = host.run("busybox").publish("8081:80").serving().start();
    // Connected, and silent.
    let hold =
        "exec 3<>/dev/tcp/192.0.2.1/8080; exec 4<>/dev/tcp/192.0.2.1/8081; touch /run/held; read -r <&3; sleep 60";
    host.lan().get("http://192.0.2.1:8080/");
    host.lan().get("http://192.0.2.1:8081/");
    let _client = host.lan().background(&["bash", "-c", hold]);
    until("the client is connected", || host.path("/run/held").exists());
    let (address, others) = (web.address(), stays.address());
    let established = |address: &str| {
        let outcome = host.sh("conntrack -L --proto tcp 2>/dev/null | grep ESTABLISHED");
        outcome.stdout.contains(&format!("src={address} "))
    };
    assert!(established(&address) && established(&others));
    web.verb(&["kill"]).ok();
    until("the entries are gone", || !host.sh("conntrack -L 2>/dev/null").ok().contains(&format!("={address} ")));
    assert!(established(&others), "of nobody else");
}

/// How long what somebody changed may stay so.
const SOON: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs `change` on the host, and waits until `state` says again what it said before. First with the daemon frozen: then
/// nothing comes back, and `state` is one that the change does change.
#[track_caller]
fn restored(host: &Host, change: &str, state: &str, words: &str) {
    let look = || host.sh(state).stdout;
    // nft lists nothing where the daemon writes at the same moment.
    let before = eventually("there is something to see", || Some(look()).filter(|it| !it.is_empty()).ok_or("nothing"));
    let log = || host.daemon().log();
    let seen = log().len();
    {
        let _frozen = host.freeze_daemon();
        host.sh(change).ok();
        assert!(look() != before, "`{change}` changes nothing that `{state}` shows: {before}");
    }
    let begin = std::time::Instant::now();
    until(&format!("`{change}` is undone; before: {before}"), || look() == before);
    // The machine has others to serve; the promise is about this one's work.
    if begin.elapsed() > SOON {
        eprintln!("`{change}` was undone after {:?}", begin.elapsed());
    }
    until(&format!("the log says {words:?} of `{change}`"), || log()[seen..].contains(words));
    let lines = log()[seen..].lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines, 1, "one line: {}", &log()[seen..]);
}

const TABLES: &str = "nft --stateless --numeric list ruleset | sort";

#[test]
fn the_firewall_is_restored_whatever_becomes_of_it() {
    let host = Host::with(&["--icc=false"]);
    let _web = host.run("busybox").publish("8080:80").serving().start();
    for (change, words) in [
        (
            "nft flush ruleset",
            "deleted table inet pontoon-pontoon0; deleted table arp pontoon-pontoon0; deleted table bridge pontoon-pontoon0",
        ),
        ("nft delete table inet pontoon-pontoon0", "deleted table inet pontoon-pontoon0"),
        ("nft delete table bridge pontoon-pontoon0", "deleted table bridge pontoon-pontoon0"),
        ("nft delete table arp pontoon-pontoon0", "deleted table arp pontoon-pontoon0"),
        (
            "nft insert rule inet pontoon-pontoon0 forward accept",
            "added 1 rule to chain forward of table inet pontoon-pontoon0",
        ),
        (
            "nft delete element inet pontoon-pontoon0 published_any_port { tcp . 8080 }",
            "deleted 1 element from published_any_port of table inet pontoon-pontoon0",
        ),
        ("nft flush chain inet pontoon-pontoon0 forward", "from chain forward of table inet pontoon-pontoon0"),
    ] {
        restored(&host, change, TABLES, words);
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "{change}");
    }
    let events = host.docker(&["events", "--since", "10m", "--until", "0s", "--filter", "type=network"]).ok();
    let lines: Vec<_> = events.lines().filter(|line| line.contains("network repair")).collect();
    assert_eq!(lines.len(), 7, "{events}");
    assert!(lines.iter().all(|line| line.contains("process=nft") && line.contains("pid=")), "{events}");
    // Other tables are others' business.
    let log = host.daemon().log();
    host.sh("nft add table inet mine && nft add chain inet mine c && nft delete table inet mine").ok();
    restored(&host, "nft delete table inet pontoon-pontoon0", TABLES, "deleted table inet pontoon-pontoon0");
    let said = host.daemon().log()[log.len()..].to_owned();
    assert_eq!(said.matches("was changed by another program").count(), 1, "{said}");
}

/// What is seen of the bridge and of its ports, but for what changes by itself.
const BRIDGE: &str = "ip -o link show master pontoon0 | sed 's/^[0-9]*: //; s/@.*master/ master/; s/ mode .*//'
    ip -o link show pontoon0 | sed 's/^[0-9]*: //' | grep -o 'mtu [0-9]*\\|[<,]UP\\|NOARP\\|ether [^ ]*'
    ip route show dev pontoon0
    ip -o -4 address show pontoon0 | grep -o 'inet [0-9./]*'
    ip -json -d link show pontoon0 | jq -r '.[].linkinfo.info_data | .stp_state, .vlan_filtering, .group_fwd_mask, .nf_call_iptables'
    ip -json -d link show master pontoon0 | jq -c '.[].linkinfo.info_slave_data |
        [.state, .isolated, .learning, .flood, .hairpin, .mcast_flood, .bcast_flood, .mcast_to_unicast, .neigh_suppress, .proxy_arp,
         .group_fwd_mask, .locked, .guard, .root_block, .multicast_router]'
    bridge fdb show br pontoon0 | grep static
    ip neigh show dev pontoon0 nud permanent
    sysctl net.ipv4.ip_forward net.ipv4.conf.pontoon0.route_localnet net.ipv4.conf.pontoon0.proxy_arp_pvlan
    sysctl net.ipv6.conf.pontoon0.disable_ipv6 net.ipv6.conf.pontoon0.accept_ra
    sysctl net.ipv4.conf.pontoon0.proxy_arp net.ipv4.conf.pontoon0.accept_local net.ipv4.conf.pontoon0.accept_source_route";

#[test]
fn the_bridge_is_restored_whatever_becomes_of_it() {
    let host = Host::with(&["--icc=false"]);
    let web = host.run("busybox").publish("8080:80").serving().start();
    let mac = web.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
    let port = host.sh(&format!("bridge fdb show br pontoon0 | awk '/^{mac} /{{print $3}}'")).ok();
    let address = web.address();
    let with = |words: &str| words.replace("PORT", &port).replace("MAC", &mac).replace("ADDRESS", &address);
    let changes = [
        ("ip neigh del ADDRESS dev pontoon0", "deleted the host's entry of who has ADDRESS on bridge pontoon0"),
        (
            "ip neigh replace ADDRESS lladdr 02:00:00:00:00:77 nud permanent dev pontoon0",
            "changed the host's entry of who has ADDRESS on bridge pontoon0",
        ),
        (
            "ip neigh replace ADDRESS lladdr MAC nud stale dev pontoon0",
            "changed the host's entry of who has ADDRESS on bridge pontoon0",
        ),
        (
            "ip neigh replace 172.17.0.99 lladdr MAC nud permanent dev pontoon0",
            "told the host who has 172.17.0.99 on bridge pontoon0, which is no container's",
        ),
        ("bridge link set dev PORT isolated off", "changed isolated of port PORT"),
        ("SYSFS/class/net/PORT/brport/learning'", "changed learning of port PORT"),
        ("ip link set PORT type bridge_slave flood on", "changed flood of port PORT"),
        ("ip link set PORT type bridge_slave hairpin on", "changed hairpin of port PORT"),
        ("ip link set PORT type bridge_slave mcast_flood off", "changed mcast_flood of port PORT"),
        ("ip link set PORT type bridge_slave bcast_flood off", "changed bcast_flood of port PORT"),
        ("ip link set PORT type bridge_slave mcast_to_unicast on", "changed mcast_to_unicast of port PORT"),
        ("ip link set PORT type bridge_slave neigh_suppress on", "changed neigh_suppress of port PORT"),
        ("ip link set PORT type bridge_slave proxy_arp on", "changed proxy_arp of port PORT"),
        ("ip link set PORT type bridge_slave group_fwd_mask 0", "changed group_fwd_mask of port PORT"),
        ("ip link set PORT type bridge_slave locked on", "changed locked of port PORT"),
        ("bridge link set dev PORT mcast_router 2", "changed mcast_router of port PORT"),
        ("ip link set PORT mtu 1400", "set the MTU of port PORT to 1400"),
        ("ip link set pontoon0 arp off", "switched ARP off on bridge pontoon0"),
        ("ip route del 172.17.0.0/16 dev pontoon0", "deleted the route to 172.17.0.0/16 by bridge pontoon0"),
        ("bridge link set dev PORT state 0", "changed the state of port PORT"),
        ("ip link set PORT down", "set port PORT down"),
        ("ip link set PORT nomaster", "took port PORT off the bridge"),
        ("bridge fdb del MAC dev PORT master", "changed the forwarding entry of MAC on port PORT"),
        (
            "bridge fdb add 02:00:00:00:00:77 dev PORT master static",
            "entered 02:00:00:00:00:77 into the forwarding table",
        ),
        ("ip link set pontoon0 down", "set bridge pontoon0 down"),
        ("ip link set pontoon0 mtu 1300", "set the MTU of bridge pontoon0 to 1300"),
        // Below 1280 an interface has no IPv6, and its parameters are made anew when it has more again.
        ("ip link set pontoon0 mtu 1200", "set the MTU of bridge pontoon0 to 1200"),
        (
            "ip link set pontoon0 address 02:00:00:00:00:78",
            "set the hardware address of bridge pontoon0 to 02:00:00:00:00:78",
        ),
        ("ip link set pontoon0 type bridge stp_state 1", "changed stp_state of bridge pontoon0"),
        ("ip link set pontoon0 type bridge group_fwd_mask 8", "changed group_fwd_mask of bridge pontoon0"),
        ("ip address flush dev pontoon0", "removed address 172.17.0.1/16 from bridge pontoon0"),
        ("ip address add 10.9.9.9/24 dev pontoon0", "added address 10.9.9.9/24 to bridge pontoon0"),
        ("sysctl -w net.ipv4.ip_forward=0", "set net.ipv4.ip_forward to 0"),
        ("sysctl -w net.ipv4.conf.pontoon0.proxy_arp_pvlan=0", "set net.ipv4.conf.pontoon0.proxy_arp_pvlan to 0"),
        ("sysctl -w net.ipv4.conf.pontoon0.proxy_arp=1", "set net.ipv4.conf.pontoon0.proxy_arp to 1"),
        ("sysctl -w net.ipv4.conf.pontoon0.accept_local=1", "set net.ipv4.conf.pontoon0.accept_local to 1"),
        (
            "sysctl -w net.ipv4.conf.pontoon0.accept_source_route=1",
            "set net.ipv4.conf.pontoon0.accept_source_route to 1",
        ),
        ("ip link set PORT down; ip link set PORT name mine", "renamed port PORT"),
        ("ip link del PORT", "deleted port PORT"),
        (
            "ip link del PORT && ip link add PORT type veth peer name other && ip link set PORT master pontoon0 up",
            "put another interface in the place of port PORT",
        ),
        ("ip link set pontoon0 down; ip link set pontoon0 name mine", "renamed bridge pontoon0"),
        ("ip link del pontoon0", "deleted bridge pontoon0"),
    ];
    for (change, words) in &changes {
        // /sys shows the network that it was mounted in.
        let change =
            with(change).replace("SYSFS", "unshare --mount bash -c 'mount -t sysfs sysfs /sys && echo 1 >/sys");
        restored(&host, &change, BRIDGE, &with(words));
        assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello", "{change}");
        web.exec(&["ping", "-c1", "-W2", "172.17.0.1"]).ok();
    }
    let events = host.docker(&["events", "--since", "10m", "--until", "0s", "--filter", "event=repair"]).ok();
    assert!(events.lines().count() >= changes.len(), "{events}");
    // What ends is not repaired.
    let log = host.daemon().log().len();
    web.verb(&["rm", "--force"]).ok();
    host.run("busybox").cmd(&["true"]).once().ok();
    assert!(!host.daemon().log()[log..].contains("by another program"), "{}", host.daemon().log());
}

/// More is told than the daemon can keep, and so the last of it is lost: it looks at everything then.
#[test]
fn what_is_lost_in_a_flood_of_messages_is_found() {
    let host = Host::with(&["--icc=false"]);
    let web = host.run("busybox").publish("8080:80").serving().start();
    let mac = web.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
    let port = host.sh(&format!("bridge fdb show br pontoon0 | awk '/^{mac} /{{print $3}}'")).ok();
    let address = web.address();
    // Netlink sockets of the daemon that lost something, by protocol.
    let dropped = |protocol: u32| {
        let script = format!("awk '$2 == {protocol} && $9 > 0' /proc/net/netlink | wc -l");
        host.sh(&script).ok().trim().parse::<u32>().expect("a number") > 0
    };
    let (links, tables) = (host.sh(BRIDGE).stdout, host.sh(TABLES).stdout);
    {
        let _frozen = host.freeze_daemon();
        host.sh("ip link add flood type bridge").ok();
        let toggles = "for n in $(seq 2000); do echo link set flood mtu 1400; echo link set flood mtu 1401; done";
        until("a message of the bridge is lost", || {
            host.sh(&format!("({toggles}) | ip -batch -")).ok();
            dropped(0)
        });
        host.sh(&format!(
            "ip link set {port} type bridge_slave isolated off learning on; bridge fdb del {mac} dev {port} master
            ip neigh del {address} dev pontoon0; ip neigh add 172.17.0.99 lladdr {mac} nud permanent dev pontoon0
            bridge fdb add 02:00:00:00:00:77 dev {port} master static; ip link set pontoon0 mtu 1300
            ip address add 10.9.9.9/24 dev pontoon0; ip link add evil0 type veth peer name evil1; ip link set evil0 up master pontoon0"
        ))
        .ok();
        let elements = "seq -s, 1 60000 | sed 's/^/add element inet flood s { /; s/$/ }/'";
        host.sh("nft 'add table inet flood; add set inet flood s { type mark; }'").ok();
        until("a message of the tables is lost", || {
            host.sh(&format!("{elements} | nft -f - && nft flush set inet flood s")).ok();
            dropped(12)
        });
        host.sh("nft delete table bridge pontoon-pontoon0; nft add rule inet pontoon-pontoon0 forward accept").ok();
        assert!(host.sh(BRIDGE).stdout != links);
    }
    host.sh("nft delete table inet flood").ok();
    until("the bridge is restored", || host.sh(BRIDGE).stdout == links);
    until("the tables are restored", || host.sh(TABLES).stdout == tables);
    assert!(!host.sh("ip link show evil0").ok().contains("master"));
    host.sh("ip link del evil0; ip link del flood").ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    // It listens on.
    restored(&host, &format!("bridge link set dev {port} isolated off"), BRIDGE, "changed isolated of port");
    restored(&host, "nft delete table bridge pontoon-pontoon0", TABLES, "deleted table bridge pontoon-pontoon0");
}

/// Where the kernel tells by whom: a program that stays, so that it can be seen.
#[test]
fn who_did_it_is_named_where_the_kernel_tells() {
    let host = Host::with(&[]);
    let _web = host.run("busybox").serving().start();
    let seen = host.daemon().log().len();
    let script = "mkfifo /run/orders; exec ip -batch /run/orders";
    let _ip = host.itself().background(&["bash", "-c", script]);
    host.sh("until [ -p /run/orders ]; do :; done; exec 7>/run/orders; echo address del 172.17.0.1/16 dev pontoon0 >&7; sleep 2").ok();
    until("it is named", || {
        let log = host.daemon().log();
        let line = log[seen..].lines().find(|line| line.contains("removed address 172.17.0.1/16"));
        line.is_some_and(|line| line.contains("by=ip (pid"))
    });
}

/// Packets, not listings: a flood that is refused gets in while the tables are away, even as a flow that is answered, and
/// is out again when they are back.
#[test]
fn a_flood_that_got_in_is_turned_out() {
    let host = Host::with(&["--icc=false"]);
    let echo = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die;
        while ($s->recv(my $m, 1500)) { $s->send($m) }"#;
    let run = || host.run("busybox").flags(&["--volume", "/:/host:ro"]);
    let target = run().cmd(&["chroot", "/host", "perl", "-e", echo]).start();
    let neighbour = run().cmd(&["sleep", "1000"]).start();
    let (address, pid) = (target.address(), target.pid());
    let flood = format!(
        r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "{address}", PeerPort => 53, Proto => "udp") or die;
        while (1) {{ $s->send("?"); select undef, undef, undef, 0.002 }}"#
    );
    let _lan = host.lan().background(&["perl", "-e", &flood]);
    let inside = format!("--net=/proc/{}/ns/net", neighbour.pid());
    let _inside = host.itself().background(&["nsenter", &inside, "perl", "-e", &flood]);
    let received = || {
        let text = host.sh(&format!("cat /proc/{pid}/net/snmp | grep '^Udp:' | tail -1 | cut -d' ' -f2")).ok();
        text.trim().parse::<u64>().unwrap()
    };
    let refused = || {
        let text = host.sh("nft list counters table inet pontoon-pontoon0 | grep -o 'packets [0-9]*'").stdout;
        text.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    until("the floods are refused", || refused() > 200);
    assert_eq!(received(), 0);
    {
        // The control: nobody puts the tables back.
        let _frozen = host.freeze_daemon();
        host.sh("nft flush ruleset").ok();
        until("the floods get in", || received() > 200);
    }
    // Counters begin anew with the table.
    until("the floods are refused again", || refused() > 50);
    let then = received();
    let before = refused();
    until("they go on", || refused() > before + 200);
    assert_eq!(received(), then);
}

/// A flow through a published port meets the tables of the daemon that died, and then those of the next one.
#[test]
fn a_restarted_daemon_loses_no_packet_of_a_flow() {
    let host = Host::new();
    let echo = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die;
        while ($s->recv(my $m, 1500)) { $s->send($m) }"#;
    let run = host.run("busybox").flags(&["--volume", "/:/host:ro"]).publish("5353:53/udp");
    let _echo = run.cmd(&["chroot", "/host", "perl", "-e", echo]).start();
    let client = r#"use IO::Socket::INET; use IO::Select; my $n = 0; open(my $f, ">>", "/run/heard"); $f->autoflush(1);
        my $s = IO::Socket::INET->new(PeerAddr => "192.0.2.1", PeerPort => 5353, Proto => "udp") or die;
        my $w = IO::Select->new($s);
        while (1) { $s->send($n); print $f ($w->can_read(1) && $s->recv(my $m, 99) ? "$n\n" : "lost\n"); $n++;
            select undef, undef, undef, 0.002 }"#;
    // The server may need a moment.
    let ask = "exec 3<>/dev/udp/192.0.2.1/5353; echo ping >&3; timeout 1 head -1 <&3";
    until("the echo answers", || host.lan().sh(ask).stdout == "ping\n");
    let _client = host.lan().background(&["perl", "-e", client]);
    let heard = || std::fs::read_to_string(host.path("/run/heard")).unwrap_or_default();
    let go_on = || {
        let lines = heard().lines().count();
        until("the flow goes on", || heard().lines().count() > lines + 20);
    };
    go_on();
    for _ in 0..3 {
        host.kill_daemon();
        go_on();
        host.restart_daemon();
        go_on();
    }
    assert!(!heard().contains("lost"), "{}", heard());
    // The control: what is dropped is missed.
    host.sh("nft add table ip control && nft add chain ip control c '{ type filter hook forward priority 5; policy drop; }'").ok();
    until("a packet is missed", || heard().contains("lost"));
    host.sh("nft delete table ip control").ok();
}

/// The neighbours knock at the next addresses all the time; a packet that got in would be counted inside.
#[test]
fn a_fresh_container_is_closed_from_its_first_moment_on() {
    let host = Host::with(&["--icc=false"]);
    let neighbour = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let flood = r#"use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0) or die;
        while (1) { for my $i (3..7) { send($s, "?", 0, pack_sockaddr_in(9, inet_aton("172.17.0.$i"))) }
            select undef, undef, undef, 0.001 }"#;
    let _lan = host.lan().background(&["perl", "-e", flood]);
    let inside = format!("--net=/proc/{}/ns/net", neighbour.pid());
    let _inside = host.itself().background(&["nsenter", &inside, "perl", "-e", flood]);
    let started: Vec<_> = (0..4).map(|_| host.run("busybox").cmd(&["sleep", "1000"]).start()).collect();
    let pids: Vec<_> = started.iter().map(Container::pid).collect();
    // To a port that nobody has.
    let received = |pid: &u32| {
        let text = host.sh(&format!("cat /proc/{pid}/net/snmp | grep '^Udp:' | tail -1 | cut -d' ' -f3")).ok();
        text.trim().parse::<u64>().unwrap()
    };
    assert_eq!(pids.iter().map(received).collect::<Vec<_>>(), [0; 4]);
    // The control: without the tables it gets in.
    let _frozen = host.freeze_daemon();
    host.sh("nft flush ruleset").ok();
    until("the flood gets in everywhere", || pids.iter().all(|pid| received(pid) > 10));
}

/// The host's uplink on our bridge by mistake: it is taken off, and is what it was.
#[test]
fn an_uplink_that_is_put_on_the_bridge_stays_an_uplink() {
    let host = Host::new();
    let _web = host.run("busybox").name("web").publish("8080:80").serving().start();
    host.sh("ip route replace default via 192.0.2.2 dev lan0").ok();
    host.lan().get("http://192.0.2.1:8080/");
    host.sh("ip link set lan0 master pontoon0").ok();
    until("it is off the bridge", || !host.sh("ip link show lan0").ok().contains("master"));
    until("it is said", || host.daemon().log().contains("put a port on bridge pontoon0: lan0"));
    let link = host.sh("ip link show lan0").ok();
    assert!(link.contains(",UP") && !host.daemon().log().contains("down now"), "{link}");
    assert!(host.sh("ip route show default").ok().contains("192.0.2.2"), "{}", host.sh("ip route").ok());
    host.lan().get("http://192.0.2.1:8080/");
}
