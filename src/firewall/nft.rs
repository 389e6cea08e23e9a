//! The command that carries a transaction into the kernel.
//!
//! The helper of the `nftables` crate would do but for one thing: it leaves nft's words of complaint to our stderr, and an
//! error that does not say what nft said helps nobody.
//!
//! A transaction is in force when the kernel tells its listeners of the new generation, which takes it microseconds. nft
//! ends some ten milliseconds later if something was deleted: closing its socket waits until no packet under way can
//! still see what went (an RCU grace period, `nft_rcv_nl_event` in the kernel). Nobody who starts or ends a container needs to
//! wait for that; who looks for flows that went through needs to.
//!
//! An nft that does not end (somebody stopped it) would stop all transactions after it, those that repair the tables too. So
//! each has a deadline, and is killed then. The kernel has its transaction as a whole by then, or never gets it; which of
//! the two is not known, and whoever asked has to write the tables anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::FirewallError;
use super::writers::Writers;

/// Where nft lives besides the places that `PATH` names: daemons are often started without the administrator's.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// What nft may take at most: a hundred times what it needs on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a transaction for which it has a second more; ten thousand elements are some 2 MB.
const PER_SECOND: usize = 128 << 10;

/// A transaction that is in force.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct Committed(Option<JoinHandle<Result<(), FirewallError>>>);

