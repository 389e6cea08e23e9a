//! On the loopback, where every address is somebody: 127.0.0.2 is a container.

use std::collections::BTreeMap;
use std::net::{TcpStream as Connection, UdpSocket};
use std::str::FromStr;

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};

use super::*;
use crate::model::{Endpoint, Names, NetworkOptions};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const WEB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn id(number: u8) -> ContainerId {
    format!("{number:02x}").repeat(32).parse().expect("id")
}

fn endpoint(hostname: &str, address: Ipv4Addr) -> Endpoint {
    Endpoint {
        name: "name".parse().expect("name"),
        address,
        mac: "02:42:ac:11:00:02".parse().expect("mac"),
        port: "ve2".to_owned(),
        published: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
        names: Names { hostname: hostname.to_owned(), ..Names::default() },
    }
}

/// A server that knows one container, `web`, and no other server; and its port.
fn server() -> (NameServer, u16) {
    let sockets = Sockets::bind(GATEWAY, None).expect("a port");
    let port = sockets.port();
    let endpoints = BTreeMap::from([(id(2), endpoint("web", WEB))]);
    let options = NetworkOptions { bridge: "lo".to_owned(), ..NetworkOptions::usual() };
    let intent = Intent { options, endpoints };
    (NameServer::serve(sockets, &intent, Path::new("/nonexistent")).expect("served"), port)
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str(name).expect("name"), RecordType::A));
    message.to_vec().expect("bytes")
}

fn client(from: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).expect("socket");
    socket.connect((GATEWAY, port)).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    socket
}

fn ask(socket: &UdpSocket, bytes: &[u8]) -> Message {
    socket.send(bytes).expect("sent");
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_that_is_done_is_counted() {
    let (server, port) = server();
    let (web, stranger) = (client(WEB, port), client(STRANGER, port));
    let code = |message: &Message| message.metadata.response_code;

    let answer = ask(&web, &question("WEB."));
    assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NoError, 1));
    assert_eq!(code(&ask(&web, &question("other."))), ResponseCode::ServFail);
    assert_eq!(code(&ask(&stranger, &question("web."))), ResponseCode::Refused);
    assert_eq!(code(&ask(&web, &question("web.")[..14])), ResponseCode::FormErr);

    // Another container comes to the address.
    server.apply(&Change::Admit(id(3), Box::new(endpoint("next", WEB))));
    server.apply(&Change::Dismiss(id(2)));
    assert_eq!(code(&ask(&web, &question("next."))), ResponseCode::NoError);
    assert_eq!(code(&ask(&web, &question("web."))), ResponseCode::ServFail);
    server.apply(&Change::Dismiss(id(3)));
    assert_eq!(code(&ask(&web, &question("next."))), ResponseCode::Refused);

    let counters = server.counters();
    let counted = [&counters.queries, &counters.local, &counters.refused, &counters.malformed, &counters.failed];
    assert_eq!(counted.map(|counter| counter.get()), [7, 2, 2, 1, 2]);
}

#[test]
fn an_asker_has_so_many_places_and_gets_them_back() {
    let load = Arc::new(Load::default());
    let places: Vec<Place> = std::iter::from_fn(|| load.place()).collect();
    assert_eq!(places.len(), UNDERWAY);
    assert!(load.place().is_none() && load.place().is_none());
    drop(places);
    assert!(load.place().is_some());
    assert_eq!(load.underway.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_asker_has_so_many_connections_and_strangers_have_none() {
    use std::io::Read;
    let (server, port) = server();
    let connect = |from: Ipv4Addr| {
        let socket = tokio::net::TcpSocket::new_v4().expect("socket");
        socket.bind((from, 0).into()).expect("bound");
        socket.connect((GATEWAY, port).into())
    };
    let closed = |connection: TcpStream| {
        let mut connection: Connection = connection.into_std().expect("connection");
        connection.set_nonblocking(false).expect("blocking");
        connection.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        // Closed, and not waiting for a question.
        connection.read(&mut [0]).expect("the end") == 0
    };
    assert!(closed(connect(STRANGER).await.expect("connected")));
    assert_eq!(server.counters().refused.get(), 1);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(connect(WEB).await.expect("connected"));
    }
    assert!(closed(connect(WEB).await.expect("connected")));
    assert_eq!(server.counters().dropped.get(), 1);
    // Those that are held are served.
    let mut last = held.pop().expect("one");
    let bytes = question("web.");
    let framed = [&u16::try_from(bytes.len()).expect("short").to_be_bytes(), bytes.as_slice()].concat();
    last.write_all(&framed).await.expect("sent");
    let mut answer = vec![0; usize::from(last.read_u16().await.expect("length"))];
    last.read_exact(&mut answer).await.expect("answer");
    assert_eq!(Message::from_vec(&answer).expect("message").answers.len(), 1);
}
