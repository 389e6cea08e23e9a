//! What upstream servers have said, for as long as they allow (RFC 2308 for what does not exist).
//!
//! Bounded in bytes, so that no container can fill the daemon's memory with long answers; and an answer is only for those
//! who ask the same servers: what one container's `--dns` says is no news to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record};

use super::question::Question;

/// Bytes, all answers together, as they came over the wire.
const CAPACITY: u64 = 4 << 20;
/// An entry counts as so many bytes at least: there are never more than 8,192.
const SMALLEST: usize = 512;
/// Longer answers are not kept: a handful would push out everything else.
const LONGEST: usize = 16 << 10;
/// However long a server allows.
const LIFETIME: Duration = Duration::from_secs(3600);
/// And that something does not exist.
const NEGATIVE_LIFETIME: Duration = Duration::from_secs(60);

/// Who said what: the servers that were to be asked, and the question.
type Key = (Arc<[SocketAddr]>, Question);

struct Entry {
    message: Message,
    length: usize,
    kept: Instant,
    lifetime: Duration,
}

/// Answers, by servers and question.
pub(super) struct Cache(moka::sync::Cache<Key, Arc<Entry>>);

impl Cache {
    pub(super) fn new() -> Self {
        let weigh = |_: &Key, entry: &Arc<Entry>| u32::try_from(entry.length.max(SMALLEST)).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().max_capacity(CAPACITY).weigher(weigh).build())
    }

    /// An answer that still holds, with what is left of its times.
    pub(super) fn get(&self, servers: &Arc<[SocketAddr]>, question: &Question, now: Instant) -> Option<Message> {
        let entry = self.0.get(&(servers.clone(), question.clone()))?;
        let age = now.saturating_duration_since(entry.kept);
        (age < entry.lifetime).then(|| aged(&entry.message, age))
    }

    /// Keeps an answer of `length` bytes, if it may be kept.
    pub(super) fn keep(
        &self,
        servers: &Arc<[SocketAddr]>,
        question: &Question,
        message: &Message,
        length: usize,
        now: Instant,
    ) {
        if let Some(lifetime) = lifetime(message).filter(|lifetime| !lifetime.is_zero() && length <= LONGEST) {
            let entry = Entry { message: message.clone(), length, kept: now, lifetime };
            self.0.insert((servers.clone(), question.clone()), Arc::new(entry));
        }
    }
}

/// How long an answer holds; `None`: it is for this asker only.
fn lifetime(message: &Message) -> Option<Duration> {
    if message.metadata.truncation {
        return None;
    }
    let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
    match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => {
            let least = message.answers.iter().map(|record| record.ttl).min();
            seconds(least).map(|ttl| ttl.min(LIFETIME))
        }
        // RFC 2308, section 5: without an SOA it is not to be kept.
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let soa = message.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                _ => None,
            });
            seconds(soa).map(|ttl| ttl.min(NEGATIVE_LIFETIME))
        }
        _ => None,
    }
}

/// An answer as it is after some time: second-hand, and with less time left.
fn aged(message: &Message, age: Duration) -> Message {
    let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let mut message = message.clone();
    message.metadata.authoritative = false;
    let older = |record: &mut Record| record.ttl = record.ttl.saturating_sub(seconds);
    message.answers.iter_mut().for_each(older);
    message.authorities.iter_mut().for_each(older);
    message.additionals.iter_mut().for_each(older);
    message
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_resolver::proto::op::{OpCode, Query};
    use hickory_resolver::proto::rr::rdata::{A, SOA};
    use hickory_resolver::proto::rr::{Name, RecordType};

    use super::*;

    fn name(name: &str) -> Name {
        Name::from_str(name).expect("name")
    }

    fn question(asked: &str) -> Question {
        let query = Query::query(name(asked), RecordType::A);
        Question { query, recursion: true, checking_disabled: false, authentic: false, dnssec: Some(false) }
    }

    fn answer(ttls: &[u32]) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.authoritative = true;
        for ttl in ttls {
            message.add_answer(Record::from_rdata(name("a.example."), *ttl, RData::A(A::new(192, 0, 2, 7))));
        }
        message
    }

    fn negative(code: ResponseCode, ttl: u32, minimum: u32) -> Message {
        let mut message = answer(&[]);
        message.metadata.response_code = code;
        let soa = SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, minimum);
        message.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(soa)));
        message
    }

    #[test]
    fn an_answer_holds_as_long_as_its_first_record_to_go() {
        let seconds = |message: &Message| lifetime(message).map(|it| it.as_secs());
        assert_eq!(seconds(&answer(&[300, 20, 60])), Some(20));
        assert_eq!(seconds(&answer(&[u32::MAX])), Some(3600));
        assert_eq!(seconds(&negative(ResponseCode::NXDomain, 30, 20)), Some(20));
        assert_eq!(seconds(&negative(ResponseCode::NoError, 10, 20)), Some(10));
        assert_eq!(seconds(&negative(ResponseCode::NXDomain, 900, 900)), Some(60));
        assert_eq!(seconds(&answer(&[])), None, "nothing, and no word on how long");
        assert_eq!(seconds(&negative(ResponseCode::ServFail, 30, 30)), None);
        let mut cut = answer(&[30]);
        cut.metadata.truncation = true;
        assert_eq!(seconds(&cut), None);
    }

    #[test]
    fn times_run_on_and_letters_have_no_case() {
        let (cache, now): (_, Arc<[SocketAddr]>) = (Cache::new(), [SocketAddr::from(([192, 0, 2, 53], 53))].into());
        let servers = now;
        let begun = Instant::now();
        cache.keep(&servers, &question("a.example."), &answer(&[20, 300]), 80, begun);
        let found = cache.get(&servers, &question("A.Example."), begun + Duration::from_secs(19)).expect("it holds");
        assert_eq!(found.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [1, 281]);
        assert!(!found.metadata.authoritative);
        assert!(cache.get(&servers, &question("a.example."), begun + Duration::from_secs(20)).is_none());
    }

    #[test]
    fn answers_are_for_those_who_ask_the_same_servers_the_same() {
        let cache = Cache::new();
        let [some, others]: [Arc<[SocketAddr]>; 2] =
            [53, 54].map(|port| [SocketAddr::from(([192, 0, 2, 53], port))].into());
        let now = Instant::now();
        cache.keep(&some, &question("a.example."), &answer(&[20]), 80, now);
        assert!(cache.get(&some, &question("a.example."), now).is_some());
        assert!(cache.get(&others, &question("a.example."), now).is_none());
        let signed = Question { dnssec: Some(true), ..question("a.example.") };
        assert!(cache.get(&some, &signed, now).is_none());
    }

    #[test]
    fn long_answers_are_not_kept() {
        let cache = Cache::new();
        let servers: Arc<[SocketAddr]> = [].into();
        let now = Instant::now();
        cache.keep(&servers, &question("a.example."), &answer(&[20]), LONGEST + 1, now);
        assert!(cache.get(&servers, &question("a.example."), now).is_none());
    }
}
