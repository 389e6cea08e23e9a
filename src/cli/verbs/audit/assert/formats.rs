//! What came of expectations, for people, for test runners (TAP, JUnit) and for code scanners (SARIF). Pure.

use std::fmt::Write as _;

use serde_json::json;

use crate::model::audit::{Checked, Expectation, Outcome};

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Violated => "VIOLATED",
        Outcome::Unknown => "UNKNOWN",
        Outcome::Drift => "DRIFT",
    }
}

/// A line an expectation, its flows below it, and the sum.
pub(super) fn table(checked: &Checked) -> String {
    let mut text = String::new();
    for one in &checked.expectations {
        let because = one.because.as_ref().map(|because| format!("  ({because})")).unwrap_or_default();
        let _ = writeln!(text, "{:<9} line {:>3}  {}{because}", word(one.outcome), one.line, one.what);
        for flow in &one.flows {
            let _ = writeln!(text, "                    {flow}");
        }
    }
    let count = |outcome| checked.expectations.iter().filter(|it| it.outcome == outcome).count();
    let (ok, all) = (count(Outcome::Ok), checked.expectations.len());
    let flows: usize = checked.expectations.iter().map(|it| it.looked_at).sum();
    let _ = write!(text, "{ok} of {all} expectations hold ({flows} flows looked at)");
    let others = [(Outcome::Violated, "violated"), (Outcome::Drift, "drifted"), (Outcome::Unknown, "unknown")];
    for (outcome, words) in others.into_iter().filter(|(outcome, _)| count(*outcome) > 0) {
        let _ = write!(text, ", {} {words}", count(outcome));
    }
    text + "\n"
}

/// <https://testanything.org/tap-version-13-specification.html>
pub(super) fn tap(checked: &Checked) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", checked.expectations.len());
    for (number, one) in checked.expectations.iter().enumerate() {
        let not = if one.outcome == Outcome::Ok { "" } else { "not " };
        // `#` begins a directive.
        let _ = writeln!(text, "{not}ok {} - {}", number + 1, one.what.replace('#', "\\#"));
        if one.outcome != Outcome::Ok {
            let _ = writeln!(
                text,
                "  ---\n  outcome: {}\n  line: {}\n  flows:",
                word(one.outcome).to_lowercase(),
                one.line
            );
            for flow in &one.flows {
                let _ = writeln!(text, "    - {}", serde_json::Value::String(flow.clone()));
            }
            text += "  ...\n";
        }
    }
    text
}

/// As Jenkins and GitLab read it: what is violated or drifted is a failure, what is unknown an error.
pub(super) fn junit(checked: &Checked, file: &str) -> String {
    let count = |outcomes: &[Outcome]| checked.expectations.iter().filter(|it| outcomes.contains(&it.outcome)).count();
    let failures = count(&[Outcome::Violated, Outcome::Drift]);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"pontoon audit assert\" tests=\"{}\" failures=\"{failures}\" \
         errors=\"{}\" timestamp=\"{}\">\n",
        checked.expectations.len(),
        count(&[Outcome::Unknown]),
        xml(&checked.taken),
    );
    for one in &checked.expectations {
        let (name, file) = (xml(&one.what), xml(file));
        let _ = write!(text, "<testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{}\"", one.line);
        let element = match one.outcome {
            Outcome::Ok => {
                text += "/>\n";
                continue;
            }
            Outcome::Unknown => "error",
            Outcome::Violated | Outcome::Drift => "failure",
        };
        let kind = word(one.outcome).to_lowercase();
        let message = xml(one.flows.first().unwrap_or(&one.what));
        let flows = xml(&one.flows.join("\n"));
        let _ = writeln!(text, ">\n<{element} type=\"{kind}\" message=\"{message}\">{flows}</{element}>\n</testcase>");
    }
    text + "</testsuite>\n</testsuites>\n"
}

