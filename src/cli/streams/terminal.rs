//! The terminal we were started in: its size, and raw mode for as long as a container has it.

use std::io::IsTerminal;

use rustix::termios::{self, OptionalActions, Termios};

use crate::cli::error::CliError;

/// Whether stdin is a terminal.
pub(in crate::cli) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Rows and columns of the terminal behind stdout (or stdin), if there is one.
pub(in crate::cli) fn size() -> Option<(u16, u16)> {
    let of = |fd: &dyn std::os::fd::AsFd| termios::tcgetwinsize(fd).ok().filter(|size| size.ws_row > 0);
    let size = of(&std::io::stdout()).or_else(|| of(&std::io::stdin()))?;
    Some((size.ws_row, size.ws_col))
}

/// Raw mode of stdin's terminal; dropping it (a panic does too) restores what was before.
pub(in crate::cli) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` if stdin is no terminal.
    pub(in crate::cli) fn enter() -> Result<Option<Self>, CliError> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let wrong = |error: rustix::io::Errno| CliError::new(format!("cannot set the terminal to raw mode: {error}"));
        let before = termios::tcgetattr(&stdin).map_err(wrong)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(wrong)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may have gone; there is nothing left to restore then.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