impl Committed {
    /// Waits until no packet is judged any more by what the transaction deleted.
    pub(super) async fn settled(self) {
        let Some(end) = self.0 else { return };
        match end.await {
            // In force is in force.
            Ok(Ok(()) | Err(FirewallError::Late { .. })) => {}
            Ok(Err(error)) => tracing::error!(%error, "the kernel told of a transaction of which nft says otherwise"),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// Applies the transaction, as a whole or not at all, and answers as soon as it is in force.
pub(super) async fn commit(
    step: &'static str,
    transaction: &impl Serialize,
    writers: &Writers,
) -> Result<Committed, FirewallError> {
    let payload = serde_json::to_vec(transaction).map_err(|e| failed(step, e.into()))?;
    let mut nft = command();
    nft.args(["-j", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = Command::from(nft).spawn().map_err(|source| failed(step, source))?;
    let pid = nft.id().expect("it has not been waited for");
    let generation = writers.began(pid);
    let deadline = Instant::now() + patience(&payload);
    if let Some(mut stdin) = nft.stdin.take() {
        // nft reads everything before it answers. If it ends early, its status and words tell more than EPIPE.
        let _ = timeout_at(deadline, stdin.write_all(&payload)).await;
    }
    in_force(generation, tokio::spawn(end(step, nft, pid, deadline, writers.clone()))).await
}

fn patience(payload: &[u8]) -> Duration {
    PATIENCE + Duration::from_secs((payload.len() / PER_SECOND) as u64)
}

/// Waits until the kernel has told of the transaction; while nobody listens, until nft has ended.
async fn in_force(
    generation: oneshot::Receiver<()>,
    mut end: JoinHandle<Result<(), FirewallError>>,
) -> Result<Committed, FirewallError> {
    tokio::select! {
        Ok(()) = generation => Ok(Committed(Some(end))),
        ended = &mut end => match ended {
            Ok(ended) => ended.map(|()| Committed::default()),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
    }
}

/// What nft says when it has ended.
async fn end(
    step: &'static str,
    mut nft: Child,
    pid: u32,
    deadline: Instant,
    writers: Writers,
) -> Result<(), FirewallError> {
    let (mut stdout, mut stderr) = (nft.stdout.take(), nft.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let whole = async {
        let out = async {
            if let Some(stdout) = &mut stdout {
                let _ = stdout.read_to_end(&mut said).await;
            }
        };
        let err = async {
            if let Some(stderr) = &mut stderr {
                let _ = stderr.read_to_end(&mut complained).await;
            }
        };
        tokio::join!(out, err, nft.wait()).2
    };
    let status = timeout_at(deadline, whole).await;
    if !status.as_ref().is_ok_and(|status| status.as_ref().is_ok_and(std::process::ExitStatus::success)) {
        writers.failed(pid);
    }
    let Ok(status) = status else {
        tracing::error!(pid, "nft does not end (has somebody stopped it?), and is killed: cannot {step}");
        // What is under way in the kernel comes to its end before: nothing of it is written later.
        nft.kill().await.map_err(|source| failed(step, source))?;
        return Err(FirewallError::Late { step });
    };
    match status.map_err(|source| failed(step, source))?.success() {
        true => Ok(()),
        false => Err(FirewallError::Refused { step, message: complaint(&complained, &said) }),
    }
}

fn failed(step: &'static str, source: std::io::Error) -> FirewallError {
    FirewallError::Run { step, source }
}

/// Applies the transaction in the calling thread's network namespace, and waits.
pub(super) fn feed(payload: &[u8]) -> std::io::Result<()> {
    let mut nft = command();
    nft.args(["-j", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = nft.spawn()?;
    let ended = kill_later(&nft, patience(payload));
    if let Some(mut stdin) = nft.stdin.take() {
        let _ = stdin.write_all(payload);
    }
    let output = nft.wait_with_output()?;
    drop(ended);
    answer(&output).map(drop)
}

/// What nft answers in the calling thread's network namespace.
pub(super) fn ask(words: &[&str]) -> std::io::Result<String> {
    let mut nft = command();
    let nft = nft.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = kill_later(&nft, PATIENCE);
    let output = nft.wait_with_output()?;
    drop(ended);
    answer(&output)
}

/// Kills it then, unless what is returned was dropped before.
fn kill_later(nft: &std::process::Child, patience: Duration) -> Option<std::sync::mpsc::Sender<()>> {
    let nft = pidfd_open(rustix::process::Pid::from_child(nft), PidfdFlags::empty()).ok()?;
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if end.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("nft does not end (has somebody stopped it?), and is killed");
            let _ = pidfd_send_signal(&nft, Signal::KILL);
        }
    });
    Some(ended)
}

fn answer(output: &std::process::Output) -> std::io::Result<String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(std::io::Error::other(complaint(&output.stderr, &output.stdout))),
    }
}

/// nft, wherever the administrator's programs are, speaking English.
///
/// By its path: what is searched for in a `PATH` of its own is spawned by `fork`, which copies the daemon's page tables,
/// and not by `posix_spawn`.
pub fn command() -> std::process::Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let nft = found_in(&format!("{path}:{SBIN}")).unwrap_or_else(|| PathBuf::from("nft"));
    #[expect(clippy::disallowed_methods, reason = "nft is the one process on the way of a run")]
    let mut nft = std::process::Command::new(nft);
    nft.env("LC_ALL", "C");
    nft
}

/// The first nft in these directories.
fn found_in(path: &str) -> Option<PathBuf> {
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Path::new(directory).join("nft")).find(|nft| is_program(nft))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// The line that says what is wrong; the ones below it repeat the input.
fn complaint(stderr: &[u8], stdout: &[u8]) -> String {
    let text = [stderr, stdout].map(String::from_utf8_lossy).concat();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_is_in_force_when_the_kernel_says_so_or_else_at_nfts_end() {
        let refused = || FirewallError::Refused { step: "try", message: "no".to_owned() };
        // nft still waits for the kernel.
        let (told, generation) = oneshot::channel();
        let (ends, end) = oneshot::channel::<()>();
        told.send(()).expect("somebody listens");
        let waiting = tokio::spawn(async { end.await.map_err(|_| FirewallError::Ended) });
        let committed = in_force(generation, waiting).await.expect("the kernel told of it");
        ends.send(()).expect("it waits");
        committed.settled().await;
        // Nobody tells: the one who would have is gone.
        let (told, generation) = oneshot::channel();
        drop(told);
        assert!(in_force(generation, tokio::spawn(async { Ok(()) })).await.is_ok());
        let (_told, generation) = oneshot::channel();
        let answer = in_force(generation, tokio::spawn(async move { Err(refused()) })).await;
        assert!(matches!(answer, Err(FirewallError::Refused { .. })));
    }

    #[test]
    fn the_first_program_of_the_name_is_meant() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        let nft = |name: &str, mode| {
            let nft = dir.path().join(name).join("nft");
            std::fs::create_dir(dir.path().join(name)).expect("directory");
            std::fs::write(&nft, "").expect("file");
            std::fs::set_permissions(&nft, std::fs::Permissions::from_mode(mode)).expect("mode");
            nft
        };
        let (_no_program, first, _second) = (nft("a", 0o644), nft("b", 0o755), nft("c", 0o755));
        let root = dir.path().display();
        let path = format!(":b:{root}/none:{root}/a:{root}/b:{root}/c");
        assert_eq!(found_in(&path), Some(first));
        assert_eq!(found_in(&format!("{root}/none:")), None);
    }

    #[test]
    fn a_complaint_is_one_line() {
        let stderr = b"internal:0:0-0: Error: Could not process rule: No such file or directory\n\nadd element\n";
        assert_eq!(complaint(stderr, b""), "internal:0:0-0: Error: Could not process rule: No such file or directory");
        assert_eq!(complaint(b"", b"\n"), "no reason given");
    }
}
