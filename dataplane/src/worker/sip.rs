//! A SIP datagram: whose it is, and what becomes of it there.

use super::Worker;
use super::capture::Heard;
use crate::capture::Layer;
use crate::counters::Counter;
use crate::frame::Frame;
use crate::ids::InterfaceIndex;
use crate::ids::WorkerId;
use crate::mailbox::Origin;
use crate::mailbox::SipMail;
use crate::post::WorkerPost;
use crate::ring::Rings;
use crate::samples::Stage;
use crate::samples::Stopwatch;
use crate::sip::message::Message;
use crate::sip::proxy::Arrival;
use crate::sip::proxy::Owner;
use crate::sip::proxy::Proxy;
use crate::sip::proxy::Step;
use crate::sip::scan;
use crate::stun;
use crate::tick::Tick;
use crate::wire::Datagram;

impl<R: Rings> Worker<R> {
    /// A SIP datagram off the rings: ours to take up, or another worker's.
    pub(super) fn take_up_sip(
        &mut self,
        frame: &Frame,
        interface: InterfaceIndex,
        datagram: &Datagram,
        arrival: Arrival,
        now: Tick,
    ) -> Counter {
        let packet = self.rings.bytes(frame);
        let heard = Heard {
            message: datagram.payload(packet),
            packet: Some((Layer::Frame(interface), packet)),
        };
        self.stopwatch.start();
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        let (post, stopwatch) = (&mut self.post, &mut self.stopwatch);
        let outcome = sip(&mut self.proxy, post, stopwatch, heard, arrival, &mut step);
        self.carry_out(now);
        self.stopwatch.lap(Stage::SipSend);
        outcome
    }
}

/// A SIP datagram: scanned, then taken up or mailed to its owner.
pub(super) fn sip(
    proxy: &mut Proxy,
    post: &mut WorkerPost,
    stopwatch: &mut Stopwatch,
    heard: Heard<'_>,
    arrival: Arrival,
    step: &mut Step<'_>,
) -> Counter {
    let bytes = heard.message;
    if scan::is_keepalive(bytes) {
        return Counter::SipKeepalive;
    }
    if stun::is_stun(bytes) {
        return match proxy.stun_owner(bytes, arrival) {
            Owner::Mine => proxy.stun(bytes, arrival, step),
            Owner::Nobody(outcome) => outcome,
            Owner::Other(owner) if mail(post, owner, bytes, arrival) => Counter::MailedToOwner,
            Owner::Other(_) => Counter::SipMailboxFull,
        };
    }
    let scanned = Message::scan(bytes);
    stopwatch.lap(Stage::SipScan);
    let message = match &scanned {
        Ok(message) => message,
        Err(why) => return proxy.malformed(bytes, *why, arrival, step),
    };
    if post.tap.is_on() {
        heard.capture(message, &mut post.tap, step);
    }
    let owner = match proxy.owner(message, arrival) {
        Owner::Mine => {
            let outcome = proxy.receive(message, arrival, step);
            stopwatch.lap(Stage::SipProxy);
            return outcome;
        }
        Owner::Nobody(outcome) => return outcome,
        Owner::Other(owner) => owner,
    };
    let outcome = if mail(post, owner, bytes, arrival) {
        Counter::MailedToOwner
    } else {
        proxy.refuse_unowned(message, arrival, step)
    };
    stopwatch.lap(Stage::SipProxy);
    outcome
}

/// Hands a datagram to the worker that owns it; false where its mailbox has no room.
fn mail(post: &mut WorkerPost, owner: WorkerId, bytes: &[u8], arrival: Arrival) -> bool {
    let mail = SipMail {
        source: arrival.source,
        listen: arrival.listen,
        len: 0,
        origin: Origin::Worker,
    };
    let outbox = post.outboxes.get_mut(usize::from(owner.0));
    let outbox = outbox.and_then(Option::as_mut);
    outbox.is_some_and(|outbox| outbox.post_sip(mail, bytes))
}
