//! Who can write to whom: the mailboxes between workers and control, made at start.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rtrb::Consumer;
use rtrb::Producer;

use crate::capture;
use crate::capture::Reader;
use crate::capture::Tap;
use crate::counters::Published;
use crate::counters::trunks::PublishedTrunks;
use crate::ids::ListenIndex;
use crate::kernel::KernelReceiver;
use crate::kernel::KernelSender;
use crate::kernel::Share;
use crate::kernel::kernel_rings;
use crate::letters::LetterReceiver;
use crate::letters::LetterSender;
use crate::letters::letters;
use crate::limits::FLOW_MAILS_RESERVED;
use crate::limits::KERNEL_BYTES;
use crate::limits::KERNEL_MAILS;
use crate::limits::LETTERS;
use crate::limits::LETTERS_BYTES;
use crate::limits::MAILBOX_BYTES;
use crate::limits::MAILBOX_MAILS;
use crate::limits::OWN_BYTES;
use crate::limits::OWN_MAILS;
use crate::limits::REPORTS;
use crate::mailbox::Mail;
use crate::mailbox::Receiver;
use crate::mailbox::Report;
use crate::mailbox::Sender;
use crate::mailbox::SipMail;
use crate::mailbox::mailbox;
use crate::media::FlowChange;
use crate::sip::Id;
use crate::sys::memory::queue;
use crate::sys::memory::ring;
use crate::sys::wake::Wake;

/// A worker's ends of all mailboxes.
#[derive(Debug)]
pub struct WorkerPost {
    /// From every other worker, from itself, and last from control.
    pub inboxes: Vec<Receiver>,
    /// To every worker, by its number; none to itself.
    pub outboxes: Vec<Option<Outbox>>,
    /// To itself: SIP whose next hop is a listen of ours. Its other end is among the inboxes.
    pub own: Sender,
    /// To control, for the kernel to send.
    pub kernel: KernelSender,
    /// To control.
    pub reports: Reports,
    /// To control: bindings.
    pub letters: LetterSender,
    /// Where its counts are published.
    pub published: Arc<Published>,
    /// Where its counts of each trunk are published.
    pub published_trunks: Arc<PublishedTrunks>,
    /// By which it is woken.
    pub wake: Arc<Wake>,
    /// Where captured packets go.
    pub tap: Tap,
}

/// Control's ends of the mailboxes of one worker.
#[derive(Debug)]
pub struct ControlPost {
    /// To the worker; ring `wake` after posting.
    pub mail: Sender,
    /// From the worker.
    pub reports: Consumer<Report>,
    /// Bindings from the worker. Read after the reports, that say when all of an answer are there.
    pub letters: LetterReceiver,
    /// SIP from the worker, for the kernel to send.
    pub kernel: KernelReceiver,
    /// The worker's counts.
    pub published: Arc<Published>,
    /// The worker's counts of each trunk.
    pub published_trunks: Arc<PublishedTrunks>,
    /// By which the worker is woken.
    pub wake: Arc<Wake>,
    /// The packets that it captured.
    pub captured: Reader,
}

/// The mailbox of another worker.
#[derive(Debug)]
pub struct Outbox {
    sender: Sender,
    wake: Arc<Wake>,
    posted: bool,
    /// Flow changes that found the mailbox full: they must not be lost, nor overtaken.
    backlog: VecDeque<Mail>,
}

/// The way to control.
#[derive(Debug)]
pub struct Reports {
    producer: Producer<Report>,
    control: Arc<Wake>,
    posted: bool,
}

/// Connects `workers` workers with each other and with control, whose wake-up is `control`.
/// Each has room to publish its counts of `trunks` trunks.
///
/// # Errors
/// Where the kernel gives no eventfd.
pub fn connect(
    workers: u8,
    trunks: usize,
    control: &Arc<Wake>,
) -> std::io::Result<(Vec<WorkerPost>, Vec<ControlPost>)> {
    let mut posts = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..workers {
        let wake = Arc::new(Wake::new()?);
        let published = Arc::new(Published::default());
        let published_trunks = Arc::new(PublishedTrunks::new(trunks));
        let (producer, reports) = ring(REPORTS);
        let (letters_in, letters_out) = letters(LETTERS, LETTERS_BYTES);
        let (tap, captured) = capture::tap();
        let reports_out = Reports {
            producer,
            control: Arc::clone(control),
            posted: false,
        };
        let (kernel, kernel_out) = kernel_rings(KERNEL_MAILS, KERNEL_BYTES);
        // Nothing but SIP goes through it.
        let (own, own_inbox) = mailbox(OWN_MAILS, OWN_BYTES, 0);
        posts.push(WorkerPost {
            inboxes: Vec::new(),
            outboxes: Vec::new(),
            own,
            kernel,
            reports: reports_out,
            letters: letters_in,
            published: Arc::clone(&published),
            published_trunks: Arc::clone(&published_trunks),
            wake: Arc::clone(&wake),
            tap,
        });
        ends.push((
            reports,
            letters_out,
            kernel_out,
            own_inbox,
            published,
            published_trunks,
            wake,
            captured,
        ));
    }
    for from in 0..posts.len() {
        for to in 0..posts.len() {
            let outbox = (from != to).then(|| {
                let (sender, receiver) = mailbox(MAILBOX_MAILS, MAILBOX_BYTES, FLOW_MAILS_RESERVED);
                posts[to].inboxes.push(receiver);
                let wake = Arc::clone(&posts[to].wake);
                let backlog = queue(MAILBOX_MAILS);
                Outbox {
                    sender,
                    wake,
                    posted: false,
                    backlog,
                }
            });
            posts[from].outboxes.push(outbox);
        }
    }
    let controls = ends.into_iter().zip(&mut posts).map(
        |(
            (reports, letters, kernel, own_inbox, published, published_trunks, wake, captured),
            post,
        )| {
            let (mail, receiver) = mailbox(MAILBOX_MAILS, MAILBOX_BYTES, FLOW_MAILS_RESERVED);
            post.inboxes.extend([own_inbox, receiver]);
            ControlPost {
                mail,
                reports,
                letters,
                kernel,
                published,
                published_trunks,
                wake,
                captured,
            }
        },
    );
    let controls = controls.collect();
    Ok((posts, controls))
}

