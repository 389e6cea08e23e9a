//! Other programs' tables that drop by default what containers live on. A drop in nftables is final, so that nothing of ours
//! helps, and nothing of theirs is ever touched: what can be done is to say so, and what to add there.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{names, nft};
use crate::model::NetworkOptions;

/// What stands in the way at one hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// The chain, as nft names it.
    pub chain: String,
    /// What does not get through.
    pub what: &'static str,
    /// What to type.
    pub advice: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { chain, what, advice } = self;
        write!(f, "{chain} of another program drops {what} unless it is told otherwise: {advice}")
    }
}

/// nft's `list chains`, as far as it matters.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Chain>,
}

#[derive(Clone, Debug, Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

/// Looks for them in the calling thread's network. Takes some milliseconds, and waits for nft; what cannot be read is none.
pub fn obstacles(options: &NetworkOptions) -> Vec<Obstacle> {
    let Some(chains) = nft::ask(&["-j", "list", "chains"]).ok().as_deref().and_then(parse) else { return Vec::new() };
    let of_table = |family: &str, table: &str| nft::ask(&["--stateless", "list", "table", family, table]).ok();
    judge(&chains, options, of_table)
}

fn parse(listing: &str) -> Option<Vec<Chain>> {
    let listing: Listing = serde_json::from_str(listing).ok()?;
    Some(listing.nftables.into_iter().filter_map(|object| object.chain).collect())
}

/// `of_table` lists a table: one that knows the bridge was told about it.
fn judge(chains: &[Chain], options: &NetworkOptions, of_table: impl Fn(&str, &str) -> Option<String>) -> Vec<Obstacle> {
    let own = names::table(options);
    let bridge = &options.bridge;
    let word = format!("\"{bridge}\"");
    let others = chains.iter().filter(|chain| chain.table != own && ["ip", "inet"].contains(&chain.family.as_str()));
    let found: BTreeSet<Obstacle> = others
        .filter_map(|chain| {
            let what = what_is_dropped(chain)?;
            let listing = of_table(&chain.family, &chain.table)?;
            let advice = advice(chain, chains, bridge);
            (!listing.contains(&word)).then(|| Obstacle {
                chain: format!("{} {} {}", chain.family, chain.table, chain.name),
                what,
                advice,
            })
        })
        .collect();
    found.into_iter().collect()
}

/// firewalld's chains refuse by their last rule; others by their policy.
fn what_is_dropped(chain: &Chain) -> Option<&'static str> {
    let drops =
        chain.policy.as_deref() == Some("drop") || chain.table == "firewalld" && chain.name.starts_with("filter_");
    match chain.hook.as_deref() {
        Some("forward") if drops => Some("what is routed to and from containers"),
        Some("input") if drops => Some("what containers ask the host, names among it,"),
        _ => None,
    }
}

fn advice(chain: &Chain, chains: &[Chain], bridge: &str) -> String {
    let has =
        |name: &str| chains.iter().any(|it| it.family == chain.family && it.table == chain.table && it.name == name);
    let forwards = chain.hook.as_deref() == Some("forward");
    if chain.table == "firewalld" {
        return format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload");
    }
    match forwards {
        true if has("DOCKER-USER") => {
            format!("iptables -I DOCKER-USER -i {bridge} -j ACCEPT; iptables -I DOCKER-USER -o {bridge} -j ACCEPT")
        }
        true if has("ufw-before-forward") => {
            format!("ufw route allow in on {bridge}; ufw route allow out on {bridge}")
        }
        false if has("ufw-before-input") => format!("ufw allow in on {bridge}"),
        _ if chain.family == "ip" && chain.table == "filter" && chain.name == "FORWARD" => {
            format!("iptables -I FORWARD -i {bridge} -j ACCEPT; iptables -I FORWARD -o {bridge} -j ACCEPT")
        }
        _ if chain.family == "ip" && chain.table == "filter" && chain.name == "INPUT" => {
            format!("iptables -I INPUT -i {bridge} -j ACCEPT")
        }
        _ => {
            let Chain { family, table, name, .. } = chain;
            let rule = |side| format!("nft insert rule {family} {table} {name} {side} {bridge} accept");
            if forwards { format!("{}; {}", rule("iifname"), rule("oifname")) } else { rule("iifname") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Family, table, name; and of base chains hook and policy.
    type Listed<'t> = (&'t str, &'t str, &'t str, Option<(&'t str, &'t str)>);

    /// As nft 1.0.6 lists chains: those without a hook, too.
    fn listing(chains: &[Listed<'_>]) -> Vec<Chain> {
        let objects = chains.iter().map(|(family, table, name, base)| {
            let mut chain = serde_json::json!({ "family": family, "table": table, "name": name, "handle": 1 });
            if let Some((hook, policy)) = base {
                for (key, value) in [("type", "filter"), ("hook", hook), ("policy", policy)] {
                    chain[key] = value.into();
                }
                chain["prio"] = 0.into();
            }
            serde_json::json!({ "chain": chain })
        });
        let metainfo = serde_json::json!({ "metainfo": { "version": "1.0.6" } });
        let all: Vec<_> = [metainfo].into_iter().chain(objects).collect();
        parse(&serde_json::json!({ "nftables": all }).to_string()).expect("it is a listing")
    }

    fn said(chains: &[Chain]) -> Vec<String> {
        let options = NetworkOptions::usual();
        judge(chains, &options, |_, _| Some(String::new())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_drops_by_default_is_said_with_what_to_do() {
        let drop = |hook| Some((hook, "drop"));
        let chains = listing(&[
            ("inet", "pontoon-pontoon0", "forward", drop("forward")),
            ("ip", "filter", "INPUT", Some(("input", "accept"))),
            ("ip", "filter", "FORWARD", drop("forward")),
            ("ip", "filter", "DOCKER-USER", None),
            ("inet", "mine", "in", drop("input")),
            ("inet", "mine", "fwd", drop("forward")),
            ("inet", "mine", "out", drop("output")),
            ("ip6", "filter", "FORWARD", drop("forward")),
            ("inet", "firewalld", "filter_FORWARD", Some(("forward", "accept"))),
        ]);
        insta::assert_snapshot!(said(&chains).join("\n"));
    }

    #[test]
    fn programs_have_their_own_words() {
        let ufw = listing(&[
            ("ip", "filter", "FORWARD", Some(("forward", "drop"))),
            ("ip", "filter", "INPUT", Some(("input", "drop"))),
            ("ip", "filter", "ufw-before-forward", None),
            ("ip", "filter", "ufw-before-input", None),
        ]);
        let said = said(&ufw);
        assert!(said[0].contains("ufw route allow in on pontoon0; ufw route allow out on pontoon0"), "{said:?}");
        assert!(said[1].contains("ufw allow in on pontoon0"), "{said:?}");
    }

    #[test]
    fn a_table_that_knows_the_bridge_needs_no_advice() {
        let chains = listing(&[("inet", "mine", "fwd", Some(("forward", "drop")))]);
        let knows = |_: &str, _: &str| Some("iifname \"pontoon0\" accept".to_owned());
        assert_eq!(judge(&chains, &NetworkOptions::usual(), knows), []);
        assert_eq!(said(&chains).len(), 1, "the control");
    }
}
