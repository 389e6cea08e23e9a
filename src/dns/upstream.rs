//! One question to one server: over UDP, and over TCP if the answer is cut off.
//!
//! The socket is connected: the kernel passes only what comes from the server, and says at once when nobody listens there.
//! Its port and the message's number are chosen at random for each question, so that nobody who cannot see the question
//! can answer it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::question::Question;

/// A datagram may be lost: the question is sent again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// No answer over UDP is longer: we ask for less.
const BUFFER: usize = 4096;

/// Why a server has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// In time.
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    /// It cannot be reached.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The question cannot be written down, or what came over TCP cannot be understood.
    #[error("not a message: {0}")]
    Garbled(String),
}

/// Asks a server and waits at most so long. Answers the message and its length in bytes; the message is a cut off one (TC)
/// only where the server has no more to say, or does not say it over TCP.
pub(super) async fn ask(
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> Result<(Message, usize), Silence> {
    let deadline = Instant::now() + patience;
    let id = rand::random();
    let bytes = question.message(id).to_vec().map_err(|error| Silence::Garbled(error.to_string()))?;
    let heard = timeout_at(deadline, over_udp(server, question, id, &bytes)).await;
    let cut = heard.unwrap_or(Err(Silence::Timeout(patience)))?;
    if !cut.0.metadata.truncation {
        return Ok(cut);
    }
    let whole = timeout_at(deadline, over_tcp(server, question, id, &bytes)).await;
    Ok(whole.ok().and_then(Result::ok).unwrap_or(cut))
}

async fn over_udp(server: SocketAddr, question: &Question, id: u16, bytes: &[u8]) -> Result<(Message, usize), Silence> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        socket.send(bytes).await?;
        let again = Instant::now() + AGAIN;
        while let Ok(received) = timeout_at(again, socket.recv(&mut buffer)).await {
            let length = received?;
            // Whatever is no answer to this question was sent by somebody who hopes that it is.
            if let Some(message) = answer_to(question, id, &buffer[..length]) {
                return Ok((message, length));
            }
        }
    }
}

/// RFC 1035, section 4.2.2: two bytes of length before each message.
async fn over_tcp(server: SocketAddr, question: &Question, id: u16, bytes: &[u8]) -> Result<(Message, usize), Silence> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| Silence::Garbled("the question is too long".to_owned()))?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    answer_to(question, id, &answer)
        .map(|message| (message, answer.len()))
        .ok_or_else(|| Silence::Garbled("it answers something else than what was asked".to_owned()))
}

/// The message, if it is an answer to this question.
fn answer_to(question: &Question, id: u16, bytes: &[u8]) -> Option<Message> {
    if bytes.first_chunk::<2>() != Some(&id.to_be_bytes()) {
        return None;
    }
    let message = Message::from_vec(bytes).ok()?;
    let [asked] = message.queries.as_slice() else { return None };
    (message.metadata.message_type == MessageType::Response && *asked == question.query).then_some(message)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};

    use super::*;

    #[test]
    fn only_an_answer_to_the_question_is_one() {
        let query = |name| Query::query(Name::from_str(name).expect("name"), RecordType::A);
        let question = Question {
            query: query("a.example."),
            recursion: true,
            checking_disabled: false,
            authentic: false,
            dnssec: None,
        };
        let asked = question.message(7);
        let bytes = |message: &Message| message.to_vec().expect("bytes");
        let answer = asked.clone().into_response();
        assert!(answer_to(&question, 7, &bytes(&answer)).is_some());
        assert!(answer_to(&question, 8, &bytes(&answer)).is_none(), "another number");
        assert!(answer_to(&question, 7, &bytes(&asked)).is_none(), "a question");
        let mut other = answer.clone();
        other.queries = vec![query("b.example.")];
        assert!(answer_to(&question, 7, &bytes(&other)).is_none(), "another question");
        other.queries.clear();
        assert!(answer_to(&question, 7, &bytes(&other)).is_none(), "no question");
        assert!(answer_to(&question, 7, &bytes(&answer)[..11]).is_none(), "half a header");
        assert!(answer_to(&question, 7, b"").is_none());
    }
}
