use std::net::Ipv4Addr;
use std::str::FromStr;

use hickory_resolver::proto::op::{MessageType, OpCode, Query};
use hickory_resolver::proto::rr::rdata::{CNAME, TXT};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_server::net::xfer::Protocol;
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::from_str(text).expect("name")
}

/// A request as it comes, with an EDNS size or without EDNS.
fn request(asked: &str, edns: Option<u16>) -> Request {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(asked), RecordType::TXT));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size).set_dnssec_ok(true);
        message.set_edns(edns);
    }
    let bytes = message.to_vec().expect("bytes");
    Request::from_bytes(bytes, ([172, 17, 0, 2], 4000).into(), Protocol::Udp).expect("request")
}

fn long(records: usize) -> Answer {
    let text = || RData::TXT(TXT::new(vec!["x".repeat(200)]));
    let records = (0..records).map(|_| Record::from_rdata(name("long.test."), 60, text())).collect();
    Answer { answers: records, ..Answer::only(ResponseCode::NoError) }
}

fn encoded(answer: &Answer, request: &Request, over: Transport) -> (usize, Message) {
    let bytes = answer.encode(request, over).expect("bytes");
    let mut decoder = BinDecoder::new(&bytes);
    let message = Message::read(&mut decoder).expect("message");
    assert!(decoder.is_empty(), "nothing follows the last record");
    (bytes.len(), message)
}

#[test]
fn a_datagram_is_as_long_as_its_asker_takes() {
    for (edns, most) in [(None, 512), (Some(100), 512), (Some(900), 900), (Some(4096), 1232)] {
        let request = request("long.test.", edns);
        let (length, message) = encoded(&long(20), &request, Transport::Udp);
        assert!(length <= most && message.metadata.truncation, "{edns:?}: {length} bytes");
        assert!(length > most - 250 && !message.answers.is_empty(), "{edns:?}: {length} bytes");
        let said = message.edns.as_ref().map(|edns| (edns.max_payload(), edns.flags().dnssec_ok));
        assert_eq!(said, edns.map(|_| (DATAGRAM, true)), "cut or not, who asks with EDNS is answered with it");
        let (_, message) = encoded(&long(1), &request, Transport::Udp);
        assert!(!message.metadata.truncation && message.answers.len() == 1, "{edns:?}");
        assert_eq!(message.edns.is_some(), edns.is_some());
        let (length, message) = encoded(&long(200), &request, Transport::Tcp);
        assert!(length > 40_000 && !message.metadata.truncation && message.answers.len() == 200, "{length} bytes");
    }
}

#[test]
fn the_question_comes_back_to_the_letter() {
    let request = request("LoNg.TeSt.", None);
    let (_, message) = encoded(&long(1), &request, Transport::Udp);
    assert!(message.queries[0].name().eq_case(&name("LoNg.TeSt.")));
    assert_eq!(message.metadata.id, 4711);
    let metadata = message.metadata;
    assert!(metadata.recursion_desired && metadata.recursion_available && !metadata.authoritative);
}

#[test]
fn an_extended_code_needs_edns() {
    let (_, message) = encoded(&Answer::only(ResponseCode::BADVERS), &request("a.", Some(1232)), Transport::Udp);
    assert_eq!(message.edns.map(|edns| edns.rcode_high()), Some(ResponseCode::BADVERS.high()));
}

#[test]
fn what_has_no_question_gets_its_header_back() {
    let header = [0x12, 0x34, 0x01, 0x00, 0, 9, 0, 0, 0, 0, 0, 0];
    let answer = malformed(&header).expect("an answer");
    let message = Message::from_vec(&answer).expect("message");
    assert_eq!(message.metadata.id, 0x1234);
    assert_eq!(message.metadata.response_code, ResponseCode::FormErr);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(malformed(&header[..11]).is_none(), "no header");
    let mut answered = header;
    answered[2] |= 0x80;
    assert!(malformed(&answered).is_none(), "an answer");
}

#[test]
fn only_whole_addresses_are_looked_up_backwards() {
    let address = |text: &str| address_of(&name(text));
    assert_eq!(address("2.0.17.172.IN-ADDR.arpa."), Some(Ipv4Addr::new(172, 17, 0, 2).into()));
    for other in [
        "0.17.172.in-addr.arpa.",
        "in-addr.arpa.",
        "x.2.0.17.172.in-addr.arpa.",
        "a.example.",
        "300.0.17.172.in-addr.arpa.",
    ] {
        assert_eq!(address(other), None, "{other}");
    }
}

proptest! {
    /// Whatever a server says, what is handed on is a message, and no longer than it may be.
    #[test]
    fn any_answer(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..12), edns in any::<bool>()) {
        let mut message = Message::response(1, OpCode::Query);
        message.add_query(Query::query(name("long.test."), RecordType::TXT));
        let alias = RData::CNAME(CNAME(name("other.long.test.")));
        let mut records = Answer::ours(ResponseCode::NXDomain, &name("a.test."), Vec::new()).authorities;
        records.extend([alias, address_data([192, 0, 2, 1].into())].map(|data| Record::from_rdata(name("long.test."), 1, data)));
        message.add_answers(long(2).answers).add_authorities(records.clone()).add_additionals(records);
        message.set_edns(Edns::new());
        let mut bytes = message.to_vec().expect("bytes");
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let request = request("long.test.", edns.then_some(1232));
        let question = Question::of(&request).expect("question");
        if let Ok(message) = Message::from_vec(&bytes) {
            let answer = Answer::of(message, &question);
            for (over, most) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
                if let Some(bytes) = answer.encode(&request, over) {
                    prop_assert!(bytes.len() <= most);
                    prop_assert!(bytes.starts_with(&4711u16.to_be_bytes()) && Message::from_vec(&bytes).is_ok(), "{:?}", bytes);
                }
            }
        }
    }

    /// Whatever comes, it is answered or not, and nothing breaks.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600), question in any::<bool>()) {
        let mut bytes = bytes;
        if question && bytes.len() > 12 {
            // More of them get as far as their records.
            bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        }
        let short = malformed(&bytes);
        prop_assert!(short.is_none_or(|answer| answer.len() == 12));
        if let Ok(request) = Request::from_bytes(bytes, ([172, 17, 0, 2], 4000).into(), Protocol::Udp) {
            let answer = long(3).encode(&request, Transport::Udp);
            prop_assert!(answer.is_none_or(|answer| answer.len() <= 1232));
        }
    }
}

#[test]
fn everybody_is_his_own_localhost() {
    let addresses = Some(Known::Addresses(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
    for own in ["localhost.", "LocalHost.", "app.localhost.", "a.b.localhost"] {
        assert_eq!(localhost(&name(own)), addresses, "{own}");
    }
    for other in ["localhost.example.", "notlocalhost.", ".", "host."] {
        assert_eq!(localhost(&name(other)), None, "{other}");
    }
    let names = Some(Known::Names(vec!["localhost".to_owned()]));
    assert_eq!(localhost(&name("1.0.0.127.in-addr.arpa.")), names);
    assert_eq!(localhost(&name("2.0.0.127.in-addr.arpa.")), None);
}
