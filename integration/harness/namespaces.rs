//! Network, mount and pid namespaces that stand for a machine and its LAN neighbour.
//!
//! A shell holds them and reaps orphans, as a machine's init would. It lives as long as its stdin is open: when the test
//! process ends, in whatever way, the kernel ends everything inside.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What makes the stage: the host is 192.0.2.1 on its LAN, its neighbour 192.0.2.2, whose default route is the host.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
unshare --net sleep infinity & lan=$!
until [ "$(readlink /proc/$lan/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do :; done
ip link add lan0 type veth peer name eth0 netns $lan
ip address add 192.0.2.1/24 dev lan0
ip link set lan0 up
nsenter --target $lan --net sh -c 'ip link set lo up && ip address add 192.0.2.2/24 dev eth0 &&
    ip link set eth0 up && ip route add default via 192.0.2.1'
echo $lan
while read -r line; do :; done
"#;

/// The namespaces of one host.
#[derive(Debug)]
pub struct Namespaces {
    /// `unshare`, the parent of the shell; its stdin is the shell's.
    unshare: Child,
    /// The shell, as this machine sees it.
    init: u32,
    /// The neighbour's process, as the host sees it.
    lan: u32,
}

/// Whose network a command sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The host's.
    Host,
    /// The neighbour's.
    Lan,
}

impl Namespaces {
    /// A host with `lo`, and `lan0` towards its neighbour.
    pub fn new() -> Self {
        let mut unshare = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", INIT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) runs");
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("readable");
        let Ok(lan) = line.trim().parse() else {
            let mut words = String::new();
            let _ = unshare.stderr.take().expect("stderr is piped").read_to_string(&mut words);
            panic!("cannot make the host's namespaces (are you root?): {words}");
        };
        let pid = unshare.id();
        let init = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .ok()
            .and_then(|children| children.trim().parse().ok())
            .expect("unshare has one child");
        Self { unshare, init, lan }
    }

    /// A command that runs in `place`, at most `seconds` long.
    pub fn command(&self, place: Place, seconds: u32, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        self.enter(&mut command, place, Some(seconds), program);
        command
    }

    /// A command that runs on the host as long as it likes.
    pub fn lasting_command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        self.enter(&mut command, Place::Host, None, program);
        command
    }

    /// The same on a terminal: `setsid --ctty` makes stdin the controlling terminal.
    pub fn command_on_terminal(&self, seconds: u32, program: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "nsenter"]);
        self.enter(&mut command, Place::Host, Some(seconds), program);
        command
    }

    fn enter(&self, command: &mut Command, place: Place, seconds: Option<u32>, program: &str) {
        command
            .args([format!("--net={}", self.netns(place).display()), format!("--mount=/proc/{}/ns/mnt", self.init)])
            .arg(format!("--pid=/proc/{}/ns/pid", self.init))
            .env("HOME", "/run");
        if let Some(seconds) = seconds {
            command.args(["timeout", "--foreground", "--signal=KILL", &seconds.to_string()]);
        }
        command.args(["env", "--", program]);
    }

    /// The network namespace of `place`, as this machine sees it.
    pub fn netns(&self, place: Place) -> PathBuf {
        match place {
            Place::Host => self.proc().join("ns/net"),
            Place::Lan => self.inside(&format!("/proc/{}/ns/net", self.lan)),
        }
    }

    /// A path of the host, as this machine sees it.
    pub fn inside(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(path.trim_start_matches('/'))
    }

    /// The shell's `/proc` directory, as this machine sees it.
    pub fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.init))
    }

    /// Processes that are part of the stage: the shell and the neighbour's.
    pub fn own_pids(&self) -> [u32; 2] {
        [1, self.lan]
    }

    /// Ends everything inside, and waits for it.
    pub fn end(&mut self) {
        drop(self.unshare.stdin.take());
        let _ = self.unshare.wait();
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}
