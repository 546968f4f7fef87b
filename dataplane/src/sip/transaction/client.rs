//! The client transactions (RFC 3261 §17.1, RFC 6026 §7.2), with Timer C of a proxy
//! (§16.6 step 11).

use super::NO_CAP;
use super::T1;
use super::T1_64;
use super::T2;
use super::Timers;
use crate::frame::Kept;
use crate::ids::ListenIndex;
use crate::limits::T1_64_MS;
use crate::limits::T4_MS;
use crate::limits::TIMER_C_MS;
use crate::limits::TIMER_D_MS;
use crate::sip::call::Sender;
use crate::sip::endpoint::Endpoint;
use crate::sip::method::Method;
use crate::sip::session::Asked;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// Where a client transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Sent, and nothing heard: Calling and Trying.
    Calling,
    /// A provisional response has come.
    Proceeding,
    /// A final response has come; for INVITE one that is not 2xx.
    Completed,
    /// A 2xx to INVITE has come (RFC 6026).
    Accepted,
}

/// What a response asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It goes upstream.
    Forward,
    /// It goes upstream, and we acknowledge it (RFC 3261 §17.1.1.3).
    ForwardAndAck,
    /// It is a repetition: acknowledge it again.
    Ack,
    /// It has done its work.
    Absorb,
}

/// What a fired timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing was due.
    Nothing,
    /// Send the kept request again.
    Resend,
    /// No final response came in time (timers B, F).
    TimedOut,
    /// Nothing was heard in the short time that it had ([`Client::hurry`]).
    Unheard,
    /// It rang for too long (Timer C): cancel it.
    Cancel,
    /// The transaction is over.
    End,
}

/// How far the wish to cancel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Nobody wants it.
    No,
    /// As soon as a provisional response comes (RFC 3261 §9.1).
    Wanted,
    /// Sent, by this client transaction.
    Sent(Id),
}

/// What became of 2xx for which nobody upstream waits any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// One has come: it is owed an ACK and a BYE.
    pub has_come: bool,
    /// How many were given both.
    pub byes: u8,
    /// The last of them, by a hash of its To tag.
    pub tag: u16,
}

/// How long it may take until something is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// All its time.
    No,
    /// A short time, since another target is there to be tried.
    Hurried,
    /// That is over. Whoever can be tried in its place takes it.
    Overdue,
}

/// What tells the responses to a request from those to others, beside the branch: a branch comes
/// again when its slot's generations are used up, and who has one can write what he likes below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The loop hash in the branch.
    pub loop_hash: u32,
    /// A hash of what a response repeats (RFC 3261 §8.2.6.2): Call-ID, From tag, CSeq number.
    pub echo: u32,
}

impl Marks {
    /// Of these two hashes as much as a branch holds.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // 32 bits of each.
    pub const fn new(way_hash: u64, echo: u64) -> Marks {
        Marks {
            loop_hash: way_hash as u32,
            echo: echo as u32,
        }
    }

    /// True for a response with this echo.
    #[must_use]
    pub const fn has_echo(self, echo: u64) -> bool {
        self.echo == Marks::new(0, echo).echo
    }

    /// Both as one key, whose low half, as the high one, is of the way: what goes several ways is
    /// not all found in one place.
    #[must_use]
    pub const fn key(self) -> u64 {
        (self.loop_hash as u64) << 32 | (self.loop_hash ^ self.echo) as u64
    }
}

/// A request that we sent on.
#[derive(Debug)]
pub struct Client {
    /// The request's method.
    pub method: Method,
    /// By which its responses are known.
    pub marks: Marks,
    /// Where it stands.
    pub state: ClientState,
    /// Where it was sent.
    pub destination: Endpoint,
    /// From which listen.
    pub listen: ListenIndex,
    /// The request as sent; after a failure of an INVITE the front of the ACK to it.
    pub message: Option<Kept>,
    /// The server transaction that it carries on.
    pub server: Option<Id>,
    /// Whose request of which call it is.
    pub sender: Option<Sender>,
    /// What it asks for a session timer.
    pub asked: Asked,
    /// Whether it is to be cancelled.
    pub cancel: Cancel,
    /// True once ICMP has said that it is too large for the way.
    pub by_kernel: bool,
    /// Of 2xx that came when nobody upstream waited for them any more.
    pub late: Late,
    haste: Haste,
    timers: Timers,
}

