//! `run`, as a sentence; and the container that it makes.

use super::Outcome;
use super::daemon::Cli;
use super::host::Host;
use super::wait::until;

/// A `run` that has not been typed to its end.
#[derive(Clone)]
pub struct Run<'h> {
    host: &'h Host,
    cli: Cli,
    image: String,
    flags: Vec<String>,
    cmd: Vec<String>,
    input: String,
}

impl<'h> Run<'h> {
    pub(super) fn new(host: &'h Host, image: &str) -> Self {
        Self { host, cli: Cli::Docker, image: image.into(), flags: Vec::new(), cmd: Vec::new(), input: String::new() }
    }

    /// By which client; docker's unless said.
    pub fn by(mut self, cli: Cli) -> Self {
        self.cli = cli;
        self
    }

    /// `--name`.
    pub fn name(self, name: &str) -> Self {
        self.flags(&["--name", name])
    }

    /// `--hostname`.
    pub fn hostname(self, name: &str) -> Self {
        self.flags(&["--hostname", name])
    }

    /// `--publish`.
    pub fn publish(self, ports: &str) -> Self {
        self.flags(&["--publish", ports])
    }

    /// `--network`.
    pub fn net(self, network: &str) -> Self {
        self.flags(&["--network", network])
    }

    /// Any options, word by word.
    pub fn flags(mut self, words: &[&str]) -> Self {
        self.flags.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// The command, word by word.
    pub fn cmd(mut self, words: &[&str]) -> Self {
        self.cmd.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// The command is a shell script.
    pub fn sh(self, script: &str) -> Self {
        self.cmd(&["sh", "-c", script])
    }

    /// The command is a web server on port 80: `/` says "hello", `/cgi-bin/whoami` who asked whom.
    pub fn serving(self) -> Self {
        self.cmd(&["httpd", "-f", "-h", "/www"])
    }

    /// `-i`, with this on stdin.
    pub fn input(mut self, text: &str) -> Self {
        self.input = text.to_owned();
        self.flags(&["--interactive"])
    }

    /// In the foreground with `--rm`.
    pub fn once(self) -> Outcome {
        self.typed(&["run", "--rm"])
    }

    /// In the background; panics if it does not start.
    #[track_caller]
    pub fn start(self) -> Container<'h> {
        let host = self.host;
        let id = self.typed(&["run", "--detach"]).ok();
        assert!(id.len() == 64, "an id has 64 digits: {id:?}");
        Container { host, id }
    }

    /// `create`.
    #[track_caller]
    pub fn create(self) -> Container<'h> {
        let host = self.host;
        let id = self.typed(&["create"]).ok();
        Container { host, id }
    }

    /// In the background, expected to fail: what came of it.
    pub fn attempt(self) -> Outcome {
        self.typed(&["run", "--detach"])
    }

    fn typed(self, verb: &[&str]) -> Outcome {
        let mut words = verb.to_vec();
        words.extend(self.flags.iter().map(String::as_str));
        words.push(&self.image);
        words.extend(self.cmd.iter().map(String::as_str));
        self.host.cli_with_input(self.cli, &words, &self.input)
    }
}

/// A container of a host.
#[derive(Clone)]
pub struct Container<'h> {
    host: &'h Host,
    /// 64 hexadecimal digits.
    pub id: String,
}

impl Container<'_> {
    /// A command inside, to its end.
    pub fn exec(&self, words: &[&str]) -> Outcome {
        self.host.docker(&[&["exec", self.id.as_str()], words].concat())
    }

    /// A shell script inside.
    pub fn sh(&self, script: &str) -> Outcome {
        self.exec(&["sh", "-c", script])
    }

    /// `inspect --format`.
    #[track_caller]
    pub fn inspect(&self, format: &str) -> String {
        self.host.docker(&["inspect", "--type", "container", "--format", format, &self.id]).ok()
    }

    /// Its address on the bridge.
    #[track_caller]
    pub fn address(&self) -> String {
        let address = self.inspect("{{.NetworkSettings.Networks.bridge.IPAddress}}");
        assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "an address: {address:?}");
        address
    }

    /// `logs`, to their present end.
    pub fn logs(&self) -> Outcome {
        self.host.docker(&["logs", &self.id])
    }

    /// A client's verb on it: `stop`, `kill`, `rm`, …
    pub fn verb(&self, words: &[&str]) -> Outcome {
        self.host.docker(&[words, &[self.id.as_str()]].concat())
    }

    /// `wait`: its exit code.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        self.verb(&["wait"]).ok().parse().expect("wait prints a number")
    }

    /// Its init, as the host sees it.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.inspect("{{.State.Pid}}").parse().expect("a number")
    }

    /// Waits until its log holds `text`.
    #[track_caller]
    pub fn says(&self, text: &str) {
        until(&format!("the log holds {text:?}"), || {
            let outcome = self.logs();
            outcome.stdout.contains(text) || outcome.stderr.contains(text)
        });
    }

    /// Waits until `inspect` answers so.
    #[track_caller]
    pub fn becomes(&self, format: &str, value: &str) {
        until(&format!("{format} is {value:?}"), || self.inspect(format) == value);
    }
}
