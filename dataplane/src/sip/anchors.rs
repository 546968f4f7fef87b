//! The tables of all calls' media: streams, offers that are not settled, and what to go
//! back to.
//!
//! ```text
//! Call.anchor ─┬─ streams[n] ──► Stream    an m= line: two legs, two peers
//!              ├─ offers ──────► Offer ──► Offer ..    newest first
//!              │                   └─► Session    what is asked for, then what was before
//!              └─ early ───────► Session ──► Session ..    early dialogs that do not play
//! ```
//!
//! A call with one stream and nothing pending has one entry here. Each entry belongs to one
//! call, which alone knows its handle.

use std::num::NonZeroU32;

use super::anchor::Anchor;
use super::anchor::Peer;
use super::anchor::Stream;
use super::call::Party;
use super::slab::Id;
use super::slab::Slab;
use crate::limits::OFFERS_PER_CALL;
use crate::limits::STREAMS_MAX;

/// An entry of a table that has one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(NonZeroU32);

impl Handle {
    fn of(id: Id) -> Option<Handle> {
        NonZeroU32::new(id.slot.wrapping_add(1)).map(Handle)
    }

    const fn slot(self) -> u32 {
        self.0.get() - 1
    }
}

/// A slab whose entries are known to their owner alone, so that no handle is ever stale.
#[derive(Debug)]
struct Table<T>(Slab<T>);

impl<T> Table<T> {
    fn put(&mut self, value: T) -> Option<Handle> {
        self.0.insert(value).and_then(Handle::of)
    }

    fn get(&self, handle: Handle) -> Option<&T> {
        self.0.get(self.0.tenant(handle.slot())?)
    }

    fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let id = self.0.tenant(handle.slot())?;
        self.0.get_mut(id)
    }

    fn take(&mut self, handle: Handle) -> Option<T> {
        let id = self.0.tenant(handle.slot())?;
        self.0.remove(id)
    }

    fn free_count(&self) -> usize {
        self.0.capacity() as usize - self.0.count()
    }
}

/// Where both parties receive each stream, by the number of its m= line and by [`Party`].
pub type Peers = [[Option<Peer>; 2]; STREAMS_MAX];

/// What carries an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// An INVITE: a reliable 18x or the 2xx answers (RFC 3261 §13.2.1, RFC 3262 §5).
    Invite,
    /// A PRACK: its 2xx answers (RFC 3262 §5).
    Prack,
    /// An UPDATE: its 2xx answers (RFC 3311 §5).
    Update,
    /// A response to an INVITE that had none: the PRACK or the ACK answers.
    Response,
}

/// How far an offer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferState {
    /// Not answered. Streams that were there before are as they were.
    Open,
    /// An unreliable provisional response has shown what the answer will be.
    Previewed,
    /// Answered; what it changed is taken back if its INVITE fails.
    Answered,
}

/// An offer (RFC 3264 §4) that may still be answered or taken back.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who made it.
    pub by: Party,
    /// In what.
    pub carrier: Carrier,
    /// CSeq of the request that carries it, or whose response does.
    pub cseq: u32,
    /// The server transaction of that request.
    pub server: Id,
    /// The callee's tag, hashed; 0 where an INVITE has no To tag yet.
    pub tag: u32,
    /// How far it has come.
    pub state: OfferState,
    /// A bit for each m= line whose ports were taken for it.
    pub fresh: u8,
    /// The server transaction of the PRACK that answered it.
    pub answered_in: Option<Id>,
    /// The streams that were there before: while it is open what it asks for, on the
    /// offerer's side, and then what was before it, on both.
    pub session: Option<Handle>,
    next: Option<Handle>,
}

impl Offer {
    /// One just made.
    #[must_use]
    pub const fn new(by: Party, carrier: Carrier, cseq: u32, server: Id, tag: u32) -> Offer {
        Offer {
            by,
            carrier,
            cseq,
            server,
            tag,
            state: OfferState::Open,
            fresh: 0,
            answered_in: None,
            session: None,
            next: None,
        }
    }

    /// Who sent the request that carries it, or whose response does.
    #[must_use]
    pub fn asker(&self) -> Party {
        match self.carrier {
            Carrier::Response => self.by.other(),
            Carrier::Invite | Carrier::Prack | Carrier::Update => self.by,
        }
    }

    /// True where the ports of m= line `number` were taken for it.
    #[must_use]
    pub const fn is_fresh(&self, number: usize) -> bool {
        self.fresh & (1 << number) != 0
    }
}

