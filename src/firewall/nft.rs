//! The command that carries a transaction into the kernel.
//!
//! The helper of the `nftables` crate would do but for one thing: it leaves nft's words of complaint to our stderr, and an
//! error that does not say what nft said helps nobody.
//!
//! A transaction is in force when the kernel tells its listeners of the new generation, which takes it microseconds. nft
//! ends some ten milliseconds later if something was deleted: closing its socket waits until no packet under way can
//! still see what went (an RCU grace period, `nft_rcv_nl_event` in the kernel). Nobody who starts or ends a container needs to
//! wait for that; who looks for flows that went through needs to.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::FirewallError;
use super::writers::Writers;

/// Where nft lives besides the places that `PATH` names: daemons are often started without the administrator's.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A transaction that is in force.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct Committed(Option<JoinHandle<Result<(), FirewallError>>>);

impl Committed {
    /// Waits until no packet is judged any more by what the transaction deleted.
    pub(super) async fn settled(self) {
        let Some(end) = self.0 else { return };
        match end.await {
            Ok(Ok(())) => {}
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
    if let Some(mut stdin) = nft.stdin.take() {
        // nft reads everything before it answers. If it ends early, its status and words tell more than EPIPE.
        let _ = stdin.write_all(&payload).await;
    }
    in_force(generation, tokio::spawn(end(step, nft, pid, writers.clone()))).await
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
async fn end(step: &'static str, nft: Child, pid: u32, writers: Writers) -> Result<(), FirewallError> {
    let output = nft.wait_with_output().await;
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        writers.failed(pid);
    }
    let output = output.map_err(|source| failed(step, source))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(FirewallError::Refused { step, message: complaint(&output.stderr, &output.stdout) }),
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
    if let Some(mut stdin) = nft.stdin.take() {
        let _ = stdin.write_all(payload);
    }
    answer(&nft.wait_with_output()?).map(drop)
}

/// What nft answers in the calling thread's network namespace.
pub(super) fn ask(words: &[&str]) -> std::io::Result<String> {
    answer(&command().args(words).stdin(Stdio::null()).output()?)
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
