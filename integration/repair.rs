//! What the kernel holds stays what the intent says, whoever changes it.

use crate::harness::{Container, Host, until};

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
    host.sh(&format!("bridge link set dev {liars} learning on; bridge fdb del {mac} dev {targets} master")).ok();
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
