//! Captures under way: the orders at the workers, and the packets on their way to whoever
//! asked for them.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use trunkline_dataplane::capture::Captured;
use trunkline_dataplane::capture::Layer;
use trunkline_dataplane::capture::Order;
use trunkline_dataplane::capture::Wanted;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::limits::CAPTURES;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::sys::clock;
use trunkline_dataplane::tick::Tick;

/// Packets that may wait for a slow reader; more are lost, and counted.
const WAITING: usize = 8192;

/// Their bytes: what the rings of four workers hold.
const WAITING_BYTES: usize = 4 << 20;

/// How long after its end a capture's place waits for workers that have not given the order
/// back: one that could not report has dropped it by then.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// What is to be captured, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Whose packets.
    pub wanted: Wanted,
    /// The headers of their media as well.
    pub media: bool,
    /// For how long.
    pub time: Duration,
    /// How many bytes of packets at most.
    pub bytes: u64,
}

/// A captured packet.
#[derive(Debug)]
pub struct Packet {
    /// When it passed, since 1970.
    pub at: Duration,
    /// What its bytes begin with.
    pub layer: Layer,
    /// Its bytes, or the front of them.
    pub bytes: Vec<u8>,
    /// How long it was.
    pub wire_len: u32,
    /// Its bytes' share of what may wait; free again when the packet is dropped.
    pub room: Option<OwnedSemaphorePermit>,
}

/// No capture: so many are under way already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CAPTURES} captures are under way already: end one, or try again later")]
pub struct TooMany;

#[derive(Debug)]
struct Open {
    id: u32,
    until: Instant,
    bytes_left: u64,
    room: Arc<Semaphore>,
    /// None once it is over and only waits for the workers.
    reader: Option<mpsc::Sender<Packet>>,
    /// By worker: it has the order.
    held: Vec<bool>,
    /// By worker: it has yet to be told of the end.
    untold: Vec<bool>,
}

/// The captures under way.
#[derive(Debug, Default)]
pub struct Capturing {
    slots: [Option<Open>; CAPTURES],
    last: u32,
    /// Copies that no reader took in time.
    lost: u64,
}

impl Capturing {
    /// Orders a capture of every worker.
    ///
    /// # Errors
    /// Where there is no place for one more.
    pub fn begin(
        &mut self,
        wish: &Wish,
        posts: &mut [ControlPost],
        now: Instant,
    ) -> Result<mpsc::Receiver<Packet>, TooMany> {
        let slot = self.slots.iter().position(Option::is_none).ok_or(TooMany)?;
        self.last = self.last.wrapping_add(1);
        let time_ns = u64::try_from(wish.time.as_nanos()).unwrap_or(u64::MAX);
        let order = Order {
            id: self.last,
            slot: u8::try_from(slot).unwrap_or(u8::MAX),
            wanted: wish.wanted,
            media: wish.media,
            until: Tick(clock::now().0.saturating_add(time_ns)),
        };
        let held = posts.iter_mut().map(|post| {
            let posted = post.mail.post(Mail::Capture(Box::new(order))).is_ok();
            post.wake.ring();
            posted
        });
        let held: Vec<_> = held.collect();
        let (reader, packets) = mpsc::channel(WAITING);
        self.slots[slot] = Some(Open {
            id: self.last,
            until: now + wish.time,
            bytes_left: wish.bytes,
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            reader: Some(reader),
            untold: vec![false; held.len()],
            held,
        });
        Ok(packets)
    }

    /// True while one is under way.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// Copies that were lost because whoever asked was slow.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// A worker has given an order back.
    pub fn over(&mut self, worker: WorkerId, order: &Order) {
        let slot = self.slots.iter_mut().flatten();
        for open in slot.filter(|open| open.id == order.id) {
            if let Some(held) = open.held.get_mut(usize::from(worker.0)) {
                *held = false;
            }
        }
    }

