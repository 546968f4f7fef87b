//! What the operator asked to see: the SIP of a call or of a user, and the headers of
//! its media, as they pass a worker.
//!
//! A capture is an [`Order`] of control's. Every worker matches each SIP message against
//! it, so that no worker has to tell another which messages belong to it. A call's media
//! carries no Call-ID: the call's owner tells the others which call it is, before the
//! message leaves that names its ports.
//!
//! What matches is copied into a ring of bytes that control reads ([`Reader`]). Where that
//! is full the copy is lost and counted; the packet itself goes its way. With no order a
//! packet costs one look at a flag.

use std::net::SocketAddr;

use rtrb::Consumer;
use rtrb::Producer;

use crate::ids::InterfaceIndex;
use crate::limits::CAPTURE_BYTES;
use crate::limits::CAPTURE_CALLS;
use crate::limits::CAPTURE_PACKETS;
use crate::limits::CAPTURES;
use crate::media::CallRef;
use crate::sip::ShortText;
use crate::sip::message::Message;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::sys::memory::ring;
use crate::tick::Tick;

/// Whose packets a capture takes.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// Those of the call with this Call-ID.
    CallId(ShortText<128>),
    /// Those of every call whose From, To or Request-URI names this user, in the case given.
    User(ShortText<64>),
}

/// A capture, as control orders it.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Names it.
    pub id: u32,
    /// Its place, below [`CAPTURES`]; free again once every worker has given the order back.
    pub slot: u8,
    /// Whose packets.
    pub wanted: Wanted,
    /// The headers of their media as well.
    pub media: bool,
    /// When it ends by itself.
    pub until: Tick,
}

/// A set of captures, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures(u8);

impl Captures {
    /// True where none is meant.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, others: Captures) -> Captures {
        Captures(self.0 | others.0)
    }

    /// True where the one in `slot` is meant.
    #[must_use]
    pub const fn has(self, slot: u8) -> bool {
        self.0 >> slot & 1 != 0
    }
}

/// Which way a packet passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the box.
    In,
    /// From the box.
    Out,
}

/// What the copied bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The Ethernet header of a frame on this interface.
    Frame(InterfaceIndex),
    /// A UDP payload that took the way over the kernel's sockets.
    Datagram {
        /// From where.
        source: SocketAddr,
        /// To where.
        destination: SocketAddr,
    },
}

/// A captured packet; its bytes are in the ring beside.
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    /// Which captures it belongs to.
    pub captures: Captures,
    /// When it passed.
    pub at: Tick,
    /// Which way.
    pub direction: Direction,
    /// What its bytes are.
    pub layer: Layer,
    /// How long it was, in bytes, of which the ring may hold the front only.
    pub wire_len: u32,
    len: u32,
}

/// Calls that are remembered for orders that have not come yet.
const EARLY: usize = CAPTURES * CAPTURE_CALLS;

#[derive(Debug, Default)]
struct Slot {
    order: Option<Box<Order>>,
    /// The calls whose media is wanted; the oldest gives way.
    calls: [Option<CallRef>; CAPTURE_CALLS],
    calls_next: usize,
    /// The next of the worker's call slots to look at, for calls that were up before.
    walk: u32,
}

impl Slot {
    fn wants_media(&self) -> bool {
        self.order.as_deref().is_some_and(|order| order.media)
    }

    /// Takes the media of `call`; gives the order where that is news.
    fn add(&mut self, call: CallRef) -> Option<u32> {
        if !self.wants_media() || self.calls.contains(&Some(call)) {
            return None;
        }
        self.calls[self.calls_next] = Some(call);
        self.calls_next = (self.calls_next + 1) % CAPTURE_CALLS;
        self.order.as_deref().map(|order| order.id)
    }
}

/// A worker's end: the orders, and the way to control.
#[derive(Debug)]
pub struct Tap {
    slots: [Slot; CAPTURES],
    /// True where there is an order, and where one wants media.
    on: bool,
    media: bool,
    /// Who wants the message that is being taken up.
    heard: Captures,
    /// Calls of captures whose order is still on its way: another worker had it before.
    early: [Option<(u32, CallRef)>; EARLY],
    early_next: usize,
    packets: Producer<Captured>,
    bytes: Producer<u8>,
}

