//! `docs/firewall.md` shows the firewall as `nft list` does; here it is held against a real one.
//!
//! A block behind `<!-- nft: inet chain forward -->` is that object, as it was listed. `UPDATE=1 cargo test --test
//! integration firewall_doc` writes the blocks anew.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::Host;

const DOCUMENT: &str = "docs/firewall.md";
const MARK: &str = "<!-- nft: ";
const FENCE: &str = "```";

#[test]
fn the_document_shows_the_rules_that_are_in_force() {
    let host = Host::with(&["--icc=false", "--host-access=false"]);
    let waits = ["sleep", "1000"];
    let db = ["--expose", "5432", "--expose", "20000-20099"];
    let db = host.run("busybox").name("db").flags(&db).cmd(&waits).start();
    let web = host.run("busybox").name("web").flags(&["--link", "db"]);
    let web =
        web.publish("8080:80").publish("9000-9099:9000-9099").publish("127.0.0.1:5353:53/udp").cmd(&waits).start();

    let mut listed = BTreeMap::new();
    for family in ["inet", "arp", "bridge"] {
        let mut text = host.sh(&format!("nft --stateless list table {family} pontoon-pontoon0")).ok();
        for (container, address, name) in [(&db, "0002", "vethDB"), (&web, "0003", "vethWEB")] {
            text = text.replace(&format!("veth{}{address}", &container.id[..7]), name);
        }
        listed.extend(objects(family, &text));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = std::fs::read_to_string(&path).expect("the document is there");
    let current = with_blocks(&document, &listed);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).expect("the document can be written");
    } else {
        assert!(
            document == current,
            "{DOCUMENT} is not what nft lists: run this test with UPDATE=1, and read the diff"
        );
    }
    for object in listed.keys() {
        let name = object.rsplit(' ').next().expect("a word");
        assert!(document.contains(&format!("`{name}`")), "{DOCUMENT} does not explain the {object}");
    }
}

/// The chains, sets and maps of a table's listing, each under its family, kind and name.
fn objects(family: &str, listing: &str) -> BTreeMap<String, String> {
    let mut objects = BTreeMap::new();
    let mut lines = listing.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix('\t').and_then(|line| line.strip_suffix(" {")) else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "\t}").collect();
        let body = body.iter().map(|line| format!("    {}\n", line.trim_start_matches('\t')));
        let text = format!("{head} {{\n{}}}\n", in_order(&body.collect::<String>()));
        objects.insert(format!("{family} {head}"), text);
    }
    objects
}

/// Elements come in the order of the kernel's hash, which is another each time.
fn in_order(body: &str) -> String {
    const BEGIN: &str = "elements = { ";
    let Some((before, rest)) = body.split_once(BEGIN) else { return body.to_owned() };
    let (elements, after) = rest.split_once(" }").expect("the list ends");
    let mut elements: Vec<&str> = elements.split(',').map(str::trim).collect();
    elements.sort_unstable();
    format!("{before}{BEGIN}{} }}{after}", elements.join(",\n                 "))
}

/// The document with each block as it is listed.
fn with_blocks(document: &str, listed: &BTreeMap<String, String>) -> String {
    let mut current = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        current += &format!("{line}\n");
        let Some(object) = line.strip_prefix(MARK).and_then(|line| line.strip_suffix(" -->")) else { continue };
        let block = listed.get(object).unwrap_or_else(|| panic!("no {object} is in force, but {:?}", listed.keys()));
        assert_eq!(lines.next(), Some(format!("{FENCE}nft").as_str()), "a block follows {object}");
        lines.by_ref().find(|line| *line == FENCE).expect("the block ends");
        current += &format!("{FENCE}nft\n{block}{FENCE}\n");
    }
    current
}
