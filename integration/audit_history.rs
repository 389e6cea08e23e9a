//! `audit history`: who could talk to whom since when, and because of whom; and that what is altered shows.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Host, Outcome, not_run, until};

/// Users that every Debian has, and who may use the socket, which is root's and of root's group.
const DAEMON: (u32, &str) = (1, "daemon");
const NEWS: (u32, &str) = (9, "news");

/// docker as somebody else.
fn docker_as(host: &Host, (uid, _): (u32, &str), words: &str) {
    host.sh(&format!("HOME=/ setpriv --reuid={uid} --regid=0 --clear-groups docker {words}")).ok();
}

/// All of it, and the exit code.
fn history(host: &Host, flags: &[&str]) -> (Value, i32) {
    let told = host.pontoon(&[&["audit", "history", "--json"], flags].concat());
    (serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told}")), told.code)
}

fn entries(history: &Value) -> &[Value] {
    history["entries"].as_array().unwrap()
}

/// The last entry of a kind that is about this container.
fn last<'h>(history: &'h Value, kind: &str, name: &str) -> &'h Value {
    let wanted = |entry: &&Value| entry["change"]["kind"] == kind && entry["change"]["name"] == name;
    entries(history).iter().rfind(wanted).unwrap_or_else(|| panic!("no {kind} of {name}: {history:#}"))
}

/// `from -> to service way` of each edge, containers by name.
fn edges(entry: &Value, which: &str) -> Vec<String> {
    let delta = &entry["delta"];
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for list in ["joined", "left"] {
        let members = delta[list].as_array().into_iter().flatten();
        names.extend(members.map(|member| (member["id"].as_str().unwrap(), member["name"].as_str().unwrap())));
    }
    let others = delta["names"].as_object().into_iter().flatten();
    names.extend(others.map(|(id, name)| (id.as_str(), name.as_str().unwrap())));
    let end = |end: &Value| end.as_str().map(|end| names.get(end).copied().unwrap_or(end).to_owned()).unwrap();
    let line = |edge: &Value| {
        let service = edge["service"].as_str().unwrap_or("anything");
        format!("{} -> {} {service} {}", end(&edge["from"]), end(&edge["to"]), edge["by"]["way"].as_str().unwrap())
    };
    delta[which].as_array().into_iter().flatten().map(line).collect()
}

