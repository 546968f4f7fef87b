//! The server transactions (RFC 3261 §17.2, RFC 6026 §7.1).

use super::T1;
use super::T2;
use super::Timers;
use crate::frame::Kept;
use crate::ids::ListenIndex;
use crate::limits::T1_64_MS;
use crate::limits::T1_MS;
use crate::limits::T2_MS;
use crate::limits::T4_MS;
use crate::sip::endpoint::Endpoint;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// Where a server transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// No final response yet: Trying and Proceeding.
    Proceeding,
    /// A final response was sent; for INVITE one that is not 2xx.
    Completed,
    /// The ACK to that has come.
    Confirmed,
    /// A 2xx to INVITE was sent (RFC 6026).
    Accepted,
}

/// What a fired timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing was due.
    Nothing,
    /// Send the kept response again.
    Resend,
    /// Answer 100: nothing else was answered for so long (RFC 4320 §4.1).
    Trying,
    /// Answer now, with what there is: nobody listens much longer.
    LastMoment,
    /// The transaction is over.
    End,
}

/// What carries a request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branches {
    /// Nothing yet, or nothing any more that could change the answer.
    None,
    /// One client transaction.
    One(Id),
    /// Several, or one that another may follow: those of a response context.
    Context(Id),
    /// None yet: the request waits for something outside, with this ticket.
    Parked(Id),
}

/// A request that was received, and what became of it.
#[derive(Debug)]
pub struct Server {
    /// Under which the transaction is indexed.
    pub key: u64,
    /// An INVITE transaction.
    pub invite: bool,
    /// Where it stands.
    pub state: ServerState,
    /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4): the address that it came from.
    pub reply_to: Endpoint,
    /// On which listen it came, and its responses leave.
    pub listen: ListenIndex,
    /// The last response sent, for retransmissions.
    pub response: Option<Kept>,
    /// What carries it on.
    pub branches: Branches,
    /// Whoever sent it wants it no more: a CANCEL has come.
    pub cancelled: bool,
    /// It has waited, and was refused by ourselves.
    pub is_refused: bool,
    /// The place of the call that it begins, until it is answered.
    pub place: Option<Id>,
    timers: Timers,
}

impl Server {
    /// A transaction for a request just received.
    #[must_use]
    pub fn new(
        key: u64,
        invite: bool,
        reply_to: Endpoint,
        listen: ListenIndex,
        now: Tick,
    ) -> Server {
        let mut timers = Timers::new(now);
        if !invite {
            timers.resend_in(TRYING_MS, now);
            timers.end_in(OTHER_MS, now);
        }
        Server {
            key,
            invite,
            state: ServerState::Proceeding,
            reply_to,
            listen,
            response: None,
            branches: Branches::None,
            cancelled: false,
            is_refused: false,
            place: None,
            timers,
        }
    }

    /// Takes note that a response with this status goes out now. False where none may:
    /// a final one has gone before, and this is not one more 2xx; or it is none that others
    /// than INVITE get.
    #[must_use]
    pub fn respond(&mut self, status: u16, now: Tick) -> bool {
        match (self.state, status) {
            (ServerState::Proceeding, ..=199) => true,
            (ServerState::Proceeding, 200..=299) if self.invite => {
                // RFC 6026 §7.1: Timer L. The UAS retransmits the 2xx, not we.
                self.state = ServerState::Accepted;
                self.timers.end_in(T1_64_MS, now);
                true
            }
            (ServerState::Proceeding, _) => {
                self.state = ServerState::Completed;
                // RFC 4320 §4.2: others than INVITE get no 408, and nothing in its place. The
                // transaction stays for its time, so that a repetition is not taken for a new request.
                let is_told = self.invite || status != 408;
                if is_told {
                    // RFC 3261 §17.2.1: Timer H, and G over UDP. §17.2.2: Timer J.
                    self.timers.end_in(T1_64_MS, now);
                }
                if self.invite {
                    self.timers.resend_in(T1, now);
                } else {
                    self.timers.stop_resending();
                }
                is_told
            }
            (ServerState::Accepted, 200..=299) => true,
            _ => false,
        }
    }

    /// True where a repetition of the request is answered by the last response.
    #[must_use]
    pub const fn answers_repetition(&self) -> bool {
        // RFC 6026 §7.1: in Accepted a repeated INVITE is absorbed in silence.
        matches!(self.state, ServerState::Proceeding | ServerState::Completed)
    }