/// Control's end.
#[derive(Debug)]
pub struct Reader {
    packets: Consumer<Captured>,
    bytes: Consumer<u8>,
}

/// Both ends, allocated and touched.
#[must_use]
pub fn tap() -> (Tap, Reader) {
    let (packets, packets_out) = ring(CAPTURE_PACKETS);
    let (bytes, bytes_out) = ring(CAPTURE_BYTES);
    let tap = Tap {
        slots: std::array::from_fn(|_| Slot::default()),
        on: false,
        media: false,
        heard: Captures::default(),
        early: [None; EARLY],
        early_next: 0,
        packets,
        bytes,
    };
    let reader = Reader {
        packets: packets_out,
        bytes: bytes_out,
    };
    (tap, reader)
}

impl Tap {
    /// True where anything is captured.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// True where media is captured.
    #[must_use]
    pub const fn takes_media(&self) -> bool {
        self.media
    }

    /// Begins a capture. Gives back what stood in its place.
    pub fn begin(&mut self, order: Box<Order>) -> Option<Box<Order>> {
        let Some(slot) = self.slots.get_mut(usize::from(order.slot)) else {
            return Some(order);
        };
        let id = order.id;
        let before = std::mem::replace(
            slot,
            Slot {
                order: Some(order),
                ..Slot::default()
            },
        );
        self.look();
        for at in 0..EARLY {
            if let Some((_, call)) = self.early[at].take_if(|(order, _)| *order == id) {
                self.learn(id, call);
            }
        }
        before.order
    }

    /// Ends the capture `id` and gives its order back.
    pub fn end(&mut self, id: u32) -> Option<Box<Order>> {
        self.take(|order| order.id == id)
    }

    /// Ends a capture whose time has come and gives its order back.
    pub fn expire(&mut self, now: Tick) -> Option<Box<Order>> {
        self.take(|order| order.until <= now)
    }

