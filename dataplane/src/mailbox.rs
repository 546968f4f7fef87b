//! Mail between threads: bounded single-producer single-consumer rings.
//!
//! Small things travel in a typed ring. The bytes of a SIP message travel in a ring
//! of bytes beside it, written before the mail that announces them, so that whoever
//! has the mail has the bytes.

use std::net::IpAddr;
use std::net::SocketAddr;

use rtrb::Consumer;
use rtrb::Producer;

use crate::capture::Order;
use crate::ids::InterfaceIndex;
use crate::ids::ListenIndex;
use crate::media::CallRef;
use crate::media::FlowChange;
use crate::media::FlowReport;
use crate::ring::SocketStatistics;
use crate::route::Network;
use crate::samples::Samples;
use crate::sip::CallReport;
use crate::sip::Id;
use crate::sip::denials::Denial;
use crate::sip::denials::Dossier;
use crate::sip::digest::window::Use;
use crate::sip::effects::Heard;
use crate::sip::effects::Locate;
use crate::sip::effects::NonceUse;
use crate::sip::guard::BanReport;
use crate::sip::guard::Word;
use crate::sip::places::PlaceWord;
use crate::sip::registrar::Letter;
use crate::sip::registrar::Record;
use crate::sip::subscriber::Said;
use crate::sip::subscriber::Subscriber;
use crate::sip::undelivered::Undelivered;
use crate::sys::memory::ring;

/// What another thread sends to a worker.
#[derive(Debug)]
pub enum Mail {
    /// A SIP message that this worker owns; its bytes are in the byte ring.
    Sip(SipMail),
    /// ICMP could not deliver a request that this worker sent, from control.
    Undelivered(Undelivered),
    /// A media flow to open, to change or to close. Sent before any message that names its
    /// port.
    Flow(FlowChange),
    /// New links, routes and neighbours, from control.
    Network(Box<Network>),
    /// A question of the operator, from control.
    Query(Query),
    /// Copy what this asks for to control, from control.
    Capture(Box<Order>),
    /// End that capture, from control.
    CaptureEnd {
        /// The order's.
        id: u32,
    },
    /// A captured call's media is to be captured too; from its owner, before the message
    /// that names its ports.
    CaptureCall {
        /// The order of the capture that wants it.
        order: u32,
        /// The call.
        call: CallRef,
    },
    /// An empty set of samples, lent by control for the one that the worker has filled.
    Samples(Box<Samples>),
    /// The answer to a [`Report::Ask`], from control.
    Said {
        /// The question's.
        question: Option<Id>,
        /// Who was asked about.
        who: Subscriber,
        /// The answer.
        said: Said,
    },
    /// What is known of a subscriber is not true any more, from control.
    Forget(Subscriber),
    /// What is known of any subscriber may not be true any more, from control.
    Doubt,
    /// A client that knows the password has used a nonce of this worker's, from another worker.
    NonceUse(NonceUse),
    /// What that was, in answer.
    NonceUsed {
        /// The asker's ticket.
        ticket: Id,
        /// What the use was.
        used: Use,
    },
    /// How is a user reached whose contacts this worker keeps? From another worker.
    Locate(Locate),
    /// So, in answer: its contacts are in the byte ring.
    Located {
        /// The asker's ticket.
        ticket: Id,
        /// How many bytes of the byte ring are its own.
        len: u16,
    },
    /// Of the calls of a subscriber, from another worker.
    Place(PlaceWord),
    /// What is known of a source, from another worker or from control.
    Guard(Word),
    /// A user has registered from a source that this worker owns, from another worker.
    Heard(Heard),
    /// That user cannot be located now, in answer.
    Unlocated {
        /// The asker's ticket.
        ticket: Id,
    },
    /// A binding that the location store has, from control; its texts are in the byte ring.
    Bound(Letter),
    /// A binding that was removed at another box, from control, as the REGISTER was that did so; its texts
    /// are in the byte ring.
    Unbound(Letter),
    /// All that the store has for an answer to a [`Report::Seek`] has been told, from control.
    Sought {
        /// The question.
        of: Locate,
        /// False where the store gave no answer.
        answered: bool,
    },
    /// From here on all that the location store has is told, from control: at the start, and where changes
    /// may have been missed since.
    Loading,
    /// It has been told.
    Loaded,
    /// End: from control. The worker leaves its loop.
    Stop,
}

/// Where a mailed SIP message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipMail {
    /// Who sent it to us.
    pub source: SocketAddr,
    /// On which listen it arrived.
    pub listen: ListenIndex,
    /// How many bytes of the byte ring are its own.
    pub len: u16,
    /// Which way it came.
    pub origin: Origin,
}

