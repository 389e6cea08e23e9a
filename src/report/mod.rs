//! The report: one self-contained page about who can talk to whom, for an operator to put before an auditor.
//!
//! ```text
//! Sources (the audit's answers) ──► Data (compact, pure) ──► page.html with page.css, the scripts and the data in it
//! ```
//!
//! The page's scripts are one script in files of one idea each, joined when this is compiled: words, data (who has which
//! flows), filter, grid (of which only what is in sight is drawn), picture, why (one pair's details), address (what is shown
//! is in the page's address), lists, findings, flows, topology, print, live (a served page asks anew), start.
//!
//! The page asks nobody for anything: style, script and data are in it, and its content security policy lets it connect
//! nowhere (where it is served live: to its own server). Everything that came from a container (names, labels, programs)
//! is data in a script element of type `application/json`, and becomes text in the page, never markup.

mod data;
mod past;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub use data::{Data, Sources};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    include_str!("page/words.js"),
    include_str!("page/data.js"),
    include_str!("page/filter.js"),
    include_str!("page/grid.js"),
    include_str!("page/picture.js"),
    include_str!("page/why.js"),
    include_str!("page/address.js"),
    include_str!("page/lists.js"),
    include_str!("page/findings.js"),
    include_str!("page/flows.js"),
    include_str!("page/topology.js"),
    include_str!("page/print.js"),
    include_str!("page/live.js"),
    include_str!("page/start.js"),
);

/// Who keeps the page's data fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nobody: it is a file.
    File,
    /// Its server, which answers `report.json`.
    Live,
}

/// The page.
pub fn page(data: &Data, kept: Kept) -> String {
    let json = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    fill(PAGE, |name| match (name, kept) {
        // `</script>` and `<!--` in a string would end the element.
        ("data", _) => json.replace('<', "\\u003c"),
        ("host", _) => escape(data.host()),
        ("style", _) => STYLE.to_owned(),
        ("script", _) => SCRIPT.to_owned(),
        ("scripts", _) => format!("'sha256-{hash}'"),
        ("connect", Kept::Live) => "'self'".to_owned(),
        ("connect", Kept::File) => "'none'".to_owned(),
        ("live", Kept::Live) => " data-live".to_owned(),
        _ => String::new(),
    })
}

/// Puts values in the places of `{{name}}`, in one pass: what a value holds is not looked at.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        page.push_str(before);
        page.push_str(&value(name));
        rest = after;
    }
    page + rest
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::Matrix;

    #[test]
    fn the_page_holds_all_that_it_needs() {
        let matrix = Matrix { host: "</script><b>".to_owned(), ..Matrix::empty() };
        let page = page(&Data::of(&Sources::of(matrix)), Kept::File);
        // The name of SVG's elements is no address that anybody connects to.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !page.contains("{{") && !page.contains("http://") && !page.contains("https://"),
            "no place left, no address"
        );
        assert_eq!(page.matches("</script>").count(), 2, "its own two");
        assert!(page.contains("<title>Who can talk to whom – &lt;/script&gt;&lt;b&gt;</title>"));
        assert!(page.contains("connect-src 'none'") && !page.contains("data-live>"));
    }

    #[test]
    fn values_are_put_in_once() {
        let value = |name: &str| format!("<{name}{{{{b}}}}>");
        assert_eq!(fill("1{{a}}2{{b}}3{{", value), "1<a{{b}}>2<b{{b}}>3{{");
    }
}
