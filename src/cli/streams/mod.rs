//! The streams of a process in the foreground: our stdin to it, its output to us.

pub(super) mod detach;
pub(super) mod frames;
pub(super) mod signals;
pub(super) mod terminal;

use detach::{DetachKeys, Typed};
use frames::{Demultiplexer, Target};
use futures_util::FutureExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::client::{Client, broken};
use super::error::CliError;

const BUFFER: usize = 32 * 1024;

/// A connection that the daemon has turned over to a process's streams.
pub(super) struct Hijacked {
    pub(super) io: TokioIo<Upgraded>,
    /// Whether output comes in frames, if the daemon said so.
    pub(super) framed: Option<bool>,
}

/// Why the streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The output did.
    Output,
    /// The detach keys were typed.
    Detached,
}

/// What goes to the process.
pub(super) struct Input {
    /// Our stdin.
    pub(super) stdin: bool,
    /// A terminal's detach keys.
    pub(super) keys: Option<DetachKeys>,
}

/// Carries the streams until the output ends (or is left). The end of our stdin closes the process's, no more.
pub(super) async fn carry(hijacked: Hijacked, tty: bool, input: Input) -> Result<Ended, CliError> {
    let framed = hijacked.framed.unwrap_or(!tty);
    let (reader, writer) = tokio::io::split(hijacked.io);
    let incoming = async { copy_output(reader, framed).await.map(|()| Ended::Output) };
    let outgoing = async {
        if input.stdin && copy_input(tokio::io::stdin(), writer, input.keys).await? == Ended::Detached {
            return Ok(Ended::Detached);
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = incoming => ended,
        ended = outgoing => ended,
    }
}

/// stdin → process. A process that does not read any more is no error: its exit code tells.
async fn copy_input(
    mut stdin: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut keys: Option<DetachKeys>,
) -> Result<Ended, CliError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        // A terminal that has gone away reads as an error: no more will come from it.
        let count = stdin.read(&mut buffer).await.unwrap_or(0);
        let typed = match &mut keys {
            Some(keys) => keys.typed(&buffer[..count]),
            None => Typed::Send(buffer[..count].to_vec()),
        };
        let sent = match typed {
            Typed::Detach => return Ok(Ended::Detached),
            Typed::Send(bytes) => writer.write_all(&bytes).await,
        };
        if count == 0 || sent.is_err() {
            let _ = writer.shutdown().await;
            return Ok(Ended::Output);
        }
    }
}

/// Process → stdout and stderr, framed or raw.
pub(super) async fn copy_output(mut reader: impl AsyncRead + Unpin, framed: bool) -> Result<(), CliError> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut demultiplexer = Demultiplexer::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = arrived(&mut reader, &mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if !framed {
            write(&mut stdout, &buffer[..count]).await?;
            continue;
        }
        demultiplexer.feed(&buffer[..count]);
        while let Some((target, bytes)) = demultiplexer.next_run().map_err(broken)? {
            match target {
                Target::Stdout => write(&mut stdout, &bytes).await?,
                Target::Stderr => write(&mut stderr, &bytes).await?,
            }
        }
    }
}

/// Waits for the first bytes, and takes with them all that has arrived by then: a line each may have been sent, and each
/// write of ours is a way to another thread and back. 0: the end.
async fn arrived(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<usize, CliError> {
    let mut count = reader.read(buffer).await.map_err(broken)?;
    let mut gave_way = false;
    while count > 0 && count < buffer.len() {
        match reader.read(&mut buffer[count..]).now_or_never() {
            // The connection's own task has one piece of a body ready at a time: it gets its turn for the next.
            None if !std::mem::replace(&mut gave_way, true) => tokio::task::yield_now().await,
            // The end is told by the next call, and so is what went wrong, if it still does: what came before it counts.
            None | Some(Ok(0) | Err(_)) => break,
            Some(Ok(more)) => {
                count += more;
                gave_way = false;
            }
        }
    }
    Ok(count)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), CliError> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    written.await.map_err(|error| CliError::output(&error))
}

/// What has a terminal to resize.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resized<'a> {
    /// A container, as a path segment.
    Container(&'a str),
    /// An exec session.
    Exec(&'a str),
}

/// Tells the daemon our terminal's size, now and whenever it changes, for ever. `repaint`: a program that has drawn its
/// screen for somebody else draws it anew only when the size changes, so that a larger one is told first.
pub(super) async fn follow_size(
    client: &Client,
    whose: Resized<'_>,
    mut repaint: bool,
) -> Result<std::convert::Infallible, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut changes = signal(SignalKind::window_change())
        .map_err(|error| CliError::new(format!("cannot watch the terminal's size: {error}")))?;
    loop {
        let size = terminal::size();
        let larger = size.filter(|_| std::mem::take(&mut repaint)).map(|(rows, columns)| (rows + 1, columns + 1));
        for (rows, columns) in larger.into_iter().chain(size) {
            let (kind, id) = match whose {
                Resized::Container(id) => ("containers", id),
                Resized::Exec(id) => ("exec", id),
            };
            let query = [("h", &*rows.to_string()), ("w", &*columns.to_string())];
            let path = format!("/{kind}/{id}/resize");
            // A process that has just ended cannot be resized: its end is reported elsewhere.
            let _ = client.open(hyper::Method::POST, &path, &query, super::client::Payload::Empty).await;
        }
        if changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_arrived_is_taken_together_and_nothing_more_is_waited_for() {
        let chunks = [&b"one "[..], b"two ", b"three"].map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::from(chunk)));
        let silence = futures_util::stream::pending();
        let stream = futures_util::StreamExt::chain(futures_util::stream::iter(chunks), silence);
        let mut reader = tokio_util::io::StreamReader::new(Box::pin(stream));
        let mut buffer = [0; 64];
        let count = arrived(&mut reader, &mut buffer).await.expect("bytes");
        assert_eq!(&buffer[..count], b"one two three");
        assert!(arrived(&mut reader, &mut buffer).now_or_never().is_none(), "the stream has not ended");
    }

    #[tokio::test]
    async fn what_came_before_the_end_is_not_lost() {
        let mut reader = &b"twelve bytes"[..];
        let mut buffer = [0; 8];
        assert_eq!(arrived(&mut reader, &mut buffer).await.expect("bytes"), 8);
        assert_eq!(arrived(&mut reader, &mut buffer).await.expect("bytes"), 4);
        assert_eq!(arrived(&mut reader, &mut buffer).await.expect("bytes"), 0);
    }

    #[tokio::test]
    async fn the_end_of_stdin_closes_the_process_s_stdin_only() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (_reader, writer) = tokio::io::split(ours);
        let ended = copy_input(&b"hello"[..], writer, None).await.expect("carried");
        assert_eq!(ended, Ended::Output);
        let mut got = String::new();
        theirs.read_to_string(&mut got).await.expect("an end of file");
        assert_eq!(got, "hello");
        theirs.write_all(b"still open").await.expect("the other direction");
    }
}
