//! Elements that are holes count who uses them: `audit why` tells it.

use crate::harness::{Container, Host, until};

/// `database` serves on 5432; `front` has a link to it and a published port, and so has `idle`.
struct Shop<'h> {
    host: &'h Host,
    front: Container<'h>,
}

impl<'h> Shop<'h> {
    fn open(host: &'h Host) -> Self {
        host.run("busybox").name("database").flags(&["--expose", "5432"]).sh("httpd -f -h /www -p 5432").start();
        let linked = |name: &str, port: &str| {
            let run = host.run("busybox").name(name).flags(&["--link", "database:store"]);
            run.publish(port).serving().start()
        };
        let front = linked("front", "8080:80");
        linked("idle", "9090:80");
        Self { host, front }
    }

    /// A connection by the link, and one by the published port.
    fn is_used(&self) {
        until("the database answers", || self.front.sh("nc -w 1 store 5432 </dev/null").code == 0);
        assert_eq!(self.host.lan().get("http://192.0.2.1:8080/"), "hello");
    }

    /// The element and what it counted, as `why` has them in JSON.
    fn hits(&self, from: &str, to: &str, port: &str) -> (String, u64) {
        let why = self.host.pontoon(&["audit", "why", from, to, port, "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&why.ok()).expect("it speaks JSON");
        let ways = json["ways"].as_array().expect("a list").iter();
        let mut counting = ways.filter(|way| way["cell"]["kernel"] == "allow").map(|way| &way["decider"]);
        let decider = counting.next().expect("it may");
        let element = decider["element"].as_str().expect("an element").to_owned();
        let hits = decider["hits"].as_u64().unwrap_or_else(|| panic!("{element} does not count"));
        (element, hits)
    }
}

/// What was counted is no difference either, and a daemon that comes back leaves it.
#[test]
fn what_is_used_is_counted_whatever_becomes_of_the_daemon() {
    let host = Host::with(&["--icc=false"]);
    let shop = Shop::open(&host);
    assert_eq!(shop.hits("front", "database", "5432").1, 0);
    shop.is_used();
    let (link, row) = (shop.hits("front", "database", "5432"), shop.hits("lan", "front", "80"));
    assert!(link.0.starts_with("@linked { ") && link.1 > 0, "{link:?}");
    assert!(row.0 == "@published_any_address { tcp . 8080 }" && row.1 > 0, "{row:?}");
    assert_eq!(shop.hits("idle", "database", "5432").1, 0);
    assert_eq!(shop.hits("lan", "idle", "80").1, 0);
    let words = host.pontoon(&["audit", "why", "front", "database", "5432"]).ok();
    assert!(words.contains(&format!("  hits     {} connection attempt", link.1)), "{words}");
    let words = host.pontoon(&["audit", "why", "lan", "idle", "80"]).ok();
    assert!(words.contains("  hits     none: nobody has used it"), "{words}");
    for restarted in [false, true] {
        if restarted {
            host.kill_daemon();
            host.restart_daemon();
        }
        assert_eq!(shop.hits("front", "database", "5432"), link);
        assert_eq!(shop.hits("lan", "front", "80"), row);
        let drift = host.pontoon(&["audit", "drift"]);
        assert_eq!(drift.code, 0, "{drift}");
    }
}
