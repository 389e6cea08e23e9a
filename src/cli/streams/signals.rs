//! Signals while a container is in the foreground: handed on to it, or (with a terminal) the end of our watching.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::client::Client;
use crate::cli::error::CliError;

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
}

impl Signals {
    /// Signals for the container.
    pub(in crate::cli) fn to_hand_on() -> Result<Self, CliError> {
        Self::listen(&HANDED_ON)
    }

    /// Signals that end us.
    pub(in crate::cli) fn ending() -> Result<Self, CliError> {
        Self::listen(&ENDING)
    }

    /// No signals.
    pub(in crate::cli) fn none() -> Self {
        Self { listeners: Vec::new() }
    }

    fn listen(signals: &[(&'static str, i32)]) -> Result<Self, CliError> {
        let listen = |&(name, number): &(&'static str, i32)| {
            let listener = signal(SignalKind::from_raw(number));
            listener
                .map(|listener| (name, number, listener))
                .map_err(|error| CliError::new(format!("cannot catch SIG{name}: {error}")))
        };
        Ok(Self { listeners: signals.iter().map(listen).collect::<Result<_, _>>()? })
    }

    /// The next one: name without SIG, and number.
    pub(in crate::cli) async fn next(&mut self) -> (&'static str, i32) {
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

    /// Hands every signal on, for ever. `container` is a name or id as a path segment.
    pub(in crate::cli) async fn hand_on(&mut self, client: &Client, container: &str) -> std::convert::Infallible {
        use bollard::query_parameters::KillContainerOptionsBuilder;
        loop {
            let (name, _) = self.next().await;
            let options = KillContainerOptionsBuilder::default().signal(name).build();
            // The container may have ended meanwhile: its exit tells more than this error would.
            let _ = client.docker().kill_container(container, Some(options)).await;
        }
    }
}