/// Which way a mailed SIP message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Off another worker's rings.
    Worker,
    /// Through the kernel's sockets.
    Kernel,
    /// From this worker itself: its next hop was a listen of ours.
    Own,
}

/// A question of the operator to a worker.
///
/// The worker answers with reports that carry `id`, a bounded number a turn, and
/// then with [`Report::End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Names the answers.
    pub id: u32,
    /// What is asked.
    pub what: Ask,
}

/// What can be asked of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Every call that it owns.
    Calls,
    /// Every flow in its table, with its own counts.
    Flows,
    /// Every socket, with the kernel's counts.
    Sockets,
    /// Every ban, with its own counts.
    Bans,
    /// Every binding that it has, or those of this address of record alone. They go by the ring of letters.
    Bindings(Option<u64>),
    /// What it knows of one subscriber.
    Subscriber {
        /// Who.
        who: Subscriber,
        /// The key of its address of record.
        aor: u64,
    },
    /// What subscribers were last denied.
    Denials,
}

/// What a worker sends to control.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // A worker has no box to put the large ones in.
pub enum Report {
    /// A network snapshot that has been replaced, to be freed.
    Network(Box<Network>),
    /// A capture is over, and its place is free.
    CaptureOver(Box<Order>),
    /// What was sampled since the last set was handed over.
    Samples(Box<Samples>),
    /// A neighbour that we want to send to and do not know.
    Solicit {
        /// Where it should be.
        interface: InterfaceIndex,
        /// Its address.
        address: IpAddr,
    },
    /// What does the store say of this subscriber? Answered by [`Mail::Said`], or not at all: the
    /// worker has deadlines of its own.
    Ask {
        /// Names the answer; `None` where nobody waits for it.
        question: Option<Id>,
        /// Who is asked about.
        who: Subscriber,
    },
    /// Has the location store contacts of this user, whose worker has none? Answered by [`Mail::Bound`]
    /// for each and [`Mail::Sought`], or not at all.
    Seek(Locate),
    /// A call, in answer to a query.
    Call {
        /// The query's.
        id: u32,
        /// The call.
        call: CallReport,
    },
    /// A flow, in answer to a query.
    Flow {
        /// The query's.
        id: u32,
        /// The flow.
        flow: FlowReport,
    },
    /// A socket, in answer to a query.
    Socket {
        /// The query's.
        id: u32,
        /// The socket.
        socket: SocketStatistics,
    },
    /// A ban, in answer to a query.
    Ban {
        /// The query's.
        id: u32,
        /// The ban.
        ban: BanReport,
    },
    /// What is known of a subscriber, in answer to a query.
    Dossier {
        /// The query's.
        id: u32,
        /// That.
        dossier: Dossier,
    },
    /// What a subscriber was denied, in answer to a query.
    Denial {
        /// The query's.
        id: u32,
        /// That.
        denial: Denial,
    },
    /// A query has been answered whole.
    End {
        /// The query's.
        id: u32,
    },
}

/// The writing end of a mailbox.
#[derive(Debug)]
pub struct Sender {
    mail: Producer<Mail>,
    bytes: Producer<u8>,
    /// Places that what comes from outside must leave free.
    reserved: usize,
}

/// The reading end of a mailbox.
#[derive(Debug)]
pub struct Receiver {
    mail: Consumer<Mail>,
    bytes: Consumer<u8>,
}

/// A mailbox for `mails` mails and `bytes` bytes of SIP messages. SIP leaves `reserved` places
/// to other mail.
#[must_use]
pub fn mailbox(mails: usize, bytes: usize, reserved: usize) -> (Sender, Receiver) {
    let (mail_in, mail_out) = ring(mails);
    let (bytes_in, bytes_out) = ring(bytes);
    (
        Sender {
            mail: mail_in,
            bytes: bytes_in,
            reserved,
        },
        Receiver {
            mail: mail_out,
            bytes: bytes_out,
        },
    )
}

impl Sender {
    /// Posts a mail that carries no bytes; gives it back where the mailbox is full.
    ///
    /// # Errors
    /// The mail, where there is no room.
    #[allow(clippy::result_large_err)] // A worker has no box to put the mail in.
    pub fn post(&mut self, mail: Mail) -> Result<(), Mail> {
        self.mail
            .push(mail)
            .map_err(|rtrb::PushError::Full(mail)| mail)
    }

    /// Posts a SIP message; false where the mailbox has no room for all of it.
    #[must_use]
    pub fn post_sip(&mut self, mail: SipMail, message: &[u8]) -> bool {
        self.post_bytes(&[message], |len| Mail::Sip(SipMail { len, ..mail }))
    }

