//! What the oracle remembers of a call at one box: what was asked, what was sent on, and what
//! came back.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::Owed;
use super::T1_64_MS;
use super::guard::Claim;
use super::located::Place;
use crate::sim::network::Packet;
use crate::sim::plan::Route;
use crate::sim::sip::Sip;

/// A request that came: a server transaction of the box, or an ACK to a 2xx.
#[derive(Debug)]
pub(super) struct Asked {
    /// The start of the box that it came to.
    pub epoch: u16,
    /// Who sent it.
    pub source: SocketAddr,
    /// The side that it came from.
    pub side: usize,
    /// As it came first.
    pub request: Rc<Sip>,
    /// When it came first, and last.
    pub at: Tick,
    /// The same for its last copy.
    pub last_at: Tick,
    /// When its CANCEL came.
    pub cancelled: Option<Tick>,
    /// The final response that went up first, and when.
    pub answer: Option<(Rc<Sip>, Tick)>,
    /// The challenge to the copy before this, where its transaction may have it.
    pub challenge: Option<(Rc<Sip>, Tick)>,
    /// The To tag of the box's own responses to it.
    pub own_tag: Option<String>,
    /// When the ACK to its failure came.
    pub acked: Option<Tick>,
    /// The box keeps no state for it.
    pub stateless: bool,
    /// What it claims, as a subscriber's.
    pub claim: Option<Claim>,
    /// Of one to a user, where that might be reached when it was located.
    pub found: Option<Vec<Place>>,
}

impl Asked {
    /// The status of its final response.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().and_then(|(answer, _)| answer.status())
    }

    pub fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }
}

/// True where the Request-URI names that route.
pub(super) fn is_to(request: &Sip, route: Route) -> bool {
    let user = request.uri().strip_prefix("sip:").unwrap_or_default();
    user.starts_with(char::from(b'0' + route.digit()))
}

/// The session interval that a 2xx agrees to (RFC 4028 §4).
fn session_ms(answer: &Sip) -> Option<u64> {
    let value = answer.get("Session-Expires");
    let seconds = value.split(';').next()?.trim().parse::<u64>();
    Some(1_000 * seconds.ok()?)
}

/// A request that left: a client transaction of the box.
#[derive(Debug)]
pub(super) struct Sent {
    /// The start of the box that sent it.
    pub epoch: u16,
    /// To whom.
    pub to: SocketAddr,
    /// As it left.
    pub request: Rc<Sip>,
    /// What it carries on; `None`: nothing, it is the box's own.
    pub parent: Option<usize>,
    /// How many of the topmost Vias are the box's: two where it passed itself.
    pub passes: usize,
    /// When it left first.
    pub at: Tick,
    /// How often.
    pub times: u32,
    /// When a provisional response came, the first or the last that is no 100.
    pub heard: Option<Tick>,
    /// When anything came at all.
    pub first_heard: Option<Tick>,
    /// The first final response, and when it came.
    pub answer: Option<(Rc<Sip>, Tick)>,
    /// When ICMP said that nobody is there, to whom it mattered.
    pub unreachable: Option<Tick>,
    /// Its first final response came when it was over.
    pub late: bool,
    /// Every response that came, once.
    pub came: Vec<Rc<Sip>>,
    /// When a CANCEL for it left.
    pub cancelled: Option<Tick>,
    /// The ACK to its failure, as it left.
    pub ack: Option<Rc<Sip>>,
}

impl Sent {
    pub fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }

    /// The status of its first final response.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().and_then(|(answer, _)| answer.status())
    }

    /// True where its first final response is a 2xx.
    pub fn is_accepted(&self) -> bool {
        self.status().is_some_and(|status| status < 300)
    }

    /// True once a final response came, or ICMP's word that there will be none.
    pub fn has_ended(&self) -> bool {
        self.answer.is_some() || self.unreachable.is_some()
    }

    /// When its first final response came.
    pub fn answered_at(&self) -> Option<Tick> {
        self.answer.as_ref().map(|(_, at)| *at)
    }

    /// When its transaction is over at the latest, where nothing more comes.
    pub fn ends(&self) -> Tick {
        if let Some((_, at)) = self.answer {
            return at.plus_ms(if self.is_invite() { T1_64_MS } else { 5_000 });
        }
        if let Some(at) = self.unreachable {
            return at;
        }
        let plain = self.at.plus_ms(T1_64_MS);
        if !self.is_invite() {
            return plain;
        }
        match (self.heard, self.cancelled) {
            (_, Some(cancelled)) => cancelled.plus_ms(T1_64_MS),
            (Some(heard), None) => heard.plus_ms(181_000),
            (None, None) => plain,
        }
    }

    /// True while a response to it is surely taken up.
    pub fn lives(&self, now: Tick) -> bool {
        !self.late && now.plus_ms(LATE_MS) < self.ends()
    }

    /// True once the box must have given it up.
    pub fn is_over(&self, now: Tick) -> bool {
        self.answer.is_some() || now >= self.ends()
    }
}

