//! argv → shim | daemon | cli, in this order: the shim must branch off before any thread or runtime exists.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|verb| verb == "shim") {
        return match args.next() {
            Some(dir) => pontoon::runner::shim::main(Path::new(&dir)),
            None => ExitCode::from(2),
        };
    }
    ExitCode::SUCCESS
}