impl Client {
    /// A transaction for a request that is sent now.
    #[must_use]
    pub fn new(
        method: Method,
        marks: Marks,
        destination: Endpoint,
        listen: ListenIndex,
        message: Kept,
        now: Tick,
    ) -> Client {
        // RFC 3261 §17.1.1.2: timers A and B. §17.1.2.2: timers E and F.
        let mut timers = Timers::new(now);
        timers.resend_in(T1, now);
        timers.end_in(T1_64_MS, now);
        Client {
            method,
            marks,
            state: ClientState::Calling,
            destination,
            listen,
            message: Some(message),
            server: None,
            sender: None,
            asked: Asked::default(),
            cancel: Cancel::No,
            by_kernel: false,
            late: Late::default(),
            haste: Haste::No,
            timers,
        }
    }

    /// When the request was sent first.
    #[must_use]
    pub const fn began(&self) -> Tick {
        self.timers.began
    }

    fn invite(&self) -> bool {
        self.method == Method::Invite
    }

    /// Takes note of a response with this status.
    pub fn hear(&mut self, status: u16, now: Tick) -> Heard {
        match (self.state, status) {
            (ClientState::Calling | ClientState::Proceeding, ..=199) => {
                self.provisional(status, now)
            }
            (ClientState::Calling | ClientState::Proceeding, _) => self.end(status, now),
            // RFC 6026 §7.2: a repeated 2xx, or one of another fork, goes upstream.
            (ClientState::Accepted, 200..=299) => Heard::Forward,
            (ClientState::Completed, 300..) if self.invite() => Heard::Ack,
            _ => Heard::Absorb,
        }
    }

    fn provisional(&mut self, status: u16, now: Tick) -> Heard {
        let first = self.state == ClientState::Calling;
        self.state = ClientState::Proceeding;
        self.wait_on();
        if self.invite() {
            self.timers.stop_resending();
            // RFC 3261 §16.7 step 2: a 100 does not reset Timer C, others do. A
            // cancelled INVITE has its own end (§9.1).
            if self.cancel == Cancel::No && (first || status != 100) {
                self.timers.end_in(TIMER_C_MS, now);
            }
        } else {
            // RFC 3261 §17.1.2.2: once it fires in Proceeding, Timer E is set to T2.
            self.timers.interval_ms = T2;
        }
        // RFC 4320 §4.1: others than INVITE get no provisional response but 100, which is
        // hop by hop (RFC 3261 §16.7 step 5).
        if status == 100 || !self.invite() {
            Heard::Absorb
        } else {
            Heard::Forward
        }
    }

    fn end(&mut self, status: u16, now: Tick) -> Heard {
        self.timers.stop_resending();
        if !self.invite() {
            // RFC 3261 §17.1.2.2: Timer K.
            self.state = ClientState::Completed;
            self.timers.end_in(T4_MS, now);
            Heard::Forward
        } else if status < 300 {
            // RFC 6026 §7.2: Timer M.
            self.state = ClientState::Accepted;
            self.timers.end_in(T1_64_MS, now);
            Heard::Forward
        } else {
            self.state = ClientState::Completed;
            self.timers.end_in(TIMER_D_MS, now);
            Heard::ForwardAndAck
        }
    }

    /// Gives it no more than `ms` from now while nothing is heard: another target is there to be
    /// tried.
    pub fn hurry(&mut self, ms: u64, now: Tick) {
        if self.state == ClientState::Calling && ms < T1_64_MS {
            self.timers.end_in(ms, now);
            self.haste = Haste::Hurried;
        }
    }

