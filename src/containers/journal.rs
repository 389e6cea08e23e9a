//! What starts, ends and removals leave in the daemon's log.

/// What a cleaning step could not do is logged, and the cleaning goes on.
pub(super) fn log_error<T, E: std::fmt::Display>(step: &'static str, done: Result<T, E>) {
    if let Err(error) = done {
        tracing::warn!(%error, "cannot {step}");
    }
}

/// Where the time of a start or an end goes: one debug line a step (`pontoon daemon --debug`).
pub(super) struct Timeline(std::time::Instant);

impl Timeline {
    pub(super) fn new() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn mark(&self, step: &'static str) {
        tracing::debug!(microseconds = self.0.elapsed().as_micros() as u64, "{step}");
    }
}
