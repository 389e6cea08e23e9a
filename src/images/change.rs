//! `docker import --change`: Dockerfile instructions that set an image's defaults.
//!
//! The grammar is the Dockerfile's (reference: "Dockerfile reference", Docker's documentation): JSON (exec) and shell form,
//! `NAME=value` pairs with quotes, `\` at a line's end, `#` comments.

mod words;

use std::path::Path;

use super::ImageError;
use crate::model::Port;
use crate::model::image::ImageConfig;

/// Applies instructions, in order, to a configuration.
///
/// # Errors
///
/// [`ImageError::Change`], in Docker's words where it has some.
pub(super) fn apply(changes: &[String], config: &mut ImageConfig) -> Result<(), ImageError> {
    let text = changes.join("\n");
    for line in logical_lines(&text) {
        instruction(&line, config).map_err(ImageError::Change)?;
    }
    Ok(())
}

/// Lines with their continuations joined, without comments and empty ones.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with('#') || (line.trim().is_empty() && current.is_empty()) {
            continue;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(start) => current.push_str(start),
            None => lines.push(std::mem::take(&mut current) + line),
        }
    }
    lines.extend((!current.is_empty()).then_some(current));
    lines
}

fn instruction(line: &str, config: &mut ImageConfig) -> Result<(), String> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let name = word.to_ascii_uppercase();
    if line.contains('\0') {
        return Err(format!("{name}: a NUL is in it"));
    }
    if rest.is_empty() && !matches!(&*name, "CMD" | "ENTRYPOINT") {
        return Err(match &*name {
            "USER" | "WORKDIR" | "STOPSIGNAL" => format!("{name} requires exactly one argument"),
            "ENV" | "LABEL" | "EXPOSE" | "VOLUME" => format!("{name} requires at least one argument"),
            _ => format!("{word} is not a valid change command"),
        });
    }
    // All of a line sees the environment from before it.
    let env = config.env.clone();
    let expand = |text: &str| words::unquote(text, &env);
    match &*name {
        "CMD" => config.cmd = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "ENV" => {
            for (key, value) in pairs("ENV", rest)? {
                let (key, value) = (expand(&key)?, expand(&value)?);
                set_env(&mut config.env, &key, &value);
            }
        }
        "LABEL" => {
            for (key, value) in pairs("LABEL", rest)? {
                config.labels.insert(expand(&key)?, expand(&value)?);
            }
        }
        "EXPOSE" => {
            for word in rest.split_whitespace() {
                config.exposed.extend(ports(&expand(word)?)?);
            }
        }
        "VOLUME" => {
            let paths = exec_form(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            for path in paths {
                let path = expand(&path)?;
                if path.trim().is_empty() {
                    return Err("VOLUME specified can not be an empty string".to_owned());
                }
                config.volumes.insert(path);
            }
        }
        "USER" => config.user = expand(one(&name, rest)?)?,
        "WORKDIR" => config.workdir = workdir(&config.workdir, &expand(rest)?),
        "STOPSIGNAL" => config.stop_signal = Some(signal(&expand(one(&name, rest)?)?)?),
        _ => return Err(format!("{word} is not a valid change command")),
    }
    Ok(())
}

/// Exec form as it is; shell form for the shell.
fn command(rest: &str) -> Vec<String> {
    exec_form(rest).unwrap_or_else(|| ["/bin/sh", "-c", rest].map(str::to_owned).to_vec())
}

/// A JSON array of strings; anything else is not meant as one, as in Docker.
fn exec_form(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

fn one<'a>(name: &str, rest: &'a str) -> Result<&'a str, String> {
    if words::split(rest)?.len() == 1 { Ok(rest) } else { Err(format!("{name} requires exactly one argument")) }
}

