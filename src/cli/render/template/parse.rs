//! Text → [`Node`]s.

use serde_json::{Number, Value};

use super::{Base, Node, Operand, Pipeline, TemplateError};

/// Blocks and parentheses may nest so deep; nobody's do, and the parser recurses.
const DEPTH: usize = 64;

/// Reads a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Node>, TemplateError> {
    let pieces = split(text)?;
    let mut pieces = Pieces { pieces: &pieces, at: 0 };
    let (nodes, end) = pieces.block(0)?;
    match end {
        Some(word) => Err(TemplateError::new(format!("unexpected {{{{{word}}}}}"))),
        None => Ok(nodes),
    }
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// Cuts text and actions apart, applies trims and drops comments.
fn split(mut text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut trim_left = false;
    loop {
        let open = text.find("{{");
        let mut plain = &text[..open.unwrap_or(text.len())];
        if trim_left {
            plain = plain.trim_start();
        }
        let Some(open) = open else {
            pieces.push(Piece::Text(plain));
            return Ok(pieces);
        };
        let mut action = &text[open + 2..];
        if let Some(rest) = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace)) {
            plain = plain.trim_end();
            action = rest;
        }
        pieces.push(Piece::Text(plain));
        let close = closing(action)?;
        text = &action[close + 2..];
        action = &action[..close];
        trim_left = false;
        if let Some(rest) = action.strip_suffix('-').filter(|rest| rest.ends_with(char::is_whitespace)) {
            trim_left = true;
            action = rest;
        }
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action));
        }
    }
}

/// Where the `}}` of an action is; those in strings do not count.
fn closing(action: &str) -> Result<usize, TemplateError> {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if action[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    let what = if quote.is_some() { "unterminated quoted string" } else { "unclosed action" };
    Err(TemplateError::new(what))
}

struct Pieces<'a> {
    pieces: &'a [Piece<'a>],
    at: usize,
}

impl<'a> Pieces<'a> {
    /// Nodes up to `end` or `else`, which is given back; `None` at the end of the text.
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Option<&'a str>), TemplateError> {
        if depth > DEPTH {
            return Err(TemplateError::new("nested too deeply"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            match piece {
                Piece::Text("") => {}
                Piece::Text(text) => nodes.push(Node::Text((*text).to_owned())),
                Piece::Action(action) => {
                    let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
                    match word {
                        "end" | "else" => return Ok((nodes, Some(action))),
                        "if" | "with" | "range" => nodes.push(self.control(word, rest.trim(), depth)?),
                        _ => nodes.push(Node::Print(pipeline(action)?)),
                    }
                }
            }
        }
        Ok((nodes, None))
    }

    fn control(&mut self, word: &str, head: &str, depth: usize) -> Result<Node, TemplateError> {
        let (body, end) = self.block(depth + 1)?;
        let otherwise = match end {
            Some("end") => Vec::new(),
            Some("else") => match self.block(depth + 1)? {
                (nodes, Some("end")) => nodes,
                _ => return Err(TemplateError::new(format!("unexpected end of the text in {{{{{word}}}}}"))),
            },
            // `else if …` is an `if` in the `else`, and its `end` is ours too.
            Some(chained) => {
                let chained = chained.trim_start_matches("else").trim_start();
                let (word, head) = chained.split_once(char::is_whitespace).unwrap_or((chained, ""));
                if !matches!(word, "if" | "with") {
                    return Err(TemplateError::new(format!("unexpected {{{{else {chained}}}}}")));
                }
                vec![self.control(word, head.trim(), depth + 1)?]
            }
            None => return Err(TemplateError::new(format!("unexpected end of the text in {{{{{word}}}}}"))),
        };
        if word == "range" {
            let (names, over) = match head.split_once(":=") {
                Some((names, over)) => (names.split(',').map(|name| name.trim().to_owned()).collect(), over),
                None => (Vec::new(), head),
            };
            return Ok(Node::Range { names, over: pipeline(over.trim())?, body, otherwise });
        }
        Ok(Node::Choice { rebind: word == "with", condition: pipeline(head)?, body, otherwise })
    }
}

/// Reads one pipeline, the whole of `text`.
fn pipeline(text: &str) -> Result<Pipeline, TemplateError> {
    let mut scanner = Scanner { rest: text };
    let pipeline = scanner.pipeline(0)?;
    match scanner.rest {
        "" => Ok(pipeline),
        rest => Err(TemplateError::new(format!("unexpected {rest:?} in {text:?}"))),
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest.strip_prefix(prefix);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > DEPTH {
            return Err(TemplateError::new("nested too deeply"));
        }
        let sets = self.assignment();
        let mut commands = Vec::new();
        loop {
            let mut operands = Vec::new();
            self.skip_blanks();
            while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
                operands.push(self.operand(depth)?);
                self.skip_blanks();
            }
            if operands.is_empty() {
                return Err(TemplateError::new("missing value for command"));
            }
            commands.push(operands);
            if !self.take("|") {
                return Ok(Pipeline { sets, commands });
            }
        }
    }

    /// `$x :=`, if that is what comes next.
    fn assignment(&mut self) -> Option<String> {
        self.skip_blanks();
        let before = self.rest;
        if self.take("$") {
            let name = self.word();
            self.skip_blanks();
            if self.take(":=") || self.take("=") {
                return Some(format!("${name}"));
            }
        }
        self.rest = before;
        None
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, TemplateError> {
        let Some(first) = self.rest.chars().next() else { return Err(TemplateError::new("missing value")) };
        match first {
            '.' => {
                // A dot alone is the value itself; a dot and a name is a field of it.
                let fields = self.fields();
                if fields.is_empty() {
                    self.take(".");
                }
                Ok(Operand::Path(Base::Dot, fields))
            }
            '$' => {
                self.take("$");
                let name = format!("${}", self.word());
                Ok(Operand::Path(Base::Variable(name), self.fields()))
            }
            '(' => {
                self.take("(");
                let group = self.pipeline(depth + 1)?;
                self.skip_blanks();
                if !self.take(")") {
                    return Err(TemplateError::new("unclosed left paren"));
                }
                Ok(Operand::Path(Base::Group(Box::new(group)), self.fields()))
            }
            '"' | '`' => self.string().map(|text| Operand::Literal(Value::String(text))),
            '-' | '+' | '0'..='9' => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(match self.word() {
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                "nil" => Operand::Literal(Value::Null),
                word => Operand::Function(word.to_owned()),
            }),
            other => Err(TemplateError::new(format!("unexpected {other:?}"))),
        }
    }

    /// `.a.b`, with nothing between.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(rest) = self.rest.strip_prefix('.') {
            if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                break;
            }
            self.rest = rest;
            fields.push(self.word().to_owned());
        }
        fields
    }

    fn string(&mut self) -> Result<String, TemplateError> {
        let unterminated = || TemplateError::new("unterminated quoted string");
        if self.take("`") {
            let (text, rest) = self.rest.split_once('`').ok_or_else(unterminated)?;
            self.rest = rest;
            return Ok(text.to_owned());
        }
        self.take("\"");
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.push(match chars.next().ok_or_else(unterminated)?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                _ => text.push(c),
            }
        }
        Err(unterminated())
    }

    fn number(&mut self) -> Result<Operand, TemplateError> {
        let end = self.rest.find(|c: char| !matches!(c, '-' | '+' | '.' | '0'..='9')).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let integer = text.parse::<i64>().ok().map(Number::from);
        let number = integer.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
        let number = number.ok_or_else(|| TemplateError::new(format!("bad number syntax: {text:?}")))?;
        Ok(Operand::Literal(Value::Number(number)))
    }
}
