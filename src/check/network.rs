//! What must be tried: interfaces, rules, parameters and overlay mounts, in namespaces of a thread of its own.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkVeth};

use super::Item;
use crate::firewall;
use crate::model::NetworkOptions;

/// The oldest nft whose JSON holds what the firewall writes.
const OLDEST_NFT: (u32, u32, u32) = (1, 0, 2);

/// All probes that need namespaces. When the thread ends, so does everything that they made.
pub(super) fn items() -> Vec<Item> {
    let probing = std::thread::spawn(|| {
        if let Err(e) = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS) {
            let advice = "run as root; the kernel needs CONFIG_NET_NS";
            return vec![Item::missing("namespaces", format!("cannot make network and mount namespaces: {e}"), advice)];
        }
        let mut items = vec![Item::found("namespaces", "network and mount")];
        items.extend(in_namespaces());
        items
    });
    probing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Of this host's own tables: what would be in containers' way on a bridge of the usual name.
pub(super) fn obstacles() -> Vec<Item> {
    let found = firewall::obstacles(&NetworkOptions::usual());
    let item = |it: &firewall::Obstacle| {
        Item::limited("host firewall", format!("{} drops {}", it.chain, it.what), &*it.advice)
    };
    found.iter().map(item).collect()
}

fn in_namespaces() -> Vec<Item> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return vec![Item::missing("runtime", e.to_string(), "raise the limit of open files")],
    };
    let mut items = runtime.block_on(interfaces());
    items.push(forwarding());
    let nft = nft_version();
    let usable = nft.outcome != super::Outcome::Missing;
    items.push(nft);
    if usable {
        items.extend(runtime.block_on(rules()));
    }
    items.push(overlay());
    items
}

/// A bridge, a veth pair, and a port that is isolated.
async fn interfaces() -> Vec<Item> {
    let netlink = match rtnetlink::new_connection() {
        Ok((connection, netlink, _)) => {
            tokio::spawn(connection);
            netlink
        }
        Err(e) => return vec![Item::missing("netlink", e.to_string(), "boot a kernel with CONFIG_NET")],
    };
    let bridge = netlink.link().add(LinkBridge::new("br0").build()).execute().await;
    let veth = netlink.link().add(LinkVeth::new("veth0", "veth1").build()).execute().await;
    let index = |name| nix::net::if_::if_nametoindex(name).unwrap_or_default();
    let port = LinkBridgePort::new(index("veth0")).controller(index("br0")).build();
    let enslave = netlink.link().set_port(port).execute().await;
    let isolate = netlink.link().set_port(LinkBridgePort::new(index("veth0")).isolated(true).build()).execute().await;
    let tried = |name, result: Result<(), rtnetlink::Error>, found: &str, advice: &str| match result {
        Ok(()) => Item::found(name, found),
        Err(e) => Item::missing(name, e.to_string(), advice),
    };
    vec![
        tried("bridge", bridge, "can be created", "modprobe bridge (CONFIG_BRIDGE)"),
        tried("veth", veth.and(enslave), "pairs, as ports of a bridge", "modprobe veth (CONFIG_VETH)"),
        match isolate {
            Ok(()) => Item::found("isolated ports", "for --icc=false"),
            Err(e) => Item::limited("isolated ports", e.to_string(), "--icc=false needs Linux 4.18 or newer"),
        },
    ]
}

/// Whether parameters below `/proc/sys` can be written; the namespace has its own.
fn forwarding() -> Item {
    let name = "ip_forward";
    match fs::write("/proc/sys/net/ipv4/ip_forward", "1") {
        Ok(()) => Item::found(name, "can be set"),
        Err(e) => Item::missing(name, e.to_string(), "mount /proc/sys writable"),
    }
}

/// The nft command: there, new enough, and with JSON.
fn nft_version() -> Item {
    let name = "nft command";
    let text = match nft(&["-V"]) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(e) => return Item::missing(name, e.to_string(), "apt install nftables"),
    };
    judge_nft(name, &text)
}

fn nft(args: &[&str]) -> std::io::Result<Output> {
    firewall::nft_command().args(args).stdin(Stdio::null()).output()
}

fn judge_nft(name: &'static str, text: &str) -> Item {
    let first = text.lines().next().unwrap_or_default().trim().to_owned();
    let version = first.split_whitespace().find_map(|word| word.strip_prefix('v')).unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let version = (next(), next(), next());
    if version < OLDEST_NFT {
        let (a, b, c) = OLDEST_NFT;
        return Item::missing(name, first, format!("install nftables {a}.{b}.{c} or newer"));
    }
    // `nft -V` lists what it was built with, one a line: `json:  yes`.
    let json = text.lines().filter_map(|line| line.trim().strip_prefix("json:")).any(|value| value.trim() == "yes");
    match json {
        true => Item::found(name, first),
        false => Item::missing(name, format!("{first}, built without JSON"), "install a build with --with-json"),
    }
}

