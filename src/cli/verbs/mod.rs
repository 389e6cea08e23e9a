//! The verbs: a file each, small ones of a kind together.

pub(super) mod archive;
pub(super) mod attach;
pub(super) mod audit;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod images;
pub(super) mod inspect;
pub(super) mod lifecycle;
pub(super) mod logs;
pub(super) mod networks;
pub(super) mod port;
pub(super) mod ps;
pub(super) mod run;
pub(super) mod start;
pub(super) mod system;
pub(super) mod top;

mod foreground;
mod progress;
mod time;

use std::collections::HashMap;

use futures_util::{StreamExt, stream};

use super::error::{CliError, Outcome};

/// How many of the things named on one command line are done at once.
const AT_ONCE: usize = 32;

/// Does the same to each of `names`, several at once, and prints what comes of it in the order given. All are tried;
/// if one fails, the exit code is 1.
async fn each<F, T>(names: &[String], act: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<T, CliError>>,
    T: Into<Option<String>>,
{
    let mut outcomes = stream::iter(names.iter().cloned().map(act)).buffered(AT_ONCE);
    let mut code = 0;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(text) => {
                if let Some(text) = text.into() {
                    super::print(&format!("{text}\n"))?;
                }
            }
            Err(error) => {
                super::complain(&error);
                code = 1;
            }
        }
    }
    Ok(code)
}

/// `--filter name=value`, repeated, as the API takes them.
fn filters(flags: &[String]) -> Result<HashMap<String, Vec<String>>, CliError> {
    let mut filters: HashMap<String, Vec<String>> = HashMap::new();
    for flag in flags {
        let (name, value) = flag
            .split_once('=')
            .ok_or_else(|| CliError::new(format!("invalid filter {flag:?}: expected NAME=VALUE")))?;
        filters.entry(name.trim().to_lowercase()).or_default().push(value.trim().to_owned());
    }
    Ok(filters)
}

/// Filters as the API's query wants them: a JSON object of lists.
fn filters_query(flags: &[String]) -> Result<String, CliError> {
    serde_json::to_string(&filters(flags)?).map_err(|error| CliError::new(error.to_string()))
}
