//! The STATUS column of `ps`. Pure: the clock is an argument.

use crate::api::clock;
use crate::containers::{HealthlessState, Status};

/// `Up 3 seconds`, `Exited (0) 2 minutes ago`, `Created`, …; `now` is seconds since 1970.
pub(super) fn text(state: &HealthlessState, now: i64) -> String {
    let since = |time: &str| clock::human(now - clock::unix_seconds(time));
    match state.status {
        Status::Running => format!("Up {}", since(&state.started_at)),
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
        Status::Created => "Created".into(),
        Status::Exited if clock::is_zero(&state.finished_at) => String::new(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_words() {
        let mut state = HealthlessState {
            status: Status::Running,
            pid: 1,
            exit_code: 3,
            oom_killed: false,
            error: String::new(),
            started_at: "1970-01-01T00:00:10.5Z".into(),
            finished_at: "1970-01-01T00:01:00Z".into(),
            restart_count: 0,
            stopped_by_user: false,
        };
        for (status, now, words) in [
            (Status::Running, 13, "Up 3 seconds"),
            (Status::Paused, 100, "Up About a minute (Paused)"),
            (Status::Restarting, 61, "Restarting (3) 1 second ago"),
            (Status::Exited, 180, "Exited (3) 2 minutes ago"),
            (Status::Created, 180, "Created"),
            (Status::Removing, 180, "Removal In Progress"),
            (Status::Dead, 180, "Dead"),
        ] {
            state.status = status;
            assert_eq!(text(&state, now), words);
        }
    }
}
