//! What a worker samples of its turns: how long each stage takes, and who sends most.
//!
//! A turn is sampled where the last sampled one is a millisecond old: at a low load
//! that is every turn, at a high one a thousand a second, which costs less than one
//! percent of a core. Histograms and talkers are filled in place; control lends an empty
//! set and gets the full one back, so nothing is allocated and nothing shared.

use std::net::IpAddr;

use hdrhistogram::Histogram;

use crate::limits::SAMPLE_NS_MAX;
use crate::limits::SAMPLE_PAUSE_NS;
use crate::limits::TALKERS;
use crate::sys::clock;
use crate::tick::Tick;

/// A stage of a packet's way through a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // The help text of each stands in STAGES.
pub enum Stage {
    SipScan,
    SipProxy,
    SipSend,
    MediaRelay,
    SipAdded,
    MediaAdded,
}

/// One row of the table of stages.
#[derive(Clone, Copy, Debug)]
pub struct StageInfo {
    /// Which stage.
    pub stage: Stage,
    /// Its name in every output.
    pub name: &'static str,
    /// What is timed, in one sentence.
    pub help: &'static str,
}

/// Every stage, in the order in which packets pass them.
pub const STAGES: [StageInfo; 6] = [
    StageInfo {
        stage: Stage::SipScan,
        name: "sip_scan",
        help: "finding the header fields of one SIP message",
    },
    StageInfo {
        stage: Stage::SipProxy,
        name: "sip_proxy",
        help: "transaction, routing and media of one SIP message, or its way to its owner's mailbox",
    },
    StageInfo {
        stage: Stage::SipSend,
        name: "sip_send",
        help: "writing what one SIP message caused onto the transmit rings",
    },
    StageInfo {
        stage: Stage::MediaRelay,
        name: "media_relay",
        help: "one RTP or RTCP packet, from its flow to the transmit ring",
    },
    StageInfo {
        stage: Stage::SipAdded,
        name: "sip_added",
        help: "what the box adds to a SIP message: from its batch, or its mail, being taken to the kernel being told to send; without its wait in the receive ring or the mailbox",
    },
    StageInfo {
        stage: Stage::MediaAdded,
        name: "media_added",
        help: "what the box adds to an RTP or RTCP packet, measured likewise",
    },
];

/// A source of SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talker {
    /// Its address.
    pub address: IpAddr,
    /// Messages in sampled turns. One that was pushed out of the list by others may be counted
    /// too high, by what the least of the list had then.
    pub messages: u32,
    /// Those of them that were dropped.
    pub dropped: u32,
}

/// What was sampled since control last asked.
#[derive(Debug)]
pub struct Samples {
    histograms: [Histogram<u64>; STAGES.len()],
    talkers: [Option<Talker>; TALKERS],
}

impl Default for Samples {
    fn default() -> Self {
        Samples {
            histograms: std::array::from_fn(|_| histogram()),
            talkers: [None; TALKERS],
        }
    }
}

/// An empty histogram of nanoseconds up to [`SAMPLE_NS_MAX`], to two digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, SAMPLE_NS_MAX, 2) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that fit"),
    }
}

impl Samples {
    /// How long a stage took, in nanoseconds.
    #[must_use]
    pub fn histogram(&self, stage: Stage) -> &Histogram<u64> {
        &self.histograms[stage as usize]
    }

    /// Who sent SIP.
    pub fn talkers(&self) -> impl Iterator<Item = &Talker> {
        self.talkers.iter().flatten()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for histogram in &mut self.histograms {
            histogram.clear();
        }
        self.talkers = [None; TALKERS];
    }

    /// Adds `count` times `ns` to a stage.
    pub fn record(&mut self, stage: Stage, ns: u64, count: u32) {
        let ns = ns.clamp(1, SAMPLE_NS_MAX);
        // Within the bounds it cannot fail, and it never grows.
        let _ = self.histograms[stage as usize].record_n(ns, count.into());
    }

    /// Counts a message. Whoever is new takes the place of the one that sent least, and its
    /// count (the "space saving" of Metwally, Agrawal and El Abbadi): whoever sends more than
    /// one message in [`TALKERS`] is in the list for certain.
    pub fn heard(&mut self, address: IpAddr, dropped: bool) {
        let known = |place: &Option<Talker>| place.is_some_and(|talker| talker.address == address);
        let at = self.talkers.iter().position(known).unwrap_or_else(|| {
            let count = |at: &usize| self.talkers[*at].map_or(0, |talker| talker.messages);
            let least = (0..TALKERS).min_by_key(count).unwrap_or(0);
            self.talkers[least] = Some(Talker {
                address,
                messages: count(&least),
                dropped: 0,
            });
            least
        });
        if let Some(talker) = &mut self.talkers[at] {
            talker.messages = talker.messages.saturating_add(1);
            talker.dropped = talker.dropped.saturating_add(dropped.into());
        }
    }
}

