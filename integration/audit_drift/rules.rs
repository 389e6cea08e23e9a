//! The daemon's tables, tampered with by nft.

use super::Bite::{Closes, Opens, Quiet, Unpublishes};
use super::Cure::Repair;
use super::{Scene, Tampering, daemon};

const RULES: &[Tampering] = &[
    Tampering {
        command: "nft delete element inet TABLE linked '{ WEBAT . DBAT . tcp . 80 }'",
        kinds: &["element-missing"],
        words: "element WEBAT . DBAT . tcp . 80 of linked is missing: web's link to db on 80/tcp",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "nft add element inet TABLE linked '{ DBAT . WEBAT . tcp . 80 }'",
        kinds: &["element-added"],
        words: "db's link to web on 80/tcp, which nobody asked for",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft delete element inet TABLE endpoints '{ WEBAT }'",
        kinds: &["element-missing"],
        words: "that the rules take web for a container",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft delete element inet TABLE admitted '{ WEBAT . tcp . 80 }'",
        kinds: &["element-missing"],
        words: "that who is led to web's 80/tcp passes",
        bite: Unpublishes,
        cure: Repair,
    },
    Tampering {
        command: "nft 'delete element inet TABLE published_any_address { tcp . 8080 }; \
                  delete element inet TABLE published_any_port { tcp . 8080 }'",
        kinds: &["element-missing", "element-missing"],
        words: "that port 0.0.0.0:8080/tcp of the host leads to web",
        bite: Unpublishes,
        cure: Repair,
    },
    Tampering {
        command: "nft 'add element inet TABLE published_any_address { tcp . 9999 : DBAT }; \
                  add element inet TABLE published_any_port { tcp . 9999 : 80 }'",
        kinds: &["element-added", "element-added"],
        words: "that port 0.0.0.0:9999/tcp of the host leads to db, which nobody asked for",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft delete element bridge TABLE sources '{ \"WEBPORT\" . WEBMAC . WEBAT }'",
        kinds: &["element-missing"],
        words: "that WEBMAC and WEBAT are the addresses of web",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "nft add element bridge TABLE sources '{ \"WEBPORT\" . WEBMAC . DBAT }'",
        kinds: &["element-added"],
        words: "that WEBMAC and DBAT are the addresses of web, which nobody asked for",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft insert rule inet TABLE to_containers accept",
        kinds: &["rule-added"],
        words: "rule `accept` in chain to_containers of table inet TABLE is not one of ours, before",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft insert rule inet TABLE to_containers tcp dport 80 drop",
        kinds: &["rule-added"],
        words: "rule `tcp dport 80 drop` in chain to_containers",
        bite: Closes,
        cure: Repair,
    },
    Tampering {
        command: "nft flush chain inet TABLE forward",
        kinds: &["rule-missing"],
        words: "rule `oifname \"pontoon0\" goto to_containers comment \"to containers\"` of chain forward",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "handle=$(nft -a list chain inet TABLE to_containers | sed -n 's/.*\"replies\" # handle //p'); \
                  nft replace rule inet TABLE to_containers handle $handle accept",
        kinds: &["rule-added", "rule-missing"],
        words: "rule `ct state established accept comment \"replies\"` of chain to_containers of table inet TABLE is missing",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft 'flush chain inet TABLE forward; delete chain inet TABLE forward'",
        kinds: &["chain-missing"],
        words: "chain forward of table inet TABLE is missing",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft 'flush chain inet TABLE forward; delete chain inet TABLE forward; add chain inet TABLE forward { type \
                  filter hook forward priority 10; policy accept; }; add rule inet TABLE forward oifname \"pontoon0\" goto \
                  to_containers comment \"to containers\"'",
        kinds: &["chain-changed"],
        words: "chain forward of table inet TABLE is `type filter hook forward priority filter + 10; policy accept`",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft 'chain inet TABLE forward { policy drop; }'",
        kinds: &["chain-changed"],
        words: "policy drop` and should be `type filter hook forward priority filter; policy accept`",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft add chain inet TABLE mine '{ type filter hook output priority 5; }'",
        kinds: &["chain-added"],
        words: "chain mine of table inet TABLE is not one of ours",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft add set inet TABLE mine '{ type ipv4_addr; }'",
        kinds: &["set-added"],
        words: "set mine of table inet TABLE is not one of ours",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft add table inet TABLE '{ flags dormant; }'",
        kinds: &["table-dormant"],
        words: "table inet TABLE is dormant",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft delete table inet TABLE",
        kinds: &["table-missing"],
        words: "table inet TABLE is missing: nothing judges who reaches containers",
        bite: Opens,
        cure: Repair,
    },
    Tampering {
        command: "nft delete table bridge TABLE",
        kinds: &["table-missing"],
        words: "nothing keeps containers from speaking in each other's names",
        bite: Quiet,
        cure: Repair,
    },
    Tampering {
        command: "nft flush ruleset",
        kinds: &["table-missing", "table-missing", "table-missing"],
        words: "table bridge TABLE is missing",
        bite: Unpublishes,
        cure: Repair,
    },
];

#[test]
fn what_nft_does_to_the_tables() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    for tampering in RULES {
        scene.suffers(tampering);
        let (answer, _) = scene.drift(&[]);
        let repaired = answer["repaired"].as_array().expect("a list");
        let last = repaired.iter().find(|it| it["subject"] != "flow").expect("it was put right");
        assert!(last["by"].as_str().is_some_and(|by| by.starts_with("nft (pid ")), "{answer:#}");
    }
    let text = host.pontoon(&["audit", "drift"]).ok();
    assert!(text.starts_with("no drift: everything is as it should be\n\nput right:\n"), "{text}");
}

/// What somebody did is known by the time and by whom it was done, not by when it was asked for.
#[test]
fn since_when_and_by_whom() {
    let host = daemon(&["--repair=false"]);
    let scene = Scene::on(&host);
    host.sh(&scene.spell("nft delete element inet TABLE linked '{ WEBAT . DBAT . tcp . 80 }'")).ok();
    crate::harness::until("the log says it", || host.daemon().log().contains("web's link to db on 80/tcp"));
    host.sh("bash -c 'exec -a other nft add table inet other'").ok();
    let (first, _) = scene.drift(&[]);
    let (then, _) = scene.drift(&[]);
    assert_eq!(first["differences"], then["differences"]);
    let difference = &then["differences"][0];
    assert!(difference["by"].as_str().is_some_and(|by| by.starts_with("nft (pid ")), "{then:#}");
    assert!(difference["since"].as_str() < first["taken"].as_str(), "{then:#}");
    assert_eq!(difference["containers"], serde_json::json!(["db", "web"]));
    host.sh("nft delete table inet other").ok();
    host.pontoon(&["audit", "drift", "--repair"]).ok();
}
