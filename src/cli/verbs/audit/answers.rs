//! The served page's answers: one for all who ask within a moment, made once even when many ask at once, and none when
//! nobody asks.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::report::gather;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::report::{Data, Kept, page};

/// For how long an answer is good, from when it was there.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// The page and its data, ready to be sent.
#[derive(Debug)]
pub(super) struct Ready {
    /// The page.
    pub(super) page: Bytes,
    /// Its data.
    pub(super) json: Bytes,
    /// Of the data but for the time.
    pub(super) tag: HeaderValue,
    /// When the kernel was read.
    pub(super) taken: HeaderValue,
}

impl Ready {
    fn of(data: &Data) -> Self {
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(data.unchanging())[..12]));
        let header = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            page: page(data, Kept::Live).into(),
            json: serde_json::to_vec(data).unwrap_or_default().into(),
            tag: header(&tag),
            taken: header(data.taken()),
        }
    }
}

/// The answer, or in words why there is none.
type Outcome<T> = Result<Rc<T>, String>;

/// What makes the answers, and the last of them.
pub(super) struct Answers {
    client: Client,
    last: Last<Ready>,
}

impl Answers {
    pub(super) fn of(client: Client) -> Self {
        Self { client, last: Last::default() }
    }

    /// The last one, if it is of this moment; else a new one. It is made to its end even if who asked for it goes away.
    pub(super) async fn latest(self: &Rc<Self>) -> Outcome<Ready> {
        let this = self.clone();
        let making = tokio::task::spawn_local(async move {
            let make = async || gather(&this.client).await.map(|data| Ready::of(&data));
            this.last.or(Instant::now, async || make().await.map_err(|error: CliError| error.to_string())).await
        });
        making.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// The last answer, and when it was there.
struct Last<T>(Mutex<Option<(Instant, Outcome<T>)>>);

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Last<T> {
    /// Who comes while one is made waits for it, and has it.
    async fn or(&self, now: impl Fn() -> Instant, make: impl AsyncFnOnce() -> Result<T, String>) -> Outcome<T> {
        let mut last = self.0.lock().await;
        if let Some((when, outcome)) = &*last
            && now().duration_since(*when) < GOOD_FOR
        {
            return outcome.clone();
        }
        let outcome = make().await.map(Rc::new);
        *last = Some((now(), outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn one_answer_is_for_all_within_a_moment() {
        let (last, made, now) = (Last::<u32>::default(), Cell::new(0), Cell::new(Instant::now()));
        let pass = |time| now.set(now.get() + time);
        let make = async || {
            // Longer than an answer is good for: who waits has it all the same.
            tokio::task::yield_now().await;
            pass(3 * GOOD_FOR);
            made.set(made.get() + 1);
            Ok(made.get())
        };
        let ask = async || last.or(|| now.get(), make).await.map(|answer| *answer);
        assert_eq!(tokio::join!(ask(), ask(), ask()), (Ok(1), Ok(1), Ok(1)), "made once for all who ask at once");
        pass(GOOD_FOR - Duration::from_millis(1));
        assert_eq!(ask().await, Ok(1), "a moment later, too");
        pass(GOOD_FOR);
        assert_eq!(made.get(), 1, "nobody asks, nothing is made");
        assert_eq!(ask().await, Ok(2));
    }

    #[tokio::test]
    async fn what_failed_is_tried_again_after_a_moment() {
        let (last, now) = (Last::<u32>::default(), Cell::new(Instant::now()));
        let failed = last.or(|| now.get(), async || Err("no daemon".to_owned())).await;
        assert_eq!(failed, Err("no daemon".to_owned()));
        assert_eq!(last.or(|| now.get(), async || Ok(1)).await, failed);
        now.set(now.get() + GOOD_FOR);
        assert_eq!(last.or(|| now.get(), async || Ok(1)).await, Ok(Rc::new(1)));
    }
}
