//! JSON laid out for a person, in the order in which the daemon wrote it.

/// Indents a JSON text by four blanks a level, without reading it into a value: keys keep their order and numbers
/// their digits. What is no JSON comes out no better.
pub(in crate::cli) fn indent(json: &str, level: usize) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = level;
    let mut chars = json.chars().filter_in_json().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    while let Some((c, in_string)) = chars.next() {
        match c {
            _ if in_string => out.push(c),
            '{' | '[' => {
                out.push(c);
                if chars.peek().is_some_and(|(next, _)| matches!(next, '}' | ']')) {
                    out.extend(chars.next().map(|(closing, _)| closing));
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(c),
        }
    }
    out
}

trait JsonChars: Iterator<Item = char> + Sized {
    /// Each character with whether it belongs to a string; blanks outside strings are left out.
    fn filter_in_json(self) -> impl Iterator<Item = (char, bool)> {
        let (mut inside, mut escaped) = (false, false);
        self.filter_map(move |c| {
            let was_inside = inside;
            match c {
                _ if escaped => escaped = false,
                '\\' if inside => escaped = true,
                '"' => inside = !inside,
                _ => {}
            }
            let part = was_inside || inside;
            (part || !c.is_ascii_whitespace()).then_some((c, part))
        })
    }
}

impl<I: Iterator<Item = char>> JsonChars for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_strings_stay() {
        let json = r#"{"b":[1,2.50,{}],"a": "x, {y}: \"z\"","c":[],"d":{"e":null}}"#;
        let expected = "{\n    \"b\": [\n        1,\n        2.50,\n        {}\n    ],\n    \"a\": \"x, {y}: \\\"z\\\"\",\n    \
                        \"c\": [],\n    \"d\": {\n        \"e\": null\n    }\n}";
        assert_eq!(indent(json, 0), expected);
    }
}
