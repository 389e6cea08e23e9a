//! Answers: from what an asker may know, and as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::op::{Edns, Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinEncodable, BinEncoder};
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;
use ipnet::IpNet;

use super::question::{DATAGRAM, Question};
use super::zones::{Asker, Known};

/// Seconds that an answer of ours may be kept: a target that comes back may have another address.
const TTL: u32 = 0;
/// Bytes of a datagram to somebody who does not say how many he takes (RFC 1035, section 4.2.1).
const PLAIN_DATAGRAM: u16 = 512;

/// How the question came, and the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    code: ResponseCode,
    /// AA: it is ours to say.
    authoritative: bool,
    /// AD: signatures were checked, by the upstream server.
    authentic: bool,
    /// TC: there is more, which nobody was to be brought to say.
    cut: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Answer {
    /// Nothing but a code.
    pub(super) fn only(code: ResponseCode) -> Self {
        let nothing = Vec::new;
        Self {
            code,
            authoritative: false,
            authentic: false,
            cut: false,
            answers: nothing(),
            authorities: nothing(),
            additionals: nothing(),
        }
    }

    /// What an upstream server says, about the name as it was asked for, to the letter: it may have been remembered from
    /// somebody who wrote it in another way.
    pub(super) fn of(mut message: Message, question: &Question) -> Self {
        let asked = question.query.name();
        for record in message.answers.iter_mut().filter(|record| record.name == *asked) {
            record.name = asked.clone();
        }
        Self {
            code: message.metadata.response_code,
            authoritative: message.metadata.authoritative,
            authentic: message.metadata.authentic_data,
            cut: message.metadata.truncation,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
        }
    }

    /// What is ours to say; `None`: others must be asked.
    pub(super) fn local(asker: &Asker<'_>, question: &Question) -> Option<Self> {
        let query = &question.query;
        let (name, kind) = (query.name(), query.query_type());
        let known = match address_of(name) {
            Some(address) => asker.names(address),
            None => asker.addresses(&name.to_ascii()),
        };
        let known = if known == Known::Elsewhere { localhost(name).unwrap_or(known) } else { known };
        let records: Vec<RData> = match known {
            Known::Elsewhere => return None,
            Known::Nobody => return Some(Self::ours(ResponseCode::NXDomain, name, Vec::new())),
            Known::Addresses(addresses) => addresses.into_iter().map(address_data).collect(),
            Known::Names(names) => names.iter().filter_map(|name| pointer(name)).collect(),
        };
        let asked = |data: &RData| kind == RecordType::ANY || data.record_type() == kind;
        let records = records.into_iter().filter(asked).map(|data| Record::from_rdata(name.clone(), TTL, data));
        Some(Self::ours(ResponseCode::NoError, name, records.collect()))
    }

    /// Where there is nothing an SOA says so (RFC 2308, section 3), and that it is true for the moment only.
    fn ours(code: ResponseCode, name: &Name, answers: Vec<Record>) -> Self {
        let nothing = answers.is_empty().then(|| {
            let soa = SOA::new(name.clone(), name.clone(), 0, 0, 0, 0, TTL);
            Record::from_rdata(name.clone(), TTL, RData::SOA(soa))
        });
        Self { authoritative: true, answers, authorities: nothing.into_iter().collect(), ..Self::only(code) }
    }

    /// The message to send, with the question as it was asked, to the letter. What is too long for a datagram is cut off
    /// between two records, and says so (TC).
    pub(super) fn encode(&self, request: &Request, over: Transport) -> Option<Vec<u8>> {
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM).set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        metadata.response_code = self.code;
        metadata.authoritative = self.authoritative;
        metadata.authentic_data = self.authentic;
        metadata.truncation = self.cut;
        let most = match (over, &edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_DATAGRAM,
            (Transport::Udp, Some(_)) => request.max_payload().min(DATAGRAM),
        };
        let (bytes, all) = self.emit(request, metadata, edns.as_ref(), most)?;
        match &edns {
            // The last record is the one that says that we know EDNS, and belongs into every answer (RFC 6891, section
            // 6.1.1): others make room for it.
            Some(edns) if !all => {
                let opt = Record::from(edns).to_bytes().ok()?;
                let room = most.checked_sub(u16::try_from(opt.len()).ok()?)?;
                let (mut bytes, _) = self.emit(request, metadata, None, room)?;
                bytes.extend_from_slice(&opt);
                let additionals: &mut [u8; 2] = bytes.get_mut(10..12)?.try_into().ok()?;
                *additionals = (u16::from_be_bytes(*additionals) + 1).to_be_bytes();
                Some(bytes)
            }
            _ => Some(bytes),
        }
    }

    /// The message's bytes, at most so many; and whether nothing had to be cut off.
    fn emit(&self, request: &Request, metadata: Metadata, edns: Option<&Edns>, most: u16) -> Option<(Vec<u8>, bool)> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(most);
        let message = MessageResponseBuilder::new(&request.queries, edns).build(
            metadata,
            &self.answers,
            &self.authorities,
            [],
            &self.additionals,
        );
        let emitted = message.destructive_emit(&mut encoder).ok()?;
        // Of a record that did not fit a part is left behind the last one that did.
        let length = encoder.offset();
        bytes.truncate(length);
        Some((bytes, emitted.truncation == self.cut))
    }
}

/// The answer to what has a header and then cannot be understood: the header with FORMERR. `None`: not even that, or an
/// answer, which nobody must answer, or two servers would never stop.
pub(super) fn malformed(bytes: &[u8]) -> Option<Vec<u8>> {
    const QR: u8 = 0x80;
    const OPCODE_AND_RD: u8 = 0x79;
    const RA: u8 = 0x80;
    // RFC 1035, section 4.1.1: id, two bytes of flags, four counts of two bytes.
    let header: &[u8; 12] = bytes.first_chunk()?;
    if header[2] & QR != 0 {
        return None;
    }
    let mut answer = [0; 12];
    answer[..2].copy_from_slice(&header[..2]);
    answer[2] = QR | (header[2] & OPCODE_AND_RD);
    answer[3] = RA | ResponseCode::FormErr.low();
    Some(answer.to_vec())
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` means, if it is a whole one.
fn address_of(name: &Name) -> Option<IpAddr> {
    match name.parse_arpa_name().ok()? {
        IpNet::V4(net) if net.prefix_len() == 32 => Some(net.addr().into()),
        IpNet::V6(net) if net.prefix_len() == 128 => Some(net.addr().into()),
        _ => None,
    }
}

/// What everybody calls himself (RFC 6761, section 6.3; RFC 6303 for the way back): nobody else is to be asked.
fn localhost(name: &Name) -> Option<Known> {
    let own: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    match address_of(name) {
        Some(address) => own.contains(&address).then(|| Known::Names(vec!["localhost".to_owned()])),
        None => {
            let last = name.iter().next_back()?;
            last.eq_ignore_ascii_case(b"localhost").then(|| Known::Addresses(own.into()))
        }
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn pointer(name: &str) -> Option<RData> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(RData::PTR(PTR(name)))
}

/// Whether a question is one that is served at all: of the Internet, and not for a whole zone.
pub(super) fn served(question: &Question) -> bool {
    let class = matches!(question.query.query_class(), DNSClass::IN | DNSClass::ANY);
    class && !matches!(question.query.query_type(), RecordType::AXFR | RecordType::IXFR)
}

#[cfg(test)]
mod tests;
