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
