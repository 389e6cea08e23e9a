//! The stage itself: what it promises the other tests.

use crate::harness::Host;

#[test]
fn neighbours_reach_each_other_and_nobody_else() {
    let host = Host::bare();
    assert!(host.lan().pings("192.0.2.1") && host.itself().pings("192.0.2.2"));
    assert!(!host.itself().pings("198.51.100.1"), "there is no way out of the stage");
}

#[test]
fn every_kind_of_trace_is_seen() {
    let host = Host::new();
    let before = host.traces();
    let cgroup = format!("/sys/fs/cgroup/pids{}", host.daemon().cgroup);
    for (make, undo, word) in [
        ("ip link add left0 type veth peer name left1", "ip link del left0", "link left1"),
        ("touch /run/pin && unshare --net=/run/pin true", "umount /run/pin && rm /run/pin", "mount nsfs"),
        ("mkdir /run/m && mount -t tmpfs left /run/m", "umount /run/m && rmdir /run/m", "mount tmpfs on /run/m"),
        ("sleep 1000 & echo $! >/run/pid", "kill $(cat /run/pid)", ") sleep 1000"),
        (
            "nft 'add table inet left { set s { type inet_service; elements = { 8080 }; }; }'",
            "nft delete table inet left",
            "8080",
        ),
        (&format!("mkdir -p {cgroup}/left"), &format!("rmdir {cgroup}/left"), "/left"),
    ] {
        host.sh(&format!("{{ {make}; }} >&- 2>&-")).ok();
        let found = host.traces().since(&before).join("\n");
        assert!(found.contains(word), "{make}: not seen, but:\n{found}");
        host.sh(undo).ok();
        host.assert_as(&before);
    }
}