    /// Takes note that nothing was heard in its short time. It goes on until Timer B or F, or until
    /// another is tried in its place.
    pub fn overrun(&mut self) {
        self.wait_on();
        self.haste = Haste::Overdue;
    }

    /// True while nothing is heard though its short time is over.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.state == ClientState::Calling && self.haste == Haste::Overdue
    }

    /// Gives it the whole time of Timer B or F, where it had less.
    fn wait_on(&mut self) {
        if std::mem::replace(&mut self.haste, Haste::No) == Haste::Hurried {
            self.timers.end_at_age(T1_64);
        }
    }

    /// Sends it no more. Whoever answers an INVITE yet is told by a CANCEL that it is over.
    pub fn abandon(&mut self) {
        self.wait_on();
        self.timers.stop_resending();
        if self.invite() && self.cancel == Cancel::No {
            self.cancel = Cancel::Wanted;
        }
    }

    /// Takes note that a CANCEL was sent: RFC 3261 §9.1 gives the INVITE 64·T1 to end.
    pub fn cancelled(&mut self, by: Id, now: Tick) {
        self.cancel = Cancel::Sent(by);
        self.timers.end_in(T1_64_MS, now);
    }

    /// True while no final response has come.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.timers.due()
    }

    /// What is due at `now`.
    pub fn fire(&mut self, now: Tick) -> Fired {
        if self.timers.has_ended(now) {
            let rang_too_long =
                self.invite() && self.state == ClientState::Proceeding && self.cancel == Cancel::No;
            return match self.is_pending() {
                true if self.haste == Haste::Hurried => Fired::Unheard,
                true if rang_too_long => Fired::Cancel,
                true => Fired::TimedOut,
                false => Fired::End,
            };
        }
        let cap_ms = if self.invite() { NO_CAP } else { T2 };
        if self.timers.resends(now, cap_ms) {
            Fired::Resend
        } else {
            Fired::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::KeptConfig;
    use crate::frame::KeptSlab;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    fn client(method: Method) -> Client {
        let message = KeptSlab::new(KeptConfig::new(1, 0)).put(b"INVITE").unwrap();
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);
        let marks = Marks::default();
        Client::new(method, marks, peer.into(), ListenIndex(0), message, Tick(0))
    }

    #[test]
    fn what_goes_several_ways_has_keys_that_differ_in_either_half() {
        let keys = [1_u64, 2, 3, 4].map(|way| Marks::new(way << 7 | way, 77).key());
        for halves in [keys.map(|key| key >> 32), keys.map(|key| key % 1024)] {
            assert!((1..4).all(|at| !halves[at..].contains(&halves[at - 1])));
        }
    }

    /// Every moment in ms at which something is sent again, and what ends it when.
    fn run(client: &mut Client) -> (Vec<u64>, Fired, u64) {
        let mut sent = Vec::new();
        loop {
            let now = client.due();
            match client.fire(now) {
                Fired::Resend => sent.push(now.as_ms()),
                Fired::Nothing => panic!("woken for nothing at {now:?}"),
                end => return (sent, end, now.as_ms()),
            }
        }
    }

    #[test]
    fn an_unheard_invite_is_sent_seven_times_until_timer_b() {
        let (sent, end, at) = run(&mut client(Method::Invite));
        assert_eq!(sent, [500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((end, at), (Fired::TimedOut, 32_000));
    }

    #[test]
    fn an_unheard_bye_is_sent_eleven_times_until_timer_f() {
        let (sent, end, at) = run(&mut client(Method::Bye));
        assert_eq!(
            sent,
            [
                500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
            ]
        );
        assert_eq!((end, at), (Fired::TimedOut, 32_000));
    }

    #[test]
    fn a_bye_that_proceeds_is_repeated_every_t2() {
        let mut client = client(Method::Bye);
        assert_eq!(client.hear(100, Tick::ms(100)), Heard::Absorb);
        assert_eq!(client.hear(183, Tick::ms(110)), Heard::Absorb, "RFC 4320");
        let (sent, ..) = run(&mut client);
        assert_eq!(sent[..4], [500, 4500, 8500, 12500]);
    }

    #[test]
    fn timer_c_runs_from_the_last_provisional_that_is_not_100() {
        let mut client = client(Method::Invite);
        assert_eq!(client.hear(100, Tick::ms(10)), Heard::Absorb);
        assert_eq!(client.hear(180, Tick::ms(20)), Heard::Forward);
        assert_eq!(client.hear(100, Tick::ms(90)), Heard::Absorb);
        assert_eq!(run(&mut client), (vec![], Fired::Cancel, 181_020));
        client.cancelled(Id::new(0, 0), Tick::ms(181_020));
        assert_eq!(client.hear(180, Tick::ms(182_000)), Heard::Forward);
        assert_eq!(run(&mut client), (vec![], Fired::TimedOut, 213_020));
    }

    #[test]
    fn a_failure_is_acknowledged_each_time_it_comes() {
        let mut client = client(Method::Invite);
        assert_eq!(client.hear(486, Tick::ms(10)), Heard::ForwardAndAck);
        assert_eq!(client.hear(486, Tick::ms(20)), Heard::Ack);
        assert_eq!(client.hear(180, Tick::ms(30)), Heard::Absorb);
        assert_eq!(run(&mut client), (vec![], Fired::End, 32_010));
    }

    #[test]
    fn a_repeated_2xx_goes_upstream_until_timer_m() {
        let mut client = client(Method::Invite);
        assert_eq!(client.hear(200, Tick::ms(10)), Heard::Forward);
        assert_eq!(client.hear(200, Tick::ms(510)), Heard::Forward);
        assert_eq!(client.hear(486, Tick::ms(520)), Heard::Absorb);
        assert_eq!(run(&mut client), (vec![], Fired::End, 32_010));
    }

    #[test]
    fn a_final_answer_to_bye_is_passed_once() {
        let mut client = client(Method::Bye);
        assert_eq!(client.hear(200, Tick(0)), Heard::Forward);
        assert_eq!(client.hear(200, Tick(0)), Heard::Absorb);
        assert_eq!(run(&mut client), (vec![], Fired::End, 5_000));
    }

    #[test]
    fn one_that_is_hurried_has_its_short_time_until_something_is_heard() {
        let mut invite = client(Method::Invite);
        invite.hurry(2_000, Tick(0));
        assert_eq!(run(&mut invite), (vec![500, 1500], Fired::Unheard, 2_000));
        invite.wait_on();
        let (sent, end, at) = run(&mut invite);
        assert_eq!(sent, [3500, 7500, 15500, 31500]);
        assert_eq!((end, at), (Fired::TimedOut, 32_000));

        let mut other = client(Method::Options);
        other.hurry(2_000, Tick(0));
        assert_eq!(other.hear(100, Tick::ms(1_900)), Heard::Absorb);
        let (_, end, at) = run(&mut other);
        assert_eq!((end, at), (Fired::TimedOut, 32_000), "as timer F began");
    }

    #[test]
    fn one_that_is_abandoned_is_sent_no_more_and_wants_its_cancel() {
        let mut invite = client(Method::Invite);
        invite.hurry(2_000, Tick(0));
        invite.abandon();
        assert_eq!(invite.cancel, Cancel::Wanted);
        assert_eq!(run(&mut invite), (vec![], Fired::TimedOut, 32_000));
        let mut other = client(Method::Options);
        other.abandon();
        assert_eq!(other.hear(100, Tick::ms(10)), Heard::Absorb);
        assert_eq!(other.cancel, Cancel::No);
        assert_eq!(run(&mut other), (vec![], Fired::TimedOut, 32_000));
    }
}
