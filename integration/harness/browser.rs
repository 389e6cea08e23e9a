//! A real browser on a host: Chromium, driven by WebDriver (W3C), as a person with keyboard and mouse would.

use serde_json::{Value, json};

use super::host::Host;
use super::lan::Background;
use super::wait::{eventually, until};
use super::{Outcome, wait::DEADLINE};

const PORT: u16 = 9515;

/// An open browser window. It goes when this is dropped.
pub struct Browser<'h> {
    host: &'h Host,
    session: String,
    /// Ended last, with the browser.
    _driver: Background<'h>,
}

/// Keys that have no letter (W3C WebDriver, "keyboard actions").
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Key {
    Letter(char),
    Enter,
    Escape,
    Tab,
    Right,
    Down,
    End,
    Control,
}

impl Key {
    fn code(self) -> String {
        match self {
            Self::Letter(letter) => letter.to_string(),
            Self::Enter => '\u{e007}'.to_string(),
            Self::Escape => '\u{e00c}'.to_string(),
            Self::Tab => '\u{e004}'.to_string(),
            Self::Right => '\u{e014}'.to_string(),
            Self::Down => '\u{e015}'.to_string(),
            Self::End => '\u{e010}'.to_string(),
            Self::Control => '\u{e009}'.to_string(),
        }
    }
}

impl Host {
    /// Opens a browser at an address: of a file, or of a server on this host's loopback.
    #[track_caller]
    pub fn browser(&self, address: &str) -> Browser<'_> {
        let driver = self.itself().background(&["chromedriver", &format!("--port={PORT}")]);
        until("chromedriver is up", || call(self, "GET", "/status", None).is_ok_and(|it| it["ready"] == true));
        let profile = self.dir().join("browser");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session =
            call(self, "POST", "/session", Some(&wanted)).unwrap_or_else(|error| panic!("no browser: {error}"));
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let browser = Browser { host: self, session, _driver: driver };
        browser.go(address);
        browser
    }
}

/// One WebDriver command; its answer's value.
fn call(host: &Host, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let url = format!("http://127.0.0.1:{PORT}{path}");
    let seconds = DEADLINE.as_secs().to_string();
    let mut curl = host.command("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", &seconds, "--request", method, &url]);
    if method == "POST" {
        curl.args(["--header", "content-type: application/json", "--data-binary", "@-"]);
    }
    let input = body.map_or_else(|| "{}".to_owned(), Value::to_string);
    let outcome = Outcome::of(&mut curl, input.as_bytes());
    let answer: Value = serde_json::from_str(&outcome.stdout).map_err(|_| outcome.to_string())?;
    match answer["value"]["error"].as_str() {
        Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
        None => Ok(answer["value"].clone()),
    }
}

impl Browser<'_> {
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        call(self.host, method, &path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Opens an address.
    #[track_caller]
    pub fn go(&self, address: &str) {
        self.ask("POST", "/url", Some(&json!({ "url": address })));
    }

    /// What a JavaScript expression is in the page.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({ "script": format!("return {expression}"), "args": [] })))
    }

    /// The same, as text.
    #[track_caller]
    pub fn text(&self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn sees(&self, expression: &str) {
        eventually(expression, || match self.value(expression) {
            Value::Bool(true) => Ok(()),
            other => Err(other.to_string()),
        });
    }

    /// Clicks at an element, by its CSS selector.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.ask("POST", "/element", Some(&json!({ "using": "css selector", "value": selector })));
        let id = element.as_object().and_then(|it| it.values().next()).and_then(Value::as_str).expect("an element");
        self.ask("POST", &format!("/element/{id}/click"), Some(&json!({})));
    }

    /// Presses keys, one after the other, wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &[Key]) {
        self.type_keys(keys.iter().flat_map(|key| [(*key, "keyDown"), (*key, "keyUp")]));
    }

    /// Presses keys together, the first before the others.
    #[track_caller]
    pub fn press_together(&self, keys: &[Key]) {
        let down = keys.iter().map(|key| (*key, "keyDown"));
        self.type_keys(down.chain(keys.iter().rev().map(|key| (*key, "keyUp"))));
    }

    #[track_caller]
    fn type_keys(&self, keys: impl Iterator<Item = (Key, &'static str)>) {
        let actions: Vec<Value> = keys.map(|(key, what)| json!({ "type": what, "value": key.code() })).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.ask("POST", "/actions", Some(&json!({ "actions": [keyboard] })));
    }

    /// Types text, wherever the focus is.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        self.press(&text.chars().map(Key::Letter).collect::<Vec<_>>());
    }

    /// What the console has said since it was last asked: errors and warnings, the page's and the browser's own.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let lines = self.ask("POST", "/se/log", Some(&json!({ "type": "browser" })));
        lines
            .as_array()
            .into_iter()
            .flatten()
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let _ = call(self.host, "DELETE", &format!("/session/{}", self.session), None);
    }
}
