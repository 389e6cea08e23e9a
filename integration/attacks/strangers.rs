//! A host's own firewall: none of our business.

use crate::harness::Host;

/// What an administrator has, in the families and at the hooks that we use too.
const OWN: &str = r#"nft -f - <<'END'
table inet filter {
    set trusted { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }; }
    map doors { type inet_service : verdict; elements = { 22 : accept, 25 : drop }; }
    counter seen { }
    chain input {
        type filter hook input priority filter; policy accept;
        counter name seen
        tcp dport vmap @doors
        ct state invalid counter drop comment "an admin's own"
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ip saddr 198.51.100.66 counter drop
    }
}
table ip nat {
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport 2222 redirect to :22
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "lan7" masquerade
    }
}
table bridge filter {
    chain forward {
        type filter hook forward priority filter; policy accept;
        counter
    }
}
table inet pontoon {
    chain input {
        type filter hook input priority 10; policy accept;
        counter
    }
}
table netdev early {
}
END"#;

#[test]
fn tables_of_others_stay_as_they_are() {
    let mut host = Host::bare();
    host.sh(OWN).ok();
    // With handles: what was deleted and made again has another one. Without what counters counted.
    let listed = |host: &Host| {
        let tables = ["inet filter", "ip nat", "bridge filter", "inet pontoon", "netdev early"];
        tables.map(|table| host.sh(&format!("nft --stateless --handle list table {table}")).ok())
    };
    let before = listed(&host);
    let same = |host: &Host, when: &str| assert_eq!(listed(host), before, "{when}");

    host.start_daemon(&["--icc=false"]);
    same(&host, "after the daemon's start");
    let web = host.run("busybox").name("web").publish("8080:80").serving().start();
    host.run("busybox").flags(&["--link", "web"]).cmd(&["true"]).once().ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    same(&host, "with a container");
    host.kill_daemon();
    host.restart_daemon();
    same(&host, "after a crash");
    web.verb(&["rm", "--force"]).ok();
    same(&host, "after the container");
    host.stop_daemon();
    same(&host, "without the daemon");
    host.restart_daemon();
}

/// What the administrator forbids is forbidden to containers too.
#[test]
fn what_others_drop_stays_dropped() {
    let mut host = Host::bare();
    host.sh("nft 'add table inet admin; add chain inet admin forward { type filter hook forward priority -10; }'").ok();
    host.start_daemon(&[]);
    let _web = host.run("busybox").publish("8080:80").serving().start();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    host.sh("nft add rule inet admin forward ip saddr 192.0.2.2 drop").ok();
    host.lan().cannot_get("http://192.0.2.1:8080/");
    host.sh("nft flush table inet admin").ok();
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
}
