//! A call: both its ends, in one entry.

use std::net::SocketAddr;
use std::time::Duration;

use trunkline_dataplane::tick::Tick;

use super::pen::read_hex;
use super::script::Script;

/// RFC 3261 §17.1.1.1: T1.
pub const T1_NS: u64 = 500_000_000;
/// RFC 3261 §17.1.2.2: T2.
pub const T2_NS: u64 = 4_000_000_000;
/// Timers B, F and H: 64·T1.
pub const GIVE_UP_NS: u64 = 64 * T1_NS;

/// One end of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who calls: the box's first interface.
    Caller,
    /// Who is called: the second.
    Callee,
}

/// A call's entry, and which of the calls that had it one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The entry.
    pub seat: u32,
    /// Grows with each call that takes it.
    pub generation: u32,
}

impl Id {
    /// Reads it from a Call-ID or a tag without its first letter.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Id> {
        Some(Id {
            seat: read_hex(text.get(..8)?)?,
            generation: read_hex(text.get(8..16)?)?,
        })
    }
}

/// What the caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerState {
    /// It has said INVITE, or REGISTER, and heard nothing.
    Calling,
    /// It has heard a provisional response.
    Proceeding,
    /// It has said CANCEL.
    Cancelling,
    /// CANCEL has been answered: the INVITE's 487 is to come.
    Cancelled,
    /// The dialog stands, and nothing is under way.
    Talking,
    /// It has said BYE.
    Ending,
    /// Nothing: all has been said.
    Over,
}

/// The caller's end.
#[derive(Debug)]
pub struct Caller {
    pub(super) state: CallerState,
    /// The dialog stands: an INVITE under way is a re-INVITE.
    pub(super) confirmed: bool,
    /// CSeq of the last INVITE or BYE.
    pub(super) cseq: u32,
    /// How often the request under way has been repeated.
    pub(super) tries: u8,
    /// re-INVITEs that have been answered.
    pub(super) held: u8,
    /// A provisional response to the INVITE has been heard, and which was the highest.
    pub(super) heard: u16,
    /// When the request under way was said first.
    pub(super) since: Tick,
    /// When the first REGISTER was said, before any challenge.
    pub(super) begun: Tick,
    /// When the first ACK was said, or the last of a re-INVITE.
    pub(super) acked: Tick,
    /// Where the callee wants its media.
    pub(super) media: Option<SocketAddr>,
    /// Challenges that have been answered.
    pub(super) challenges: u8,
    /// The answer to the last one, a header line; empty where there was none.
    pub(super) authorization: String,
    /// Where requests of the dialog go.
    pub(super) hop: SocketAddr,
    /// The remote target.
    pub(super) target: Vec<u8>,
    /// The route set, as header lines.
    pub(super) routes: Vec<u8>,
}

/// What the callee waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalleeState {
    /// The INVITE.
    Idle,
    /// It has said 180.
    Ringing,
    /// It has said 200 to an INVITE; the ACK is to come.
    Answered,
    /// It has said a final response that is no 2xx; the ACK is to come.
    Refused,
    /// The dialog stands, and nothing is under way.
    Talking,
    /// Nothing: all has been said.
    Over,
}

/// The callee's end.
#[derive(Debug)]
pub struct Callee {
    pub(super) state: CalleeState,
    /// CSeq of the INVITE that is being answered, or was last.
    pub(super) cseq: u32,
    /// The status said last to it.
    pub(super) status: u16,
    /// How often a final response has been repeated.
    pub(super) tries: u8,
    /// The INVITE was within the dialog: its To has our tag.
    pub(super) tagged: bool,
    /// What was offered last is to be on hold.
    pub(super) holding: bool,
    /// When the last response was said first.
    pub(super) since: Tick,
    /// When 180 was said.
    pub(super) rang: Tick,
    /// Where the caller wants its media.
    pub(super) media: Option<SocketAddr>,
    /// Where its responses go.
    pub(super) reply_to: SocketAddr,
    /// The INVITE's header lines that a response repeats; To is the last, without its line end.
    pub(super) echo: Vec<u8>,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    pub(super) generation: u32,
    /// The entry is taken.
    pub(super) open: bool,
    /// It has been counted as completed or failed.
    pub(super) settled: bool,
    pub(super) script: Script,
    /// Who calls or registers.
    pub(super) user: u32,
    pub(super) caller: Caller,
    pub(super) callee: Callee,
}

impl Call {
    /// An entry that no call has had yet.
    pub(super) fn vacant(nowhere: SocketAddr) -> Call {
        Call {
            generation: 0,
            open: false,
            settled: true,
            script: Script::Basic,
            user: 0,
            caller: Caller {
                state: CallerState::Over,
                confirmed: false,
                cseq: 0,
                tries: 0,
                held: 0,
                heard: 0,
                since: Tick(0),
                begun: Tick(0),
                acked: Tick(0),
                media: None,
                challenges: 0,
                authorization: String::new(),
                hop: nowhere,
                target: Vec::new(),
                routes: Vec::new(),
            },
            callee: Callee {
                state: CalleeState::Over,
                cseq: 0,
                status: 0,
                tries: 0,
                tagged: false,
                holding: false,
                since: Tick(0),
                rang: Tick(0),
                media: None,
                reply_to: nowhere,
                echo: Vec::new(),
            },
        }
    }

    /// Both ends have said and heard all.
    pub(super) fn is_over(&self) -> bool {
        self.caller.state == CallerState::Over
            && matches!(self.callee.state, CalleeState::Idle | CalleeState::Over)
    }
}

/// How long to wait before something is said again that has been said `tries` times again
/// already: T1 doubled each time (RFC 3261 §17.1.1.2), for others than INVITE up to T2 (§17.1.2.2).
pub(super) fn wait_ns(tries: u8, most: Option<u64>) -> u64 {
    let wait = T1_NS << tries.min(7);
    most.map_or(wait, |most| wait.min(most))
}

/// So long after `now`.
pub(super) fn after(now: Tick, wait: Duration) -> Tick {
    Tick(now.0 + u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 2))
}
