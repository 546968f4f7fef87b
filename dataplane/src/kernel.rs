//! SIP that leaves by the kernel's sockets: from a worker to control, over bounded rings.
//!
//! What a worker cannot put on a ring itself (a message larger than the MTU, one whose next
//! hop is still being resolved, or lies behind an interface that is not ours) it writes here.
//! Control sends it from the socket that is bound to the same listen; the kernel resolves and
//! fragments. The bytes are written before the [`KernelSend`] that announces them.

use std::net::SocketAddr;

use rtrb::Consumer;
use rtrb::Producer;

use crate::ids::ListenIndex;
use crate::mailbox::take_bytes;
use crate::sys::memory::ring;

/// A SIP message for the kernel to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSend {
    /// To whom.
    pub to: SocketAddr,
    /// From which listen.
    pub listen: ListenIndex,
    /// How many bytes of the byte ring are its own.
    pub len: u16,
}

/// How much of the rings a message may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of them.
    Whole,
    /// Half: what waits for a neighbour that may never answer must not keep out what the
    /// kernel can send at once.
    Half,
}

/// The worker's end.
#[derive(Debug)]
pub struct KernelSender {
    sends: Producer<KernelSend>,
    bytes: Producer<u8>,
}

/// Control's end.
#[derive(Debug)]
pub struct KernelReceiver {
    sends: Consumer<KernelSend>,
    bytes: Consumer<u8>,
}

/// Rings for `sends` messages of `bytes` bytes in all.
#[must_use]
pub fn kernel_rings(sends: usize, bytes: usize) -> (KernelSender, KernelReceiver) {
    let (sends_in, sends_out) = ring(sends);
    let (bytes_in, bytes_out) = ring(bytes);
    (
        KernelSender {
            sends: sends_in,
            bytes: bytes_in,
        },
        KernelReceiver {
            sends: sends_out,
            bytes: bytes_out,
        },
    )
}

impl KernelSender {
    /// Posts a message; false where there is no room for all of it within its share.
    #[must_use]
    pub fn post(
        &mut self,
        to: SocketAddr,
        listen: ListenIndex,
        message: &[u8],
        share: Share,
    ) -> bool {
        let Ok(len) = u16::try_from(message.len()) else {
            return false;
        };
        let kept_free = match share {
            Share::Whole => (0, 0),
            Share::Half => (
                self.sends.buffer().capacity() / 2,
                self.bytes.buffer().capacity() / 2,
            ),
        };
        if self.sends.slots() <= kept_free.0 || self.bytes.slots() < kept_free.1 + message.len() {
            return false;
        }
        let copied = self.bytes.push_entire_slice(message).is_ok();
        copied && self.sends.push(KernelSend { to, listen, len }).is_ok()
    }
}

impl KernelReceiver {
    /// How many messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sends.slots()
    }

    /// Takes the oldest message, its bytes into the front of `message`, which must hold any
    /// message: `None` where none waits.
    pub fn take<'m>(&mut self, message: &'m mut [u8]) -> Option<(KernelSend, &'m [u8])> {
        let send = self.sends.pop().ok()?;
        let len = take_bytes(&mut self.bytes, usize::from(send.len), message);
        Some((send, &message[..len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const LISTEN: ListenIndex = ListenIndex(1);

    #[test]
    fn messages_come_out_as_they_went_in() {
        let (mut worker, mut control) = kernel_rings(4, 1000);
        let mut room = [0; 600];
        for round in 0..20u8 {
            assert!(worker.post(TO, LISTEN, &vec![round; 333], Share::Whole));
            assert_eq!(control.waiting(), 1);
            let (send, bytes) = control.take(&mut room).unwrap();
            assert_eq!(
                (send.to, send.listen, bytes),
                (TO, LISTEN, &[round; 333][..])
            );
        }
        assert!(control.take(&mut room).is_none());
    }

    #[test]
    fn what_waits_for_a_neighbour_leaves_half_to_the_others() {
        let (mut worker, mut control) = kernel_rings(4, 1000);
        assert!(worker.post(TO, LISTEN, &[1; 400], Share::Half));
        assert!(
            !worker.post(TO, LISTEN, &[2; 200], Share::Half),
            "half of the bytes"
        );
        assert!(worker.post(TO, LISTEN, &[3; 1], Share::Half));
        assert!(
            !worker.post(TO, LISTEN, &[4; 1], Share::Half),
            "half of the places"
        );
        assert!(worker.post(TO, LISTEN, &[5; 599], Share::Whole));
        assert!(
            !worker.post(TO, LISTEN, &[6; 1], Share::Whole),
            "no byte is left"
        );
        let mut room = [0; 600];
        for expected in [1, 3, 5] {
            let (_, bytes) = control.take(&mut room).unwrap();
            assert!(!bytes.is_empty() && bytes.iter().all(|&byte| byte == expected));
        }
    }
}
