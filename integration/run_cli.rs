//! `run` as its user sees it: exit codes, streams, terminals, signals.

use std::process::Stdio;

use crate::harness::{Cli, Host, until};

#[test]
fn exit_codes() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let run = |words: &[&str]| host.run("busybox").by(cli).cmd(words).once();
        run(&["true"]).ends_with(0).says("");
        run(&["sh", "-c", "exit 3"]).ends_with(3);
        run(&["sh", "-c", "exit 255"]).ends_with(255);
        run(&["no-such-program"]).ends_with(127).complains("no-such-program");
        run(&["/etc/passwd"]).ends_with(126).complains("permission denied");
        run(&["/etc"]).ends_with(126);
        host.run("busybox").by(cli).flags(&["--memory", "1"]).cmd(&["true"]).once().ends_with(125);
        host.run("busybox").by(cli).flags(&["--no-such-flag"]).cmd(&["true"]).once().ends_with(125);
        host.run("no-such-image:1").by(cli).cmd(&["true"]).once().ends_with(125).complains("no-such-image");
        // Ended by a signal: 128 + its number.
        let killed =
            host.run("busybox").by(cli).flags(&["--init=false"]).sh("kill -9 $$; sh -c 'kill -9 $$'; exit $?").once();
        killed.ends_with(137);
    }
    assert_eq!(host.docker(&["ps", "-aq"]).ok(), "", "--rm removed them all");
}

#[test]
fn the_three_streams() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let both = host.run("busybox").by(cli).sh("echo out; echo err >&2").once();
        assert_eq!((both.stdout.as_str(), both.stderr.as_str(), both.code), ("out\n", "err\n", 0), "{both}");
        host.run("busybox").by(cli).input("some words\n").cmd(&["cat"]).once().says("some words");
        // The end of input is passed on, and output goes on after it.
        host.run("busybox").by(cli).input("a\nb\n").sh("cat; echo after").once().says("a\nb\nafter");
        // Without -i there is no input.
        host.run("busybox").by(cli).sh("cat; echo end").once().says("end");
    }
}

#[test]
fn much_goes_in_and_out_unharmed() {
    let host = Host::new();
    let text: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    for cli in Cli::BOTH {
        let echoed = host.run("busybox").by(cli).input(&text).cmd(&["cat"]).once();
        assert!(
            echoed.stdout == text && echoed.code == 0,
            "{} of {} bytes, {}",
            echoed.stdout.len(),
            text.len(),
            echoed.stderr
        );
        let large = host.run("busybox").by(cli).sh("head -c 20000000 /dev/zero | tr '\\0' x").once();
        assert_eq!((large.stdout.len(), large.code), (20_000_000, 0), "{}", large.stderr);
    }
}

#[test]
fn output_flows_before_the_end() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let script = "printf 'your name? '; read name; echo hello $name";
        let mut terminal = host.terminal(cli, &["run", "--rm", "-it", "busybox", "sh", "-c", script]);
        terminal.shows("your name? ");
        terminal.types("Ada\r");
        terminal.shows("hello Ada");
        assert_eq!(terminal.ends(), 0);
    }
}

#[test]
fn a_terminal() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let mut terminal = host.terminal(cli, &["run", "--rm", "-it", "busybox", "sh"]);
        terminal.shows("/ #");
        terminal.types("tty; stty size; echo TERM is $TERM\r");
        terminal.shows("\n/dev/pts/0");
        terminal.shows("24 80");
        terminal.shows("TERM is xterm");
        terminal.resize(40, 100);
        terminal.types("until [ \"$(stty size)\" = '40 100' ]; do :; done; echo re''sized\r");
        terminal.shows("resized");
        // Control keys are the container's.
        terminal.types("echo now slee''ping; sleep 1000\r");
        terminal.shows("now sleeping");
        terminal.types("\x03");
        terminal.shows("/ #");
        terminal.types("exit 5\r");
        assert_eq!(terminal.ends(), 5);
    }
}

#[test]
fn detaching_leaves_it_running_and_attaching_comes_back() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let mut terminal = host.terminal(cli, &["run", "--name", "shell", "-it", "busybox", "sh"]);
        terminal.shows("/ #");
        terminal.types("\x10\x11");
        assert_eq!(terminal.ends(), 0);
        host.docker(&["ps", "--format", "{{.Names}}"]).says("shell");

        let mut terminal = host.terminal(cli, &["attach", "--detach-keys", "ctrl-x,x", "shell"]);
        terminal.types("echo I am ba''ck\r");
        terminal.shows("I am back");
        terminal.types("\x18x");
        terminal.ends();
        host.docker(&["ps", "--format", "{{.Names}}"]).says("shell");

        let mut terminal = host.terminal(cli, &["exec", "-it", "shell", "sh"]);
        terminal.shows("/ #");
        terminal.types("\x10\x11");
        terminal.shows("read escape sequence");
        assert_eq!(terminal.ends(), 1);

        let mut terminal = host.terminal(cli, &["attach", "shell"]);
        terminal.types("exit 7\r");
        assert_eq!(terminal.ends(), 7);
        host.docker(&["rm", "shell"]).ok();
    }
}

#[test]
fn in_the_background() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let container = host.run("busybox").by(cli).flags(&["--rm"]).cmd(&["sleep", "1000"]).start();
        let outcome = host.cli(cli, &["ps", "--quiet"]);
        assert_eq!(outcome.ok(), &container.id[..12]);
        host.cli(cli, &["kill", &container.id]).says(&container.id);
        until("--rm removes it", || host.cli(cli, &["ps", "-aq"]).ok().is_empty());

        let ended = host.run("busybox").by(cli).sh("exit 4").start();
        host.cli(cli, &["wait", &ended.id]).says("4");
        host.cli(cli, &["rm", &ended.id]).says(&ended.id);
    }
}