/// XML 1.0 has no place for most control characters.
fn xml(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\n' | '\t' => safe.push(letter),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

/// OASIS SARIF 2.1.0: a result for each expectation that does not hold, at its line.
pub(super) fn sarif(checked: &Checked, file: &str) -> String {
    let result = |one: &Expectation| {
        let flows = one.flows.join("\n");
        let text = if flows.is_empty() { one.what.clone() } else { format!("{}\n{flows}", one.what) };
        json!({
            "ruleId": word(one.outcome).to_lowercase(),
            "level": if one.outcome == Outcome::Unknown { "warning" } else { "error" },
            "message": { "text": text },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": file },
                "region": { "startLine": one.line },
            } }],
        })
    };
    let rule = |id: &str, text: &str| json!({ "id": id, "shortDescription": { "text": text } });
    let rules = [
        rule("violated", "What may talk to what is not as expected."),
        rule("drift", "What should be, what the kernel does and what packets did are not the same."),
        rule("unknown", "It cannot be said who may talk to whom."),
    ];
    let failed = checked.expectations.iter().filter(|one| one.outcome != Outcome::Ok);
    let driver = json!({ "name": "pontoon", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    let run = json!({ "tool": { "driver": driver }, "results": failed.map(result).collect::<Vec<_>>() });
    let schema = "https://json.schemastore.org/sarif-2.1.0.json";
    let report = json!({ "$schema": schema, "version": "2.1.0", "runs": [run] });
    format!("{report:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked() -> Checked {
        let one = |what: &str, line, outcome, flows: &[&str]| Expectation {
            what: what.to_owned(),
            because: (line == 3).then(|| "orders".to_owned()),
            line,
            outcome,
            flows: flows.iter().map(|flow| (*flow).to_owned()).collect(),
            looked_at: 2,
        };
        let expectations = vec![
            one("web reaches db on 5432/tcp", 3, Outcome::Ok, &[]),
            one("* does not reach <vault>", 8, Outcome::Violated, &["web to vault on 8200/tcp passes"]),
            one("x reaches db", 12, Outcome::Unknown, &["there is no x that runs"]),
        ];
        Checked { version: 1, taken: "2026-01-01T00:00:00Z".to_owned(), expectations }
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(table(&checked()), @r"
        ok        line   3  web reaches db on 5432/tcp  (orders)
        VIOLATED  line   8  * does not reach <vault>
                            web to vault on 8200/tcp passes
        UNKNOWN   line  12  x reaches db
                            there is no x that runs
        1 of 3 expectations hold (6 flows looked at), 1 violated, 1 unknown
        ");
    }

    #[test]
    fn for_test_runners() {
        insta::assert_snapshot!(tap(&checked()), @r#"
        TAP version 13
        1..3
        ok 1 - web reaches db on 5432/tcp
        not ok 2 - * does not reach <vault>
          ---
          outcome: violated
          line: 8
          flows:
            - "web to vault on 8200/tcp passes"
          ...
        not ok 3 - x reaches db
          ---
          outcome: unknown
          line: 12
          flows:
            - "there is no x that runs"
          ...
        "#);
        insta::assert_snapshot!(junit(&checked(), "a.toml"), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
        <testsuite name="pontoon audit assert" tests="3" failures="1" errors="1" timestamp="2026-01-01T00:00:00Z">
        <testcase classname="a.toml" name="web reaches db on 5432/tcp" file="a.toml" line="3"/>
        <testcase classname="a.toml" name="* does not reach &lt;vault&gt;" file="a.toml" line="8">
        <failure type="violated" message="web to vault on 8200/tcp passes">web to vault on 8200/tcp passes</failure>
        </testcase>
        <testcase classname="a.toml" name="x reaches db" file="a.toml" line="12">
        <error type="unknown" message="there is no x that runs">there is no x that runs</error>
        </testcase>
        </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn for_code_scanners() {
        let report: serde_json::Value = serde_json::from_str(&sarif(&checked(), "a.toml")).expect("JSON");
        let results = report["runs"][0]["results"].as_array().expect("results");
        assert_eq!(results.len(), 2, "what holds is no result");
        assert_eq!(results[0]["ruleId"], "violated");
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"], 8);
    }
}
