//! What a worker tells of a call when the operator asks.

use std::net::SocketAddr;

use crate::ids::TrunkIndex;
use crate::ids::WorkerId;
use crate::tick::Tick;

/// A short text held in place; what does not fit is cut.
#[derive(Clone, Copy)]
pub struct ShortText<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Default for ShortText<N> {
    fn default() -> Self {
        ShortText {
            len: 0,
            bytes: [0; N],
        }
    }
}

impl<const N: usize> ShortText<N> {
    /// The first `N` bytes of `bytes`; `N` is at most 255.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        const { assert!(N <= 255) };
        let mut text = ShortText::default();
        for (cell, &byte) in text.bytes.iter_mut().zip(bytes) {
            *cell = byte;
            text.len += 1;
        }
        text
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(N)]
    }

    /// The text for a person: control characters and broken UTF-8 replaced.
    #[must_use]
    pub fn display(&self) -> String {
        String::from_utf8_lossy(self.bytes()).replace(|c: char| c.is_control(), "\u{fffd}")
    }
}

impl<const N: usize> std::fmt::Debug for ShortText<N> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?}", self.display())
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallState {
    /// INVITE sent, no answer yet.
    #[default]
    Calling,
    /// A provisional answer with a To tag has come: an early dialog.
    Early,
    /// Answered with a 2xx.
    Established,
    /// Over; kept for a moment until its ports are free.
    Ended,
}

impl CallState {
    /// Its name in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CallState::Calling => "calling",
            CallState::Early => "early",
            CallState::Established => "established",
            CallState::Ended => "ended",
        }
    }
}

/// One side of one media stream of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegReport {
    /// Our relay port for RTP; RTCP is one above.
    pub relay: SocketAddr,
    /// Where that side wants its media; `None`: not known yet, or on hold.
    pub peer: Option<SocketAddr>,
}

/// A call, as its owner knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallReport {
    /// The Call-ID.
    pub call_id: ShortText<128>,
    /// The URI of From.
    pub from: ShortText<96>,
    /// The URI of To.
    pub to: ShortText<96>,
    /// How far it has come.
    pub state: CallState,
    /// When its INVITE came.
    pub started: Tick,
    /// When it was answered.
    pub answered: Option<Tick>,
    /// Its owner.
    pub worker: WorkerId,
    /// The trunk that called, where one is known.
    pub caller: Option<TrunkIndex>,
    /// The trunk that was called.
    pub callee: Option<TrunkIndex>,
    /// The media legs: caller's and callee's side of each anchored stream.
    pub legs: [Option<[LegReport; 2]>; 4],
}