/// Where the parties receive, put aside.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where both receive each stream.
    pub peers: Peers,
    /// Of an early dialog: the callee's tag, hashed.
    pub tag: u32,
    /// Of an early dialog: how far the INVITE's offer has come in it.
    pub state: OfferState,
    next: Option<Handle>,
}

impl Session {
    /// What was agreed in the early dialog of `tag`, or what is put aside for an offer.
    #[must_use]
    pub const fn new(peers: Peers, tag: u32, state: OfferState) -> Session {
        Session {
            peers,
            tag,
            state,
            next: None,
        }
    }
}

/// The media of all calls of a worker.
#[derive(Debug)]
pub struct Anchors {
    streams: Table<Stream>,
    offers: Table<Offer>,
    sessions: Table<Session>,
}

impl Anchors {
    /// Room for the media of so many calls: a quarter of them may have a second stream, and
    /// an eighth may renegotiate at a time. A call that is ringing has one offer.
    #[must_use]
    pub fn new(calls: u32) -> Anchors {
        let [streams, offers, sessions] = counts(calls);
        Anchors {
            streams: Table(Slab::new(streams)),
            offers: Table(Slab::new(offers)),
            sessions: Table(Slab::new(sessions)),
        }
    }

    /// Bytes of these tables for each call.
    #[must_use]
    pub fn bytes_per_call(calls: u32) -> usize {
        let [streams, offers, sessions] = counts(calls).map(|count| count as usize);
        let bytes = streams * Slab::<Stream>::SLOT_LEN
            + offers * Slab::<Offer>::SLOT_LEN
            + sessions * Slab::<Session>::SLOT_LEN;
        bytes / (calls as usize).max(1)
    }

    /// True where so many streams of a call, `answered` or not, an offer and, if it `moves` streams
    /// that are there, what to go back to find room; `replaced` is the offer in whose place it comes.
    #[must_use]
    pub fn has_room(
        &self,
        answered: bool,
        stream_count: usize,
        moves: bool,
        replaced: Option<Handle>,
    ) -> bool {
        let replaced = replaced.and_then(|replaced| self.offer(replaced));
        let session = replaced.and_then(|replaced| replaced.session);
        self.streams.free_count() >= stream_count
            && (replaced.is_some() || self.offers.free_count() > 0)
            && (!moves || session.is_some() || self.has_session(answered))
    }

    /// True where a call, `answered` or not, may put one more session aside. Those that are not answered yet leave a
    /// half of all to those that are: ringing takes as long as somebody likes.
    fn has_session(&self, answered: bool) -> bool {
        let free = self.sessions.free_count();
        let spared = match answered {
            true => 0,
            false => self.sessions.0.capacity() as usize / 2,
        };
        free > spared
    }

    /// How many entries there are in all: none where there is no call.
    #[must_use]
    pub fn count(&self) -> usize {
        self.streams.0.count() + self.offers.0.count() + self.sessions.0.count()
    }

    /// How many of them are this call's.
    #[must_use]
    pub fn held(&self, anchor: &Anchor) -> usize {
        let sessions = self
            .offers(anchor)
            .filter(|(_, offer)| offer.session.is_some());
        let offers = self.offers(anchor).count() + sessions.count();
        self.streams(anchor).count() + offers + self.early(anchor).count()
    }

    /// The streams of a call, in the order of their m= lines.
    pub fn streams(&self, anchor: &Anchor) -> impl Iterator<Item = &Stream> {
        let handles = anchor.streams.into_iter().flatten();
        handles.filter_map(|handle| self.streams.get(handle))
    }

    /// The stream of m= line `number`.
    #[must_use]
    pub fn stream(&self, anchor: &Anchor, number: usize) -> Option<&Stream> {
        self.streams.get((*anchor.streams.get(number)?)?)
    }

    /// The stream of m= line `number`.
    pub fn stream_mut(&mut self, anchor: &Anchor, number: usize) -> Option<&mut Stream> {
        self.streams.get_mut((*anchor.streams.get(number)?)?)
    }

    /// Enters the stream of m= line `number`, which has none: room was looked for before.
    pub fn put_stream(&mut self, anchor: &mut Anchor, number: usize, stream: Stream) {
        debug_assert!(anchor.streams[number].is_none(), "the m= line has a stream");
        anchor.streams[number] = self.streams.put(stream);
    }

    /// Takes the stream of m= line `number` out.
    pub fn take_stream(&mut self, anchor: &mut Anchor, number: usize) -> Option<Stream> {
        self.streams.take(anchor.streams.get_mut(number)?.take()?)
    }

