//! Environment variables and labels, from flags and from files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::invalid;
use crate::cli::error::CliError;

/// Our own environment, as an argument, so that what is done with it is a pure function.
pub(in crate::cli) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Variables of all files, then those of `-e`: a later one wins in the daemon. A bare name takes the value that it has
/// here; one that has none unsets the image's.
pub(in crate::cli) fn variables(
    files: &[PathBuf],
    flags: &[String],
    ours: Lookup<'_>,
) -> Result<Vec<String>, CliError> {
    let mut variables = Vec::new();
    for file in files {
        variables.extend(lines(&read(file)?, Some(ours))?);
    }
    for flag in flags {
        match flag.split_once('=') {
            Some(("", _)) => return Err(invalid(format!("invalid environment variable: {flag}"))),
            Some(_) => variables.push(flag.clone()),
            None if flag.is_empty() => return Err(invalid("invalid environment variable: an empty name")),
            None => variables.push(ours(flag).map_or_else(|| flag.clone(), |value| format!("{flag}={value}"))),
        }
    }
    Ok(variables)
}

/// Labels of all files, then those of `-l`. A bare name has an empty value.
pub(super) fn labels(files: &[PathBuf], flags: &[String]) -> Result<HashMap<String, String>, CliError> {
    let mut labels = Vec::new();
    for file in files {
        labels.extend(lines(&read(file)?, None)?);
    }
    labels.extend(flags.iter().cloned());
    Ok(pairs(&labels))
}

/// `name=value` strings as a map; a bare name has an empty value.
pub(super) fn pairs(texts: &[String]) -> HashMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| invalid(format!("cannot read {}: {error}", path.display())))
}

/// Lines of a file: `#` begins a comment line; a bare name is looked up in `ours` (and left out where it has no value),
/// or kept where there is nothing to look it up in.
fn lines(text: &str, ours: Option<Lookup<'_>>) -> Result<Vec<String>, CliError> {
    let mut found = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(invalid(format!("poorly formatted environment: no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(invalid(format!("poorly formatted environment: variable '{name}' contains whitespaces")));
        }
        match (line.contains('='), ours) {
            (true, _) | (false, None) => found.push(line.to_owned()),
            (false, Some(ours)) => found.extend(ours(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn a_bare_name_takes_our_value() {
        let flags = ["A=1".to_owned(), "HOME".to_owned(), "UNSET".to_owned(), "E=".to_owned()];
        assert_eq!(variables(&[], &flags, &ours).expect("variables"), ["A=1", "HOME=/root", "UNSET", "E="]);
        assert!(variables(&[], &["=x".to_owned()], &ours).is_err());
    }

    #[test]
    fn files_have_comments_and_bare_names() {
        let text = "# comment\n\n  A=1 # kept\nHOME\nUNSET\nB=x=y\n";
        assert_eq!(lines(text, Some(&ours)).expect("lines"), ["A=1 # kept", "HOME=/root", "B=x=y"]);
        assert_eq!(lines("a\nb=1", None).expect("lines"), ["a", "b=1"]);
        assert!(lines("A B=1", None).is_err() && lines("=1", None).is_err());
    }
}
