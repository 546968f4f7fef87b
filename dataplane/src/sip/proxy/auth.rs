//! Whether a subscriber is who it says it is (RFC 3261 §22, RFC 7616): requests from where no trunk
//! is, that name a domain of ours.
//!
//! ```text
//!   no credentials ────────────► challenge                                without state
//!   a nonce that is no good ───► challenge, stale                         without state
//!   nothing known of the user ─► waits, the store is asked ──────┐
//!   wrong ─────────────────────► waits for the grid ► challenge ◄┤
//!   right, a nonce of another worker ► waits, that one is asked ◄┤
//!   right ─────────────────────► goes on ◄───────────────────────┘
//! ```
//!
//! Nothing is looked up of whom the request is for before it is known who asks. A user that does
//! not exist and a wrong password read alike, and are told at the same moments.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::parked::Wait;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::DomainIndex;
use crate::ids::TrunkIndex;
use crate::sip::denials::Why;
use crate::sip::digest;
use crate::sip::digest::Algorithm;
use crate::sip::digest::cache::Known;
use crate::sip::digest::challenge;
use crate::sip::digest::challenge::Asker;
use crate::sip::digest::credentials::Credentials;
use crate::sip::digest::ha1::Primed;
use crate::sip::digest::ha2::Ha2;
use crate::sip::digest::nonce;
use crate::sip::digest::nonce::Nonce;
use crate::sip::digest::window::Use;
use crate::sip::edit;
use crate::sip::effects::NonceUse;
use crate::sip::effects::Question;
use crate::sip::header::BadValue;
use crate::sip::header::HeaderName;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::subscriber::Subscriber;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;
use crate::tick::Tick;

/// Room for the header fields of a challenge: one for each algorithm, with a realm as long as a
/// name in DNS may be.
pub(super) const CHALLENGE_LEN_MAX: usize = 3 * 400;

/// What a request says of who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'m> {
    credentials: Credentials<'m>,
    nonce: Nonce,
    domain: DomainIndex,
    aor: AddressOfRecord,
}

impl Claim<'_> {
    fn who(&self) -> Subscriber {
        Subscriber {
            domain: self.domain,
            user: self.aor.user,
        }
    }
}

/// Why a request claims nothing that could be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unclaimed {
    /// It is challenged.
    Challenge {
        /// The password was not the matter.
        stale: bool,
    },
    /// It is answered so.
    Refuse(u16),
}

/// How far the judgement of a claim has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// It begins.
    Begins,
    /// The store has said this of the user.
    Said(Known),
    /// The password is right, and the maker of the nonce says what this use of it is.
    Used(Use),
}

/// What a claim comes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Judgement {
    /// It is true.
    True,
    /// Something must be known first.
    Waits(Wait),
    /// The nonce is not good for one more use: the password was not the matter.
    Stale,
    /// It is not, and this is why: nobody but the operator is told.
    False(Why),
}

impl Proxy {
    /// The trunk that stands for whoever sent a request: of its source, else of the domain that it
    /// says it is of.
    pub(super) fn sender_of(&self, message: &Message<'_>, arrival: Arrival) -> Option<TrunkIndex> {
        let trunk = self.dial.trunk_of(arrival.source.ip());
        trunk.or_else(|| {
            let uri = Uri::read(message.bytes(), identity_uri(message)).ok()?;
            let domain = self.dial.domain_named(message.text(uri.host_text))?;
            self.dial.trunk_of_domain(domain)
        })
    }