/// `a=b c="d e"`, or the old form `a b c` (one name, the rest its value). Quotes are still in place.
fn pairs(name: &str, rest: &str) -> Result<Vec<(String, String)>, String> {
    let words = words::split(rest)?;
    if !words.first().is_some_and(|word| word.contains('=')) {
        let (key, value) =
            rest.split_once(char::is_whitespace).ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![(key.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
            Some(("", _)) => Err(format!("{name} names can not be blank")),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

/// Replaces the value in its place, or appends.
fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let pair = format!("{key}={value}");
    match env.iter_mut().find(|old| old.split_once('=').is_some_and(|(name, _)| name == key)) {
        Some(old) => *old = pair,
        None => env.push(pair),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(text: &str) -> Result<Vec<Port>, String> {
    let bad = || format!("invalid containerPort: {text}");
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let port = |number: &str| format!("{number}/{protocol}").parse::<Port>().map_err(|_| bad());
    let (first, last) = (port(first)?, port(last)?);
    if last.number < first.number {
        return Err(bad());
    }
    Ok((first.number..=last.number).map(|number| Port { number, ..first }).collect())
}

/// A relative path continues the one before.
fn workdir(before: &str, path: &str) -> String {
    let mut clean = Vec::new();
    for component in Path::new("/").join(before).join(path).components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    format!("/{}", clean.join("/"))
}

/// A signal's name or number as written, if there is such a one.
fn signal(text: &str) -> Result<String, String> {
    let known = match text.parse::<u8>() {
        Ok(number) => (1..=64).contains(&number),
        Err(_) => {
            let name = text.to_ascii_uppercase();
            let name = name.strip_prefix("SIG").unwrap_or(&name);
            let real_time = ["RTMIN", "RTMAX"].iter().any(|base| {
                name.strip_prefix(base)
                    .is_some_and(|rest| rest.is_empty() || rest[1..].parse::<u8>().is_ok_and(|n| n < 32))
            });
            real_time || format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
        }
    };
    if known { Ok(text.to_owned()) } else { Err(format!("invalid signal: {text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<ImageConfig, String> {
        let mut config = ImageConfig::default();
        let changes: Vec<String> = changes.iter().map(|&c| c.to_owned()).collect();
        apply(&changes, &mut config).map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn commands_have_an_exec_and_a_shell_form() {
        let config = applied(&[r#"CMD ["echo", "a b"]"#, "ENTRYPOINT exec top -b"]).unwrap();
        assert_eq!(config.cmd, ["echo", "a b"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "exec top -b"]);
        assert_eq!(applied(&["cmd []"]).unwrap().cmd, [""; 0]);
        // Not JSON: Docker takes it for the shell's.
        assert_eq!(applied(&["CMD [ 'a' ]"]).unwrap().cmd, ["/bin/sh", "-c", "[ 'a' ]"]);
        assert_eq!(applied(&["CMD echo $HOME \"x\""]).unwrap().cmd[2], "echo $HOME \"x\"");
    }

    #[test]
    fn environment_takes_several_pairs_with_quotes() {
        let config = applied(&[
            r#"ENV A=1 B="two words" C='single $A' D=back\ slash E="q\"q""#,
            "ENV OLD the rest  of it",
            "ENV A=${A}2 P=$PATH:${MISSING:-none}${A:+yes}",
        ])
        .unwrap();
        assert_eq!(
            config.env,
            ["A=12", "B=two words", "C=single $A", "D=back slash", "E=q\"q", "OLD=the rest  of it", "P=:noneyes"]
        );
        let labels = applied(&[r#"LABEL a=b "c d"="e f" empty="#]).unwrap().labels;
        let labels: Vec<_> = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(labels, [("a", "b"), ("c d", "e f"), ("empty", "")]);
    }

    #[test]
    fn the_others() {
        let config = applied(&[
            "EXPOSE 80 53/udp 8000-8002/tcp",
            "USER nobody:nogroup",
            "VOLUME /data /var/lib/x",
            r#"VOLUME ["/with space"]"#,
            "WORKDIR /srv",
            "WORKDIR a/../b",
            "STOPSIGNAL SIGQUIT",
        ])
        .unwrap();
        let ports: Vec<_> = config.exposed.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["80/tcp", "8000/tcp", "8001/tcp", "8002/tcp", "53/udp"]);
        assert_eq!(config.user, "nobody:nogroup");
        assert_eq!(config.volumes.iter().collect::<Vec<_>>(), ["/data", "/var/lib/x", "/with space"]);
        assert_eq!(config.workdir, "/srv/b");
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        for good in ["9", "TERM", "sigint", "RTMIN+3", "SIGRTMAX-1"] {
            assert!(signal(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn lines_may_be_several_and_continued() {
        let config = applied(&["# comment\nCMD [\"a\", \\\n  \"b\"]\n\nUSER x"]).unwrap();
        assert_eq!((config.cmd, &*config.user), (vec!["a".to_owned(), "b".to_owned()], "x"));
    }

    #[test]
    fn bad_input_has_dockers_words() {
        for (change, words) in [
            ("RUN rm -rf /", "RUN is not a valid change command"),
            ("FROM", "FROM is not a valid change command"),
            ("USER", "USER requires exactly one argument"),
            ("USER a b", "USER requires exactly one argument"),
            ("WORKDIR", "WORKDIR requires exactly one argument"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV A=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value"),
            ("ENV =b", "ENV names can not be blank"),
            ("ENV A=\"b", "unterminated quote in: A=\"b"),
            ("EXPOSE http", "invalid containerPort: http"),
            ("EXPOSE 0", "invalid containerPort: 0"),
            ("EXPOSE 90-80", "invalid containerPort: 90-80"),
            ("EXPOSE 80/icmp", "invalid containerPort: 80/icmp"),
            ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
            ("STOPSIGNAL SIGNOPE", "invalid signal: SIGNOPE"),
            ("STOPSIGNAL 99", "invalid signal: 99"),
            ("USER a\0b", "USER: a NUL is in it"),
        ] {
            assert_eq!(applied(&[change]).unwrap_err(), words);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_change_panics(text in "(CMD|ENV|EXPOSE|VOLUME|LABEL|USER|STOPSIGNAL|WORKDIR) [ -~\\n]{0,30}") {
            let _ = applied(&[&text]);
        }
    }
}
