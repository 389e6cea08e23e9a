//! Signals while a container is in the foreground: handed on to it, or (with a terminal) the end of our watching.

use bollard::query_parameters::KillContainerOptionsBuilder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};

/// So many times ctrl-c, or SIGTERM, and we go without the container, as docker's command line does.
const ENOUGH: u32 = 3;

/// What is handed on. Of the rest, some cannot be caught, and others (CHLD, PIPE, WINCH) mean us.
const HANDED_ON: [(&str, i32); 9] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("TERM", libc::SIGTERM),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("ALRM", libc::SIGALRM),
    ("CONT", libc::SIGCONT),
    ("IO", libc::SIGIO),
];

/// Signals that end us while the container has the terminal.
const ENDING: [(&str, i32); 4] =
    [("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("QUIT", libc::SIGQUIT), ("TERM", libc::SIGTERM)];

/// Caught from the moment it is made, so that a signal between create and start is not lost.
pub(in crate::cli) struct Signals {
    listeners: Vec<(&'static str, i32, Signal)>,
    purpose: Purpose,
}

/// What is done with what is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    HandOn,
    End,
}

impl Signals {
    /// For a container in the foreground. One that has our terminal gets its keys, ctrl-c among them, as input: signals
    /// are for us then. Otherwise they are for it, unless `proxy` is off.
    pub(in crate::cli) fn of_container(has_terminal: bool, proxy: bool) -> Result<Self, CliError> {
        match (has_terminal, proxy) {
            (true, _) => Self::ending(),
            (false, true) => Self::listen(&HANDED_ON, Purpose::HandOn),
            (false, false) => Ok(Self::none()),
        }
    }

    /// Signals that end us: caught, so that the terminal is restored first.
    pub(in crate::cli) fn ending() -> Result<Self, CliError> {
        Self::listen(&ENDING, Purpose::End)
    }

    /// Nothing is caught.
    pub(in crate::cli) fn none() -> Self {
        Self { listeners: Vec::new(), purpose: Purpose::End }
    }

    fn listen(signals: &[(&'static str, i32)], purpose: Purpose) -> Result<Self, CliError> {
        let listen = |&(name, number): &(&'static str, i32)| {
            let listener = signal(SignalKind::from_raw(number));
            listener
                .map(|listener| (name, number, listener))
                .map_err(|error| CliError::new(format!("cannot catch SIG{name}: {error}")))
        };
        Ok(Self { listeners: signals.iter().map(listen).collect::<Result<_, _>>()?, purpose })
    }

    /// The next one: name without SIG, and number.
    async fn next(&mut self) -> (&'static str, i32) {
        std::future::poll_fn(|context| {
            for (name, number, listener) in &mut self.listeners {
                if listener.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready((*name, *number));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Hands signals on to `container` (a name or id as a path segment), for ever; or answers the exit code of the first
    /// one that ends us. Whoever interrupts us again and again wants to be rid of us, whatever the container does about it,
    /// and whether or not the daemon answers.
    pub(in crate::cli) async fn serve(&mut self, client: &Client, container: &str) -> Outcome {
        let (queue, mut queued) = mpsc::unbounded_channel();
        let handing_on = async {
            while let Some(name) = queued.recv().await {
                let options = KillContainerOptionsBuilder::default().signal(name).build();
                // The container may have ended meanwhile: its exit tells more than this error would.
                let _ = client.docker().kill_container(container, Some(options)).await;
            }
            std::future::pending().await
        };
        let purpose = self.purpose;
        let catching = async {
            let mut interruptions = 0;
            loop {
                let (name, number) = self.next().await;
                if purpose == Purpose::End {
                    return Ok(128u8.saturating_add(u8::try_from(number).unwrap_or(0)));
                }
                interruptions += u32::from(matches!(number, libc::SIGINT | libc::SIGTERM));
                if interruptions == ENOUGH {
                    return Err(CliError::new(format!("got {ENOUGH} SIGTERM/SIGINTs, forcefully exiting")));
                }
                let _ = queue.send(name);
            }
        };
        tokio::select! {
            outcome = catching => outcome,
            outcome = handing_on => outcome,
        }
    }
}