/// A call at one box.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub asked: Vec<Asked>,
    pub sent: Vec<Sent>,
    /// The Record-Route values that the box has put in.
    pub recorded: Vec<String>,
}

impl Ledger {
    /// The transaction of this start that a request belongs to, by method, branch and sender.
    pub fn asked(
        &self,
        epoch: u16,
        source: SocketAddr,
        branch: &str,
        method: &str,
    ) -> Option<usize> {
        self.asked.iter().rposition(|asked| {
            asked.epoch == epoch
                && asked.request.method() == method
                && asked.request.branch() == branch
                && asked.source.ip() == source.ip()
        })
    }

    /// What was sent with this branch and method.
    pub fn sent(&self, epoch: u16, branch: &str, method: &str) -> Option<usize> {
        self.sent.iter().position(|sent| {
            sent.epoch == epoch
                && sent.request.method() == method
                && sent.request.branch() == branch
        })
    }

    /// The branches of a transaction.
    pub fn branches(&self, asked: usize) -> impl Iterator<Item = (usize, &Sent)> {
        self.sent
            .iter()
            .enumerate()
            .filter(move |(_, sent)| sent.parent == Some(asked))
    }

    /// True for a message of another dialog than the one that was answered first: its media is
    /// not relayed.
    pub fn is_second(&self, sip: &Sip) -> bool {
        let answers = self
            .sent
            .iter()
            .filter(|sent| sent.is_invite())
            .filter_map(|sent| sent.answer.as_ref());
        let accepted = answers.filter(|(answer, _)| answer.status().is_some_and(|s| s < 300));
        let first = accepted
            .min_by_key(|(_, at)| *at)
            .map(|(answer, _)| answer.to_tag());
        let tags = [sip.from_tag(), sip.to_tag()];
        !tags[1].is_empty() && first.is_some_and(|first| !tags.contains(&first))
    }

    /// True for a request of an early dialog whose branch has failed: its media is closed.
    pub fn has_failed(&self, request: &Sip) -> bool {
        let tags = [request.from_tag(), request.to_tag()];
        let failed = |sent: &&Sent| sent.is_invite() && sent.status() >= Some(300);
        let branches = self.sent.iter().filter(failed);
        let mut came = branches.flat_map(|sent| &sent.came);
        came.any(|came| !came.to_tag().is_empty() && tags.contains(&came.to_tag()))
    }

    /// True for a call that this start of the box has seen begin.
    pub fn has_begun(&self, epoch: u16) -> bool {
        let begins = |asked: &Asked| asked.is_invite() && asked.request.to_tag().is_empty();
        let mut asked = self.asked.iter();
        asked.any(|asked| asked.epoch == epoch && begins(asked))
    }

    /// True once a party has hung up, and for a call that this start of the box has not seen
    /// begin: what still comes may go on as it is, to relays that are closed.
    pub fn is_over(&self, epoch: u16) -> bool {
        let mut asked = self.asked.iter();
        !self.has_begun(epoch) || asked.any(|asked| asked.request.method() == "BYE")
    }

    /// The place of a request that has not come to this start yet.
    pub fn ask(
        &mut self,
        now: Tick,
        epoch: u16,
        packet: &Packet,
        side: usize,
        sip: &Rc<Sip>,
        stateless: bool,
    ) -> usize {
        self.asked.push(Asked {
            epoch,
            source: packet.source,
            side,
            request: sip.clone(),
            at: now,
            last_at: now,
            cancelled: None,
            answer: None,
            challenge: None,
            own_tag: None,
            acked: None,
            stateless,
            claim: None,
            found: None,
        });
        self.asked.len() - 1
    }

    /// RFC 4028 §10: the box ends a dialog by itself where its session has expired, as the last
    /// 2xx to INVITE or UPDATE in it said.
    ///
    /// # Errors
    /// Where it has not.
    pub fn has_expired(&self, tags: [&str; 2], now: Tick) -> Result<(), String> {
        let is_refresh = |came: &&Rc<Sip>| {
            let theirs = [came.from_tag(), came.to_tag()];
            matches!(came.method(), "INVITE" | "UPDATE")
                && came.status().is_some_and(|s| (200..300).contains(&s))
                && (theirs == tags || theirs == [tags[1], tags[0]])
        };
        let refreshes = self.sent.iter().filter_map(|sent| {
            let came = sent.came.iter().find(is_refresh)?;
            Some((sent.answered_at()?, came))
        });
        let (at, last) = refreshes.max_by_key(|(at, _)| *at).ok_or("no session")?;
        let interval_ms = session_ms(last).ok_or("the box ends a session without end")?;
        if now.plus_ms(LATE_MS) < at.plus_ms(interval_ms) {
            return Err("the box ends a session before its time".to_owned());
        }
        Ok(())
    }

