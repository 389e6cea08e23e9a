//! What containers could leave behind on a host, seen from outside: equal before and after, or there is a leak.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Outcome;
use super::namespaces::{Namespaces, Place};

/// Everything on a host that is not a file of the daemon's data root, and what to say of it where its name says little.
#[derive(Clone, Debug, Default)]
pub struct Traces(BTreeMap<String, String>);

impl Traces {
    /// Looks. `cgroup`: the parent of the containers' cgroups. `data`: data roots, whose databases hold the leases.
    pub fn of(namespaces: &Namespaces, cgroup: &str, data: &[PathBuf], ours: &[u32]) -> Self {
        let mut found = links(namespaces);
        found.extend(neighbours(namespaces));
        found.extend(mounts(namespaces));
        found.extend(cgroups(cgroup));
        found.extend(firewall(namespaces));
        found.extend(data.iter().flat_map(|root| leases(root)));
        let named = found.into_iter().map(|name| (name, String::new()));
        Self(named.chain(processes(namespaces, ours)).collect())
    }

    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What is here and was not `before`, or was and is not: empty if nothing changed. A process that has ended is no
    /// trace: the daemon's nft comes and goes.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let new = self.without(before).map(|line| format!("new:  {line}"));
        let gone =
            before.without(self).filter(|line| !line.starts_with("process ")).map(|line| format!("gone: {line}"));
        new.chain(gone).collect()
    }

    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = String> + 'a {
        let only = self.0.iter().filter(|(name, _)| !other.0.contains_key(*name));
        only.map(|(name, more)| format!("{name} {more}"))
    }
}

fn links(namespaces: &Namespaces) -> Vec<String> {
    let text = fs::read_to_string(namespaces.proc().join("net/dev")).expect("/proc/net/dev");
    text.lines().skip(2).filter_map(|line| line.split(':').next()).map(|name| format!("link {}", name.trim())).collect()
}

/// Entries of who has which address that no ARP changes.
fn neighbours(namespaces: &Namespaces) -> Vec<String> {
    let words = ["-4", "neigh", "show", "nud", "permanent"];
    let listed = Outcome::of(namespaces.command(Place::Host, 20, "ip").args(words), b"");
    listed.ok().lines().map(|line| format!("neighbour {}", line.trim())).collect()
}

/// Mounts: pinned network namespaces are among them, as mounts of `nsfs`.
fn mounts(namespaces: &Namespaces) -> Vec<String> {
    let text = fs::read_to_string(namespaces.proc().join("mountinfo")).expect("mountinfo");
    text.lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            Some(format!("mount {} on {}", kind.split(' ').next()?, mount.split(' ').nth(4)?))
        })
        .collect()
}

/// Processes by their number, zombies too: a process may change its name, and what it does.
fn processes(namespaces: &Namespaces, ours: &[u32]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let own = namespaces.own_pids();
    for entry in fs::read_dir(namespaces.inside("/proc")).expect("/proc of the host").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if own.contains(&pid) || ours.contains(&pid) {
            continue;
        }
        // It may end while we look.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
        let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        found.push((format!("process {pid}"), format!("({}, {}) {words}", field("Name:"), field("State:"))));
    }
    found
}

fn cgroups(parent: &str) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(format!("cgroup {}", entry.path().display()));
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    for root in cgroup_roots() {
        walk(&root.join(parent.trim_start_matches('/')), &mut found);
    }
    found
}

/// The mounted hierarchies: each controller's of version 1, and version 2's.
pub fn cgroup_roots() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            kind.starts_with("cgroup").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
        })
        .collect()
}

/// The ruleset without its counters, its time-outs and its handles.
fn firewall(namespaces: &Namespaces) -> Vec<String> {
    let listed = Outcome::of(
        namespaces.command(Place::Host, 20, "nft").args(["--numeric", "--stateless", "list", "ruleset"]),
        b"",
    );
    let mut table = String::new();
    let mut chain = String::new();
    let mut found = Vec::new();
    for line in listed.ok().lines().map(str::trim).filter(|line| !line.is_empty() && *line != "}") {
        match line.split(' ').next() {
            Some("table") => {
                table = line.trim_end_matches(" {").to_owned();
                chain.clear();
            }
            Some("chain" | "set" | "map" | "flowtable") => chain = line.trim_end_matches(" {").to_owned(),
            _ => {}
        }
        found.push(format!("nft {table} / {chain}: {line}"));
    }
    found
}

fn leases(data: &Path) -> Vec<String> {
    use rusqlite::{Connection, OpenFlags};
    let Ok(db) = Connection::open_with_flags(data.join("pontoon.db"), OpenFlags::SQLITE_OPEN_READ_ONLY) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for table in ["leases", "ports"] {
        let Ok(mut query) = db.prepare(&format!("SELECT * FROM {table}")) else { continue };
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            Ok((0..columns).map(|at| format!("{:?}", row.get_ref(at))).collect::<Vec<_>>().join(", "))
        });
        found.extend(rows.into_iter().flatten().flatten().map(|row| format!("{table} {row}")));
    }
    found
}
