//! Requests of our own within a dialog: the BYE that ends a dead call, sent to each party in the
//! other's name.
//!
//! A proxy does not do that (RFC 4028 §8.3 says so in as many words), but the gateways and the
//! bill of a call whose both ends are gone wait for it. It is done where nobody can be hurt by it:
//! when the session has expired, at which time each user agent must have ended it on its own
//! (RFC 4028 §10), and when it has lasted longer than any call may.

use std::net::SocketAddr;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::limits::BYE_RETRY_MS;
use crate::limits::CSEQ_MAX;
use crate::limits::DIALOG_LEN_MAX;
use crate::sip::call::Call;
use crate::sip::call::Party;
use crate::sip::dialog::Record;
use crate::sip::dialog::Request;
use crate::sip::endpoint::Endpoint;
use crate::sip::identity::Kind;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::uri::Uri;
use crate::span::Span;

/// Why the box ends a call, as RFC 3326 §2 has it said.
const EXPIRED: &[u8] = b"Reason: SIP;cause=408;text=\"Session expired\"\r\n";
/// The same, for a call that has lasted longer than any may.
const TOO_LONG: &[u8] = b"Reason: SIP;cause=408;text=\"Longest duration reached\"\r\n";

/// There is no room for a transaction.
struct NoRoom;

impl Proxy {
    /// Ends an established call whose time is up and which neither party ends. Where there is no
    /// room for the two transactions that takes, it is tried again a little later.
    pub(super) fn put_down(&mut self, id: Id, step: &mut Step<'_>) {
        let expired = |call: &Call| call.expires <= step.now;
        let expired = self.calls.get(id).is_some_and(expired);
        let reason = if expired { EXPIRED } else { TOO_LONG };
        let Ok(byes) = self.open_byes(id, reason, step) else {
            step.counters.count(Counter::TransactionsRefused);
            if let Some(call) = self.calls.get_mut(id) {
                call.due = step.now.plus_ms(BYE_RETRY_MS);
            }
            self.arm_call(id);
            return;
        };
        for bye in byes {
            let client = bye.and_then(|bye| self.clients.get(bye));
            match client.and_then(|client| Some((client, client.message.as_ref()?))) {
                Some((client, kept)) => {
                    let (to, listen) = (client.destination.addr(), client.listen);
                    step.effects.send_copy(self.kept.bytes(kept), to, listen);
                    step.counters.count(Counter::ByesSent);
                }
                None => step.counters.count(Counter::ByesUnsent),
            }
        }
        if expired {
            step.counters.count(Counter::SessionsExpired);
        }
        step.counters.count(Counter::CallsPutDown);
        self.hang_up(id, step);
    }

    /// The client transactions of a BYE to each party; `None` for one of whom too little is known.
    fn open_byes(
        &mut self,
        id: Id,
        reason: &[u8],
        step: &mut Step<'_>,
    ) -> Result<[Option<Id>; 2], NoRoom> {
        let to_caller = self.open_bye(id, Party::Caller, reason, step)?;
        match self.open_bye(id, Party::Callee, reason, step) {
            Ok(to_callee) => Ok([to_caller, to_callee]),
            Err(NoRoom) => {
                if let Some(client) = to_caller {
                    self.end_client(client);
                }
                Err(NoRoom)
            }
        }
    }

    /// A client transaction of our own for a BYE to `to` in the name of the other party
    /// (RFC 3261 §15.1.1). Its response ends there.
    fn open_bye(
        &mut self,
        id: Id,
        to: Party,
        reason: &[u8],
        step: &mut Step<'_>,
    ) -> Result<Option<Id>, NoRoom> {
        let client_id = self.clients.vacant().ok_or(NoRoom)?;
        let room = step.effects.room();
        let Some((len, destination, listen)) = self.write_bye(id, to, reason, client_id, room)
        else {
            return Ok(None);
        };
        let bye = &room[..len];
        let client = self.open_own(Method::Bye, bye, destination, listen, step.now);
        client.map(Some).ok_or(NoRoom)
    }

    /// Writes it: its length, where it goes, and from which listen.
    fn write_bye(
        &self,
        id: Id,
        to: Party,
        reason: &[u8],
        client_id: Id,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr, ListenIndex)> {
        let call = self.calls.get(id)?;
        let mut text = [0; DIALOG_LEN_MAX];
        let text = self.texts.read(call.text.as_ref()?, &mut text);
        let record = Record::read(text).filter(|record| record.reaches(to))?;
        let listen = to.listen(call.sides);
        let next_hop = record.next_hop(to)?;
        let next_hop = Uri::read(next_hop, Span::new(0, next_hop.len())).ok()?;
        let named = self.named_hop(&next_hop, listen);
        let trunk = call.sides.trunks[to as usize];
        let named = named.filter(|hop| match call.is_adopted {
            true => self.dial.trunk_with(trunk, hop.ip()).is_some(),
            false => self.dial.trunk_of(hop.ip()).is_some(),
        });
        // RFC 3261 §12.2.1.1: one more than the sender's last; its first, if it has sent none. There
        // may be none that is higher.
        let cseq = call.cseqs[to.other() as usize] + 1;
        if cseq > CSEQ_MAX {
            return None;
        }
        let destination = named.or(call.parties[to as usize].map(Endpoint::addr))?;
        let branch = self.identity.branch(Kind::Stateful, client_id, 0);
        let bye = Request {
            method: b"BYE",
            cseq,
            to,
            sent_by: self.advertised(listen).sent_by(),
            branch: &branch,
            lines: reason,
        };
        let len = bye.write(&record, out).ok()?;
        Some((len, destination, listen))
    }
}
