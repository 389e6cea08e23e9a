//! The command that carries a transaction into the kernel.
//!
//! The helper of the `nftables` crate would do but for one thing: it leaves nft's words of complaint to our stderr, and an
//! error that does not say what nft said helps nobody.

use std::io::Write;
use std::process::Stdio;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::FirewallError;
use super::writers::Writers;

/// Where nft lives besides the places that `PATH` names: daemons are often started without the administrator's.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Applies the transaction, as a whole or not at all.
pub(super) async fn commit(
    step: &'static str,
    transaction: &impl Serialize,
    writers: &Writers,
) -> Result<(), FirewallError> {
    let payload = serde_json::to_vec(transaction).map_err(|e| failed(step, e.into()))?;
    let output = run(&payload, writers).await.map_err(|e| failed(step, e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(FirewallError::Refused { step, message: complaint(&output.stderr, &output.stdout) })
}

fn failed(step: &'static str, source: std::io::Error) -> FirewallError {
    FirewallError::Run { step, source }
}

async fn run(payload: &[u8], writers: &Writers) -> std::io::Result<std::process::Output> {
    let mut nft = command();
    nft.args(["-j", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = Command::from(nft).spawn()?;
    let pid = nft.id();
    if let Some(pid) = pid {
        writers.began(pid);
    }
    if let Some(mut stdin) = nft.stdin.take() {
        // nft reads everything before it answers. If it ends early, its status and words tell more than EPIPE.
        let _ = stdin.write_all(payload).await;
    }
    let output = nft.wait_with_output().await;
    let wrote = output.as_ref().is_ok_and(|output| output.status.success());
    if let Some(pid) = pid.filter(|_| !wrote) {
        writers.failed(pid);
    }
    output
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
pub fn command() -> std::process::Command {
    #[expect(clippy::disallowed_methods, reason = "nft is the one process on the way of a run")]
    let mut nft = std::process::Command::new("nft");
    let path = std::env::var("PATH").unwrap_or_default();
    nft.env("PATH", format!("{path}:{SBIN}")).env("LC_ALL", "C");
    nft
}

/// The line that says what is wrong; the ones below it repeat the input.
fn complaint(stderr: &[u8], stdout: &[u8]) -> String {
    let text = [stderr, stdout].map(String::from_utf8_lossy).concat();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line() {
        let stderr = b"internal:0:0-0: Error: Could not process rule: No such file or directory\n\nadd element\n";
        assert_eq!(complaint(stderr, b""), "internal:0:0-0: Error: Could not process rule: No such file or directory");
        assert_eq!(complaint(b"", b"\n"), "no reason given");
    }
}