    /// Takes what the workers have captured to those who asked, and ends what is over.
    pub fn tick(&mut self, posts: &mut [ControlPost], now: Instant) {
        let mut packets = Vec::new();
        for post in &mut *posts {
            // To the level seen now: a worker cannot keep us here for ever.
            for _ in 0..post.captured.waiting() {
                let mut bytes = Vec::new();
                if let Some(captured) = post.captured.take(&mut bytes) {
                    packets.push((captured, bytes));
                }
            }
        }
        // Each worker's are in order, and all of this tick together are then.
        packets.sort_by_key(|(captured, _)| captured.at);
        let wall = Wall::now();
        for (captured, bytes) in packets {
            self.hand_out(&wall, &captured, &bytes);
        }
        for slot in &mut self.slots {
            let Some(open) = slot else { continue };
            // The readers' last packets have come when all workers have given it back.
            let gone = open.reader.as_ref().is_none_or(mpsc::Sender::is_closed);
            let over = gone || open.bytes_left == 0 || now >= open.until;
            if over && open.untold.iter().all(|untold| !untold) {
                open.untold.clone_from(&open.held);
            }
            open.tell(posts);
            if !open.held.contains(&true) || now >= open.until + GIVE_BACK {
                *slot = None;
            }
        }
    }

    fn hand_out(&mut self, wall: &Wall, captured: &Captured, bytes: &[u8]) {
        for (slot, open) in (0..).zip(&mut self.slots) {
            let Some(open) = open.as_mut().filter(|_| captured.captures.has(slot)) else {
                continue;
            };
            let len = bytes.len() as u64;
            let Some(reader) = open.reader.as_ref() else {
                continue;
            };
            if len > open.bytes_left {
                // Full: the reader sees the end at once.
                (open.bytes_left, open.reader) = (0, None);
                continue;
            }
            let wanted = u32::try_from(len).unwrap_or(u32::MAX);
            let Ok(room) = Arc::clone(&open.room).try_acquire_many_owned(wanted) else {
                self.lost += 1;
                continue;
            };
            let packet = Packet {
                at: wall.of(captured.at),
                layer: captured.layer,
                bytes: bytes.to_vec(),
                wire_len: captured.wire_len,
                room: Some(room),
            };
            match reader.try_send(packet) {
                Ok(()) => open.bytes_left -= len,
                Err(mpsc::error::TrySendError::Full(_)) => self.lost += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => open.reader = None,
            }
        }
    }
}

impl Open {
    /// Tells the workers of the end, those with room in their mailbox.
    fn tell(&mut self, posts: &mut [ControlPost]) {
        for ((untold, held), post) in self.untold.iter_mut().zip(&self.held).zip(posts) {
            if *untold && *held {
                *untold = post.mail.post(Mail::CaptureEnd { id: self.id }).is_err();
                post.wake.ring();
            }
        }
    }
}

/// What the workers' clock is on the wall's.
struct Wall {
    tick: Tick,
    since_1970: Duration,
}

impl Wall {
    fn now() -> Wall {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Wall {
            tick: clock::now(),
            since_1970: since_1970.unwrap_or_default(),
        }
    }

    fn of(&self, at: Tick) -> Duration {
        let ago = Duration::from_nanos(self.tick.since(at));
        self.since_1970.saturating_sub(ago)
    }
}

#[cfg(test)]
mod tests {
    use trunkline_dataplane::capture::Direction;
    use trunkline_dataplane::ids::InterfaceIndex;
    use trunkline_dataplane::mailbox::Report;
    use trunkline_dataplane::post;
    use trunkline_dataplane::post::WorkerPost;
    use trunkline_dataplane::sip::ShortText;
    use trunkline_dataplane::sip::message::Message;
    use trunkline_dataplane::sys::wake::Wake;

    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:100@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

    struct Room {
        capturing: Capturing,
        workers: Vec<WorkerPost>,
        posts: Vec<ControlPost>,
        now: Instant,
    }

    impl Room {
        fn new() -> Room {
            let wake = Arc::new(Wake::new().unwrap());
            let (workers, posts) = post::connect(2, 0, &wake).unwrap();
            Room {
                capturing: Capturing::default(),
                workers,
                posts,
                now: Instant::now(),
            }
        }

        fn begin(&mut self, bytes: u64) -> Result<mpsc::Receiver<Packet>, TooMany> {
            let wish = Wish {
                wanted: Wanted::User(ShortText::new(b"100")),
                media: true,
                time: Duration::from_secs(10),
                bytes,
            };
            self.capturing.begin(&wish, &mut self.posts, self.now)
        }

        /// The workers read their mail and do what it says.
        fn workers_turn(&mut self) {
            for post in &mut self.workers {
                let inbox = post.inboxes.last_mut().unwrap();
                while let Some(mail) = inbox.take() {
                    let back = match mail {
                        Mail::Capture(order) => post.tap.begin(order),
                        Mail::CaptureEnd { id } => post.tap.end(id),
                        other => panic!("{other:?}"),
                    };
                    if let Some(order) = back {
                        post.reports.send(Report::CaptureOver(order)).unwrap();
                    }
                }
            }
        }