    /// Takes up a request of a subscriber, of which nothing is known yet; the error is the status of
    /// the answer.
    pub(super) fn admit(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, domain): (TrunkIndex, DomainIndex),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let claim = match self.claim(message, arrival, domain, step.now) {
            Ok(claim) => claim,
            Err(Unclaimed::Challenge { stale }) => {
                return Ok(self.challenge_at_once(message, arrival, key, domain, stale, step));
            }
            Err(Unclaimed::Refuse(status)) => {
                if status == 403 {
                    self.note_denial(message, arrival.source, Why::Another, step.now);
                }
                return Err(status);
            }
        };
        match self.judge(message, arrival, key, &claim, Progress::Begins, step) {
            Judgement::True => self.admitted(message, arrival, key, (trunk, &claim), step),
            Judgement::Waits(wait) => {
                self.park(message, arrival, key, (trunk, Some(domain)), wait, step)
            }
            Judgement::False(why) => {
                self.failed(message, arrival.source, why, step);
                let of = (trunk, Some(domain));
                self.park(message, arrival, key, of, Wait::Grid, step)
            }
            Judgement::Stale => {
                Ok(self.challenge_at_once(message, arrival, key, domain, true, step))
            }
        }
    }

    /// Challenges a request without state, and each repetition of it anew.
    fn challenge_at_once(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        domain: DomainIndex,
        stale: bool,
        step: &mut Step<'_>,
    ) -> Counter {
        let (method, mut room) = (message.method(), [0; CHALLENGE_LEN_MAX]);
        let lines = self.challenge(method, arrival, domain, stale, &mut room, step);
        let status = Asker::of(method).status();
        if method == Method::Invite && message.to_tag().is_some() {
            // Its ACK has no To tag of ours to be known by.
            self.refusals.remember(key, status, step.now);
        }
        self.answer(message, arrival, status, lines, step)
    }

    /// Reads what a request claims; `asked_at` is when it came.
    pub(super) fn claim<'m>(
        &self,
        message: &Message<'m>,
        arrival: Arrival,
        domain: DomainIndex,
        asked_at: Tick,
    ) -> Result<Claim<'m>, Unclaimed> {
        let rules = &self.domains[usize::from(domain.0)];
        let realm = rules.name.as_bytes();
        let found = credentials_for(message, realm, &rules.algorithms);
        let credentials = found
            .map_err(|BadValue| Unclaimed::Refuse(400))?
            .ok_or(Unclaimed::Challenge { stale: false })?;
        let (source, lifetime_s) = (arrival.source.ip(), self.authentication.nonce_s);
        let text = credentials.nonce;
        let nonce = match nonce::read(&self.identity, text, realm, source, lifetime_s, asked_at) {
            nonce::Verdict::Good(nonce) => nonce,
            nonce::Verdict::Stale => return Err(Unclaimed::Challenge { stale: true }),
            nonce::Verdict::Forged => return Err(Unclaimed::Challenge { stale: false }),
        };
        // Nobody speaks for another.
        let (bytes, hash) = (message.bytes(), self.identity.hash());
        let uri = Uri::read(bytes, identity_uri(message)).ok();
        let aor = uri.and_then(|uri| AddressOfRecord::of(bytes, &uri, hash));
        let aor = aor.filter(|aor| aor.user.name() == credentials.username);
        Ok(Claim {
            credentials,
            nonce,
            domain,
            aor: aor.ok_or(Unclaimed::Refuse(403))?,
        })
    }

    /// Judges a claim as far as it can be judged now.
    pub(super) fn judge(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        claim: &Claim<'_>,
        progress: Progress,
        step: &mut Step<'_>,
    ) -> Judgement {
        let Claim {
            credentials, nonce, ..
        } = claim;
        let known = match progress {
            Progress::Begins => {
                let who = claim.who();
                let key = self.subscriber_key(&who);
                let Some(found) = self.subscribers.find(key, step.now) else {
                    return Judgement::Waits(Wait::Store(who));
                };
                if found.ask_again {
                    self.ask_store(None, who, step);
                }
                found.known
            }
            Progress::Said(known) => known.primed(),
            Progress::Used(used) => {
                return self.judge_use(used, message, arrival, key, claim, step);
            }
        };
        let (algorithm, uri) = (credentials.algorithm, credentials.uri);
        let ha1s = match known {
            Known::Subscriber(ha1s) if ha1s.has(algorithm) => Some(ha1s),
            Known::Subscriber(_) | Known::Nobody => None,
        };
        let registers = message.method() == Method::Register;
        let remembered = registers.then(|| self.ha2s.get(algorithm, uri)).flatten();
        let (_, method, _) = message.cseq();
        let ha2 = remembered.unwrap_or_else(|| Ha2::of(algorithm, method, uri));
        // Nobody's password takes as long.
        let compared = ha1s.as_ref().unwrap_or(&Primed::NOBODYS);
        let is_right = digest::is_right(credentials, compared, &ha2);
        if !is_right || ha1s.is_none() {
            step.counters.count(Counter::AuthFailures);
            self.count_of(claim.domain, TrunkCounter::AuthFailures);
            return Judgement::False(match (known, ha1s) {
                (Known::Nobody, _) => Why::Nobody,
                (Known::Subscriber(_), None) => Why::NoHa1,
                (Known::Subscriber(_), Some(_)) => Why::Password,
            });
        }
        if registers && remembered.is_none() {
            self.ha2s.keep(algorithm, uri, ha2);
        }
        let who = self.subscriber_key(&claim.who());
        self.subscribers.prove(who, step.now);
        let by = self.used_by(message, arrival, key);
        if nonce.worker == self.worker {
            let used = self.windows.note(nonce, credentials.nc(), by);
            return self.judge_use(used, message, arrival, key, claim, step);
        }
        Judgement::Waits(Wait::Use {
            nonce: *nonce,
            nc: credentials.nc(),
            by,
        })
    }

    /// Judges a claim by what the use of its nonce is.
    fn judge_use(
        &mut self,
        used: Use,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        claim: &Claim<'_>,
        step: &mut Step<'_>,
    ) -> Judgement {
        let of = (claim.domain, &claim.aor);
        match used {
            Use::First => Judgement::True,
            Use::Again if self.comes_again(message, arrival, key, of, step.now) => Judgement::True,
            Use::Replayed if self.was_done(message, arrival, key, of, step.now) => Judgement::True,
            Use::Again | Use::Replayed => {
                step.counters.count(Counter::AuthReplays);
                Judgement::Stale
            }
            Use::Forgotten => Judgement::Stale,
        }
    }

    /// Sends on a request whose sender has proved who it is.
    pub(super) fn admitted(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, claim): (TrunkIndex, &Claim<'_>),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        step.counters.count(Counter::AuthGranted);
        let &Claim { domain, aor, .. } = claim;
        self.count_of(domain, TrunkCounter::AuthGranted);
        // RFC 3261 §10.3 step 5: whom the claim is of stands in To.
        if message.method() == Method::Register && self.domains[usize::from(domain.0)].registrar {
            return self.register(message, arrival, key, (domain, aor), step);
        }
        if let Some(wait) = self.needs_place(message, trunk) {
            let domain = self.dial.domain_of(trunk);
            return self.park(message, arrival, key, (trunk, domain), wait, step);
        }
        let mut dialog = self.in_dialog(message, arrival.source.ip());
        if let Some(dialog) = &mut dialog {
            // Who has moved is at home where it is now.
            dialog.at_home |= self.is_party(message, dialog);
        }
        self.send_up(message, arrival, key, trunk, dialog, step)
    }

    /// Takes off a subscriber's request what it may not say to others: the credentials for our domain,
    /// which are nobody else's business, whether they were asked for or not; and whom it asserts to be
    /// (RFC 3325 §5), which is for us to say, and From says it.
    pub(super) fn remove_claims(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
    ) -> Result<(), edit::Refused> {
        if self.domains.is_empty() {
            return Ok(());
        }
        let sender = self.sender_of(message, arrival);
        let Some(domain) = sender.and_then(|trunk| self.dial.domain_of(trunk)) else {
            return Ok(());
        };
        for header in message.all_of(HeaderName::AssertedIdentity) {
            self.splices.remove(header.line)?;
        }
        if self.domains[usize::from(domain.0)].upstream.is_some() {
            // The credentials are for the registrar elsewhere.
            return Ok(());
        }
        for header in Asker::of(message.method()).answers(message) {
            let realm = self.domains[usize::from(domain.0)].name.as_bytes();
            let read = Credentials::read(message.bytes(), header.value, realm);
            if read.is_ok_and(|ours| ours.is_some()) {
                self.splices.remove(header.line)?;
            }
        }
        Ok(())
    }

    /// Writes the header fields of a new challenge.
    pub(super) fn challenge<'r>(
        &mut self,
        method: Method,
        arrival: Arrival,
        domain: DomainIndex,
        stale: bool,
        room: &'r mut [u8; CHALLENGE_LEN_MAX],
        step: &mut Step<'_>,
    ) -> &'r [u8] {
        step.counters.count(Counter::AuthChallenges);
        if stale {
            step.counters.count(Counter::AuthStale);
        }
        self.nonce_serial = self.nonce_serial.wrapping_add(1);
        let rules = &self.domains[usize::from(domain.0)];
        let realm = rules.name.as_bytes();
        let (source, serial) = (arrival.source.ip(), self.nonce_serial);
        let nonce = nonce::make(&self.identity, realm, source, serial, step.now);
        let algorithms = rules.algorithms.iter().copied();
        let mut text = Text::new(room);
        challenge::write(
            &mut text,
            Asker::of(method),
            realm,
            &nonce,
            algorithms,
            stale,
        );
        let len = text.finish().unwrap_or(0);
        &room[..len]
    }

    /// Counts one of a domain.
    pub(super) fn count_of(&mut self, domain: DomainIndex, counter: TrunkCounter) {
        if let Some(rules) = self.domains.get(usize::from(domain.0)) {
            self.trunks.count(rules.trunk, counter);
        }
    }

    /// Under which a subscriber is known here.
    pub(super) fn subscriber_key(&self, who: &Subscriber) -> u64 {
        let hash = self.identity.hash().text(who.user.name());
        hash.finish(What::Subscriber.with(who.domain.0.into()))
    }

    /// Has the store be asked.
    pub(super) fn ask_store(&mut self, question: Option<Id>, who: Subscriber, step: &mut Step<'_>) {
        step.counters.count(Counter::AuthQuestions);
        step.effects.ask(Question::Store { question, who });
    }

    /// What is known of a subscriber is not true any more.
    pub fn forget_subscriber(&mut self, who: &Subscriber) {
        self.subscribers.forget(self.subscriber_key(who));
    }

    /// The same of any of them, perhaps.
    pub fn doubt_subscribers(&mut self, now: Tick) {
        self.subscribers.doubt(now);
    }

    /// What a use of a nonce that this worker made is, of which another asks.
    pub fn note_use(&mut self, of: &NonceUse) -> Use {
        self.windows.note(&of.nonce, of.nc, of.transaction)
    }
}

/// The URI of whom a request says it is from: a REGISTER is for who stands in To (RFC 3261 §10.2).
pub(super) fn identity_uri(message: &Message<'_>) -> Span {
    match message.method() {
        Method::Register => message.to().uri,
        _ => message.from().uri,
    }
}

/// The first credentials for this realm by one of these algorithms (RFC 3261 §22.3): others, and how
/// they are spelled, are the business of other realms. It is an error where there are none but such as
/// cannot be read.
fn credentials_for<'m>(
    message: &Message<'m>,
    realm: &[u8],
    algorithms: &[Algorithm],
) -> Result<Option<Credentials<'m>>, BadValue> {
    let mut none = Ok(None);
    for header in Asker::of(message.method()).answers(message) {
        match Credentials::read(message.bytes(), header.value, realm) {
            Ok(Some(read)) if algorithms.contains(&read.algorithm) => return Ok(Some(read)),
            Ok(_) => {}
            Err(bad) => none = Err(bad),
        }
    }
    none
}