    /// True where the same request came by another way (RFC 3261 §8.2.2.2).
    pub fn is_merged(&self, at: usize) -> bool {
        let asked = &self.asked[at];
        let (request, branch) = (&asked.request, asked.request.branch());
        self.asked.iter().any(|other| {
            other.epoch == asked.epoch
                && other.request.branch() != branch
                && other.request.method() == request.method()
                && other.request.cseq() == request.cseq()
                && other.request.from_tag() == request.from_tag()
                && other.request.to_tag() == request.to_tag()
                // RFC 3261 §8.2.2.2: as long as that one goes on.
                && other.status().is_none_or(|status| status < 300)
        })
    }

    /// True for a Route value that the box has recorded for this call.
    pub fn is_ours(&self, request: &Sip) -> bool {
        let route = request.values("Route").next();
        route.is_some_and(|route| self.recorded.iter().any(|recorded| recorded == route))
    }

    /// True where the INVITE that left with this request's Route as Record-Route had come from `ip`.
    pub fn began_at(&self, request: &Sip, ip: IpAddr) -> bool {
        let Some(route) = request.values("Route").next() else {
            return false;
        };
        let source = |sent: &Sent| Some(self.asked[sent.parent?].source.ip());
        let recorded = |sent: &&Sent| {
            sent.request
                .values("Record-Route")
                .any(|ours| ours == route)
        };
        let mut left = self.sent.iter().filter(recorded);
        left.any(|sent| source(sent) == Some(ip))
    }

    /// What is missing, for a person.
    pub fn describe(&self, owed: &Owed) -> String {
        let name = |asked: &usize| {
            self.asked
                .get(*asked)
                .map_or(String::new(), |a| a.request.name())
        };
        let to = |sent: &usize| {
            self.sent
                .get(*sent)
                .map_or(String::new(), |s| s.to.to_string())
        };
        match owed {
            Owed::TakenUp(asked) => {
                format!("a new {} was neither answered nor sent on", name(asked))
            }
            Owed::Trying(asked) => format!("no 100 to an {} that waits", name(asked)),
            Owed::Cancelled(asked) => {
                format!(
                    "an {} that waited was cancelled, and has no 487",
                    name(asked)
                )
            }
            Owed::Up(_, response) => format!("{} did not go upstream", response.name()),
            Owed::Ack(sent) => format!("the failure of {} was not acknowledged", to(sent)),
            Owed::Cancel(sent) => format!("{} was not cancelled", to(sent)),
            Owed::Decision(asked) => format!(
                "all branches of {} have ended, and nothing came of it",
                name(asked)
            ),
            Owed::On(asked) => format!("a {} was not passed on without state", name(asked)),
            Owed::Back(_, response) => {
                format!("{} was not passed back without state", response.name())
            }
            Owed::Bye(sent, _) => format!(
                "the late 2xx of {} was not ended with ACK and BYE",
                to(sent)
            ),
        }
    }

    /// True where every transaction of this start has come to its end.
    pub fn is_quiet(&self, epoch: u16, now: Tick) -> bool {
        let asked = self.asked.iter().filter(|asked| asked.epoch == epoch);
        let mut asked = asked.filter(|asked| asked.is_invite() && !asked.stateless);
        let mut sent = self.sent.iter().filter(|sent| sent.epoch == epoch);
        asked.all(|asked| asked.answer.is_some())
            && sent.all(|sent| sent.is_over(now))
            && !self.is_taken_up(epoch, now)
    }

    /// True while a session is not over that this start of the box has from an UPDATE alone: one
    /// that is repeated after the BYE, and after a restart, makes a call for nobody but the box.
    fn is_taken_up(&self, epoch: u16, now: Tick) -> bool {
        let lasts = |sent: &Sent| {
            let (answer, at) = sent.answer.as_ref()?;
            let is_update = sent.epoch == epoch && sent.request.method() == "UPDATE";
            let interval_ms = session_ms(answer).filter(|_| is_update && sent.is_accepted())?;
            Some(now < at.plus_ms(interval_ms + 2 * T1_64_MS))
        };
        !self.has_begun(epoch) && self.sent.iter().any(|sent| lasts(sent) == Some(true))
    }

    /// The call is long over: each INVITE that this start of the box took has its end.
    ///
    /// # Errors
    /// Which has none.
    pub fn ended(&self, epoch: u16, crowded: bool) -> Result<(), String> {
        for asked in &self.asked {
            let claim = asked.claim.as_ref();
            let waits = claim.is_some_and(|claim| claim.is_waiting() && !claim.may_pass);
            let counts = asked.epoch == epoch && (asked.is_invite() && !asked.stateless || waits);
            if counts && asked.answer.is_none() && !crowded {
                return Err(format!(
                    "{} never got a final response",
                    asked.request.name()
                ));
            }
        }
        Ok(())
    }
}