/// Times the stages of sampled turns.
#[derive(Debug, Default)]
pub struct Stopwatch {
    samples: Box<Samples>,
    on: bool,
    sampled: Tick,
    began: Tick,
    mark: Tick,
    sip: u32,
    media: u32,
}

impl Stopwatch {
    /// A turn with work begins; whether it is sampled is decided here.
    pub fn begin(&mut self, now: Tick) {
        self.on = now.since(self.sampled) >= SAMPLE_PAUSE_NS;
        if self.on {
            self.sampled = now;
            (self.sip, self.media) = (0, 0);
            self.began = clock::now();
            self.mark = self.began;
        }
    }

    /// A stage begins.
    #[inline]
    pub fn start(&mut self) {
        if self.on {
            self.mark = clock::now();
        }
    }

    /// A stage ends, and the next begins.
    #[inline]
    pub fn lap(&mut self, stage: Stage) {
        if !self.on {
            return;
        }
        let now = clock::now();
        self.samples.record(stage, now.since(self.mark), 1);
        self.mark = now;
    }

    /// A SIP message was taken up by the worker that owns it.
    #[inline]
    pub fn sip(&mut self) {
        self.sip += u32::from(self.on);
    }

    /// A SIP message was taken off a ring.
    #[inline]
    pub fn heard(&mut self, source: IpAddr, dropped: bool) {
        if self.on {
            self.samples.heard(source, dropped);
        }
    }

    /// A media packet was taken off a ring.
    #[inline]
    pub fn media(&mut self) {
        self.media += u32::from(self.on);
    }

    /// The turn's frames have been handed to the kernel.
    pub fn end(&mut self) {
        if !std::mem::take(&mut self.on) {
            return;
        }
        let added = clock::now().since(self.began);
        for (stage, count) in [(Stage::SipAdded, self.sip), (Stage::MediaAdded, self.media)] {
            if count > 0 {
                self.samples.record(stage, added, count);
            }
        }
    }

    /// Takes an empty set for the one that has been filled.
    pub fn exchange(&mut self, empty: Box<Samples>) -> Box<Samples> {
        std::mem::replace(&mut self.samples, empty)
    }
}

const _: () = {
    let mut at = 0;
    while at < STAGES.len() {
        assert!(STAGES[at].stage as usize == at);
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn host(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn who_sends_most_stays_in_the_list_however_many_others_come() {
        let mut samples = Samples::default();
        for round in 0..2000u32 {
            samples.heard(host(1), true);
            for other in 0..4 {
                let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + round * 4 + other));
                samples.heard(address, false);
            }
        }
        let loud = samples.talkers().find(|talker| talker.address == host(1));
        let loud = loud.expect("one in five of all messages is its");
        assert!(loud.messages >= 2000);
        assert_eq!(loud.dropped, 2000);
        let total: u64 = samples.talkers().map(|t| u64::from(t.messages)).sum();
        assert_eq!(total, 10_000, "every message is somebody's");
    }

    #[test]
    fn a_turn_is_sampled_once_a_pause() {
        let mut watch = Stopwatch::default();
        let mut turns = 0;
        for ns in (0..=10 * SAMPLE_PAUSE_NS).step_by(SAMPLE_PAUSE_NS as usize / 4) {
            watch.begin(Tick(SAMPLE_PAUSE_NS + ns));
            watch.media();
            watch.lap(Stage::MediaRelay);
            watch.end();
            turns += 1;
        }
        assert_eq!(turns, 41);
        let full = watch.exchange(Box::default());
        assert_eq!(full.histogram(Stage::MediaRelay).len(), 11);
        assert_eq!(full.histogram(Stage::MediaAdded).len(), 11);
        assert_eq!(full.histogram(Stage::SipAdded).len(), 0);
        assert!(watch.exchange(full).histogram(Stage::MediaRelay).is_empty());
    }

    #[test]
    fn times_beyond_the_bounds_count_at_the_bounds() {
        let mut samples = Samples::default();
        samples.record(Stage::SipScan, 0, 1);
        samples.record(Stage::SipScan, u64::MAX, 1);
        let histogram = samples.histogram(Stage::SipScan);
        assert_eq!((histogram.min(), histogram.len()), (1, 2));
        assert!(histogram.max() >= SAMPLE_NS_MAX);
        samples.clear();
        assert!(samples.histogram(Stage::SipScan).is_empty());
    }
}
