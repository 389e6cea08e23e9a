//! `--format`: the part of Go's text/template that docker's users write, on JSON values.
//!
//! Actions: fields and variables, pipelines, `if`, `else if`, `with`, `range` (with `$i, $v :=`), `{{-` and `-}}`.
//! Functions: `json`, `index`, `len`, `print`, `println`, `printf`, `join`, `split`, `lower`, `upper`, `title`, `pad`,
//! `truncate`, `slice`, `and`, `or`, `not`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`. (The crate gtmpl was looked at: last
//! released in 2021, and with values of its own.)

mod call;
mod eval;
mod parse;

use serde_json::Value;

/// A template that cannot be read, or does not fit the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub(in crate::cli) struct TemplateError(String);

impl TemplateError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A template, ready to be used on any number of values.
#[derive(Debug)]
pub(in crate::cli) struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::template(text)? })
    }

    /// Fills it in.
    pub(in crate::cli) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data)
    }
}

#[derive(Debug)]
enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it sets a variable.
    Print(Pipeline),
    /// `if`: dot stays. `with`: dot becomes the value.
    Choice {
        rebind: bool,
        condition: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        /// Names of the variables for index or key, and element.
        names: Vec<String>,
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

#[derive(Debug)]
struct Pipeline {
    /// `$x := …` or `$x = …`.
    sets: Option<String>,
    /// Each one's value becomes the last argument of the next.
    commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
enum Operand {
    /// What the fields are taken of, and the fields.
    Path(Base, Vec<String>),
    Literal(Value),
    Function(String),
}

#[derive(Debug)]
enum Base {
    Dot,
    Variable(String),
    Group(Box<Pipeline>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, String> {
        let data = json!({
            "ID": "0123456789abcdef", "Name": "/web", "Empty": "", "N": 3, "F": 1.5, "No": false, "Null": null,
            "State": {"Status": "running", "Pid": 42},
            "List": ["a", "b"], "None": [],
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null},
            "Labels": "a=1,b=x=y"
        });
        Template::parse(template).and_then(|t| t.render(&data)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_people_write() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{.State.Status}}", "running"),
            ("{{ .State.Pid }}/{{.N}}/{{.F}}/{{.No}}", "42/3/1.5/false"),
            ("{{.Null}}", "<no value>"),
            ("{{.List}} {{.State}}", "[a b] map[Pid:42 Status:running]"),
            ("{{json .State}}", r#"{"Pid":42,"Status":"running"}"#),
            ("{{.State | json}}", r#"{"Pid":42,"Status":"running"}"#),
            ("{{json .Name}}", r#""/web""#),
            ("{{index .List 1}}", "b"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{index .Ports \"80/tcp\" 0 \"HostPort\"}}", "8080"),
            ("{{index .State \"nope\"}}", ""),
            ("{{range .List}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=a 1=b "),
            (
                "{{range $p, $c := .Ports}}{{$p}}->{{if $c}}{{(index $c 0).HostPort}}{{else}}none{{end}};{{end}}",
                "443/tcp->none;80/tcp->8080;",
            ),
            ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
            ("{{if .Empty}}a{{else if .N}}b{{else}}c{{end}}", "b"),
            ("{{if and .N (not .Empty)}}y{{end}}", "y"),
            ("{{if eq .State.Status \"running\"}}up{{end}}", "up"),
            ("{{if gt .N 2}}many{{end}}", "many"),
            ("{{with .State}}{{.Pid}} {{$.N}}{{end}}", "42 3"),
            ("{{$x := .N}}{{$x}}", "3"),
            ("{{len .List}} {{len .ID}}", "2 16"),
            ("{{join .List \",\"}} {{upper .Name}} {{title \"ab\"}}", "a,b /WEB Ab"),
            ("{{split .Name \"/\"}}", "[ web]"),
            ("{{slice .ID 0 4}} {{truncate .ID 3}} [{{pad .N 1 1}}]", "0123 012 [ 3 ]"),
            (
                "{{printf \"%s-%d-%q-%v-%%-%5s|%-5s|\" .Name .N .Name .List \"a\" \"b\"}}",
                "/web-3-\"/web\"-[a b]-%-    a|b    |",
            ),
            ("{{printf \"%.4s|%6.2s|%-3.1s|%.99s\" .ID .ID .ID .N}}", "0123|    01|0  |3"),
            ("{{println .N}}", "3\n"),
            ("a {{- .N -}} b", "a3b"),
            ("{{/* a comment */}}x", "x"),
            ("{{\"a\\tb\"}}{{`c\\d`}}", "a\tbc\\d"),
            ("{{.Label \"b\"}}", "x=y"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_meant() {
        for (template, words) in [
            ("{{.Nope}}", "no entry for key \"Nope\""),
            ("{{.N.x}}", "N is no object"),
            ("{{", "unclosed action"),
            ("{{.N", "unclosed action"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{if .N}}", "unexpected end"),
            ("{{nope .N}}", "function \"nope\" not defined"),
            ("{{index .List 9}}", "index out of range: 9"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{\"x}}", "unterminated"),
            ("{{}}", "missing value"),
            ("{{(.N}}", "unclosed"),
            ("{{.N .N}}", "cannot be called"),
        ] {
            let error = render(template).expect_err(template);
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_overflowed() {
        assert!(render(&format!("{{{{{}.N{}}}}}", "(".repeat(100_000), ")".repeat(100_000))).is_err());
        assert!(render(&"{{if .N}}".repeat(100_000)).is_err());
    }
}
