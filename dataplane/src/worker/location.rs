//! Contacts of users on their way between workers, control and the location store.

use super::Worker;
use crate::counters::Counter;
use crate::limits::LETTERS_PER_TURN;
use crate::mailbox::Mail;
use crate::mailbox::Report;
use crate::ring::Rings;
use crate::sip::effects::Locate;
use crate::sip::proxy::FOUND_LEN_MAX;
use crate::sip::proxy::Step;
use crate::sip::registrar::Letter;
use crate::tick::Tick;

impl<R: Rings> Worker<R> {
    /// Takes up a mail that says where users are, or asks.
    #[allow(clippy::needless_pass_by_value)] // It has been taken out of the mailbox.
    pub(super) fn take_up_location(&mut self, inbox: usize, mail: Mail, now: Tick) {
        match mail {
            Mail::Locate(of) => self.locate(&of, now),
            Mail::Located { ticket, len } => {
                let len = self.post.inboxes[inbox].take_bytes(len, &mut self.letter);
                let found = &self.letter[..len];
                self.proxy.located(ticket, found, &mut self.counters);
            }
            Mail::Unlocated { ticket } => self.proxy.unlocated(ticket),
            Mail::Bound(letter) => self.take_bound(inbox, &letter, now),
            Mail::Unbound(letter) => self.take_unbound(inbox, &letter),
            Mail::Sought { of, answered } => self.sought(&of, answered, now),
            Mail::Loading => self.proxy.loading(now),
            Mail::Loaded => self.proxy.loaded(),
            _ => {}
        }
    }

    /// Answers another worker that asks for the contacts of a user that we keep, now or when the location
    /// store has said what it has.
    fn locate(&mut self, of: &Locate, now: Tick) {
        let mut room = [0; FOUND_LEN_MAX];
        let len = self.proxy.contacts_of(of.aor, now, &mut room);
        if self.proxy.may_be_stored(of.aor, len > 0, now) {
            return self.seek(of, now);
        }
        self.tell_located(of, &room[..len]);
    }

    /// Has the location store be asked.
    pub(super) fn seek(&mut self, of: &Locate, now: Tick) {
        self.counters.count(Counter::LocationQuestions);
        if self.post.reports.send(Report::Seek(*of)).is_err() {
            self.counters.count(Counter::ReportsLost);
            self.sought(of, false, now);
        }
    }

    /// The location store has told what it has of a user, or cannot.
    fn sought(&mut self, of: &Locate, answered: bool, now: Tick) {
        let mut room = [0; FOUND_LEN_MAX];
        match self.proxy.sought(of.aor, answered, now, &mut room) {
            0 if !answered => self.tell_unlocated(of),
            len => self.tell_located(of, &room[..len]),
        }
    }

    fn tell_located(&mut self, of: &Locate, contacts: &[u8]) {
        if of.asker == self.proxy.worker() {
            return self.proxy.located(of.ticket, contacts, &mut self.counters);
        }
        let outbox = self.post.outboxes.get_mut(usize::from(of.asker.0));
        let posted = outbox
            .and_then(Option::as_mut)
            .is_some_and(|outbox| outbox.post_located(of.ticket, contacts));
        if !posted {
            self.counters.count(Counter::QuestionMailsLost);
        }
    }

    fn tell_unlocated(&mut self, of: &Locate) {
        let ticket = of.ticket;
        if of.asker == self.proxy.worker() {
            self.proxy.unlocated(ticket);
        } else {
            self.mail(of.asker, Mail::Unlocated { ticket });
        }
    }

    /// Takes a binding that the location store has.
    fn take_bound(&mut self, inbox: usize, letter: &Letter, now: Tick) {
        let len = self.take_texts(inbox, letter);
        let record = letter.record(&self.letter[..len]);
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        self.proxy.restore(&record, &mut step);
        self.carry_out(now);
    }

    /// Takes out a binding that was removed at another box.
    fn take_unbound(&mut self, inbox: usize, letter: &Letter) {
        let len = self.take_texts(inbox, letter);
        let record = letter.record(&self.letter[..len]);
        self.proxy.withdraw(&record, &mut self.counters);
    }

    fn take_texts(&mut self, inbox: usize, letter: &Letter) -> usize {
        let len = u16::try_from(letter.len()).unwrap_or(u16::MAX);
        self.post.inboxes[inbox].take_bytes(len, &mut self.letter)
    }

    /// Tells control what has changed of the bindings, as much as there is room for, and no more than takes
    /// a few microseconds.
    pub(super) fn tell_bindings(&mut self) -> bool {
        if self.proxy.bindings_to_tell() == 0 {
            // Without a look at the ring, which is another core's as well.
            return false;
        }
        let letters = &mut self.post.letters;
        let was_half_full = letters.is_half_full();
        let mut told = 0;
        while told < LETTERS_PER_TURN && self.proxy.tell_binding(letters) {
            told += 1;
        }
        self.counters.add(Counter::BindingsTold, told as u64);
        // It looks by itself ten times a second; a storm fills the ring before.
        if letters.is_half_full() && !was_half_full {
            self.post.ring_control();
        }
        told > 0
    }
}
