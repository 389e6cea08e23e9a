//! Lists of things: docker's default tables, `--format table …`, `--format json`, and templates.

use serde_json::{Map, Value};

use super::table;
use super::template::{Template, TemplateError};

/// A list's fields with their headings, as templates call them.
pub(in crate::cli) type Headings = &'static [(&'static str, &'static str)];

/// Shows `rows` (objects of what `headings` names) by `format`, a template; `table` before it aligns columns under
/// headings; the word `json` alone gives one object a line.
pub(in crate::cli) fn show(rows: &[Value], headings: Headings, format: &str) -> Result<String, TemplateError> {
    if format == "json" {
        return Ok(rows.iter().map(|row| format!("{row}\n")).collect());
    }
    // Shells hand `\t` on as two characters.
    let format = format.replace("\\t", "\t").replace("\\n", "\n");
    let Some(columns) = format.strip_prefix("table") else {
        let template = Template::parse(&format)?;
        return rows.iter().map(|row| template.render(row).map(|text| text + "\n")).collect();
    };
    let template = Template::parse(columns.trim_start())?;
    let heading: Map<String, Value> =
        headings.iter().map(|(field, heading)| ((*field).to_owned(), Value::from(*heading))).collect();
    let heading = Value::Object(heading);
    let lines: Vec<String> =
        std::iter::once(&heading).chain(rows).map(|row| template.render(row)).collect::<Result<_, _>>()?;
    Ok(table::align(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HEADINGS: Headings = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];

    #[test]
    fn tables_lines_and_json() {
        let rows = [json!({"ID": "0123", "Names": "web"}), json!({"ID": "4567", "Names": "db"})];
        let show = |format: &str| show(&rows, HEADINGS, format).expect("shown");
        assert_eq!(show("table {{.ID}}\\t{{.Names}}"), "CONTAINER ID   NAMES\n0123           web\n4567           db\n");
        assert_eq!(show("{{.Names}}={{.ID}}"), "web=0123\ndb=4567\n");
        assert_eq!(show("json"), "{\"ID\":\"0123\",\"Names\":\"web\"}\n{\"ID\":\"4567\",\"Names\":\"db\"}\n");
        assert!(super::show(&rows, HEADINGS, "{{.Nope}}").is_err());
    }
}