        fn see(&mut self, worker: usize) {
            let tap = &mut self.workers[worker].tap;
            let captures = tap.wanting(&Message::scan(MESSAGE).unwrap());
            let layer = Layer::Frame(InterfaceIndex(0));
            assert!(tap.copy(captures, clock::now(), Direction::In, layer, MESSAGE, 500));
        }

        fn tick(&mut self) {
            for (worker, post) in (0..).zip(&mut self.posts) {
                while let Ok(Report::CaptureOver(order)) = post.reports.pop() {
                    self.capturing.over(WorkerId(worker), &order);
                }
            }
            self.capturing.tick(&mut self.posts, self.now);
        }
    }

    #[test]
    fn packets_of_all_workers_come_in_the_order_of_their_time() {
        let mut room = Room::new();
        let mut packets = room.begin(1 << 20).unwrap();
        room.workers_turn();
        for worker in [1, 0, 1] {
            room.see(worker);
        }
        room.tick();
        let got: Vec<_> = std::iter::from_fn(|| packets.try_recv().ok()).collect();
        assert_eq!(got.len(), 3);
        assert!(got.is_sorted_by_key(|packet| packet.at));
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert!(since_1970 - got[0].at < Duration::from_secs(60));
        assert_eq!(got[0].bytes, MESSAGE);
    }

    #[test]
    fn a_place_is_free_again_when_every_worker_has_given_the_order_back() {
        let mut room = Room::new();
        let readers: Vec<_> = (0..CAPTURES).map(|_| room.begin(1000).unwrap()).collect();
        assert_eq!(room.begin(1000).map(drop), Err(TooMany));
        room.workers_turn();
        drop(readers);
        room.tick();
        assert!(room.capturing.is_on(), "the workers still have the orders");
        room.workers_turn();
        room.tick();
        assert!(!room.capturing.is_on());
        room.begin(1000).unwrap();
    }

    #[test]
    fn it_ends_when_its_bytes_are_full_or_its_time_is_over() {
        let mut room = Room::new();
        let mut small = room.begin(MESSAGE.len() as u64 + 1).unwrap();
        let mut long = room.begin(1 << 20).unwrap();
        room.workers_turn();
        room.see(0);
        room.see(0);
        room.tick();
        assert!(small.try_recv().is_ok());
        assert_eq!(
            small.try_recv().unwrap_err(),
            mpsc::error::TryRecvError::Disconnected
        );
        assert!(long.try_recv().is_ok() && long.try_recv().is_ok());
        assert_eq!(
            long.try_recv().unwrap_err(),
            mpsc::error::TryRecvError::Empty
        );
        room.now += Duration::from_secs(11);
        room.tick();
        room.workers_turn();
        room.tick();
        assert_eq!(
            long.try_recv().unwrap_err(),
            mpsc::error::TryRecvError::Disconnected
        );
        assert!(!room.capturing.is_on());
    }

    #[test]
    fn what_a_reader_does_not_take_is_bounded_by_its_bytes_and_counted() {
        let mut room = Room::new();
        let mut packets = room.begin(1 << 30).unwrap();
        room.workers_turn();
        let big = [MESSAGE, &[b'x'; 40_000]].concat();
        let fits = WAITING_BYTES / big.len();
        for _ in 0..fits + 7 {
            let tap = &mut room.workers[0].tap;
            let captures = tap.wanting(&Message::scan(MESSAGE).unwrap());
            let layer = Layer::Frame(InterfaceIndex(0));
            assert!(tap.copy(
                captures,
                clock::now(),
                Direction::In,
                layer,
                &big,
                big.len()
            ));
            room.tick();
        }
        assert_eq!(room.capturing.lost(), 7);
        drop(packets.try_recv().unwrap());
        room.see(0);
        room.tick();
        assert_eq!(room.capturing.lost(), 7, "there is room again");
    }

    #[test]
    fn a_worker_that_never_answers_does_not_keep_the_place() {
        let mut room = Room::new();
        let _reader = room.begin(1000).unwrap();
        room.now += Duration::from_secs(10) + GIVE_BACK;
        room.tick();
        assert!(!room.capturing.is_on());
    }
}
