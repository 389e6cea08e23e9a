//! `GET /containers/{name}/logs`.

use bytes::{Bytes, BytesMut};
use futures_util::stream;

use crate::api::Api;
use crate::api::body::{self, Response};
use crate::api::clock::nine_digits;
use crate::api::error::ApiError;
use crate::api::hijack::content_type;
use crate::api::query::Query;
use crate::api::router::Version;
use crate::api::stream::frame;
use crate::containers::logs::{LogLine, LogOptions};

/// Lines up to so many bytes are sent as one piece.
const TOGETHER: usize = 16 * 1024;

/// What a client asked for.
#[derive(Debug, Clone)]
struct Action {
    options: LogOptions,
    timestamps: bool,
}

/// Streams a log, each line as soon as it is there.
pub(in crate::api) fn logs(api: &Api, version: Version, name: &str, query: &Query) -> Result<Response, ApiError> {
    let Action { options, timestamps } = parse(query)?;
    let (container, lines) = api.engine.logs(name, options)?;
    let tty = container.spec.process.tty;
    let output = stream::unfold(lines, move |mut lines| async move {
        let mut piece = BytesMut::from(render(&lines.recv().await?, tty, timestamps));
        // What is there already goes along: a piece each would cost far more than the lines do.
        while piece.len() < TOGETHER
            && let Ok(line) = lines.try_recv()
        {
            piece.extend_from_slice(&render(&line, tty, timestamps));
        }
        Some((piece.freeze(), lines))
    });
    Ok(body::stream(content_type(version, tty), api.until_shutdown(output)))
}

fn parse(query: &Query) -> Result<Action, ApiError> {
    let options = LogOptions {
        follow: query.flag("follow"),
        tail: match query.get("tail") {
            None | Some("all") => None,
            // Docker shows everything where the number is none.
            Some(text) => text.parse().ok(),
        },
        since: query.timestamp("since")?,
        until: query.timestamp("until")?,
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
    };
    if !options.stdout && !options.stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    Ok(Action { options, timestamps: query.flag("timestamps") })
}

/// A line as it goes over the wire: raw with a terminal, else framed.
pub(super) fn render(line: &LogLine, tty: bool, timestamps: bool) -> Bytes {
    let mut bytes = Vec::with_capacity(line.bytes.len() + 32);
    if timestamps {
        bytes.extend_from_slice(nine_digits(&line.time).as_bytes());
        bytes.push(b' ');
    }
    bytes.extend_from_slice(&line.bytes);
    if tty { bytes.into() } else { frame(line.stream, &bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Action, ApiError> {
        parse(&Query::parse(Some(text)).expect("query"))
    }

    #[test]
    fn options() {
        let action = parsed("stdout=1&stderr=0&follow=1&tail=5&since=1.25&timestamps=1").expect("valid");
        assert!(action.timestamps && action.options.follow && action.options.stdout && !action.options.stderr);
        assert_eq!((action.options.tail, action.options.since), (Some(5), Some(1_250_000_000)));
        assert_eq!(parsed("stdout=1&tail=all").expect("valid").options.tail, None);
        assert_eq!(parsed("tail=1").expect_err("no stream").status.as_u16(), 400);
        assert!(parsed("stdout=1&since=never").is_err());
    }

    #[test]
    fn lines_are_framed_unless_a_terminal_wrote_them() {
        let line = LogLine { stream: 2, time: "2026-01-02T03:04:05.000000006Z".into(), bytes: b"x\n".to_vec() };
        assert_eq!(render(&line, true, false).as_ref(), b"x\n");
        assert_eq!(render(&line, false, false).as_ref(), b"\x02\0\0\0\0\0\0\x02x\n");
        assert_eq!(render(&line, true, true).as_ref(), b"2026-01-02T03:04:05.000000006Z x\n");
    }
}