/// Rules of one kind, as nft reads them, and what the kernel needs for them.
const FEATURES: [(&str, &str, &str); 7] = [
    (
        "nf_tables",
        "table inet t { chain c { type filter hook forward priority 0; }; }",
        "modprobe nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET)",
    ),
    (
        "sets and maps",
        "table inet t { set s { type ipv4_addr; elements = { 10.0.0.1 }; }
         map m { type inet_proto . inet_service : ipv4_addr; elements = { tcp . 80 : 10.0.0.1 }; }; }",
        "boot a kernel whose nf_tables has sets (CONFIG_NF_TABLES of 4.1 or newer)",
    ),
    (
        "conntrack",
        "table inet t { chain c { type filter hook forward priority 0; ct state established accept; ct status dnat accept; }; }",
        "modprobe nf_conntrack nft_ct (CONFIG_NF_CONNTRACK, CONFIG_NFT_CT)",
    ),
    (
        "nat",
        "table inet t { chain c { type nat hook prerouting priority -100; tcp dport 1 dnat ip to 10.0.0.1:2; }
         chain d { type nat hook postrouting priority 100; ip saddr 10.0.0.1 masquerade; }; }",
        "modprobe nft_chain_nat nft_masq (CONFIG_NFT_NAT, CONFIG_NFT_MASQ)",
    ),
    (
        "fib",
        "table inet t { chain c { type filter hook prerouting priority 0; fib daddr type local accept; }; }",
        "modprobe nft_fib_inet (CONFIG_NFT_FIB_INET)",
    ),
    (
        "log",
        "table inet t { chain c { type filter hook forward priority 0; limit rate 1/second log group 1; }; }",
        "modprobe nft_limit nft_log nfnetlink_log (CONFIG_NFT_LIMIT, CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG)",
    ),
    (
        "bridge family",
        "table bridge t { set s { type ifname . ether_addr . ipv4_addr; }
         chain c { type filter hook prerouting priority 0; iifname . ether saddr . ip saddr @s accept; }; }",
        "modprobe nf_tables_bridge (CONFIG_NF_TABLES_BRIDGE)",
    ),
];

/// The firewall's own rules, as a whole; kind by kind only if they do not pass, for each transaction takes its time.
async fn rules() -> Vec<Item> {
    let (bridge, inet) = FEATURES.split_last().expect("the list is not empty");
    let one = |(name, text, advice): &(&'static str, &str, &str)| match feed_nft(text) {
        Ok(()) => Item::found(name, "rules are accepted"),
        Err(e) => Item::missing(name, e, *advice),
    };
    let mut items: Vec<Item> = match firewall::rehearse().await {
        Ok(()) => inet.iter().map(|(name, ..)| Item::found(name, "rules are accepted")).collect(),
        Err(whole) => {
            let mut items: Vec<Item> = inet.iter().map(one).collect();
            if items.iter().all(|item| item.outcome == super::Outcome::Found) {
                items.push(Item::missing("ruleset", whole.to_string(), "report this as a defect, with `nft -V`"));
            }
            items
        }
    };
    items.push(one(bridge));
    items
}

/// Applies rules in nft's own language.
fn feed_nft(text: &str) -> Result<(), String> {
    // As an argument: no pipe to fill, no file to leave.
    let text = format!("add table inet t; delete table inet t; {text}");
    match nft(&[&text]) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("refused").to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// An overlay mount, on memory: nothing reaches a disk.
fn overlay() -> Item {
    let name = "overlayfs";
    match try_overlay(Path::new("/tmp")) {
        Ok(()) => Item::found(name, "can be mounted"),
        Err(e) => Item::missing(name, e.to_string(), "modprobe overlay (CONFIG_OVERLAY_FS)"),
    }
}

fn try_overlay(place: &Path) -> std::io::Result<()> {
    let none = None::<&str>;
    // A chroot's "/" may be no mount point; the real root, where who enters a mount namespace comes out, always is.
    setns(fs::File::open("/proc/thread-self/ns/mnt")?, CloneFlags::CLONE_NEWNS)?;
    // Private first, or the mounts would show on the host.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none)?;
    for dir in ["lower", "upper", "work", "merged"] {
        fs::create_dir(place.join(dir))?;
    }
    let dir = |name| place.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", dir("lower"), dir("upper"), dir("work"));
    mount(Some("overlay"), &place.join("merged"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn nft_is_judged_by_version_and_build() {
        let text = |version: &str, json: &str| {
            format!("nftables v{version} (Lester Gooch #5)\n  cli:\t\teditline\n  json:\t\t{json}\n  minigmp:\tno\n")
        };
        assert_eq!(judge_nft("nft", &text("1.0.6", "yes")).outcome, Outcome::Found);
        assert_eq!(judge_nft("nft", &text("1.1.0", "yes")).detail, "nftables v1.1.0 (Lester Gooch #5)");
        assert_eq!(judge_nft("nft", &text("1.0.6", "no")).outcome, Outcome::Missing);
        assert_eq!(judge_nft("nft", &text("0.9.8", "yes")).outcome, Outcome::Missing);
        assert_eq!(judge_nft("nft", "").outcome, Outcome::Missing);
    }
}
