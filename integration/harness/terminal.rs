//! A person at a terminal: a real pty, with a command on its other end.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::wait::until;

/// A command on a terminal of 24 rows and 80 columns.
pub struct Terminal {
    master: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen [`Terminal::shows`] has found already.
    read: usize,
}

impl Terminal {
    /// Gives `command` a terminal and starts it.
    pub fn spawn(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pty");
        grantpt(&master).expect("a pty");
        unlockpt(&master).expect("a pty");
        resize(&master, 24, 80);
        let end = ioctl_tiocgptpeer(&master, flags).expect("the pty's other end");
        let share = || end.try_clone().expect("a descriptor can be shared");
        let child = command.stdin(share()).stdout(share()).stderr(share()).spawn().expect("setsid (util-linux) runs");
        drop(end);
        // The command holds copies of the other end as long as it lives: here they must go, so that its end is seen.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());

        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, shown) = (master.try_clone().expect("a descriptor can be shared"), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // EIO when the last other end is closed.
            while let Ok(count @ 1..) = reader.read(&mut some) {
                shown.lock().expect("not poisoned").extend_from_slice(&some[..count]);
            }
        });
        Self { master, child, screen, read: 0 }
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    /// Waits until the screen shows `text`, after what was waited for before.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        let begin = std::time::Instant::now();
        loop {
            let screen = self.screen();
            if let Some(at) = screen.get(self.read..).and_then(|rest| rest.find(text)) {
                self.read += at + text.len();
                return;
            }
            assert!(begin.elapsed() < super::wait::DEADLINE, "the terminal never showed {text:?}, but:\n{screen}");
            super::wait::pause();
        }
    }

    /// Everything it has shown.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("not poisoned")).into_owned()
    }

    /// Changes the window's size.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    /// Waits for the command's end: its exit code.
    #[track_caller]
    pub fn ends(mut self) -> i32 {
        let mut code = None;
        until("the command on the terminal has ended", || {
            code = self.child.try_wait().expect("a child can be waited for").map(|status| status.code().unwrap_or(-1));
            code.is_some()
        });
        code.expect("it has ended")
    }
}

fn resize(master: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("a pty has a size");
}
