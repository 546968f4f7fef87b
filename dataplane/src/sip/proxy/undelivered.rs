//! Requests that ICMP could not deliver (RFC 3261 §17.1.4, §18.4, §16.9).

use std::net::IpAddr;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::ClientState;
use crate::sip::undelivered::Undelivered;
use crate::sip::undelivered::Why;

/// What the caller is told: a 503 of the next hop's would be true of that hop alone, so that
/// RFC 3261 §16.7 step 6 has us send a 500 in its place.
const TRANSPORT_ERROR: u16 = 500;

/// RFC 5626 §5.3.1: the same of a phone's flow, so that its registrar may try another one.
pub(super) const FLOW_FAILED: u16 = 430;

impl Proxy {
    /// Takes up what ICMP said of a request of ours. Control has verified the branch.
    pub fn undelivered(&mut self, what: &Undelivered, step: &mut Step<'_>) {
        debug_assert!(
            step.effects.is_empty(),
            "the effects of the last input are still there"
        );
        self.splices.clear();
        let Some(id) = self.waiting_client(what) else {
            step.counters.count(Counter::IcmpLate);
            return;
        };
        match what.why {
            Why::Unreachable => {
                step.counters.count(Counter::TransportErrors);
                let status = match self.is_by_flow(what.destination.ip()) {
                    true => FLOW_FAILED,
                    false => TRANSPORT_ERROR,
                };
                self.give_up(id, status, step);
                self.end_client(id);
            }
            Why::TooLarge => self.send_in_fragments(id, step),
        }
    }

    /// True for an address of no trunk's where phones register elsewhere: one of theirs.
    fn is_by_flow(&self, destination: IpAddr) -> bool {
        let mut domains = self.domains.iter();
        domains.any(|domain| domain.upstream.is_some()) && self.dial.trunk_of(destination).is_none()
    }

    /// The transaction whose request this is, if it went there and nothing was heard yet: who
    /// has answered an INVITE has it (RFC 3261 §17.1.1.2 figure 5).
    fn waiting_client(&self, what: &Undelivered) -> Option<Id> {
        let id = self.client_of(what.branch, what.method)?;
        let client = self.clients.get(id)?;
        let waits = match client.method {
            Method::Invite => client.state == ClientState::Calling,
            _ => client.is_pending(),
        };
        (waits && client.destination == what.destination.into()).then_some(id)
    }

    /// Has the kernel send the request again, which knows by now what the way takes.
    fn send_in_fragments(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut client.by_kernel, true) {
            // The kernel's own fragments were too large still: it learns, the timer repeats.
            step.counters.count(Counter::IcmpLate);
            return;
        }
        step.counters.count(Counter::PathMtuErrors);
        self.resend_request(id, step);
    }
}
