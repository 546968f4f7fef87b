//! Captures and samples: what the operator sees of the packets as they pass.

use super::Worker;
use crate::capture::Captures;
use crate::capture::Direction;
use crate::capture::Layer;
use crate::capture::Order;
use crate::capture::Tap;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::frame::Frame;
use crate::ids::InterfaceIndex;
use crate::limits::CAPTURE_MEDIA_SNAP;
use crate::limits::CAPTURES;
use crate::limits::SLOTS_PER_TURN;
use crate::mailbox::Mail;
use crate::mailbox::Report;
use crate::media::CallRef;
use crate::media::FlowChange;
use crate::ring::Rings;
use crate::samples::Samples;
use crate::sip::message::Message;
use crate::sip::proxy::Step;
use crate::tick::Tick;
use crate::wire::Datagram;

/// A SIP message as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    /// The UDP payload.
    pub message: &'a [u8],
    /// The packet to capture it as; none where another worker has done that.
    pub packet: Option<(Layer, &'a [u8])>,
}

impl Heard<'_> {
    /// Copies the message to whoever wants it.
    pub fn capture(self, message: &Message<'_>, tap: &mut Tap, step: &mut Step<'_>) {
        tap.hear(message);
        if let (false, Some((layer, packet))) = (tap.heard().is_empty(), self.packet) {
            let (captures, len) = (tap.heard(), packet.len());
            if !tap.copy(captures, step.now, Direction::In, layer, packet, len) {
                step.counters.count(Counter::CapturesLost);
            }
        }
    }
}

/// Copies a message that leaves to whoever wants it.
pub(super) fn capture_sent(
    message: &[u8],
    (layer, packet): (Layer, &[u8]),
    tap: &mut Tap,
    counters: &mut Counters,
    now: Tick,
) {
    // A second look at the whole message: only while somebody watches.
    let captures = Message::scan(message).map_or(Captures::default(), |sent| tap.wanting(&sent));
    if !captures.is_empty() && !tap.copy(captures, now, Direction::Out, layer, packet, packet.len())
    {
        counters.count(Counter::CapturesLost);
    }
}

impl<R: Rings> Worker<R> {
    pub(super) fn begin_capture(&mut self, order: Box<Order>) {
        if let Some(before) = self.post.tap.begin(order) {
            self.give_back(before);
        }
    }

    pub(super) fn end_capture(&mut self, id: u32) {
        if let Some(order) = self.post.tap.end(id) {
            self.give_back(order);
        }
    }

    /// Ends the captures whose time has come.
    pub(super) fn end_captures(&mut self, now: Tick) {
        while let Some(order) = self.post.tap.expire(now) {
            self.give_back(order);
        }
    }

    fn give_back(&mut self, order: Box<Order>) {
        // Without room the box is freed here: that is slow once, but loses nothing. Control
        // waits for it no longer than the capture lasts.
        let _ = self.post.reports.send(Report::CaptureOver(order));
    }

    /// Where the message just taken up is captured and opens flows: their call's media is
    /// wanted, here and by every other worker.
    pub(super) fn tell_captured_call(&mut self) {
        let captures = self.post.tap.take_heard();
        let opened = self.effects.flows().iter().find_map(|change| match change {
            FlowChange::Open(spec) => Some(spec.call),
            FlowChange::Close { .. } => None,
        });
        if let (false, Some(call)) = (captures.is_empty(), opened) {
            self.capture_call(captures, call);
        }
    }

    fn capture_call(&mut self, captures: Captures, call: CallRef) {
        for slot in 0..CAPTURES {
            let Some(order) = self.post.tap.add_call(captures, slot, call) else {
                continue;
            };
            for outbox in self.post.outboxes.iter_mut().flatten() {
                if !outbox.post_in_order(Mail::CaptureCall { order, call }) {
                    self.counters.count(Counter::FlowMailsLost);
                }
            }
        }
    }

    /// Holds the calls that were up before a capture against it, a bounded number a turn.
    /// False where there is nothing left to look at.
    pub(super) fn seek_captured_calls(&mut self) -> bool {
        for looked in 0..SLOTS_PER_TURN {
            let Some(slot) = self.post.tap.walk(self.proxy.call_slots()) else {
                return looked > 0;
            };
            let Some((call, known)) = self.proxy.call_in(slot) else {
                continue;
            };
            let tap = &self.post.tap;
            let captures = tap.wanting_call(&known.call_id, &known.from, &known.to);
            self.capture_call(captures, call);
        }
        true
    }

    /// Copies a media packet's headers as it came, and says who wants it.
    pub(super) fn capture_media(
        &mut self,
        frame: &Frame,
        interface: InterfaceIndex,
        datagram: &Datagram,
        now: Tick,
    ) -> Captures {
        let tap = &mut self.post.tap;
        let captures = self.flows.calls_on(datagram.dst());
        let captures = captures.map_or(Captures::default(), |[first, last]| {
            tap.wanting_media(first).with(tap.wanting_media(last))
        });
        if !captures.is_empty() {
            self.copy_media(captures, Direction::In, frame, interface, now);
        }
        captures
    }

    /// Copies a media packet's headers to whoever wants it.
    pub(super) fn copy_media(
        &mut self,
        captures: Captures,
        direction: Direction,
        frame: &Frame,
        interface: InterfaceIndex,
        now: Tick,
    ) {
        let (layer, bytes) = (Layer::Frame(interface), self.rings.bytes(frame));
        let tap = &mut self.post.tap;
        if !tap.copy(captures, now, direction, layer, bytes, CAPTURE_MEDIA_SNAP) {
            self.counters.count(Counter::CapturesLost);
        }
    }

    /// Takes an empty set of samples and hands the full one over.
    pub(super) fn hand_over_samples(&mut self, empty: Box<Samples>) {
        let full = self.stopwatch.exchange(empty);
        // As above: freed here where there is no room, and control lends a new one.
        let _ = self.post.reports.send(Report::Samples(full));
    }
}
