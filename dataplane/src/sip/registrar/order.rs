//! In which order REGISTERs take effect, however they arrive (RFC 3261 §10.3 step 6 and step 7).
//!
//! A repetition changes nothing and is answered as before, though no server transaction absorbs it
//! (RFC 3261 §17.2.2). It is known by the binding that it made; where it made none, or somebody else
//! has that now, it is remembered for 64·T1.

use super::Register;
use super::Registrar;
use super::binding::Binding;
use super::refusal::Refusal;
use crate::limits::T1_64_MS;
use crate::sip::header::HeaderName;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// For how long a request may come again, in nanoseconds.
const T1_64_NS: u64 = T1_64_MS * 1_000_000;

/// By what a REGISTER is put in order, and known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its Call-ID, hashed.
    pub(super) call_id: u64,
    /// What it was the last one with.
    pub(super) last: Last,
}

/// The last REGISTER of a Call-ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) cseq: u32,
    pub(super) transaction: u64,
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It fails.
    Refused(Refusal),
    /// It has been done before.
    Repeated,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl Registrar {
    /// Whether a binding was made by this very REGISTER.
    pub(super) fn has_made(&self, mark: Mark, id: Id) -> bool {
        let binding = self.bindings.slab.get(id);
        binding.is_some_and(|binding| binding.mark() == mark)
    }

    /// Whether a REGISTER has been done before, or asks for nothing but to be told: it changes nothing.
    pub fn changes_nothing(&self, request: &Register<'_, '_>, now: Tick) -> bool {
        request.message.field(HeaderName::Contact).is_none() || self.has_done(request, now)
    }

    /// Whether a REGISTER has been done before, and no later one has undone it.
    pub fn has_done(&self, request: &Register<'_, '_>, now: Tick) -> bool {
        let (aor, mark) = (request.aor.key, self.mark(request));
        let is_live = |id: &Id| self.due(id.slot).is_some_and(|due| due > now);
        let mut ids = self.bindings.of(aor).all().filter(is_live);
        ids.any(|id| self.has_made(mark, id))
            || self.undone.get(aor ^ mark.call_id, now) == Some(mark.last)
    }

    /// Whether a REGISTER may change a binding, or add one where there is none: not if one that was
    /// sent later has done so.
    pub(super) fn in_order(
        &self,
        aor: u64,
        mark: Mark,
        binding: Option<Id>,
        now: Tick,
    ) -> Result<(), Stop> {
        let binding = binding.and_then(|id| self.bindings.slab.get(id));
        if let Some(binding) = binding
            && binding.call_id == mark.call_id
        {
            // RFC 3261 §10.3 step 7: higher than that of the binding, or the request fails.
            return match mark.last.cseq > binding.cseq {
                true => Ok(()),
                false => Err(Stop::Refused(Refusal::OutOfOrder)),
            };
        }
        match self.undone.get(aor ^ mark.call_id, now) {
            Some(last) if last == mark.last => Err(Stop::Repeated),
            Some(last) if last.cseq >= mark.last.cseq => Err(Stop::Refused(Refusal::OutOfOrder)),
            _ => Ok(()),
        }
    }

    /// Remembers a REGISTER of which no binding tells, or a later one of its Call-ID that is remembered
    /// already, for as long as either may come again.
    pub(super) fn remember(&mut self, aor: u64, mark: Mark, now: Tick) {
        let key = aor ^ mark.call_id;
        let known = self.undone.get(key, now);
        let later = known.filter(|last| last.cseq > mark.last.cseq);
        self.undone.remember(key, later.unwrap_or(mark.last), now);
    }

    /// Remembers the REGISTER that made a binding, which another is about to change: of no use where that
    /// is a later one of the same Call-ID, which will be remembered itself.
    pub(super) fn supersede(&mut self, id: Id, by: Mark, now: Tick) {
        let made_by = self.bindings.slab.get(id).map(Binding::mark);
        let is_told_of = |it: Mark| it.call_id == by.call_id && it.last.cseq <= by.last.cseq;
        if made_by.is_some_and(|it| !is_told_of(it)) {
            self.forget(id, now);
        }
    }

    /// The later one of two REGISTERs: the one that made a binding and the one that removes it, if both
    /// are of one Call-ID. One that adds contacts may put out one that was registered with a higher CSeq.
    pub(super) fn later(&self, id: Id, by: Mark) -> Mark {
        let made_by = self.bindings.slab.get(id).map(Binding::mark);
        let later = made_by.filter(|it| it.call_id == by.call_id && it.last.cseq > by.last.cseq);
        later.unwrap_or(by)
    }

    /// Remembers the REGISTER that made a binding, which is about to go.
    pub(super) fn forget(&mut self, id: Id, now: Tick) {
        let binding = self.bindings.slab.get(id);
        let Some((aor, mark, taken)) = binding.map(|it| (it.aor, it.mark(), it.taken)) else {
            return;
        };
        // What is older is not repeated any more.
        if now.since(taken) < T1_64_NS {
            self.remember(aor, mark, now);
        }
    }
}
