//! The container's log in Docker's json-file format: one JSON object a line,
//! `{"log":"text\n","stream":"stdout","time":"2026-11-22T00:00:00.123456789Z"}`.
//!
//! A line longer than [`PARTIAL`] bytes is cut into entries of that size, of which only the last ends with `\n`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::spec::LogSpec;

/// The longest piece of a line in one entry, as Docker cuts it.
const PARTIAL: usize = 16 * 1024;

/// How much of a chunk's entries is written together: an entry is many times as long as a short line.
const TOGETHER: usize = 32 * 1024;

/// Names of the streams, by index.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A log file that is open for appending.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: Option<u64>,
    max_file: u32,
    /// What each stream wrote since its last newline.
    unfinished: [Vec<u8>; 2],
    /// Entries of the chunk at hand, written together: at most [`TOGETHER`], and one more.
    entries: Vec<u8>,
}

impl Log {
    /// Opens the log at `path`, going on where an earlier run of the container ended.
    pub(super) fn open(path: &Path, spec: &LogSpec) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            max_size: spec.max_size,
            max_file: spec.max_file.max(1),
            unfinished: [const { Vec::new() }; 2],
            entries: Vec::new(),
        })
    }

    /// Takes what `stream` (0 stdout, 1 stderr) wrote at `time`. Whole lines, and lines that grew too long, go to the
    /// file.
    pub(super) fn write(&mut self, stream: usize, mut chunk: &[u8], time: jiff::Timestamp) -> io::Result<()> {
        let time = stamp(time);
        while let Some(end) = memchr(chunk) {
            let (line, rest) = chunk.split_at(end + 1);
            chunk = rest;
            self.unfinished[stream].extend_from_slice(line);
            self.take(stream, true, &time)?;
        }
        self.unfinished[stream].extend_from_slice(chunk);
        self.take(stream, false, &time)?;
        self.flush()
    }

    /// The streams have ended: what no newline finished is logged as it is.
    pub(super) fn finish(&mut self, time: jiff::Timestamp) -> io::Result<()> {
        let time = stamp(time);
        for stream in 0..STREAMS.len() {
            let rest = std::mem::take(&mut self.unfinished[stream]);
            if !rest.is_empty() {
                self.entry(stream, &rest, &time)?;
            }
        }
        self.flush()
    }

    /// Turns the unfinished text of `stream` into entries: all of it if it is a whole line, else what is too long.
    fn take(&mut self, stream: usize, whole: bool, time: &str) -> io::Result<()> {
        let text = std::mem::take(&mut self.unfinished[stream]);
        let mut rest = text.as_slice();
        // The newline is not counted.
        while rest.len() - usize::from(whole) > PARTIAL || (!whole && rest.len() == PARTIAL) {
            let (piece, more) = rest.split_at(PARTIAL);
            self.entry(stream, piece, time)?;
            rest = more;
        }
        if whole {
            self.entry(stream, rest, time)?;
        } else {
            self.unfinished[stream] = rest.to_vec();
        }
        Ok(())
    }

    fn entry(&mut self, stream: usize, text: &[u8], time: &str) -> io::Result<()> {
        let before = self.entries.len();
        encode(&mut self.entries, text, STREAMS[stream], time);
        let written = self.size + before as u64;
        if self.max_size.is_some_and(|max| written >= max) {
            let newest = self.entries.split_off(before);
            self.flush()?;
            self.rotate()?;
            self.entries = newest;
        }
        if self.entries.len() >= TOGETHER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.entries);
        self.size += self.entries.len() as u64;
        self.entries.clear();
        // One long entry of what has to be escaped would be kept for ever.
        self.entries.shrink_to(2 * TOGETHER);
        result
    }

    /// `log` becomes `log.1`, that `log.2`, and so on; with a single file it starts anew.
    fn rotate(&mut self) -> io::Result<()> {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.max_file == 1 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.max_file - 1).rev() {
                match fs::rename(name(number), name(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, name(1))?;
            self.file = append_to(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn memchr(haystack: &[u8]) -> Option<usize> {
    haystack.iter().position(|&byte| byte == b'\n')
}

/// RFC 3339 in UTC with as many decimals as are needed, as Go's RFC3339Nano.
fn stamp(time: jiff::Timestamp) -> String {
    time.to_string()
}

/// One entry. Text is escaped as Go's encoding/json does: `<`, `>`, `&`, U+2028 and U+2029 too, and what is not UTF-8
/// becomes U+FFFD.
fn encode(out: &mut Vec<u8>, text: &[u8], stream: &str, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> jiff::Timestamp {
        "2026-11-22T00:00:00.12Z".parse().unwrap()
    }

    fn log(dir: &Path, max_size: Option<u64>, max_file: u32) -> Log {
        let spec = LogSpec { driver: "json-file".to_owned(), max_size, max_file };
        Log::open(&dir.join("c-json.log"), &spec).unwrap()
    }

    fn texts(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let entry = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|line| entry(line)["log"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_entry_is_dockers() {
        let mut out = Vec::new();
        encode(&mut out, b"a<b>\t\"\\\x01\xff\xc3\xa4\n", "stderr", &stamp(time()));
        let expected = "{\"log\":\"a\\u003cb\\u003e\\t\\\"\\\\\\u0001\\ufffd\u{e4}\\n\",\"stream\":\"stderr\",\
                        \"time\":\"2026-11-22T00:00:00.12Z\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn chunks_become_lines_and_the_streams_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), None, 1);
        log.write(0, b"on", time()).unwrap();
        log.write(1, b"err\n", time()).unwrap();
        log.write(0, b"e\ntwo\nthr", time()).unwrap();
        log.finish(time()).unwrap();
        assert_eq!(texts(&dir.path().join("c-json.log")), ["err\n", "one\n", "two\n", "thr"]);
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), None, 1);
        let long = [vec![b'x'; PARTIAL + 5], b"\n".to_vec()].concat();
        for piece in long.chunks(1000) {
            log.write(0, piece, time()).unwrap();
        }
        let lengths: Vec<_> = texts(&dir.path().join("c-json.log")).iter().map(String::len).collect();
        assert_eq!(lengths, [PARTIAL, 6]);
    }

    #[test]
    fn a_chunk_of_many_short_lines_does_not_wait_in_memory_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), None, 1);
        let lines = 32 * 1024;
        log.write(0, &b"\n".repeat(lines), time()).unwrap();
        log.write(0, &b"\x01".repeat(PARTIAL), time()).unwrap();
        assert!(log.entries.capacity() <= 2 * TOGETHER, "{}", log.entries.capacity());
        assert_eq!(texts(&dir.path().join("c-json.log")).len(), lines + 1);
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), Some(60), 3);
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            log.write(0, line.as_bytes(), time()).unwrap();
        }
        assert_eq!(texts(&dir.path().join("c-json.log")), ["4\n"]);
        assert_eq!(texts(&dir.path().join("c-json.log.1")), ["3\n"]);
        assert_eq!(texts(&dir.path().join("c-json.log.2")), ["2\n"]);
        assert!(!dir.path().join("c-json.log.3").exists());
    }
}