    /// Takes note of an ACK to a response that is not 2xx. False where none is awaited.
    pub fn acknowledge(&mut self, now: Tick) -> bool {
        match self.state {
            ServerState::Completed if self.invite => {
                // RFC 3261 §17.2.1: Timer I.
                self.state = ServerState::Confirmed;
                self.timers.stop_resending();
                self.timers.end_in(T4_MS, now);
                true
            }
            ServerState::Confirmed => true,
            _ => false,
        }
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.timers.due()
    }

    /// What is due at `now`.
    pub fn fire(&mut self, now: Tick) -> Fired {
        if self.timers.has_ended(now) {
            Fired::End
        } else if self.timers.resends(now, T2) {
            if self.state != ServerState::Proceeding {
                Fired::Resend
            } else if self.timers.is_at_age(LAST_MOMENT_MS, now) {
                self.timers.stop_resending();
                Fired::LastMoment
            } else {
                self.timers.resend_at_age(LAST_MOMENT_MS);
                Fired::Trying
            }
        } else {
            Fired::Nothing
        }
    }
}

/// RFC 4320 §4.1: when Timer E of who sent it is set to T2, after 500, 1,000 and 2,000 ms.
const TRYING_MS: u16 = T1 * 7;
/// When others than INVITE are answered with what some of their targets have said, though others
/// have said nothing: Timer F of who sent it may have begun as much as T2 before it came.
#[allow(clippy::cast_possible_truncation)] // 28,000.
const LAST_MOMENT_MS: u32 = (T1_64_MS - T2_MS) as u32;
/// How long others than INVITE may take in all: who sent it listens for 64·T1 (Timer F), and so
/// does our own client transaction, which ends first unless the request waited before it was sent on.
/// Nothing late goes out (RFC 4320 §4.2).
const OTHER_MS: u64 = T1_64_MS + T1_MS;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    fn server(invite: bool) -> Server {
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);
        Server::new(1, invite, peer.into(), ListenIndex(0), Tick(0))
    }

    /// Every moment in ms at which something is sent again, and the end.
    fn run(server: &mut Server) -> (Vec<u64>, u64) {
        let mut sent = Vec::new();
        loop {
            let now = server.due();
            match server.fire(now) {
                Fired::Resend => sent.push(now.as_ms()),
                Fired::End => return (sent, now.as_ms()),
                other => panic!("{other:?} at {now:?}"),
            }
        }
    }

    #[test]
    fn a_failure_is_retransmitted_by_timer_g_until_timer_h() {
        let mut server = server(true);
        assert!(server.respond(486, Tick(0)));
        let (sent, end) = run(&mut server);
        assert_eq!(
            sent,
            [
                500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
            ]
        );
        assert_eq!(end, 32_000);
    }

    #[test]
    fn an_ack_stops_retransmission_and_timer_i_ends_it() {
        let mut server = server(true);
        assert!(server.respond(486, Tick(0)));
        assert!(server.acknowledge(Tick::ms(100)) && server.acknowledge(Tick::ms(200)));
        assert_eq!(run(&mut server), (vec![], 5_100));
        assert!(!server.answers_repetition());
    }

    #[test]
    fn a_2xx_may_be_repeated_and_nothing_else_follows_it() {
        let mut server = server(true);
        assert!(server.respond(180, Tick(0)) && server.respond(200, Tick(0)));
        assert!(
            server.respond(200, Tick(0)),
            "a retransmission, or another branch's"
        );
        assert!(!server.respond(486, Tick(0)) && !server.respond(180, Tick(0)));
        assert!(
            !server.acknowledge(Tick(0)),
            "the ACK to a 2xx is not this transaction's"
        );
        assert_eq!(run(&mut server), (vec![], 32_000));
    }

    #[test]
    fn other_methods_get_one_final_response_and_timer_j() {
        let mut server = server(false);
        assert!(server.respond(200, Tick(0)) && !server.respond(200, Tick(0)));
        assert!(server.answers_repetition());
        assert_eq!(run(&mut server), (vec![], 32_000));
    }

    #[test]
    fn other_methods_get_one_100_when_timer_e_is_at_t2_and_no_408() {
        let mut server = server(false);
        assert_eq!(server.due().as_ms(), 3_500);
        assert_eq!(server.fire(Tick::ms(3_500)), Fired::Trying);
        assert_eq!(server.due().as_ms(), 28_000);
        assert_eq!(server.fire(Tick::ms(28_000)), Fired::LastMoment);
        assert_eq!(server.due().as_ms(), 32_500, "one, and nothing late");
        assert!(!server.respond(408, Tick::ms(29_000)));
        assert!(!server.respond(200, Tick::ms(29_001)));
        assert_eq!(run(&mut server), (vec![], 32_500));
    }

    #[test]
    fn an_invite_waits_for_its_answer_without_a_timer() {
        assert_eq!(server(true).due(), Tick::NEVER);
    }
}