impl WorkerPost {
    /// True where mail waits.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.inboxes.iter().any(|inbox| inbox.waiting() > 0)
    }

    /// Hands a SIP message to control, to leave by the kernel's socket of `listen`; false where
    /// there is no room.
    #[must_use]
    pub fn send_by_kernel(
        &mut self,
        to: SocketAddr,
        listen: ListenIndex,
        message: &[u8],
        share: Share,
    ) -> bool {
        let posted = self.kernel.post(to, listen, message, share);
        self.reports.posted |= posted;
        posted
    }

    /// Has control look at what was posted to it.
    pub fn ring_control(&mut self) {
        self.reports.posted = true;
    }

    /// The end of a turn: backlogs are tried again, and whoever got mail is woken.
    pub fn flush(&mut self) {
        for outbox in self.outboxes.iter_mut().flatten() {
            outbox.flush();
        }
        if std::mem::take(&mut self.reports.posted) {
            self.reports.control.ring();
        }
    }

    /// True where a flow change still waits for room in a mailbox.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.outboxes.iter().flatten().any(Outbox::has_backlog)
    }
}

impl Outbox {
    /// Hands a SIP message over; false where there is no room.
    #[must_use]
    pub fn post_sip(&mut self, mail: SipMail, message: &[u8]) -> bool {
        let posted = self.sender.post_sip(mail, message);
        self.posted |= posted;
        posted
    }

    /// Posts a question of a request from outside, or its answer; false where there is no room.
    #[must_use]
    pub fn post_question(&mut self, mail: Mail) -> bool {
        let posted = self.sender.post_from_outside(mail);
        self.posted |= posted;
        posted
    }

    /// Posts the contacts of a user; false where there is no room.
    #[must_use]
    pub fn post_located(&mut self, ticket: Id, contacts: &[u8]) -> bool {
        let posted = self.sender.post_located(ticket, contacts);
        self.posted |= posted;
        posted
    }

    /// Posts a flow change; one that finds no room waits here. False where even that is full
    /// and the change is lost: the worker has not turned for as long as it takes to fill it.
    #[must_use]
    pub fn post_flow(&mut self, change: FlowChange) -> bool {
        self.post_in_order(Mail::Flow(change))
    }

    /// Posts what must come before the flow changes that follow it; as [`Outbox::post_flow`].
    #[must_use]
    pub fn post_in_order(&mut self, mail: Mail) -> bool {
        self.posted = true;
        let refused = match self.backlog.is_empty() {
            true => self.sender.post(mail).err(),
            false => Some(mail),
        };
        let Some(mail) = refused else { return true };
        if self.backlog.len() == self.backlog.capacity() {
            return false;
        }
        self.backlog.push_back(mail);
        true
    }

    /// True where what was posted last waits for room in the mailbox.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn flush(&mut self) {
        while let Some(mail) = self.backlog.pop_front() {
            self.posted = true;
            if let Err(mail) = self.sender.post(mail) {
                self.backlog.push_front(mail);
                break;
            }
        }
        if std::mem::take(&mut self.posted) {
            self.wake.ring();
        }
    }
}

impl Reports {
    /// Reports that find room now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.producer.slots()
    }

    /// Sends a report; gives it back where there is no room.
    ///
    /// # Errors
    /// The report.
    #[allow(clippy::result_large_err)] // A report that finds no room is not lost with its boxes.
    pub fn send(&mut self, report: Report) -> Result<(), Report> {
        self.posted = true;
        self.producer
            .push(report)
            .map_err(|rtrb::PushError::Full(report)| report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::media::CallRef;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    fn close(port: u16) -> FlowChange {
        let call = CallRef {
            owner: WorkerId(0),
            slot: 0,
            generation: 0,
        };
        FlowChange::Close {
            local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            call,
        }
    }

    #[test]
    fn flow_changes_arrive_in_order_though_the_mailbox_was_full() {
        let control = Arc::new(Wake::new().unwrap());
        let (mut posts, _controls) = connect(2, 0, &control).unwrap();
        let mut second = posts.pop().unwrap();
        let mut first = posts.pop().unwrap();
        let sent = MAILBOX_MAILS + 100;
        for n in 0..sent {
            assert!(
                first.outboxes[1]
                    .as_mut()
                    .unwrap()
                    .post_flow(close(n as u16))
            );
        }
        assert!(first.has_backlog());
        let mut seen = Vec::new();
        while seen.len() < sent {
            first.flush();
            while let Some(Mail::Flow(FlowChange::Close { local, .. })) = second.inboxes[0].take() {
                seen.push(local.port());
            }
        }
        assert!(!first.has_backlog());
        assert!(seen.iter().enumerate().all(|(n, &port)| port == n as u16));
    }

    #[test]
    fn a_lost_flow_change_is_told() {
        let control = Arc::new(Wake::new().unwrap());
        let (mut posts, _controls) = connect(2, 0, &control).unwrap();
        let outbox = posts[0].outboxes[1].as_mut().unwrap();
        let room = MAILBOX_MAILS + outbox.backlog.capacity();
        assert!((0..room).all(|_| outbox.post_flow(close(1))));
        assert!(!outbox.post_flow(close(1)));
    }
}
