//! argv → shim | daemon | check | cli, in this order: the shim must branch off before any thread or runtime exists.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use pontoon::config::{Config, DaemonArgs};

const DAEMON_EXAMPLES: &str = "\
Examples:
  pontoon daemon         with a bridge pontoon0, on a subnet that hits no route of the host
  pontoon daemon --bip 192.168.7.1/24 --mtu 1400 --icc=false

A second daemon beside the first has roots and a bridge of its own, which you make:
  ip link add br2 type bridge && ip address add 192.168.8.1/24 dev br2
  pontoon daemon --data-root /srv/two --exec-root /run/two --bridge br2

Every option but --config-file may stand in the configuration file instead, under dockerd's key:
  {\"bip\": \"192.168.7.1/24\", \"icc\": false, \"dns\": [\"192.168.7.53\"], \"log-opts\": {\"max-size\": \"10m\"}}
The same option in both with different values is an error.

SIGTERM ends the daemon; containers live on, and the next daemon takes them over.";

/// Run the daemon: containers, the bridge they hang off, and the firewall between them.
#[derive(Parser)]
#[command(name = "pontoon daemon", bin_name = "pontoon daemon", after_help = DAEMON_EXAMPLES, max_term_width = 120)]
struct Daemon {
    #[command(flatten)]
    args: DaemonArgs,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    if verb == "shim" {
        return match args.next() {
            Some(dir) => pontoon::runner::shim::main(Path::new(&dir)),
            None => ExitCode::from(2),
        };
    }
    if verb == "check" {
        return check();
    }
    if verb == "daemon" { daemon() } else { pontoon::cli::main() }
}

const CHECK_HELP: &str = "\
Each thing that the daemon needs is tried in namespaces made for it; nothing on this machine is touched.
What is missing is shown with what to do about it. Run it as root, as the daemon will.

Exit code 0: the daemon can run here. 1: it cannot.";

/// Look whether this machine can run the daemon.
#[derive(Parser)]
#[command(name = "pontoon check", bin_name = "pontoon check", after_help = CHECK_HELP, max_term_width = 120)]
struct Check {}

fn check() -> ExitCode {
    match Check::try_parse_from(std::env::args_os().skip(1)) {
        Ok(Check {}) => pontoon::check::main(&pontoon::check::run_for_people()),
        Err(error) => pontoon::cli::explain(&error, 1),
    }
}

/// Every failure is one line on stderr and exit code 1.
fn daemon() -> ExitCode {
    let args = match Daemon::try_parse_from(std::env::args_os().skip(1)) {
        Ok(daemon) => daemon.args,
        Err(error) => return pontoon::cli::explain(&error, 1),
    };
    let outcome = Config::load(&args).map_err(anyhow::Error::from).and_then(pontoon::daemon::run);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pontoon: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what lies behind it; a cause that an error's own words have told already is not told twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
