//! RTP between the ends of the calls that talk: G.711, a packet each 20 ms each way, and what became
//! of each.
//!
//! A packet carries its call, its direction and when it was sent: whoever receives it knows how long
//! it took, what was lost before it, and whether it is where it belongs. Streams are spread over the
//! 20 ms by when they began.

use std::net::IpAddr;
use std::net::SocketAddr;

use hdrhistogram::Histogram;
use trunkline_dataplane::tick::Tick;

use super::call::Id;
use super::call::Side;
use super::pen::Pen;
use super::tally;

/// Between two packets of a stream.
const PACKET_NS: u64 = 20_000_000;
/// Streams are sent in steps of this.
const STEP_NS: u64 = 500_000;
const STEPS: usize = (PACKET_NS / STEP_NS) as usize;
/// RTP's header.
const HEADER_LEN: usize = 12;
/// G.711 of 20 ms.
const PAYLOAD_LEN: usize = 160;
/// What the payload begins with: when it was sent, the entry, the generation.
const STAMP_LEN: usize = 16;

/// What was counted of RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounts {
    /// Packets sent.
    pub sent: u64,
    /// Packets received where they belong.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after a later one.
    pub late: u64,
    /// Packets that came twice.
    pub twice: u64,
    /// Packets of no open stream, or that are no RTP of ours.
    pub stray: u64,
    /// Packets that there was no room for in the ring.
    pub unsent: u64,
    /// Packets sent more than 5 ms after they were due: the generator's own lateness.
    pub behind: u64,
}

/// One direction of a call.
#[derive(Clone, Copy, Debug)]
struct Stream {
    to: SocketAddr,
    sent: u32,
    received: u32,
    /// The sequence number that is expected next.
    next: u32,
}

/// Both directions, by who sends.
#[derive(Clone, Copy, Debug)]
struct Talk {
    generation: u32,
    open: bool,
    /// What had not come was counted as lost.
    ended: bool,
    streams: [Stream; 2],
}

/// All streams.
#[derive(Debug)]
pub struct Media {
    talks: Vec<Talk>,
    /// Entries by the step in which they send.
    steps: Vec<Vec<Id>>,
    /// The step that is due next, since the clock's start.
    next_step: u64,
    /// What was counted.
    pub counts: MediaCounts,
    /// From one end to the other, in nanoseconds.
    pub transit: Histogram<u64>,
}

/// Where packets are put.
pub trait MediaOutbox {
    /// Sends what `write` writes from the seat's port of an end. False if there was no room for it.
    fn send_media(
        &mut self,
        side: Side,
        seat: u32,
        to: SocketAddr,
        write: &mut dyn FnMut(&mut Pen<'_>),
    ) -> bool;
}

impl Media {
    /// For so many calls at once.
    #[must_use]
    pub fn new(seats: u32, nowhere: SocketAddr, start: Tick) -> Media {
        let stream = Stream {
            to: nowhere,
            sent: 0,
            received: 0,
            next: 0,
        };
        let talk = Talk {
            generation: 0,
            open: false,
            ended: true,
            streams: [stream; 2],
        };
        Media {
            talks: vec![talk; seats as usize],
            steps: vec![Vec::new(); STEPS],
            next_step: start.0 / STEP_NS,
            counts: MediaCounts::default(),
            transit: tally::histogram(),
        }
    }

    /// Both ends of a call begin to talk; `to` says where each sends.
    pub fn begin(&mut self, id: Id, to: [SocketAddr; 2], now: Tick) {
        let stream = |to| Stream {
            to,
            sent: 0,
            received: 0,
            next: 0,
        };
        self.talks[id.seat as usize] = Talk {
            generation: id.generation,
            open: true,
            ended: false,
            streams: to.map(stream),
        };
        let step = (now.0 / STEP_NS).max(self.next_step);
        self.steps[place(step)].push(id);
    }

    /// Both ends fall silent.
    pub fn silence(&mut self, id: Id) {
        let talk = &mut self.talks[id.seat as usize];
        if talk.generation == id.generation {
            talk.open = false;
        }
    }

    /// The call is over: what has not come by now is lost, unless it comes yet.
    pub fn end(&mut self, id: Id) {
        let talk = &mut self.talks[id.seat as usize];
        if talk.generation != id.generation {
            return;
        }
        talk.open = false;
        talk.ended = true;
        for stream in &mut talk.streams {
            self.counts.lost += u64::from(stream.sent.saturating_sub(stream.received));
            (stream.sent, stream.received) = (0, 0);
        }
    }