    /// Where both parties receive each stream now.
    #[must_use]
    pub fn peers(&self, anchor: &Anchor) -> Peers {
        let mut peers = [[None; 2]; STREAMS_MAX];
        for (number, peers) in peers.iter_mut().enumerate() {
            if let Some(stream) = self.stream(anchor, number) {
                *peers = stream.peers;
            }
        }
        peers
    }

    /// Has both parties receive each stream there.
    pub fn set_peers(&mut self, anchor: &Anchor, peers: &Peers) {
        for (number, peers) in peers.iter().enumerate() {
            if let Some(stream) = self.stream_mut(anchor, number) {
                stream.restore(*peers);
            }
        }
    }

    /// A call's offers, the newest first, and their handles.
    pub fn offers(&self, anchor: &Anchor) -> impl Iterator<Item = (Handle, &Offer)> {
        let entry = |handle: Handle| Some((handle, self.offers.get(handle)?));
        std::iter::successors(anchor.offers.and_then(entry), move |(_, offer)| {
            offer.next.and_then(entry)
        })
    }

    /// An offer.
    #[must_use]
    pub fn offer(&self, handle: Handle) -> Option<&Offer> {
        self.offers.get(handle)
    }

    /// An offer.
    pub fn offer_mut(&mut self, handle: Handle) -> Option<&mut Offer> {
        self.offers.get_mut(handle)
    }

    /// Enters an offer, for which room was looked for before.
    pub fn put_offer(&mut self, anchor: &mut Anchor, mut offer: Offer) {
        offer.next = anchor.offers;
        anchor.offers = self.offers.put(offer).or(anchor.offers);
    }

    /// Takes an offer out, and what it keeps.
    pub fn take_offer(&mut self, anchor: &mut Anchor, handle: Handle) -> Option<(Offer, Peers)> {
        let next = self.offers.get(handle)?.next;
        if anchor.offers == Some(handle) {
            anchor.offers = next;
        } else {
            let before = self
                .offers(anchor)
                .find(|(_, offer)| offer.next == Some(handle));
            let before = before.map(|(before, _)| before)?;
            self.offers.get_mut(before)?.next = next;
        }
        let offer = self.offers.take(handle)?;
        let session = offer
            .session
            .and_then(|session| self.sessions.take(session));
        Some((
            offer,
            session.map_or([[None; 2]; STREAMS_MAX], |session| session.peers),
        ))
    }

    /// Puts a session aside.
    pub fn put_session(&mut self, session: Session) -> Option<Handle> {
        self.sessions.put(session)
    }

    /// A session put aside.
    pub fn session_mut(&mut self, handle: Handle) -> Option<&mut Session> {
        self.sessions.get_mut(handle)
    }

    /// The early dialogs of a call that do not play, and their handles.
    pub fn early(&self, anchor: &Anchor) -> impl Iterator<Item = (Handle, &Session)> {
        let entry = |handle: Handle| Some((handle, self.sessions.get(handle)?));
        std::iter::successors(anchor.early.and_then(entry), move |(_, session)| {
            session.next.and_then(entry)
        })
    }

    /// Puts an early dialog aside. False where there is no room.
    pub fn put_early(&mut self, anchor: &mut Anchor, mut session: Session) -> bool {
        let known = self
            .early(anchor)
            .find(|(_, known)| known.tag == session.tag);
        if let Some(known) = known.map(|(handle, _)| handle) {
            if let Some(known) = self.sessions.get_mut(known) {
                session.next = known.next;
                *known = session;
            }
            return true;
        }
        if self.early(anchor).count() >= OFFERS_PER_CALL || !self.has_session(false) {
            return false;
        }
        session.next = anchor.early;
        let put = self.sessions.put(session);
        anchor.early = put.or(anchor.early);
        put.is_some()
    }

    /// Forgets the early dialogs: one of them has become the call's.
    pub fn forget_early(&mut self, anchor: &mut Anchor) {
        let mut next = anchor.early.take();
        while let Some(session) = next.and_then(|handle| self.sessions.take(handle)) {
            next = session.next;
        }
    }
}

/// How many streams, offers and sessions there are for so many calls.
#[allow(clippy::cast_possible_truncation)] // A handful.
fn counts(calls: u32) -> [u32; 3] {
    let few = OFFERS_PER_CALL as u32;
    [calls + calls / 4 + few, calls + few, calls / 8 + few]
}

