//! The rings of a simulated worker, and its way to the kernel's sockets: what leaves by either is told
//! in the order in which the worker has said it. Judged one device behind the other, what was said
//! first would seem to come after its answer.

use std::collections::VecDeque;
use std::io;

use trunkline_dataplane::frame::Frame;
use trunkline_dataplane::frame::Ledger;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::Lane;
use trunkline_dataplane::kernel::KernelReceiver;
use trunkline_dataplane::kernel::KernelSend;
use trunkline_dataplane::limits::SIP_LEN_MAX;
use trunkline_dataplane::ring::Fake;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::ring::Received;
use trunkline_dataplane::ring::Rings;
use trunkline_dataplane::ring::SocketStatistics;
use trunkline_dataplane::sys::wake::Wake;

/// What has left a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// A frame, by a ring of this device.
    Frame(DeviceIndex, Vec<u8>),
    /// A message that the kernel is to send.
    Message(KernelSend, Vec<u8>),
}

/// What leaves next.
#[derive(Debug)]
enum Next {
    /// The device's next frame.
    Frame(DeviceIndex),
    Message(KernelSend, Vec<u8>),
}

/// Fake rings that see what the worker hands to the kernel meanwhile.
#[derive(Debug)]
pub struct Ordered {
    fake: Fake,
    kernel: KernelReceiver,
    order: VecDeque<Next>,
    room: Vec<u8>,
}

impl Ordered {
    /// Rings of a worker that hands to `kernel` what they do not take.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub fn new(config: FakeConfig, kernel: KernelReceiver) -> io::Result<Ordered> {
        Ok(Ordered {
            fake: Fake::new(config)?,
            kernel,
            order: VecDeque::new(),
            room: vec![0; SIP_LEN_MAX],
        })
    }

    /// A frame arrives, see [`Fake::inject`].
    pub fn inject(&mut self, device: DeviceIndex, bytes: &[u8]) -> bool {
        self.fake.inject(device, bytes)
    }

    /// All that has left since.
    ///
    /// # Errors
    /// Where a frame is not there that the worker has sent, or one is that it has not.
    pub fn take_left(&mut self) -> Result<Vec<Left>, String> {
        self.note_messages();
        let mut frames = VecDeque::new();
        self.fake
            .take_sent(&mut |device, bytes| frames.push_back((device, bytes.to_vec())));
        let mut left = Vec::with_capacity(self.order.len());
        for next in self.order.drain(..) {
            left.push(match next {
                Next::Message(send, message) => Left::Message(send, message),
                Next::Frame(device) => {
                    let at = frames.iter().position(|(of, _)| *of == device);
                    let frame = at.and_then(|at| frames.remove(at));
                    let (device, bytes) = frame.ok_or("a frame that was sent has not left")?;
                    Left::Frame(device, bytes)
                }
            });
        }
        match frames.is_empty() {
            true => Ok(left),
            false => Err("a frame left that was not sent".to_owned()),
        }
    }

    fn note_messages(&mut self) {
        while let Some((send, message)) = self.kernel.take(&mut self.room) {
            self.order.push_back(Next::Message(send, message.to_vec()));
        }
    }
}

impl Rings for Ordered {
    fn receive(&mut self, batch: &mut Vec<Received>) {
        self.fake.receive(batch);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.fake.bytes(frame)
    }

    fn bytes_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.fake.bytes_mut(frame)
    }

    fn pair(&mut self, source: &Frame, target: &mut Frame) -> (&[u8], &mut [u8]) {
        self.fake.pair(source, target)
    }

    fn allocate(&mut self, len: usize) -> Option<Frame> {
        self.fake.allocate(len)
    }

    fn free(&mut self, frame: Frame) {
        self.fake.free(frame);
    }

    fn transmit(&mut self, device: DeviceIndex, lane: Lane, frame: Frame) -> Result<(), Frame> {
        self.note_messages();
        self.fake.transmit(device, lane, frame)?;
        self.order.push_back(Next::Frame(device));
        Ok(())
    }

    fn flush(&mut self) {
        self.fake.flush();
    }

    fn ledger(&self) -> Ledger {
        self.fake.ledger()
    }

    fn statistics(&mut self, out: &mut dyn FnMut(SocketStatistics)) {
        self.fake.statistics(out);
    }

    fn idle(&self) -> bool {
        self.fake.idle()
    }

    fn wait_for(&mut self, wake: &Wake) -> io::Result<()> {
        self.fake.wait_for(wake)
    }

    fn wait(&mut self, wake: &Wake, timeout_ns: u64) {
        self.fake.wait(wake, timeout_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;
    use trunkline_dataplane::ids::ListenIndex;
    use trunkline_dataplane::kernel::Share;
    use trunkline_dataplane::kernel::kernel_rings;

    const TO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

    #[test]
    fn what_leaves_is_told_in_its_order_by_whichever_way() {
        let (mut worker, kernel) = kernel_rings(8, 1_000);
        let mut rings = Ordered::new(FakeConfig::default(), kernel).unwrap();
        let ways: [(Option<u8>, u8); 6] = [
            (Some(1), 1),
            (None, 2),
            (Some(0), 3),
            (Some(1), 4),
            (None, 5),
            (None, 6),
        ];
        for (device, byte) in ways {
            let Some(device) = device.map(DeviceIndex) else {
                assert!(worker.post(TO, ListenIndex(0), &[byte; 60], Share::Whole));
                continue;
            };
            let mut frame = rings.allocate(60).unwrap();
            rings.bytes_mut(&mut frame).fill(byte);
            rings.transmit(device, Lane::of_peer(TO), frame).unwrap();
        }
        rings.flush();
        let left = rings.take_left().unwrap();
        let seen = left.iter().map(|left| match left {
            Left::Frame(device, bytes) => (Some(device.0), bytes[0]),
            Left::Message(_, bytes) => (None, bytes[0]),
        });
        assert!(seen.eq(ways), "{left:?}");
        assert_eq!(rings.take_left(), Ok(Vec::new()));
    }
}
