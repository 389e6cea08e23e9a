//! `top`: the processes of a container, read from /proc (proc(5)).

use super::error::EngineError;

/// Docker's columns.
const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// A table of processes by pid, as the host numbers them; those that ended meanwhile are left out.
pub(super) fn table(pids: &[i32]) -> Result<(Vec<String>, Vec<Vec<String>>), EngineError> {
    let rows = pids.iter().filter_map(|pid| row(*pid)).collect();
    Ok((TITLES.map(str::to_owned).to_vec(), rows))
}

fn row(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // The name in parentheses may hold anything; what follows the last one is fields 3 and on.
    let (head, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?;
    // utime and stime, fields 14 and 15, in ticks of 1/100 s (USER_HZ).
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let seconds = ticks / 100;
    let words: Vec<_> = command.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    let command = match words.is_empty() {
        true => format!("[{}]", head.split_once('(').map_or("", |(_, name)| name)),
        false => words.join(" "),
    };
    Some(vec![
        uid.to_owned(),
        pid.to_string(),
        (*fields.get(1)?).to_owned(),
        "0".to_owned(),
        started(fields.get(19)?.parse().ok()?)?,
        if *fields.get(4)? == "0" { "?".to_owned() } else { "pts".to_owned() },
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        command,
    ])
}

/// The time of day at which a process started, from its start in ticks after boot (field 22).
fn started(ticks: i64) -> Option<String> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let ago = (uptime - ticks as f64 / 100.0).max(0.0);
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs_f64(ago);
    Some(at.strftime("%H:%M").to_string())
}
