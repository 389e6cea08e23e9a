//! docker's grammar: a client of the API like any other, a file per command.
//!
//! ```text
//! argv ─ clap ─► verbs::*  ── requests ──► client (bollard, or its transport)
//!                   │ ├─ flags: run's and create's flags → the API's body (pure)
//!                   │ ├─ streams: our stdin, stdout, signals, terminal ↔ a process
//!                   └─ render: tables, sizes, templates (pure)
//! ```

mod client;
mod error;
// clap makes help texts of these rooms' doc comments, where brackets are grammar and no links.
#[allow(rustdoc::broken_intra_doc_links)]
mod flags;
mod grammar;
mod render;
mod streams;
#[allow(rustdoc::broken_intra_doc_links)]
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use client::Client;
use error::{CliError, Outcome, RUN_FAILED, one_line};
use grammar::Cli;

/// Entry point of everything that is neither the shim nor the daemon.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, RUN_FAILED),
    };
    let failed = cli.command.failure();
    let code = run(cli).unwrap_or_else(|error| {
        complain(&error);
        // Errors that know no better code end a `run` with docker's 125.
        if error.code == 1 && error.status.is_some() { failed } else { error.code }
    });
    ExitCode::from(code)
}

fn run(cli: Cli) -> Outcome {
    let socket = client::host(cli.host, |name| std::env::var(name).ok())?;
    let client = Client::new(socket)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::new(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(cli.command.run(&client));
    // A thread may still wait for our stdin: nobody waits for that thread.
    runtime.shutdown_background();
    outcome
}

/// Reads the command line. Switches take Go's `--rm=false` too, which would clutter every help text: the grammar with
/// such switches is tried only when the plain one fails and there is a `=`.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let read = |grammar: clap::Command| {
        let matches = grammar.try_get_matches_from(arguments)?;
        Cli::from_arg_matches(&matches)
    };
    match read(Cli::command()) {
        Err(error) if error.use_stderr() && arguments.iter().any(|word| word.as_encoded_bytes().contains(&b'=')) => {
            read(grammar::with_go_booleans(Cli::command())).map_err(|_| error)
        }
        outcome => outcome,
    }
}

/// Shows what clap has to say: help and version on stdout; errors as one line on stderr and `code`.
pub fn explain(error: &clap::Error, code: u8) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            // docker alone shows its help; a command of its that lacks a word fails.
            return if std::env::args_os().len() > 1 { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
        _ => {}
    }
    let text = error.to_string();
    let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let message = one_line(message.strip_prefix("error: ").unwrap_or(message));
    // docker tells apart flags that it does not know, and commands that it does not know and arguments that are missing.
    let code = match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::TooFewValues
        | ErrorKind::InvalidSubcommand => 1,
        _ => code,
    };
    // clap's usage line names the command: `Usage: pontoon run [OPTIONS] …`.
    let usage = rest.lines().find_map(|line| line.strip_prefix("Usage: "));
    let hint = usage.map_or_else(String::new, |usage| {
        let command: Vec<&str> =
            usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
        format!(" (see '{} --help')", command.join(" "))
    });
    eprint(&format!("pontoon: {message}{hint}\n"));
    ExitCode::from(code)
}

/// One line on stderr.
fn complain(error: &CliError) {
    if !error.message.is_empty() {
        eprint(&format!("pontoon: {error}\n"));
    }
}

/// To stderr; there is nobody to tell if that fails.
fn eprint(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// To stdout, at once.
fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| CliError::output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
        grammar::with_go_booleans(Cli::command()).debug_assert();
    }

    #[test]
    fn go_s_booleans_are_taken_where_they_are_written() {
        for line in [
            "pontoon ps -a=true",
            "pontoon run --rm=false -it=true busybox sh",
            "pontoon run -i=true -t=true busybox --rm=false",
            "pontoon run --sig-proxy=false busybox",
        ] {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line).err().map(|error| error.to_string()));
        }
        assert!(read("pontoon ps -a=maybe").is_err());
    }

    #[test]
    fn the_hostname_s_h_is_no_help() {
        assert!(read("pontoon run -h web busybox").is_ok());
        assert!(read("pontoon -H unix:///x container ls").is_ok());
        assert!(read("pontoon image rm x").is_ok());
    }
}
