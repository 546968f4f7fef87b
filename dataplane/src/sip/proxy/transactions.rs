//! The tables of transactions: by which key a request finds its own, and how one is taken out.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use crate::frame::Kept;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Client;
use crate::sip::transaction::Marks;
use crate::tick::Tick;

impl Proxy {
    /// The key of the server transaction of a request from `trunk` (RFC 3261 §17.2.3). ACK and
    /// CANCEL ask with the INVITE's.
    ///
    /// The sent-by is compared there because clients may come upon the same branch, by accident or
    /// to do harm. Nobody holds it against the source, so that the trunk stands beside it.
    pub(super) fn transaction_key(
        &self,
        message: &Message<'_>,
        method: Method,
        trunk: TrunkIndex,
    ) -> u64 {
        let (via, hash) = (message.via(), self.identity.hash());
        let (cseq, name, _) = message.cseq();
        let (hash, what, port) = if via.has_cookie(message.bytes()) {
            let branch = via.branch.map_or(&[][..], |branch| message.text(branch));
            // A branch is compared without regard to case (§7.3.1); one that changes its
            // case between retransmissions is not worth the copy.
            let hash = hash.text(branch).text(message.text(via.host));
            (hash, What::Transaction, via.port.unwrap_or(5060))
        } else {
            // An RFC 2543 element: Request-URI, From tag, Call-ID, CSeq number, top Via. Its
            // ACK carries the To tag of our response, so that cannot be part of the key.
            let uri = message
                .request_uri()
                .map_or(&[][..], |uri| message.text(uri));
            let hash = hash
                .text(uri)
                .text(message.from_tag().unwrap_or_default())
                .text(message.call_id())
                .text(message.text(via.value))
                .word(cseq.into());
            (hash, What::OldTransaction, 0)
        };
        let hash = match method {
            Method::Other => hash.text(name),
            _ => hash,
        };
        let [port, trunk] = [port, trunk.0].map(u64::from);
        hash.finish(what.with(u64::from(method as u8) | port << 8 | trunk << 24))
    }

    /// What a request and its responses have in common, see [`Marks::echo`].
    pub(super) fn echo(&self, message: &Message<'_>) -> u64 {
        let (cseq, ..) = message.cseq();
        let from_tag = message.from_tag().unwrap_or_default();
        let hash = self.identity.hash().text(message.call_id()).text(from_tag);
        hash.finish(What::Echo.with(cseq.into()))
    }

    /// The marks of a request that is to be sent on.
    pub(super) fn marks(&self, message: &Message<'_>, arrival: Arrival) -> Marks {
        let echo = self.echo(message);
        Marks::new(self.way_hash(message, arrival, echo), echo)
    }

    /// A client transaction for a request of our own, whose branch names the vacant one; `None`
    /// where there is no room. Its response ends here.
    pub(super) fn open_own(
        &mut self,
        method: Method,
        request: &[u8],
        to: SocketAddr,
        listen: ListenIndex,
        now: Tick,
    ) -> Option<Id> {
        let echo = Message::scan(request).map_or(0, |message| self.echo(&message));
        let marks = Marks::new(0, echo);
        let kept = self.kept.put(request)?;
        let client = Client::new(method, marks, to.into(), listen, kept, now);
        let id = self.clients.insert(client)?;
        self.arm_client(id);
        Some(id)
    }

    /// Ends a client transaction.
    pub(super) fn end_client(&mut self, id: Id) {
        if let Some(client) = self.clients.remove(id) {
            self.wheel.disarm(id.slot);
            self.release(client.message);
        }
    }

    /// Ends a server transaction.
    pub(super) fn end_server(&mut self, id: Id) {
        if let Some(server) = self.servers.remove(id) {
            self.wheel.disarm(self.clients.capacity() + id.slot);
            self.transactions.remove(server.key, id);
            self.refused_lingering -= u32::from(server.is_refused);
            match server.branches {
                Branches::Context(context) => self.discard_context(context),
                Branches::Parked(ticket) => self.discard_ticket(ticket),
                Branches::None | Branches::One(_) => {}
            }
            self.release(server.response);
            self.check_place(server.place);
        }
    }

    pub(super) fn release(&mut self, kept: Option<Kept>) {
        if let Some(kept) = kept {
            self.kept.release(kept);
        }
    }
}
