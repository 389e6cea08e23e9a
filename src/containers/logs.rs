//! Reading a container's log: Docker's json-file format, with rotation and following.

/// `docker logs`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on as long as the container runs.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Nanoseconds since 1970: lines from here on.
    pub since: Option<i64>,
    /// Nanoseconds since 1970: lines up to here.
    pub until: Option<i64>,
    /// Which streams.
    pub stdout: bool,
    /// Which streams.
    pub stderr: bool,
}

/// One line of a log, with its newline if it had one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 1 stdout, 2 stderr.
    pub stream: u8,
    /// RFC 3339 with nanoseconds, as written.
    pub time: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}
