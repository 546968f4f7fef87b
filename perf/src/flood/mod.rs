//! One-way floods: INVITEs, OPTIONS or RTP that nobody waits for an answer to, faster than any user
//! agent could say them, and with next to no CPU taken from the box.
//!
//! The frames are made by src/bpf/flood.bpf.c, which BPF_PROG_TEST_RUN runs over live frames: the
//! kernel sends them without a socket. The far side of a veth needs a native XDP program or gro.

pub mod args;
mod letter;

use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use libbpf_rs::MapCore as _;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use libbpf_rs::Object;
use libbpf_rs::ObjectBuilder;
use libbpf_rs::libbpf_sys;

use self::letter::Letter;
use crate::stop::Stop;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flood.bpf.o"));

/// The program's headers: Ethernet, IPv4, UDP.
const HEADERS_LEN: usize = 42;
const PLACES_MAX: usize = 8;

/// A flood.
#[derive(Debug)]
struct Plan {
    /// Frames a second.
    rate: f64,
    time: Duration,
    ifindex: u32,
    flows: u32,
    first_source: u16,
    first_destination: u16,
    headers: [u8; HEADERS_LEN],
    letter: Letter,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    sent: u64,
    late: u64,
    seconds: f64,
}

impl Plan {
    /// Frames in all.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive, and what is beyond u64 saturates"
    )]
    fn most(&self) -> u64 {
        (self.rate * self.time.as_secs_f64()).ceil() as u64
    }

    /// `struct plan` of flood.bpf.c.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive, and what is beyond u64 saturates"
    )]
    fn bytes(&self) -> Vec<u8> {
        let interval = (1e9 / self.rate * 65_536.0) as u64;
        let most = self.most();
        let mut bytes = Vec::new();
        bytes.extend(interval.to_ne_bytes());
        bytes.extend(most.to_ne_bytes());
        let places = &self.letter.places;
        let words = [
            self.ifindex,
            self.flows,
            self.first_source.into(),
            self.first_destination.into(),
            places.len() as u32,
        ];
        bytes.extend(words.into_iter().flat_map(u32::to_ne_bytes));
        for at in 0..PLACES_MAX {
            let (at, kind) = places
                .get(at)
                .map_or((0, 0), |&(at, kind)| (at, kind as u32));
            bytes.extend(at.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
        }
        bytes.extend(self.headers);
        // The struct ends at a multiple of eight.
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}

/// Numbers of the program's state: when the next frame is due, frames sent, and late, and when the
/// first and the last were sent.
const STATE_WORDS: usize = 5;

/// How much longer than its time a flood may take: its start, and a moment in which the machine was
/// taken away.
const GRACE: Duration = Duration::from_millis(500);

/// Runs a flood until it is over or somebody wants it to end.
fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let object = ObjectBuilder::default()
        .open_memory(OBJECT)?
        .load()
        .context("loading the flood's program")?;
    let plans = map(&object, "plans")?;
    let states = map(&object, "states")?;
    let key = 0_u32.to_ne_bytes();
    plans.update(&key, &plan.bytes(), MapFlags::ANY)?;
    let program = object
        .progs()
        .find(|program| program.name() == "perf_flood");
    let program = program.context("the flood's program")?;
    let mut frame = plan.headers.to_vec();
    frame.extend(&plan.letter.payload);
    let stop = Stop::listen()?;
    let fd = program.as_fd().as_raw_fd();
    let state = || -> anyhow::Result<[u64; STATE_WORDS]> {
        let value = states.lookup(&key, MapFlags::ANY)?.unwrap_or_default();
        let (words, _) = value.as_chunks::<8>();
        let mut state = [0; STATE_WORDS];
        for (word, bytes) in state.iter_mut().zip(words) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Ok(state)
    };
    let end = std::time::Instant::now() + plan.time + GRACE;
    // The kernel sleeps between no two frames: short runs let us look whether to end.
    while !stop.asked() && state()?[1] < plan.most() && std::time::Instant::now() < end {
        test_run(fd, &frame)?;
    }
    let [_, sent, late, first, last] = state()?;
    #[allow(clippy::cast_precision_loss, reason = "times far below 2^52")]
    let seconds = last.saturating_sub(first) as f64 / 1e9;
    Ok(Outcome {
        sent,
        late,
        seconds,
    })
}

fn map(object: &Object, name: &str) -> anyhow::Result<MapHandle> {
    let mut maps = object.maps();
    let map = maps.find(|map| map.name() == name);
    Ok(MapHandle::try_from(
        &map.with_context(|| format!("the flood's map {name}"))?,
    )?)
}

/// Frames that one system call goes through, due or not: some milliseconds.
const REPEAT: i32 = 1 << 20;

#[allow(
    unsafe_code,
    reason = "libbpf-rs has no BPF_F_TEST_XDP_LIVE_FRAMES with a batch"
)]
fn test_run(fd: i32, frame: &[u8]) -> anyhow::Result<()> {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as u64,
        data_in: frame.as_ptr().cast(),
        data_size_in: u32::try_from(frame.len())?,
        repeat: REPEAT,
        flags: libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: 64,
        ..Default::default()
    };
    // SAFETY: the frame and the options outlive the call, and their sizes are their own.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(fd, &raw mut options) };
    match nix::errno::Errno::from_raw(-result) {
        _ if result == 0 => Ok(()),
        nix::errno::Errno::EINTR => Ok(()),
        error => bail!("BPF_PROG_TEST_RUN over live frames: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_laid_out_as_the_program_has_it() {
        let plan = Plan {
            rate: 1e6,
            time: Duration::from_secs(2),
            ifindex: 7,
            flows: 3,
            first_source: 30_000,
            first_destination: 20_000,
            headers: [9; HEADERS_LEN],
            letter: Letter::rtp(),
        };
        let bytes = plan.bytes();
        assert_eq!(bytes.len(), 16 + 20 + 64 + 42 + 2);
        assert_eq!(bytes[..8], (1_000_u64 << 16).to_ne_bytes());
        assert_eq!(bytes[8..16], 2_000_000_u64.to_ne_bytes());
        assert_eq!(bytes[16..20], 7_u32.to_ne_bytes());
        assert_eq!(bytes[100..142], [9; 42]);
    }
}