    /// Forgets counts and times: the warm-up is over. What open streams have sent is not lost later.
    pub fn reset(&mut self) {
        self.counts = MediaCounts::default();
        self.transit.reset();
    }

    /// When the next step is due.
    #[must_use]
    pub fn next_due(&self) -> Tick {
        Tick(self.next_step * STEP_NS)
    }

    /// Sends all that is due.
    pub fn fire(&mut self, now: Tick, out: &mut impl MediaOutbox) {
        while self.next_step * STEP_NS <= now.0 {
            let due = self.next_step * STEP_NS;
            let step = place(self.next_step);
            self.next_step += 1;
            let behind = now.0 - due > 5_000_000;
            let mut ids = std::mem::take(&mut self.steps[step]);
            ids.retain(|&id| self.send(id, behind, now, out));
            self.steps[step] = ids;
        }
    }

    /// One packet each way; false where the call has ended.
    fn send(&mut self, id: Id, behind: bool, now: Tick, out: &mut impl MediaOutbox) -> bool {
        let talk = &mut self.talks[id.seat as usize];
        if !talk.open || talk.generation != id.generation {
            return false;
        }
        for (side, stream) in [Side::Caller, Side::Callee]
            .into_iter()
            .zip(&mut talk.streams)
        {
            let number = stream.sent;
            let sent = out.send_media(side, id.seat, stream.to, &mut |pen| {
                write(pen, id, side, number, now);
            });
            if sent {
                stream.sent += 1;
                self.counts.sent += 1;
                self.counts.behind += u64::from(behind);
            } else {
                self.counts.unsent += 1;
            }
        }
        true
    }

