//! Requests that come again with credentials that have been used: which are repetitions, and which are
//! replays (RFC 7616 §5.5).
//!
//! What has a transaction is absorbed there before anybody looks at its credentials. A REGISTER has none, and
//! neither has what goes on without state: their repetitions are judged anew. Whoever has seen one on its
//! way can write its branch and its credentials above other contacts, another Call-ID or another
//! Request-URI, for a digest covers none of these. So a REGISTER is let through once more only where
//! it changes nothing, and another request only where it is the same to the byte and kept no transaction.
//! One that has been done is known by what it has done (RFC 3261 §17.2.2), though its sender has used higher
//! counts since.

use super::Arrival;
use super::Proxy;
use crate::ids::DomainIndex;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::registrar::Register;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::tick::Tick;

impl Proxy {
    /// What tells the user of a nonce count from others. Of a REGISTER the bindings say the rest, and what has a
    /// transaction does not come again.
    pub(super) fn used_by(&self, message: &Message<'_>, arrival: Arrival, key: u64) -> u64 {
        let by_listen = self.listens[usize::from(arrival.listen.0)].stateless;
        if message.method() == Method::Register || !by_listen && !self.dial.has_stateless_routes() {
            return key;
        }
        let hash = self.identity.hash().text(message.bytes()).word(key);
        hash.finish(What::NonceUse.with(0))
    }

    /// Whether a request with credentials that its own transaction has used may go on once more.
    pub(super) fn comes_again(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (domain, aor): (DomainIndex, &AddressOfRecord),
        now: Tick,
    ) -> bool {
        if let Some(request) = self.as_register(message, arrival, key, (domain, aor)) {
            return self.registrar.changes_nothing(&request, now);
        }
        let trunk = self.domains[usize::from(domain.0)].trunk;
        let way = self.stateless_way(message, arrival, trunk);
        matches!(way, Ok(Some(_)))
    }

    /// Whether it is a REGISTER that has been done: it is answered as it was.
    pub(super) fn was_done(
        &self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        of: (DomainIndex, &AddressOfRecord),
        now: Tick,
    ) -> bool {
        let request = self.as_register(message, arrival, key, of);
        request.is_some_and(|request| self.registrar.has_done(&request, now))
    }

    /// A REGISTER that is ours to do.
    fn as_register<'r, 'm>(
        &self,
        message: &'r Message<'m>,
        arrival: Arrival,
        key: u64,
        (domain, aor): (DomainIndex, &'r AddressOfRecord),
    ) -> Option<Register<'r, 'm>> {
        let is_ours = self.domains[usize::from(domain.0)].registrar;
        (message.method() == Method::Register && is_ours).then_some(Register {
            message,
            aor,
            domain,
            received: arrival.source,
            listen: arrival.listen,
            transaction: key,
        })
    }
}
