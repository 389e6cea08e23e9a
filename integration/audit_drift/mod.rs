//! `pontoon audit drift`: what is changed behind the daemon's back is found, named right, and put right where it is ours;
//! and nothing is invented.
//!
//! Each tampering is typed on a host whose guard only watches (`--repair=false`), as an administrator or an intruder would
//! type it. Where it opens or closes something, that is shown by a connection, before, while and after.

mod beside;
mod elsewhere;
mod found;
mod guarded;
mod inside;
mod programs;
mod rules;
mod wire;

use serde_json::Value;

use crate::harness::{Container, Host, eventually};

/// What a tampering does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bite {
    /// Nothing that a connection shows, or that would be cheap to show.
    Quiet,
    /// `db` gets to `web`, to which it has no link.
    Opens,
    /// `web` does not get to `db` by its link any more.
    Closes,
    /// The LAN does not get to `web`'s published port any more.
    Unpublishes,
    /// The LAN gets to `web` by a port of the host's on which nothing is published.
    Publishes,
    /// The host itself does not get to `web`'s published port any more.
    Shuts,
    /// Whoever is first (where a command is typed) gets no echo from the second any more.
    Deafens(&'static str, &'static str),
}

/// Who puts it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// `--repair`.
    Repair,
    /// Whoever did it, by this command.
    By(&'static str),
}

/// One of the ways.
pub(super) struct Tampering {
    /// The command, with names of [`Scene::spell`].
    pub(super) command: &'static str,
    /// The kinds of all the differences that it makes, sorted.
    pub(super) kinds: &'static [&'static str],
    /// What one of them says.
    pub(super) words: &'static str,
    pub(super) bite: Bite,
    pub(super) cure: Cure,
}

/// A host with `db` (web server, exposes 80) and `web` (the same; linked to `db`, published on 8080); no icc.
pub(super) struct Scene<'h> {
    host: &'h Host,
    names: Vec<(&'static str, String)>,
}

pub(super) fn daemon(flags: &[&str]) -> Host {
    Host::with(&[&["--icc=false"][..], flags].concat())
}

impl<'h> Scene<'h> {
    pub(super) fn on(host: &'h Host) -> Self {
        let db = host.run("busybox").name("db").flags(&["--expose", "80"]).serving().start();
        let web = host.run("busybox").name("web").flags(&["--link", "db"]).publish("8080:80").serving().start();
        let of = |container: &Container<'_>| {
            let mac = container.inspect("{{.NetworkSettings.Networks.bridge.MacAddress}}");
            let port = host.sh(&format!("bridge fdb show br pontoon0 | awk '/^{mac} /{{print $3}}'")).ok();
            (container.address(), container.pid().to_string(), mac, port)
        };
        let ((db_at, db_pid, db_mac, db_port), (web_at, web_pid, web_mac, web_port)) = (of(&db), of(&web));
        let pin = db.inspect("{{.NetworkSettings.SandboxKey}}");
        let names = vec![
            ("TABLE", "pontoon-pontoon0".to_owned()),
            ("INDB", format!("nsenter --target {db_pid} --net")),
            ("INWEB", format!("nsenter --target {web_pid} --net")),
            ("DBMAC", db_mac),
            ("WEBMAC", web_mac),
            ("DBPORT", db_port),
            ("WEBPORT", web_port),
            ("DBPIN", pin),
            ("DBPID", db_pid),
            ("WEBPID", web_pid),
            ("DBAT", db_at),
            ("WEBAT", web_at),
        ];
        let scene = Self { host, names };
        scene.clean("before anything");
        scene
    }

    /// A text with the names of this scene in it.
    pub(super) fn spell(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// The answer, and the exit code.
    pub(super) fn drift(&self, flags: &[&str]) -> (Value, i32) {
        let outcome = self.host.pontoon(&[&["audit", "drift", "--json"][..], flags].concat());
        (serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}")), outcome.code)
    }

    /// Nothing differs, from some moment on.
    #[track_caller]
    pub(super) fn clean(&self, when: &str) {
        eventually(&format!("no drift {when}"), || match self.drift(&[]) {
            (_, 0) => Ok(()),
            (answer, code) => Err(format!("exit code {code}: {:#}", answer["differences"])),
        });
    }

    /// Whether a connection comes about.
    fn connects(&self, from: &str, to: &str) -> bool {
        self.host.sh(&self.spell(&format!("{from} timeout 1 bash -c 'exec 3<>/dev/tcp/{to}'"))).code == 0
    }

    fn bitten(&self, bite: Bite) -> bool {
        match bite {
            Bite::Quiet => false,
            Bite::Opens => self.connects("INDB", "WEBAT/80"),
            Bite::Deafens(from, to) => {
                self.host.sh(&self.spell(&format!("{from} busybox ping -c 1 -W 1 {to}"))).code != 0
            }
            Bite::Closes => !self.connects("INWEB", "DBAT/80"),
            Bite::Publishes => self.host.lan().sh("timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/7777'").code == 0,
            Bite::Shuts => !self.connects("", "127.0.0.1/8080"),
            Bite::Unpublishes => self.host.lan().sh("timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/8080'").code != 0,
        }
    }

    /// One tampering from its beginning to its end.
    #[track_caller]
    pub(super) fn suffers(&self, tampering: &Tampering) {
        let Tampering { command, kinds, words, bite, cure } = tampering;
        let (typed, words) = (self.spell(command), self.spell(words));
        assert!(!self.bitten(*bite), "before `{typed}`: {bite:?}");
        self.host.sh(&typed).ok();
        let found = eventually(&format!("`{typed}` is found as {kinds:?}"), || {
            let (answer, code) = self.drift(&[]);
            let found = of_kind(&answer);
            if found == *kinds && code == 3 {
                Ok(answer)
            } else {
                Err(format!("{found:?}, exit code {code}: {answer:#}"))
            }
        });
        let differences = found["differences"].as_array().expect("a list");
        let told = |it: &Value| it["what"].as_str().is_some_and(|what| what.contains(&words));
        assert!(differences.iter().any(told), "`{typed}`: nobody says {words:?}: {differences:#?}");
        assert!(differences.iter().all(|it| it["since"].is_string()), "since when? {differences:#?}");
        if *bite != Bite::Quiet {
            eventually(&format!("`{typed}` bites: {bite:?}"), || if self.bitten(*bite) { Ok(()) } else { Err("no") });
        }
        let (after, code) = self.drift(&["--repair"]);
        match cure {
            Cure::Repair => {
                assert_eq!(code, 0, "`{typed}` is put right: {:#}", after["differences"]);
                let repaired = after["repaired"].as_array().expect("a list");
                assert!(repaired.iter().any(told), "it is told: {repaired:#?}");
            }
            Cure::By(undo) => {
                let left = after["differences"].as_array().expect("a list");
                let remedy = left.iter().any(|it| it["remedy"].as_str().is_some_and(|it| !it.is_empty()));
                assert!(code == 3 && remedy, "`{typed}` is others': {left:#?}");
                self.host.sh(&self.spell(undo)).ok();
            }
        }
        self.clean(&format!("after `{typed}`"));
        eventually(&format!("`{typed}` bites no more: {bite:?}"), || {
            if self.bitten(*bite) { Err("it does") } else { Ok(()) }
        });
    }

    pub(super) fn suffers_all(&self, tamperings: &[Tampering]) {
        for tampering in tamperings {
            self.suffers(tampering);
        }
    }
}

fn of_kind(answer: &Value) -> Vec<&str> {
    let all = answer["differences"].as_array().into_iter().flatten();
    let mut kinds: Vec<&str> = all.filter_map(|it| it["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds
}
