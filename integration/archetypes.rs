//! The four ways of a container to its network: none, bridge, host, another container's.

use crate::harness::{Cli, Host};

#[test]
fn none_has_only_its_loopback() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let inside = host.run("busybox").by(cli).net("none").sh("ls /sys/class/net; ip -o -4 addr; ip route").once();
        let text = inside.ok();
        assert_eq!(text.lines().next(), Some("lo"), "{inside}");
        assert!(text.contains("127.0.0.1/8") && !text.contains("eth0"), "{inside}");
        assert!(!text.contains("default"), "{inside}");
    }
}
