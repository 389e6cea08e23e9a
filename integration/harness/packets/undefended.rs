//! A host without its defences: the control of an attack.

use crate::harness::host::Host;

/// Takes away what stands between containers: tables, isolation, fixed entries of who is behind which port and of who has
/// which address. What remains is a plain bridge.
const WITHOUT_DEFENCES: &str = r#"
set -e -o pipefail
nft list tables | grep pontoon | while read -r word family name; do nft delete table "$family" "$name"; done
for port in $(ip -json link show master pontoon0 | jq -r '.[].ifname'); do
    bridge link set dev "$port" isolated off learning on flood on mcast_flood on bcast_flood on neigh_suppress off locked off
    for mac in $(bridge -json fdb show brport "$port" | jq -r '.[] | select(.state == "static") | .mac'); do
        bridge fdb del "$mac" dev "$port" master
    done
done
ip neigh show dev pontoon0 nud permanent | while read -r address lladdr mac rest; do
    ip neigh replace "$address" lladdr "$mac" nud stale dev pontoon0
done
"#;

/// Only where the host's own switch (`all`) is on, too: a test's choice.
const CREDULOUS: &str = "sysctl -qw net.ipv4.conf.pontoon0.accept_source_route=1";
/// A bridge that listens to IGMP sends multicast to who asked for it, once anybody (an attack, say) has played the querier.
const MULTICAST_TO_ALL: &str = "ip link set pontoon0 type bridge mcast_snooping 0";
const MULTICAST_TO_SOME: &str = "ip link set pontoon0 type bridge mcast_snooping 1";
const FORGET_FLOWS: &str = "conntrack --flush 2>&1";

impl Host {
    /// Does something while the daemon is dead, its tables are gone and its bridge is like any other. Afterwards there is
    /// a daemon again, and everything as it was.
    pub fn without_defences<T>(&self, action: impl FnOnce() -> T) -> T {
        self.kill_daemon();
        self.sh(WITHOUT_DEFENCES).ok();
        self.sh(CREDULOUS).ok();
        self.sh(MULTICAST_TO_ALL).ok();
        // What was refused before is tried anew, and what is let in now is no flow that stands later.
        self.sh(FORGET_FLOWS).ok();
        let result = action();
        self.sh(FORGET_FLOWS).ok();
        self.sh(MULTICAST_TO_SOME).ok();
        self.restart_daemon();
        result
    }
}
