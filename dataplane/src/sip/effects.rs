//! What one input to the SIP core causes: messages to send, flows to change, questions to ask.
//!
//! The caller owns the buffer. The contract: give one input, carry out all effects,
//! clear, then give the next.

use std::net::SocketAddr;
use std::ops::Range;

use crate::ids::ListenIndex;
use crate::ids::WorkerId;
use crate::limits::FLOWS_PER_INPUT;
use crate::limits::QUESTIONS_PER_INPUT;
use crate::limits::SENDS_PER_INPUT;
use crate::limits::SIP_LEN_MAX;
use crate::media::FlowChange;
use crate::sip::digest::nonce::Nonce;
use crate::sip::guard::Word;
use crate::sip::places::Seek;
use crate::sip::slab::Id;
use crate::sip::subscriber::Subscriber;
use crate::sys::memory::bytes;
use crate::sys::memory::list;
use crate::tick::Tick;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// To whom.
    pub to: SocketAddr,
    /// From which listen.
    pub listen: ListenIndex,
    /// True where the kernel is to send it, since the way takes no packet of its size.
    pub by_kernel: bool,
    /// Where its bytes are, see [`Effects::bytes`].
    at: Range<usize>,
}

/// A question whose answer comes by mail, or not in time.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// What does the store say of a subscriber?
    Store {
        /// Names the answer; `None` where nobody waits for it.
        question: Option<Id>,
        /// Who is asked about.
        who: Subscriber,
    },
    /// Has a nonce of another worker been used so often already?
    Nonce {
        /// The worker that made it.
        maker: WorkerId,
        /// The use.
        of: NonceUse,
    },
    /// How is a user reached whose contacts another worker keeps?
    Contacts {
        /// The worker that keeps them.
        keeper: WorkerId,
        /// Who asks, and for whom.
        of: Locate,
    },
    /// May a subscriber have one more call? Of who keeps their number.
    Place(Seek),
    /// Tell another worker of a source; where `to` is `None`, every other.
    Guard {
        /// Who is told.
        to: Option<WorkerId>,
        /// What.
        word: Word,
    },
    /// Has the location store contacts of a user, whom the worker that is to keep them does not know?
    Seek(Locate),
}

/// A question for the contacts of a user, told to the worker that keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Locate {
    /// Who is to be told.
    pub asker: WorkerId,
    /// The asker's ticket.
    pub ticket: Id,
    /// The key of the address of record.
    pub aor: u64,
    /// Whose that is.
    pub who: Subscriber,
}

/// A use of a nonce by a client that knows the password, told to the worker that made it.
#[derive(Clone, Copy, Debug)]
pub struct NonceUse {
    /// Who is to be told what it was.
    pub asker: WorkerId,
    /// The asker's ticket.
    pub ticket: Id,
    /// The nonce.
    pub nonce: Nonce,
    /// Its count.
    pub nc: u32,
    /// By which the request is known from others.
    pub transaction: u64,
}

/// Where a user has registered, told to the worker that owns the source.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The source's key.
    pub flow: u64,
    /// Until when there is a binding.
    pub until: Tick,
}

/// The effects of one input.
#[derive(Debug)]
pub struct Effects {
    arena: Box<[u8]>,
    used: usize,
    sends: Vec<Send>,
    flows: Vec<FlowChange>,
    questions: Vec<Question>,
    heard: Option<(WorkerId, Heard)>,
}

impl Default for Effects {
    fn default() -> Self {
        Effects {
            arena: bytes(SENDS_PER_INPUT * (SIP_LEN_MAX + 1)),
            used: 0,
            sends: list(SENDS_PER_INPUT),
            flows: list(FLOWS_PER_INPUT),
            questions: list(QUESTIONS_PER_INPUT),
            heard: None,
        }
    }
}

impl Effects {
    /// Room for the next message.
    pub fn room(&mut self) -> &mut [u8] {
        let end = (self.used + SIP_LEN_MAX).min(self.arena.len());
        &mut self.arena[self.used..end]
    }

    /// Sends the `len` bytes just written to [`Effects::room`]; gives them back to be kept.
    ///
    /// # Panics
    /// If one input causes more than `SENDS_PER_INPUT` messages: a bug of ours.
    pub fn send(&mut self, len: usize, to: SocketAddr, listen: ListenIndex) -> &[u8] {
        assert!(
            self.sends.len() < SENDS_PER_INPUT,
            "one input sends too many messages"
        );
        let at = self.used..self.used + len;
        self.used = at.end;
        self.sends.push(Send {
            to,
            listen,
            by_kernel: false,
            at: at.clone(),
        });
        &self.arena[at]
    }

    /// Sends a copy of `message`.
    pub fn send_copy(&mut self, message: &[u8], to: SocketAddr, listen: ListenIndex) {
        self.room()[..message.len()].copy_from_slice(message);
        self.send(message.len(), to, listen);
    }

    /// The last message.
    #[must_use]
    pub fn last(&self) -> Option<&[u8]> {
        self.sends.last().map(|send| self.bytes(send))
    }

    /// Has the kernel send the last message.
    pub fn last_by_kernel(&mut self) {
        if let Some(last) = self.sends.last_mut() {
            last.by_kernel = true;
        }
    }

    /// Changes a flow.
    ///
    /// # Panics
    /// If one input changes more than `FLOWS_PER_INPUT` flows: a bug of ours.
    pub fn flow(&mut self, change: FlowChange) {
        assert!(
            self.flows.len() < FLOWS_PER_INPUT,
            "one input changes too many flows"
        );
        self.flows.push(change);
    }

    /// Asks something.
    ///
    /// # Panics
    /// If one input asks more than `QUESTIONS_PER_INPUT` things: a bug of ours.
    pub fn ask(&mut self, question: Question) {
        assert!(
            self.questions.len() < QUESTIONS_PER_INPUT,
            "one input asks too many things"
        );
        self.questions.push(question);
    }

    /// Tells another worker where a user has registered: once for an input.
    pub fn tell_heard(&mut self, owner: WorkerId, heard: Heard) {
        self.heard = Some((owner, heard));
    }

    /// What is to be told to whom of that.
    #[must_use]
    pub const fn heard(&self) -> Option<(WorkerId, Heard)> {
        self.heard
    }

    /// The questions to ask.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The messages to send, in order.
    #[must_use]
    pub fn sends(&self) -> &[Send] {
        &self.sends
    }

    /// The flow changes, to be carried out before the first message is sent.
    #[must_use]
    pub fn flows(&self) -> &[FlowChange] {
        &self.flows
    }

    /// A message's bytes.
    #[must_use]
    pub fn bytes(&self, send: &Send) -> &[u8] {
        &self.arena[send.at.clone()]
    }

    /// Forgets all effects, once they have been carried out.
    pub fn clear(&mut self) {
        self.used = 0;
        self.sends.clear();
        self.flows.clear();
        self.questions.clear();
        self.heard = None;
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_silent = self.questions.is_empty() && self.heard.is_none();
        self.sends.is_empty() && self.flows.is_empty() && is_silent
    }
}
