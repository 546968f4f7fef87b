//! What passes between the workers and the kernel's sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::limits::DATAGRAM_LEN_MAX;
use trunkline_dataplane::mailbox::Origin;
use trunkline_dataplane::mailbox::SipMail;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::identity::Kind;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::read_quote;

use super::Desk;
use crate::kernel::Count;
use crate::kernel::Counts;
use crate::kernel::ListenSocket;
use crate::kernel::socket::IcmpError;

/// The desk's part of the kernel's sockets.
#[derive(Debug, Default)]
pub struct Kernel {
    /// By listen.
    sockets: Vec<Arc<ListenSocket>>,
    /// Knows our branches again; none in a test without them.
    identity: Option<Identity>,
    counts: Counts,
    /// The message being sent.
    message: Vec<u8>,
}

impl Kernel {
    /// Over the sockets of the listens, in their order.
    #[must_use]
    pub fn new(sockets: Vec<Arc<ListenSocket>>, settings: &Settings) -> Kernel {
        // Only branches are read with it, which name no listen.
        let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &[]);
        Kernel {
            sockets,
            identity: Some(identity),
            counts: Counts::default(),
            message: vec![0; DATAGRAM_LEN_MAX],
        }
    }

    /// The counts at this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        let overflowed = self.sockets.iter().map(|socket| socket.overflowed()).sum();
        counts.set(Count::Overflowed, overflowed);
        counts
    }

    /// Takes note of a datagram that did not fit.
    pub(super) fn truncated(&mut self) {
        self.counts.count(Count::Truncated);
    }

    /// The request that an ICMP error is about and the worker that sent it, where the quote
    /// proves that.
    fn identify(&self, error: &IcmpError, quoted: &[u8]) -> Result<(WorkerId, Undelivered), Count> {
        let why = error.why.ok_or(Count::IcmpIgnored)?;
        let (method, branch) = read_quote(quoted).ok_or(Count::IcmpUnidentified)?;
        let identity = self.identity.as_ref().ok_or(Count::IcmpForged)?;
        let branch = identity
            .read_branch(branch)
            .map_err(|_| Count::IcmpForged)?;
        if branch.kind != Kind::Stateful {
            return Err(Count::IcmpUnidentified);
        }
        let undelivered = Undelivered {
            branch,
            method,
            destination: error.destination,
            why,
        };
        Ok((branch.worker, undelivered))
    }
}

impl Desk {
    /// Has the kernel send what the workers have handed over, to the level seen now.
    pub(super) fn send_by_kernel(&mut self) {
        let Kernel {
            sockets,
            counts,
            message,
            ..
        } = &mut self.kernel;
        for post in &mut self.workers.posts {
            for _ in 0..post.kernel.waiting() {
                let Some((send, message)) = post.kernel.take(message) else {
                    break;
                };
                let socket = sockets.get(usize::from(send.listen.0));
                let sent =
                    socket.map_or(Count::RefusedOther, |socket| socket.send(message, send.to));
                counts.count(sent);
            }
        }
    }

    /// Hands a datagram of the kernel's sockets to the worker that owns its call. What
    /// belongs to none goes to the first, which says what is wrong with it.
    pub(super) fn hand_over(&mut self, listen: ListenIndex, source: SocketAddr, bytes: &[u8]) {
        self.kernel.counts.count(Count::Datagrams);
        let workers = u8::try_from(self.workers.posts.len()).unwrap_or(u8::MAX);
        let owner = Message::scan(bytes).map_or(WorkerId(0), |message| {
            sip::owner(&self.facts.hash_key, message.call_id(), workers)
        });
        let mail = SipMail {
            source,
            listen,
            len: 0,
            origin: Origin::Kernel,
        };
        let Some(post) = self.workers.posts.get_mut(usize::from(owner.0)) else {
            return;
        };
        if post.mail.post_sip(mail, bytes) {
            post.wake.ring();
        } else {
            self.kernel.counts.count(Count::Dropped);
        }
    }

    /// Tells the worker whose request an ICMP error is about.
    pub(super) fn tell_undelivered(&mut self, error: &IcmpError, quoted: &[u8]) {
        self.kernel.counts.count(Count::IcmpErrors);
        let count = match self.kernel.identify(error, quoted) {
            Ok((worker, undelivered)) => {
                let post = self.workers.posts.get_mut(usize::from(worker.0));
                match post.map(|post| (post.mail.post_undelivered(undelivered), &post.wake)) {
                    Some((true, wake)) => {
                        wake.ring();
                        Count::IcmpTold
                    }
                    Some((false, _)) => Count::IcmpDropped,
                    None => Count::IcmpForged,
                }
            }
            Err(count) => count,
        };
        self.kernel.counts.count(count);
    }
}