    /// Posts the contacts of a user, in answer to a [`Locate`]; false where there is no room.
    #[must_use]
    pub fn post_located(&mut self, ticket: Id, contacts: &[u8]) -> bool {
        self.post_bytes(&[contacts], |len| Mail::Located { ticket, len })
    }

    /// Posts what the location store has of a binding, [`Mail::Bound`] or [`Mail::Unbound`]; false where half
    /// of the mailbox is taken: a million of them must not keep anything else waiting.
    #[must_use]
    pub fn post_binding(&mut self, mail: fn(Letter) -> Mail, record: &Record<'_>) -> bool {
        if self.mail.slots() <= self.mail.buffer().capacity() / 2 {
            return false;
        }
        // One that no worker could have told is none.
        Letter::of(record)
            .is_none_or(|letter| self.post_bytes(&Letter::texts(record), |_| mail(letter)))
    }

    fn post_bytes(&mut self, parts: &[&[u8]], mail: impl FnOnce(u16) -> Mail) -> bool {
        let len = parts.iter().map(|part| part.len()).sum();
        let Ok(told) = u16::try_from(len) else {
            return false;
        };
        // What comes from outside must not keep a flow change waiting.
        if self.mail.slots() <= self.reserved || self.bytes.slots() < len {
            return false;
        }
        let mut parts = parts.iter();
        let copied = parts.all(|part| self.bytes.push_entire_slice(part).is_ok());
        copied && self.mail.push(mail(told)).is_ok()
    }

    /// Posts what ICMP said, which comes from outside as SIP does; false where there is no room.
    #[must_use]
    pub fn post_undelivered(&mut self, undelivered: Undelivered) -> bool {
        self.post_from_outside(Mail::Undelivered(undelivered))
    }

    /// Posts what somebody outside has caused; false where there is no room but for flow changes.
    #[must_use]
    pub fn post_from_outside(&mut self, mail: Mail) -> bool {
        self.mail.slots() > self.reserved && self.post(mail).is_ok()
    }

    /// True where a mail would find no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.mail.is_full()
    }
}

impl Receiver {
    /// How many mails wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.mail.slots()
    }

    /// Takes the oldest mail.
    pub fn take(&mut self) -> Option<Mail> {
        self.mail.pop().ok()
    }

    /// Takes the bytes of the mail just taken, of which it says how many there are, into the front of
    /// `message`.
    /// Gives how many there are; 0 where they do not fit (they are consumed all the same).
    pub fn take_bytes(&mut self, len: u16, message: &mut [u8]) -> usize {
        take_bytes(&mut self.bytes, usize::from(len), message)
    }
}

/// Takes `len` bytes into the front of `message`. Gives how many there are; 0 where they do not
/// fit (they are consumed all the same).
pub(crate) fn take_bytes(bytes: &mut Consumer<u8>, len: usize, message: &mut [u8]) -> usize {
    let Ok(chunk) = bytes.read_chunk(len) else {
        return 0;
    };
    let (first, second) = chunk.as_slices();
    let fits = match message.get_mut(..len) {
        Some(room) => {
            room[..first.len()].copy_from_slice(first);
            room[first.len()..].copy_from_slice(second);
            true
        }
        None => false,
    };
    chunk.commit_all();
    if fits { len } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    const MAIL: SipMail = SipMail {
        source: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060),
        listen: ListenIndex(0),
        len: 0,
        origin: Origin::Worker,
    };

    #[test]
    fn bytes_come_out_as_they_went_in_across_the_wrap() {
        let (mut sender, mut receiver) = mailbox(4, 1000, 0);
        for round in 0..50u8 {
            let message = vec![round; 300 + usize::from(round)];
            assert!(sender.post_sip(MAIL, &message));
            let Some(Mail::Sip(mail)) = receiver.take() else {
                panic!("no mail")
            };
            let mut room = [0; 512];
            let len = receiver.take_bytes(mail.len, &mut room);
            assert_eq!(&room[..len], &message);
        }
    }

    #[test]
    fn a_full_mailbox_takes_nothing_by_halves() {
        let (mut sender, mut receiver) = mailbox(5, 1000, 3);
        assert!(sender.post_sip(MAIL, &[1; 600]));
        assert!(!sender.post_sip(MAIL, &[2; 600]), "no room for the bytes");
        assert!(sender.post_sip(MAIL, &[3; 400]));
        assert!(!sender.post_sip(MAIL, &[4; 1]), "no room for the mail");
        let mut room = [0; 1000];
        for expected in [1, 3] {
            let Some(Mail::Sip(mail)) = receiver.take() else {
                panic!("no mail")
            };
            let len = receiver.take_bytes(mail.len, &mut room);
            assert!(len > 0 && room[..len].iter().all(|&byte| byte == expected));
        }
        assert!(receiver.take().is_none());
    }
}