// A call with one stream, as most are: what its media costs beside the flow table.
const _: () = assert!(size_of::<Stream>() <= 128 && size_of::<Offer>() <= 48);

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(cseq: u32) -> Offer {
        Offer::new(Party::Caller, Carrier::Update, cseq, Id::new(0, 0), 1)
    }

    fn cseqs(anchors: &Anchors, anchor: &Anchor) -> Vec<u32> {
        anchors
            .offers(anchor)
            .map(|(_, offer)| offer.cseq)
            .collect()
    }

    #[test]
    fn offers_are_taken_out_wherever_they_stand_with_what_they_keep() {
        let (mut anchors, mut anchor) = (Anchors::new(8), Anchor::default());
        for cseq in 1..=3 {
            let kept = Session::new([[None; 2]; STREAMS_MAX], cseq, OfferState::Open);
            let session = anchors.put_session(kept);
            anchors.put_offer(
                &mut anchor,
                Offer {
                    session,
                    ..offer(cseq)
                },
            );
        }
        assert_eq!(cseqs(&anchors, &anchor), [3, 2, 1]);
        assert_eq!((anchors.count(), anchors.held(&anchor)), (6, 6));
        for (cseq, left) in [(2, &[3, 1][..]), (3, &[1]), (1, &[])] {
            let found = anchors
                .offers(&anchor)
                .find(|(_, offer)| offer.cseq == cseq);
            let (handle, _) = found.unwrap();
            assert!(anchors.take_offer(&mut anchor, handle).is_some());
            assert_eq!(cseqs(&anchors, &anchor), left);
        }
        assert_eq!(anchors.count(), 0);
    }

    #[test]
    fn room_ends_with_the_tables() {
        let (mut anchors, mut anchor) = (Anchors::new(0), Anchor::default());
        assert!(anchors.has_room(false, OFFERS_PER_CALL, true, None));
        assert!(!anchors.has_room(false, OFFERS_PER_CALL + 1, true, None));
        let session = || Session::new([[None; 2]; STREAMS_MAX], 0, OfferState::Open);
        // Those that ring leave a half to those that are answered.
        while anchors.has_room(false, 0, true, None) {
            assert!(anchors.put_session(session()).is_some());
        }
        assert!(!anchors.put_early(&mut anchor, session()));
        assert_eq!(anchors.count(), OFFERS_PER_CALL / 2);
        assert!(anchors.has_room(true, 0, true, None));
        let last = anchors.put_session(session());
        while anchors.put_session(session()).is_some() {}
        assert!(anchors.has_room(true, 1, false, None));
        assert!(!anchors.has_room(true, 1, true, None));
        for cseq in 0..4 {
            let session = last.filter(|_| cseq == 0);
            let offer = offer(cseq);
            anchors.put_offer(&mut anchor, Offer { session, ..offer });
        }
        assert!(!anchors.has_room(true, 0, false, None));
        // One that is said again takes its own place.
        let [newest, .., oldest] = [3, 2, 1, 0].map(|cseq| {
            let mut offers = anchors.offers(&anchor);
            offers.find(|(_, offer)| offer.cseq == cseq).unwrap().0
        });
        assert!(anchors.has_room(true, 0, false, Some(newest)));
        assert!(!anchors.has_room(true, 0, true, Some(newest)));
        assert!(anchors.has_room(true, 0, true, Some(oldest)));
    }

    #[test]
    fn early_dialogs_are_kept_once_each_and_no_more_than_a_few() {
        let (mut anchors, mut anchor) = (Anchors::new(64), Anchor::default());
        let early = |tag, state| Session::new([[None; 2]; STREAMS_MAX], tag, state);
        for tag in (1..=4).chain(1..=4) {
            assert!(anchors.put_early(&mut anchor, early(tag, OfferState::Answered)));
        }
        assert!(!anchors.put_early(&mut anchor, early(5, OfferState::Open)));
        assert!(anchors.put_early(&mut anchor, early(2, OfferState::Previewed)));
        let mut known = anchors.early(&anchor);
        let two = known.find(|(_, early)| early.tag == 2).unwrap().1;
        assert_eq!(two.state, OfferState::Previewed);
        drop(known);
        assert_eq!(anchors.count(), OFFERS_PER_CALL);
        anchors.forget_early(&mut anchor);
        assert_eq!(anchors.count(), 0);
    }

    #[test]
    fn the_media_of_a_call_costs_a_quarter_of_a_kilobyte() {
        let bytes = Anchors::bytes_per_call(100_000);
        assert!(bytes <= 288, "{bytes} bytes");
        assert!(size_of::<Anchor>() <= 48);
    }
}