    /// Takes up a packet that came to the port of an end.
    pub fn receive(&mut self, side: Side, packet: &[u8], now: Tick) {
        let Some((id, from, number, sent)) = read(packet) else {
            self.counts.stray += 1;
            return;
        };
        let talk = self.talks.get_mut(id.seat as usize);
        let Some(talk) = talk.filter(|talk| talk.generation == id.generation && from != side)
        else {
            self.counts.stray += 1;
            return;
        };
        let stream = &mut talk.streams[from as usize];
        // Sixteen bits of the number travel; the rest is what is nearest.
        let ahead = number.wrapping_sub(sequence(stream.next));
        if ahead == u16::MAX {
            self.counts.twice += 1;
            return;
        }
        if ahead < 1 << 15 {
            stream.next = stream.next.wrapping_add(u32::from(ahead) + 1);
        } else {
            self.counts.late += 1;
        }
        stream.received += 1;
        if talk.ended {
            self.counts.lost = self.counts.lost.saturating_sub(1);
        }
        self.counts.received += 1;
        self.transit.saturating_record(now.since(sent));
    }
}

/// Where the streams of a step stand.
fn place(step: u64) -> usize {
    usize::try_from(step % STEPS as u64).unwrap_or(0)
}

/// The sixteen bits of a packet's number that RTP carries.
#[allow(clippy::cast_possible_truncation, reason = "RFC 3550 §5.1: it wraps")]
const fn sequence(number: u32) -> u16 {
    number as u16
}

/// Writes a packet (RFC 3550 §5.1); the SSRC is the entry and the direction.
fn write(pen: &mut Pen<'_>, id: Id, side: Side, number: u32, now: Tick) {
    pen.put([0x80, 0]);
    pen.put(sequence(number).to_be_bytes());
    pen.put(number.wrapping_mul(160).to_be_bytes());
    pen.put((id.seat << 1 | side as u32).to_be_bytes());
    pen.put(now.0.to_be_bytes());
    pen.put(id.seat.to_be_bytes());
    pen.put(id.generation.to_be_bytes());
    pen.put([0xd5; PAYLOAD_LEN - STAMP_LEN]);
}

/// Reads what [`write`] wrote: call, who sent it, sequence number, when.
fn read(packet: &[u8]) -> Option<(Id, Side, u16, Tick)> {
    if packet.len() != HEADER_LEN + PAYLOAD_LEN || packet.first() != Some(&0x80) {
        return None;
    }
    let long = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let number = u16::from_be_bytes(*packet.get(2..)?.first_chunk()?);
    let ssrc = long(8)?;
    let sent = Tick(u64::from_be_bytes(*packet.get(12..)?.first_chunk()?));
    let id = Id {
        seat: long(20)?,
        generation: long(24)?,
    };
    let side = match ssrc & 1 {
        0 => Side::Caller,
        _ => Side::Callee,
    };
    (ssrc >> 1 == id.seat).then_some((id, side, number, sent))
}

/// Where an SDP wants its first stream: `c=` and `m=audio`.
#[must_use]
pub fn wanted_at(sdp: &[u8]) -> Option<SocketAddr> {
    let value = |start: &[u8]| {
        let at = memchr::memmem::find(sdp, start)? + start.len();
        let rest = sdp.get(at..)?;
        let end = rest.iter().position(|byte| b" \r\n".contains(byte))?;
        std::str::from_utf8(rest.get(..end)?).ok()
    };
    let address: IpAddr = match value(b"\nc=IN IP4 ") {
        Some(address) => address.parse().ok()?,
        None => value(b"\nc=IN IP6 ")?.parse().ok()?,
    };
    Some(SocketAddr::new(
        address,
        value(b"\nm=audio ")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id {
        seat: 1,
        generation: 9,
    };

    /// Keeps what is sent.
    #[derive(Default)]
    struct Wire(Vec<(Side, Vec<u8>)>);

    impl MediaOutbox for Wire {
        fn send_media(
            &mut self,
            side: Side,
            _: u32,
            _: SocketAddr,
            write: &mut dyn FnMut(&mut Pen<'_>),
        ) -> bool {
            let mut room = [0; 200];
            let mut pen = Pen::new(&mut room);
            write(&mut pen);
            let len = pen.done().unwrap();
            self.0.push((side, room[..len].to_vec()));
            true
        }
    }

    fn talking(ms: u64) -> (Media, Vec<(Side, Vec<u8>)>) {
        let nowhere: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let mut media = Media::new(2, nowhere, Tick(0));
        let mut wire = Wire::default();
        media.begin(ID, [nowhere; 2], Tick(3_000_000));
        for at in 0..=ms {
            media.fire(Tick(at * 1_000_000), &mut wire);
        }
        (media, wire.0)
    }

    fn other(side: Side) -> Side {
        match side {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    #[test]
    fn a_second_of_talk_is_fifty_packets_each_way_and_none_is_missed() {
        let (mut media, packets) = talking(1_002);
        assert_eq!(packets.len(), 100);
        for (side, packet) in &packets {
            assert_eq!(packet.len(), 172);
            media.receive(other(*side), packet, Tick(2_000_000_000));
        }
        media.end(ID);
        let counts = media.counts;
        assert_eq!((counts.sent, counts.received, counts.lost), (100, 100, 0));
        assert_eq!((counts.late, counts.twice, counts.stray), (0, 0, 0));
        media.fire(Tick(3_000_000_000), &mut Wire::default());
        assert_eq!(media.counts.sent, 100, "and it is silent");
    }

    #[test]
    fn what_is_lost_late_or_doubled_is_told_apart() {
        let (mut media, packets) = talking(202);
        let mut caller: Vec<_> = packets
            .iter()
            .filter(|(side, _)| *side == Side::Caller)
            .map(|(_, packet)| packet.clone())
            .collect();
        assert_eq!(caller.len(), 10);
        caller.swap(2, 3);
        caller.remove(6);
        for packet in &caller {
            media.receive(Side::Callee, packet, Tick(1));
        }
        media.receive(Side::Callee, caller.last().unwrap(), Tick(1));
        // To whom it was not sent, of a call that is over, and no RTP at all.
        media.receive(Side::Caller, &caller[0], Tick(1));
        let mut old = caller[0].clone();
        old[27] ^= 1;
        media.receive(Side::Callee, &old, Tick(1));
        media.receive(Side::Callee, b"?", Tick(1));
        media.end(ID);
        let counts = media.counts;
        assert_eq!(counts.received, 9);
        assert_eq!((counts.late, counts.twice, counts.stray), (1, 1, 3));
        assert_eq!(counts.lost, 1 + 10, "one, and all of the callee's");
        let (_, callees) = packets
            .iter()
            .find(|(side, _)| *side == Side::Callee)
            .unwrap();
        media.receive(Side::Caller, callees, Tick(1));
        assert_eq!(media.counts.lost, 10, "one of which comes yet");
    }

    #[test]
    fn an_sdp_says_where_it_wants_its_media() {
        let sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                    m=audio 4002 RTP/AVP 0\r\n";
        assert_eq!(wanted_at(sdp), Some("192.0.2.1:4002".parse().unwrap()));
        assert_eq!(wanted_at(b"v=0\r\n"), None);
    }
}
