//! Words of a Dockerfile instruction: splitting with quotes in place, then quotes and `$NAME` resolved.

use std::iter::Peekable;
use std::str::Chars;

/// Splits at blanks outside quotes. Quotes and backslashes stay, for [`unquote`].
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        word.push(c);
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(chars.next()),
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    if quote.is_some() {
        return Err(format!("unterminated quote in: {text}"));
    }
    words.extend(word);
    Ok(words)
}

/// Removes quotes and backslashes, and puts in variables of `env` (`NAME=value` pairs) outside single quotes.
pub(super) fn unquote(text: &str, env: &[String]) -> Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('\\', None) => out.extend(chars.next()),
            // Between double quotes a backslash only protects what would mean something there.
            ('\\', Some('"')) => match chars.next_if(|next| matches!(next, '"' | '$' | '\\')) {
                Some(next) => out.push(next),
                None => out.push('\\'),
            },
            ('$', None | Some('"')) => out.push_str(&variable(&mut chars, env, text)?),
            _ => out.push(c),
        }
    }
    if quote.is_some() { Err(format!("unterminated quote in: {text}")) } else { Ok(out) }
}

/// `NAME`, `{NAME}`, `{NAME:-word}`, `{NAME:+word}`, behind the `$`.
fn variable(chars: &mut Peekable<Chars<'_>>, env: &[String], text: &str) -> Result<String, String> {
    let value = |name: &str| {
        let pair = env.iter().find(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name));
        pair.map_or("", |pair| &pair[name.len() + 1..]).to_owned()
    };
    if chars.next_if_eq(&'{').is_none() {
        let name = name(chars);
        // A dollar that begins no name is one.
        return Ok(if name.is_empty() { "$".to_owned() } else { value(&name) });
    }
    let bad = || format!("unsupported ${{…}} in: {text}");
    let name = name(chars);
    let rest: String = std::iter::from_fn(|| chars.next_if(|&c| c != '}')).collect();
    if name.is_empty() || chars.next().is_none() {
        return Err(bad());
    }
    let value = value(&name);
    match (rest.strip_prefix(":-"), rest.strip_prefix(":+")) {
        _ if rest.is_empty() => Ok(value),
        (Some(default), _) => Ok(if value.is_empty() { default.to_owned() } else { value }),
        (_, Some(instead)) => Ok(if value.is_empty() { value } else { instead.to_owned() }),
        _ => Err(bad()),
    }
}

fn name(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(c) =
        chars.next_if(|c| *c == '_' || c.is_ascii_alphabetic() || (!name.is_empty() && c.is_ascii_digit()))
    {
        name.push(c);
    }
    name
}