/// Containers that run by what the history says: those that came and did not go.
fn running_by(history: &Value) -> Vec<String> {
    let mut running: BTreeMap<&str, &str> = BTreeMap::new();
    for delta in entries(history).iter().map(|entry| &entry["delta"]) {
        for member in delta["left"].as_array().into_iter().flatten() {
            assert!(
                running.remove(member["id"].as_str().unwrap()).is_some(),
                "{member} goes and was not there: {history:#}"
            );
        }
        for member in delta["joined"].as_array().into_iter().flatten() {
            let before = running.insert(member["id"].as_str().unwrap(), member["name"].as_str().unwrap());
            assert_eq!(before, None, "{member} comes and was there: {history:#}");
        }
    }
    let mut names: Vec<String> = running.into_values().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn it_says_who_opened_and_closed_what() {
    let host = Host::with(&["--icc=false"]);
    docker_as(&host, DAEMON, "create --name db --expose 5432 --expose 6000-6999 busybox sleep 1000");
    docker_as(&host, NEWS, "start db");
    let began = host.sh("date +%s.%N").ok();
    docker_as(&host, NEWS, "run -d --name web --link db:store -p 8080:80 busybox sleep 1000");
    let (told, code) = history(&host, &[]);
    assert_eq!((code, &told["version"]), (0, &Value::from(1)));

    let db = last(&told, "admit", "db");
    assert_eq!(
        (&db["origin"]["peer"]["uid"], &db["origin"]["peer"]["user"]),
        (&NEWS.0.into(), &NEWS.1.into()),
        "{db:#}"
    );
    let request = db["origin"]["request"].as_str().unwrap();
    assert!(request.starts_with("POST /v1.") && request.ends_with("/start"), "{request}");
    let created = &db["change"]["created"]["origin"];
    assert_eq!((&created["peer"]["uid"], &created["peer"]["user"]), (&DAEMON.0.into(), &DAEMON.1.into()), "{db:#}");
    assert!(created["request"].as_str().unwrap().ends_with("/containers/create?name=db"), "{created}");
    assert_eq!(db["origin"]["peer"]["process"], "docker");
    let web = last(&told, "admit", "web");
    let opened = ["web -> db 5432/tcp link", "web -> db 6000-6999/tcp link", "anyone -> web 80/tcp publish"];
    assert_eq!(edges(web, "opened"), opened, "{web:#}");

    let web_came = web["entry"].clone();

    // By a request, by itself, by its restart policy, and a link alone.
    docker_as(&host, DAEMON, "stop -t 0 db");
    docker_as(&host, NEWS, "start db");
    docker_as(&host, DAEMON, "rm --link /web/store");
    docker_as(&host, DAEMON, "rename db database");
    host.run("busybox").name("brief").cmd(&["true"]).flags(&["--rm"]).once().ok();
    host.run("busybox").name("again").cmd(&["false"]).flags(&["--restart", "on-failure:1"]).start().wait();
    until("it was started again", || last(&history(&host, &[]).0, "admit", "again")["origin"]["kind"] == "policy");
    let (told, _) = history(&host, &[]);
    let stop = last(&told, "dismiss", "db");
    let closed = ["web -> db 5432/tcp link", "web -> db 6000-6999/tcp link"];
    assert_eq!(
        (edges(stop, "closed"), &stop["origin"]["peer"]["uid"]),
        (closed.map(str::to_owned).into(), &DAEMON.0.into())
    );
    let unlinked =
        entries(&told).iter().rfind(|entry| !edges(entry, "closed").is_empty() && entry["change"]["name"] == "web");
    let unlinked = unlinked.unwrap_or_else(|| panic!("the link goes: {told:#}"));
    assert_eq!(edges(unlinked, "closed"), closed);
    assert!(unlinked["origin"]["request"].as_str().unwrap().starts_with("DELETE /"), "{unlinked:#}");
    assert_eq!(last(&told, "admit", "database")["delta"]["renamed"][0]["from"], "db");
    assert_eq!(last(&told, "dismiss", "brief")["origin"]["kind"], "ended");
    assert_eq!(last(&told, "admit", "again")["origin"]["kind"], "policy");

    // The guard, with who made it work.
    host.sh("nft delete table inet pontoon-pontoon0").ok();
    let repair = || entries(&history(&host, &[]).0).iter().rfind(|entry| entry["change"]["kind"] == "repair").cloned();
    until("the repair is entered", || repair().is_some());
    let repair = repair().unwrap();
    assert_eq!(repair["change"]["by"]["name"], "nft", "{repair:#}");

    // Parts of it, and the words.
    let since = history(&host, &["--since", &began]).0;
    let first = &entries(&since)[0];
    assert_eq!((&first["change"]["name"], &first["entry"]), (&"web".into(), &web_came));
    assert_eq!(entries(&history(&host, &["--container", "database", "-n", "2"]).0).len(), 2);
    let of_db = host.pontoon(&["audit", "history", "--container", "db"]).ok();
    assert!(of_db.contains("web comes\n") && !of_db.contains("brief comes\n"), "{of_db}");
    assert!(of_db.contains("+ web -> db: 5432/tcp, by the link \"store\"\n"), "{of_db}");
    host.pontoon(&["audit", "history", "--since", "yesterday"]).fails(1);
    host.pontoon(&["audit", "history", "--verify", "abc"]).complains("64 hexadecimal digits").ends_with(1);
}

#[test]
fn a_killed_daemon_leaves_nothing_out() {
    let host = Host::new();
    for round in 0..3 {
        let run = format!("docker run -d --name c{round}$n busybox sleep 1000");
        let mut starts = host.command("bash");
        starts.args(["-c", &format!("for n in 1 2 3 4; do {run} & done; wait")]);
        starts.stdout(Stdio::null()).stderr(Stdio::null());
        let mut starts = starts.spawn().unwrap();
        // Somewhere in the midst of them.
        until("one of them runs", || !host.docker(&["ps", "-q"]).ok().is_empty());
        host.kill_daemon();
        starts.wait().unwrap();
        host.restart_daemon();
        let running = host.docker(&["ps", "--format", "{{.Names}}"]).ok();
        let mut running: Vec<String> = running.lines().map(str::to_owned).collect();
        running.sort();
        let (told, code) = history(&host, &[]);
        assert_eq!((code, running_by(&told)), (0, running), "{told:#}");
        // What was under way is nobody's tampering.
        let drift: Value = serde_json::from_str(&host.pontoon(&["audit", "drift", "--json"]).stdout).unwrap();
        assert_eq!(drift["repaired"], serde_json::json!([]), "{drift:#}");
        for name in running_by(&told) {
            host.docker(&["rm", "-f", &name]).ok();
        }
    }
    // Killed behind the change and before its entry, as the store would be then.
    host.run("busybox").name("web").cmd(&["sleep", "1000"]).start();
    let (told, _) = history(&host, &[]);
    let entry = last(&told, "admit", "web")["entry"].as_u64().unwrap();
    host.kill_daemon();
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    let undo = format!(
        "DELETE FROM history WHERE seq >= {entry}; DELETE FROM history_endpoints;
         UPDATE meta SET value = (SELECT seq || ' ' || hash FROM history ORDER BY seq DESC LIMIT 1)
         WHERE key = 'history head';"
    );
    store.execute_batch(&undo).unwrap();
    drop(store);
    host.restart_daemon();
    let (told, code) = history(&host, &[]);
    let found = entries(&told).last().unwrap();
    assert_eq!(
        (code, &found["origin"]["kind"], &found["delta"]["joined"][0]["name"]),
        (0, &"found".into(), &"web".into())
    );
    assert_eq!(running_by(&told), ["web"]);
}

#[test]
fn what_is_altered_missing_or_cut_off_shows() {
    let host = Host::new();
    for name in ["one", "two", "three"] {
        host.run("busybox").name(name).cmd(&["sleep", "1000"]).start();
    }
    let head = host.pontoon(&["audit", "history", "--head"]).ok();
    assert_eq!(head.len(), 64, "{head}");
    let verify = |hash: &str| host.pontoon(&["audit", "history", "--verify", hash]);
    assert!(verify(&head).ok().contains("it is still there"));
    let database = host.dir().join("pontoon/pontoon.db");
    // Whoever does not believe us can check it with the program of the documentation.
    let by_hand = || {
        let program =
            include_str!("../docs/audit.md").split("```python\n").nth(1).unwrap().split("```").next().unwrap();
        let mut python = host.command("python3");
        Outcome::of(python.args(["-", database.to_str().unwrap()]), program.as_bytes())
    };
    let has_python = host.sh("command -v python3").code == 0;
    if has_python {
        assert_eq!(by_hand().ok(), format!("4 {head}"));
    } else {
        not_run("the documentation's check of the history: there is no python3");
    }
    let edit =
        |sql: &str| assert!(rusqlite::Connection::open(&database).unwrap().execute(sql, []).unwrap() > 0, "{sql}");
    let broken = |what: &str| {
        let told = host.pontoon(&["audit", "history"]);
        told.complains(what).ends_with(3);
        assert!(told.stdout.contains("THE CHAIN IS BROKEN"), "{told}");
        assert_eq!(host.pontoon(&["audit", "history", "--json"]).code, 3);
    };

    let address: String = host.docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "two"]).ok();
    edit(&format!("UPDATE history SET delta = replace(delta, '{address}', '10.0.0.9') WHERE seq = 3"));
    broken("entry 3 was altered");
    if has_python {
        by_hand().complains("broken at entry 3").ends_with(1);
    }
    edit(&format!("UPDATE history SET delta = replace(delta, '10.0.0.9', '{address}') WHERE seq = 3"));
    verify(&head).ends_with(0);

    // The end: known to the daemon, then to who kept the head.
    edit("DELETE FROM history WHERE seq > 3");
    broken("entry 4 is missing");
    host.kill_daemon();
    host.restart_daemon();
    broken("entry 4 is missing");
    host.kill_daemon();
    edit("UPDATE meta SET value = (SELECT seq || ' ' || hash FROM history WHERE seq = 3) WHERE key = 'history head'");
    host.restart_daemon();
    assert!(host.pontoon(&["audit", "history"]).ok().contains("the chain is whole"));
    verify(&head).complains("no entry of the history has the hash").ends_with(3);

    edit("DELETE FROM history WHERE seq = 2");
    broken("entry 2 is missing");
    // It goes on all the same, and what it was is in the daemon's log.
    host.run("busybox").name("four").cmd(&["sleep", "1000"]).start();
    broken("entry 2 is missing");
    let log = host.daemon().log();
    assert!(log.contains(&format!("the history begins here entry=4 hash={head}")), "{log}");
}

/// Who takes the daemon's own word of the history away does not have it write over what is there.
#[test]
fn no_entry_is_written_over() {
    let host = Host::new();
    host.run("busybox").name("one").cmd(&["sleep", "1000"]).start();
    let (before, code) = history(&host, &[]);
    assert_eq!(code, 0);
    host.kill_daemon();
    let store = rusqlite::Connection::open(host.dir().join("pontoon/pontoon.db")).unwrap();
    assert!(store.execute("DELETE FROM meta WHERE key LIKE 'history%'", []).unwrap() >= 2);
    drop(store);
    host.restart_daemon();
    host.run("busybox").name("two").cmd(&["sleep", "1000"]).start();
    let (after, code) = history(&host, &[]);
    assert_eq!(code, 3, "{after:#}");
    assert_eq!(entries(&after)[..entries(&before).len()], *entries(&before));
    assert!(after["chain"]["broken"]["what"].as_str().is_some_and(|what| what.contains("is missing")), "{after:#}");
}
