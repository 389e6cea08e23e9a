//! A question as it is handed on: what was asked, without who asked.

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_server::server::Request;

/// Bytes of UDP that pass everywhere without being cut into fragments (DNS flag day 2020).
pub(super) const DATAGRAM: u16 = 1232;

/// What was asked. Letter case in the name means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Name, type, class.
    pub(super) query: Query,
    /// RD: find it out.
    pub(super) recursion: bool,
    /// CD: the asker checks signatures itself.
    pub(super) checking_disabled: bool,
    /// AD in a question: tell whether signatures were checked (RFC 6840, section 5.7).
    pub(super) authentic: bool,
    /// EDNS: whether signatures are wanted (DO). `None`: a question without EDNS, for servers and answers that know none.
    pub(super) dnssec: Option<bool>,
}

impl Question {
    /// The only question of a request; `None` if there is not exactly one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let [query] = request.queries.queries() else { return None };
        Some(Self {
            query: query.original().clone(),
            recursion: request.metadata.recursion_desired,
            checking_disabled: request.metadata.checking_disabled,
            authentic: request.metadata.authentic_data,
            dnssec: request.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
        })
    }

    /// The message for a server. The asker's EDNS options are its own affair: they are not handed on.
    pub(super) fn message(&self, id: u16) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic;
        message.add_query(self.query.clone());
        if let Some(dnssec) = self.dnssec {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM).set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        message
    }
}
