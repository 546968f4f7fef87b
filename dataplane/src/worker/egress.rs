//! The ways out that are no ring: the kernel, and back to ourselves.

use std::net::SocketAddr;

use super::Worker;
use super::capture::capture_sent;
use crate::capture::Layer;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::kernel::Share;
use crate::mailbox::Origin;
use crate::mailbox::SipMail;
use crate::ring::Rings;
use crate::sip::effects::Send;
use crate::tick::Tick;

impl<R: Rings> Worker<R> {
    /// Sends a SIP message whichever way leads to its next hop, and says how that went.
    pub(super) fn deliver(&mut self, send: &Send, now: Tick) -> Counter {
        match self.own_listen(send.to) {
            Some(listen) => self.send_to_own_listen(send, listen, now),
            None if send.by_kernel => self.send_by_kernel(send, Counter::SipPathMtu, now),
            None => self.send(send, now),
        }
    }

    /// Hands a message to control for the kernel to send, for the reason `why`.
    pub(super) fn send_by_kernel(&mut self, send: &Send, why: Counter, now: Tick) -> Counter {
        self.capture_datagram(send, now);
        let share = match why {
            Counter::SipNoNeighbour => Share::Half,
            _ => Share::Whole,
        };
        let message = self.effects.bytes(send);
        if self
            .post
            .send_by_kernel(send.to, send.listen, message, share)
        {
            why
        } else {
            Counter::SipKernelFull
        }
    }

    /// The listen of ours that `address` names, by its own address or the advertised one.
    fn own_listen(&self, address: SocketAddr) -> Option<ListenIndex> {
        let named = |listens: &[SocketAddr]| listens.iter().position(|&own| own == address);
        let at = named(&self.listens).or_else(|| named(&self.advertised))?;
        // Control refuses more listens than an index counts.
        u8::try_from(at).ok().map(ListenIndex)
    }

    /// Has a message for a listen of ours come in again, in the next turn: no frame to
    /// ourselves ever leaves. Whoever owns its call finds out there.
    fn send_to_own_listen(&mut self, send: &Send, listen: ListenIndex, now: Tick) -> Counter {
        self.capture_datagram(send, now);
        let mail = SipMail {
            source: self.listens[usize::from(send.listen.0)],
            listen,
            len: 0,
            origin: Origin::Own,
        };
        if self.post.own.post_sip(mail, self.effects.bytes(send)) {
            Counter::SipToOwnListen
        } else {
            Counter::SipOwnFull
        }
    }

    /// Copies a message that leaves by no ring to whoever wants it.
    fn capture_datagram(&mut self, send: &Send, now: Tick) {
        if !self.post.tap.is_on() {
            return;
        }
        let message = self.effects.bytes(send);
        let layer = Layer::Datagram {
            source: self.listens[usize::from(send.listen.0)],
            destination: send.to,
        };
        let (tap, counters) = (&mut self.post.tap, &mut self.counters);
        capture_sent(message, (layer, message), tap, counters, now);
    }
}