#[test]
fn signals_and_stopping() {
    let host = Host::new();
    let trap = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    for cli in Cli::BOTH {
        let polite = host.run("busybox").by(cli).sh(trap).start();
        polite.says("ready");
        host.cli(cli, &["stop", &polite.id]).ok();
        assert_eq!(polite.inspect("{{.State.ExitCode}} {{.State.Status}} {{.State.Running}}"), "9 exited false");
        polite.says("got it");

        // sleep ignores SIGTERM as the first process: it takes the second, harder signal.
        let deaf = host.run("busybox").by(cli).cmd(&["sleep", "1000"]).start();
        host.cli(cli, &["stop", "--time", "0", &deaf.id]).ok();
        assert_eq!(deaf.inspect("{{.State.ExitCode}}"), "137");

        let other = host
            .run("busybox")
            .by(cli)
            .flags(&["--stop-signal", "USR1"])
            .sh("trap 'exit 8' USR1; echo ready; while :; do sleep 0.1; done")
            .start();
        other.says("ready");
        host.cli(cli, &["stop", &other.id]).ok();
        assert_eq!(other.inspect("{{.State.ExitCode}}"), "8");

        let killed =
            host.run("busybox").by(cli).sh("trap 'exit 6' HUP; echo ready; while :; do sleep 0.1; done").start();
        killed.says("ready");
        host.cli(cli, &["kill", "--signal", "HUP", &killed.id]).ok();
        assert_eq!(killed.wait(), 6);
        host.cli(cli, &["kill", &killed.id]).ends_with(1).complains("is not running");
    }
}

#[test]
fn whoever_interrupts_three_times_goes_without_the_container() {
    let host = Host::new();
    // As docker's command line of version 28 does; that of Debian 12 ends otherwise.
    let script = "trap 'echo heard' INT; echo ready; while :; do sleep 0.1; done";
    let name = "deaf";
    let words = ["run", "--name", name, "busybox", "sh", "-c", script];
    let output = host.dir().join(name);
    let mut client = host.daemon().client(&host.namespaces, Cli::Pontoon, &words);
    let mut client = client
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output).unwrap())
        .stderr(std::fs::File::options().append(true).open(&output).unwrap())
        .spawn()
        .unwrap();
    let says = |text: &str, times: usize| {
        let read = || std::fs::read_to_string(&output).unwrap();
        until("the client says so", || read().matches(text).count() >= times);
    };
    says("ready", 1);
    let pid = host.sh(&format!("pgrep -f -n '[r]un --name {name}'")).ok();
    for times in 1..=3 {
        host.sh(&format!("kill -INT {pid}")).ok();
        // The third is for the client alone.
        says("heard", times.min(2));
    }
    assert_eq!(client.wait().unwrap().code(), Some(1));
    says("got 3 SIGTERM/SIGINTs, forcefully exiting", 1);
    assert_eq!(host.docker(&["inspect", "--format", "{{.State.Running}}", name]).ok(), "true");
    host.docker(&["rm", "--force", name]).ok();
}

#[test]
fn what_the_process_is_given() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let run = |flags: &[&str], script: &str| host.run("busybox").by(cli).flags(flags).sh(script).once();
        run(&["--env", "A=b c", "--env", "EMPTY="], "echo \"$A|${EMPTY-unset}\"").says("b c|");
        run(&["--workdir", "/var"], "pwd").says("/var");
        run(&["--workdir", "/made/for/it"], "pwd").says("/made/for/it");
        run(&["--user", "app"], "id -u; id -g").says("1000\n1000");
        run(&["--user", "1234:99"], "id -u; id -g").says("1234\n99");
        run(&["--user", "app"], "id -G").says("1000 2000");
        run(&["--group-add", "77"], "id -G").says("0 77");
        run(&[], "echo $HOME $PATH").says("/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        run(&[], "echo $$").says("1");
        host.run("busybox").by(cli).flags(&["--entrypoint", "echo"]).cmd(&["a", "b"]).once().says("a b");
        host.run("busybox").by(cli).flags(&["--user", "nobody-here"]).cmd(&["true"]).once().ends_with(125);
    }
    let file = host.dir().join("env");
    std::fs::write(&file, "# comment\nFROM_FILE=yes\n").unwrap();
    host.run("busybox").flags(&["--env-file", &file.display().to_string()]).sh("echo $FROM_FILE").once().says("yes");
}

#[test]
fn names() {
    let host = Host::new();
    let container = host.run("busybox").name("web").cmd(&["sleep", "1000"]).start();
    for cli in Cli::BOTH {
        let again = host.run("busybox").by(cli).name("web").cmd(&["true"]).attempt().fails(125);
        let words = format!(
            "The container name \"/web\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
            container.id
        );
        assert!(again.contains(&words), "{again}");
        host.run("busybox").by(cli).name("-web").cmd(&["true"]).attempt().ends_with(125);
    }
    let unnamed = host.run("busybox").cmd(&["true"]).start();
    let name = unnamed.inspect("{{.Name}}");
    let (adjective, surname) = name.trim_start_matches('/').split_once('_').expect("adjective_surname");
    assert!(!adjective.is_empty() && !surname.is_empty(), "{name}");
}

#[test]
fn create_start_attach() {
    let host = Host::new();
    for cli in Cli::BOTH {
        let created = host.run("busybox").by(cli).name("later").sh("echo hello; exit 2").create();
        assert_eq!(created.inspect("{{.State.Status}}"), "created");
        host.cli(cli, &["start", "--attach", "later"]).says("hello").ends_with(2);
        host.cli(cli, &["start", "later"]).says("later").ends_with(0);
        assert_eq!(created.wait(), 2);
        host.docker(&["rm", "later"]).ok();
    }
}