    fn take(&mut self, over: impl Fn(&Order) -> bool) -> Option<Box<Order>> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.order.as_deref().is_some_and(&over))?;
        let order = std::mem::take(slot).order;
        self.look();
        order
    }

    fn look(&mut self) {
        let orders = || self.slots.iter().filter_map(|slot| slot.order.as_deref());
        let (on, media) = (orders().next().is_some(), orders().any(|order| order.media));
        (self.on, self.media) = (on, media);
    }

    /// Notes who wants the message that is taken up now.
    pub fn hear(&mut self, message: &Message<'_>) {
        self.heard = self.wanting(message);
    }

    /// Who wants the message that is being taken up.
    #[must_use]
    pub const fn heard(&self) -> Captures {
        self.heard
    }

    /// Says who wanted it, and forgets that.
    pub fn take_heard(&mut self) -> Captures {
        std::mem::take(&mut self.heard)
    }

    /// The captures that take `message`.
    #[must_use]
    pub fn wanting(&self, message: &Message<'_>) -> Captures {
        self.matching(|wanted| match wanted {
            Wanted::CallId(id) => id.bytes() == cut::<128>(message.call_id()),
            Wanted::User(user) => {
                let uris = [
                    Some(message.from().uri),
                    Some(message.to().uri),
                    message.request_uri(),
                ];
                let is_user = |span| names(user, message.bytes(), span);
                uris.into_iter().flatten().any(is_user)
            }
        })
    }

    /// The captures that take a call that was up before them.
    #[must_use]
    pub fn wanting_call(
        &self,
        call_id: &ShortText<128>,
        from: &ShortText<96>,
        to: &ShortText<96>,
    ) -> Captures {
        self.matching(|wanted| match wanted {
            Wanted::CallId(id) => id.bytes() == call_id.bytes(),
            Wanted::User(user) => [from, to].into_iter().any(|uri| {
                let bytes = uri.bytes();
                names(user, bytes, Span::new(0, bytes.len()))
            }),
        })
    }

    /// The captures that take the media of `call`.
    #[must_use]
    pub fn wanting_media(&self, call: CallRef) -> Captures {
        let mut captures = Captures::default();
        for (bit, slot) in self.slots.iter().enumerate() {
            if slot.calls.contains(&Some(call)) {
                captures.0 |= 1 << bit;
            }
        }
        captures
    }

    fn matching(&self, takes: impl Fn(&Wanted) -> bool) -> Captures {
        let mut captures = Captures::default();
        for (bit, slot) in self.slots.iter().enumerate() {
            if slot
                .order
                .as_deref()
                .is_some_and(|order| takes(&order.wanted))
            {
                captures.0 |= 1 << bit;
            }
        }
        captures
    }

    /// Takes the media of `call` for the capture in `slot`, if `captures` says so and it wants
    /// media at all. Gives its order where that is news: the other workers must learn of it.
    pub fn add_call(&mut self, captures: Captures, slot: usize, call: CallRef) -> Option<u32> {
        let wanted = u8::try_from(slot).is_ok_and(|bit| captures.has(bit));
        let slot = self.slots.get_mut(slot).filter(|_| wanted)?;
        slot.add(call)
    }

    /// Another worker says that the capture of this order takes the media of `call`. Where the
    /// order itself has not come yet it is remembered.
    pub fn learn(&mut self, order: u32, call: CallRef) {
        let is_its = |slot: &&mut Slot| slot.order.as_ref().is_some_and(|its| its.id == order);
        if let Some(slot) = self.slots.iter_mut().find(is_its) {
            slot.add(call);
        } else {
            self.early[self.early_next] = Some((order, call));
            self.early_next = (self.early_next + 1) % EARLY;
        }
    }

    /// The next slot of `calls` that a capture with room for more calls has not been held
    /// against yet; it is then. None where there is nothing left to look at.
    pub fn walk(&mut self, calls: usize) -> Option<u32> {
        let next = self
            .slots
            .iter_mut()
            .filter(|slot| slot.wants_media() && slot.calls.contains(&None))
            .map(|slot| &mut slot.walk)
            .find(|walk| (**walk as usize) < calls)?;
        let at = *next;
        *next += 1;
        Some(at)
    }

    /// Copies the first `snap` bytes of a packet to control; false where there is no room.
    #[must_use]
    pub fn copy(
        &mut self,
        captures: Captures,
        at: Tick,
        direction: Direction,
        layer: Layer,
        packet: &[u8],
        snap: usize,
    ) -> bool {
        let front = &packet[..packet.len().min(snap)];
        if self.packets.slots() == 0 || self.bytes.slots() < front.len() {
            return false;
        }
        let captured = Captured {
            captures,
            at,
            direction,
            layer,
            wire_len: u32::try_from(packet.len()).unwrap_or(u32::MAX),
            len: u32::try_from(front.len()).unwrap_or(u32::MAX),
        };
        // There is room for both: it was looked at, and only this end takes it.
        self.bytes.push_entire_slice(front).is_ok() && self.packets.push(captured).is_ok()
    }
}

impl Reader {
    /// Takes the oldest packet; its bytes replace what was in `bytes`.
    pub fn take(&mut self, bytes: &mut Vec<u8>) -> Option<Captured> {
        let captured = self.packets.pop().ok()?;
        bytes.clear();
        let chunk = self.bytes.read_chunk(captured.len as usize).ok()?;
        let (first, second) = chunk.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        chunk.commit_all();
        Some(captured)
    }

    /// How many packets wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.packets.slots()
    }
}

fn cut<const N: usize>(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(N)]
}

/// Whether the URI at `span` names `user`.
fn names(user: &ShortText<64>, bytes: &[u8], span: Span) -> bool {
    Uri::read(bytes, span)
        .ok()
        .and_then(|uri| uri.user)
        .is_some_and(|found| cut::<64>(found.of(bytes)) == user.bytes())
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
