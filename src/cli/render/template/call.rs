//! Functions of templates, and how Go prints and judges values.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;

/// As Go's `fmt.Print` shows it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", show(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// Whether `if` takes it for true: what is not empty or zero is.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let text = |at: usize| arguments.get(at).map(show).unwrap_or_default();
    let need = |count: usize| {
        if arguments.len() >= count {
            Ok(())
        } else {
            Err(TemplateError::new(format!("wrong number of args for {name}: want {count} got {}", arguments.len())))
        }
    };
    let least = match name {
        "print" | "println" => 0,
        "join" | "split" | "truncate" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "slice" => 2,
        "pad" => 3,
        _ => 1,
    };
    if !FUNCTIONS.contains(&name) {
        return Err(TemplateError::new(format!("function {name:?} not defined")));
    }
    need(least)?;
    Ok(match name {
        "json" => Value::String(arguments[0].to_string()),
        "index" => index(arguments)?,
        "slice" => slice(arguments)?,
        "len" => length(&arguments[0])?,
        "print" => Value::String(arguments.iter().map(show).collect()),
        "println" => Value::String(arguments.iter().map(show).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => Value::String(printf(&text(0), &arguments[1..])),
        "join" => {
            let items = arguments[0].as_array().map(Vec::as_slice).unwrap_or_default();
            Value::String(items.iter().map(show).collect::<Vec<_>>().join(&text(1)))
        }
        "split" => Value::from(text(0).split(&text(1)).map(str::to_owned).collect::<Vec<_>>()),
        "lower" => Value::String(text(0).to_lowercase()),
        "upper" => Value::String(text(0).to_uppercase()),
        "title" => {
            let text = text(0);
            let mut chars = text.chars();
            let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
            Value::String(first + chars.as_str())
        }
        "pad" => {
            let blanks = |at: usize| " ".repeat(number(&arguments[at]).min(1000));
            Value::String(if text(0).is_empty() { String::new() } else { blanks(1) + &text(0) + &blanks(2) })
        }
        "truncate" => Value::String(text(0).chars().take(number(&arguments[1])).collect()),
        "and" => arguments.iter().find(|value| !truth(value)).unwrap_or(&arguments[arguments.len() - 1]).clone(),
        "or" => arguments.iter().find(|value| truth(value)).unwrap_or(&arguments[arguments.len() - 1]).clone(),
        "not" => Value::Bool(!truth(&arguments[0])),
        "eq" => Value::Bool(arguments[1..].iter().any(|other| compare(&arguments[0], other) == Some(Ordering::Equal))),
        "ne" => Value::Bool(compare(&arguments[0], &arguments[1]) != Some(Ordering::Equal)),
        _ => {
            let order = compare(&arguments[0], &arguments[1])
                .ok_or_else(|| TemplateError::new(format!("incompatible types for comparison in {name}")))?;
            Value::Bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
    })
}

const FUNCTIONS: [&str; 23] = [
    "json", "index", "slice", "len", "print", "println", "printf", "join", "split", "lower", "upper", "title", "pad",
    "truncate", "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge",
];

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => (a == b).then_some(Ordering::Equal),
    }
}

fn length(value: &Value) -> Result<Value, TemplateError> {
    Ok(Value::from(match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        Value::Null => 0,
        other => return Err(TemplateError::new(format!("len of {}", show(other)))),
    }))
}

/// Into lists by number, into objects by name; what an object does not have is empty.
fn index(arguments: &[Value]) -> Result<Value, TemplateError> {
    let mut value = arguments[0].clone();
    for key in &arguments[1..] {
        value = match (value, key) {
            (Value::Array(mut items), Value::Number(_)) => {
                let at = number(key);
                if at >= items.len() {
                    return Err(TemplateError::new(format!("index out of range: {key}")));
                }
                items.swap_remove(at)
            }
            (Value::Object(mut fields), Value::String(key)) => {
                fields.remove(key).unwrap_or_else(|| Value::String(String::new()))
            }
            (other, _) => return Err(TemplateError::new(format!("can't index {} by {}", show(&other), show(key)))),
        };
    }
    Ok(value)
}

/// Of a text or a list: from, and optionally to.
fn slice(arguments: &[Value]) -> Result<Value, TemplateError> {
    let from = number(&arguments[1]);
    let to = |length: usize| arguments.get(2).map_or(length, number);
    let out_of_range = || TemplateError::new("slice index out of range");
    match &arguments[0] {
        Value::String(text) => {
            text.get(from..to(text.len())).map(|part| Value::String(part.to_owned())).ok_or_else(out_of_range)
        }
        Value::Array(items) => {
            items.get(from..to(items.len())).map(|part| Value::Array(part.to_vec())).ok_or_else(out_of_range)
        }
        other => Err(TemplateError::new(format!("can't slice {}", show(other)))),
    }
}

/// `%s %d %v %t %q %x %%`, with width, `-`, and how many characters at most: `%.12s`.
fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((plain, verb)) = rest.split_once('%') {
        out.push_str(plain);
        let end = verb.find(|c: char| !matches!(c, '-' | '+' | '.' | '0'..='9'));
        let Some((end, verb_char)) = end.and_then(|end| Some((end, verb[end..].chars().next()?))) else {
            return out + "%!(NOVERB)";
        };
        rest = &verb[end + verb_char.len_utf8()..];
        if verb_char == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            out.push_str(&format!("%!{verb_char}(MISSING)"));
            continue;
        };
        let flags = &verb[..end];
        let (width, most) = flags.split_once('.').map_or((flags, None), |(width, most)| (width, Some(most)));
        let text = match verb_char {
            's' | 'v' if most.is_some() => {
                show(argument).chars().take(most.and_then(|most| most.parse().ok()).unwrap_or(0)).collect()
            }
            'q' => Value::String(show(argument)).to_string(),
            'x' => argument.as_i64().map_or_else(|| hex::encode(show(argument)), |number| format!("{number:x}")),
            _ => show(argument),
        };
        let width = width.trim_start_matches(['-', '+']).parse::<usize>().unwrap_or(0).min(1000);
        if flags.starts_with('-') {
            out.push_str(&format!("{text:<width$}"));
        } else {
            out.push_str(&format!("{text:>width$}"));
        }
    }
    out + rest
}
